"""Limits of an account: in force at once, kept over a restart, given back to the defaults."""

from __future__ import annotations

import pytest

from reseller.clock import ShiftedClock
from reseller.core import Core, open_core
from reseller.errors import RateLimited, Unprocessable
from reseller.ids import Ids
from reseller.limits import admit
from tests.actions.conftest import ADA, Do, Spender


async def test_limits_are_in_force_at_once(
    core: Core, do: Do, spender: Spender, clock: ShiftedClock, ids: Ids
) -> None:
    """The limiter follows, what is not given stays, and a restart remembers."""
    limiter = spender.key.account.limiter
    await do("limits.set", email=ADA, requests_per_minute=2, daily_usd="3")
    now = core.clock.monotonic()
    admit([limiter], 0, now)
    admit([limiter], 0, now)
    with pytest.raises(RateLimited, match="2 requests per minute"):
        admit([limiter], 0, now)
    assert spender.key.account.daily.limit_nanos == 3 * 10**9
    shown = await do("limits.set", email=ADA, requests_per_day=9)
    assert shown["limits"]["requests_per_minute"] == {"value": 2, "own": True}
    assert shown["limits"]["requests_per_hour"] == {"value": 1_000, "own": False}
    async with open_core(core.config, clock, ids) as again:
        account = again.live.accounts[spender.key.account.id]
        assert account.limiter.limits == limiter.limits
        assert account.daily.limit_nanos == 3 * 10**9


async def test_running_requests_go_on(do: Do, spender: Spender) -> None:
    """A change of limits forgets no running request."""
    limiter = spender.key.account.limiter
    admit([limiter], 0, spender.core.clock.monotonic())
    await do("limits.set", email=ADA, concurrent_requests=1)
    assert limiter.running == 1
    limiter.finish(0, 0)


async def test_the_daily_cap_leaves_the_buckets_alone(do: Do, spender: Spender) -> None:
    """Only a change of rates starts them afresh."""
    limiter = spender.key.account.limiter
    admit([limiter], 0, spender.core.clock.monotonic())
    level = limiter.requests[-1].level
    await do("limits.set", email=ADA, daily_usd="3")
    assert limiter.requests[-1].level == level


async def test_default_gives_the_account_back(do: Do, spender: Spender) -> None:
    """`default` takes the account's own bound away."""
    await do("limits.set", email=ADA, requests_per_minute=2, daily_usd="3")
    shown = await do("limits.set", email=ADA, requests_per_minute="default", daily_usd="default")
    assert shown["limits"]["requests_per_minute"] == {"value": 60, "own": False}
    assert (shown["daily_usd"], shown["daily_is_own"]) == (None, False)
    assert await do("limits.show", email=ADA) == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_per_minute": 0},
        {"requests_per_hour": -1},
        {"requests_per_day": 10**13},
        {"tokens_per_minute": "many"},
        {"concurrent_requests": 1.5},
        {"daily_usd": "-3"},
        {"daily_usd": "0"},
        {},
    ],
)
async def test_a_wrong_limit_changes_nothing(
    do: Do, spender: Spender, wrong: dict[str, object]
) -> None:
    """Refused whole: not even the right half of it is set."""
    before = await do("limits.show", email=ADA)
    right = {"requests_per_minute": 5} if wrong and "requests_per_minute" not in wrong else {}
    with pytest.raises(Unprocessable):
        await do("limits.set", email=ADA, **right, **wrong)
    assert await do("limits.show", email=ADA) == before
