"""What a start finds on disk: open and pending requests, levels, spend windows, switches.

A crash is a copy of the folder of a shop that still runs, and a second shop on the copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reseller.actions.table import perform
from reseller.clock import ShiftedClock
from reseller.ids import Ids
from reseller.money.wallet import HoldState
from reseller.sandbox.upstream import UpstreamSimulator
from tests.gateway.asking import DAY_S, exposures, give_up, holds, stream, usage_rows, waits
from tests.gateway.conftest import LARGE, Stand, running_shop, true_picos

ADA = "ada@example.com"
BILLED = "bill-then-wait-before-headers"


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    """A shop that does not wait for its requests when it stops."""
    async with running_shop(tmp_path / "data", server__drain_s=0) as found:
        yield found


@contextlib.asynccontextmanager
async def crashed(stand: Stand, **flags: object) -> AsyncIterator[Stand]:
    """A shop on what is on disk now, as if the first had died this moment."""
    await stand.shop.core.journal.flushed()
    data = stand.shop.core.config.data.dir
    copy = data.with_name(data.name + "-later")
    shutil.copytree(data, copy)
    # The dead process's connections are gone.
    for call in list(stand.shop.engine.running.values()):
        call.cut()
    flags = {"server.drain_s": 0, **flags}
    async with running_shop(copy, stand.clock, stand.simulator, **flags) as found:
        found.keys = dict(stand.keys)
        yield found


@contextlib.asynccontextmanager
async def restarted(
    folder: Path, clock: ShiftedClock, simulator: UpstreamSimulator, **flags: object
) -> AsyncIterator[Stand]:
    """A shop on a folder that another one has left in order."""
    async with running_shop(folder, clock, simulator, **flags) as found:
        yield found


@pytest.fixture
async def world() -> AsyncIterator[tuple[ShiftedClock, UpstreamSimulator]]:
    """A clock and an upstream that outlive the shops."""
    clock = ShiftedClock()
    simulator = UpstreamSimulator(clock, Ids(), list_fault_models=True)
    await simulator.start()
    yield clock, simulator
    await simulator.stop()


async def hold_one(
    stand: Stand, fault: str, key: str | None = None, **more: Any
) -> asyncio.Task[Any]:
    """A request that the upstream holds; whatever becomes of its answer."""
    before = stand.simulator.gate.held.total()
    stand.simulator.faults.add(fault)
    key = key or stand.keys[ADA]

    async def ask() -> None:
        with contextlib.suppress(Exception):
            await stand.chat(key, **more)

    task = asyncio.create_task(ask())
    await stand.simulator.gate.wait_held(before + 1)
    return task


async def end(*tasks: asyncio.Task[Any]) -> None:
    """The first shop's clients are done with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_open_holds_wait_for_their_cost(stand: Stand) -> None:
    """With its id a request is settled at its true cost, without one it waits; the money of both
    stays held, and new requests do not have to share with them."""
    await stand.customer()
    known = await hold_one(stand, "hang-after-headers", stream=True)
    unknown = await hold_one(stand, BILLED)
    held = (await stand.balance())["held_usd"]
    await asyncio.sleep(0.02)
    assert {row["state"] for row in await holds(stand)} == {"open"}
    async with crashed(stand) as after:
        assert (await after.balance())["held_usd"] == held
        assert {row["state"] for row in await holds(after)} == {"pending"}
        assert {t.hold.state for t in after.shop.pending.waiting.values()} == {HoldState.PENDING}
        assert after.shop.core.live.wallet.balance_of(100).running == 0
        await after.verify()
        assert (await after.chat(after.keys[ADA])).status_code == 200
        await end(known)
        await waits(lambda: len(stand.simulator.books.rows) == 3)
        after.simulator.record_clock.advance(5)
        await after.shop.pending.settle_now()
        await after.verify()
        [left] = await holds(after)
        assert left["generation_id"] is None
        [_, late] = await usage_rows(after)
        billed = {bill.id: bill for bill in stand.simulator.books.rows}
        assert late["cost_picos"] == true_picos(billed[late["generation_id"]])
        assert late["outcome"] == "cancelled"
    await end(unknown)


