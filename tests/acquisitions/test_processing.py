"""``processing.json`` says what really ran, once, however often it is written."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.acquisitions.processing import (
    Pipeline,
    ProcessRecord,
    read_process_records,
    set_given_aside,
    staged_generation,
    write_processing,
)
from include.assets.canonical import canonical_text
from include.assets.core_files import Generation, schema_problems
from include.errors import InvalidInput
from tests.acquisitions.metadata_fakes import Place
from tests.acquisitions.unprivileged import open_folder, unprivileged

STARTED_AT = datetime(2023, 4, 4, 1, 0, 0, tzinfo=UTC)
PIPELINE = Pipeline(name="Assetflow", url="https://example.org/assetflow", version="0.1.0")


def make_record(name: str | None = "Compression", **changes: Any) -> ProcessRecord:
    return ProcessRecord.model_validate({
        "name": name,
        "software_version": "0.1.0",
        "start_date_time": STARTED_AT,
        "end_date_time": STARTED_AT + timedelta(minutes=3),
        "input_location": "/source/ecephys",
        "output_location": "/staging/asset/ecephys",
        "code_url": "assetflow:transformations/ecephys",
        "parameters": {"codec": "zstd", "level": 3},
        "notes": None,
        "statistics": {"input_bytes": 100, "output_bytes": 40},
        **changes,
    })  # fmt: skip


GIVEN = {
    "object_type": "Processing",
    "schema_version": "2.3.3",
    "data_processes": [
        {
            "object_type": "Data process",
            "process_type": "Denoising",
            "name": "Denoising",
            "stage": "Processing",
            "code": {"object_type": "Code", "url": "rig", "version": "1"},
            "experimenters": ["Jane Doe"],
            "start_date_time": "2023-04-03T20:00:00Z",
        }
    ],
}


class Folders:
    def __init__(self, root: Path) -> None:
        self.asset, self.work = root / "asset", root / "work"
        self.asset.mkdir(parents=True)
        self.path = self.asset / "processing.json"

    def write(self, records: dict[str, ProcessRecord], **choices: Any) -> Path | None:
        return write_processing(self.asset, self.work, records, pipeline=PIPELINE, **choices)

    @property
    def content(self) -> Any:
        return json.loads(self.path.read_bytes())


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_a_process_says_what_ran_with_what_and_what_came_of_it(folders: Folders) -> None:
    assert folders.write({"ecephys": make_record()}) == folders.path
    assert schema_problems("processing", folders.content) == ()
    [process] = folders.content["data_processes"]
    assert process == {
        "object_type": "Data process",
        "process_type": "Compression",
        "name": "Compression of ecephys",
        "stage": "Processing",
        "code": {
            "object_type": "Code",
            "url": "assetflow:transformations/ecephys",
            "version": "0.1.0",
            "parameters": {"codec": "zstd", "level": 3, "input_source": "/source/ecephys"},
        },
        "experimenters": ["AIND Scientific Computing"],
        "pipeline_name": "Assetflow",
        "start_date_time": "2023-04-04T01:00:00Z",
        "end_date_time": "2023-04-04T01:03:00Z",
        "output_path": "ecephys",
        "output_parameters": {"input_bytes": 100, "output_bytes": 40},
    }
    [pipeline] = folders.content["pipelines"]
    assert pipeline["name"] == "Assetflow"


def test_the_text_is_canonical_and_without_nulls(folders: Folders) -> None:
    folders.write({"ecephys": make_record()})
    text = folders.path.read_text()
    assert text == canonical_text(json.loads(text))
    assert "null" not in text


@pytest.mark.parametrize(
    ("name", "code_url", "process_type"),
    [
        pytest.param("File format conversion", "x", "File format conversion", id="a known name"),
        pytest.param("ghcr.io/lab/compressor", "ghcr.io/lab/compressor", "Compression", id="code"),
        pytest.param("script", None, "Other", id="no code"),
    ],
)
def test_the_type_is_the_schemas_or_follows_from_the_code(
    folders: Folders, name: str, code_url: str | None, process_type: str
) -> None:
    folders.write({"behavior": make_record(name, code_url=code_url)})
    [process] = folders.content["data_processes"]
    assert process["process_type"] == process_type
    assert process["code"]["url"] == (code_url or "")


def test_what_was_linked_unchanged_makes_no_process(folders: Folders) -> None:
    assert folders.write({"ecephys": make_record(None)}) is None
    assert not folders.path.exists()
    folders.write({"ecephys": make_record(), "behavior": make_record(None)})
    assert len(folders.content["data_processes"]) == 1


def test_processes_are_in_the_order_they_started(folders: Folders) -> None:
    later = make_record(start_date_time=STARTED_AT + timedelta(minutes=1))
    folders.write({"behavior": later, "ecephys": make_record(), "fib": make_record()})
    names = [process["name"].split()[-1] for process in folders.content["data_processes"]]
    assert names == ["ecephys", "fib", "behavior"]
    assert "notes" not in folders.content, "nothing had to be reordered"


@pytest.mark.parametrize("aside", [True, False], ids=["set aside while gathering", "found"])
def test_the_acquisitions_own_file_is_added_to_and_only_once(folders: Folders, aside: bool) -> None:
    if aside:
        set_given_aside(json.dumps(GIVEN).encode(), folders.work)
    folders.path.write_text(json.dumps(GIVEN))
    folders.write({"ecephys": make_record()})
    first = folders.path.read_bytes()
    folders.write({"ecephys": make_record()})
    assert folders.path.read_bytes() == first
    names = [process["name"] for process in folders.content["data_processes"]]
    assert names == ["Denoising", "Compression of ecephys"]


def test_a_second_compression_replaces_the_first_in_the_file(folders: Folders) -> None:
    folders.write({"ecephys": make_record()})
    again = make_record(start_date_time=STARTED_AT + timedelta(hours=1),
                        end_date_time=STARTED_AT + timedelta(hours=2))  # fmt: skip
    folders.write({"ecephys": again})
    [process] = folders.content["data_processes"]
    assert process["start_date_time"] == "2023-04-04T02:00:00Z"


def test_gathering_again_with_a_corrected_file_is_what_is_added_to(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.give(processing={"data_processes": "wrong"})
    place.gather()
    with pytest.raises(InvalidInput, match="cannot be added to"):
        write_processing(place.asset, place.work, {"fib": make_record()}, pipeline=PIPELINE)
    place.give(processing=GIVEN)
    place.gather()
    for _ in range(2):
        write_processing(place.asset, place.work, {"fib": make_record()}, pipeline=PIPELINE)
    assert len(place.content("processing")["data_processes"]) == 2
    (place.user / "processing.json").unlink()
    place.gather()
    write_processing(place.asset, place.work, {"fib": make_record()}, pipeline=PIPELINE)
    assert len(place.content("processing")["data_processes"]) == 1


def test_when_nothing_ran_any_more_the_acquisitions_own_file_is_back(folders: Folders) -> None:
    given = json.dumps(GIVEN).encode()
    folders.path.write_bytes(given)
    folders.write({"ecephys": make_record()})
    assert folders.write({}) == folders.path
    assert folders.path.read_bytes() == given


def test_a_process_of_the_same_name_is_kept_beside_ours(folders: Folders) -> None:
    given = deepcopy(GIVEN)
    given["data_processes"][0]["name"] = "Compression of ecephys"  # type: ignore[index]
    folders.path.write_text(json.dumps(given))
    folders.write({"ecephys": make_record()})
    names = [process["name"] for process in folders.content["data_processes"]]
    assert names == ["Compression of ecephys", "Compression of ecephys_1"]


@pytest.mark.parametrize(
    "given_file",
    [{"data_processes": [{"name": "half"}]}, {"processing_pipeline": {}}],
    ids=["invalid", "generation 1"],
)
def test_a_file_that_cannot_be_added_to_is_refused_and_stays(
    folders: Folders, given_file: dict[str, Any]
) -> None:
    folders.path.write_text(json.dumps(given_file))
    with pytest.raises(InvalidInput, match=r"processing\.json.*cannot be added to"):
        folders.write({"ecephys": make_record()})
    assert folders.content == given_file


def test_generation_one_has_its_own_shape(folders: Folders) -> None:
    (folders.asset / "rig.json").write_text("{}")
    generation = staged_generation(folders.asset)
    assert generation is Generation.V1
    for _ in range(2):
        folders.write({"ecephys": make_record()}, generation=generation)
    pipeline = folders.content["processing_pipeline"]
    assert pipeline["processor_full_name"] == "AIND Scientific Computing"
    [process] = pipeline["data_processes"]
    assert process["name"] == "Compression"
    assert process["code_url"] == "assetflow:transformations/ecephys"
    assert folders.content["analyses"] == []


def test_generation_one_adds_to_the_acquisitions_own_file(folders: Folders) -> None:
    own = {"processing_pipeline": {"processor_full_name": "Jane", "data_processes": [{"a": 1}]}}
    folders.path.write_text(json.dumps(own))
    for _ in range(2):
        folders.write({"ecephys": make_record()}, generation=Generation.V1)
    pipeline = folders.content["processing_pipeline"]
    assert pipeline["processor_full_name"] == "Jane"
    assert len(pipeline["data_processes"]) == 2
    folders.path.unlink()
    set_given_aside(b'{"processing_pipeline": []}', folders.work)
    with pytest.raises(InvalidInput, match="data_processes"):
        folders.write({"ecephys": make_record()}, generation=Generation.V1)


def test_records_are_read_by_modality_and_all_bad_ones_told(tmp_path: Path) -> None:
    assert read_process_records(tmp_path / "gone") == {}
    (tmp_path / "ecephys.json").write_text(make_record().model_dump_json())
    assert read_process_records(tmp_path) == {"ecephys": make_record()}
    (tmp_path / "behavior.json").write_text('{"name": "Compression"')
    (tmp_path / "fib.json").write_text('{"name": "Compression"}')
    with pytest.raises(InvalidInput) as refused:
        read_process_records(tmp_path)
    told = {(Path(problem.item).name, problem.field) for problem in refused.value.problems}
    assert told == {
        ("behavior.json", ""), ("fib.json", "start_date_time"), ("fib.json", "end_date_time"),
    }  # fmt: skip


def test_records_that_may_not_be_listed_are_not_taken_for_none() -> None:
    with open_folder() as top:
        folder = top / "processes"
        folder.mkdir()
        (folder / "ecephys.json").write_text(make_record().model_dump_json())
        folder.chmod(0)
        with unprivileged(), pytest.raises(InvalidInput, match="processes: cannot be listed"):
            read_process_records(folder)


def _keys(value: Any) -> set[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = set(value) if isinstance(value, dict) else set()
    return own.union(*map(_keys, inner))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
    deadline=None,
)
@given(st.dictionaries(
    st.text("ab.$", min_size=1, max_size=4),
    st.recursive(st.integers() | st.text(max_size=3),
                 lambda inner: st.dictionaries(st.text("ab.$", min_size=1), inner) | st.lists(inner)),
))  # fmt: skip
def test_whatever_the_parameters_no_key_is_one_a_document_database_refuses(
    tmp_path_factory: pytest.TempPathFactory, parameters: dict[str, Any]
) -> None:
    folders = Folders(tmp_path_factory.mktemp("run"))
    folders.write({"ecephys": make_record(parameters=parameters, statistics=parameters)})
    assert schema_problems("processing", folders.content) == ()
    assert not any("." in key or key.startswith("$") for key in _keys(folders.content))
