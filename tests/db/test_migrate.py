"""Migrations: their sum is the schema, they run once, and a newer file is refused."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from reseller.db.migrate import SchemaTooNew, migrate, migration_files, split_statements, status


def objects(connection: sqlite3.Connection) -> dict[str, str]:
    """Every table, index and trigger of ours, with its text."""
    rows = connection.execute("select name, sql from sqlite_master where sql is not null")
    return {name: text for name, text in rows if "_sqlite" not in name}


def test_the_migrations_add_up_to_the_schema(tmp_path: Path) -> None:
    """A migrated file and `schema.sql` are the same, to the letter."""
    migrated = sqlite3.connect(tmp_path / "migrated.db", isolation_level=None)
    assert migrate(migrated) == list(migration_files())
    assert migrate(migrated) == []
    plain = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    for text in split_statements(
        resources.files("reseller.db").joinpath("schema.sql").read_text("utf-8")
    ):
        plain.execute(text)
    assert objects(migrated) == objects(plain)
    rows = "select id, public_id, name from account order by id"
    assert migrated.execute(rows).fetchall() == plain.execute(rows).fetchall()
    migrated.close()
    plain.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file that knows more than this program is left alone; both versions are named."""
    connection = sqlite3.connect(tmp_path / "newer.db", isolation_level=None)
    migrate(connection)
    connection.execute(
        "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, ?)",
        ("reseller", "9999_later", "2030-01-01"),
    )
    with pytest.raises(SchemaTooNew, match="9999_later"):
        migrate(connection)
    assert status(connection)["pending"] == []
    connection.close()
