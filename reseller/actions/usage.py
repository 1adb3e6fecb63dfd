"""An account's requests with cost and charge: the operator's view, never a customer's."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.actions import inputs
from reseller.actions.change import Answer, caught_up, customer_row
from reseller.core import Core
from reseller.db import customers
from reseller.db import usage as rows
from reseller.errors import NotFound
from reseller.units import PICOS_PER_NANO, percent_text, picos_text, usd_text


async def list_usage(
    core: Core, *, email: str, limit: int = 50, before: str | None = None
) -> Answer:
    """Requests, the newest first, older than the request `before`; and what is still running."""
    most = inputs.count(limit, "limit", most=1_000)
    await caught_up(core)
    row = await customer_row(core, email)
    older_than = rows.LATEST
    if before is not None:
        last = await rows.find_usage(core.reader, before)
        if last is None or last["account"] != row["account"]:
            raise NotFound(f"{row['email']} has no request {before!r:.60}.", code="no_such_request")
        older_than = (last["at"], last["id"])
    records = await rows.list_usage(core.reader, row["account"], most, older_than)
    held, _ = await customers.sum_holds(core.reader, row["account"])
    holds = await rows.list_holds(core.reader, row["account"], most)
    return {
        "email": row["email"],
        "balance_usd": usd_text(row["balance_nanos"]),
        "held_usd": usd_text(held),
        "requests": [_request(each) for each in records],
        "unsettled": [_hold(each) for each in holds],
    }


def _request(row: sqlite3.Row) -> dict[str, Any]:
    cost = row["cost_picos"]
    margin = None
    if cost is not None:
        margin = picos_text(row["charge_nanos"] * PICOS_PER_NANO - cost)
    return {
        "request_id": row["request_id"],
        "at": row["at"],
        "model": row["model"],
        "key": row["key_id"],
        "key_name": row["key_name"],
        "status": row["status"],
        "outcome": row["outcome"],
        "stream": bool(row["is_stream"]),
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "cached_tokens": row["cached_tokens"],
        "cache_write_tokens": row["cache_write_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
        "cost_usd": None if cost is None else picos_text(cost),
        "markup": percent_text(row["markup_bps"]),
        "fixed_usd": usd_text(row["fixed_nanos"]),
        "charge_usd": usd_text(row["charge_nanos"]),
        "written_off_usd": usd_text(row["written_off_nanos"]),
        "margin_usd": margin,
        "first_byte_ms": row["first_byte_ms"],
        "duration_ms": row["duration_ms"],
        "generation_id": row["generation_id"],
    }


def _hold(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "request_id": row["request_id"],
        "opened_at": row["opened_at"],
        "model": row["model"],
        "state": row["state"],
        "reason": row["reason"],
        "held_usd": usd_text(row["held_nanos"]),
        "generation_id": row["generation_id"],
        "polls": row["polls"],
    }
