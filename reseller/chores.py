"""The chores every server has: which jobs there are, how often, and the small ones themselves."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from reseller import admission
from reseller.alarms import Alarm
from reseller.core import Core
from reseller.db.sql import statement
from reseller.errors import ResellerError
from reseller.jobs import Job, Scheduler
from reseller.limits import Limiter
from reseller.rollup import Rollups
from reseller.sync import ModelSync
from reseller.upstream_guard import UpstreamGuard

_SAVE_LEVELS = statement("save_bucket_level")
_SAVE_ALARMS = statement("save_alarms")
_CLEAR_ALARMS = statement("clear_alarms")
_LIST_ALARMS = statement("list_standing_alarms")
_LIST_DAILY_LIMITS = statement("list_daily_limits")

_HOUR_S = 3_600.0
_DAY_S = 86_400.0
# So many accounts are looked at before the event loop gets a turn.
_STRIDE = 500
_DETAIL_LENGTH = 400

Verify = Callable[[Core], Awaitable[Mapping[str, Any]]]


class BooksWrong(ResellerError):
    """The ledger's verification found something."""

    default_code = "books_wrong"


@dataclass(frozen=True, slots=True)
class Chores:
    """The scheduler with its jobs, and those of them that others ask things of."""

    scheduler: Scheduler
    models: ModelSync
    guard: UpstreamGuard
    rollups: Rollups


def build_chores(core: Core, http: httpx.AsyncClient, verify: Verify) -> Chores:
    """All jobs that need nothing but a Core; `verify` proves the ledger. Starts nothing."""
    scheduler = Scheduler(core)
    models, guard, rollups = ModelSync(core, http), UpstreamGuard(core, http), Rollups(core)
    upstream = core.config.upstream
    for job in (
        Job("alarms", 5.0, AlarmBook(core).save, at_stop=True),
        Job("models", upstream.models_refresh_s, models.refresh),
        Job("credits", upstream.credits_poll_s, guard.check),
        Job("levels", 30.0, Levels(core).save, at_stop=True),
        Job("rollups", 30.0, rollups.roll_up, at_stop=True),
        Job("brakes", 300.0, Brakes(core).release),
        Job("retention", _HOUR_S, rollups.prune, timeout_s=900.0, at_start=False),
        Job("rollup_check", 6 * _HOUR_S, rollups.check, at_start=False),
        Job("ledger", _DAY_S, LedgerProof(core, verify).run, timeout_s=_HOUR_S, at_start=False),
    ):
        scheduler.add(job)
    return Chores(scheduler, models, guard, rollups)


class LedgerProof:
    """The `ledger` job: a failed proof stops the shop, a later good one lets it go on."""

    def __init__(self, core: Core, verify: Verify) -> None:
        self._core = core
        self._verify = verify
        self._has_closed = False

    async def run(self) -> str:
        """Prove the books. Raises BooksWrong after closing admission."""
        live = self._core.live
        found = await self._verify(self._core)
        if found["ok"]:
            if self._has_closed:
                self._has_closed = False
                live.admission.open(admission.BOOKS)
            live.alarms.clear("books")
            return "the books are right"
        wrong = found.get("wrong") or ["the books are wrong"]
        detail = f"ledger verify: {'; '.join(map(str, wrong))}"[:_DETAIL_LENGTH]
        self._has_closed = self._has_closed or admission.BOOKS not in live.admission.reasons
        live.admission.close(admission.BOOKS, detail)
        live.alarms.tell("books", detail)
        raise BooksWrong(detail)


