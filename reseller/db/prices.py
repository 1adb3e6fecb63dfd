"""Price rules, as rows. Writing functions run on the journal's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_SAVE_RULE = statement("save_price_rule")
_FIND_RULE = statement("find_price_rule")
_DELETE_RULE = statement("delete_price_rule")
_LIST_RULES = statement("list_rules_with_owner")


def save_rule(db: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    """Write a rule, over the one of the same pattern and account if there is one."""
    db.execute(_SAVE_RULE, row)


async def find_rule(reader: Reader, pattern: str, account: int | None) -> sqlite3.Row | None:
    """The rule of exactly this pattern and account."""
    row: sqlite3.Row | None = await reader.row(_FIND_RULE, (pattern, account))
    return row


def delete_rule(db: sqlite3.Connection, pattern: str, account: int | None) -> bool:
    """Remove a rule; False where there was none."""
    return db.execute(_DELETE_RULE, (pattern, account)).rowcount == 1


async def list_rules(reader: Reader) -> list[Any]:
    """All rules, the strongest first, with the e-mail of the customer they are for."""
    return await reader.rows(_LIST_RULES)
