"""Transfers, as rows to be read."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_FIND_TRANSFER = statement("find_transfer")
_LIST_OF_ACCOUNT = statement("list_transfers_of_account")


async def find_transfer(reader: Reader, ref: str) -> sqlite3.Row | None:
    """The transfer with this ref."""
    row: sqlite3.Row | None = await reader.row(_FIND_TRANSFER, (ref,))
    return row


async def list_of_account(reader: Reader, account: int, most: int) -> list[Any]:
    """What moved on an account other than use, the newest first."""
    return await reader.rows(_LIST_OF_ACCOUNT, {"account": account, "most": most})
