"""Operators: their passwords are stored as argon2id and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from reseller.actions.passwords import hash_password, matches
from reseller.core import Core
from reseller.errors import Conflict, Forbidden, Unprocessable
from tests.actions.conftest import Do

GOOD = "correct horse battery"


async def _stored(core: Core) -> str:
    row = await core.reader.row("select password_hash from customer where is_operator = 1")
    return str(row["password_hash"])


async def test_an_operator_has_a_password_and_an_account(core: Core, do: Do) -> None:
    """The hash is argon2id with the parameters that were chosen."""
    made = await do("admin.create", email="op@example.com", password=GOOD)
    assert made["is_operator"]
    assert "password" not in made
    stored = await _stored(core)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await matches(stored, GOOD)
    assert not await matches(stored, GOOD + "!")
    assert not await matches("not a hash", GOOD)


async def test_a_made_password_is_answered_once(core: Core, do: Do) -> None:
    """Without one, a strong one is made; it is nowhere on disk."""
    made = await do("admin.create", email="op@example.com")
    assert len(made["password"]) == 24
    assert await matches(await _stored(core), made["password"])
    again = await do("admin.reset_password", email="op@example.com")
    assert again["password"] != made["password"]
    assert await matches(await _stored(core), again["password"])
    assert not await matches(await _stored(core), made["password"])
    for file in Path(core.config.data.dir).iterdir():
        assert again["password"].encode() not in file.read_bytes()


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaaaa", "x" * 1_001])
async def test_a_weak_password_makes_no_operator(core: Core, do: Do, password: str) -> None:
    """The refusal does not repeat it."""
    with pytest.raises(Unprocessable, match=r"^password: ") as refused:
        await do("admin.create", email="op@example.com", password=password)
    assert not password or password not in refused.value.message
    assert not core.live.accounts


async def test_a_customer_is_not_promoted(do: Do, ada: str) -> None:
    """Whoever signed up with an operator's e-mail first does not become one."""
    with pytest.raises(Conflict, match="already"):
        await do("admin.create", email=ada, password=GOOD)
    with pytest.raises(Forbidden, match="not an operator"):
        await do("admin.reset_password", email=ada, password=GOOD)


async def test_equal_passwords_have_unequal_hashes() -> None:
    """They are salted."""
    assert await hash_password(GOOD) != await hash_password(GOOD)
