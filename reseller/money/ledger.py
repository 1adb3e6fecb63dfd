"""Ledger rules: what a Transfer is, the house accounts, and the builders of each kind.

Every movement of money is one Transfer between two accounts with a unique `ref`; inserting a
`ref` a second time is a no-op by construction. Balance = sum of credits - sum of debits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from reseller.units import Nanos


class House(IntEnum):
    """The shop's own accounts; ids below FIRST_CUSTOMER_ACCOUNT are reserved for them."""

    CASH = 1
    BONUS = 2
    REVENUE = 3
    WRITE_OFF = 4
    ADJUSTMENT = 5


FIRST_CUSTOMER_ACCOUNT = 100


class TransferKind(StrEnum):
    """Why money moved."""

    TOP_UP = "top_up"
    BONUS = "bonus"
    GRANT = "grant"
    USAGE = "usage"
    REFUND = "refund"
    CLAW_BACK = "claw_back"
    RESTORATION = "restoration"
    ADJUSTMENT = "adjustment"
    WRITE_OFF = "write_off"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement: `amount_nanos` leaves `debit` and reaches `credit`."""

    debit: int
    credit: int
    amount_nanos: Nanos
    kind: TransferKind
    ref: str
    at: int
    note: str = ""


# Which pairs of sides each kind may join: (debit, credit), None meaning a customer's account.
_SIDES: dict[TransferKind, tuple[tuple[House | None, House | None], ...]] = {
    TransferKind.TOP_UP: ((House.CASH, None),),
    TransferKind.BONUS: ((House.BONUS, None),),
    TransferKind.GRANT: ((House.BONUS, None),),
    TransferKind.USAGE: ((None, House.REVENUE),),
    TransferKind.REFUND: ((House.REVENUE, None), (None, House.CASH)),
    TransferKind.CLAW_BACK: ((None, House.CASH), (None, House.BONUS)),
    TransferKind.RESTORATION: ((House.CASH, None), (House.BONUS, None)),
    TransferKind.ADJUSTMENT: ((House.ADJUSTMENT, None), (None, House.ADJUSTMENT)),
    TransferKind.WRITE_OFF: ((House.WRITE_OFF, House.REVENUE),),
}


def check(transfer: Transfer) -> Transfer:
    """The transfer itself, if it may exist. Our own mistakes only, hence assertions."""
    assert isinstance(transfer.amount_nanos, int)
    assert transfer.amount_nanos > 0, transfer
    assert transfer.debit != transfer.credit, transfer
    assert transfer.ref, transfer
    assert transfer.at >= 0, transfer
    assert may_join(transfer.kind, transfer.debit, transfer.credit), transfer
    return transfer


def may_join(kind: TransferKind, debit: int, credit: int) -> bool:
    """Whether a transfer of this kind may lead from one account to the other.

    Raises ValueError for a number that no account may have.
    """
    return (_side(debit), _side(credit)) in _SIDES[kind]


def _side(account: int) -> House | None:
    if account >= FIRST_CUSTOMER_ACCOUNT:
        return None
    return House(account)


def usage_ref(request_id: str) -> str:
    """The ref under which a request is charged, once."""
    return f"use:{request_id}"


def write_off_ref(request_id: str) -> str:
    """The ref under which the uncovered part of a charge is written off, once."""
    return f"off:{request_id}"


def usage_transfers(
    request_id: str, account: int, charged_nanos: Nanos, written_off_nanos: Nanos, at: int
) -> list[Transfer]:
    """The rows that settle a request: what the account pays, and what it could not cover.

    Revenue is gross: the uncovered part reaches it from `write_off`.
    """
    assert charged_nanos >= 0
    assert written_off_nanos >= 0
    rows = []
    if charged_nanos:
        ref = usage_ref(request_id)
        rows.append(Transfer(account, House.REVENUE, charged_nanos, TransferKind.USAGE, ref, at))
    if written_off_nanos:
        ref = write_off_ref(request_id)
        rows.append(
            Transfer(
                House.WRITE_OFF, House.REVENUE, written_off_nanos, TransferKind.WRITE_OFF, ref, at
            )
        )
    return rows


def grant(account: int, amount_nanos: Nanos, ref: str, at: int, note: str) -> Transfer:
    """Free credit given by the operator, out of `bonus`."""
    return check(Transfer(House.BONUS, account, amount_nanos, TransferKind.GRANT, ref, at, note))


def debit(account: int, amount_nanos: Nanos, ref: str, at: int, note: str) -> Transfer:
    """Credit taken by the operator as a correction."""
    kind = TransferKind.ADJUSTMENT
    return check(Transfer(account, House.ADJUSTMENT, amount_nanos, kind, ref, at, note))


def refund_charge(account: int, amount_nanos: Nanos, ref: str, at: int, note: str) -> Transfer:
    """A charge given back out of `revenue`, in credit."""
    kind = TransferKind.REFUND
    return check(Transfer(House.REVENUE, account, amount_nanos, kind, ref, at, note))
