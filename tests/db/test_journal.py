"""The journal under trouble: a full disk, interrupted groups, books that do not match, restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reseller import admission
from reseller.actions.table import perform
from reseller.clock import ShiftedClock
from reseller.db.connect import DATABASE_NAME, FolderInUse, locked_folder
from reseller.db.journal import Journal
from reseller.ids import Ids
from reseller.money import ledger
from reseller.sandbox.upstream import UpstreamSimulator
from tests.gateway.asking import exposures, give_up, holds, stream, usage_rows, waits
from tests.gateway.conftest import Stand, running_shop

EMAIL = "ada@example.com"


@pytest.fixture
async def upstream() -> AsyncIterator[UpstreamSimulator]:
    """A simulator that outlives a shop."""
    made = UpstreamSimulator(ShiftedClock(), Ids(), list_fault_models=True)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def stand(tmp_path: Path, upstream: UpstreamSimulator) -> AsyncIterator[Stand]:
    """A shop whose upstream outlives it."""
    async with running_shop(tmp_path / "data", upstream=upstream) as found:
        yield found


async def on_writer(journal: Journal, work: Any) -> Any:
    """Run something on the writer's thread beside the queue."""
    return await journal._connection.call(work)


@contextlib.asynccontextmanager
async def full_disk(journal: Journal) -> AsyncIterator[None]:
    """The file cannot grow while the block runs: SQLite says that the disk is full."""
    most = 1_073_741_823

    def limit(db: sqlite3.Connection) -> None:
        now = db.execute("pragma page_count").fetchone()[0]
        db.execute(f"pragma max_page_count = {now}")

    await on_writer(journal, limit)
    try:
        yield
    finally:
        await on_writer(journal, lambda db: db.execute(f"pragma max_page_count = {most}"))


async def test_a_full_disk(stand: Stand) -> None:
    """Nothing of a group that did not fit is kept, nothing new is admitted, the ballast is given
    up; once there is room everything that waited is written, in order, and answered."""
    key = await stand.customer()
    core = stand.shop.core
    ballast = core.config.data.dir / "ballast"
    assert ballast.stat().st_size == 1_048_576
    async with full_disk(core.journal):
        asked = [asyncio.create_task(stand.chat(key)) for _ in range(60)]
        await waits(lambda: core.journal.is_failing)
        assert not ballast.exists()
        refused = await stand.chat(key)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "admission_closed"
        assert refused.headers["x-should-retry"] == "true"
        assert "disk" in core.live.alarms.standing
        found = await core.reader.row(
            "select (select count(*) from hold) as holds, (select count(*) from usage_record) "
            "as settled, (select sum(charge_nanos) from usage_record) as charged, "
            "(select sum(used_nanos) from account) as used, "
            "(select sum(amount_nanos) from transfer where kind = 'usage') as moved"
        )
        assert found["holds"] + found["settled"] in (0, 60)
        assert (found["charged"] or 0) == found["used"] == (found["moved"] or 0)
    answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert sum(answer.status_code == 200 for answer in answers) >= 1
    assert (await stand.chat(key)).status_code == 200
    assert ballast.exists()
    assert "disk" not in core.live.alarms.standing
    await stand.check_books()


async def test_an_interrupted_group(stand: Stand) -> None:
    """A commit that is broken off in the middle of its statements is rolled back and done again:
    every row once."""
    key = await stand.customer()
    journal = stand.shop.core.journal
    await on_writer(journal, lambda db: db.set_progress_handler(lambda: 1, 40))
    asked = [asyncio.create_task(stand.chat(key)) for _ in range(10)]
    await waits(lambda: journal.is_failing)
    assert await stand.shop.core.reader.rows("select * from hold") == []
    await on_writer(journal, lambda db: db.set_progress_handler(None, 0))
    answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 10
    await stand.check_books()
    assert len(await usage_rows(stand)) == 10


