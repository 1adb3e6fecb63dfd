"""Settings: what the operator decided, by name."""

from __future__ import annotations

import sqlite3

from reseller.db.connect import Reader
from reseller.db.sql import statement

_SAVE_SETTING = statement("save_setting")
_DELETE_SETTING = statement("delete_setting")
_LIST_SETTINGS = statement("list_settings")

# Request rows older than this time (unix ms) may be gone.
PRUNED_BEFORE = "pruned_before"


def save_setting(db: sqlite3.Connection, name: str, value: str, at: int) -> None:
    """Write a setting over what it was."""
    db.execute(_SAVE_SETTING, (name, value, at))


def delete_setting(db: sqlite3.Connection, name: str) -> None:
    """Forget a setting."""
    db.execute(_DELETE_SETTING, (name,))


async def all_settings(reader: Reader) -> dict[str, str]:
    """Every setting by name."""
    return {row["name"]: row["value"] for row in await reader.rows(_LIST_SETTINGS)}