async def test_without_an_id_it_becomes_exposure_and_costs_nothing(stand: Stand) -> None:
    """A day after the crash: released, written down once, also over one more restart."""
    await stand.customer()
    unknown = await hold_one(stand, BILLED)
    async with crashed(stand) as after:
        await give_up(after)
        [row] = await exposures(after)
        assert (row["charge_nanos"], row["reason"]) == (0, "restart")
        assert (await after.balance())["balance_usd"] == "10.00"
        await after.verify()
        async with crashed(after) as again:
            assert len(await exposures(again)) == 1
            assert again.shop.pending.waiting == {}
            await again.verify()
    await end(unknown)


async def test_a_client_that_left_is_remembered(stand: Stand) -> None:
    """Parked because its client left before any id: a day later, in another process, the prompt's
    quote is charged."""
    await stand.customer()
    waiting = await hold_one(stand, "bill-then-wait-before-headers", stream=True)
    await end(waiting)
    await waits(lambda: all(c.departed for c in stand.shop.engine.running.values()))
    for call in stand.shop.engine.running.values():
        call.cut()
    await stand.idle()
    [row] = await holds(stand)
    assert (row["client_left"], row["generation_id"], row["state"]) == (1, None, "pending")
    async with crashed(stand) as after:
        await give_up(after)
        [exposed] = await exposures(after)
        assert exposed["charge_nanos"] == row["prompt_nanos"] > 0
        await after.verify()


