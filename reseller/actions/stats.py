"""The shop in figures: what came in, what it cost, what is owed, what is uncertain."""

from __future__ import annotations

from typing import Any

from reseller.actions.change import Answer, caught_up
from reseller.core import Core
from reseller.db import stats as rows
from reseller.money.ledger import House
from reseller.units import PICOS_PER_NANO, picos_text, usd_text

_DAY_MS = 86_400_000


async def show_stats(core: Core) -> Answer:
    """Revenue, cost and margin today, in 30 days and ever; liability, holds and exposure now."""
    await caught_up(core)
    now = core.clock.now_ms()
    today = now - now % _DAY_MS
    customers = await rows.sum_customers(core.reader)
    holds = await rows.sum_holds(core.reader)
    exposed = await rows.sum_exposures(core.reader)
    house = await rows.house_balances(core.reader)
    return {
        "today": _period(await rows.sum_usage(core.reader, today)),
        "days_30": _period(await rows.sum_usage(core.reader, today - 29 * _DAY_MS)),
        "ever": _period(await rows.sum_usage(core.reader, 0)),
        "customers": customers["customers"],
        "suspended": customers["suspended"],
        "frozen": customers["frozen"],
        "liability_usd": usd_text(customers["liability_nanos"]),
        "debt_usd": usd_text(-customers["debt_nanos"]),
        "running": _holds(holds.get("open")),
        "pending": _holds(holds.get("pending")),
        "exposure": {
            "requests": exposed["exposures"],
            "held_usd": usd_text(exposed["held_nanos"]),
            "charge_usd": usd_text(exposed["charge_nanos"]),
        },
        "house": {each.name.lower(): usd_text(house[each]) for each in House},
        "admission": {
            "open": core.live.admission.is_open,
            "reasons": dict(core.live.admission.reasons),
        },
        "alarms": [
            {"kind": alarm.kind, "detail": alarm.detail, "times": alarm.times}
            for alarm in core.live.alarms.standing.values()
        ],
    }


def _period(row: Any) -> dict[str, Any]:
    """Revenue is gross; what was written off comes out of the margin."""
    kept_picos = (row["charge_nanos"] - row["written_off_nanos"]) * PICOS_PER_NANO
    return {
        "requests": row["requests"],
        "errors": row["errors"],
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "revenue_usd": usd_text(row["charge_nanos"]),
        "cost_usd": picos_text(row["cost_picos"]),
        "written_off_usd": usd_text(row["written_off_nanos"]),
        "margin_usd": picos_text(kept_picos - row["cost_picos"]),
    }


def _holds(row: Any) -> dict[str, Any]:
    held, count = (0, 0) if row is None else (row["held_nanos"], row["holds"])
    return {"requests": count, "held_usd": usd_text(held)}
