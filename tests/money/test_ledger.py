"""What a Transfer may be: sides, refs, and the rows that settle a request."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.money.ledger import (
    FIRST_CUSTOMER_ACCOUNT,
    House,
    Transfer,
    TransferKind,
    check,
    debit,
    grant,
    refund_charge,
    usage_ref,
    usage_transfers,
    write_off_ref,
)

CUSTOMER, OTHER = FIRST_CUSTOMER_ACCOUNT, FIRST_CUSTOMER_ACCOUNT + 1
MAY_JOIN = {
    "top_up": {(1, CUSTOMER)},
    "bonus": {(2, CUSTOMER)},
    "grant": {(2, CUSTOMER)},
    "usage": {(CUSTOMER, 3)},
    "refund": {(3, CUSTOMER), (CUSTOMER, 1)},
    "claw_back": {(CUSTOMER, 1), (CUSTOMER, 2)},
    "restoration": {(1, CUSTOMER), (2, CUSTOMER)},
    "adjustment": {(5, CUSTOMER), (CUSTOMER, 5)},
    "write_off": {(4, 3)},
}


def is_accepted(transfer: Transfer) -> bool:
    """Whether `check` lets the transfer be."""
    try:
        return check(transfer) is transfer
    except AssertionError:
        return False


@pytest.mark.parametrize("kind", list(TransferKind))
def test_each_kind_joins_its_own_sides_only(kind: TransferKind) -> None:
    """Of all pairs of accounts exactly the listed ones may carry this kind."""
    everyone = (1, 2, 3, 4, 5, CUSTOMER, OTHER)
    accepted = {
        (a, b)
        for a, b in itertools.product(everyone, repeat=2)
        if is_accepted(Transfer(a, b, 1, kind, "ref", 0))
    }
    expected = {
        pair
        for a, b in MAY_JOIN[kind]
        for pair in ((a, b), (OTHER if a == CUSTOMER else a, OTHER if b == CUSTOMER else b))
    }
    assert accepted == expected


@pytest.mark.parametrize("account", [0, 6, 99, -1])
def test_reserved_numbers_are_no_accounts(account: int) -> None:
    """Between the house and the customers there is no one to pay."""
    with pytest.raises((AssertionError, ValueError)):
        check(Transfer(House.CASH, account, 1, TransferKind.TOP_UP, "ref", 0))


@pytest.mark.parametrize(
    ("amount", "ref", "at"),
    [(0, "ref", 0), (-1, "ref", 0), (1.0, "ref", 0), (1, "", 0), (1, "r", -1)],
)
def test_a_transfer_moves_a_whole_positive_amount_once(amount: int, ref: str, at: int) -> None:
    """No nought, no negative amount, no float, no nameless row, no time before time."""
    assert not is_accepted(Transfer(House.CASH, CUSTOMER, amount, TransferKind.TOP_UP, ref, at))


money = st.sampled_from([0, 1]) | st.integers(0, 10**14)


@given(money, money, st.integers(0, 2**53))
def test_a_settled_request_is_gross_revenue(charged: int, written_off: int, at: int) -> None:
    """Revenue receives the whole charge: from the account what it paid, the rest written off."""
    rows = usage_transfers("req_1", CUSTOMER, charged, written_off, at)
    assert all(check(row) is row for row in rows)
    assert all(row.credit == House.REVENUE and row.at == at for row in rows)
    assert sum(row.amount_nanos for row in rows) == charged + written_off
    assert sum(row.amount_nanos for row in rows if row.debit == CUSTOMER) == charged
    assert len({row.ref for row in rows}) == len(rows) == (charged > 0) + (written_off > 0)


def test_refs_name_the_request() -> None:
    """The same request can be charged and written off once each, under refs of its own."""
    rows = usage_transfers("req_9", CUSTOMER, 5, 7, 1)
    assert [row.ref for row in rows] == ["use:req_9", "off:req_9"]
    assert (usage_ref("req_9"), write_off_ref("req_9")) == ("use:req_9", "off:req_9")
    assert usage_transfers("req_9", CUSTOMER, 0, 0, 1) == []


@pytest.mark.parametrize(("charged", "written_off"), [(-1, 0), (0, -1)])
def test_nothing_negative_is_settled(charged: int, written_off: int) -> None:
    """A negative part is our own mistake and stops right there."""
    with pytest.raises(AssertionError):
        usage_transfers("req_1", CUSTOMER, charged, written_off, 0)


def test_the_operators_movements() -> None:
    """Grants come out of bonus, corrections go to adjustment, refunds come out of revenue."""
    assert grant(CUSTOMER, 5, "grant:1", 9, "hello") == Transfer(
        House.BONUS, CUSTOMER, 5, TransferKind.GRANT, "grant:1", 9, "hello"
    )
    assert debit(CUSTOMER, 5, "adj:1", 9, "oops") == Transfer(
        CUSTOMER, House.ADJUSTMENT, 5, TransferKind.ADJUSTMENT, "adj:1", 9, "oops"
    )
    assert refund_charge(CUSTOMER, 5, "refund:1", 9, "sorry") == Transfer(
        House.REVENUE, CUSTOMER, 5, TransferKind.REFUND, "refund:1", 9, "sorry"
    )


@pytest.mark.parametrize("build", [grant, debit, refund_charge])
def test_the_operators_movements_are_checked(build: object) -> None:
    """None of them can be built for the house itself or for nothing."""
    assert callable(build)
    for account, amount in ((House.CASH, 5), (CUSTOMER, 0), (CUSTOMER, -5)):
        with pytest.raises(AssertionError):
            build(account, amount, "ref", 0, "")


def test_kinds_and_accounts_are_the_stored_words() -> None:
    """These values are in the database: a renamed one would orphan rows."""
    assert {kind.value for kind in TransferKind} == set(MAY_JOIN)
    assert {house.name: house.value for house in House} == {
        "CASH": 1,
        "BONUS": 2,
        "REVENUE": 3,
        "WRITE_OFF": 4,
        "ADJUSTMENT": 5,
    }
    assert FIRST_CUSTOMER_ACCOUNT == 100
