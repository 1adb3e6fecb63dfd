"""Finished and running requests, as rows to be read."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_LIST_USAGE = statement("list_usage")
_FIND_USAGE = statement("find_usage")
_LIST_HOLDS = statement("list_holds_of_account")
# Later than any row: 2^53 - 1 milliseconds.
LATEST = (9_007_199_254_740_991, 0)


async def list_usage(
    reader: Reader, account: int, most: int, before: tuple[int, int] = LATEST
) -> list[Any]:
    """An account's requests older than `before` (time and row), the newest first."""
    parameters = {"account": account, "most": most, "before_at": before[0], "before_id": before[1]}
    return await reader.rows(_LIST_USAGE, parameters)


async def find_usage(reader: Reader, request_id: str) -> sqlite3.Row | None:
    """One request's record."""
    row: sqlite3.Row | None = await reader.row(_FIND_USAGE, (request_id,))
    return row


async def list_holds(reader: Reader, account: int, most: int) -> list[Any]:
    """An account's requests that are not settled yet, the newest first."""
    return await reader.rows(_LIST_HOLDS, (account, most))
