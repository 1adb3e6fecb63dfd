"""The table of actions: every name checks its arguments before anything happens."""

from __future__ import annotations

import json

import pytest

from reseller.actions.table import ACTIONS, perform, register
from reseller.core import Core
from reseller.errors import NotFound, Unprocessable
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
        json.dumps(await do(action))
    for action in ("customer.show", "key.list", "usage.list", "credit.list", "limits.show"):
        json.dumps(await do(action, email=ada))


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
