"""API keys: the secret is shown once and stored nowhere; every change is in force at once."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.core import Core, open_core
from reseller.errors import Conflict, Forbidden, NotFound, Unauthenticated, Unprocessable
from reseller.ids import Ids
from reseller.money.spend import Period
from tests.actions.conftest import ADA, Do, Spender


async def test_a_key_works_at_once_and_its_secret_is_not_kept(
    core: Core, do: Do, ada: str, tmp_path: Path
) -> None:
    """Memory finds it; no file of the shop holds more than its visible beginning."""
    made = await do("key.create", email=ada, name="laptop")
    assert core.live.find_key(made["key"]).public_id == made["id"]
    await core.journal.flushed()
    for file in (tmp_path / "data").iterdir():
        assert made["key"][12:].encode() not in file.read_bytes()
    (listed,) = (await do("key.list", email=ada))["keys"]
    assert made["key"].startswith(listed["prefix"])
    assert "key" not in listed


async def test_a_key_keeps_its_bounds_over_a_restart(
    core: Core, do: Do, ada: str, config: Config, clock: ShiftedClock, ids: Ids
) -> None:
    """What memory was given is what the next process loads."""
    made = await do(
        "key.create",
        email=ada,
        name="bot",
        limit_usd="2.50",
        period="daily",
        expires="30d",
        models=["openai/*", "anthropic/claude-*"],
        addresses=["10.0.0.0/8", "2001:db8::1"],
        requests_per_minute=5,
        concurrent_requests=2,
    )
    now = core.live.find_key(made["key"])
    async with open_core(config, clock, ids) as again:
        then = again.live.find_key(made["key"])
        for name in ("public_id", "name", "expires_at", "models", "networks"):
            assert getattr(then, name) == getattr(now, name), name
        assert then.cap == now.cap
        assert then.limiter is not None
        assert now.limiter is not None
        assert (
            astuple(then.limiter.limits) == astuple(now.limiter.limits) == (5, None, None, None, 2)
        )
    assert now.cap.limit_nanos == 2_500_000_000
    assert now.cap.period is Period.DAILY
    with pytest.raises(Forbidden):
        now.check(clock.now_ms(), "192.0.2.1")
    now.check(clock.now_ms(), "10.1.2.3")
    clock.advance(31 * 86_400)
    with pytest.raises(Unauthenticated, match="expired"):
        now.check(clock.now_ms(), "10.1.2.3")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"limit_usd": "-1"}, "limit_usd"),
        ({"limit_usd": "0"}, "limit_usd"),
        ({"limit_usd": "1e9"}, "limit_usd"),
        ({"limit_usd": "NaN"}, "limit_usd"),
        ({"period": "hourly"}, "period"),
        ({"expires": "yesterday"}, "expires"),
        ({"expires": "2001-01-01"}, "expires"),
        ({"expires": "99999d"}, "expires"),
        ({"models": ["a b"]}, "models"),
        ({"models": ["a,b"]}, "models"),
        ({"models": ["m"] * 101}, "models"),
        ({"addresses": ["300.1.1.1"]}, "addresses"),
        ({"addresses": [""]}, "addresses"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": -5}, "tokens_per_minute"),
        ({"concurrent_requests": 10**15}, "concurrent_requests"),
    ],
)
async def test_a_wrong_bound_makes_no_key(
    core: Core, do: Do, ada: str, wrong: dict[str, Any], named: str
) -> None:
    """The refusal names what is wrong, and there is no key."""
    with pytest.raises(Unprocessable, match=f"^{named}: "):
        await do("key.create", **({"email": ada, "name": "k"} | wrong))
    assert not core.live.keys


async def test_a_revoked_key_opens_nothing_and_stays_listed(
    core: Core, do: Do, spender: Spender
) -> None:
    """Revoking is final, may be repeated, and keeps the row that usage points at."""
    (listed,) = (await do("key.list", email=ADA))["keys"]
    assert (await do("key.revoke", key_id=listed["id"]))["changed"]
    assert not (await do("key.revoke", key_id=listed["id"]))["changed"]
    assert not core.live.keys
    assert not (await do("key.list", email=ADA))["keys"]
    (kept,) = (await do("key.list", email=ADA, revoked=True))["keys"]
    assert kept["state"] == "revoked"
    for action in ("key.enable", "key.disable"):
        with pytest.raises(Conflict, match="revoked"):
            await do(action, key_id=listed["id"])
    with pytest.raises(NotFound, match="key_nothing"):
        await do("key.revoke", key_id="key_nothing")


async def test_a_disabled_key_is_refused_until_enabled(do: Do, spender: Spender) -> None:
    """Disabling is in force at once and leaves everything else as it is."""
    key, now = spender.key, spender.core.clock.now_ms()
    shown = await do("key.disable", key_id=key.public_id)
    assert shown["state"] == "disabled"
    with pytest.raises(Unauthenticated, match="disabled"):
        key.check(now, None)
    assert (await do("key.enable", key_id=key.public_id))["state"] == "active"
    key.check(now, None)


async def test_bounds_are_changed_and_taken_away(do: Do, spender: Spender) -> None:
    """What is given changes, what is not stays, `none` and 0 take away."""
    key = spender.key
    await do(
        "key.set",
        key_id=key.public_id,
        name="server",
        limit_usd="5",
        models=["openai/*"],
        addresses=["192.0.2.0/24"],
        expires="12h",
        requests_per_minute=7,
    )
    assert (key.name, key.cap.limit_nanos, key.models) == ("server", 5 * 10**9, ("openai/*",))
    assert key.limiter is not None
    assert key.limiter.limits.requests_per_minute == 7
    shown = await do(
        "key.set",
        key_id=key.public_id,
        limit_usd="none",
        models=[],
        addresses=[],
        expires="none",
        requests_per_minute=0,
    )
    assert (key.cap.limit_nanos, key.models, key.networks, key.expires_at) == (None, (), (), None)
    assert key.limiter.limits.requests_per_minute is None
    assert shown["name"] == "server"
    with pytest.raises(Unprocessable, match="Nothing"):
        await do("key.set", key_id=key.public_id)


async def test_what_is_held_survives_a_change_of_limit(do: Do, spender: Spender) -> None:
    """A running request's hold is released from the very cap it was promised by."""
    ticket = await spender.hold(2 * 10**9)
    await do("key.set", key_id=spender.key.public_id, limit_usd="1")
    assert spender.key.cap.held_nanos == 2 * 10**9
    await spender.settle(ticket, 10**12)
    assert (spender.key.cap.held_nanos, spender.key.cap.spent_nanos) == (0, 1_200_000_000)


