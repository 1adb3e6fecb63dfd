"""The ledger's proof, as queries: what is summed, and a few rows of whatever is wrong."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_SUM_ACCOUNTS = statement("sum_accounts")
_COUNT_BOOKS = statement("count_books")
_WRONG_BALANCES = statement("find_wrong_balances")
_WRONG_USE = statement("find_wrong_use")
_WRONG_USAGE_TRANSFERS = statement("find_wrong_usage_transfers")
_WRONG_WRITE_OFFS = statement("find_wrong_write_offs")
_UNCHARGED_RECORDS = statement("find_uncharged_records")
_WRONG_CHARGES = statement("find_wrong_charges")
_NEGATIVE_BALANCES = statement("find_negative_balances")
_REPEATED_REFS = statement("find_repeated_refs")
_LIST_MOVEMENTS = statement("list_movements")
_UNKNOWN_ACCOUNTS = statement("find_unknown_accounts")
_WRONG_HOLDS = statement("find_wrong_holds")
_LIST_TRIGGERS = statement("list_transfer_triggers")
_LIST_BALANCES = statement("list_balances")
_SUM_HOLDS = statement("sum_holds_by_account")
_EXPLAIN_BALANCE = statement("explain_balance")

# So many wrong rows are named; one more says that there are others.
NAMED = 5
_MOST = {"most": NAMED + 1}


async def sum_accounts(reader: Reader) -> Any:
    """How many accounts, the sum of all balances, and what is owed to customers."""
    return await reader.row(_SUM_ACCOUNTS)


async def count_books(reader: Reader) -> Any:
    """How many transfers, usage records and holds there are."""
    return await reader.row(_COUNT_BOOKS)


async def wrong_balances(reader: Reader) -> list[Any]:
    """Accounts whose balance is not their credits less their debits."""
    return await reader.rows(_WRONG_BALANCES, _MOST)


async def wrong_use(reader: Reader) -> list[Any]:
    """Accounts whose use is not the sum of their usage debits."""
    return await reader.rows(_WRONG_USE, _MOST)


async def wrong_usage_transfers(reader: Reader, since: int) -> list[Any]:
    """Usage transfers since a time whose record is missing or says otherwise."""
    return await reader.rows(_WRONG_USAGE_TRANSFERS, _MOST | {"since": since})


async def wrong_write_offs(reader: Reader, since: int) -> list[Any]:
    """Write-offs since a time whose record is missing or says otherwise."""
    return await reader.rows(_WRONG_WRITE_OFFS, _MOST | {"since": since})


async def uncharged_records(reader: Reader) -> list[Any]:
    """Usage records whose transfers are missing or say otherwise."""
    return await reader.rows(_UNCHARGED_RECORDS, _MOST)


async def wrong_charges(reader: Reader) -> list[Any]:
    """Usage records charged less than their cost and rule ask for."""
    return await reader.rows(_WRONG_CHARGES, _MOST)


async def negative_balances(reader: Reader) -> list[Any]:
    """Customers' accounts below zero without a claw-back."""
    return await reader.rows(_NEGATIVE_BALANCES, _MOST)


async def repeated_refs(reader: Reader) -> list[Any]:
    """Refs that stand for more than one transfer."""
    return await reader.rows(_REPEATED_REFS, _MOST)


async def list_movements(reader: Reader) -> list[Any]:
    """Each kind of transfer with the sides it joins; 100 is any customer."""
    return await reader.rows(_LIST_MOVEMENTS)


async def unknown_accounts(reader: Reader) -> list[Any]:
    """Transfers from or to an account that is not there."""
    return await reader.rows(_UNKNOWN_ACCOUNTS, _MOST)


async def wrong_holds(reader: Reader) -> list[Any]:
    """Holds that are below zero, of no account, or of a request that is settled."""
    return await reader.rows(_WRONG_HOLDS, _MOST)


async def transfer_triggers(reader: Reader) -> set[str]:
    """The triggers that keep transfers append-only."""
    return {row["name"] for row in await reader.rows(_LIST_TRIGGERS)}


def disk_balances(db: sqlite3.Connection) -> dict[int, int]:
    """Every account's balance."""
    return {row[0]: row[1] for row in db.execute(_LIST_BALANCES)}


def disk_holds(db: sqlite3.Connection) -> dict[int, int]:
    """What is held, by account."""
    return {row[0]: row[1] for row in db.execute(_SUM_HOLDS)}


def explain_balance(db: sqlite3.Connection, account: int) -> tuple[int, int]:
    """An account's balance as stored, and as its transfers make it."""
    stored, moved = db.execute(_EXPLAIN_BALANCE, (account,)).fetchone()
    return stored, moved
