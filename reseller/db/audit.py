"""The audit log: who changed what, written in the same transaction as the change."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_INSERT_AUDIT = statement("insert_audit")
_LIST_AUDIT = statement("list_audit")


def insert_audit(
    db: sqlite3.Connection, at: int, actor: str, action: str, subject: str, detail: str
) -> None:
    """Add one line."""
    db.execute(_INSERT_AUDIT, (at, actor, action, subject, detail))


async def list_audit(reader: Reader, most: int, before: int = 0) -> list[Any]:
    """The newest lines first, older than `before` if that is given."""
    return await reader.rows(_LIST_AUDIT, {"most": most, "before": before})
