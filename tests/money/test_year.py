"""A long life of the two models; run by `make slow`."""

from __future__ import annotations

import random

import pytest

from tests.money.test_model import ACCOUNTS, HOUR_MS, TwoBooks, live_random_steps


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_year_of_days(seed: int) -> None:
    """365 days with faults: the books agree every evening, and at the end every hold is ended."""
    books, chance = TwoBooks(), random.Random(seed)
    for _ in range(365):
        live_random_steps(books, chance, 12)
        books.pass_time(24 * HOUR_MS)
        books.audit()
    for request, hold in books.holds.items():
        if hold.is_live:
            books.release(request)
    books.audit()
    assert all(books.wallet.balance_of(account).held_nanos == 0 for account in ACCOUNTS)
    assert books.gross > 0