async def test_the_price_is_that_of_the_quote(stand: Stand) -> None:
    """A rule changed between the request and its settlement changes nothing for it."""
    await stand.customer()
    waiting = await hold_one(stand, "hang-after-headers", stream=True)
    await perform(stand.shop.core, "pricing.set", {"pattern": "*", "markup": "300%"})
    async with crashed(stand) as after:
        await end(waiting)
        await after.check_books()
        [row] = await usage_rows(after)
        assert row["markup_bps"] == 2_000
        assert row["charge_nanos"] == -(-row["cost_picos"] * 12_000 // 10_000_000)


async def test_a_revoked_key_has_no_say_in_what_it_owes(stand: Stand) -> None:
    """Its request is settled and counted although no start will know the key again."""
    key = await stand.customer()
    waiting = await hold_one(stand, "hang-after-headers", stream=True)
    [made] = (await perform(stand.shop.core, "key.list", {"email": ADA}))["keys"]
    await perform(stand.shop.core, "key.revoke", {"key_id": made["id"]})
    async with crashed(stand) as after:
        assert (await after.chat(key)).status_code == 401
        await end(waiting)
        await after.check_books()
        [row] = await after.rows("select used_nanos from api_key")
        assert row["used_nanos"] > 0


async def test_given_up_by_estimate_counts_polls_of_both_lives(stand: Stand) -> None:
    """Three real answers are needed, whichever process asked; then the estimate is charged."""
    key = await stand.customer()
    stand.simulator.faults.add("record-never")
    await stream(stand, key)
    await stand.shop.pending.settle_now()
    await stand.shop.pending.settle_now()
    [row] = await holds(stand)
    assert row["polls"] >= 2
    async with crashed(stand) as after:
        [ticket] = after.shop.pending.waiting.values()
        assert ticket.real_polls == row["polls"]
        assert ticket.estimate_nanos == row["estimate_nanos"] > 0
        await give_up(after)
        [settled] = await usage_rows(after)
        assert settled["outcome"] == "estimated"
        assert settled["charge_nanos"] == row["estimate_nanos"]
        await after.verify()


async def test_balances_of_an_interrupted_life_are_those_of_the_ledger(stand: Stand) -> None:
    """Requests settled before the crash are in the balance and in the use after it."""
    key = await stand.customer()
    for _ in range(3):
        assert (await stand.chat(key, LARGE)).status_code == 200
    before = await stand.balance()
    async with crashed(stand) as after:
        assert await after.balance() == before
        await after.check_books()


async def test_admission_off_survives(stand: Stand) -> None:
    """The kill switch stays where the operator put it, until it is put back."""
    key = await stand.customer()
    await perform(stand.shop.core, "admission.off", {"reason": "maintenance"})
    async with crashed(stand) as after:
        refused = await after.chat(key)
        assert (refused.status_code, after.simulator.books.rows) == (503, [])
        await perform(after.shop.core, "admission.on", {})
        assert (await after.chat(key)).status_code == 200
        async with crashed(after) as again:
            assert (await again.chat(key)).status_code == 200


async def test_suspended_and_frozen_survive(stand: Stand) -> None:
    """Neither a suspended nor a frozen account may spend after a restart."""
    key = await stand.customer()
    other = await stand.customer("bob@example.com")
    await perform(stand.shop.core, "customer.suspend", {"email": ADA})
    frozen = stand.shop.core.live.accounts[101]
    stand.shop.core.live.account_mismatch(frozen.id, "req_none", "made up")
    await asyncio.sleep(0)
    async with crashed(stand) as after:
        assert (await after.chat(key)).status_code == 403
        assert (await after.chat(other)).status_code == 503


async def test_hour_and_day_levels_survive(
    tmp_path: Path, world: tuple[ShiftedClock, UpstreamSimulator]
) -> None:
    """A restart does not refill what was used of the hour and the day; time does."""
    clock, simulator = world
    limits = {"limits.requests_per_hour": 3, "limits.requests_per_day": 5}
    async with restarted(tmp_path / "data", clock, simulator, **limits) as first:
        key = await first.customer()
        for _ in range(3):
            assert (await first.chat(key)).status_code == 200
        assert (await first.chat(key)).status_code == 429
    async with restarted(tmp_path / "data", clock, simulator, **limits) as second:
        refused = await second.chat(key)
        assert refused.status_code == 429
        assert "per hour" in refused.json()["error"]["message"]
        clock.advance(3_600)
        assert (await second.chat(key)).status_code == 200
        assert (await second.chat(key)).status_code == 200
    clock.advance(3_600)
    async with restarted(tmp_path / "data", clock, simulator, **limits) as third:
        refused = await third.chat(key)
        assert refused.status_code == 429
        assert "per day" in refused.json()["error"]["message"]


async def test_a_keys_spend_window_survives(stand: Stand) -> None:
    """What a key has spent today counts after the crash, with what waits for its cost; tomorrow
    begins at nothing."""
    midnight_ms = stand.clock.now_ms() // 86_400_000 * 86_400_000 + 86_400_000
    stand.clock.advance((midnight_ms - stand.clock.now_ms()) / 1000 + 60)
    key = await stand.customer(limit_usd="0.02", period="daily")
    assert (await stand.chat(key, LARGE, max_tokens=400)).status_code == 200
    [row] = await stand.rows("select * from api_key")
    spent = row["spent_nanos"]
    assert 0 < spent == row["used_nanos"]
    waiting = await hold_one(stand, "hang-after-headers", key, model=LARGE, max_tokens=400)
    async with crashed(stand) as after:
        cap = after.shop.core.live.keys_by_id[row["id"]].cap
        assert (cap.spent_nanos, cap.started_at) == (spent, midnight_ms)
        assert cap.held_nanos == sum(hold["held_nanos"] for hold in await holds(after)) > 0
        await end(waiting)
        await after.check_books()
        [row] = await after.rows("select * from api_key")
        assert cap.held_nanos == 0
        assert row["spent_nanos"] == cap.spent_nanos > spent
        after.clock.advance(DAY_S)
        async with crashed(after) as tomorrow:
            assert (await tomorrow.chat(key, LARGE, max_tokens=400)).status_code == 200
            cap = tomorrow.shop.core.live.keys_by_id[row["id"]].cap
            [again] = await tomorrow.rows("select * from api_key")
            assert cap.started_at == again["period_start"] == midnight_ms + 86_400_000
            assert 0 < cap.spent_nanos == again["spent_nanos"] < row["spent_nanos"]
            await tomorrow.check_books()


async def test_a_key_at_its_limit_stays_there(stand: Stand) -> None:
    """Right after the restart a key without a cent left is refused for that reason."""
    key = await stand.customer(limit_usd="0.002")
    codes = [(await stand.chat(key, LARGE)).status_code for _ in range(20)]
    assert codes[0] == 200
    assert codes[-1] == 402
    async with crashed(stand) as after:
        refused = await after.chat(key, LARGE)
        assert refused.status_code == 402
        assert refused.json()["error"]["code"] == "spend_limit_reached"
        await after.check_books()
