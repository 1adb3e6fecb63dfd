"""Scheduled chores: each bounded in time, safe to repeat, and also a command (`job NAME`).

A job that fails is logged, raises an alarm and is tried again at its next turn; a later success
takes the alarm back. Runs of one job never overlap.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reseller.core import Core
from reseller.db.sql import statement
from reseller.errors import NotFound, ResellerError

log = logging.getLogger("reseller.jobs")

_SAVE_RUN = statement("save_job_run")
_LIST_RUNS = statement("list_job_runs")
# Jobs that run every few seconds are written down once a minute, unless their outcome changed.
_WRITTEN_EVERY_MS = 60_000
_DETAIL_LENGTH = 500

OK = "ok"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A chore: `run` does it once and says in a few words what it did.

    `at_start`: due as soon as the scheduler starts, not when its last run is `every_s` ago.
    `at_stop`: runs once more when the scheduler stops.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[str]]
    timeout_s: float = 120.0
    at_start: bool = True
    at_stop: bool = False

    def __post_init__(self) -> None:
        assert self.every_s > 0
        assert self.timeout_s > 0


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job: when (unix ms), how it went, and what it said."""

    name: str
    started_at: int
    ended_at: int
    outcome: str
    detail: str

    @property
    def is_ok(self) -> bool:
        """Whether the job did what it promises."""
        return self.outcome == OK


class _Entry:
    """A job in the scheduler."""

    __slots__ = ("job", "last", "lock", "soon", "task", "written")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.lock = asyncio.Lock()
        self.soon = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.last: JobRun | None = None
        self.written: JobRun | None = None


class Scheduler:
    """Runs jobs in turn on the event loop. `start`, then `stop`; `run_now` works without both."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._entries: dict[str, _Entry] = {}
        self._is_started = False

    def add(self, job: Job) -> None:
        """Make a job known; if the scheduler runs already, it joins in."""
        assert job.name not in self._entries, job.name
        entry = self._entries[job.name] = _Entry(job)
        if self._is_started:
            self._launch(entry, 0.0 if job.at_start else job.every_s)

    @property
    def names(self) -> list[str]:
        """All jobs, in the order they were added."""
        return list(self._entries)

    @property
    def last_runs(self) -> dict[str, JobRun]:
        """How each job went last time, for those that ran in this process or are on record."""
        return {name: e.last for name, e in self._entries.items() if e.last is not None}

    async def start(self) -> None:
        """Begin; jobs that were due while the process was away run at once."""
        assert not self._is_started
        await self._recall()
        self._is_started = True
        now = self._core.clock.now_ms()
        for entry in self._entries.values():
            self._launch(entry, _first_wait_s(entry, now))

    async def stop(self, patience_s: float = 5.0) -> None:
        """End: running jobs get a moment, then jobs that save something run a last time."""
        self._is_started = False
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for entry in self._entries.values():
            if entry.task is not None and not entry.lock.locked():
                entry.task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for entry in self._entries.values():
            entry.task = None
            if entry.job.at_stop:
                await self._run(entry)

    async def run_now(self, name: str) -> JobRun:
        """Run a job and wait for it; a failure is in the answer. Raises NotFound."""
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(sorted(self._entries))
            raise NotFound(f"There is no job {name!r:.60}. Jobs: {known}.", code="job_not_found")
        return await self._run(entry)

    def run_soon(self, name: str) -> None:
        """Have the scheduler run a job without waiting for its turn; once, however often asked."""
        self._entries[name].soon.set()

    def _launch(self, entry: _Entry, first_wait_s: float) -> None:
        name = f"job {entry.job.name}"
        entry.task = asyncio.create_task(self._repeat(entry, first_wait_s), name=name)

    async def _repeat(self, entry: _Entry, wait_s: float) -> None:
        while True:
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(entry.soon.wait(), wait_s)
            if not self._is_started:
                return
            entry.soon.clear()
            await self._run(entry)
            wait_s = entry.job.every_s
            if not self._is_started:
                return

    async def _run(self, entry: _Entry) -> JobRun:
        async with entry.lock:
            started_at = self._core.clock.now_ms()
            outcome, detail = await self._attempt(entry.job)
            ended_at = self._core.clock.now_ms()
            run = JobRun(entry.job.name, started_at, ended_at, outcome, detail[:_DETAIL_LENGTH])
            entry.last = run
            await self._write_down(entry, run)
            return run

    async def _attempt(self, job: Job) -> tuple[str, str]:
        alarms = self._core.live.alarms
        try:
            async with asyncio.timeout(job.timeout_s):
                detail = await job.run()
        except TimeoutError:
            detail = f"not finished after {job.timeout_s:g} s"
        except ResellerError as error:
            detail = error.message
        except Exception as error:
            log.exception("job %s failed", job.name)
            detail = f"{type(error).__name__}: {error}"
        else:
            alarms.clear(f"job_{job.name}")
            return OK, detail
        alarms.tell(f"job_{job.name}", detail)
        return FAILED, detail

    async def _write_down(self, entry: _Entry, run: JobRun) -> None:
        before = entry.written
        if (
            before is not None
            and before.outcome == run.outcome
            and 0 <= run.ended_at - before.ended_at < _WRITTEN_EVERY_MS
        ):
            return
        row = (run.name, run.started_at, run.ended_at, run.outcome, run.detail)
        try:
            await self._core.journal.write(lambda db: db.execute(_SAVE_RUN, row))
        except Exception:
            log.exception("the run of job %s could not be written down", run.name)
        else:
            entry.written = run

    async def _recall(self) -> None:
        for row in await self._core.reader.rows(_LIST_RUNS):
            entry = self._entries.get(row["name"])
            if entry is not None and entry.last is None:
                entry.last = JobRun(*row)


def _first_wait_s(entry: _Entry, now_ms: int) -> float:
    """Seconds until a job's first run in this process. A clock set back delays nothing."""
    if entry.job.at_start or entry.last is None or not entry.last.is_ok:
        return 0.0
    since_s = (now_ms - entry.last.ended_at) / 1000
    return 0.0 if since_s < 0 else max(0.0, entry.job.every_s - since_s)
