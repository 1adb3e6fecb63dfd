"""Customers: made whole or not at all, shown as they are on disk, suspended and let in again."""

from __future__ import annotations

import asyncio

import pytest

from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.core import Core, open_core
from reseller.errors import Conflict, NotFound, Unprocessable
from reseller.ids import Ids
from tests.actions.conftest import Do, Spender


async def test_a_customer_comes_with_an_account(core: Core, do: Do) -> None:
    """Customer, account and membership are on disk, known to memory, and audited."""
    made = await do("customer.create", email=" ada@example.com ", name="Ada")
    account = core.live.accounts_by_public_id[made["account"]]
    assert account.id >= 100
    assert core.journal.posted[account.id] == 0
    assert made["email"] == "ada@example.com"
    assert made["id"].startswith("cus_")
    (line,) = await core.reader.rows("select action, subject, detail, actor from audit")
    assert tuple(line) == ("customer.create", made["id"], "ada@example.com", "console")


async def test_customers_come_back_after_a_restart(
    config: Config, clock: ShiftedClock, ids: Ids, core: Core, do: Do
) -> None:
    """What was made is loaded again by the next process."""
    made = await do("customer.create", email="ada@example.com")
    await do("credit.grant", email="ada@example.com", usd="3", reason="hello")
    async with open_core(config, clock, ids) as again:
        account = again.live.accounts_by_public_id[made["account"]]
        assert account.balance.balance_nanos == 3 * 10**9


async def test_an_email_is_taken_once(core: Core, do: Do, ada: str) -> None:
    """Letter case does not make another customer, and a refusal leaves nothing behind."""
    before = dict(core.journal.posted)
    with pytest.raises(Conflict, match="already"):
        await do("customer.create", email="ADA@Example.com")
    assert core.journal.posted == before
    assert len(await core.reader.rows("select id from account where id >= 100")) == 1


async def test_of_many_at_once_one_is_made(core: Core, do: Do) -> None:
    """Racing for an e-mail gives one customer and refusals."""
    made = await asyncio.gather(
        *(do("customer.create", email="ada@example.com") for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(each, dict) for each in made) == 1
    assert all(isinstance(each, dict | Conflict) for each in made)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.com",
        "a b@example.com",
        "a@b@c",
        "a@b\nc",
        "<a@b.c>",
        "x" * 251 + "@b.c",
    ],
)
async def test_what_is_no_email_is_refused(core: Core, do: Do, email: str) -> None:
    """Nothing is written for a text that is no address."""
    with pytest.raises(Unprocessable, match="e-mail"):
        await do("customer.create", email=email)
    assert not core.live.accounts


async def test_an_action_outlives_its_caller(core: Core, do: Do) -> None:
    """A caller that leaves in the middle does not leave a customer without memory of it."""
    caller = asyncio.create_task(do("customer.create", email="ada@example.com"))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    while not core.live.accounts:
        await asyncio.sleep(0.001)
    assert (await do("customer.show", email="ada@example.com"))["balance_usd"] == "0.00"


async def test_show_gives_decimal_strings(do: Do, spender: Spender) -> None:
    """Balance and held are exact decimal strings, and what is free is their difference."""
    ticket = await spender.hold(1_500_000_000)
    shown = await do("customer.show", email="ada@example.com")
    assert (shown["balance_usd"], shown["held_usd"], shown["free_usd"]) == ("10.00", "1.50", "8.50")
    assert shown["holds"] == 1
    await spender.settle(ticket, 10**12)
    shown = await do("customer.show", email="ada@example.com")
    assert (shown["balance_usd"], shown["held_usd"], shown["used_usd"]) == ("8.80", "0.00", "1.20")


async def test_unknown_customers_are_named(do: Do) -> None:
    """Every command about a customer says whom it did not find."""
    for action in ("customer.show", "customer.suspend", "key.list", "usage.list", "limits.show"):
        with pytest.raises(NotFound, match=r"nobody@example\.com"):
            await do(action, email="nobody@example.com")


async def test_list_searches_and_pages(do: Do, spender: Spender) -> None:
    """The newest come first; a part of e-mail or name finds; figures are those of `show`."""
    await do("customer.create", email="bob@example.com", name="Bob O'Neill")
    await do("customer.create", email="eve_1@example.org")
    everyone = await do("customer.list")
    assert [c["email"][:3] for c in everyone["customers"]] == ["eve", "bob", "ada"]
    assert everyone["customers"][2]["balance_usd"] == "10.00"
    assert everyone["customers"][2]["keys"] == 1
    page = await do("customer.list", limit=1, skip=1)
    assert [c["email"] for c in page["customers"]] == ["bob@example.com"]
    assert page["total"] == 3
    found = await do("customer.list", search="o'neILL")
    assert [c["email"] for c in found["customers"]] == ["bob@example.com"]
    assert not (await do("customer.list", search="%"))["customers"]
    with pytest.raises(Unprocessable, match="limit"):
        await do("customer.list", limit=0)


async def test_suspension_is_at_once_and_for_good(
    core: Core, do: Do, spender: Spender, config: Config, clock: ShiftedClock, ids: Ids
) -> None:
    """Memory refuses, running streams are told, a restart remembers, and it can be lifted."""
    ended = []
    core.live.on_suspend = lambda account: ended.append(account.id)
    first = await do("customer.suspend", email="ada@example.com", reason="chargeback")
    again = await do("customer.suspend", email="ada@example.com")
    assert (first["changed"], again["changed"]) == (True, False)
    account = spender.key.account
    assert account.is_suspended
    assert ended[0] == account.id
    async with open_core(config, clock, ids) as other:
        assert other.live.accounts[account.id].is_suspended
    assert (await do("customer.show", email="ada@example.com"))["state"] == "suspended"
    assert (await do("customer.unsuspend", email="ada@example.com"))["changed"]
    assert not account.is_suspended
    assert (await do("customer.show", email="ada@example.com"))["state"] == "active"


async def test_a_freeze_is_lifted_when_the_books_agree(
    core: Core, do: Do, spender: Spender
) -> None:
    """An account whose stored balance is not its transfers' sum stays frozen."""
    account = spender.key.account
    await core.journal.write(
        lambda db: db.execute(
            "update account set frozen_at = 1, balance_nanos = 1 where id = ?", (account.id,)
        )
    )
    account.is_frozen = True
    assert (await do("customer.show", email="ada@example.com"))["state"] == "frozen"
    with pytest.raises(Conflict, match="do not agree"):
        await do("customer.unfreeze", email="ada@example.com")
    assert account.is_frozen
    await core.journal.write(
        lambda db: db.execute(
            "update account set balance_nanos = 10000000000 where id = ?", (account.id,)
        )
    )
    assert (await do("customer.unfreeze", email="ada@example.com"))["changed"]
    assert not account.is_frozen
