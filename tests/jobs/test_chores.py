"""Levels, alarms, brakes and the proof of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from reseller import admission
from reseller.chores import AlarmBook, Brakes, LedgerProof, Levels, build_chores
from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.core import Core, open_core
from reseller.ids import Ids
from reseller.limits import admit
from reseller.loading import load

DAY_S = 86_400


async def add_account(core: Core, number: int = 100, daily_nanos: int | None = None) -> None:
    """A stored account, known to memory."""
    row = (number, f"acc_{number}", "Shop", core.clock.now_ms(), daily_nanos)
    await core.journal.write(
        lambda db: db.execute(
            "insert into account (id, public_id, name, created_at, daily_limit_nanos) "
            "values (?, ?, ?, ?, ?)",
            row,
        )
    )
    core.live.accounts.clear()
    core.live.wallet.__init__()  # type: ignore[misc]
    await load(core.live, core.reader)


async def test_levels_survive_a_restart(config: Config, clock: ShiftedClock, ids: Ids) -> None:
    """What was used of hour and day is still used after a restart, less what refilled."""
    async with open_core(config, clock, ids) as core:
        await add_account(core)
        levels = Levels(core)
        assert await levels.save() == "0 saved"
        limiter = core.live.accounts[100].limiter
        for _ in range(10):
            admit([limiter], 1, clock.monotonic())
            limiter.finish(1, 1)
        assert await levels.save() == "1 saved"
        assert await levels.save() == "0 saved"
    clock.advance(DAY_S / 10_000 * 3)
    async with open_core(config, clock, ids) as core:
        day = core.live.accounts[100].limiter.requests[-1]
        assert day.level == pytest.approx(9_993, abs=0.1)
        assert await Levels(core).save() == "1 saved"


async def test_full_buckets_are_written_once_they_were_not(core: Core, clock: ShiftedClock) -> None:
    """A bucket that was saved low is saved again when a request finds it refilled."""
    await add_account(core)
    levels, limiter = Levels(core), core.live.accounts[100].limiter
    admit([limiter], 1, clock.monotonic())
    await levels.save()
    clock.advance(DAY_S)
    limiter.check(clock.monotonic())
    assert await levels.save() == "1 saved"


async def test_alarms_are_on_record(core: Core) -> None:
    """Told, repeated, over, told again: one standing row a kind, the past kept."""
    book, alarms = AlarmBook(core), core.live.alarms
    assert await book.save() == "nothing new"
    alarms.tell("disk", "one")
    await book.save()
    alarms.tell("disk", "two")
    alarms.clear("disk")
    alarms.tell("disk", "three")
    await book.save()
    rows = await core.reader.rows("select detail, times, cleared_at from alarm order by id")
    assert [(row["detail"], row["times"]) for row in rows] == [("two", 2), ("three", 1)]
    assert [row["cleared_at"] is None for row in rows] == [False, True]


async def test_alarms_of_an_earlier_process_can_be_cleared(
    config: Config, clock: ShiftedClock, ids: Ids
) -> None:
    """A restart forgets no alarm, and its end is written under the old row."""
    async with open_core(config, clock, ids) as core:
        core.live.alarms.tell("disk", "full")
        await AlarmBook(core).save()
    async with open_core(config, clock, ids) as core:
        book = AlarmBook(core)
        await book.save()
        assert core.live.alarms.standing["disk"].detail == "full"
        core.live.alarms.clear("disk")
        await book.save()
        row = await core.reader.row("select count(*) as n from alarm where cleared_at is null")
        assert row["n"] == 0


async def test_alarms_that_cannot_be_written_wait(core: Core) -> None:
    """A failed write loses no alarm."""
    await core.journal.write(lambda db: db.execute("alter table alarm rename to gone"))
    book, alarms = AlarmBook(core), core.live.alarms
    alarms.tell("disk", "full")
    with pytest.raises(Exception, match="alarm"):
        await book.save()
    await core.journal.write(lambda db: db.execute("alter table gone rename to alarm"))
    await book.save()
    row = await core.reader.row("select detail from alarm")
    assert row["detail"] == "full"


@pytest.mark.parametrize("own", [None, 7_000_000_000])
async def test_brakes_come_off_with_age(core: Core, clock: ShiftedClock, own: int | None) -> None:
    """New accounts are bounded, older ones not; an own limit stays; buckets keep their level."""
    await add_account(core, daily_nanos=own)
    brakes = Brakes(core)
    account = core.live.accounts[100]
    assert account.limiter.limits.concurrent_requests == 3
    assert account.daily.limit_nanos == (own or 5_000_000_000)
    admit([account.limiter], 1, clock.monotonic())
    assert await brakes.release() == "0 accounts came of age"
    clock.advance(3 * DAY_S)
    assert await brakes.release() == "1 accounts came of age"
    assert account.limiter.limits.concurrent_requests == 500
    assert account.daily.limit_nanos == own
    assert account.limiter.requests[0].level == 59
    assert await brakes.release() == "0 accounts came of age"


async def test_a_failed_proof_stops_the_shop(core: Core, http: httpx.AsyncClient) -> None:
    """Admission closes with the alarm, and opens after a later proof."""
    found: dict[str, Any] = {"ok": False, "wrong": ["balances: acc_1"]}

    async def verify(_: Core) -> Mapping[str, Any]:
        return found

    scheduler = build_chores(core, http, verify).scheduler
    core.live.admission.open(admission.CATALOGUE)
    run = await scheduler.run_now("ledger")
    assert run.outcome == "failed"
    assert admission.BOOKS in core.live.admission.reasons
    assert "acc_1" in core.live.alarms.standing["books"].detail
    found["ok"] = True
    assert (await scheduler.run_now("ledger")).detail == "the books are right"
    assert core.live.admission.is_open
    assert not core.live.alarms.standing


async def test_a_proof_does_not_open_what_others_closed(core: Core) -> None:
    """Three mismatches in a minute stay a matter for the operator."""

    async def verify(_: Core) -> Mapping[str, Any]:
        return {"ok": True}

    core.live.admission.close(admission.BOOKS, "mismatches")
    await LedgerProof(core, verify).run()
    assert not core.live.admission.is_open


async def test_every_chore_runs(core: Core, http: httpx.AsyncClient) -> None:
    """Each job works on an empty shop by its name."""

    async def verify(_: Core) -> Mapping[str, Any]:
        return {"ok": True}

    scheduler = build_chores(core, http, verify).scheduler
    runs = [await scheduler.run_now(name) for name in scheduler.names]
    assert [run for run in runs if not run.is_ok] == []
