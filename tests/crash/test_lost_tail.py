"""A power cut on a disk that lied: the last commits are gone. What is left is still consistent."""

from __future__ import annotations

import asyncio
import random
import shutil
import struct
from pathlib import Path

from reseller.actions.table import perform
from reseller.app import open_shop
from reseller.clock import Clock
from reseller.config import load
from reseller.db.connect import DATABASE_NAME, locked_folder
from reseller.ids import Ids
from tests.crash.load import Load
from tests.crash.processes import Server, Stage, on_stage
from tests.crash.proof import check_disk

CUSTOMERS = ("ada@example.com", "bob@example.com")
WAL = DATABASE_NAME + "-wal"
_HEAD_BYTES, _FRAME_HEAD_BYTES = 32, 24


async def test_a_lost_tail_leaves_whole_books(tmp_path: Path) -> None:
    """Wherever the log ends, a start finds balances that match the ledger, makes every open hold
    pending, and charges nothing twice; a torn commit is as if it had never been."""
    async with on_stage(tmp_path) as stage:
        keys = {email: await stage.customer(email) for email in CUSTOMERS}
        # Ends with everything in the database itself, so that the log holds the load alone.
        assert await stage.server.stop() == 0
        await stage.server.start()
        load = Load(stage, keys, random.Random(1))
        load.start()
        await asyncio.sleep(0.6)
        await stage.server.kill()
        await load.stop()
        await stage.simulator.post("clock", advance_s=120)
        for number, size in enumerate(log_sizes(stage.server.folder / WAL)):
            await start_on_a_shorter_log(stage, tmp_path / f"cut{number}", size)


def log_sizes(log: Path) -> list[int]:
    """Where to cut: at the ends of frames, within one, and after nothing at all."""
    whole = log.stat().st_size
    [page_bytes] = struct.unpack(">I", log.read_bytes()[8:12])
    frame = page_bytes + _FRAME_HEAD_BYTES
    frames = (whole - _HEAD_BYTES) // frame
    assert 100 < frames < 2_000, "the log must hold the whole load: no checkpoint within"
    cuts = [_HEAD_BYTES + frame * (frames * part // 7) for part in range(8)]
    return [*cuts, cuts[4] + frame // 2, whole - frame, whole - 1]


async def start_on_a_shorter_log(stage: Stage, folder: Path, size: int) -> None:
    """A shop on a copy of the dead server's folder whose log ends at `size`."""
    shutil.copytree(stage.server.folder, folder / "data", ignore=shutil.ignore_patterns("*.sock"))
    (folder / "data" / f"{DATABASE_NAME}-shm").unlink(missing_ok=True)
    with (folder / "data" / WAL).open("r+b") as log:
        log.truncate(size)
    copy = Server(folder / "data", stage.server.upstream)
    open_ends = {row["request_id"] for row in copy.rows("select request_id from hold")}
    config = load(stage.server.config, {}, {"data.dir": str(folder / "data")})
    with locked_folder(config.data.dir):
        async with open_shop(config, Clock(), Ids()) as shop:
            assert set(shop.pending.waiting) == open_ends
            assert (await perform(shop.core, "ledger.verify", {}))["ok"]
            await shop.pending.settle_now()
            await shop.core.journal.flushed()
            left = list(shop.pending.waiting.values())
            assert [ticket for ticket in left if ticket.generation_id is not None] == []
            assert (await perform(shop.core, "ledger.verify", {}))["ok"]
            check_disk(copy, await stage.simulator.books(), stage.granted, may_have_lost=True)
