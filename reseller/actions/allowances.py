"""What an account may do: its own rates and daily cap over the defaults."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any, Literal, TypeAlias

from reseller.actions import inputs
from reseller.actions.change import CONSOLE, Answer, account_of, change, customer_row, whole
from reseller.core import Core
from reseller.db import customers as rows
from reseller.errors import Unprocessable
from reseller.limits import Limits
from reseller.live import Account

DEFAULT = "default"
Bound: TypeAlias = int | Literal["default"] | None


async def show_limits(core: Core, *, email: str) -> Answer:
    """The limits in force and which of them are the account's own."""
    row = await customer_row(core, email)
    account = core.live.accounts[row["account"]]
    return _shown(row["email"], account, row["daily_limit_nanos"])


@whole
async def set_limits(
    core: Core,
    *,
    email: str,
    requests_per_minute: Bound = None,
    requests_per_hour: Bound = None,
    requests_per_day: Bound = None,
    tokens_per_minute: Bound = None,
    concurrent_requests: Bound = None,
    daily_usd: str | None = None,
    actor: str = CONSOLE,
) -> Answer:
    """Set what is given; `default` gives an account back to the defaults.

    In force at once: buckets whose account gets new rates start full, running requests go on.
    """
    account = await account_of(core, email)
    wanted = {
        "requests_per_minute": requests_per_minute,
        "requests_per_hour": requests_per_hour,
        "requests_per_day": requests_per_day,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
    }
    given = {name: _bound(name, bound) for name, bound in wanted.items() if bound is not None}
    row = await customer_row(core, email)
    daily = row["daily_limit_nanos"]
    if daily_usd is not None:
        daily = None if daily_usd == DEFAULT else inputs.usd(daily_usd, "daily_usd")
    elif not given:
        raise Unprocessable("Nothing to change was given.")
    own = replace(account.own_limits, **given)
    words = [f"{name} {bound or DEFAULT}" for name, bound in given.items()]
    words += [f"daily_usd {daily_usd}"] if daily_usd is not None else []
    await change(
        core,
        actor,
        "limits.set",
        account.public_id,
        ", ".join(words),
        lambda db: rows.update_limits(db, account.id, astuple(own), daily),
    )
    _apply(core, account, own, daily)
    return _shown(row["email"], account, daily)


def _apply(core: Core, account: Account, own: Limits, daily: int | None) -> None:
    account.own_limits = own
    account.daily.limit_nanos = core.live.daily_limit(daily, account.created_at)
    limits = core.live.effective_limits(own, account.created_at)
    if limits != account.limiter.limits:
        account.limiter.apply(limits, core.clock.monotonic())


def _bound(name: str, bound: int | Literal["default"]) -> int | None:
    return inputs.count(bound, name) if isinstance(bound, int) else None


def _shown(email: str, account: Account, daily: int | None) -> dict[str, Any]:
    own, effective = account.own_limits, account.limiter.limits
    limits = {
        name: {"value": getattr(effective, name), "own": getattr(own, name) is not None}
        for name in Limits.__dataclass_fields__
    }
    return {
        "email": email,
        "account": account.public_id,
        "limits": limits,
        "daily_usd": inputs.optional_usd(account.daily.limit_nanos),
        "daily_is_own": daily is not None,
    }
