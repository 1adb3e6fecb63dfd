"""API keys, as rows. Writing functions run on the journal's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_INSERT_KEY = statement("insert_key")
_COUNT_USABLE = statement("count_usable_keys")
_FIND_KEY = statement("find_key")
_LIST_OF_ACCOUNT = statement("list_keys_of_account")
_REVOKE_KEY = statement("revoke_key")
_UPDATE_KEY = statement("update_key")
_RESTART_PERIOD = statement("restart_key_period")


def insert_key(db: sqlite3.Connection, row: Mapping[str, Any]) -> int:
    """Write a key by column name; returns its number."""
    (key,) = db.execute(_INSERT_KEY, row).fetchone()
    return int(key)


def count_usable(db: sqlite3.Connection, account: int) -> int:
    """The account's keys that are not revoked."""
    (keys,) = db.execute(_COUNT_USABLE, (account,)).fetchone()
    return int(keys)


async def find_key(reader: Reader, public_id: str) -> sqlite3.Row | None:
    """A key by its public id, revoked ones included."""
    row: sqlite3.Row | None = await reader.row(_FIND_KEY, (public_id,))
    return row


async def list_of_account(reader: Reader, account: int) -> list[Any]:
    """All keys of an account, the oldest first."""
    return await reader.rows(_LIST_OF_ACCOUNT, (account,))


def revoke_key(db: sqlite3.Connection, key: int, at: int) -> bool:
    """Close a key for good; False where it was closed already."""
    return db.execute(_REVOKE_KEY, (at, key)).rowcount == 1


def update_key(db: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    """Store what may be changed about a key; False where it is revoked."""
    return db.execute(_UPDATE_KEY, row).rowcount == 1


def restart_period(db: sqlite3.Connection, key: int, period: str, started_at: int) -> None:
    """Count the key's spend anew, by another period."""
    db.execute(_RESTART_PERIOD, (period, started_at, key))
