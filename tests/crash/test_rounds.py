"""Rounds of load, `kill -9` and a new start on one folder: 3 in the suite, 30 in `make slow`.

A round that fails prints its seed; RESELLER_CRASH_SEED repeats the same load and kill moments.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.crash.load import Load
from tests.crash.processes import Stage, on_stage
from tests.crash.proof import check_books, check_ids_came_first, settle_everything

CUSTOMERS = ("ada@example.com", "bob@example.com", "eve@example.com")
# One who never has enough: caps are lowered and requests refused, but never an overdraft.
POOR = "poor@example.com"
POOR_NANOS = 2_000_000


async def run_rounds(folder: Path, rounds: int, engine: str = "hypercorn") -> None:
    """So many rounds on one folder, everything proved after each, nothing open at the end."""
    seed = int(os.environ.get("RESELLER_CRASH_SEED", "0")) or random.SystemRandom().getrandbits(32)
    print(f"RESELLER_CRASH_SEED={seed}, {rounds} rounds on {engine}")
    chance = random.Random(seed)
    async with on_stage(folder, server__engine=engine) as stage:
        keys = {email: await stage.customer(email, 100 * 10**9) for email in CUSTOMERS}
        keys[POOR] = await stage.customer(POOR, POOR_NANOS)
        for number in range(rounds):
            await stage.grant(POOR, POOR_NANOS)
            await one_round(stage, keys, chance)
            print(f"round {number}: {len(await stage.simulator.books())} billed so far")
        waiting = len(stage.server.rows("select 1 from hold"))
        exposed = len(stage.server.rows("select 1 from exposure"))
        await stage.a_day_later()
        await check_books(stage)
        assert stage.server.rows("select 1 from hold") == []
        assert len(stage.server.rows("select 1 from exposure")) == exposed + waiting
        assert await stage.server.stop() == 0


async def one_round(stage: Stage, keys: dict[str, str], chance: random.Random) -> None:
    """Load, a kill somewhere in it, sometimes one in the new start, and the proof."""
    load = Load(stage, keys, chance)
    load.start()
    await asyncio.sleep(chance.uniform(0.05, 0.9))
    await stage.server.kill()
    await load.stop()
    check_ids_came_first(stage.server, load.seen)
    if chance.random() < 0.4:
        await stage.server.launch()
        await asyncio.sleep(chance.uniform(0.2, 0.9))
        await stage.server.kill()
    await stage.server.start()
    await settle_everything(stage)
    await check_books(stage)
    check_shown(stage, load)


def check_shown(stage: Stage, load: Load) -> None:
    """A whole JSON answer is settled when it is seen, by its id and never again."""
    records = {row["request_id"] for row in stage.server.rows("select * from usage_record")}
    whole = [s for s in load.seen if s.is_whole and s.status == 200]
    assert {s.request_id for s in whole} <= records


async def test_three_rounds(tmp_path: Path) -> None:
    """The books are right after every kill."""
    await run_rounds(tmp_path, 3)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["hypercorn", "granian"])
async def test_thirty_rounds(tmp_path: Path, engine: str) -> None:
    """The same for longer, on both web servers."""
    await run_rounds(tmp_path, 30, engine)
