"""Credit by hand: exact, at most once, and never more than is free."""

from __future__ import annotations

import asyncio

import pytest

from reseller.core import Core
from reseller.errors import Conflict, NotFound, RateLimited, Unprocessable
from reseller.money.pricing import PriceRule, Quote
from tests.actions.conftest import ADA, Do, Spender


async def test_a_grant_is_in_the_ledger_and_in_memory(core: Core, do: Do, ada: str) -> None:
    """Balance, transfer and audit line agree to the nano."""
    done = await do("credit.grant", email=ada, usd="$0.000000001", reason="a nano")
    assert done["balance_usd"] == "0.000000001"
    assert done["is_new"]
    (row,) = (await do("credit.list", email=ada))["transfers"]
    assert (row["kind"], row["usd"], row["against"], row["note"]) == (
        *("grant", "0.000000001", "bonus"),
        "a nano",
    )
    (line,) = await core.reader.rows("select detail from audit where action = 'credit.grant'")
    assert done["ref"] in line["detail"]


@pytest.mark.parametrize(
    "usd", ["", "-1", "0", "0.00", "1e3", "NaN", "inf", "1,000", "100000.01", "0.0000000001", "١"]
)
@pytest.mark.parametrize("action", ["credit.grant", "credit.debit"])
async def test_what_is_no_amount_moves_nothing(core: Core, do: Do, usd: str, action: str) -> None:
    """Negative, absurd and unreadable amounts are refused by name."""
    await do("customer.create", email=ADA)
    with pytest.raises(Unprocessable, match=r"^usd: "):
        await do(action, email=ADA, usd=usd, reason="no")
    assert not await core.reader.rows("select id from transfer")


async def test_a_reason_is_needed(do: Do, ada: str) -> None:
    """Nobody moves money without saying why."""
    with pytest.raises(Unprocessable, match=r"^reason: "):
        await do("credit.grant", email=ada, usd="1", reason=" ")


async def test_the_same_ref_grants_once(core: Core, do: Do, ada: str) -> None:
    """A repeated command changes nothing, says so, and leaves one audit line."""
    first = await do("credit.grant", email=ada, usd="5", reason="welcome", ref="welcome-ada")
    again = await do("credit.grant", email=ada, usd="5.00", reason="welcome", ref="welcome-ada")
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert again["balance_usd"] == "5.00"
    assert len(await core.reader.rows("select id from audit where action = 'credit.grant'")) == 1


async def test_the_same_ref_at_once_grants_once(core: Core, do: Do, ada: str) -> None:
    """Racing repeats post one transfer."""
    done = await asyncio.gather(
        *(do("credit.grant", email=ada, usd="5", reason="x", ref="race") for _ in range(10))
    )
    assert sum(each["is_new"] for each in done) == 1
    assert (await do("customer.show", email=ada))["balance_usd"] == "5.00"
    assert (await do("ledger.verify"))["ok"]


async def test_a_ref_stands_for_one_movement(do: Do, ada: str) -> None:
    """Another amount or account under a used ref is refused."""
    await do("customer.create", email="bob@example.com")
    await do("credit.grant", email=ada, usd="5", reason="x", ref="r")
    with pytest.raises(Conflict, match="another movement"):
        await do("credit.grant", email=ada, usd="6", reason="x", ref="r")
    with pytest.raises(Conflict, match="another movement"):
        await do("credit.grant", email="bob@example.com", usd="5", reason="x", ref="r")
    with pytest.raises(Unprocessable, match=r"^ref: "):
        await do("credit.grant", email=ada, usd="5", reason="x", ref="with space")
    assert (await do("customer.show", email="bob@example.com"))["balance_usd"] == "0.00"


async def test_no_balance_beyond_reason(core: Core, do: Do, ada: str) -> None:
    """Grants stop long before a number of nanos outgrows the database."""
    core.live.wallet.move(core.live.accounts_by_public_id[await _account(do)].id, 10**18)
    with pytest.raises(Unprocessable, match="above"):
        await do("credit.grant", email=ada, usd="1", reason="x")


async def test_a_debit_takes_what_is_free(do: Do, spender: Spender) -> None:
    """What running requests were promised is not taken, on disk or in memory."""
    ticket = await spender.hold(4 * 10**9)
    with pytest.raises(Conflict, match=r"Only \$6\.00"):
        await do("credit.debit", email=ADA, usd="6.01", reason="too much")
    done = await do("credit.debit", email=ADA, usd="6", reason="correction", ref="c1")
    assert done["balance_usd"] == "4.00"
    again = await do("credit.debit", email=ADA, usd="6", reason="correction", ref="c1")
    assert not again["is_new"]
    await spender.settle(ticket, 10**12)
    assert (await do("customer.show", email=ADA))["balance_usd"] == "2.80"
    assert (await do("ledger.verify"))["ok"]


async def test_a_request_cannot_spend_what_is_being_taken(do: Do, spender: Spender) -> None:
    """From the check on the debit's money is promised, before it is on disk."""
    taking = asyncio.create_task(do("credit.debit", email=ADA, usd="10", reason="all"))
    wallet = spender.core.live.wallet
    while not wallet.balance_of(spender.key.account.id).held_nanos:
        await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await asyncio.wait_for(_try(spender), 1)
    await taking
    balance = wallet.balance_of(spender.key.account.id)
    assert (balance.balance_nanos, balance.held_nanos, balance.holds) == (0, 0, 0)


async def test_a_charge_is_given_back_once(do: Do, spender: Spender) -> None:
    """Whole by default, and never twice."""
    request_id = await spender.spend(10**12)
    done = await do("credit.refund", request_id=request_id, reason="our fault")
    assert (done["usd"], done["balance_usd"], done["is_new"]) == ("1.20", "10.00", True)
    again = await do("credit.refund", request_id=request_id, reason="our fault")
    assert not again["is_new"]
    with pytest.raises(Conflict, match="another movement"):
        await do("credit.refund", request_id=request_id, reason="more", usd="0.10")
    assert (await do("customer.show", email=ADA))["balance_usd"] == "10.00"
    assert (await do("ledger.verify"))["ok"]


async def test_a_part_of_a_charge_is_given_back(do: Do, spender: Spender) -> None:
    """Up to what was charged."""
    request_id = await spender.spend(10**12)
    with pytest.raises(Unprocessable, match=r"charged \$1\.20"):
        await do("credit.refund", request_id=request_id, reason="x", usd="1.21")
    done = await do("credit.refund", request_id=request_id, reason="x", usd="0.20")
    assert done["balance_usd"] == "9.00"


async def test_only_a_charge_is_given_back(do: Do, spender: Spender) -> None:
    """Unknown and free requests have nothing to give back."""
    free = await spender.spend(0)
    for request_id in (free, "req_nothing", "use:", "%"):
        with pytest.raises(NotFound, match="No charge"):
            await do("credit.refund", request_id=request_id, reason="x")


async def _account(do: Do) -> str:
    return str((await do("customer.show", email=ADA))["account"])


async def _try(spender: Spender) -> None:
    quote = Quote(PriceRule("*", 0), 10**12, 0, 64)
    spender.core.live.wallet.reserve("req_x", spender.key.account.id, quote, minimum_tokens=1)
