"""The journal: the only writer of money.

Steps of requests queue up in memory and are committed together, in order, by one task that nobody
awaits directly. A step is durable when its await returns. A commit that fails keeps its group: it
is tried again until it is on disk (a full disk), or taken apart so that only what is wrong stays
behind (a balance that is not what memory believed freezes that account, the rest commits).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite

from reseller.clock import Clock
from reseller.db.connect import open_writer
from reseller.db.group import Group, GroupMismatch, GroupWriter, Settlement
from reseller.db.migrate import migrate
from reseller.db.rows import HoldRow, ParkRow
from reseller.db.sql import statement
from reseller.errors import Unavailable
from reseller.money.ledger import Transfer, check

log = logging.getLogger("reseller.journal")

T = TypeVar("T")

_LIST_BALANCES = statement("list_balances")
MAX_GROUP = 512
# A commit costs about the same for one step as for fifty. Where they come so fast that they would
# follow one another, they are spaced out and the groups grow; a few at once are not held up.
_SPACING_S = 0.002
_AT_ONCE_S = 8 * _SPACING_S
_RETRY_FIRST_S = 0.05
_RETRY_MOST_S = 1.0


class Observer(Protocol):
    """What the journal tells the rest of the process, on the event loop."""

    def moved(self, transfer: Transfer) -> None:
        """A transfer outside of use is on disk; memory may count it."""

    def account_mismatch(self, account: int, request_id: str, detail: str) -> None:
        """An account's books on disk are not what memory believed."""

    def disk_failing(self, detail: str) -> None:
        """Commits fail; nothing is lost, nothing new may start."""

    def disk_recovered(self) -> None:
        """Commits succeed again."""


