"""The proof of the books finds what is wrong, and names it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest

from reseller import admission
from reseller.actions import ledger
from reseller.core import Core
from reseller.db.connect import DATABASE_NAME
from reseller.db.settings import PRUNED_BEFORE, all_settings
from reseller.money.pricing import charge
from reseller.rollup import Rollups
from tests.actions.conftest import ADA, Do, Spender

Corrupt = Callable[[str], None]


@pytest.fixture
def corrupt(core: Core) -> Corrupt:
    """Change the file behind the shop's back, triggers and keys out of the way."""

    def run(script: str) -> None:
        with sqlite3.connect(core.config.data.dir / DATABASE_NAME) as file:
            triggers = file.execute("select name, sql from sqlite_master where type = 'trigger'")
            stored = triggers.fetchall()
            for name, _ in stored:
                file.execute(f"drop trigger {name}")
            file.executescript(script)
            for _, text in stored:
                file.execute(text)
        file.close()

    return run


async def test_right_books_are_proved(core: Core, do: Do, spender: Spender) -> None:
    """Every kind of movement, a running request and a pending one: all checks pass."""
    request_id = await spender.spend(123_456_789_123)
    await spender.spend(1)
    await spender.spend(0)
    await do("credit.refund", request_id=request_id, reason="x", usd="0.01")
    await do("credit.debit", email=ADA, usd="1", reason="x")
    running, pending = await spender.hold(10**9), await spender.hold(10**9)
    await spender.settler.park(pending, "no usage")
    proof = await do("ledger.verify")
    assert proof["ok"], proof["wrong"]
    assert proof["wrong"] == []
    assert len(proof["checks"]) == 16
    assert (proof["usage_records"], proof["holds"], proof["accounts"]) == (3, 2, 1)
    # A cost above the hold: what the balance cannot cover is written off, and that is right too.
    await spender.settle(running, 20 * 10**12)
    await spender.settle(pending, 10**12)
    assert (await do("ledger.verify"))["ok"]
    assert (await do("stats.show"))["ever"]["written_off_usd"] != "0.00"


@pytest.mark.parametrize(
    ("script", "check", "named"),
    [
        (
            "update account set balance_nanos = balance_nanos + 1 where id = 100",
            *("account balances", r"account 100 \(acc_\w+\) has 8\.800000001 USD"),
        ),
        (
            "update account set balance_nanos = balance_nanos + 1 where id = 100",
            *("sum of balances", r"sum to 0\.000000001"),
        ),
        ("update account set used_nanos = 0 where id = 100", "account use", "account 100"),
        (
            "update transfer set amount_nanos = amount_nanos + 5 where kind = 'usage'",
            *("usage transfers", r"transfer 2 \(use:req_\w+\) moved 1\.200000005"),
        ),
        ("delete from usage_record", "usage transfers", "no usage record"),
        ("delete from transfer where kind = 'usage'", "usage records", "usage record 1"),
        (
            "update usage_record set charge_nanos = charge_nanos - 1",
            *("charges", r"usage record 1 \(req_\w+\), cost 1\.00, was charged 1\.199999999"),
        ),
        ("update usage_record set cost_picos = 0", "charges", "cost 0.00, was charged 1.20"),
        (
            "update account set balance_nanos = -5 where id = 100",
            *("no overdraft", r"account 100 .* without a claw-back"),
        ),
        (
            "update transfer set credit = 4242 where kind = 'usage'",
            *("known accounts", "transfer 2 is from account 100 to account 4242"),
        ),
        (
            "update transfer set kind = 'bonus' where kind = 'usage'",
            *("kinds of transfer", "of kind bonus from a customer to account 3"),
        ),
        ("update transfer set kind = 'gift'", "kinds of transfer", "of kind gift"),
        (
            "insert into hold select request_id, account, 1, 1, 0, 7, 0, 0, 0, 0, 0, null, 'open', "
            "null, null, 0, null, 0 from usage_record",
            *("holds", "settled in usage record 1"),
        ),
        (
            "insert into transfer values (9, 4, 3, 11, 'write_off', 'off:req_x', 0, null)",
            *("write-offs", r"transfer 9 \(off:req_x\).* no usage record"),
        ),
    ],
)
async def test_what_is_wrong_is_named(
    do: Do, core: Core, spender: Spender, corrupt: Corrupt, script: str, check: str, named: str
) -> None:
    """A change behind the shop's back fails its check, with the row, and closes the gate."""
    await spender.spend(10**12)
    assert (await do("ledger.verify"))["ok"]
    corrupt(script)
    proof = await do("ledger.verify")
    assert not proof["ok"]
    failed = {each["name"]: each["detail"] for each in proof["checks"] if not each["ok"]}
    assert check in failed
    assert re.search(named, failed[check])
    assert admission.BOOKS in core.live.admission.reasons
    assert "books" in core.live.alarms.standing


