"""Rollups, pruning and their check, over rows as the journal writes them."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from reseller.clock import ShiftedClock
from reseller.config_schema import Data
from reseller.core import Core
from reseller.db.connect import open_reader
from reseller.db.rows import UsageRow
from reseller.db.sql import SQL
from reseller.rollup import RollupDrift, Rollups

HOUR = 3_600_000
DAY = 24 * HOUR


def usage(number: int, at: int, chance: random.Random) -> UsageRow:
    """A row with everything that can differ."""
    return UsageRow(
        request_id=f"req_{number}",
        account=100 + chance.randrange(2),
        api_key=1 + chance.randrange(2),
        model=1 + chance.randrange(2),
        at=at,
        generation_id=None,
        status=chance.choice([200, 200, 429, 502]),
        outcome=None,
        is_stream=1,
        prompt_tokens=chance.randrange(1_000),
        completion_tokens=chance.randrange(1_000),
        cached_tokens=1,
        cache_write_tokens=2,
        reasoning_tokens=3,
        cost_picos=chance.choice([None, chance.randrange(10**12)]),
        charge_nanos=chance.randrange(10**9),
        written_off_nanos=0,
        markup_bps=2_000,
        fixed_nanos=0,
        first_byte_ms=chance.choice([None, 20]),
        duration_ms=100,
    )


async def insert(core: Core, rows: list[UsageRow]) -> None:
    """Put request rows on disk."""
    text = msgspec.json.encode(rows).decode()
    await core.journal.write(lambda db: db.execute(SQL["insert_usage_records"], (text,)))


def naive(rows: list[UsageRow], span: int) -> dict[tuple[int, ...], list[int]]:
    """The same sums, by loop and dict."""
    sums: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        group = sums.setdefault(
            (row.account, row.at // span * span, row.api_key, row.model), [0] * 11
        )
        for place, value in enumerate(
            (
                1,
                row.status >= 400,
                row.prompt_tokens,
                row.completion_tokens,
                row.cached_tokens,
                row.reasoning_tokens,
                row.cost_picos or 0,
                row.charge_nanos,
                row.written_off_nanos,
                row.first_byte_ms or 0,
                row.duration_ms,
            )
        ):
            group[place] += value
    return sums


async def stored(core: Core, table: str) -> dict[tuple[int, ...], list[int]]:
    """What stands in a rollup table."""
    rows = await core.reader.rows(f"select * from {table}")
    return {tuple(row)[:4]: list(row)[4:] for row in rows}


@pytest.fixture
def some(clock: ShiftedClock) -> list[UsageRow]:
    """Fifty requests over the last two days."""
    chance = random.Random(7)
    now = clock.now_ms()
    return [usage(n, now - chance.randrange(2 * DAY), chance) for n in range(50)]


async def test_each_row_counts_once(core: Core, some: list[UsageRow]) -> None:
    """In small batches, run again and again, side by side: the sums are those of a plain loop."""
    rollups = Rollups(core, batch=7)
    await insert(core, some[:20])
    await asyncio.gather(*(rollups.roll_up() for _ in range(4)))
    await insert(core, some[20:])
    for _ in range(3):
        await rollups.roll_up()
    assert await stored(core, "usage_hour") == naive(some, HOUR)
    assert await stored(core, "usage_day") == naive(some, DAY)
    assert await rollups.check() == f"{await hours(core)} hours agree"


async def hours(core: Core) -> int:
    """Hours of accounts that are on record."""
    row = await core.reader.row(
        "select count(*) as n from (select distinct account, start_at from usage_hour)"
    )
    return int(row["n"])


async def test_a_failure_leaves_mark_and_sums_together(core: Core, some: list[UsageRow]) -> None:
    """If the batch cannot be committed, nothing of it counts, and the next run does it all."""
    await insert(core, some)
    await core.journal.write(
        lambda db: db.execute(
            "create trigger broken before insert on usage_day begin select raise(abort, 'no'); end"
        )
    )
    rollups = Rollups(core)
    with pytest.raises(sqlite3.Error):
        await rollups.roll_up()
    assert await stored(core, "usage_hour") == {}
    await core.journal.write(lambda db: db.execute("drop trigger broken"))
    await rollups.roll_up()
    assert await stored(core, "usage_hour") == naive(some, HOUR)


async def test_pruning_takes_only_what_is_old_and_summed(
    core: Core, some: list[UsageRow], clock: ShiftedClock
) -> None:
    """Old rows go, sums stay, ids are never given out again, and the check still agrees."""
    rollups = Rollups(core, batch=7)
    await insert(core, some)
    assert await rollups.prune() == "0 rows deleted"
    clock.advance(200 * 86_400)
    assert await rollups.prune() == "0 rows deleted"
    await rollups.roll_up()
    assert await rollups.prune() == "49 rows deleted"
    fresh = usage(1_000, clock.now_ms(), random.Random(1))
    await insert(core, [fresh])
    await rollups.roll_up()
    assert await rollups.prune() == "1 rows deleted"
    row = await core.reader.row("select id from usage_record")
    assert row["id"] == 51
    assert await stored(core, "usage_day") == naive([*some, fresh], DAY)
    assert await rollups.check() == "1 hours agree"


async def test_rows_may_be_kept_for_ever(core: Core, some: list[UsageRow]) -> None:
    """`keep_requests_days = 0` deletes nothing."""
    core.config = replace(core.config, data=Data(dir=Path("."), keep_requests_days=0))
    assert await Rollups(core).prune() == "kept for ever"


async def test_drift_is_found(core: Core, some: list[UsageRow]) -> None:
    """One nano too many in one hour is named."""
    rollups = Rollups(core)
    await insert(core, some)
    await rollups.roll_up()
    await core.journal.write(
        lambda db: db.execute(
            "update usage_hour set charge_nanos = charge_nanos + 1 where (account, start_at,"
            " api_key, model) = (select account, start_at, api_key, model from usage_hour limit 1)"
        )
    )
    with pytest.raises(RollupDrift, match="nanos in"):
        await rollups.check()


@pytest.mark.parametrize(
    "name",
    [
        "find_rollup_end",
        "roll_up_hours",
        "roll_up_days",
        "prune_usage_records",
        "compare_hour",
        "sample_rolled_hours",
        "sum_recent_cost",
    ],
)
async def test_no_job_reads_a_whole_table(core: Core, tmp_path: Path, name: str) -> None:
    """Plans of what runs over many rows: by index or by range of ids, never a scan."""
    text = SQL[name]
    parameters: object = (1,) * text.count("?")
    if ":" in text:
        parameters = {"mark": 1, "batch": 1, "before": 1, "account": 1, "start": 1}
    connection = open_reader(tmp_path / "reseller.db")
    plan = [row[3] for row in connection.execute("explain query plan " + text, parameters)]
    connection.close()
    scans = [step for step in plan if step.startswith("SCAN") and "SCAN (" not in step]
    assert not scans, plan
