"""From nothing, or from the portal's own schema, to ours."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from include.catalog import migrate as migrations
from include.catalog.existing_schema import schema_problems
from include.catalog.migrate import (
    VERSION_TABLE,
    Migration,
    head_revision,
    is_current,
    is_of_catalog,
    migrate,
    opened_database,
)
from include.catalog.tables import Base
from include.catalog.violations import IdentitiesViolated, find_violations, repair_statements
from include.errors import InvalidInput, ServiceUnavailable
from tests.catalog.revisions import current_revision

DEPOSITION = (
    "INSERT INTO deposition (id, title, description, deposition_date, release_date, last_modified_date) "
    "VALUES (10, 't', 'd', now(), now(), now())"
)
DATASET = (
    "INSERT INTO dataset (id, deposition_id, title, description, deposition_date, release_date, "
    "last_modified_date, s3_prefix, https_prefix) VALUES (1, 10, 't', 'd', now(), now(), now(), 's', 'h')"
)
RUN = (
    "INSERT INTO run (id, dataset_id, name, s3_prefix, https_prefix) VALUES ({}, 1, '{}', 's', 'h')"
)


def portal_schema() -> sa.MetaData:
    config = Config()
    config.set_main_option("script_location", "include/catalog/migrations")
    return ScriptDirectory.from_config(config).get_revision("0001").module.SCHEMA


def execute(url: str, *statements: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def portal_database(fresh_database: str) -> str:
    """As the portal's own migrations leave it, with some rows."""
    with opened_database(fresh_database) as connection:
        portal_schema().create_all(connection)
    execute(
        fresh_database,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('f00d')",
        DEPOSITION,
        DATASET,
        RUN.format(3, "a"),
    )
    return fresh_database


def catalog_text(url: str) -> list[Any]:
    """Everything that the schema consists of."""
    return execute(
        url,
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = 'public' UNION ALL "
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL "
        "FROM pg_constraint WHERE connamespace = 'public'::regnamespace UNION ALL "
        "SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public' "
        "ORDER BY 1, 2, 3",
    )


def difference_from_models(url: str) -> list[Any]:
    with opened_database(url) as connection:
        options = {
            "include_name": is_of_catalog,
            "version_table": VERSION_TABLE,
            "compare_type": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, Base.metadata)


def test_from_nothing(fresh_database: str):
    assert current_revision(fresh_database) is None
    assert migrate(fresh_database) == Migration(None, "0002")
    assert current_revision(fresh_database) == head_revision() == "0002"
    assert difference_from_models(fresh_database) == []


def test_the_difference_is_seen_when_there_is_one(fresh_database: str):
    migrate(fresh_database)
    execute(fresh_database, "ALTER TABLE run DROP COLUMN name")
    assert difference_from_models(fresh_database) != []


def test_twice_is_once(fresh_database: str):
    migrate(fresh_database)
    before = catalog_text(fresh_database)
    assert migrate(fresh_database) == Migration("0002", "0002")
    assert catalog_text(fresh_database) == before


def test_over_the_portals_database(portal_database: str):
    assert migrate(portal_database) == Migration(None, "0002")
    assert difference_from_models(portal_database) == []
    assert execute(portal_database, "SELECT * FROM alembic_version") == [("f00d",)]
    assert execute(portal_database, "SELECT id, dataset_id, name FROM run") == [(3, 1, "a")]


def test_the_result_is_the_same_from_nothing_and_from_the_portals(
    portal_database: str, postgres_server
):
    postgres_server.make_database("from_nothing")
    fresh = postgres_server.uri_of("from_nothing")
    migrate(fresh)
    migrate(portal_database)
    same = [row for row in catalog_text(portal_database) if row[0] != "alembic_version"]
    assert same == catalog_text(fresh)
    postgres_server.remove_database("from_nothing")


def test_defaults_that_the_portals_models_give_stay(portal_database: str):
    execute(
        portal_database,
        "ALTER TABLE tomogram ALTER is_portal_standard SET DEFAULT false",
        "ALTER TABLE per_section_parameters ALTER phase_shift SET DEFAULT 0",
    )
    migrate(portal_database)
    assert difference_from_models(portal_database) == []


