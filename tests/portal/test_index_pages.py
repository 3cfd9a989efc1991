"""The pages about index runs, asked for as a browser and as a program do."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from include.assets.run_key import run_key_of
from include.clients.runs_bucket import (
    RunsBucket,
    failure_key,
    history_key,
    plan_key,
    removals_key,
    report_key,
)
from include.clients.s3 import S3Client
from include.errors import AccessDenied, BucketNotFound, ServiceUnavailable
from include.indexing.history import BucketHistory
from include.indexing.report import Half, Outcome, RemovalReport, Slice, SliceReport
from include.indexing.request import DAG_ID
from include.local.services import S3
from include.portal.index_runs import KEY_KEPT_S, IndexRuns
from tests.portal.index_reports import (
    NOW,
    REFUSED,
    RUN_ID,
    RUN_KEY,
    FakeObjects,
    contents_of,
    make_line,
    make_plan,
    make_report,
    make_rich_report,
    make_row,
    many_histories,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx`")

AS_BROWSER = {"accept": "text/html,application/xhtml+xml"}
RUN_PAGE = f"/index/runs/{RUN_KEY}"
PATHS = ("/index", "/index/run?run_id=x", RUN_PAGE, "/static/portal.css")


def client_of(app: FastAPI, *, root_path: str = "/portal") -> TestClient:
    """A browser in front of the app, as it is mounted in Airflow."""
    from starlette.testclient import TestClient

    return TestClient(
        app,
        base_url="http://testserver",
        root_path=root_path,
        headers=AS_BROWSER,
        follow_redirects=False,
        raise_server_exceptions=False,
    )


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def app(objects: FakeObjects) -> FastAPI:
    from include.portal.app import create_app

    return create_app(open_index=objects.runs, clock=lambda: NOW)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Of a person who may see the pages."""
    return client_of(let_in(app))


def let_in(app: FastAPI) -> FastAPI:
    from airflow.api_fastapi.core_api.security import get_user

    from include.portal.app import may_read_index_runs

    app.dependency_overrides |= {get_user: lambda: None, may_read_index_runs: lambda: None}
    return app


def text_of(answer: Any) -> str:
    """What a person reads on a page: one space between words."""
    without_marks = re.sub(
        r"<(script|style|title)\b.*?</\1>|<[^>]+>", " ", answer.text, flags=re.DOTALL
    )
    return " ".join(html.unescape(without_marks).split())


