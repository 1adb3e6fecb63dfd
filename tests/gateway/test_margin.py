"""What is charged for a cost: rules, minima, holds that are open while prices change, guards."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from reseller.actions.table import perform
from reseller.clock import ShiftedClock
from reseller.ids import Ids
from reseller.money.ledger import House, Transfer, TransferKind
from reseller.sandbox.upstream import UpstreamSimulator
from tests.gateway.asking import body, holds, stream, usage_rows
from tests.gateway.conftest import LARGE, SMALL, Stand, running_shop

EMAIL = "ada@example.com"
LATEST = "~sandbox/small-latest"
TIERED = "sandbox/tiered"


async def price(stand: Stand, pattern: str, **more: Any) -> None:
    """Set a price rule."""
    await perform(stand.shop.core, "pricing.set", {"pattern": pattern, **more})


async def claw_back(stand: Stand, nanos: int) -> None:
    """Take back what was paid in and is gone: the balance may fall below zero."""
    (account,) = stand.shop.core.live.accounts
    taken = Transfer(account, House.CASH, nanos, TransferKind.CLAW_BACK, "claw:test", 1)
    await stand.shop.core.journal.move([taken])


def marked_up(cost_picos: int, bps: int) -> int:
    """The charge for a cost: one rounding, upwards."""
    return -(-cost_picos * (10_000 + bps) // 10_000_000)


async def last(stand: Stand) -> dict[str, Any]:
    """The newest usage record."""
    return (await usage_rows(stand))[-1]


def sent(stand: Stand) -> dict[str, Any]:
    """The body of the last call upstream, numbers exact."""
    asked = [r for r in stand.simulator.received if r.method == "POST"]
    found: dict[str, Any] = json.loads(asked[-1].body, parse_float=Decimal)
    return found


async def test_a_price_change_leaves_open_holds_alone(stand: Stand) -> None:
    """A running request is charged by the rule it was quoted with, the next one by the new."""
    key = await stand.customer()
    stand.simulator.faults.add("wait-mid-stream")
    running = asyncio.create_task(stream(stand, key))
    await stand.simulator.gate.wait_held()
    await price(stand, "*", markup="100%")
    stand.simulator.gate.release()
    assert (await running).is_done
    await stand.chat(key)
    await stand.check_books()
    first, second = await usage_rows(stand)
    assert first["charge_nanos"] == marked_up(first["cost_picos"], 2_000)
    assert second["charge_nanos"] == marked_up(second["cost_picos"], 10_000)


async def test_a_restart_keeps_the_rule_of_a_hold(tmp_path: Path) -> None:
    """What was pending is settled by the stored rule, although the shop's markup is another."""
    upstream = UpstreamSimulator(ShiftedClock(), Ids(), list_fault_models=True)
    await upstream.start()
    flags: dict[str, Any] = {"pricing__fixed_usd": "0.001", "pricing__minimum_usd": "0.0012"}
    try:
        async with running_shop(tmp_path / "data", upstream=upstream, **flags) as stand:
            key = await stand.customer()
            await stream(stand, key, "sandbox/fault-drop-before-usage")
        async with running_shop(
            tmp_path / "data", upstream=upstream, pricing__markup="300%"
        ) as stand:
            await stand.check_books()
            row = await last(stand)
            charged = marked_up(row["cost_picos"], 2_000) + 1_000_000
            assert row["charge_nanos"] == max(charged, 1_200_000)
    finally:
        await upstream.stop()


async def test_a_claw_back_while_a_hold_is_open(stand: Stand) -> None:
    """The balance may fall below zero by the claw-back alone; the hold is charged in full even
    then, nothing is written off, and after that nothing more can be bought."""
    key = await stand.customer(credit="1")
    stand.simulator.faults.add("wait-mid-stream")
    running = asyncio.create_task(stream(stand, key))
    await stand.simulator.gate.wait_held()
    await claw_back(stand, 10**9)
    stand.simulator.gate.release()
    assert (await running).is_done
    await stand.check_books()
    row = await last(stand)
    assert row["charge_nanos"] > 0 == row["written_off_nanos"]
    (account,) = stand.shop.core.live.accounts.values()
    assert account.balance.balance_nanos == -row["charge_nanos"]
    refused = await stand.chat(key)
    assert refused.status_code == 402
    assert "-$" in refused.json()["error"]["message"] or "$-" in refused.json()["error"]["message"]
    await perform(
        stand.shop.core, "credit.grant", {"email": EMAIL, "usd": "1", "reason": "paid again"}
    )
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_an_overrun_after_a_claw_back_is_written_off(stand: Stand) -> None:
    """What exceeds the hold is paid from free money only, and there is none."""
    key = await stand.customer(credit="1")
    stand.simulator.faults.add("wait-mid-stream+overrun")
    running = asyncio.create_task(stream(stand, key, max_tokens=50))
    await stand.simulator.gate.wait_held()
    held = (await holds(stand))[0]["held_nanos"]
    await claw_back(stand, 10**9)
    stand.simulator.gate.release()
    assert (await running).is_done
    await stand.check_books()
    row = await last(stand)
    assert row["charge_nanos"] - row["written_off_nanos"] == held
    (account,) = stand.shop.core.live.accounts.values()
    assert account.balance.balance_nanos == -held


