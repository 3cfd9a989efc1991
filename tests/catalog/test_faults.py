"""An error is no absence: what could not be read stays, is told by name, and the rest is imported."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.catalog.documents import DocumentReader
from include.catalog.entities import OF_DATASETS
from include.catalog.finders import Item
from include.catalog.imports import Importer
from include.catalog.listing import DatasetListing
from include.catalog.paths import Urls
from include.catalog.rows import make_rows
from include.catalog.tree import Tree
from include.catalog.write import Writer
from include.errors import (
    AccessDenied,
    AssetflowError,
    DatabaseRefused,
    MalformedAnswer,
    NotFound,
    ServiceUnavailable,
)
from tests.catalog.lab import BUCKET, DATASET, EVERYTHING, Lab
from tests.catalog.test_import import ALIGNMENT, ANNOTATION, COUNTS, TOMOGRAM, edit

DOCUMENTS = {
    "30001/dataset_metadata.json": set(COUNTS)
    - {"deposition", "deposition_author", "deposition_type"},
    "30001/RUN1/run_metadata.json": {"run"},
    "30001/RUN1/Frames/frames_metadata.json": {"frame", "frame_acquisition_file"},
    "30001/RUN1/TiltSeries/100/tiltseries_metadata.json": {"tiltseries", "per_section_parameters"},
    "30001/RUN1/Alignments/100/alignment_metadata.json": {
        "alignment",
        "per_section_alignment_parameters",
    },
    TOMOGRAM: {"tomogram", "tomogram_author"},
    ANNOTATION: {"annotation", "annotation_shape", "annotation_file", "annotation_author"},
}
"""Document → tables whose rows depend on it."""

ERRORS = {
    "403": AccessDenied("403"),
    "404 although listed": NotFound("404"),
    "503": ServiceUnavailable("503"),
    "garbage": MalformedAnswer("no S3"),
}

CONTENTS = {
    "cut short": b'{"a": 1',
    "not UTF-8": b"\xff\xfe",
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
}


@pytest.mark.parametrize("key", DOCUMENTS)
@pytest.mark.parametrize("kind", [*ERRORS, *CONTENTS])
def test_a_document_that_cannot_be_read_keeps_what_depended_on_it(lab: Lab, key: str, kind: str):
    lab.run()
    ids = {table: lab.rows(table, "id") for table in COUNTS}
    good = lab.objects[key]
    edit(lab, "30001/RUN4/run_metadata.json", lambda content: content.update(run_name="RENAMED"))
    if kind in ERRORS:
        lab.objects.faults[key] = ERRORS[kind]
    else:
        lab.objects[key] = CONTENTS[kind]

    report = lab.run()

    assert any(f"s3://{BUCKET}/{key}" in problem for problem in report.problems)
    assert report.may_pass == (kind in {"503", "404 although listed"})
    assert set(report.problems) <= set(report.failures)
    for table in DOCUMENTS[key]:
        assert set(ids[table]) <= set(lab.rows(table, "id")), table
    if key != "30001/dataset_metadata.json":
        assert "RENAMED" in lab.rows("run", "name")

    lab.objects.faults.clear()
    lab.objects[key] = good
    assert lab.run().problems == ()
    assert lab.counts() == COUNTS


@pytest.mark.parametrize("error", [AccessDenied("403"), ServiceUnavailable("503")])
def test_a_folder_that_cannot_be_listed_changes_nothing(lab: Lab, error: AssetflowError):
    lab.run()
    versions = lab.versions()
    lab.objects.faults["list 30001/"] = error
    with pytest.raises(type(error)):
        lab.run()
    assert lab.versions() == versions


@pytest.mark.parametrize(
    ("key", "path", "value", "told"),
    [
        (TOMOGRAM, ("processing",), "polished", "processing: expected one of denoised"),
        (TOMOGRAM, ("size", "x"), "wide", "size.x: expected a whole number, found 'wide'"),
        (TOMOGRAM, ("offset",), None, "offset.x: is missing"),
        (TOMOGRAM, ("dates", "release_date"), "2023-06-01T00:00", "expected a day as YYYY-MM-DD"),
        (TOMOGRAM, ("fiducial_alignment_status",), "maybe", "expected FIDUCIAL"),
        (TOMOGRAM, ("deposition_id",), 999, "there is no deposition 999"),
        (ANNOTATION, ("annotation_method",), "a\0b", "holds a NUL character"),
        (ANNOTATION, ("annotation_object",), "ribosome", "expected an object with"),
        (ANNOTATION, ("files", 0, "shape"), "Sphere", "expected one of"),
        (ANNOTATION, ("authors", 1), "Jane", "authors[1]: expected an object"),
        (ANNOTATION, ("method_links",), "none", "method_links: expected a list"),
    ],
)
def test_a_value_that_no_column_takes_is_told_with_key_field_and_reason(
    lab: Lab, key: str, path: tuple[Any, ...], value: Any, told: str
):
    lab.run()
    counts = lab.counts()

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    edit(lab, key, change)
    report = lab.run()
    assert any(f"s3://{BUCKET}/{key}: " in one and told in one for one in report.problems)
    assert lab.counts() == counts


def test_every_problem_of_a_document_is_told_at_once(lab: Lab):
    edit(
        lab,
        TOMOGRAM,
        lambda content: content.update(processing="x", size={"x": "y"}, voxel_spacing=None),
    )
    report = lab.run()
    fields = {problem.split(": ")[1] for problem in report.problems}
    assert {"processing", "size.x", "size.y", "size.z", "voxel_spacing"} <= fields


def test_a_viewer_configuration_that_cannot_be_read_keeps_the_column_and_the_tomogram_is_imported(
    lab: Lab,
):
    lab.run()
    key = next(key for key in lab.objects if key.endswith("neuroglancer_config.json"))
    lab.objects.faults[key] = ServiceUnavailable("503")
    edit(lab, TOMOGRAM, lambda content: content.update(processing="filtered"))
    edit(lab, TOMOGRAM, lambda content: content.update(run_name="NEW"))
    edit(lab, TOMOGRAM, lambda content: content.update(processing="raw"))
    report = lab.run()
    assert "neuroglancer_config_path" in report.problems[0]
    row = next(row for row in lab.rows("tomogram") if row["name"] == "NEW")
    assert row["neuroglancer_config"] == '{"foo":"bar","baz":"test"}'


def test_a_viewer_configuration_that_is_not_there_is_an_empty_one_with_a_warning(lab: Lab):
    del lab.objects[next(key for key in lab.objects if key.endswith("neuroglancer_config.json"))]
    report = lab.run()
    assert report.problems == ()
    assert "is not there" in report.warnings[0]
    assert "{}" in lab.rows("tomogram", "neuroglancer_config")


# Killed, refused, at once --------------------------------------------------------------------------


class Breaking:
    """A connection that breaks at one of its steps: statements, both ends of a COPY and of a COMMIT."""

    def __init__(self, connection: psycopg.Connection[Any], at: int, error: BaseException) -> None:
        self._connection = connection
        self._at = at
        self._error = error
        self.steps: list[str] = []
        """Those that were taken."""

    def step(self, what: str) -> None:
        if len(self.steps) == self._at:
            raise self._error
        self.steps.append(what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        self.step("BEGIN")
        with self._connection.transaction() as transaction:
            yield transaction
            self.step("COMMIT")
        self.step("COMMIT was answered")

    def cursor(self) -> Any:
        inner, outer = self._connection.cursor(), self

        class Cursor:
            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                inner.close()

            def execute(self, statement: Any, *values: Any) -> Any:
                outer.step(as_text(statement))
                return inner.execute(statement, *values)

            @contextlib.contextmanager
            def copy(self, statement: Any) -> Iterator[Any]:
                outer.step(as_text(statement))
                with inner.copy(statement) as copy:
                    yield copy
                    outer.step("COPY was sent")

        return Cursor()


def as_text(statement: str | sql.Composable) -> str:
    return statement if isinstance(statement, str) else statement.as_string(None)


class Killed(BaseException):
    """Stands for the end of the process."""


def change_everything(lab: Lab) -> None:
    """Something to create, update and delete, a pointer to clear, and a deposition to make."""
    edit(lab, TOMOGRAM, lambda content: content.update(tomogram_version=2))
    edit(
        lab, "30001/RUN3/TiltSeries/100/tiltseries_metadata.json",
        lambda content: content.update(deposition_id=302),
    )  # fmt: skip
    old = json.loads(lab.objects["depositions_metadata/300/deposition_metadata.json"])
    new = {**old, "deposition_identifier": 302}
    lab.objects.put("depositions_metadata/302/deposition_metadata.json", new)
    lab.objects.put("30001/RUN5/run_metadata.json", {"run_name": "RUN5"})
    for key in (ANNOTATION, ALIGNMENT):
        del lab.objects[key]


@pytest.mark.parametrize(
    ("error", "every"),
    # The process's end at each step; what a database says at some, which takes the same way out.
    [(Killed(), 1), (psycopg.OperationalError("gone"), 13), (psycopg.DataError("no"), 17)],
    ids=["killed", "gone", "refused"],
)
def test_broken_off_at_any_step_the_database_is_as_before_or_as_after(
    lab: Lab, error: BaseException, every: int
):
    lab.run()
    change_everything(lab)
    before = lab.versions()
    for at in itertools.count(0, every):
        broken = Breaking(lab.connect(), at, error)
        try:
            importer(lab, broken).import_dataset(DATASET)
        except (Killed, ServiceUnavailable, DatabaseRefused):
            if broken.steps[-1:] == ["COMMIT"]:
                break  # it went through, and nobody was told
            assert lab.versions() == before, broken.steps[-1]
        else:
            break
    for verb in ("SELECT to_jsonb", "COPY ", "COPY was sent", "INSERT ", "DELETE FROM", "COMMIT"):
        assert any(step.startswith(verb) for step in broken.steps), verb
    assert any('SET "alignment_id" = NULL' in step for step in broken.steps)
    assert "annotation" not in lab.counts()
    assert set(lab.rows("tomogram", "alignment_id")) == {None}
    assert 302 in lab.rows("deposition", "id")
    after = lab.versions()
    assert lab.run().problems == ()
    assert lab.versions() == after


def importer(lab: Lab, connection: Any, **how: Any) -> Importer:
    return replace(lab.importer(**how), connect=lambda: connection)


def test_a_database_that_is_gone_may_be_back_later(lab: Lab):
    def gone() -> Any:
        return psycopg.connect("postgresql://nobody@127.0.0.1:9/none", connect_timeout=1)

    with pytest.raises(ServiceUnavailable):
        replace(lab.importer(), connect=gone).import_dataset(DATASET)


def test_a_value_that_the_database_refuses_all_the_same_is_named(lab: Lab):
    lab.execute("ALTER TABLE annotation ALTER object_name TYPE varchar(2)")
    told = f"{ANNOTATION}: annotation: .*varying.*COPY new_annotation, line 1, column object_name"
    with pytest.raises(DatabaseRefused, match=told):
        lab.run()
    assert lab.counts() == {}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"in_plane_rotation": float("nan")}, 'Token "NaN" is invalid'),
        ({"in_plane_rotation": "a\0"}, "Unicode escape"),
        ({"z_index": 2**40}, "out of range"),
    ],
    ids=str,
)
def test_a_value_that_no_converter_stopped_is_named(lab: Lab, value: dict[str, Any], told: str):
    """Whatever the column's type: as if its converter had let the value through."""

    lab.importer().import_depositions([300, 301])
    tree = Tree(
        BUCKET,
        DatasetListing(DATASET.prefix, lab.objects.iterate_objects(BUCKET, DATASET.prefix)),
        DocumentReader(lab.objects, BUCKET),
        Urls(BUCKET),
        outer_size=lambda _: 0,
        has_deposition=lambda _: True,
    )
    made = make_rows(tree, OF_DATASETS, {"dataset": [Item(DATASET.prefix, {})]}, EVERYTHING)
    rows = made["per_section_alignment_parameters"]
    (name,) = value
    list(rows.rows.values())[1][rows.columns.index(name)] = value[name]
    found = f"{ALIGNMENT}: entry 2 of per_section_alignment_parameters: .*{told}"
    with (
        lab.connect() as connection,
        pytest.raises(DatabaseRefused, match=found),
        connection.transaction(),
    ):
        Writer(connection, OF_DATASETS).write(made)


