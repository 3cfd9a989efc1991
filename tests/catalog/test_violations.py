"""Rows that share an identity: found, told, and made one by the statements for a person."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from include.catalog.migrate import migrate, opened_database
from include.catalog.tables import IDENTITIES, Base
from include.catalog.violations import (
    IdentitiesViolated,
    References,
    Violation,
    find_violations,
    repair_statements,
    require_identities,
)

NEEDED = {
    sa.Integer: 1,
    sa.Double: 1.5,
    sa.String: "x",
    sa.Boolean: False,
    sa.DateTime: "2024-01-01T00:00:00Z",
}


@pytest.fixture
def connection(fresh_database: str) -> Iterator[sa.Connection]:
    """A database with the tables and without the identities, as the portal's is."""
    with opened_database(fresh_database) as opened:
        without = sa.MetaData()
        for table in Base.metadata.sorted_tables:
            copy = table.to_metadata(without)
            unique = [one for one in copy.constraints if isinstance(one, sa.UniqueConstraint)]
            copy.constraints.difference_update(unique)
        without.create_all(opened)
        opened.exec_driver_sql(
            "ALTER TABLE identified_object ADD CONSTRAINT uq_identified_object_run_id_object_id "
            "UNIQUE (run_id, object_id)"
        )
        add(opened, "deposition", id=10)
        add(opened, "dataset", id=1, deposition_id=10)
        yield opened


def add(connection: sa.Connection, table: str, **values: object) -> int:
    """A row with these values; the rest is NULL, or anything where it must be something."""
    columns = Base.metadata.tables[table].columns
    for column in columns:
        if not column.nullable and column.name not in values and column.name != "id":
            assert not column.foreign_keys, f"{table}.{column.name} has to be given"
            values[column.name] = NEEDED[type(column.type)]
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    query = f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id"
    return connection.exec_driver_sql(query, values).scalar_one()


def repair(connection: sa.Connection) -> int:
    """Run the statements until nothing is found; how often it took."""
    for rounds in range(10):
        violations = find_violations(connection)
        if not violations:
            return rounds
        for violation in violations:
            for statement in repair_statements(violation):
                connection.exec_driver_sql(statement)
    raise AssertionError("never ends")


def test_none(connection: sa.Connection):
    add(connection, "run", dataset_id=1, name="a")
    add(connection, "run", dataset_id=1, name="b")
    assert find_violations(connection) == []
    require_identities(connection)


def test_an_empty_database_has_none(fresh_database: str):
    with opened_database(fresh_database) as empty:
        assert find_violations(empty) == []


def test_a_table_without_the_columns_is_passed_over(connection: sa.Connection):
    connection.exec_driver_sql("ALTER TABLE run DROP COLUMN name")
    assert find_violations(connection) == []


def test_found_with_what_points_at_each_row(connection: sa.Connection):
    one, two, three = (add(connection, "run", dataset_id=1, name="a") for _ in range(3))
    other = add(connection, "run", dataset_id=1, name="b")
    add(connection, "gain_file", run_id=two, s3_file_path="g")
    add(connection, "gain_file", run_id=two, s3_file_path="h")
    add(connection, "gain_file", run_id=other, s3_file_path="h")
    add(connection, "tiltseries", run_id=three)
    (found,) = find_violations(connection)
    assert found == Violation(
        "run",
        ("dataset_id", "name"),
        (1, "a"),
        (one, two, three),
        (
            References("gain_file", "run_id", {two: 2}),
            References("tiltseries", "run_id", {three: 1}),
        ),
    )
    assert [found.rows_pointing_at(row) for row in found.ids] == [0, 2, 1]
    assert str(found) == f'dataset_id=1, name="a": rows {one} (0), {two} (2), {three} (1)'


def test_null_finds_null(connection: sa.Connection):
    first = add(connection, "annotation_shape", annotation_id=None, shape_type=None)
    second = add(connection, "annotation_shape", annotation_id=None, shape_type=None)
    add(connection, "annotation_shape", annotation_id=None, shape_type="Point")
    (found,) = find_violations(connection)
    assert (found.values, found.ids) == ((None, None), (first, second))


@pytest.mark.parametrize("table", [name for name, found in IDENTITIES.items() if found != ("id",)])
def test_every_identity_is_looked_at_and_can_be_repaired(connection: sa.Connection, table: str):
    run = add(connection, "run", dataset_id=1, name="only")
    frame = add(connection, "frame", run_id=run, deposition_id=10, acquisition_order=1)
    tiltseries = add(connection, "tiltseries", run_id=run) if table != "tiltseries" else None
    alignment = add(connection, "alignment", run_id=run) if table != "alignment" else None
    parents = {
        "dataset_id": 1,
        "deposition_id": 10,
        "run_id": run if table != "identified_object" else None,
        "frame_id": frame,
        "tiltseries_id": tiltseries,
        "alignment_id": alignment,
        "annotation_id": None,
    }
    columns = Base.metadata.tables[table].columns
    given = {name: value for name, value in parents.items() if name in columns}
    ids = tuple(add(connection, table, **given) for _ in range(3))
    (found,) = find_violations(connection)
    assert (found.table, found.columns, found.ids) == (table, IDENTITIES[table], ids)
    assert repair(connection) == 1
    assert connection.exec_driver_sql(f"SELECT min(id) FROM {table} WHERE id >= {ids[0]}").scalar_one() == ids[0]  # fmt: skip


