"""The shop in figures, as queries."""

from __future__ import annotations

from typing import Any

from reseller.db.connect import Reader
from reseller.db.sql import statement

_SUM_USAGE = statement("sum_usage_since")
_SUM_HOLDS = statement("sum_holds_by_state")
_SUM_EXPOSURES = statement("sum_exposures")
_SUM_CUSTOMERS = statement("sum_customers")
_LIST_HOUSE = statement("list_house_balances")


async def sum_usage(reader: Reader, since: int) -> Any:
    """Requests, tokens, cost and charge since a UTC day's beginning; 0 is always."""
    return await reader.row(_SUM_USAGE, {"since": since})


async def sum_holds(reader: Reader) -> dict[str, Any]:
    """Holds by state."""
    return {row["state"]: row for row in await reader.rows(_SUM_HOLDS)}


async def sum_exposures(reader: Reader) -> Any:
    """Requests that were perhaps billed and whose id was never seen."""
    return await reader.row(_SUM_EXPOSURES)


async def sum_customers(reader: Reader) -> Any:
    """Customers' accounts: how many, in which state, and what is owed to them."""
    return await reader.row(_SUM_CUSTOMERS)


async def house_balances(reader: Reader) -> dict[int, int]:
    """The shop's own accounts."""
    return {row["id"]: row["balance_nanos"] for row in await reader.rows(_LIST_HOUSE)}