# Sizes of what lies elsewhere ----------------------------------------------------------------------

OUTSIDE = "elsewhere/x.mrc"


def point_outside(lab: Lab) -> None:
    lab.objects[OUTSIDE] = b"12345"
    for key in (TOMOGRAM, "30001/RUN1/TiltSeries/100/tiltseries_metadata.json"):
        edit(lab, key, lambda content: content.update(mrc_file=OUTSIDE))


def test_a_size_outside_of_the_datasets_folder_is_asked_for_once(lab: Lab):
    point_outside(lab)
    assert lab.run().problems == ()
    assert 5 in lab.rows("tomogram", "file_size_mrc")
    assert 5 in lab.rows("tiltseries", "file_size_mrc")
    assert lab.objects.requests.count(f"list {OUTSIDE}") == 1


@pytest.mark.parametrize("error", [AccessDenied("403"), ServiceUnavailable("503")])
def test_a_size_that_cannot_be_told_stays_and_the_rest_is_imported(lab: Lab, error: AssetflowError):
    point_outside(lab)
    lab.run()
    lab.objects.faults[f"list {OUTSIDE}"] = error
    edit(lab, TOMOGRAM, lambda content: content.update(run_name="NEW"))
    report = lab.run()
    assert [one.partition(": ")[0] for one in report.problems] == [f"s3://{BUCKET}/{OUTSIDE}"]
    assert report.may_pass == isinstance(error, ServiceUnavailable)
    (row,) = (row for row in lab.rows("tomogram") if row["name"] == "NEW")
    assert row["file_size_mrc"] == 5
    lab.execute("DELETE FROM tomogram_author")
    lab.execute("DELETE FROM tomogram")
    lab.run()
    (row,) = (row for row in lab.rows("tomogram") if row["name"] == "NEW")
    assert row["file_size_mrc"] is None


