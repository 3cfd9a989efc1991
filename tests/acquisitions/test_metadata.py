"""Gathering core files: who wins, what a service's silence means, and doing it again."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.acquisitions.gathered_metadata import Source, Status
from include.acquisitions.metadata import gather_preliminary_metadata
from include.acquisitions.metadata_checks import check_metadata_files
from include.acquisitions.metadata_settings import GatherSettings
from include.assets.core_files import CORE_FIELDS, Generation, schema_problems
from include.clients.metadata_service import MetadataServiceClient
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    Problem,
    ServiceUnavailable,
)
from include.local.stand_ins.metadata_service import create_app
from tests.acquisitions.metadata_fakes import (
    ACQUIRED,
    ACQUISITION,
    FUNDING,
    INSTRUMENT,
    PERSON,
    PROCEDURES,
    STARTED_AT,
    SUBJECT,
    FakeAnswer,
    FakeService,
    Place,
)

USERS = {"acquisition": ACQUISITION, "instrument": INSTRUMENT}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# Where each file comes from


def test_a_new_acquisition_gets_every_required_file_and_all_are_valid(place: Place) -> None:
    place.give(**USERS)
    gathered = place.gather(raise_if_invalid=True)
    assert gathered.is_valid
    assert {field: file.source for field, file in gathered.files.items() if file.source} == {
        "subject": Source.SERVICE,
        "procedures": Source.SERVICE,
        "data_description": Source.BUILT,
        "acquisition": Source.USER,
        "instrument": Source.USER,
    }
    check_metadata_files(place.asset, level="schema")


def test_the_users_file_wins_byte_for_byte_and_the_service_is_not_asked(place: Place) -> None:
    text = b'{ "subject_id":"632269",\n\t"note": "as the user wrote it"}\r\n'
    description = {"name": ACQUIRED.asset_name}
    place.give(subject=text, procedures=PROCEDURES, data_description=description, **USERS)
    service = FakeService()
    gathered = place.gather(service)
    assert service.asked == []
    assert (place.asset / "subject.json").read_bytes() == text
    assert gathered.files["subject"].source is Source.USER
    assert gathered.files["subject"].status is Status.INVALID


def test_all_questions_are_asked_at_once(place: Place) -> None:
    service = FakeService(together=threading.Barrier(5))
    place.gather(service, instrument_settings={"instrument_id": INSTRUMENT["instrument_id"]})
    assert sorted(name for name, _ in service.asked) == [
        "funding", "instrument", "investigators", "procedures", "subject",
    ]  # fmt: skip


def test_the_newest_record_of_exactly_this_instrument_is_taken(place: Place) -> None:
    wanted = INSTRUMENT["instrument_id"]
    records = [
        INSTRUMENT | {"modification_date": "2023-01-01", "notes": "older"},
        INSTRUMENT | {"modification_date": "2023-03-01", "notes": "newest"},
        INSTRUMENT | {"modification_date": "2024-01-01", "instrument_id": f"{wanted}_copy"},
    ]
    service = FakeService({"instrument": FakeAnswer(records, is_valid=False)})
    gathered = place.gather(service, instrument_settings={"instrument_id": wanted})
    assert place.content("instrument")["notes"] == "newest"
    assert gathered.files["instrument"].status is Status.VALID, "only our own check counts"


def test_the_users_acquisition_names_the_instrument_to_ask_for(place: Place) -> None:
    place.give(acquisition=ACQUISITION)
    service = FakeService()
    place.gather(service)
    assert ("instrument", ACQUISITION["instrument_id"]) in service.asked


def test_an_instrument_that_only_matches_in_part_is_missing(place: Place) -> None:
    gathered = place.gather(instrument_settings={"instrument_id": "447"})
    assert gathered.files["instrument"].status is Status.MISSING
    assert not (place.asset / "instrument.json").exists()


def test_a_calibration_is_described_without_the_service(place: Place) -> None:
    acquired = replace(ACQUIRED, subject_id="calibration")
    service = FakeService()
    described = {"description": "fluorescent beads", "empty": False}
    gathered = place.gather(
        service, acquired=acquired, subject_settings={"calibration_object": described}
    )
    assert {name for name, _ in service.asked} == {"funding", "investigators"}
    assert place.content("subject")["subject_details"]["description"] == "fluorescent beads"
    assert place.content("procedures")["subject_id"] == "calibration"
    assert gathered.files["subject"].source is Source.BUILT
    assert gathered.files["subject"].status is Status.VALID


def test_a_generation_one_rig_stands_for_the_instrument(place: Place) -> None:
    place.give(rig={"rig_id": "447"}, session={"session_start_time": STARTED_AT.isoformat()})
    gathered = place.gather(instrument_settings={"instrument_id": "447"})
    assert gathered.generation is Generation.V1
    assert gathered.files.keys() == set(CORE_FIELDS[Generation.V1])
    assert gathered.files["rig"].status is Status.UNCHECKED
    assert not (place.asset / "instrument.json").exists()


def test_every_json_file_of_the_user_is_kept_as_it_came(place: Place) -> None:
    place.give(**USERS, notes={}, acquisition_fip=b"not even JSON")
    place.gather()
    kept = {path for path in place.snapshot() if path.startswith("original_metadata/")}
    folder = "original_metadata/uploaded_json"
    assert kept == {
        f"{folder}/acquisition.json",
        f"{folder}/acquisition_fip.json",
        f"{folder}/instrument.json",
    }


# data_description


def test_the_description_bears_the_assets_name_and_the_settings(place: Place) -> None:
    place.gather(
        data_description_settings={
            "tags": ["pilot"], "group": "ephys", "restrictions": "none", "data_summary": "A day",
            "institution": "AI",
        }
    )  # fmt: skip
    described = place.content("data_description")
    assert described["name"] == ACQUIRED.asset_name
    assert described["creation_time"] == "2023-04-03T18:17:07-07:00"
    assert described["tags"] == ["pilot"]
    assert described["group"] == "ephys"
    assert described["institution"]["name"] == "Allen Institute"
    assert [one["abbreviation"] for one in described["modalities"]] == list(ACQUIRED.modalities)


def test_investigators_are_sorted_and_each_counts_once(place: Place) -> None:
    people = [{"object_type": "Person", "name": name} for name in ("Zoe", "Ann", "Zoe")]
    place.gather(FakeService({"investigators": FakeAnswer(people)}))
    names = [person["name"] for person in place.content("data_description")["investigators"]]
    assert names == ["Ann", "Zoe"]


@pytest.mark.parametrize("nothing", [None, FakeAnswer([])], ids=["404", "empty list"])
def test_a_project_without_funding_or_investigators_is_said_at_once(
    place: Place, nothing: FakeAnswer | None
) -> None:
    with pytest.raises(InvalidInput) as refused:
        place.gather(FakeService({"funding": nothing, "investigators": nothing}))
    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["funding_source", "investigators"]
    assert "Learning" in refused.value.problems[0].fix
    assert not place.asset.exists()


def test_everything_the_description_cannot_say_is_listed_together(place: Place) -> None:
    acquired = replace(ACQUIRED, modalities=("ecephys", "smell"))
    with pytest.raises(InvalidInput) as refused:
        place.gather(acquired=acquired, data_description_settings={"institution": "ACME"})
    reasons = " ".join(problem.reason for problem in refused.value.problems)
    assert "'ACME'" in reasons
    assert "'smell'" in reasons


@pytest.mark.parametrize(
    ("files", "chosen", "expected"),
    [
        pytest.param(USERS, {}, "2023-04-03T18:17:07-07:00", id="the rig's file knows"),
        pytest.param(
            {}, {"time_zone": "America/New_York"}, "2023-04-03T18:17:07-04:00", id="the setting"
        ),
    ],
)
def test_a_start_without_offset_takes_the_zone_that_is_known(
    place: Place, files: dict[str, Any], chosen: dict[str, Any], expected: str
) -> None:
    place.give(**files)
    place.gather(acquired=replace(ACQUIRED, acq_datetime=datetime(2023, 4, 3, 18, 17, 7)), **chosen)  # noqa: DTZ001
    assert place.content("data_description")["creation_time"] == expected


# What the service does


def test_what_is_invalid_is_used_and_reported(place: Place) -> None:
    broken = {key: value for key, value in SUBJECT.items() if key != "subject_details"}
    problem = "subject_details: Field required"
    service = FakeService({"subject": FakeAnswer(broken, is_valid=False, problems=(problem,))})
    gathered = place.gather(service)
    assert place.content("subject") == broken
    assert gathered.files["subject"].status is Status.INVALID
    assert gathered.files["subject"].problems == (problem,), "said once, not twice"


def test_a_definite_none_is_missing_and_says_so(place: Place) -> None:
    gathered = place.gather(FakeService({"procedures": None}))
    assert gathered.files["procedures"].status is Status.MISSING
    assert gathered.files["procedures"].problems == ("the metadata service has none",)
    assert not (place.asset / "procedures.json").exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ServiceUnavailable("503"), ServiceUnavailable, id="5xx"),
        pytest.param(ServiceUnavailable("timed out after 300 s"), ServiceUnavailable, id="slow"),
        pytest.param(ServiceUnavailable("429"), ServiceUnavailable, id="throttled"),
        pytest.param(AccessDenied("403"), AccessDenied, id="403"),
        pytest.param(MalformedAnswer("half an answer"), MalformedAnswer, id="garbage"),
    ],
)
def test_no_answer_is_no_absence_and_names_the_file(
    place: Place, error: AssetflowError, expected: type[AssetflowError]
) -> None:
    service = FakeService({"subject": error, "funding": ServiceUnavailable("502")})
    with pytest.raises(expected, match=r"subject, funding.*subject: .*funding: 502"):
        place.gather(service)
    assert not place.asset.exists(), "nothing is written of half the answers"


def test_an_answer_of_the_wrong_kind_is_malformed(place: Place) -> None:
    with pytest.raises(MalformedAnswer, match="subject with a list"):
        place.gather(FakeService({"subject": FakeAnswer([SUBJECT])}))
    with pytest.raises(MalformedAnswer, match="funding with no list"):
        place.gather(FakeService({"funding": FakeAnswer({"message": "odd"})}))


def test_refused_ids_are_all_told_even_when_told_to_go_on(place: Place) -> None:
    service = FakeService({
        "subject": InvalidInput([Problem("subject 12x", "subject_id", "is not all digits")]),
        "funding": InvalidInput([Problem("project Learning", "", "has sub-projects")]),
    })
    with pytest.raises(InvalidInput) as refused:
        place.gather(service, on_service_failure="continue")
    assert len(refused.value.problems) == 2


def test_told_to_go_on_it_leaves_out_what_could_not_be_had(place: Place) -> None:
    service = FakeService({
        "subject": ServiceUnavailable("503"),
        "investigators": AccessDenied("403"),
    })
    gathered = place.gather(service, on_service_failure="continue")
    assert gathered.files["procedures"].status is Status.VALID
    for field, reason in (("subject", "503"), ("data_description", "403")):
        assert gathered.files[field].status is Status.MISSING
        assert gathered.files[field].problems == (f"the metadata service gave no answer: {reason}",)


def test_going_on_keeps_what_an_earlier_try_had_got(place: Place) -> None:
    place.gather()
    before = place.snapshot()
    gone = ServiceUnavailable("down")
    names = ("subject", "procedures", "funding", "investigators")
    gathered = place.gather(FakeService(dict.fromkeys(names, gone)), on_service_failure="continue")
    assert place.snapshot() == before
    assert gathered.files["subject"].source is Source.SERVICE


# Procedures of two origins

TRAINING = {
    "object_type": "Training protocol", "training_name": "T1", "start_date": "2023-01-01",
    "curriculum_code": None, "protocol_id": None, "notes": None,
}  # fmt: skip


def _procedures(*names: str) -> dict[str, Any]:
    trainings = [TRAINING | {"training_name": name} for name in names]
    return PROCEDURES | {"subject_procedures": trainings}


@pytest.mark.parametrize(
    ("merge", "of_service", "expected"),
    [
        pytest.param(False, _procedures("T2"), ["T1"], id="the file wins by default"),
        pytest.param(True, _procedures("T2"), ["T1", "T2"], id="added when asked for"),
        pytest.param(True, _procedures("T1", "T2"), ["T1"], id="a repeated one: the file alone"),
        pytest.param(True, {"subject_id": "632269", "x": 1}, ["T1"], id="invalid: the file alone"),
    ],
)
def test_the_users_procedures_stand_alone_unless_they_can_be_added_to(
    place: Place, merge: bool, of_service: dict[str, Any], expected: list[str]
) -> None:
    assert schema_problems("procedures", _procedures("T1")) == ()
    place.give(procedures=_procedures("T1"))
    service = FakeService({"procedures": FakeAnswer(of_service)})
    place.gather(service, procedures_settings={"merge_with_service": merge})
    found = [one["training_name"] for one in place.content("procedures")["subject_procedures"]]
    assert found == expected


# Contradictions


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            {"subject": SUBJECT | {"subject_id": "111"}},
            "subject.json is about subject 111, the job about 632269",
            id="another subject",
        ),
        pytest.param(
            {"acquisition": ACQUISITION | {"acquisition_start_time": "2023-04-03T18:17:08-07:00"}},
            "acquisition.json starts at 2023-04-03T18:17:08-07:00, "
            "the job at 2023-04-03T18:17:07-07:00",
            id="another second",
        ),
        pytest.param(
            {"data_description": {"name": "632269_2020-01-01_00-00-00"}},
            f"data_description.json names the asset 632269_2020-01-01_00-00-00, "
            f"not {ACQUIRED.asset_name}",
            id="another name",
        ),
    ],
)
def test_a_contradiction_is_reported_and_in_strict_mode_refused(
    place: Place, files: dict[str, Any], said: str
) -> None:
    place.give(**files)
    assert said in place.gather().problems
    with pytest.raises(InvalidInput) as refused:
        place.gather(raise_if_invalid=True)
    assert said in [problem.reason for problem in refused.value.problems]


def test_another_zone_or_fraction_of_the_same_wall_clock_is_no_contradiction(place: Place) -> None:
    start = "2023-04-03T18:17:07.654321Z"
    place.give(acquisition=ACQUISITION | {"acquisition_start_time": start})
    assert place.gather().problems == ()


def test_strict_mode_tells_everything_at_once_and_writes_nothing(place: Place) -> None:
    place.give(acquisition={"subject_id": "111"})
    with pytest.raises(InvalidInput) as refused:
        place.gather(FakeService({"procedures": None}), raise_if_invalid=True)
    items = {problem.item for problem in refused.value.problems}
    assert items == {"acquisition.json", "procedures.json", ACQUIRED.asset_name}
    assert not place.asset.exists()


# The user's folder


@pytest.mark.parametrize(
    "text",
    [b"", b'\xef\xbb\xbf{"a":1}', b'{"a": "\xe9"}', b"[]", b'{"subject_id": "6322'],
    ids=["empty", "BOM", "latin-1", "list", "truncated"],
)
def test_an_unusable_file_of_the_user_is_refused_before_anything_is_asked(
    place: Place, text: bytes
) -> None:
    place.give(subject=text, rig=b"")
    service = FakeService()
    with pytest.raises(InvalidInput) as refused:
        place.gather(service)
    named = [Path(problem.item).name for problem in refused.value.problems]
    assert named == ["subject.json", "rig.json"], "both, not only the first"
    assert service.asked == []


def test_files_outside_the_allowed_folders_are_refused(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"password": "hunter2"}')
    place.give()
    (place.user / "subject.json").symlink_to(secret)
    with pytest.raises(InvalidInput, match=r"subject\.json: lies outside") as refused:
        place.gather()
    assert "hunter2" not in str(refused.value)
    with pytest.raises(InvalidInput, match="lies outside"):
        place.gather(metadata_dir=str(tmp_path))


def test_a_linked_json_file_from_outside_is_not_kept_with_the_asset(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "secret.json").write_text('{"password": "hunter2"}')
    place.give()
    (place.user / "acquisition_extra.json").symlink_to(tmp_path / "secret.json")
    place.gather()
    assert not any("extra" in path for path in place.snapshot())


def test_a_folder_that_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(InvalidInput, match="metadata_dir: is not a folder"):
        place.gather(metadata_dir=str(place.root / "source" / "gone"))


# Again


def test_doing_it_again_gives_the_same_bytes_and_writes_nothing(place: Place) -> None:
    place.give(**USERS)
    place.gather()
    before = {path: path.stat().st_mtime_ns for path in place.asset.rglob("*.json")}
    texts = place.snapshot()
    place.gather()
    assert place.snapshot() == texts
    assert {path: path.stat().st_mtime_ns for path in place.asset.rglob("*.json")} == before


class _KilledError(BaseException):
    pass


@pytest.mark.parametrize("lived_through", range(7))
def test_killed_between_two_files_the_next_try_ends_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch, lived_through: int
) -> None:
    place.give(**USERS)
    rename = Path.replace
    renamed: list[Path] = []

    def dying_rename(path: Path, target: Path) -> Path:
        if len(renamed) == lived_through:
            raise _KilledError
        renamed.append(target)
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying_rename)
        with pytest.raises(_KilledError):
            place.gather()
    left = [path for path in place.snapshot() if not path.endswith(".json")]
    assert left == [], "no part-written file where the upload would find it"
    place.gather()
    again = Place(place.root / "elsewhere")
    again.give(**USERS)
    again.gather()
    assert place.snapshot() == again.snapshot()


def test_a_file_that_no_source_gives_any_more_is_taken_away(place: Place) -> None:
    place.give(rig={}, session={})
    place.gather()
    (place.asset / "processing.json").write_text("{}")
    for name in ("rig", "session"):
        (place.user / f"{name}.json").unlink()
    place.give(**USERS)
    place.gather()
    assert not (place.asset / "rig.json").exists()
    assert (place.asset / "processing.json").exists(), "written after this task, not by it"


# The mapper's place


def test_the_mapper_sees_what_is_known_and_what_it_makes_is_checked(place: Place) -> None:
    seen: dict[str, bytes] = {}

    def mapper(known: Mapping[str, bytes], uploaded: Mapping[str, bytes]) -> dict[str, bytes]:
        seen.update({**known, **uploaded})
        return {"acquisition": json.dumps(ACQUISITION | {"subject_id": "111"}).encode()}

    place.give(fip={"a": 1})
    gathered = place.gather(mapper=mapper)
    assert seen.keys() == {"subject", "procedures", "data_description", "fip.json"}
    assert gathered.files["acquisition"].source is Source.MAPPER
    assert gathered.problems == ("acquisition.json is about subject 111, the job about 632269",)


def test_an_instrument_in_parts_is_left_to_the_mapper(place: Place) -> None:
    place.give(instrument_ecephys=INSTRUMENT, acquisition=ACQUISITION)
    service = FakeService()
    place.gather(service, mapper=lambda *_: {"instrument": json.dumps(INSTRUMENT).encode()})
    assert "instrument" not in dict(service.asked)
    assert place.content("instrument") == INSTRUMENT


# Settings


def test_settings_of_the_older_mapper_mean_the_same() -> None:
    parsed = GatherSettings.parse({
        "directory_to_write_to": "/elsewhere",
        "metadata_service_domain": "http://other",
        "raw_data_description_settings": {"group": "ephys", "tags": ["old"]},
        "data_description_settings": {"tags": ["new"], "institution": None},
        "rig_settings": {"rig_id": "447"},
        "metadata_dir": "",
    })
    assert parsed.data_description_settings.group == "ephys"
    assert parsed.data_description_settings.tags == ["new"]
    assert parsed.data_description_settings.institution == "AIND"
    assert parsed.instrument_settings.instrument_id == "447"
    assert parsed.metadata_dir is None
    assert parsed.unknown_keys == ()


def test_a_setting_that_names_another_subject_is_a_contradiction(place: Place) -> None:
    service = FakeService()
    gathered = place.gather(service, subject_settings={"subject_id": "999"})
    assert ("subject", "632269") in service.asked
    assert any("999" in problem for problem in gathered.problems)


def test_all_bad_settings_are_told_by_their_path() -> None:
    with pytest.raises(InvalidInput) as refused:
        GatherSettings.parse({
            "on_service_failure": "ignore",
            "time_zone": "Mars/Olympus",
            "data_description_settings": {"tags": "one"},
        })
    fields = {problem.field for problem in refused.value.problems}
    assert fields == {"on_service_failure", "time_zone", "data_description_settings.tags"}


def test_an_unknown_setting_is_a_warning(place: Place) -> None:
    assert any("'raise_if_invlaid'" in one for one in place.gather(raise_if_invlaid=True).warnings)


@given(st.dictionaries(
    st.sampled_from([*GatherSettings.model_fields, "rig_settings", "raw_data_description_settings"]),
    st.none() | st.booleans() | st.text(max_size=3) | st.dictionaries(st.text(max_size=3), st.none()),
))  # fmt: skip
def test_any_settings_are_read_or_refused(given_settings: dict[str, Any]) -> None:
    before = deepcopy(given_settings)
    with suppress(InvalidInput):
        GatherSettings.parse(given_settings)
    assert given_settings == before


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(present=st.sets(st.sampled_from(["subject", "procedures", "instrument", "acquisition"])))
def test_whatever_the_user_gives_only_the_rest_is_asked_for(
    tmp_path_factory: pytest.TempPathFactory, present: set[str]
) -> None:
    place = Place(tmp_path_factory.mktemp("run"))
    everything = {"subject": SUBJECT, "procedures": PROCEDURES, **USERS}
    place.give(**{field: everything[field] for field in present})
    service = FakeService()
    place.gather(service, instrument_settings={"instrument_id": INSTRUMENT["instrument_id"]})
    asked = {name for name, _ in service.asked} - {"funding", "investigators"}
    assert asked == {"subject", "procedures", "instrument"} - present


@pytest.fixture
def service_address() -> Iterator[str]:
    """The stand-in on a free port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning"))
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    serving.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    serving.join()