async def test_fixed_part_and_minimum(stand: Stand) -> None:
    """Both are added after the rounding, and neither where the upstream billed nothing."""
    key = await stand.customer()
    await price(stand, SMALL, markup="50%", fixed_usd="0.002", minimum_usd="0.001")
    await stand.chat(key)
    row = await last(stand)
    assert row["charge_nanos"] == marked_up(row["cost_picos"], 5_000) + 2_000_000
    await price(stand, SMALL, markup="50%", fixed_usd="0", minimum_usd="0.05")
    await stand.chat(key)
    assert (await last(stand))["charge_nanos"] == 50_000_000
    stand.simulator.faults.add("cost-zero")
    answer = await stand.chat(key)
    row = await last(stand)
    assert (row["cost_picos"], row["charge_nanos"]) == (0, 0)
    assert answer.json()["usage"]["cost"] == 0
    await stand.check_books()


async def test_which_rule_wins(stand: Stand) -> None:
    """The account's own, then the priority, then the longer pattern."""
    key = await stand.customer()
    for pattern, markup, more in (
        ("*", "10%", {}),
        ("sandbox/*", "30%", {}),
        ("sandbox/s*", "25%", {}),
        ("*small", "60%", {"priority": 5}),
        ("sandbox/*", "70%", {"email": EMAIL}),
    ):
        await price(stand, pattern, markup=markup, **more)
        await stand.chat(key)
        row = await last(stand)
        assert row["charge_nanos"] == marked_up(row["cost_picos"], int(markup[:-1]) * 100)
    other = await stand.customer("bob@example.com")
    await stand.chat(other)
    row = await last(stand)
    assert row["markup_bps"] == 6_000
    await stand.check_books()


