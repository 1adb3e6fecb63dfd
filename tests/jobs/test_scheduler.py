"""The scheduler: turns, overlap, failures, records, stopping."""

from __future__ import annotations

import asyncio

import pytest

from reseller.clock import ShiftedClock
from reseller.core import Core
from reseller.errors import NotFound, Unavailable
from reseller.jobs import Job, Scheduler


class Counted:
    """A chore that counts its runs and fails when told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.ran = asyncio.Event()

    async def __call__(self) -> str:
        self.runs += 1
        self.ran.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return f"run {self.runs}"


async def test_run_now_answers_and_is_on_record(core: Core) -> None:
    """`run_now` works without starting, and the run stands in job_run."""
    chore = Counted()
    scheduler = Scheduler(core)
    scheduler.add(Job("tidy", 60, chore))
    run = await scheduler.run_now("tidy")
    assert (run.outcome, run.detail) == ("ok", "run 1")
    row = await core.reader.row("select * from job_run")
    assert tuple(row) == ("tidy", run.started_at, run.ended_at, "ok", "run 1")
    with pytest.raises(NotFound, match="tidy"):
        await scheduler.run_now("tide")


@pytest.mark.parametrize("failure", [Unavailable("no luck"), ValueError("no luck")])
async def test_failure_raises_an_alarm_and_success_ends_it(core: Core, failure: Exception) -> None:
    """A failed job alarms and is recorded; its next success takes the alarm back."""
    chore = Counted()
    scheduler = Scheduler(core)
    scheduler.add(Job("tidy", 60, chore))
    chore.failure = failure
    run = await scheduler.run_now("tidy")
    assert not run.is_ok
    assert "no luck" in run.detail
    assert "job_tidy" in core.live.alarms.standing
    row = await core.reader.row("select outcome from job_run")
    assert row["outcome"] == "failed"
    chore.failure = None
    assert (await scheduler.run_now("tidy")).is_ok
    assert "job_tidy" not in core.live.alarms.standing
    row = await core.reader.row("select outcome from job_run")
    assert row["outcome"] == "ok"


async def test_a_job_that_hangs_is_ended(core: Core) -> None:
    """The time limit of a job holds."""
    chore = Counted()
    chore.gate = asyncio.Event()
    scheduler = Scheduler(core)
    scheduler.add(Job("tidy", 60, chore, timeout_s=0.01))
    run = await scheduler.run_now("tidy")
    assert run.detail == "not finished after 0.01 s"


async def test_runs_of_one_job_never_overlap(core: Core) -> None:
    """A second `run_now` waits for the first."""
    chore = Counted()
    chore.gate = asyncio.Event()
    scheduler = Scheduler(core)
    scheduler.add(Job("tidy", 60, chore))
    both = asyncio.gather(scheduler.run_now("tidy"), scheduler.run_now("tidy"))
    await asyncio.sleep(0.01)
    assert chore.runs == 1
    chore.gate.set()
    assert [run.detail for run in await both] == ["run 1", "run 2"]


async def test_repeats_soon_and_stops(core: Core) -> None:
    """Jobs run at start, at their turn, when asked for soon, and a last time at the stop."""
    often, saving = Counted(), Counted()
    scheduler = Scheduler(core)
    scheduler.add(Job("often", 0.005, often))
    scheduler.add(Job("saving", 3600, saving, at_stop=True))
    await scheduler.start()
    while often.runs < 3:
        await asyncio.sleep(0.002)
    assert saving.runs == 1
    saving.ran.clear()
    scheduler.run_soon("saving")
    await asyncio.wait_for(saving.ran.wait(), 1)
    await scheduler.stop()
    count = often.runs
    assert saving.runs == 3
    await asyncio.sleep(0.02)
    assert often.runs == count


async def test_stop_waits_for_a_running_job_then_cancels_it(core: Core) -> None:
    """The stop never hangs on a job."""
    chore = Counted()
    chore.gate = asyncio.Event()
    scheduler = Scheduler(core)
    scheduler.add(Job("slow", 60, chore))
    await scheduler.start()
    await asyncio.wait_for(chore.ran.wait(), 1)
    await scheduler.stop(patience_s=0.01)
    assert chore.runs == 1


async def test_daily_jobs_remember_their_last_run(core: Core, clock: ShiftedClock) -> None:
    """A restart does not repeat a job that is not due, and catches up with one that is."""
    chore = Counted()
    for expected in (1, 1, 2):
        scheduler = Scheduler(core)
        scheduler.add(Job("daily", 86_400, chore, at_start=False))
        await scheduler.start()
        await asyncio.sleep(0.01)
        await scheduler.stop()
        assert chore.runs == expected
        clock.advance(50_000)
