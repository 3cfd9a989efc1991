"""``assetflow catalog``: the PostgreSQL database that the portal reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.cli.errors_shown import errors_shown

if TYPE_CHECKING:
    from include.catalog.violations import Violation
    from include.errors import Problem

app = typer.Typer(
    help="The catalog's PostgreSQL database: its schema, and rows that should be one.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

MIGRATE = "assetflow catalog migrate"


@app.command()
def migrate(*, as_json: AsJson = False) -> None:
    """Bring the database to the schema of this version.

    Makes the tables, or completes those that the portal's own migrations made; rows stay as they are. Then
    makes every identity unique, unless several rows share one: those are listed, and nothing is changed.

    Takes Airflow's connection assetflow_postgres, as the tasks do, from AIRFLOW_CONN_ASSETFLOW_POSTGRES.
    Safe to run again, and twice at once.
    """
    from include.catalog.migrate import migrate as migrate_database
    from include.cli.airflow_logs import logs_to_stderr

    with errors_shown(), logs_to_stderr():
        done = migrate_database(_url())
    if as_json:
        typer.echo(json.dumps({"from": done.before, "to": done.after}, indent=2))
    elif done.before == done.after:
        typer.echo(f"The catalog is at revision {done.after} already.")
    else:
        typer.echo(f"The catalog went from {_revision(done.before)} to {_revision(done.after)}.")


@app.command()
def check(
    *,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the statements that repair shared identities; run none."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the database's revision, and every identity that several rows share. Changes nothing.

    With --sql the output is a script in one transaction: it turns the rows that point at the extra rows to
    the one with the lowest id and deletes the extra ones. Review it before you run it, then check again:
    rows that were told apart by their parents alone may share an identity now.

    Takes Airflow's connection assetflow_postgres, as the tasks do, from AIRFLOW_CONN_ASSETFLOW_POSTGRES.
    Exit code 0: nothing is to be done; 1: something is, or the check failed.
    """
    from include.catalog.existing_schema import schema_problems
    from include.catalog.migrate import database_revision, head_revision, opened_database
    from include.catalog.tables import Base
    from include.catalog.violations import find_violations
    from include.cli.airflow_logs import logs_to_stderr

    with errors_shown(), logs_to_stderr(), opened_database(_url()) as connection:
        revision, head = database_revision(connection), head_revision()
        problems = schema_problems(connection, Base.metadata)
        violations = find_violations(connection)
    if as_json:
        found = {
            "revision": revision,
            "newest_revision": head,
            "problems": [_problem_fields(problem) for problem in problems],
            "violations": [_violation_fields(violation, sql=sql) for violation in violations],
        }
        typer.echo(json.dumps(found, indent=2, default=str))
    else:
        # Among statements all else is a comment, so that the output can be run.
        mark = "-- " if sql else ""
        if revision == head:
            typer.echo(f"{mark}The catalog is at revision {head}, the newest.")
        else:
            typer.echo(f"{mark}The catalog is at {_revision(revision)}, not {head}: `{MIGRATE}`")
        for problem in problems:
            typer.echo(f"{mark}{problem}")
        _show_violations(violations, sql=sql)
    if revision != head or problems or violations:
        raise typer.Exit(1)


def _show_violations(violations: list[Violation], *, sql: bool) -> None:
    from include.catalog.violations import repair_statements

    if sql:
        if not violations:
            typer.echo("-- No identity is shared: nothing to repair.")
            return
        typer.echo("BEGIN;")
        for violation in violations:
            for statement in repair_statements(violation):
                typer.echo(statement)
        typer.echo("COMMIT;")
        return
    if not violations:
        typer.echo("Every row has an identity of its own.")
        return
    typer.echo("Several rows share an identity (in brackets: how many rows point at each):")
    for violation in violations:
        typer.echo(f"  {violation.table}: {violation}")
    typer.echo("`assetflow catalog check --sql` prints statements that repair them.")


def _problem_fields(problem: Problem) -> dict[str, str]:
    return {
        "table": problem.item,
        "column": problem.field,
        "reason": problem.reason,
        "fix": problem.fix,
    }


def _violation_fields(violation: Violation, *, sql: bool) -> dict[str, Any]:
    from include.catalog.violations import repair_statements

    fields: dict[str, Any] = {
        "table": violation.table,
        "identity": dict(zip(violation.columns, violation.values, strict=True)),
        "rows": [
            {"id": row, "rows_pointing_at_it": violation.rows_pointing_at(row)}
            for row in violation.ids
        ],
    }
    return {**fields, "repair": repair_statements(violation)} if sql else fields


def _revision(revision: str | None) -> str:
    return f"revision {revision}" if revision else "no revision of ours"


def _url() -> str:
    """Address of the database.

    Raises:
        InvalidInput: Airflow knows no such connection.
    """
    from include.cli.needed_connections import require_connections
    from include.hooks.postgres import CatalogDatabaseHook

    require_connections(CatalogDatabaseHook.default_conn_name)
    return CatalogDatabaseHook().url