@pytest.mark.parametrize("path", ["/", f"{BUCKET}/", f"/{BUCKET}//"])
def test_a_path_that_names_the_bucket_is_told_and_nothing_is_listed_for_it(lab: Lab, path: str):
    edit(lab, TOMOGRAM, lambda content: content.update(mrc_file=path))
    report = lab.run()
    assert any(f"{TOMOGRAM}: " in one and "expected a path" in one for one in report.problems)
    assert "list " not in lab.objects.requests


# Objects identified in a run -----------------------------------------------------------------------

IDENTIFIED = "30001/RUN1/IdentifiedObjects/identified_objects.json"


def test_identified_objects_are_created_updated_and_deleted(lab: Lab):
    def found(*objects: tuple[str, str]) -> tuple[int, int, int]:
        lab.objects.put(
            IDENTIFIED, [{"object_id": one, "object_name": name} for one, name in objects]
        )
        report = lab.run()
        assert report.problems == ()
        counts = report.tables["identified_object"]
        return counts.created, counts.updated, counts.deleted

    assert found(("a", "x"), ("b", "y")) == (2, 0, 0)
    ids = lab.rows("identified_object", "id")
    assert found(("a", "new"), ("b", "y")) == (0, 1, 0)
    assert lab.rows("identified_object", "id") == ids
    assert found(("a", "new"), ("b", "old"), ("b", "newer")) == (0, 1, 0)
    assert lab.rows("identified_object", "object_name", order="object_id") == ["new", "newer"]
    assert found(("b", "newer")) == (0, 0, 1)


@pytest.mark.parametrize(
    "kind", [*ERRORS, "cut short", "an object", "null", "an entry of another kind"]
)
def test_identified_objects_that_cannot_be_read_stay(lab: Lab, kind: str):
    objects = [{"object_id": one, "object_name": one} for one in "abc"]
    lab.objects.put(IDENTIFIED, objects)
    lab.run()
    versions = lab.rows("identified_object", "id", "xmin::text")
    if kind in ERRORS:
        lab.objects.faults[IDENTIFIED] = ERRORS[kind]
    else:
        content = {
            "cut short": b"[", "an object": {}, "null": None, "an entry of another kind": ["a"],
        }  # fmt: skip
        lab.objects.put(IDENTIFIED, content[kind])
    report = lab.run()
    assert any(IDENTIFIED in problem for problem in report.problems)
    assert lab.rows("identified_object", "id", "xmin::text") == versions