async def test_a_mismatch_freezes_one_account(tmp_path: Path, upstream: UpstreamSimulator) -> None:
    """Where the balance on disk is not what memory believed, that account is frozen and its rows
    stay behind; others in the same commits go through. The next start settles what was left."""
    async with running_shop(tmp_path / "data", upstream=upstream) as stand:
        key, other = await stand.customer(), await stand.customer("bob@example.com")
        core = stand.shop.core
        wrong, right = core.live.accounts.values()
        core.journal.posted[wrong.id] += 1
        both = [asyncio.create_task(stand.chat(k)) for k in (key, other) * 5]
        await asyncio.gather(*both)
        await stand.idle()
        assert wrong.is_frozen
        assert not right.is_frozen
        assert "books_mismatch" in core.live.alarms.standing
        refused = await stand.chat(key)
        assert refused.status_code == 503
        assert "books" in refused.json()["error"]["message"]
        rows = await usage_rows(stand)
        assert {row["account"] for row in rows} == {right.id}
        assert len(rows) == 5
        assert core.live.admission.is_open
        assert (await stand.chat(other)).status_code == 200
        (stored,) = await stand.rows("select frozen_at from account where id = ?", wrong.id)
        assert stored["frozen_at"] is not None
    async with running_shop(tmp_path / "data", upstream=upstream) as stand:
        assert (await stand.chat(key)).status_code == 503
        await stand.check_books()
        assert len(await usage_rows(stand)) == 11
        await perform(stand.shop.core, "customer.unfreeze", {"email": EMAIL})
        assert (await stand.chat(key)).status_code == 200
        await stand.check_books()


async def test_three_mismatches_close_the_shop(tmp_path: Path, upstream: UpstreamSimulator) -> None:
    """Three in a minute are no accident: nobody is admitted until the books were proved."""
    async with running_shop(tmp_path / "data", upstream=upstream) as stand:
        core = stand.shop.core
        keys = [await stand.customer(f"c{n}@example.com") for n in range(4)]
        for count, account in enumerate(list(core.live.accounts.values())[:3], 1):
            core.journal.posted[account.id] += 1
            answer = await stand.chat(keys[count - 1])
            assert answer.status_code == 200, answer.text
            await stand.idle()
            assert account.is_frozen
            assert core.live.admission.is_open == (count < 3)
        assert (await stand.chat(keys[3])).status_code == 503
    async with running_shop(tmp_path / "data", upstream=upstream) as stand:
        assert (await stand.chat(keys[3])).status_code == 200
        await stand.check_books()


async def test_a_proof_lifts_no_later_stop(stand: Stand) -> None:
    """A proof that began before the mismatches does not open what they closed; the next does."""
    core = stand.shop.core
    proving = asyncio.create_task(perform(core, "ledger.verify", {}))
    await asyncio.sleep(0)
    core.live.admission.close(admission.BOOKS, "three accounts' books mismatched in a minute")
    assert (await proving)["ok"]
    assert not core.live.admission.is_open
    await stand.verify()
    assert core.live.admission.is_open


def test_one_process_a_folder(tmp_path: Path) -> None:
    """The second one is told whose the folder is; when the first ends it is free again."""
    with locked_folder(tmp_path / "data"):
        with pytest.raises(FolderInUse) as refused, locked_folder(tmp_path / "data"):
            pass
        assert refused.value.pid == str(os.getpid())
        assert str(os.getpid()) in refused.value.message
    with locked_folder(tmp_path / "data"):
        pass


async def test_the_same_ref_moves_money_once(stand: Stand) -> None:
    """A second transfer under a ref is no transfer, whatever it says, alone or in company."""
    await stand.customer(credit=None)
    core = stand.shop.core
    (account,) = core.live.accounts
    first = ledger.grant(account, 5, "grant:one", 1, "test")
    other = ledger.grant(account, 7, "grant:two", 1, "test")
    assert (await core.journal.move([first]))[0] == [True]
    assert (await core.journal.move([first, other, other]))[0] == [False, True, False]
    assert core.live.wallet.balance_of(account).balance_nanos == 12
    together = await asyncio.gather(*(core.journal.move([first]) for _ in range(5)))
    assert [posted for (posted,), _ in together] == [False] * 5
    await stand.verify()
    assert (await stand.balance())["balance_usd"] == "0.000000012"


