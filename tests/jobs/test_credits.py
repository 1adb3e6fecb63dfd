"""The upstream guard: when admission closes and opens, and what it never does."""

from __future__ import annotations

from decimal import Decimal

import httpx
import pytest

from reseller import admission
from reseller.clock import ShiftedClock
from reseller.core import Core
from reseller.errors import UpstreamFault
from reseller.money.pricing import PriceRule, Quote
from reseller.sandbox.costs import units
from reseller.sandbox.upstream import UpstreamSimulator
from reseller.units import PICOS_PER_USD
from reseller.upstream_guard import UpstreamGuard

RULE = PriceRule("*", 0)


@pytest.fixture
def guard(core: Core, http: httpx.AsyncClient) -> UpstreamGuard:
    """A guard of the simulator's account; memory holds 10 USD for one request."""
    core.live.wallet.add_account(100, 10_000_000_000)
    core.live.wallet.reserve("req_1", 100, Quote(RULE, 10 * PICOS_PER_USD, 0, 100))
    return UpstreamGuard(core, http)


async def test_a_full_account_keeps_admission_open(core: Core, guard: UpstreamGuard) -> None:
    """The balance is known to the pico and shown."""
    assert await guard.check() == "1000.00 USD"
    assert guard.balance.picos == 1_000 * PICOS_PER_USD
    assert guard.balance.at > 0
    assert core.live.admission.is_open


async def test_a_low_balance_closes_and_a_top_up_opens(
    core: Core, guard: UpstreamGuard, upstream: UpstreamSimulator
) -> None:
    """Below holds x 1.2 nothing new starts, and the operator hears of it."""
    upstream.credit_units = units("11.99")
    await guard.check()
    assert admission.UPSTREAM_BALANCE in core.live.admission.reasons
    assert "11.99 USD" in core.live.alarms.standing["upstream_balance"].detail
    upstream.credit_units = units("12")
    await guard.check()
    assert core.live.admission.is_open
    assert "upstream_balance" not in core.live.alarms.standing


async def test_unknown_never_closes(
    core: Core, guard: UpstreamGuard, upstream: UpstreamSimulator, clock: ShiftedClock
) -> None:
    """An upstream that is down or talks nonsense raises, but the shop goes on."""
    await upstream.stop()
    with pytest.raises(UpstreamFault):
        await guard.check()
    assert core.live.admission.is_open
    assert not guard.balance.is_known


@pytest.mark.parametrize("total", ["1e400", "1e-400", "-5", "1e13"])
async def test_absurd_figures_are_not_arithmetic(core: Core, total: str) -> None:
    """Figures that cannot be are unknown, negative balances close."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/key"):
            return httpx.Response(200, text='{"data":{"limit_remaining":null}}')
        return httpx.Response(200, text=f'{{"data":{{"total_credits":{total},"total_usage":1}}}}')

    guard = UpstreamGuard(core, httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    if total == "-5":
        await guard.check()
        assert guard.balance.picos == -6 * PICOS_PER_USD
        assert not core.live.admission.is_open
    else:
        with pytest.raises(UpstreamFault):
            await guard.check()
        assert core.live.admission.is_open


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_falls_back_on_the_keys_own_limit(core: Core, status: int) -> None:
    """Where credits may not be asked for, what the key has left counts, exactly."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/key"):
            return httpx.Response(200, text='{"data":{"limit_remaining":0.1234567890129}}')
        return httpx.Response(status, text="{}")

    guard = UpstreamGuard(core, httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    await guard.check()
    assert guard.balance.picos == int(Decimal("0.123456789012") * PICOS_PER_USD)


async def test_a_closed_key_opens_when_it_works_again(
    core: Core, guard: UpstreamGuard, upstream: UpstreamSimulator
) -> None:
    """What the gateway closed on a 401 stays closed until the key is taken again."""
    key, upstream.api_key = upstream.api_key, "sk-or-another"
    core.live.admission.close(admission.UPSTREAM_KEY, "401")
    await guard.check()
    assert admission.UPSTREAM_KEY in core.live.admission.reasons
    assert "upstream_key" in core.live.alarms.standing
    upstream.api_key = key
    await guard.check()
    assert core.live.admission.is_open
    assert not core.live.alarms.standing


async def test_a_402_with_little_left_is_believed_for_a_minute(
    core: Core, guard: UpstreamGuard, upstream: UpstreamSimulator, clock: ShiftedClock
) -> None:
    """Cents that cover no request must not open and close the shop in turn."""
    core.live.wallet.held_total_nanos = 0
    upstream.credit_units = units("0.5")
    await guard.check()
    core.live.admission.close(admission.UPSTREAM_BALANCE, "402")
    await guard.check()
    assert not core.live.admission.is_open
    clock.advance(61)
    await guard.check()
    assert core.live.admission.is_open


async def test_runway_comes_from_recent_cost(
    core: Core, guard: UpstreamGuard, upstream: UpstreamSimulator, clock: ShiftedClock
) -> None:
    """Six hours' cost tells how long the balance lasts; a short one alarms."""
    hour = clock.now_ms() // 3_600_000 * 3_600_000
    await core.journal.write(
        lambda db: db.execute(
            "insert into usage_hour values (100, ?, 1, 1, 1, 0, 1, 1, 0, 0, ?, 1, 0, 1, 1)",
            (hour, 300 * PICOS_PER_USD),
        )
    )
    said = await guard.check()
    assert said == "1000.00 USD, about 20 h at the present pace"
    assert guard.balance.runway_hours == 20
    assert "upstream_runway" in core.live.alarms.standing