def test_what_is_missing_is_made(portal_database: str):
    execute(
        portal_database,
        "DROP TABLE file, annotation_method_link",
        "DROP INDEX ix_run_id",
        "ALTER TABLE run DROP CONSTRAINT fk_run_dataset_id_dataset",
        "ALTER TABLE identified_object DROP CONSTRAINT uq_identified_object_run_id_object_id",
    )
    migrate(portal_database)
    assert difference_from_models(portal_database) == []


def test_a_foreign_key_of_another_name_is_not_made_again(portal_database: str):
    execute(
        portal_database,
        "ALTER TABLE run RENAME CONSTRAINT fk_run_dataset_id_dataset TO run_dataset_fkey",
    )
    migrate(portal_database)
    query = "SELECT conname FROM pg_constraint WHERE conrelid = 'run'::regclass AND contype = 'f'"
    assert execute(portal_database, query) == [("run_dataset_fkey",)]


def test_rows_that_break_a_missing_foreign_key_are_told(portal_database: str):
    execute(
        portal_database,
        "ALTER TABLE run DROP CONSTRAINT fk_run_dataset_id_dataset",
        "UPDATE run SET dataset_id = 99",
    )
    with pytest.raises(InvalidInput, match=r'"run".*fk_run_dataset_id_dataset.*\(99\)'):
        migrate(portal_database)
    assert current_revision(portal_database) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE run ALTER name TYPE varchar(5)", r"run: name: is VARCHAR\(5\), not VARCHAR"),
        ("ALTER TABLE run DROP COLUMN s3_prefix", r"run: s3_prefix: the table has no such column"),
        (
            "ALTER TABLE frame ALTER file_size TYPE integer",
            r"frame: file_size: is INTEGER, not DOUBLE PRECISION",
        ),
        ("ALTER TABLE frame ALTER file_size SET NOT NULL", r"frame: file_size: is NOT NULL"),
        ("ALTER TABLE run ALTER id DROP DEFAULT", r"run: id: takes no number from a sequence"),
        (
            "ALTER SEQUENCE run_id_seq OWNED BY NONE",
            r"run: id: does not own the sequence.*ALTER SEQUENCE run_id_seq OWNED BY run\.id",
        ),
        (
            "CREATE SEQUENCE elsewhere; ALTER TABLE run ALTER id SET DEFAULT nextval('elsewhere'); "
            "ALTER SEQUENCE run_id_seq OWNED BY NONE",
            r"run: id: does not own the sequence.*ALTER SEQUENCE elsewhere OWNED BY run\.id",
        ),
        (
            "ALTER TABLE run ALTER id DROP DEFAULT; "
            "ALTER TABLE run ALTER id ADD GENERATED ALWAYS AS IDENTITY",
            r"run: id: is GENERATED ALWAYS.*ALTER TABLE run ALTER id SET GENERATED BY DEFAULT",
        ),
        ("ALTER TABLE run ADD new text NOT NULL DEFAULT ''; ALTER TABLE run ALTER new DROP DEFAULT",
         r"run: new: is not known here and needs a value"),
        ("ALTER TABLE gain_file DROP CONSTRAINT pk_gain_file", r"gain_file: id: the primary key"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_told_by_column(
    portal_database: str, change: str, told: str
):
    execute(portal_database, change, "DROP TABLE file")
    before = catalog_text(portal_database)
    with pytest.raises(InvalidInput, match=told):
        migrate(portal_database)
    assert catalog_text(portal_database) == before


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE run ALTER name TYPE text",
        "ALTER TABLE dataset ALTER sample_type TYPE varchar(30)",
        "ALTER TABLE dataset ALTER sample_type TYPE varchar",
        "ALTER TABLE run ALTER s3_prefix DROP NOT NULL",
        "ALTER TABLE run ADD note text",
        "ALTER TABLE run ADD made timestamptz NOT NULL DEFAULT now()",
        "ALTER TABLE run ALTER id DROP DEFAULT; ALTER TABLE run ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
    ],
)
def test_a_table_that_takes_our_rows_will_do(portal_database: str, change: str):
    execute(portal_database, change)
    with opened_database(portal_database) as connection:
        assert schema_problems(connection, Base.metadata) == []
    migrate(portal_database)


def test_an_empty_database_has_no_problem(fresh_database: str):
    with opened_database(fresh_database) as connection:
        assert schema_problems(connection, Base.metadata) == []


