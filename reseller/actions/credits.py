"""Credit by the operator's hand: given, taken, and charges given back. Each at most once."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.actions import inputs
from reseller.actions.change import CONSOLE, Answer, caught_up, customer_row, whole
from reseller.core import Core
from reseller.db import audit, customers, transfers
from reseller.errors import Conflict, NotFound, Unprocessable
from reseller.money import ledger
from reseller.money.ledger import House, Transfer, TransferKind
from reseller.money.wallet import Hold
from reseller.units import NANOS_PER_USD, usd_text

# Far above any sane balance, and far below what a 64-bit number of nanos can hold.
_BALANCE_MOST = 10**9 * NANOS_PER_USD


@whole
async def grant_credit(
    core: Core, *, email: str, usd: str, reason: str, ref: str | None = None, actor: str = CONSOLE
) -> Answer:
    """Give credit out of `bonus`. The same `ref` again changes nothing."""
    amount, reason = inputs.usd(usd), inputs.line(reason, "reason", most=200)
    row = await customer_row(core, email)
    account = row["account"]
    if core.live.wallet.balance_of(account).balance_nanos + amount > _BALANCE_MOST:
        raise Unprocessable(
            f"That would bring the balance above ${usd_text(_BALANCE_MOST)}.", param="usd"
        )
    wanted = ledger.grant(account, amount, _ref(core, "grant", ref), core.clock.now_ms(), reason)
    is_new = not await _is_posted(core, wanted)
    if is_new:
        is_new = await _post(core, wanted, actor, "credit.grant", row["customer_id"])
    return _receipt(core, row, wanted, is_new)


@whole
async def debit_credit(
    core: Core, *, email: str, usd: str, reason: str, ref: str | None = None, actor: str = CONSOLE
) -> Answer:
    """Take credit that no hold has promised. The same `ref` again changes nothing."""
    amount, reason = inputs.usd(usd), inputs.line(reason, "reason", most=200)
    row = await customer_row(core, email)
    account = row["account"]
    wanted = ledger.debit(account, amount, _ref(core, "debit", ref), core.clock.now_ms(), reason)
    held_on_disk, _ = await customers.sum_holds(core.reader, account)
    if await _is_posted(core, wanted):
        return _receipt(core, row, wanted, is_new=False)
    # Check and promise are one step: no request can take the money while it is being written.
    balance = core.live.wallet.balance_of(account)
    free = balance.balance_nanos - max(balance.held_nanos, held_on_disk)
    if amount > free:
        raise Conflict(
            f"Only ${usd_text(max(0, free))} of {row['email']} is free to be taken; "
            f"${usd_text(max(balance.held_nanos, held_on_disk))} is held by requests.",
            code="not_enough_credit",
        )
    promise = Hold(wanted.ref, account, amount, 0)
    core.live.wallet.restore(promise)
    try:
        is_new = await _post(core, wanted, actor, "credit.debit", row["customer_id"])
    finally:
        core.live.wallet.release(promise)
    return _receipt(core, row, wanted, is_new)


@whole
async def refund_charge(
    core: Core, *, request_id: str, reason: str, usd: str | None = None, actor: str = CONSOLE
) -> Answer:
    """Give what a request was charged back as credit, once a request; `usd` for a part of it."""
    reason = inputs.line(reason, "reason", most=200)
    await caught_up(core)
    charged = await transfers.find_transfer(core.reader, ledger.usage_ref(request_id))
    if charged is None:
        raise NotFound(f"No charge was made for {request_id!r:.60}.", code="no_such_charge")
    paid, account = charged["amount_nanos"], charged["debit"]
    amount = paid if usd is None else inputs.usd(usd)
    if amount > paid:
        raise Unprocessable(
            f"usd: {request_id} was charged ${usd_text(paid)}; more cannot be given back.",
            param="usd",
        )
    wanted = ledger.refund_charge(
        account, amount, f"refund:{request_id}", core.clock.now_ms(), reason
    )
    owner = core.live.accounts[account].public_id
    is_new = not await _is_posted(core, wanted)
    if is_new:
        is_new = await _post(core, wanted, actor, "credit.refund", owner)
    return {"request_id": request_id, "account": owner, **_outcome(core, wanted, is_new)}


async def list_transfers(core: Core, *, email: str, limit: int = 50) -> Answer:
    """What moved on an account besides use: top-ups, grants, corrections, refunds."""
    most = inputs.count(limit, "limit", most=1_000)
    row = await customer_row(core, email)
    await caught_up(core)
    found = await transfers.list_of_account(core.reader, row["account"], most)
    return {"email": row["email"], "transfers": [_shown(each, row["account"]) for each in found]}


def _ref(core: Core, kind: str, ref: str | None) -> str:
    return f"{kind}:{inputs.reference(ref) if ref is not None else core.ids.random_text(16)}"


async def _post(core: Core, wanted: Transfer, actor: str, action: str, subject: str) -> bool:
    """Post the transfer with its audit line; False where the same one was there already."""
    detail = f"{usd_text(wanted.amount_nanos)} USD, {wanted.ref}: {wanted.note}"

    def write(db: sqlite3.Connection) -> None:
        audit.insert_audit(db, wanted.at, actor, action, subject, detail)

    (is_new,), _ = await core.journal.move([wanted], write)
    return is_new or not await _is_posted(core, wanted)


async def _is_posted(core: Core, wanted: Transfer) -> bool:
    """Whether this very movement is on disk. Raises Conflict where its ref stands for another."""
    on_disk = await transfers.find_transfer(core.reader, wanted.ref)
    if on_disk is None:
        return False
    there = (on_disk["debit"], on_disk["credit"], on_disk["amount_nanos"])
    if there != (int(wanted.debit), int(wanted.credit), wanted.amount_nanos):
        raise Conflict(
            f"{wanted.ref} was used for another movement of ${usd_text(on_disk['amount_nanos'])}; "
            f"nothing was changed.",
            code="ref_taken",
        )
    return True


def _receipt(core: Core, row: sqlite3.Row, wanted: Transfer, is_new: bool) -> Answer:
    return {"email": row["email"], "account": row["account_id"], **_outcome(core, wanted, is_new)}


def _outcome(core: Core, wanted: Transfer, is_new: bool) -> dict[str, Any]:
    account = wanted.debit if wanted.kind is TransferKind.ADJUSTMENT else wanted.credit
    balance = core.live.wallet.balance_of(account)
    return {
        "usd": usd_text(wanted.amount_nanos),
        "ref": wanted.ref,
        "is_new": is_new,
        "balance_usd": usd_text(balance.balance_nanos),
    }


def _shown(row: sqlite3.Row, account: int) -> dict[str, Any]:
    is_credit = row["credit"] == account
    other = row["debit"] if is_credit else row["credit"]
    return {
        "at": row["at"],
        "kind": row["kind"],
        "usd": usd_text(row["amount_nanos"] if is_credit else -row["amount_nanos"]),
        "against": House(other).name.lower(),
        "ref": row["ref"],
        "note": row["note"] or "",
    }