async def test_blocked_models(stand: Stand) -> None:
    """A blocked model is neither listed nor served, under none of its names; a rule for one
    account may open it again."""
    key = await stand.customer()
    await price(stand, SMALL, block=True)
    for name in (SMALL, LATEST):
        refused = await stand.chat(key, name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    listed = (await stand.http.get(f"{stand.url}/v1/models")).json()["data"]
    assert not {SMALL, LATEST} & {model["id"] for model in listed}
    assert (await stand.http.get(f"{stand.url}/v1/models/{SMALL}")).status_code == 404
    await price(stand, SMALL, markup="20%", block=False, email=EMAIL)
    assert (await stand.chat(key)).status_code == 200
    other = await stand.customer("bob@example.com")
    assert (await stand.chat(other)).status_code == 403
    await stand.check_books()


async def test_an_alias_has_the_price_of_what_it_stands_for(stand: Stand) -> None:
    """Rules and allow-lists see the model that answers, not the name it was asked by."""
    await price(stand, SMALL, markup="90%")
    key = await stand.customer(models=[SMALL])
    answer = await stand.chat(key, LATEST)
    assert answer.status_code == 200
    assert sent(stand)["model"] == LATEST
    row = await last(stand)
    assert row["markup_bps"] == 9_000
    await stand.check_books()


async def test_free_models_are_hidden_unless_wanted(tmp_path: Path, stand: Stand) -> None:
    """With `pricing.show_free` they are listed, served, and cost nothing, even without credit."""
    free = "sandbox/mini-free:free"
    key = await stand.customer()
    assert (await stand.chat(key, free)).status_code == 404
    async with running_shop(tmp_path / "free", pricing__show_free=True) as other:
        poor = await other.customer(credit=None)
        answer = await other.chat(poor, free)
        assert answer.status_code == 200
        assert answer.json()["usage"]["cost"] == 0
        await other.check_books()


async def test_a_keys_models(stand: Stand) -> None:
    """An allow-list with wildcards bounds what a key may ask and what it is shown."""
    key = await stand.customer(models=["sandbox/l*", "*/steady"])
    assert (await stand.chat(key, LARGE)).status_code == 200
    assert (await stand.chat(key, "sandbox/steady")).status_code == 200
    for name in (SMALL, LATEST, "sandbox/reasoner"):
        refused = await stand.chat(key, name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    headers = {"authorization": f"Bearer {key}"}
    listed = (await stand.http.get(f"{stand.url}/v1/models", headers=headers)).json()["data"]
    assert {model["id"] for model in listed} == {LARGE, "sandbox/steady"}
    answer = await stand.http.get(f"{stand.url}/v1/models/{SMALL}", headers=headers)
    assert answer.status_code == 404
    await stand.check_books()


async def test_prices_in_the_list_are_the_callers(stand: Stand) -> None:
    """List prices with the markup of whoever asks, exact."""
    key = await stand.customer()
    await price(stand, LARGE, markup="50%", email=EMAIL)
    headers = {"authorization": f"Bearer {key}"}
    mine = (await stand.http.get(f"{stand.url}/v1/models/{LARGE}", headers=headers)).json()
    theirs = (await stand.http.get(f"{stand.url}/v1/models/{LARGE}")).json()
    assert mine["pricing"]["prompt"] == "0.00000375"
    assert theirs["pricing"]["prompt"] == "0.000003"


async def test_the_price_guard_is_exact(stand: Stand) -> None:
    """`provider.max_price` is 1.5 times the listed price in USD per million tokens, all digits,
    rounded up at the twelfth decimal."""
    key = await stand.customer()
    await stand.chat(key, LARGE)
    assert sent(stand)["provider"] == {
        "max_price": {"prompt": Decimal("3.75"), "completion": Decimal("18.75")}
    }
    await stand.chat(key, SMALL)
    limits = sent(stand)["provider"]["max_price"]
    for name, listed in (("prompt", "0.1416666666666667"), ("completion", "0.5833333333333333")):
        over = limits[name] - Decimal(listed) * Decimal("1.5")
        assert 0 <= over < Decimal("0.000000000003")
    await stand.check_books()


async def test_a_price_within_the_guard_is_charged_in_full(stand: Stand) -> None:
    """A price that rose by less than the guard is paid and passed on, without a second call."""
    key = await stand.customer()
    dearer = {"prompt": "0.0000002", "completion": "0.0000008"}
    stand.simulator.catalogue.set_price(SMALL, dearer)
    assert (await stand.chat(key)).status_code == 200
    assert sum(r.method == "POST" for r in stand.simulator.received) == 1
    await stand.check_books()
    row = await last(stand)
    assert row["cost_picos"] >= 20 * 800_000


async def test_a_price_beyond_the_guard(stand: Stand) -> None:
    """No endpoint fits: the dearest is asked for afresh, held, and charged; where the operator's
    books do not know it yet nobody loses."""
    key = await stand.customer()
    stand.simulator.catalogue.set_price(SMALL, {"prompt": "0.000001", "completion": "0.000004"})
    answer = await stand.chat(key)
    assert answer.status_code == 200
    assert sum(r.method == "POST" for r in stand.simulator.received) == 2
    assert sent(stand)["provider"]["max_price"]["completion"] == 6
    await stand.check_books()
    row = await last(stand)
    assert row["charge_nanos"] == marked_up(row["cost_picos"], 2_000) >= 20 * 4_800


async def test_long_prompts_are_held_at_their_tier(stand: Stand) -> None:
    """The tier that the prompt's bound reaches is what is held and allowed, and a charge stays
    within its hold."""
    key = await stand.customer()
    for words, completion in ((10, "4.8"), (40_000, "7.2")):
        stand.simulator.faults.add("bill-then-wait-before-headers")
        asked = body(TIERED, "word " * words, max_tokens=1_000)
        waiting = asyncio.create_task(stand.post("/v1/chat/completions", asked, key))
        await stand.simulator.gate.wait_held()
        held = (await holds(stand))[0]["held_nanos"]
        (call,) = stand.shop.engine.running.values()
        assert Decimal(bytes(call.sending.max_price["completion"]).decode()) == Decimal(completion)
        stand.simulator.gate.release()
        assert (await waiting).status_code == 200
        row = await last(stand)
        assert row["charge_nanos"] <= held
        # The output part alone: 1,000 tokens, guarded, with the markup.
        assert held >= int(Decimal(completion) * 1_000 * 1_200)
    await stand.check_books()


async def test_choices_are_held_and_charged(stand: Stand) -> None:
    """`n` answers hold n times the output and cost what they cost."""
    key = await stand.customer()
    held = []
    for n in (1, 3):
        stand.simulator.faults.add("hang-before-headers")
        waiting = asyncio.create_task(stand.chat(key, LARGE, n=n, max_tokens=1_000))
        await stand.simulator.gate.wait_held()
        held.append((await holds(stand))[0]["held_nanos"])
        stand.simulator.gate.release()
        assert len((await waiting).json()["choices"]) == n
    assert 2.9 < held[1] / held[0] < 3
    await stand.check_books()