def test_the_real_client_and_the_stand_in_fit_the_fakes(place: Place, service_address: str) -> None:
    place.give(acquisition=ACQUISITION)
    with httpx.Client(base_url=service_address) as http:
        gathered = gather_preliminary_metadata(
            replace(ACQUIRED, project_name="Foraging - Learning"),
            GatherSettings.parse({
                "metadata_dir": str(place.user),
                "instrument_settings": {"instrument_id": "no such instrument"},
            }),
            MetadataServiceClient(http),
            asset_folder=place.asset,
            work_folder=place.work,
            source_roots=[place.root],
        )
    for field in ("subject", "procedures"):
        assert gathered.files[field].source is Source.SERVICE
        assert gathered.files[field].status is Status.VALID
        assert place.content(field)["subject_id"] == ACQUIRED.subject_id
    assert gathered.files["data_description"].status is Status.VALID
    assert gathered.files["instrument"].status is Status.MISSING


def test_the_fakes_answers_are_valid() -> None:
    from aind_data_schema.components.identifiers import Person
    from aind_data_schema.core.data_description import Funding

    Funding.model_validate(deepcopy(FUNDING))
    Person.model_validate(deepcopy(PERSON))
    assert schema_problems("subject", SUBJECT) == schema_problems("procedures", PROCEDURES) == ()