class Levels:
    """The `levels` job: hour and day buckets survive a restart."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # When each limiter's day or hour bucket was last looked at by a request or by us.
        self._seen: dict[str, float] = {}

    async def save(self) -> str:
        """Write the levels that requests have changed since the last time."""
        seen: dict[str, float] = {}
        rows: list[tuple[str, str, int]] = []
        live = self._core.live
        owners: list[tuple[str, Limiter]] = [
            (f"account:{account.id}", account.limiter) for account in live.accounts.values()
        ]
        owners += [
            (f"key:{key.id}", key.limiter)
            for key in live.keys_by_id.values()
            if key.limiter is not None
        ]
        for number, (owner, limiter) in enumerate(owners):
            if number % _STRIDE == _STRIDE - 1:
                await asyncio.sleep(0)
            if (levels := self._changed(owner, limiter)) is not None:
                rows.append((owner, json.dumps(levels), self._core.clock.now_ms()))
                seen[owner] = limiter.requests[-1].updated
        if rows:
            text = json.dumps(rows)
            await self._core.journal.write(lambda db: db.execute(_SAVE_LEVELS, (text,)))
        self._seen.update(seen)
        return f"{len(rows)} saved"

    def _changed(self, owner: str, limiter: Limiter) -> dict[str, float] | None:
        if not limiter.requests or limiter.requests[-1].name == "minute":
            return None
        if limiter.requests[-1].updated == self._seen.get(owner):
            return None
        levels = limiter.levels(self._core.clock.monotonic())
        is_full = all(b.level >= b.capacity for b in limiter.requests if b.name != "minute")
        if is_full and owner not in self._seen:
            return None
        return levels


class AlarmBook:
    """The `alarms` job: what stands in memory is on record, also across a restart."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._is_recalled = False

    async def save(self) -> str:
        """Write what changed; what cannot be written now is tried again next time."""
        await self._recall()
        alarms = self._core.live.alarms
        if not alarms.unsaved and not alarms.cleared:
            return "nothing new"
        unsaved, alarms.unsaved = alarms.unsaved, []
        cleared, alarms.cleared = alarms.cleared, []
        over = _rows(a for a in unsaved if alarms.standing.get(a.kind) is not a)
        standing = _rows(a for a in unsaved if alarms.standing.get(a.kind) is a)
        now, names = self._core.clock.now_ms(), json.dumps(cleared)

        def work(db: sqlite3.Connection) -> None:
            db.execute(_SAVE_ALARMS, (over,))
            db.execute(_CLEAR_ALARMS, (now, names))
            db.execute(_SAVE_ALARMS, (standing,))

        try:
            await self._core.journal.write(work)
        except BaseException:
            alarms.unsaved = unsaved + [a for a in alarms.unsaved if a not in unsaved]
            alarms.cleared = cleared + alarms.cleared
            raise
        return f"{len(unsaved)} written, {len(cleared)} over"

    async def _recall(self) -> None:
        """Alarms an earlier process left standing stand again, so that they can be cleared."""
        if self._is_recalled:
            return
        for row in await self._core.reader.rows(_LIST_ALARMS):
            self._core.live.alarms.standing.setdefault(row["kind"], Alarm(*row))
        self._is_recalled = True


class Brakes:
    """The `brakes` job: accounts that are no longer new lose the limits of new ones."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._new = self._find_new()

    async def release(self) -> str:
        """Give every account that came of age its own limits."""
        live = self._core.live
        aged = sorted(self._new - self._find_new())
        if aged:
            stored = await self._core.reader.rows(_LIST_DAILY_LIMITS, (json.dumps(aged),))
            for row in stored:
                account = live.accounts[row["id"]]
                limits = live.effective_limits(account.own_limits, account.created_at)
                account.daily.limit_nanos = live.daily_limit(
                    row["daily_limit_nanos"], account.created_at
                )
                # The brake bounds concurrency only, so the buckets keep their levels.
                account.limiter.limits = limits
        self._new = self._find_new()
        return f"{len(aged)} accounts came of age"

    def _find_new(self) -> set[int]:
        live = self._core.live
        return {a.id for a in live.accounts.values() if live.is_new(a.created_at)}


def _rows(alarms: Any) -> str:
    return json.dumps([[a.kind, a.detail, a.first_at, a.last_at, a.times] for a in alarms])
