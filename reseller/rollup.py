"""Usage summed by hour and day, so that pages and reports never read request rows.

Each batch of rows is summed and the mark moved in one commit: a row counts exactly once, whatever
happens in between. Request rows are pruned only after they were summed.
"""

from __future__ import annotations

import sqlite3

from reseller.core import Core
from reseller.db.settings import PRUNED_BEFORE
from reseller.db.sql import statement
from reseller.errors import ResellerError

_FIND_SETTING = statement("find_setting")
_SAVE_SETTING = statement("save_setting")
_FIND_END = statement("find_rollup_end")
_HOURS = statement("roll_up_hours")
_DAYS = statement("roll_up_days")
_PRUNE = statement("prune_usage_records")
_SAMPLE = statement("sample_rolled_hours")
_COMPARE = statement("compare_hour")

MARK = "rollup_mark"
_BATCH = 2_000
_MOST_BATCHES = 500
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_SAMPLE_SIZE = 50


class RollupDrift(ResellerError):
    """The sums differ from the rows they were made of."""

    default_code = "rollup_drift"


class Rollups:
    """The `rollups`, `retention` and `rollup_check` jobs."""

    def __init__(self, core: Core, *, batch: int = _BATCH) -> None:
        self._core = core
        self._batch = batch
        self._sampled = 0

    async def roll_up(self) -> str:
        """Sum all rows since the mark, batch by batch."""
        rows = 0
        for _ in range(_MOST_BATCHES):
            taken = await self._core.journal.write(self._one_batch)
            rows += taken
            if taken < self._batch:
                break
        return f"{rows} requests"

    def _one_batch(self, db: sqlite3.Connection) -> int:
        """Runs on the writer's thread, within its transaction."""
        mark = _mark(db)
        row = db.execute(_FIND_END, (mark, self._batch)).fetchone()
        if row is None or row[0] is None:
            return 0
        span, now = (mark, row[0]), self._core.clock.now_ms()
        db.execute(_HOURS, span)
        db.execute(_DAYS, span)
        db.execute(_SAVE_SETTING, (MARK, str(row[0]), now))
        return int(row[0]) - mark

    async def prune(self) -> str:
        """Delete request rows beyond their time that were summed. Transfers are never touched."""
        days = self._core.config.data.keep_requests_days
        if not days:
            return "kept for ever"
        before = self._core.clock.now_ms() - days * _DAY_MS
        deleted = 0
        for _ in range(_MOST_BATCHES):
            taken = await self._core.journal.write(lambda db: self._prune_batch(db, before))
            deleted += taken
            if taken == 0:
                break
        return f"{deleted} rows deleted"

    def _prune_batch(self, db: sqlite3.Connection, before: int) -> int:
        parameters = {"mark": _mark(db), "batch": self._batch, "before": before}
        deleted = db.execute(_PRUNE, parameters).rowcount
        if deleted:
            # The ledger's proof must know since when every request has its row.
            known = db.execute(_FIND_SETTING, (PRUNED_BEFORE,)).fetchone()
            pruned = max(before, int(known[0]) if known else 0)
            row = (PRUNED_BEFORE, str(pruned), self._core.clock.now_ms())
            db.execute(_SAVE_SETTING, row)
        return deleted

    async def check(self) -> str:
        """Compare some hours with their rows, other ones each time. Raises RollupDrift."""
        now = self._core.clock.now_ms()
        days = self._core.config.data.keep_requests_days
        # A day's room: rows at the edge may be half pruned.
        since = now - (days - 1) * _DAY_MS if days else 0
        parameters = (since, now, _SAMPLE_SIZE, self._sampled)
        sample = {tuple(row) for row in await self._core.reader.rows(_SAMPLE, parameters)}
        self._sampled = self._sampled + _SAMPLE_SIZE if sample else 0
        wrong = []
        for account, start in sorted(sample):
            row = await self._core.reader.row(_COMPARE, {"account": account, "start": start})
            if tuple(row)[:3] != tuple(row)[3:]:
                wrong.append(
                    f"account {account}, hour {start}: {row['hour_charge_nanos']} nanos in "
                    f"{row['hour_requests']} requests, rows say {row['charge_nanos']} in "
                    f"{row['requests']}"
                )
        if wrong:
            raise RollupDrift("; ".join(wrong[:3]))
        return f"{len(sample)} hours agree"


def _mark(db: sqlite3.Connection) -> int:
    row = db.execute(_FIND_SETTING, (MARK,)).fetchone()
    return int(row[0]) if row else 0