# --------------------------------------------------------------------------- the guard


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_refused(app: FastAPI, path: str) -> None:
    client = client_of(app)
    answer = client.get(path, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize("path", PATHS)
def test_a_strangers_browser_is_led_to_the_log_in_and_back(app: FastAPI, path: str) -> None:
    answer = client_of(app).get(f"/portal{path}")
    assert answer.status_code == 303
    where, _, target = answer.headers["location"].partition("?next=")
    assert where == "/api/v2/auth/login"
    quoted = path.replace("/", "%2F").replace("?", "%3F").replace("=", "%3D")
    assert target == f"%2Fportal{quoted}"


def test_no_route_is_without_a_guard_and_nothing_describes_the_app(app: FastAPI) -> None:
    from airflow.api_fastapi.core_api.security import get_user

    from include.portal.app import may_read_index_runs

    guards = {
        route.path: [one.call for one in route.dependant.dependencies]  # type: ignore[attr-defined]
        for route in app.routes
    }
    assert len(guards) == 4
    assert all(get_user in found for found in guards.values())
    assert [path for path, found in guards.items() if may_read_index_runs not in found] == [
        "/static/{name}"
    ]
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client_of(let_in(app)).get(path).status_code == 404


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Makes every caller somebody of that role; what they may do is Airflow's to say."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api import security
    from airflow.models.dag import DagModel

    def someone(role: str | None) -> None:
        user = SimpleAuthManagerUser(username="somebody", role=role)

        async def known(token: str | None) -> SimpleAuthManagerUser:
            return user

        monkeypatch.setattr(security, "resolve_user_from_token", known)

    monkeypatch.setattr(security, "get_auth_manager", SimpleAuthManager)
    monkeypatch.setattr(DagModel, "get_team_name", lambda dag_id: None)
    return someone


@pytest.mark.parametrize("path", PATHS[:3])
def test_who_may_not_read_runs_of_the_dag_is_told_so(
    app: FastAPI, sign_in: Callable[[str | None], None], path: str
) -> None:
    sign_in(None)
    answer = client_of(app).get(path)
    assert answer.status_code == 403
    assert "You may not see this" in text_of(answer)
    refused = client_of(app).get(path, headers={"accept": "*/*"})
    assert (refused.status_code, refused.json()) == (403, {"detail": "Forbidden"})


def test_a_viewer_may_read(app: FastAPI, sign_in: Callable[[str | None], None]) -> None:
    sign_in("VIEWER")
    assert client_of(app).get("/index").status_code == 200


# --------------------------------------------------------------------------- all buckets


def test_each_bucket_is_shown_with_its_last_run_and_a_drawing(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(histories=many_histories())
    answer = client.get("/index")
    assert answer.status_code == 200
    for name in ("open-data", "private-data", "scratch", "code-ocean-results"):
        assert f'<th scope="row">{name}</th>' in answer.text
    assert answer.text.count('<svg class="trend"') == 4
    # What is inside an image is not told to people who hear the page; these hold links.
    assert 'role="img"' not in answer.text
    key = many_histories()[0].rows[-1].run_key
    assert f'href="/portal/index/runs/{key}"' in answer.text


def test_freshness_and_failures_are_told_in_words(client: TestClient, objects: FakeObjects) -> None:
    rows = (make_row(failed=2, drift=5, done=3, lag_left_s=11_520.0),)
    objects.contents = contents_of(histories=(BucketHistory(bucket="open-data", rows=rows),))
    text = text_of(client.get("/index"))
    assert "2 failed" in text
    assert "3 h 12 min" in text
    assert "26 min ago" in text
    assert "no full pass yet" in text


def test_before_the_first_run_the_page_says_so(client: TestClient) -> None:
    assert "No run has ended yet" in text_of(client.get("/index"))


def test_a_history_that_cannot_be_read_hides_no_other(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(histories=many_histories())
    objects.contents[history_key(DAG_ID, "broken")] = {"bucket": "broken", "rows": [{"run_id": 1}]}
    text = text_of(client.get("/index"))
    assert "history/index_buckets/broken.json is no BucketHistory" in text
    assert "private-data" in text


# --------------------------------------------------------------------------- one run


def test_a_report_shows_its_verdict_counts_reasons_and_the_refusal(
    client: TestClient, objects: FakeObjects
) -> None:
    report, refused = make_rich_report()
    plan = make_plan(("open-data", "private-data", "scratch"))
    objects.contents = contents_of(plan=plan, report=report, removals=(refused,))
    text = text_of(client.get(RUN_PAGE))
    assert "414 failed, of 11,026 assets in 3 buckets; 87 put right" in text
    assert f"Removals in private-data were refused {REFUSED}" in text
    assert "5,290 folders with a record looked up, not compared" in text
    assert "core files written 174" in text
    assert "AccessDenied: GET s3://open-data/ecephys_712345_2026-11-18_09-30-00" in text
    assert "no metadata.nd.json and no core file: nothing to make a record of 37" in text
    assert (
        "1 in the record and the root and a dated copy write the root file from the record" in text
    )
    assert "Look back 14" in text
    assert "nothing was written" not in text


def test_a_dry_run_says_so_and_speaks_of_what_would_be(
    client: TestClient, objects: FakeObjects
) -> None:
    report, refused = make_rich_report(dry_run=True)
    objects.contents = contents_of(report=report, removals=(refused,))
    text = text_of(client.get(RUN_PAGE))
    assert "Dry run: nothing was written" in text
    assert "87 would be put right" in text
    assert "would be refused" in text
    assert "assetflow restore" not in text


def test_what_was_removed_is_told_with_the_way_to_put_it_back(
    client: TestClient, objects: FakeObjects
) -> None:
    journal = f"runs/{DAG_ID}/{RUN_KEY}/journal/open-data-0123456789.json"
    removed = RemovalReport(
        bucket="open-data", dry_run=False, removed={"records_removed": 3}, journals=(journal,)
    )
    objects.contents = contents_of(report=make_report(), removals=(removed,))
    text = text_of(client.get(RUN_PAGE))
    assert "records removed 3" in text
    assert journal in text
    # By its key: a later run may have been given the same id.
    assert f"assetflow restore {RUN_KEY}" in text


DRY_REMOVALS = RemovalReport(bucket="open-data", dry_run=True, proposed={"record": 3, "file": 1})


@pytest.mark.parametrize(
    ("removals", "told"),
    [
        pytest.param(
            DRY_REMOVALS,
            [
                "Changes that would be made records removed 3 core files removed 1",
                "3 records and 1 core file would be removed, each only if it is still so",
            ],
            id="a dry run",
        ),
        pytest.param(
            DRY_REMOVALS.model_copy(update={"refused": REFUSED}),
            [
                "Nothing would be removed, for the reason given above. Proposed: 3 records and 1 core"
            ],
            id="a dry run that would be refused",
        ),
        pytest.param(
            DRY_REMOVALS.model_copy(update={"refused": REFUSED, "dry_run": False}),
            [
                "Nothing was removed, for the reason given above. Proposed: 3 records and 1 core file"
            ],
            id="a refusal",
        ),
    ],
)
def test_what_is_proposed_for_removal_is_told(
    client: TestClient, objects: FakeObjects, removals: RemovalReport, told: list[str]
) -> None:
    bucket = make_report().buckets[0].model_copy(update={"counts": {}})
    report = make_report(dry_run=removals.dry_run, buckets=(bucket,))
    objects.contents = contents_of(report=report, removals=(removals,))
    text = text_of(client.get(RUN_PAGE))
    for words in told:
        assert words in text
    assert ("records removed" in text) is (not removals.refused)


def test_more_failures_than_a_report_holds_are_all_counted(
    client: TestClient, objects: FakeObjects
) -> None:
    held = {f"s3://open-data/a{number}": "AccessDenied: no" for number in range(4)}
    objects.contents = contents_of(report=make_report(failed=held, failed_total=100_000))
    text = text_of(client.get(RUN_PAGE))
    assert "100,000 failed, of 5,000 assets in 1 bucket" in text
    assert "100,000 failed The report holds the first 4 of them." in text


def test_a_report_of_a_version_that_did_not_count_all_failures_shows_those_it_holds(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(report=make_report(failed={"s3://open-data/a": "no"}))
    del objects.contents[report_key(DAG_ID, RUN_KEY)]["failed_total"]
    text = text_of(client.get(RUN_PAGE))
    assert "1 failed, of 5,000 assets" in text
    assert "The report holds the first" not in text


@pytest.mark.parametrize(
    ("key", "changed", "told"),
    [
        pytest.param(
            plan_key(DAG_ID, RUN_KEY),
            {"request": {"max_removal": 5}},
            "plan.json is no IndexPlan: request.",
            id="a plan with settings of another version",
        ),
        pytest.param(
            removals_key(DAG_ID, RUN_KEY, "open-data"),
            {"bucket": 5},
            "removals/open-data.json is no RemovalReport: bucket",
            id="removals",
        ),
    ],
)
def test_a_report_is_shown_without_what_cannot_be_read_beside_it(
    client: TestClient, objects: FakeObjects, key: str, changed: dict[str, Any], told: str
) -> None:
    objects.contents = contents_of(plan=make_plan(), report=make_report(), removals=(DRY_REMOVALS,))
    objects.contents[key] |= changed
    answer = client.get(RUN_PAGE)
    assert answer.status_code == 200
    text = text_of(answer)
    assert "1 not in step, of 5,000 assets in 1 bucket; 1 put right" in text
    assert "A part of this page is missing" in text
    assert told in text
    assert ("What this run was asked for" in text) is ("plan.json" not in key)


def test_lines_that_wait_for_removals_which_cannot_be_read_are_not_called_failed(
    client: TestClient, objects: FakeObjects
) -> None:
    plan = make_plan()
    one = plan.buckets["open-data"].slices[1]
    held_back = make_line(asset="s3://open-data/held_back", outcome=Outcome.PENDING)
    found = SliceReport(slice=one, dry_run=False, examined=1, unchanged=0, lines=(held_back,))
    objects.contents = contents_of(
        plan=plan,
        report=make_report(),
        removals=(DRY_REMOVALS,),
        found={one.name: found.model_dump(mode="json")},
    )
    objects.contents[removals_key(DAG_ID, RUN_KEY, "open-data")]["bucket"] = 5
    answer = client.get(RUN_PAGE, params={"part": one.name, "outcome": "pending"})
    assert shown_assets(answer) == ["held_back"]


def test_a_slice_that_cannot_be_read_is_told_of_and_the_rest_is_shown(
    client: TestClient, objects: FakeObjects
) -> None:
    plan = make_plan()
    name = plan.buckets["open-data"].slices[1].name
    objects.contents = contents_of(plan=plan, report=make_report(), found={name: {"slice": 1}})
    answer = client.get(RUN_PAGE, params={"part": name})
    assert answer.status_code == 200
    assert f"found/{name}.json is no SliceReport" in text_of(answer)
    assert "This slice left no lines" in text_of(answer)


def test_the_airflow_page_of_the_run_is_linked_so_that_the_frame_is_left(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(report=make_report())
    page = client.get(RUN_PAGE).text
    address = "/dags/index_buckets/runs/scheduled__2026-11-20T10%3A00%3A00%2B00%3A00"
    assert f'<a data-leaves href="{address}">' in page


def test_below_a_base_path_every_link_keeps_it(app: FastAPI, objects: FakeObjects) -> None:
    objects.contents = contents_of(report=make_report())
    page = client_of(let_in(app), root_path="/lab/portal").get(RUN_PAGE).text
    assert "/lab/dags/index_buckets/runs/" in page
    addresses = re.findall(r'(?:href|action|src)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("/lab/") for address in addresses)


@pytest.mark.parametrize("place", ["asset", "reason", "step", "bucket", "run_id"])
def test_what_others_chose_is_shown_as_text(
    client: TestClient, objects: FakeObjects, place: str
) -> None:
    hostile = "<b>x</b>\"'><script>alert(1)</script>{{ 7 * 7 }}"
    line = make_line(
        asset=hostile if place == "asset" else "s3://open-data/a",
        outcome=Outcome.FAILED,
        reason=hostile if place == "reason" else "",
        steps=(hostile,) if place == "step" else (),
    )
    buckets = make_report().buckets
    if place == "bucket":
        buckets = (buckets[0].model_copy(update={"bucket": hostile, "problem": hostile}),)
    report = make_report(
        run_id=hostile if place == "run_id" else RUN_ID,
        lines=(line,),
        failed={line.asset: line.reason},
        skipped={line.reason: 1},
        buckets=buckets,
    )
    objects.contents = contents_of(report=report, plan=make_plan())
    answer = client.get(RUN_PAGE)
    assert answer.status_code == 200
    assert "<b>x" not in answer.text
    assert "<script>alert" not in answer.text
    assert hostile in html.unescape(answer.text)


def test_a_query_cannot_put_markup_on_the_page(client: TestClient, objects: FakeObjects) -> None:
    objects.contents = contents_of(report=make_report())
    hostile = '"><script>alert(1)</script>'
    for query in ("text", "outcome", "page", "reasons", "part"):
        page = client.get(RUN_PAGE, params={query: hostile}).text
        assert "<script>alert" not in page, query
    for query in ("run_id", "dag_id"):
        page = client.get("/index/run", params={query: hostile}).text
        assert "<script>alert" not in page, query


def test_a_page_runs_no_script_but_the_portals_and_is_framed_by_nobody_else(
    client: TestClient,
) -> None:
    answer = client.get("/index")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text  # the policy would drop it
    assert "onclick" not in answer.text
    for address in re.findall(r'(?:href|src)="/portal(/static/[^"]+)"', answer.text):
        assert client.get(address).status_code == 200
    assert client.get("/static/..%2Fapp.py").status_code == 404
    assert client.get("/static/app.py").status_code == 404


# --------------------------------------------------------------------------- the list


def many_lines() -> Any:
    lines = (
        *(make_line(n, asset=f"s3://open-data/asset_{n:04}") for n in range(450)),
        *(make_line(n, Outcome.SKIPPED, asset=f"s3://open-data/odd_{n}") for n in range(3)),
    )
    return make_report(lines=lines, lines_total=len(lines))


def shown_assets(answer: Any) -> list[str]:
    return re.findall(r'<td class="names">s3://open-data/(\w+)', answer.text)


def test_the_list_comes_two_hundred_at_a_time(client: TestClient, objects: FakeObjects) -> None:
    objects.contents = contents_of(report=many_lines())
    first = client.get(RUN_PAGE)
    assert len(shown_assets(first)) == 200
    assert "1 to 200 of 453" in text_of(first)
    [address] = set(re.findall(r'href="/portal([^"]+)" rel="next"', first.text))
    second = client.get(html.unescape(address).partition("#")[0])
    assert shown_assets(second)[0] == "asset_0200"
    last = client.get(RUN_PAGE, params={"page": "77"})
    assert len(shown_assets(last)) == 53
    assert 'rel="next"' not in last.text


def test_the_list_can_be_filtered_and_the_pages_keep_the_filter(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(report=many_lines())
    odd = client.get(RUN_PAGE, params={"outcome": "skipped"})
    assert shown_assets(odd) == ["odd_0", "odd_1", "odd_2"]
    assert '<option value="skipped" selected>' in odd.text
    some = client.get(RUN_PAGE, params={"text": "ASSET_0", "outcome": "done"})
    assert "1 to 200 of 450" in text_of(some)
    assert f"{RUN_PAGE}?outcome=done&amp;text=ASSET_0&amp;page=2#assets" in some.text
    none = client.get(RUN_PAGE, params={"text": "nowhere"})
    assert "None of 453 lines is so." in text_of(none)


def test_a_report_that_was_cut_offers_each_slice_with_all_of_its_lines(
    client: TestClient, objects: FakeObjects
) -> None:
    plan = make_plan()
    one = plan.buckets["open-data"].slices[1]
    found = SliceReport(
        slice=Slice(bucket="open-data", half=Half.PREFIXES, number=0, size=1000),
        dry_run=False,
        examined=1000,
        unchanged=998,
        lines=(
            make_line(asset="s3://open-data/in_the_slice"),
            make_line(asset="s3://open-data/held_back", outcome=Outcome.PENDING),
        ),
    )
    refused = RemovalReport(
        bucket="open-data",
        dry_run=False,
        refused=REFUSED,
        failed={"s3://open-data/held_back": f"not removed: {REFUSED}"},
    )
    report = make_report(lines_total=90_000)
    objects.contents = contents_of(
        plan=plan,
        report=report,
        removals=(refused,),
        found={one.name: found.model_dump(mode="json")},
    )
    whole = client.get(RUN_PAGE)
    assert "The report holds the first 1 of 90,000 lines." in text_of(whole)
    assert f"<option>{one.name}</option>" in whole.text
    answer = client.get(RUN_PAGE, params={"part": one.name})
    assert shown_assets(answer) == ["held_back", "in_the_slice"]
    assert f"not removed: {REFUSED}" in text_of(answer)
    unknown = client.get(RUN_PAGE, params={"part": "../../plan"})
    assert shown_assets(unknown) == shown_assets(whole)


def test_what_a_cleared_run_left_of_its_first_execution_is_not_shown(
    client: TestClient, objects: FakeObjects
) -> None:
    plan = make_plan()
    earlier = plan.started_at - timedelta(hours=1)
    one = plan.buckets["open-data"].slices[1]
    stale = SliceReport(
        slice=one.model_copy(update={"planned_at": earlier}),
        dry_run=False,
        examined=1,
        unchanged=0,
        lines=(make_line(asset="s3://open-data/of_before"),),
    )
    refused = RemovalReport(bucket="open-data", dry_run=False, refused=REFUSED, planned_at=earlier)
    objects.contents = contents_of(
        plan=plan,
        report=make_report(),
        removals=(refused,),
        found={one.name: stale.model_dump(mode="json")},
    )
    answer = client.get(RUN_PAGE, params={"part": one.name})
    assert shown_assets(answer) == []
    assert REFUSED not in text_of(answer)


# --------------------------------------------------------------------------- by the run's id


def test_a_run_is_found_by_the_id_that_airflow_has_for_it(
    client: TestClient, objects: FakeObjects
) -> None:
    other = run_key_of("another", NOW)
    objects.contents = contents_of(report=make_report())
    objects.contents |= contents_of(report=make_report(run_id="another"), run_key=other)
    text = text_of(client.get("/index/run", params={"run_id": RUN_ID}))
    assert f"{RUN_ID} , began" in text


def test_the_same_id_of_another_dag_is_another_run(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(report=make_report())
    answer = client.get("/index/run", params={"run_id": RUN_ID, "dag_id": "ingest_postgres"})
    assert answer.status_code == 200
    assert f"{RUN_ID} is a run of ingest_postgres" in text_of(answer)


def test_of_two_runs_with_one_id_the_later_one_is_shown_as_soon_as_it_is_there(
    objects: FakeObjects,
) -> None:
    """The first was deleted in Airflow, and the id given once more."""
    seconds = [0.0]
    runs = IndexRuns(objects, objects.list_folders, seconds=lambda: seconds[0])
    first, later = (run_key_of(RUN_ID, NOW + timedelta(days=day)) for day in (0, 1))
    assert runs.find_run_key(RUN_ID) is None
    objects.contents = contents_of(plan=make_plan(), run_key=first)
    assert runs.find_run_key(RUN_ID) == first
    objects.contents |= contents_of(plan=make_plan(), run_key=later)
    seconds[0] += KEY_KEPT_S
    assert runs.find_run_key(RUN_ID) == later


def test_a_page_that_waits_lists_the_runs_now_and_then_only(objects: FakeObjects) -> None:
    listed: list[str] = []

    def list_folders(prefix: str) -> set[str]:
        listed.append(prefix)
        return objects.list_folders(prefix)

    runs = IndexRuns(objects, list_folders, seconds=lambda: 0.0)
    objects.contents = contents_of(plan=make_plan())
    assert {runs.find_run_key(RUN_ID) for _ in range(5)} == {RUN_KEY}
    assert len(listed) == 1


def refresh_of(answer: Any) -> tuple[str, str]:
    """After how many seconds a page is asked for again, and at which address; ``""``: its own, or never."""
    found = re.search(r'<meta http-equiv="refresh" content="(\d+)(?:; url=([^"]*))?">', answer.text)
    return (found[1], html.unescape(found[2] or "")) if found else ("", "")


def test_a_run_that_planned_nothing_yet_is_looked_for_again(client: TestClient) -> None:
    names = {"run_id": RUN_ID, "dag_id": DAG_ID}
    answer = client.get("/index/run", params=names)
    assert answer.status_code == 200
    assert "it has not planned its work" in text_of(answer)
    seconds, address = refresh_of(answer)
    assert seconds == "5"
    again = client.get(address.removeprefix("/portal"))
    assert refresh_of(again) == ("5", address)


@pytest.mark.parametrize(
    ("waited", "seconds"),
    [
        (timedelta(minutes=11), "30"),
        (timedelta(minutes=59), "30"),
        (timedelta(hours=1), ""),
        (timedelta(days=30), ""),
    ],
)
def test_a_run_that_never_plans_is_not_looked_for_for_ever(
    client: TestClient, waited: timedelta, seconds: str
) -> None:
    since = str(int((NOW - waited).timestamp()))
    names = {"run_id": RUN_ID, "dag_id": DAG_ID}
    answer = client.get("/index/run", params={**names, "since": since})
    assert refresh_of(answer)[0] == seconds
    assert ("This page has looked for an hour" in text_of(answer)) is (not seconds)
    if not seconds:
        [address] = re.findall(r'<a href="/portal([^"]+)">Look again', answer.text)
        assert refresh_of(client.get(html.unescape(address)))[0] == "5"


@pytest.mark.parametrize("since", ["tomorrow", "-1", "9" * 40, "99999999999", "٣"])
def test_a_moment_that_makes_no_sense_is_now(client: TestClient, since: str) -> None:
    answer = client.get("/index/run", params={"run_id": RUN_ID, "since": since})
    assert answer.status_code == 200
    assert refresh_of(answer)[0] == "5"


@pytest.mark.parametrize("key", [run_key_of("unknown", NOW), "nonsense", "%2e%2e%2fplan"])
def test_an_unknown_run_is_not_found_in_words(client: TestClient, key: str) -> None:
    answer = client.get(f"/index/runs/{key}")
    assert answer.status_code == 404
    assert "There is no such page" in text_of(answer)


# --------------------------------------------------------------------------- while it goes on


def test_a_run_that_goes_on_shows_its_progress_and_looks_again(
    client: TestClient, objects: FakeObjects
) -> None:
    plan = make_plan(("open-data", "scratch"), started_at=NOW - timedelta(minutes=2))
    names = [one.name for one in plan.slices]
    objects.contents = contents_of(plan=plan, found={name: {} for name in names[:4]})
    objects.contents[failure_key(DAG_ID, RUN_KEY, names[5])] = {"reason": "ServiceUnavailable"}
    answer = client.get(RUN_PAGE)
    text = text_of(answer)
    assert answer.status_code == 200
    assert "4 of 6 slices examined" in text
    assert "1 slice failed so far" in text
    assert "This page looks again every 5 s" in text
    assert refresh_of(answer) == ("5", "")
    assert '<rect class="fill" width="66.67" height="8"/>' in answer.text


def test_a_run_that_was_killed_long_ago_is_not_waited_for(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(plan=make_plan(started_at=NOW - timedelta(days=3)))
    answer = client.get(RUN_PAGE)
    assert "it was stopped or killed before its end" in text_of(answer)
    assert "http-equiv" not in answer.text


def test_a_run_that_was_cleared_says_that_its_report_is_the_earlier_one(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(plan=make_plan(started_at=NOW), report=make_report())
    assert "It was cleared and began anew" in text_of(client.get(RUN_PAGE))


# --------------------------------------------------------------------------- the store is silent


@pytest.mark.parametrize("path", PATHS[:3])
@pytest.mark.parametrize(
    "error",
    [
        ServiceUnavailable("GET s3://runs/x: 503 SlowDown"),
        AccessDenied("GET s3://runs/x: 403 AccessDenied"),
        BucketNotFound("GET s3://runs/x: 404 NoSuchBucket"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_store_that_does_not_answer_is_told_in_words(
    client: TestClient, objects: FakeObjects, path: str, error: Any
) -> None:
    objects.error = error
    answer = client.get(path)
    assert answer.status_code == 503
    assert "The runs bucket does not answer" in text_of(answer)
    assert str(error) in text_of(answer)
    for_programs = client.get(path, headers={"accept": "application/json"})
    assert for_programs.status_code == 503
    assert str(error) in for_programs.json()["detail"]


def test_a_connection_that_cannot_be_made_shows_none_of_its_details_and_is_tried_again(
    objects: FakeObjects,
) -> None:
    from include.portal.app import create_app

    tries = iter([ValueError("aws://key:secret@host"), None])

    def open_index() -> IndexRuns:
        if error := next(tries):
            raise error
        return objects.runs()

    client = client_of(let_in(create_app(open_index=open_index)))
    answer = client.get("/index")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert "ValueError" in answer.text
    assert client.get("/index").status_code == 200


def test_a_report_that_cannot_be_read_is_told_in_words(
    client: TestClient, objects: FakeObjects
) -> None:
    objects.contents = contents_of(report=make_report())
    del objects.contents[report_key(DAG_ID, RUN_KEY)]["started_at"]
    answer = client.get(RUN_PAGE)
    assert answer.status_code == 500
    assert "is no RunReport: started_at" in text_of(answer)


def test_a_fault_of_the_portal_shows_no_trace(client: TestClient, objects: FakeObjects) -> None:
    def fail(prefix: str) -> Iterator[str]:
        raise ZeroDivisionError("secret inner words")

    objects.list_keys = fail  # type: ignore[method-assign]
    answer = client.get("/index")
    assert answer.status_code == 500
    assert "The portal failed" in text_of(answer)
    assert "secret inner words" not in answer.text


# --------------------------------------------------------------------------- a real bucket


def test_a_real_runs_bucket_is_read_from_the_listing_of_its_folders(
    s3_server: S3, bucket: str, app: FastAPI
) -> None:
    from include.portal.app import create_app

    s3 = S3Client(s3_server.client())
    runs_bucket = RunsBucket(s3, bucket)
    contents = contents_of(plan=make_plan(), report=make_report(), histories=many_histories()[:1])
    other = run_key_of("another", NOW)
    for key, content in {**contents, plan_key(DAG_ID, other): {}}.items():
        runs_bucket.write(key, content)
    runs = IndexRuns(runs_bucket, lambda prefix: s3.list_folder(bucket, prefix).folders)
    client = client_of(let_in(create_app(open_index=lambda: runs, clock=lambda: NOW)))
    assert "open-data" in text_of(client.get("/index"))
    answer = client.get("/index/run", params={"run_id": RUN_ID, "dag_id": DAG_ID})
    assert "1 put right" in text_of(answer)
    assert client.get(f"/index/runs/{run_key_of('unknown', NOW)}").status_code == 404


def test_a_runs_bucket_that_is_not_there_is_no_empty_one(s3_server: S3) -> None:
    from include.portal.app import create_app

    s3 = S3Client(s3_server.client())
    gone = RunsBucket(s3, "test-never-made")
    runs = IndexRuns(gone, lambda prefix: s3.list_folder(gone.bucket, prefix).folders)
    client = client_of(let_in(create_app(open_index=lambda: runs)))
    for path in PATHS[:3]:
        assert client.get(path).status_code == 503, path
