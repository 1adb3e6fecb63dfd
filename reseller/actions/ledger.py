"""The proof of the books: on disk against itself, and memory against the disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from reseller import admission
from reseller.actions.change import Answer
from reseller.actions.memory import compare_memory
from reseller.core import Core
from reseller.db import ledger as rows
from reseller.db import settings
from reseller.db.connect import DATABASE_NAME, Reader
from reseller.money.ledger import TransferKind, may_join
from reseller.units import picos_text, usd_text

ALARM = "books"
_TRIGGERS = {"transfer_no_update", "transfer_no_delete"}
_DETAIL_LENGTH = 400


async def verify_ledger(core: Core) -> Answer:
    """Prove the books; stop admission where they are wrong, and lift that stop where not."""
    live = core.live
    before = live.admission.reasons.get(admission.BOOKS)
    proof = await verify(core)
    if proof["ok"]:
        # What was found wrong meanwhile may have happened after it was looked at here.
        if live.admission.reasons.get(admission.BOOKS) == before:
            live.admission.open(admission.BOOKS)
        live.alarms.clear(ALARM)
    else:
        wrong = "; ".join(proof["wrong"])[:_DETAIL_LENGTH]
        live.admission.close(admission.BOOKS, wrong)
        live.alarms.tell(ALARM, wrong)
    return proof


async def verify(core: Core) -> Answer:
    """Every check with its outcome and the rows it names. Changes nothing.

    The disk is read in one snapshot, on a connection of its own: it may take a while.
    """
    reader = await Reader.open(core.config.data.dir / DATABASE_NAME)
    try:
        await reader.rows("begin")
        sums, counts = await rows.sum_accounts(reader), await rows.count_books(reader)
        since = int((await settings.all_settings(reader)).get(settings.PRUNED_BEFORE, 0))
        checks = [_all_balances(sums["balance_nanos"])]
        checks += [_check(name, await find(reader), words) for name, find, words in _PLAIN]
        checks += [
            _check("usage transfers", await rows.wrong_usage_transfers(reader, since), _unmatched),
            _check("write-offs", await rows.wrong_write_offs(reader, since), _unmatched),
            _movements(await rows.list_movements(reader)),
            _append_only(await rows.transfer_triggers(reader)),
        ]
    finally:
        await reader.close()
    checks += [_check(name, wrong, str) for name, wrong in (await compare_memory(core)).items()]
    return {
        "ok": all(check["ok"] for check in checks),
        "wrong": [f"{check['name']}: {check['detail']}" for check in checks if not check["ok"]],
        "checks": checks,
        "accounts": sums["accounts"],
        "transfers": counts["transfers"],
        "usage_records": counts["usage_records"],
        "holds": counts["holds"],
        "liability_usd": usd_text(sums["liability_nanos"]),
        "records_checked_since": since,
    }


def _all_balances(sum_nanos: int) -> dict[str, Any]:
    wrong = [] if sum_nanos == 0 else [f"all balances sum to {usd_text(sum_nanos)} USD, not 0"]
    return _check("sum of balances", wrong, str)


def _movements(found: list[Any]) -> dict[str, Any]:
    """Every transfer is above zero and of a kind that may join its two sides."""
    wrong = []
    for row in found:
        if row["least_nanos"] <= 0:
            wrong.append(f"a {row['kind']} of {row['least_nanos']} nanos or less")
        if not _may_exist(row["kind"], row["debit"], row["credit"]):
            wrong.append(
                f"{row['transfers']} of kind {row['kind']} from {_side(row['debit'])} to "
                f"{_side(row['credit'])}, the first in row {row['id']}"
            )
    return _check("kinds of transfer", wrong, str)


def _may_exist(kind: str, debit: int, credit: int) -> bool:
    try:
        return may_join(TransferKind(kind), debit, credit)
    except ValueError:
        return False


def _append_only(triggers: set[str]) -> dict[str, Any]:
    missing = sorted(_TRIGGERS - triggers)
    return _check("append-only", [f"the trigger {name} is gone" for name in missing], str)


def _check(name: str, wrong: list[Any], words: Callable[[Any], str]) -> dict[str, Any]:
    """One check's outcome: what is wrong is named, up to a few."""
    named = [words(row) for row in wrong[: rows.NAMED]]
    more = ["and others"] if len(wrong) > rows.NAMED else []
    return {"name": name, "ok": not wrong, "detail": "; ".join(named + more)}


def _side(account: int) -> str:
    return "a customer" if account >= 100 else f"account {account}"


def _unmatched(row: Any) -> str:
    moved = f"transfer {row['id']} ({row['ref']}) moved {usd_text(row['amount_nanos'])} USD"
    if row["record"] is None:
        return f"{moved}, but there is no usage record of it"
    return f"{moved}, but usage record {row['record']} says {usd_text(row['paid_nanos'])}"


def _wrong_balance(row: Any) -> str:
    return (
        f"account {row['id']} ({row['public_id']}) has {usd_text(row['balance_nanos'])} USD, its "
        f"transfers make {usd_text(row['moved_nanos'])}"
    )


def _wrong_use(row: Any) -> str:
    return (
        f"account {row['id']} ({row['public_id']}) has used {usd_text(row['used_nanos'])} USD, its "
        f"usage transfers make {usd_text(row['moved_nanos'])}"
    )


def _uncharged(row: Any) -> str:
    return (
        f"usage record {row['id']} ({row['request_id']}) says {usd_text(row['charge_nanos'])} USD, "
        f"{usd_text(row['written_off_nanos'])} of it written off; its transfers do not"
    )


def _wrong_charge(row: Any) -> str:
    cost = "unknown" if row["cost_picos"] is None else picos_text(row["cost_picos"])
    least = "" if row["least_nanos"] is None else f", {usd_text(row['least_nanos'])} is right"
    return (
        f"usage record {row['id']} ({row['request_id']}), cost {cost}, was charged "
        f"{usd_text(row['charge_nanos'])} USD{least}"
    )


def _negative(row: Any) -> str:
    return (
        f"account {row['id']} ({row['public_id']}) is at {usd_text(row['balance_nanos'])} USD "
        f"without a claw-back"
    )


def _repeated(row: Any) -> str:
    return f"{row['ref']} stands for {row['times']} transfers, the first in row {row['id']}"


def _unknown(row: Any) -> str:
    return f"transfer {row['id']} is from account {row['debit']} to account {row['credit']}"


def _wrong_hold(row: Any) -> str:
    settled = "" if row["record"] is None else f", settled in usage record {row['record']}"
    return f"hold {row['request_id']} of {usd_text(row['held_nanos'])} USD{settled}"


_PLAIN: tuple[tuple[str, Callable[[Reader], Awaitable[list[Any]]], Callable[[Any], str]], ...] = (
    ("account balances", rows.wrong_balances, _wrong_balance),
    ("account use", rows.wrong_use, _wrong_use),
    ("usage records", rows.uncharged_records, _uncharged),
    ("charges", rows.wrong_charges, _wrong_charge),
    ("no overdraft", rows.negative_balances, _negative),
    ("unique refs", rows.repeated_refs, _repeated),
    ("known accounts", rows.unknown_accounts, _unknown),
    ("holds", rows.wrong_holds, _wrong_hold),
)