class WriterConnection(aiosqlite.Connection):
    """aiosqlite's thread, with one hop for a whole piece of work."""

    async def call(self, work: Callable[[GroupWriter], T]) -> T:
        """Run `work` on the writer's thread."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result


class _Work:
    """A piece of work with a transaction of its own, between groups."""

    __slots__ = ("done", "run")

    def __init__(
        self, run: Callable[[], Coroutine[Any, Any, Any]], done: asyncio.Future[Any]
    ) -> None:
        self.run = run
        self.done = done


class _Batch:
    """A group on its way to disk, and the future that all its steps await."""

    __slots__ = ("committed", "failed", "group")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.group = Group()
        self.committed: asyncio.Future[None] = loop.create_future()
        self.failed: set[str] = set()


class Journal:
    """Queue, commit, confirm. Open with `Journal.open`, end with `close`."""

    def __init__(self, connection: WriterConnection, balances: dict[int, int]) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        # Balances as they are on disk; memory may be ahead of them by what is queued.
        self.posted = balances
        self.observer: Observer | None = None
        self.applied_migrations: list[str] = []
        self._queue: deque[_Batch | _Work] = deque()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._in_commit = False
        self._next_s = self._loop.time()
        self.is_failing = False
        self.commits = 0
        self._task = self._loop.create_task(self._run(), name="journal")

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> Journal:
        """Open and migrate the database, and start the committing task."""
        connection = WriterConnection(lambda: open_writer(path, GroupWriter), iter_chunk_size=64)
        await connection
        try:
            applied = await connection.call(migrate)
            rows = await connection.execute_fetchall(_LIST_BALANCES)
        except BaseException:
            await connection.close()
            raise
        journal = cls(connection, {row[0]: row[1] for row in rows})
        journal.applied_migrations = applied
        return journal

    async def close(self) -> None:
        """Commit what is queued, then end the writer's thread."""
        self._is_closing = True
        self._wake.set()
        await asyncio.shield(self._task)
        await self._connection.close()

    # Steps of a request. Each is durable once awaited.

    async def opened(self, row: HoldRow) -> None:
        """The hold is on disk. Raises Unavailable if it cannot be written."""
        batch = self._tail()
        batch.group.opened[row.request_id] = row
        await batch.committed
        if row.request_id in batch.failed:
            raise Unavailable("This account's books are being checked; try again shortly.")

    def identify(self, request_id: str, generation_id: str) -> asyncio.Future[None]:
        """Queue the generation id; the future resolves when it is on disk."""
        batch = self._tail()
        batch.group.identified[request_id] = generation_id
        return batch.committed

    def forget_identify(self, request_id: str) -> None:
        """Drop a queued generation id because the settlement that follows carries it."""
        if self._queue and isinstance(batch := self._queue[-1], _Batch):
            batch.group.identified.pop(request_id, None)

    def park(self, row: ParkRow) -> asyncio.Future[None]:
        """Queue a hold's change to pending."""
        batch = self._tail()
        batch.group.parked[row.request_id] = row
        return batch.committed

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        """Queue the end of a request: hold gone, usage, transfers and balances written."""
        for transfer in settlement.transfers:
            check(transfer)
        batch = self._tail()
        assert settlement.request_id not in batch.group.settled
        batch.group.settled[settlement.request_id] = settlement
        return batch.committed

    # Writes of operators, payments and jobs.

    async def move(
        self,
        transfers: Sequence[Transfer],
        work: Callable[[sqlite3.Connection], Any] | None = None,
    ) -> tuple[list[bool], Any]:
        """Post transfers outside of use, each at most once, with `work` in the same commit.

        Returns which were new and what `work` returned; memory counts them before this returns.
        """
        for transfer in transfers:
            check(transfer)

        async def run() -> tuple[list[bool], Any]:
            posted, after, result = await self._connection.call(
                lambda writer: writer.write_transfers(transfers, self.posted, work)
            )
            self.posted.update(after)
            for transfer, is_new in zip(transfers, posted, strict=True):
                if is_new and self.observer is not None:
                    self.observer.moved(transfer)
            return posted, result

        outcome: tuple[list[bool], Any] = await self._enqueue(run)
        return outcome

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer's thread in one transaction. It must not move money."""

        async def run() -> T:
            return await self._connection.call(lambda writer: writer.write(work))

        result: T = await self._enqueue(run)
        return result

    async def flushed(self) -> None:
        """Return when everything queued so far is on disk."""
        if self._queue or self._in_commit:
            await self.write(lambda _: None)

    def add_account(self, account: int) -> None:
        """A new account was written with balance 0."""
        assert account not in self.posted
        self.posted[account] = 0

    @property
    def backlog(self) -> int:
        """Steps that wait for a commit."""
        return sum(len(item.group) for item in self._queue if isinstance(item, _Batch))

    def _tail(self) -> _Batch:
        queue = self._queue
        if queue:
            last = queue[-1]
            if isinstance(last, _Batch) and len(last.group.opened) < MAX_GROUP:
                return last
        batch = _Batch(self._loop)
        queue.append(batch)
        self._wake.set()
        return batch

    async def _enqueue(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        done: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append(_Work(run, done))
        self._wake.set()
        return await asyncio.shield(done)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._is_closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            if isinstance(self._queue[0], _Batch):
                await self._space_out()
            self._in_commit = True
            item = self._queue.popleft()
            if isinstance(item, _Batch):
                await self._commit(item)
            else:
                await self._work(item)
            self._in_commit = False

    async def _space_out(self) -> None:
        """Wait while commits come too fast; what queues meanwhile joins the group."""
        now_s = self._loop.time()
        wait_s = self._next_s - _AT_ONCE_S - now_s
        if wait_s > 0 and not self._is_closing:
            await asyncio.sleep(wait_s)
        self._next_s = max(self._next_s, now_s) + _SPACING_S

    async def _work(self, item: _Work) -> None:
        try:
            result = await item.run()
        except Exception as error:
            # Handed to whoever asked for the work.
            log.info("a write was refused: %s", error)
            if not item.done.done():
                item.done.set_exception(error)
        else:
            if not item.done.done():
                item.done.set_result(result)

    async def _commit(self, batch: _Batch) -> None:
        wait_s = _RETRY_FIRST_S
        while len(batch.group):
            try:
                await self._write(batch.group)
            except (GroupMismatch, sqlite3.IntegrityError) as error:
                await self._take_apart(batch, error)
                break
            except sqlite3.Error as error:
                self._failing(error)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _RETRY_MOST_S)
            else:
                break
        self._recovered()
        self.commits += 1
        if not batch.committed.done():
            batch.committed.set_result(None)

    async def _write(self, group: Group) -> None:
        write = partial(GroupWriter.write_group, group=group, balances=self.posted)
        self.posted.update(await self._connection.call(write))

    async def _take_apart(self, batch: _Batch, cause: Exception) -> None:
        """Commit what is right, one request at a time; report what is not."""
        log.error("a group of %d steps was refused: %s", len(batch.group), cause)
        for request_id, single in list(batch.group.singles()):
            while True:
                try:
                    await self._write(single)
                except (GroupMismatch, sqlite3.IntegrityError) as error:
                    batch.failed.add(request_id)
                    self._mismatch(request_id, single, error)
                    await self._keep_ids(single)
                except sqlite3.Error as error:
                    self._failing(error)
                    await asyncio.sleep(_RETRY_MOST_S)
                    continue
                break

    async def _keep_ids(self, left_behind: Group) -> None:
        """A settlement that stays behind carried its generation id: the next start needs it."""
        for request_id, settlement in left_behind.settled.items():
            usage = settlement.usage
            if usage is not None and usage.generation_id is not None:
                with contextlib.suppress(GroupMismatch, sqlite3.Error):
                    await self._write(Group(identified={request_id: usage.generation_id}))

    def _mismatch(self, request_id: str, single: Group, error: Exception) -> None:
        log.error("request %s stays behind: %s", request_id, error)
        if self.observer is None:
            return
        for settlement in single.settled.values():
            self.observer.account_mismatch(settlement.account, request_id, str(error))
        for row in single.opened.values():
            self.observer.account_mismatch(row.account, request_id, str(error))

    def _failing(self, error: Exception) -> None:
        log.error("a commit failed and will be tried again: %s", error)
        self.is_failing = True
        if self.observer is not None:
            self.observer.disk_failing(str(error))

    def _recovered(self) -> None:
        if self.is_failing:
            self.is_failing = False
            if self.observer is not None:
                self.observer.disk_recovered()
