"""The proof after a crash: the simulator's books against the shop's, row by row.

It uses none of the product's own checks; `ledger verify` comes on top.
"""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from typing import Any

from reseller.ids import keyed_hash
from tests.crash.clients import Seen
from tests.crash.processes import Server, Stage

Row = dict[str, Any]
_KNOWN = """
select request_id, generation_id from hold
union all select request_id, generation_id from usage_record
"""


def true_picos(bill: Row) -> int:
    """What a generation really cost."""
    cost = Decimal(bill["cost"])
    if bill["is_byok"]:
        cost += Decimal(bill["upstream_inference_cost"])
    return math.ceil(cost * 10**12)


def right_charge(cost_picos: int) -> int:
    """20 % on top, rounded up to the nano."""
    return -(-cost_picos * 12_000 // 10_000_000)


def check_ids_came_first(server: Server, seen: list[Seen]) -> None:
    """On the dead server's disk: whoever saw a byte of an answer, its generation id is there."""
    known = {row["request_id"]: row["generation_id"] for row in server.remains(_KNOWN)}
    for each in seen:
        if each.has_answer:
            assert known.get(each.request_id), (
                f"{each.mark} {each.request_id}: {each.answer[:200]!r}"
            )


async def settle_everything(stage: Stage) -> None:
    """Let the records appear and have them asked for until only requests without id wait."""
    await stage.simulator.post("clock", advance_s=120)
    for _ in range(20):
        await stage.server.act("job.run", name="pending")
        if not stage.server.rows("select 1 from hold where generation_id is not null"):
            break
    held = stage.server.rows("select * from hold")
    assert [row for row in held if row["generation_id"] is not None] == []
    assert {row["state"] for row in held} <= {"pending"}


async def check_books(stage: Stage) -> None:
    """Every billed generation is settled to the pico, waits, or is exactly one exposure row."""
    verified = await stage.server.act("ledger.verify")
    assert verified["ok"], verified["wrong"]
    check_disk(stage.server, await stage.simulator.books(), stage.granted)


def check_disk(
    server: Server, bills: list[Row], granted: dict[str, int], *, may_have_lost: bool = False
) -> None:
    """The same from what is on disk; a disk that lost its last commits may have lost bills."""
    held = server.rows("select request_id, account, generation_id from hold")
    records = server.rows("select * from usage_record")
    exposed = server.rows("select * from exposure")
    assert _repeated([row["request_id"] for row in records + held]) == []
    assert {row["request_id"] for row in exposed} == {
        row["request_id"] for row in records if row["outcome"] == "exposure"
    }
    lost = _lost_bills(bills, records, held)
    if not may_have_lost:
        _check_lost(server, lost, held + exposed)
    _check_transfers(server, records)
    _check_balances(server, granted)


def _lost_bills(bills: list[Row], records: list[Row], held: list[Row]) -> Counter[str]:
    """How many bills of each end user are not found by their id; the others must be exact."""
    settled = [row for row in records if row["generation_id"] is not None]
    assert _repeated([row["generation_id"] for row in settled]) == []
    by_id = {row["generation_id"]: row for row in settled}
    waiting = {row["generation_id"] for row in held}
    lost: Counter[str] = Counter()
    for bill in bills:
        found = by_id.pop(bill["id"], None)
        if found is None:
            lost[bill["external_user"]] += bill["id"] not in waiting
            continue
        cost = true_picos(bill)
        assert (found["cost_picos"], found["charge_nanos"]) == (cost, right_charge(cost)), (
            f"{bill} is settled as {found}"
        )
    # What was settled under an id that the upstream never billed cost nothing.
    assert [row for row in by_id.values() if row["charge_nanos"]] == []
    return +lost


def _check_lost(server: Server, lost: Counter[str], open_ends: list[Row]) -> None:
    """Bills whose id was never seen: the same customer has a row for each, pending or exposed."""
    secret = (server.folder / "secret").read_bytes()
    ends = Counter(row["account"] for row in open_ends if row.get("generation_id") is None)
    for account in server.rows("select id, public_id from account where id >= 100"):
        user = keyed_hash(secret, account["public_id"])
        assert lost.pop(user, 0) <= ends[account["id"]], account
    assert not lost


def _check_transfers(server: Server, records: list[Row]) -> None:
    expected = {}
    for row in records:
        if paid := row["charge_nanos"] - row["written_off_nanos"]:
            expected[f"use:{row['request_id']}"] = (row["account"], 3, paid)
        if row["written_off_nanos"]:
            expected[f"off:{row['request_id']}"] = (4, 3, row["written_off_nanos"])
    found = server.rows("select * from transfer where kind in ('usage', 'write_off')")
    assert _repeated([row["ref"] for row in found]) == []
    assert expected == {
        row["ref"]: (row["debit"], row["credit"], row["amount_nanos"]) for row in found
    }


def _check_balances(server: Server, granted: dict[str, int]) -> None:
    """Balance = grants - use, never below zero."""
    used: Counter[int] = Counter()
    for row in server.rows("select debit, amount_nanos from transfer where kind = 'usage'"):
        used[row["debit"]] += row["amount_nanos"]
    accounts = server.rows(
        "select a.id, c.email, a.balance_nanos, a.used_nanos from account as a "
        "join membership as m on m.account = a.id join customer as c on c.id = m.customer"
    )
    assert {row["email"] for row in accounts} == set(granted)
    for row in accounts:
        assert row["balance_nanos"] == granted[row["email"]] - used[row["id"]], row
        assert row["used_nanos"] == used[row["id"]], row
        assert row["balance_nanos"] >= 0, row


def _repeated(names: list[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