def test_the_statements_turn_the_rows_below_to_the_lowest(connection: sa.Connection):
    one, two = (add(connection, "run", dataset_id=1, name="a") for _ in range(2))
    gain = add(connection, "gain_file", run_id=two, s3_file_path="g")
    (found,) = find_violations(connection)
    statements = repair_statements(found)
    assert statements[0].splitlines()[0] == (
        f'-- run {{"dataset_id": 1, "name": "a"}}: merge {two} into {one}'
    )
    assert statements[1:] == [
        f"UPDATE gain_file SET run_id = {one} WHERE run_id IN ({two});",
        f"DELETE FROM run WHERE id IN ({two});",
    ]
    assert find_violations(connection) == [found]  # nothing was run
    repair(connection)
    assert connection.exec_driver_sql("SELECT id, run_id FROM gain_file").all() == [(gain, one)]


def test_objects_of_merged_runs_do_not_meet_the_portals_constraint(connection: sa.Connection):
    one, two, three = (add(connection, "run", dataset_id=1, name="a") for _ in range(3))
    kept = add(connection, "identified_object", run_id=one, object_id="GO:1")
    add(connection, "identified_object", run_id=two, object_id="GO:1")
    moved = add(connection, "identified_object", run_id=two, object_id="GO:2")
    add(connection, "identified_object", run_id=three, object_id="GO:2")
    assert repair(connection) == 1
    rows = connection.exec_driver_sql(
        "SELECT id, run_id, object_id FROM identified_object ORDER BY 1"
    )
    assert rows.all() == [(kept, one, "GO:1"), (moved, one, "GO:2")]


def test_deep_trees_are_merged_level_by_level_and_then_migrate(
    connection: sa.Connection, fresh_database: str
):
    for _ in range(2):
        run = add(connection, "run", dataset_id=1, name="a")
        frame = add(connection, "frame", run_id=run, deposition_id=10, acquisition_order=1)
        series = add(connection, "tiltseries", run_id=run)
        add(connection, "per_section_parameters", run_id=run, frame_id=frame, tiltseries_id=series)
        alignment = add(connection, "alignment", run_id=run, deposition_id=10, tiltseries_id=series)
        add(connection, "per_section_alignment_parameters", alignment_id=alignment, z_index=0)
        spacing = add(connection, "tomogram_voxel_spacing", run_id=run, voxel_spacing=12.3)
        tomogram = add(
            connection,
            "tomogram",
            deposition_id=10,
            run_id=run,
            tomogram_voxel_spacing_id=spacing,
            alignment_id=alignment,
        )
        add(connection, "tomogram_author", tomogram_id=tomogram, name="A")
        annotation = add(
            connection,
            "annotation",
            run_id=run,
            deposition_id=10,
            tomogram_voxel_spacing_id=spacing,
            annotation_ingest_id="100-a-1.0",
        )
        shape = add(connection, "annotation_shape", annotation_id=annotation, shape_type="Point")
        add(
            connection,
            "annotation_file",
            annotation_shape_id=shape,
            tomogram_voxel_spacing_id=spacing,
            alignment_id=alignment,
            format="ndjson",
        )
        add(connection, "annotation_author", annotation_id=annotation, name="A")
        add(connection, "annotation_method_link", annotation_id=annotation, link="l")
    assert 1 < repair(connection) < 6
    filled = {name for name in IDENTITIES if name.startswith(("tomo", "annot", "per_"))}
    for table in sorted({*filled, "run", "frame", "tiltseries", "alignment"}):
        count = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
        assert count == 1, table
    connection.commit()
    migrate(fresh_database)


def test_tables_beside_ours_are_turned_too(connection: sa.Connection):
    connection.exec_driver_sql(
        "CREATE TABLE note (id serial PRIMARY KEY, about int REFERENCES run)"
    )
    one, two = (add(connection, "run", dataset_id=1, name="a") for _ in range(2))
    connection.exec_driver_sql(f"INSERT INTO note (about) VALUES ({two})")
    assert repair(connection) == 1
    assert connection.exec_driver_sql("SELECT about FROM note").scalar_one() == one


@pytest.mark.parametrize("name", ["a\nDELETE FROM run;", "a\r\u2028b", "100%s :name", "'; --", "ä"])
def test_no_value_breaks_out_of_the_comment(connection: sa.Connection, name: str):
    for _ in range(2):
        add(connection, "run", dataset_id=1, name=name)
    (found,) = find_violations(connection)
    comment, *others = repair_statements(found)[0].splitlines()
    assert comment.startswith("-- run ")
    assert others == [f"DELETE FROM run WHERE id IN ({found.ids[1]});"]
    assert repair(connection) == 1


def test_the_error_survives_a_process_border():
    error = IdentitiesViolated([Violation("run", ("dataset_id", "name"), (1, "a"), (3, 5))])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.violations) == (str(error), error.violations)
