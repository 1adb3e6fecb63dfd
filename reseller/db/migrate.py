"""Schema migrations: numbered, forward-only, each in one transaction, run by sqlite-utils."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib import resources

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from reseller.errors import ResellerError

SET_NAME = "reseller"


class SchemaTooNew(ResellerError):
    """The database was written by a newer version of this program."""

    default_code = "schema_too_new"


def migration_files() -> dict[str, str]:
    """Name to SQL text, in order: `0001_start` and so on."""
    folder = resources.files("reseller.db").joinpath("migrations")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in files}


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Bring the schema up to date; returns the names applied now.

    Raises SchemaTooNew if the file knows migrations that this program does not.
    """
    database = Database(connection)
    migrations = _build()
    known = set(migration_files())
    applied = {migration.name for migration in migrations.applied(database)}
    if beyond := sorted(applied - known):
        raise SchemaTooNew(
            f"The database is at schema {beyond[-1]}, this program knows up to "
            f"{max(known)}. Start the newer version that wrote it."
        )
    names = [migration.name for migration in migrations.pending(database)]
    migrations.apply(database)
    return names


def status(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Applied and pending migrations by name."""
    database = Database(connection)
    migrations = _build()
    return {
        "applied": [migration.name for migration in migrations.applied(database)],
        "pending": [migration.name for migration in migrations.pending(database)],
    }


def _build() -> Migrations:
    migrations = Migrations(SET_NAME)
    for name, text in migration_files().items():
        migrations(name=name)(_runner(text))
    return migrations


def _runner(text: str) -> Callable[[Database], None]:
    def run(database: Database) -> None:
        for part in split_statements(text):
            database.conn.execute(part)

    return run


def split_statements(text: str) -> list[str]:
    """The single statements of a script; trigger bodies stay whole."""
    statements, lines = [], list[str]()
    for line in text.splitlines():
        lines.append(line)
        joined = "\n".join(lines)
        if line.rstrip().endswith(";") and sqlite3.complete_statement(joined):
            statements.append(joined.strip())
            lines = []
    assert not "".join(lines).strip(), "a migration ends within a statement"
    return statements