async def test_work_that_fails_leaves_nothing(stand: Stand) -> None:
    """A transfer and the write beside it are one commit: both or neither, and memory agrees."""
    await stand.customer(credit=None)
    core = stand.shop.core
    (account,) = core.live.accounts
    wanted = ledger.grant(account, 5, "grant:one", 1, "test")
    with pytest.raises(sqlite3.OperationalError):
        await core.journal.move([wanted], lambda db: db.execute("insert into nowhere values (1)"))
    assert core.live.wallet.balance_of(account).balance_nanos == 0
    assert (await core.journal.move([wanted]))[0] == [True]
    await stand.verify()


async def test_the_ledger_cannot_be_rewritten(stand: Stand) -> None:
    """Rows of the ledger are neither changed nor deleted, by whatever statement."""
    await stand.customer()
    for statement in ("update transfer set amount_nanos = 1", "delete from transfer"):
        with pytest.raises(sqlite3.IntegrityError):
            await stand.shop.core.journal.write(lambda db, s=statement: db.execute(s))
    await stand.verify()


async def test_the_wall_clock_goes_back(tmp_path: Path, upstream: UpstreamSimulator) -> None:
    """An hour back: requests are served and settled, caps do not start anew, waits are not cut
    short, and the next start warns."""
    clock = ShiftedClock()
    async with running_shop(tmp_path / "data", clock, upstream) as stand:
        key = await stand.customer()
        await perform(stand.shop.core, "limits.set", {"email": EMAIL, "daily_usd": "0.02"})
        await stand.chat(key)
        (account,) = stand.shop.core.live.accounts.values()
        spent = account.daily.spent_nanos
        stand.simulator.faults.add("bill-then-close-before-headers")
        await stand.chat(key)
        clock.shift_wall(-3_600)
        assert (await stand.chat(key)).status_code == 200
        assert account.daily.spent_nanos > spent
        await stand.shop.pending.settle_now()
        assert len(await holds(stand)) == 1
        await stand.verify()
    async with running_shop(tmp_path / "data", clock, upstream) as stand:
        assert "clock" in stand.shop.core.live.alarms.standing
        assert (await stand.chat(key)).status_code == 200
        clock.shift_wall(3_600)
        await give_up(stand)
        assert len(await exposures(stand)) == 1
        await stand.verify()


def power_cut(folder: Path, to: Path) -> None:
    """What a power cut would leave: the files as they are now, committed or not."""
    to.mkdir()
    for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal", "secret"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(folder / name, to / name)


async def test_a_restart_takes_over_open_and_pending_holds(
    tmp_path: Path, upstream: UpstreamSimulator
) -> None:
    """After a power cut with requests before their headers, mid-stream, and already pending:
    what had an id is settled, what had none is exposure, the rest of the money is free."""
    async with running_shop(tmp_path / "data", upstream=upstream) as stand:
        key = await stand.customer()
        await stream(stand, key, "sandbox/fault-drop-before-usage")
        await stand.chat(key, "sandbox/fault-bill-then-close-before-headers")
        running = []
        for fault in ("hang-before-headers", "wait-mid-stream"):
            upstream.faults.add(fault)
            running.append(asyncio.create_task(stand.chat(key, stream=True)))
            await upstream.gate.wait_held(len(running))
        await stand.shop.core.journal.flushed()
        power_cut(tmp_path / "data", tmp_path / "after")
        upstream.gate.release()
        await asyncio.gather(*running)
        # The first life ends as it would have; what counts is the second one's books.
    assert len(upstream.books.rows) == 4
    async with running_shop(tmp_path / "after", upstream=upstream) as stand:
        assert len(stand.shop.pending.waiting) == 4
        (account,) = stand.shop.core.live.accounts.values()
        assert account.balance.holds == 4
        assert (account.balance.running, account.limiter.running) == (0, 0)
        held = await stand.rows("select sum(held_nanos) as held from hold")
        assert account.balance.held_nanos == held[0]["held"]
        upstream.record_clock.advance(60)
        await stand.shop.pending.settle_now()
        assert len(stand.shop.pending.waiting) == 2
        assert (await stand.chat(key)).status_code == 200
        await give_up(stand)
        assert len(await exposures(stand)) == 2
        await stand.verify()
        assert await holds(stand) == []
        settled = [row["generation_id"] for row in await usage_rows(stand)]
        assert sum(name is not None for name in settled) == 3
        assert (account.balance.held_nanos, account.balance.holds) == (0, 0)