async def test_a_dropped_trigger_is_named(core: Core, do: Do) -> None:
    """Transfers that could be changed are no proof of anything."""
    await core.journal.write(lambda db: db.execute("drop trigger transfer_no_update"))
    proof = await do("ledger.verify")
    assert proof["wrong"] == ["append-only: the trigger transfer_no_update is gone"]


async def test_memory_is_proved_too(core: Core, do: Do, spender: Spender) -> None:
    """A balance or hold that only memory believes in is named, and gone when it is mended."""
    balance = spender.key.account.balance
    balance.balance_nanos += 3
    proof = await do("ledger.verify")
    (wrong,) = proof["wrong"]
    assert wrong.startswith("balances in memory: account 100: 10.000000003 USD in memory, 10.00 on")
    balance.balance_nanos -= 3
    balance.held_nanos += 5
    proof = await do("ledger.verify")
    assert [each.partition(":")[0] for each in proof["wrong"]] == ["holds in memory"]
    balance.held_nanos -= 5
    core.journal.posted[100] += 1
    proof = await do("ledger.verify")
    assert [each.partition(":")[0] for each in proof["wrong"]] == ["journal and disk"]
    core.journal.posted[100] -= 1
    assert not core.live.admission.is_open
    assert (await do("ledger.verify"))["ok"]
    assert core.live.admission.is_open
    assert "books" not in core.live.alarms.standing


async def test_the_proof_holds_while_money_moves(core: Core, do: Do, spender: Spender) -> None:
    """Requests and grants in full flight never look like a mismatch."""
    stop = asyncio.Event()

    async def shop() -> None:
        while not stop.is_set():
            await spender.spend(10**8)
            await do("credit.grant", email=ADA, usd="0.01", reason="x")

    busy = [asyncio.create_task(shop()) for _ in range(8)]
    for _ in range(5):
        proof = await ledger.verify(core)
        assert proof["ok"], proof["wrong"]
    stop.set()
    await asyncio.gather(*busy)


async def test_pruned_records_are_not_missed(core: Core, do: Do, spender: Spender) -> None:
    """Rows older than their time may go; a younger one may not."""
    old = await spender.spend(10**12)
    core.clock.advance(100 * 86_400)  # type: ignore[attr-defined]
    young = await spender.spend(10**12)
    core.config = replace(core.config, data=replace(core.config.data, keep_requests_days=90))
    rollups = Rollups(core)
    await rollups.roll_up()
    await rollups.prune()
    left = await core.reader.rows("select request_id from usage_record")
    assert [row["request_id"] for row in left] == [young]
    proof = await do("ledger.verify")
    assert proof["ok"], (old, proof["wrong"])
    since = (await all_settings(core.reader))[PRUNED_BEFORE]
    assert proof["records_checked_since"] == int(since) > 0


async def test_the_least_charge_is_the_formula(do: Do, spender: Spender) -> None:
    """The statement computes what `pricing.charge` does, for costs of every size."""
    costs = [1, 999, 10**7 - 1, 10**7, 10**7 + 1, 123_456_789_012_345, 8 * 10**12 - 7]
    for cost in costs:
        ticket = await spender.hold(0)
        await spender.settle(ticket, cost)
    rows = await spender.core.reader.rows("select cost_picos, charge_nanos from usage_record")
    assert [row["cost_picos"] for row in rows] == costs
    for row in rows:
        assert row["charge_nanos"] == charge(row["cost_picos"], ticket.rule)
    assert (await do("ledger.verify"))["ok"]
