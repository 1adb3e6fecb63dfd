"""The table of actions: every name checks its arguments before anything happens."""

from __future__ import annotations

import json

import pytest

from reseller.actions.table import ACTIONS, perform, register
from reseller.core import Core
from reseller.errors import Conflict, NotFound, Unavailable, Unprocessable
from tests.actions.conftest import Do


async def test_every_action_says_what_it_does_and_knows_its_arguments() -> None:
    """Each has a docstring and typed arguments, and refuses one it does not know."""
    for action in ACTIONS.values():
        assert (action.run.__doc__ or "").strip(), action.name
        with pytest.raises(Unprocessable):
            action.checked({"no_such_argument": 1})


async def test_who_acts_is_not_an_argument(do: Do) -> None:
    """A caller cannot write another's name into the audit log."""
    with pytest.raises(Unprocessable, match="actor"):
        await do("customer.create", email="ada@example.com", actor="somebody")


@pytest.mark.parametrize(
    "arguments", [{}, {"email": None}, {"email": 5}, {"email": ["a"]}, {"email": "a@b", "x": 1}]
)
async def test_wrong_arguments_are_named(core: Core, arguments: dict[str, object]) -> None:
    """Missing, of another type, or unknown: refused with the action's name."""
    with pytest.raises(Unprocessable, match=r"customer\.create: ") as refused:
        await perform(core, "customer.create", arguments)
    assert refused.value.code == "bad_arguments"


async def test_money_is_never_a_float(do: Do, ada: str) -> None:
    """Amounts are text; a JSON number is refused."""
    with pytest.raises(Unprocessable, match="usd"):
        await do("credit.grant", email=ada, usd=1.5, reason="x")


async def test_an_unknown_action_is_not_found(do: Do) -> None:
    """By its name."""
    with pytest.raises(NotFound, match=r"customer\.destroy"):
        await do("customer.destroy")


async def test_answers_are_json(do: Do, ada: str) -> None:
    """What reads can be sent as it is."""
    for action in ("ping", "customer.list", "pricing.list", "stats.show", "ledger.verify"):
        assert json.dumps(await do(action), allow_nan=False)
    for action in ("customer.show", "key.list", "usage.list", "credit.list", "limits.show"):
        assert json.dumps(await do(action, email=ada), allow_nan=False)


async def test_a_mismatch_is_an_answer(core: Core, do: Do, ada: str) -> None:
    """Money is not moved where the disk is not what memory believed, and the caller is told."""
    core.journal.posted[next(iter(core.live.accounts))] += 1
    with pytest.raises(Conflict, match="ledger verify"):
        await do("credit.grant", email=ada, usd="1", reason="x")
    assert not await core.reader.rows("select id from transfer")


async def test_a_failing_database_is_an_answer(core: Core, do: Do, ada: str) -> None:
    """What SQLite refuses has a code, and nothing is half done."""
    await core.journal.write(lambda db: db.execute("alter table audit rename to gone"))
    with pytest.raises(Unavailable, match="nothing was changed") as failed:
        await do("customer.create", email="bob@example.com")
    assert failed.value.code == "database_failed"
    await core.journal.write(lambda db: db.execute("alter table gone rename to audit"))
    assert (await do("customer.list"))["total"] == 1


async def test_changes_are_listed(do: Do, ada: str) -> None:
    """Every change has its line, the newest first, page by page."""
    await do("credit.grant", email=ada, usd="1", reason="hello")
    await do("admission.off")
    (newest,) = (await do("audit.list", limit=1))["changes"]
    assert newest["action"] == "admission.off"
    older = (await do("audit.list", before=newest["line"]))["changes"]
    assert [each["action"] for each in older] == ["credit.grant", "customer.create"]
    assert "hello" in older[0]["detail"]


async def test_others_add_actions(do: Do) -> None:
    """What is registered is performed like the rest."""

    async def double(core: Core, *, number: int) -> dict[str, int]:
        """Twice the number."""
        return {"number": number * 2}

    register("test.double", double)
    try:
        assert await do("test.double", number=4) == {"number": 8}
        with pytest.raises(Unprocessable):
            await do("test.double", number="4")
    finally:
        del ACTIONS["test.double"]
