"""The kill switch, the terms, and the shop's figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reseller import admission
from reseller.actions.table import perform
from reseller.actions.terms import are_accepted
from reseller.clock import ShiftedClock
from reseller.config_schema import Operator
from reseller.core import Core, open_core
from reseller.errors import Unavailable
from reseller.ids import Ids
from tests.actions.conftest import ADA, Do, Spender


async def test_off_is_kept_until_on(core: Core, do: Do, clock: ShiftedClock, ids: Ids) -> None:
    """The switch closes at once, over a restart too, and opens what it closed only."""
    off = await do("admission.off", reason="upstream is out")
    assert off["reasons"] == {"operator": "upstream is out"}
    assert off["saved"]
    with pytest.raises(Unavailable, match="paused"):
        core.live.admission.check()
    async with open_core(core.config, clock, ids) as again:
        assert not again.live.admission.is_open
    core.live.admission.close(admission.DISK, "full")
    on = await do("admission.on")
    assert on == {"open": False, "reasons": {"disk": "full"}}
    core.live.admission.open(admission.DISK)
    assert (await do("admission.show"))["open"]
    async with open_core(core.config, clock, ids) as again:
        assert again.live.admission.is_open


async def test_terms_are_accepted_once(core: Core, do: Do, clock: ShiftedClock) -> None:
    """The text says what to read; the first acceptance is the one on record."""
    shown = await do("terms.show")
    assert not shown["accepted"]
    assert not await are_accepted(core)
    assert "written consent" in " ".join(shown["text"].split())
    first = await do("terms.accept")
    clock.advance(60)
    assert await do("terms.accept") == first
    assert await are_accepted(core)
    assert first["accepted_by"] == "console"
    assert len(await core.reader.rows("select id from audit where action = 'terms.accept'")) == 1


async def test_terms_may_be_accepted_in_the_file(core: Core, clock: ShiftedClock, ids: Ids) -> None:
    """`operator.terms_accepted = true` counts, and says where it stands."""
    config = replace(core.config, operator=Operator(terms_accepted=True))
    async with open_core(config, clock, ids) as other:
        assert await are_accepted(other)
        shown = await perform(other, "terms.show", {})
        assert shown["accepted_by"].startswith("operator.terms_accepted")


async def test_stats_add_up(core: Core, do: Do, spender: Spender, clock: ShiftedClock) -> None:
    """Revenue, cost and margin are exact, by UTC days; what is owed is the balances' sum."""
    await spender.spend(10**12)
    clock.advance(2 * 86_400)
    await spender.spend(5 * 10**11)
    ticket = await spender.hold(10**9)
    figures = await do("stats.show")
    assert figures["today"]["requests"] == 1
    assert figures["today"]["revenue_usd"] == "0.60"
    assert figures["days_30"]["requests"] == 2
    assert figures["ever"] == figures["days_30"]
    assert figures["ever"]["cost_usd"] == "1.50"
    assert figures["ever"]["margin_usd"] == "0.30"
    assert figures["liability_usd"] == "8.20"
    assert figures["house"]["revenue"] == "1.80"
    assert figures["house"]["bonus"] == "-10.00"
    assert figures["running"] == {"requests": 1, "held_usd": "1.00"}
    assert figures["customers"] == 1
    await spender.settle(ticket, 0)


async def test_usage_shows_cost_and_charge(do: Do, spender: Spender) -> None:
    """The operator sees both, page by page; what runs is listed apart."""
    ids = [await spender.spend(10**12), await spender.spend(2 * 10**12)]
    ticket = await spender.hold(10**9)
    page = await do("usage.list", email=ADA, limit=1)
    (newest,) = page["requests"]
    assert newest["request_id"] == ids[1]
    assert (newest["cost_usd"], newest["charge_usd"], newest["margin_usd"]) == (
        *("2.00", "2.40"),
        "0.40",
    )
    assert newest["markup"] == "20 %"
    (running,) = page["unsettled"]
    assert (running["request_id"], running["state"]) == (ticket.request_id, "open")
    assert (page["balance_usd"], page["held_usd"]) == ("6.40", "1.00")
    older = await do("usage.list", email=ADA, limit=5, before=newest["request_id"])
    assert [each["request_id"] for each in older["requests"]] == ids[:1]
    await spender.settle(ticket, 0)
