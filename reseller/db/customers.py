"""Customers and their accounts, as rows. Writing functions run on the journal's thread."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_INSERT_ACCOUNT = statement("insert_account")
_INSERT_CUSTOMER = statement("insert_customer")
_INSERT_MEMBERSHIP = statement("insert_membership")
_HAS_EMAIL = statement("has_email")
_FIND_CUSTOMER = statement("find_customer")
_LIST_CUSTOMERS = statement("list_customers")
_COUNT_CUSTOMERS = statement("count_customers")
_SUM_HOLDS = statement("sum_holds_of_account")
_SUSPEND = statement("suspend_account")
_UNSUSPEND = statement("unsuspend_account")
_UNFREEZE = statement("unfreeze_account")
_UPDATE_LIMITS = statement("update_account_limits")
_UPDATE_PASSWORD = statement("update_password")
_OWN_BOUNDS = (
    *("requests_per_minute", "requests_per_hour", "requests_per_day", "tokens_per_minute"),
    *("concurrent_requests", "daily_limit_nanos", "suspended_at", "frozen_at"),
)


def insert_account(db: sqlite3.Connection, public_id: str, name: str, at: int) -> int:
    """Write an account with balance 0; returns its number."""
    (account,) = db.execute(_INSERT_ACCOUNT, (public_id, name, at)).fetchone()
    return int(account)


def new_account(account: int, public_id: str, name: str, at: int) -> dict[str, Any]:
    """The row that `insert_account` wrote, as memory is built from it."""
    row: dict[str, Any] = dict.fromkeys(_OWN_BOUNDS)
    row |= {"id": account, "public_id": public_id, "name": name, "created_at": at}
    return row | {"balance_nanos": 0, "used_nanos": 0, "day_start": 0, "day_spent_nanos": 0}


def insert_customer(
    db: sqlite3.Connection,
    public_id: str,
    email: str,
    name: str,
    password_hash: str | None,
    is_operator: bool,
    at: int,
) -> int:
    """Write a customer; returns its number. Raises IntegrityError for a known e-mail."""
    row = (public_id, email, name, password_hash, int(is_operator), at)
    (customer,) = db.execute(_INSERT_CUSTOMER, row).fetchone()
    return int(customer)


def insert_membership(db: sqlite3.Connection, customer: int, account: int) -> None:
    """Make a customer the owner of an account."""
    db.execute(_INSERT_MEMBERSHIP, (customer, account))


def has_email(db: sqlite3.Connection, email: str) -> bool:
    """Whether a customer, closed ones included, has this e-mail."""
    return db.execute(_HAS_EMAIL, (email,)).fetchone() is not None


async def find_customer(reader: Reader, email: str) -> sqlite3.Row | None:
    """A customer with the account they own; None where no open one has this e-mail."""
    row: sqlite3.Row | None = await reader.row(_FIND_CUSTOMER, (email,))
    return row


async def list_customers(reader: Reader, part: str, most: int, skip: int) -> list[Any]:
    """Customers whose e-mail or name holds `part` (lower case), the newest first."""
    return await reader.rows(_LIST_CUSTOMERS, {"part": part, "most": most, "skip": skip})


async def count_customers(reader: Reader, part: str) -> int:
    """How many customers `list_customers` would list."""
    row = await reader.row(_COUNT_CUSTOMERS, {"part": part})
    return int(row["customers"])


async def sum_holds(reader: Reader, account: int) -> tuple[int, int]:
    """What the account's holds on disk promise, and how many there are."""
    row = await reader.row(_SUM_HOLDS, (account,))
    return row["held_nanos"], row["holds"]


def suspend_account(db: sqlite3.Connection, account: int, at: int) -> bool:
    """Suspend; False where it was suspended already."""
    return db.execute(_SUSPEND, (at, account)).rowcount == 1


def unsuspend_account(db: sqlite3.Connection, account: int) -> bool:
    """Lift a suspension; False where there was none."""
    return db.execute(_UNSUSPEND, (account,)).rowcount == 1


def unfreeze_account(db: sqlite3.Connection, account: int) -> bool:
    """Lift the freeze a mismatch left; False where there was none."""
    return db.execute(_UNFREEZE, (account,)).rowcount == 1


def update_limits(
    db: sqlite3.Connection,
    account: int,
    limits: tuple[int | None, ...],
    daily_limit_nanos: int | None,
) -> None:
    """Store an account's own limits, in the order of `limits.Limits`, and its daily cap."""
    db.execute(_UPDATE_LIMITS, (*limits, daily_limit_nanos, account))


def update_password(db: sqlite3.Connection, customer: int, password_hash: str) -> None:
    """Store a new password's hash."""
    db.execute(_UPDATE_PASSWORD, (password_hash, customer))
