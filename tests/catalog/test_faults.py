"""An error is no absence: what could not be read stays, is told by name, and the rest is imported."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from include.catalog.imports import Importer
from include.errors import (
    AccessDenied,
    AssetflowError,
    DatabaseRefused,
    MalformedAnswer,
    NotFound,
    RunIncomplete,
    ServiceUnavailable,
)
from tests.catalog.lab import BUCKET, DATASET, Lab
from tests.catalog.test_import import ANNOTATION, COUNTS, TOMOGRAM, edit

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
    with pytest.raises(RunIncomplete, match=key):
        report.raise_if_incomplete()
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
    """A connection whose cursors break at one statement."""

    def __init__(self, connection: psycopg.Connection[Any], at: int, error: BaseException) -> None:
        self._connection = connection
        self.statements = 0
        self._at = at
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._connection.transaction() as transaction:
            yield transaction

    def cursor(self) -> Any:
        inner, outer = self._connection.cursor(), self

        class Cursor:
            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                inner.close()

            def execute(self, *arguments: Any) -> Any:
                if outer.statements == outer._at:
                    raise outer._error
                outer.statements += 1
                return inner.execute(*arguments)

        return Cursor()


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "error", [Killed(), psycopg.OperationalError("gone"), psycopg.DataError("no")], ids=repr
)
def test_broken_off_at_any_statement_the_database_is_as_it_was(lab: Lab, error: BaseException):
    lab.run()
    edit(lab, TOMOGRAM, lambda content: content.update(tomogram_version=2))
    del lab.objects[ANNOTATION]
    versions = lab.versions()
    counting = Breaking(lab.connect(), -1, error)
    with contextlib.suppress(Exception):
        importer(lab, counting, dry_run=True).import_dataset(DATASET)
    assert counting.statements > 60
    for at in range(2, counting.statements, 9):
        with pytest.raises((Killed, ServiceUnavailable, DatabaseRefused)):
            importer(lab, Breaking(lab.connect(), at, error)).import_dataset(DATASET)
        assert lab.versions() == versions
    assert lab.run().problems == ()
    assert "annotation" not in lab.counts()


def importer(lab: Lab, connection: Any, **how: Any) -> Importer:
    made = lab.importer(**how)
    return Importer(**{**made.__dict__, "connect": lambda: connection})


def test_two_imports_of_one_dataset_at_once_make_each_row_once(lab: Lab):
    errors: list[BaseException] = []

    def work() -> None:
        try:
            lab.run()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert lab.counts() == COUNTS


def test_two_datasets_of_one_new_deposition_at_once_make_it_once(lab: Lab):
    from include.catalog.discovery import DatasetFolder

    for key in [key for key in lab.objects if key.startswith("30001/")]:
        lab.objects[key.replace("30001/", "30002/", 1)] = lab.objects[key]
    edit(
        lab, "30002/dataset_metadata.json", lambda content: content.update(dataset_identifier=30002)
    )
    problems: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda name=name: problems.extend(lab.run(folder=DatasetFolder(name)).problems)
        )
        for name in ("30001", "30002")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert lab.rows("dataset", "id") == [30001, 30002]
    assert lab.rows("deposition", "id") == [300, 301]
    assert lab.counts()["deposition_author"] == COUNTS["deposition_author"]


def test_a_database_that_is_gone_may_be_back_later(lab: Lab):
    def gone() -> Any:
        return psycopg.connect("postgresql://nobody@127.0.0.1:9/none", connect_timeout=1)

    made = lab.importer()
    with pytest.raises(ServiceUnavailable):
        Importer(**{**made.__dict__, "connect": gone}).import_dataset(DATASET)
