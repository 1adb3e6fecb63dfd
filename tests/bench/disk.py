"""The disk and the journal's writer: what a commit costs, how many settlements fit in a second."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reseller.clock import Clock
from reseller.config import load
from reseller.db.connect import DATABASE_NAME, open_writer
from reseller.db.group import Group, GroupWriter, Settlement
from reseller.db.rows import HoldRow, UsageRow
from reseller.ids import Ids
from reseller.money.ledger import usage_transfers
from tests.bench.figures import Figure
from tests.bench.load import quantile
from tests.bench.product import make_customers

_GROUP = 100
_CUSTOMERS = 20
_MODELS = 8
_HELD, _CHARGED = 3_400_000, 1_834_560


@dataclass(frozen=True, slots=True)
class CommitTimes:
    """How long one commit of one step takes."""

    p50_ms: float
    p99_ms: float


class Shop:
    """A database with customers, and requests made up for them."""

    def __init__(self, folder: Path) -> None:
        config = load(Path("/dev/null"), {}, {"data.dir": str(folder), "data.ballast_mb": 0})
        asyncio.run(make_customers(config, _CUSTOMERS))
        self._ids, self._clock = Ids(), Clock()
        self.path = folder / DATABASE_NAME
        self.writer = open_writer(self.path, GroupWriter)
        accounts = self.writer.execute("select id, balance_nanos from account").fetchall()
        self.balances: dict[int, int] = dict(accounts)
        self._keys = self.writer.execute("select account, id from api_key").fetchall()
        self._made = 0

    def holds(self, count: int) -> list[HoldRow]:
        """Requests as they are opened."""
        return [self._hold() for _ in range(count)]

    def _hold(self) -> HoldRow:
        now = self._clock.now_ms()
        account, key = self._keys[self._made % len(self._keys)]
        model = self._made % _MODELS + 1
        self._made += 1
        name = self._ids.request_id(now)
        return HoldRow(name, account, key, model, now, _HELD, 2_000, 0, 0, 120_000, 1)

    def open(self, holds: list[HoldRow]) -> None:
        """Write the holds."""
        self.write(Group(opened={hold.request_id: hold for hold in holds}))

    def identified(self, hold: HoldRow) -> Group:
        """The upstream's id of a request."""
        return Group(identified={hold.request_id: self._generation_id(hold)})

    def settled(self, holds: list[HoldRow]) -> Group:
        """The end of the requests: usage, transfers, balances, spend of the keys."""
        return Group(settled={hold.request_id: self._settlement(hold) for hold in holds})

    def write(self, group: Group) -> None:
        """One commit, checked against memory as the journal does."""
        self.balances.update(self.writer.write_group(group, self.balances))

    def _generation_id(self, hold: HoldRow) -> str:
        return f"gen-{hold.opened_at // 1000}-{self._ids.random_text(20)}"

    def _settlement(self, hold: HoldRow) -> Settlement:
        name, account, now = hold.request_id, hold.account, self._clock.now_ms()
        usage = UsageRow(
            *(name, account, hold.api_key, hold.model, now, self._generation_id(hold)),
            *(200, None, hold.is_stream, 1_250, 430, 0, 0, 0, 1_528_800_000, _CHARGED, 0),
            *(hold.markup_bps, hold.fixed_nanos, 310, 2_840),
        )
        transfers = usage_transfers(name, account, _CHARGED, 0, now)
        return Settlement(usage, transfers, name, account, hold.api_key, _CHARGED, 1, 1, now)

    def size_bytes(self) -> int:
        """The database with everything in it, nothing left in the write-ahead log."""
        self.writer.execute("pragma wal_checkpoint(truncate)").fetchall()
        free = self.writer.execute("pragma freelist_count").fetchone()[0]
        pages = self.writer.execute("pragma page_count").fetchone()[0]
        return (pages - free) * int(self.writer.execute("pragma page_size").fetchone()[0])


def measure_disk(
    settlements: int, commits: int, say: Callable[[str], None]
) -> tuple[list[Figure], CommitTimes]:
    """Everything about the data folder's disk, on a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        syncs = list(_sync_times(Path(folder) / "syncs", commits))
        shop = Shop(Path(folder))
        try:
            figures, times = _commit_times(shop, commits)
            say(f"one commit: p50 {times.p50_ms:.2f} ms, p99 {times.p99_ms:.2f} ms")
            if settlements:
                figures += _settlements(shop, settlements)
                say(f"settlements: {figures[-2].value:,.0f}/s, {figures[-1].value:.0f} bytes each")
        finally:
            shop.writer.close()
    sync = [
        Figure(f"fdatasync {name}", "", quantile(syncs, share) * 1e3, "ms")
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
    return sync + figures, times


def _sync_times(path: Path, count: int) -> Iterator[float]:
    """Seconds for each of so many pages appended and forced to disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(count):
            os.write(handle, b"x" * 4_096)
            begun = time.perf_counter()
            os.fdatasync(handle)
            yield time.perf_counter() - begun
    finally:
        os.close(handle)


def _commit_times(shop: Shop, count: int) -> tuple[list[Figure], CommitTimes]:
    """A request alone in its group: open, identify, settle."""
    taken: dict[str, list[float]] = {"open": [], "identify": [], "settle": []}
    for hold in shop.holds(count):
        groups = {
            "open": Group(opened={hold.request_id: hold}),
            "identify": shop.identified(hold),
            "settle": shop.settled([hold]),
        }
        for step, group in groups.items():
            begun = time.perf_counter()
            shop.write(group)
            taken[step].append((time.perf_counter() - begun) * 1e3)
    everything = [ms for times in taken.values() for ms in times]
    figures = [
        Figure(
            f"commit, {step}",
            "",
            quantile(times, 0.5),
            "ms",
            note=f"p99 {quantile(times, 0.99):.2f} ms",
        )
        for step, times in taken.items()
    ]
    return figures, CommitTimes(quantile(everything, 0.5), quantile(everything, 0.99))


def _settlements(shop: Shop, count: int) -> list[Figure]:
    """Groups of a hundred with all their rows, each on disk before the next."""
    before, taken_s, lives_s = shop.size_bytes(), 0.0, 0.0
    for _ in range(count // _GROUP):
        holds = shop.holds(_GROUP)
        begun = time.perf_counter()
        shop.open(holds)
        lives_s += time.perf_counter() - begun
        group = shop.settled(holds)
        begun = time.perf_counter()
        shop.write(group)
        taken_s += time.perf_counter() - begun
    done = count // _GROUP * _GROUP
    size = (shop.size_bytes() - before) / done
    return [
        Figure(
            "requests opened and settled",
            "",
            done / (lives_s + taken_s),
            "/s",
            note=f"groups of {_GROUP}, two commits a group",
        ),
        Figure(
            "durable settlements",
            "",
            done / taken_s,
            "/s",
            15_000,
            at_most=False,
            note=f"groups of {_GROUP}, all rows, each commit synced",
        ),
        Figure("database a request", "", size, "bytes", 400, note=f"with indexes, after {done:,}"),
    ]
