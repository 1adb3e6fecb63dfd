"""Price rules: in force at once for new requests, and never over what the file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reseller.actions.table import perform
from reseller.clock import ShiftedClock
from reseller.config import load
from reseller.core import Core, open_core
from reseller.errors import Conflict, NotFound, Unprocessable
from reseller.ids import Ids
from tests.actions.conftest import ADA, Do

MODEL = "openai/gpt-4o"


def _bps(core: Core, email_account: int = 0) -> int:
    return core.live.prices.rule_for(email_account, MODEL).markup_bps


async def test_a_rule_prices_the_next_request(core: Core, do: Do) -> None:
    """Set, changed and removed: the price book follows at once."""
    assert _bps(core) == 2_000
    await do("pricing.set", pattern="openai/*", markup="40%")
    assert _bps(core) == 4_000
    await do("pricing.set", pattern="openai/*", fixed_usd="0.001", minimum_usd="0.01")
    rule = core.live.prices.rule_for(0, MODEL)
    assert (rule.markup_bps, rule.fixed_nanos, rule.minimum_nanos) == (4_000, 10**6, 10**7)
    await do("pricing.remove", pattern="openai/*")
    assert _bps(core) == 2_000
    with pytest.raises(NotFound, match="openai"):
        await do("pricing.remove", pattern="openai/*")


async def test_a_customers_own_rule_is_theirs(core: Core, do: Do, ada: str) -> None:
    """It beats general ones for them, and is nobody else's."""
    (account,) = core.live.accounts
    await do("pricing.set", pattern="openai/*", markup="40%", priority=9)
    shown = await do("pricing.set", pattern="*", markup="5", email=ada)
    assert shown["email"] == ADA
    assert (_bps(core, account), _bps(core)) == (500, 4_000)
    listed = (await do("pricing.list"))["rules"]
    assert [(r["pattern"], r["email"]) for r in listed] == [("*", ADA), ("openai/*", None)]
    await do("pricing.remove", pattern="*", email=ada)
    assert _bps(core, account) == 4_000


async def test_models_are_blocked_and_sold_again(core: Core, do: Do) -> None:
    """A rule that blocks needs no markup; taking the block off leaves the price."""
    await do("pricing.set", pattern=MODEL, block=True)
    assert core.live.prices.rule_for(0, MODEL).block
    await do("pricing.set", pattern=MODEL, block=False, markup="30")
    rule = core.live.prices.rule_for(0, MODEL)
    assert (rule.block, rule.markup_bps) == (False, 3_000)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, "markup"),
        ({"markup": "-5%"}, "markup"),
        ({"markup": "forty"}, "markup"),
        ({"markup": "10001%"}, "markup"),
        ({"markup": "1.234%"}, "markup"),
        ({"markup": "20", "fixed_usd": "-1"}, "fixed_usd"),
        ({"markup": "20", "minimum_usd": "1e5"}, "minimum_usd"),
        ({"markup": "20", "priority": 10**7}, "priority"),
        ({"markup": "20", "pattern": ""}, "pattern"),
        ({"markup": "20", "pattern": "a b"}, "pattern"),
        ({"markup": "20", "pattern": "x" * 201}, "pattern"),
        ({"markup": "20", "pattern": "openai/gpt-4o:free"}, "pattern"),
    ],
)
async def test_a_wrong_rule_changes_nothing(
    core: Core, do: Do, wrong: dict[str, object], named: str
) -> None:
    """The refusal names what is wrong."""
    with pytest.raises(Unprocessable, match=f"^{named}: "):
        await do("pricing.set", **({"pattern": "openai/*"} | wrong))
    assert not core.live.prices.rules


async def test_the_files_default_is_locked(
    core: Core, do: Do, clock: ShiftedClock, ids: Ids, tmp_path: Path
) -> None:
    """A markup in TOML beats a stored `*`, is listed with its line, and cannot be set here."""
    await do("pricing.set", pattern="*", markup="90%")
    assert _bps(core) == 9_000
    path = tmp_path / "reseller.toml"
    path.write_text('# ours\n[pricing]\nmarkup = "25%"\n')
    said = load(path, {}, {})
    config = replace(core.config, pricing=said.pricing, path=said.path, origins=said.origins)
    async with open_core(config, clock, ids) as other:
        assert _bps(other) == 2_500
        with pytest.raises(Conflict, match=r"pricing\.markup .*reseller\.toml line 3"):
            await perform(other, "pricing.set", {"pattern": "*", "markup": "50%"})
        listed = await perform(other, "pricing.list", {})
        assert listed["default"]["locked"]
        assert listed["default"]["origin"].endswith("line 3")
        assert [rule["overruled"] for rule in listed["rules"]] == [True]
        await perform(other, "pricing.set", {"pattern": "openai/*", "markup": "50%"})
        assert _bps(other) == 5_000


async def test_rules_survive_a_restart(core: Core, do: Do, clock: ShiftedClock, ids: Ids) -> None:
    """The next process sells by the same rules."""
    await do("pricing.set", pattern="openai/*", markup="12.5%", priority=-3)
    async with open_core(core.config, clock, ids) as other:
        assert other.live.prices.rules == core.live.prices.rules
        assert _bps(other) == 1_250