async def test_another_period_counts_from_nothing(do: Do, spender: Spender) -> None:
    """Memory and disk start the new period together, also with a request still running."""
    await spender.spend(10**12)
    ticket = await spender.hold(2 * 10**9)
    key = spender.key
    assert key.cap.spent_nanos == 1_200_000_000
    shown = await do("key.set", key_id=key.public_id, period="weekly")
    assert (shown["period"], shown["spent_usd"]) == ("weekly", "0.00")
    await spender.settle(ticket, 10**12)
    (listed,) = (await do("key.list", email=ADA))["keys"]
    assert listed["spent_usd"] == "1.20"
    assert listed["used_usd"] == "2.40"
    assert key.cap.spent_nanos == 1_200_000_000


async def test_an_account_has_a_bounded_number_of_keys(
    core: Core, do: Do, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than allowed is refused, and revoking one makes room."""
    monkeypatch.setattr("reseller.actions.keys.MOST_KEYS", 2)
    first = await do("key.create", email=ada, name="one")
    await do("key.create", email=ada, name="two")
    with pytest.raises(Conflict, match="2 keys"):
        await do("key.create", email=ada, name="three")
    await do("key.revoke", key_id=first["id"])
    await do("key.create", email=ada, name="three")
    assert len(core.live.keys) == 2