def test_shared_identities_stop_it_before_anything_changes(portal_database: str):
    execute(portal_database, "DROP TABLE file", RUN.format(5, "a"), RUN.format(9, "a"))
    execute(portal_database, "INSERT INTO tomogram_voxel_spacing (run_id, voxel_spacing, s3_prefix, https_prefix) "
            "SELECT NULL, g / 2, 's', 'h' FROM generate_series(2, 51) AS g")  # fmt: skip
    before = catalog_text(portal_database)
    with pytest.raises(IdentitiesViolated) as found:
        migrate(portal_database)
    told = str(found.value)
    assert "run (dataset_id, name): 1 identity, 3 rows" in told
    assert 'dataset_id=1, name="a": rows 3 (0), 5 (0), 9 (0)' in told
    assert "tomogram_voxel_spacing (run_id, voxel_spacing): 25 identities, 50 rows" in told
    assert "run_id=null, voxel_spacing=1.0: rows 1 (0), 2 (0)" in told
    assert told.count("run_id=null") == 20
    assert "and 5 more" in told
    assert "assetflow catalog check --sql" in told
    assert len(found.value.violations) == 26
    assert catalog_text(portal_database) == before
    assert current_revision(portal_database) is None
    assert execute(portal_database, "SELECT count(*) FROM run") == [(3,)]


def test_repaired_it_passes(portal_database: str):
    execute(portal_database, RUN.format(5, "a"))
    with opened_database(portal_database) as connection:
        for violation in find_violations(connection):
            for statement in repair_statements(violation):
                connection.exec_driver_sql(statement)
    assert migrate(portal_database) == Migration(None, "0002")


def test_a_second_row_of_an_identity_is_refused(portal_database: str):
    migrate(portal_database)
    with pytest.raises(psycopg.errors.UniqueViolation, match="uq_run_dataset_id_name"):
        execute(portal_database, RUN.format(5, "a"))
    spacing = "INSERT INTO identified_object (object_id, object_name) VALUES ('GO:1', 'x')"
    with pytest.raises(
        psycopg.errors.UniqueViolation, match="uq_identified_object_run_id_object_id"
    ):
        execute(portal_database, spacing, spacing)


def test_two_at_once(portal_database: str):
    start = threading.Barrier(4)

    def run() -> Migration:
        start.wait()
        return migrate(portal_database)

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run) for _ in range(4)]
        done = [each.result() for each in runs]
    again = Migration("0002", "0002")
    assert sorted(done, key=lambda one: str(one.before)) == [again] * 3 + [Migration(None, "0002")]
    assert difference_from_models(portal_database) == []


def test_whether_it_is_current_is_told_whatever_rows_the_connection_makes(fresh_database: str):
    for expected in (False, True):
        with psycopg.connect(fresh_database, row_factory=psycopg.rows.dict_row) as connection:
            assert is_current(connection) is expected
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        migrate(fresh_database)


def test_a_newer_database_is_left_alone(fresh_database: str):
    migrate(fresh_database)
    execute(fresh_database, f"UPDATE {VERSION_TABLE} SET version_num = '0999'")
    with pytest.raises(InvalidInput, match="0999, which this version does not know"):
        migrate(fresh_database)
    assert current_revision(fresh_database) == "0999"


def test_an_old_server_is_told(fresh_database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "OLDEST_POSTGRES", 99)
    with pytest.raises(InvalidInput, match="PostgreSQL 99 or newer is needed"):
        migrate(fresh_database)


def test_no_server(fresh_database: str):
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1/none"):
        migrate("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(ServiceUnavailable) as found:
        migrate(fresh_database.replace("postgres:", "postgres:wrong"))
    assert "wrong" not in str(found.value)


def test_back_to_the_portals_schema_and_forth(portal_database: str):
    from alembic import command

    before = catalog_text(portal_database)
    migrate(portal_database)
    config = Config()
    config.set_main_option("script_location", "include/catalog/migrations")
    config.attributes["url"] = portal_database.replace("postgresql:", "postgresql+psycopg:")
    command.downgrade(config, "0001")
    assert current_revision(portal_database) == "0001"
    assert [row for row in catalog_text(portal_database) if row[0] != VERSION_TABLE] == before
    assert migrate(portal_database) == Migration("0001", "0002")
