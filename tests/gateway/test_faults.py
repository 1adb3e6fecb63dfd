"""Everything that can go wrong upstream: what the customer sees, and that the books hold."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.asking import (
    ask,
    body,
    exposures,
    give_up,
    holds,
    is_whole_error,
    stream,
    usage_rows,
)
from tests.gateway.conftest import LARGE, SMALL, Stand, running_shop

FAULT = "sandbox/fault-"

# The answer is whole and its cost is known at once.
WHOLE = (
    *("cost-exponent", "cost-text", "cost-zero", "cached-tokens", "cache-write-tokens", "byok"),
    *("other-model", "no-generation-id", "null-id", "leading-whitespace", "metadata"),
    *("wrong-content-type", "huge-frame"),
)
WHOLE_STREAMS = (
    *(name for name in WHOLE if name != "leading-whitespace"),
    *("usage-twice", "usage-empty-choices", "usage-null-finish", "usage-repeated-finish"),
    *("no-done", "slow-drip", "crlf", "comments-everywhere", "no-final-newline"),
    *("crlf+no-final-newline", "comments-everywhere+no-done", "no-generation-id+huge-frame"),
)
# The answer is whole, but what it cost cannot be believed.
DOUBTED = (
    *("cost-null", "cost-absent", "cost-negative", "cost-minus-one", "cost-huge-exponent"),
    *("cost-tiny-exponent", "cost-billion", "cost-nan", "cost-infinity", "cost-true"),
)
# The answer breaks off, its id known.
BREAKS = (
    *("headers-then-drop", "drop-mid-stream", "drop-mid-frame", "drop-before-usage"),
    *("end-before-usage", "no-generation-id+drop-before-usage"),
)
# Both shapes of an error inside a stream, with and without an end after it.
SHAPES = ("", "-bare", "-no-done", "-bare-no-done")
# Refusals: what the upstream answers, and what the customer gets.
REFUSED = {
    "400": (400, "invalid_request", False),
    "400-context": (400, "context_length_exceeded", False),
    "401": (503, "service_unavailable", True),
    "402-credits": (503, "service_unavailable", True),
    "402-prompt": (503, "service_unavailable", True),
    "403-moderation": (403, "content_moderated", False),
    "403-budget": (503, "service_unavailable", True),
    "404-model": (404, "model_unavailable", False),
    "408": (408, "request_timeout", False),
    "413": (413, "request_too_large", False),
    "422": (422, "unprocessable", False),
    "429": (429, "upstream_busy", True),
    "429-retry-after": (429, "upstream_busy", True),
    "429-limit": (429, "upstream_busy", True),
    "500": (502, "upstream_error", True),
    "502": (502, "upstream_error", True),
    "503": (503, "upstream_overloaded", True),
    "503-retry-after": (503, "upstream_overloaded", True),
    "529": (503, "upstream_overloaded", True),
}


def shows(stand: Stand, name: str) -> str:
    """Let the next request show a fault, or several at once; gives the model to ask."""
    assert stand.simulator.faults.add(name)
    return SMALL


async def newest(stand: Stand) -> dict[str, Any]:
    """The row of the request that was settled last."""
    return (await usage_rows(stand))[-1]


async def test_odd_but_whole_answers_are_charged_at_once(stand: Stand) -> None:
    """The answer arrives and is charged from its own usage, nothing left pending."""
    key = await stand.customer()
    for name in WHOLE:
        answer = await stand.chat(key, shows(stand, name))
        assert answer.status_code == 200, (name, answer.text)
        found = answer.json()
        assert found["choices"][0]["message"]["content"], name
        assert found["id"].startswith("req_")
        assert not stand.shop.pending.waiting, name
        charged = (await newest(stand))["charge_nanos"]
        assert round(found["usage"]["cost"] * 10**9) == charged, name
    await stand.check_books()


async def test_odd_but_whole_streams_are_charged_at_once(stand: Stand) -> None:
    """Every word of the stream arrives once, it ends with [DONE], and it is charged once."""
    key = await stand.customer()
    plain = await stream(stand, key)
    for name in WHOLE_STREAMS:
        found = await stream(stand, key, shows(stand, name))
        assert (found.status, found.is_done, found.text) == (200, True, plain.text), name
        assert {frame["id"] for frame in found.frames} == {found.headers["x-request-id"]}, name
        assert not stand.shop.pending.waiting, name
        await stand.idle()
        charged = (await newest(stand))["charge_nanos"]
        assert round(found.usages[-1]["cost"] * 10**9) == charged, name
    await stand.check_books()
    assert len(await usage_rows(stand)) == 1 + len(WHOLE_STREAMS)


async def test_the_kinds_of_token_are_told(stand: Stand) -> None:
    """Cached, cache-written and reasoning tokens are counted apart, as the upstream did."""
    key = await stand.customer()
    text = "a long prompt " * 20
    for name in ("cached-tokens", "cache-write-tokens"):
        await stand.post("/v1/chat/completions", body(FAULT + name, text), key)
    await stand.chat(key, "sandbox/reasoner")
    await stand.check_books()
    cached, written, reasoned = await usage_rows(stand)
    assert cached["cached_tokens"] == cached["prompt_tokens"] // 2 > 0
    assert written["cache_write_tokens"] == written["prompt_tokens"] * 9 // 10 > 0
    assert reasoned["reasoning_tokens"] == 16


async def test_an_own_provider_key_costs_fee_and_inference(stand: Stand) -> None:
    """With BYOK the reported cost is only the fee; what the provider bills is added."""
    key = await stand.customer()
    answer = await stand.chat(key, FAULT + "byok")
    assert answer.json()["usage"]["cost"] > 0
    await stand.check_books()
    (billed,) = stand.simulator.books.rows
    assert billed.cost == 0
    assert billed.upstream_inference_cost > 0


async def test_no_id_anywhere_is_charged_all_the_same(stand: Stand) -> None:
    """A known cost needs no id."""
    key = await stand.customer()
    assert (await stand.chat(key, FAULT + "no-id-anywhere")).status_code == 200
    assert (await stream(stand, key, FAULT + "no-id-anywhere")).is_done
    await stand.verify()
    rows = await usage_rows(stand)
    billed = [row.cost for row in stand.simulator.books.rows]
    assert [row["cost_picos"] for row in rows] == [int(cost * 10**12) for cost in billed]
    assert not await holds(stand)


async def test_the_body_id_is_on_disk_before_a_byte_leaves(stand: Stand) -> None:
    """Without the header the first frame's id is written down before that frame is sent."""
    key = await stand.customer()
    asked = body(shows(stand, "no-generation-id+wait-mid-stream"), stream=True)
    headers = {"authorization": f"Bearer {key}"}
    async with stand.http.stream(
        "POST", f"{stand.url}/v1/chat/completions", json=asked, headers=headers
    ) as answer:
        parts = answer.aiter_raw()
        while b"data:" not in await anext(parts):
            pass
        (row,) = await stand.shop.core.reader.rows("select generation_id from hold")
        assert row["generation_id"].startswith("gen-")
        stand.simulator.gate.release()
        async for _ in parts:
            pass
    await stand.check_books()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_unbelievable_cost_is_never_charged(stand: Stand, is_stream: bool) -> None:
    """The answer arrives with a cost of null, the operator hears of it, and the generation
    record settles it. Nothing stalls, however many digits the number has."""
    key = await stand.customer()
    for count, name in enumerate(DOUBTED, 1):
        started = time.monotonic()
        if is_stream:
            found = await stream(stand, key, shows(stand, name))
            assert found.is_done, name
            shown = found.usages[-1]
        else:
            answer = await stand.chat(key, shows(stand, name))
            assert answer.status_code == 200, name
            shown = answer.json()["usage"]
        assert time.monotonic() - started < 2, name
        assert shown["cost"] is None, name
        assert shown["total_tokens"] > 0, name
        await stand.idle()
        assert stand.shop.core.live.alarms.standing["cost_unknown"].times == count
        assert len(stand.shop.pending.waiting) == count, name
    assert await usage_rows(stand) == []
    await stand.check_books()
    assert all(row["charge_nanos"] > 0 for row in await usage_rows(stand))


@pytest.mark.parametrize("name", ["usage-absent", "usage-null"])
async def test_an_answer_without_usage_is_settled_from_its_record(stand: Stand, name: str) -> None:
    """A proper end without usage is pending until the record is there."""
    key = await stand.customer()
    assert (await stand.chat(key, FAULT + name)).status_code == 200
    assert (await stream(stand, key, FAULT + name)).is_done
    await stand.idle()
    assert len(stand.shop.pending.waiting) == 2
    await stand.check_books()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_refusals_are_reworded_and_cost_nothing(stand: Stand, is_stream: bool) -> None:
    """Status, code and retry header fit the cause; the hold is gone; nothing is passed on."""
    key = await stand.customer()
    for name, (status, code, is_retried) in REFUSED.items():
        answer = await stand.chat(key, shows(stand, name), stream=is_stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), name
        assert answer.headers["x-should-retry"] == str(is_retried).lower(), name
        assert is_whole_error(answer), name
        assert "sandbox" not in answer.text, name
        assert "upstream.invalid" not in answer.text, name
        await stand.idle()
        assert not await holds(stand), name
    await stand.verify()
    assert (await stand.balance())["balance_usd"] == "10.00"


async def test_retry_after_is_passed_on(stand: Stand) -> None:
    """The upstream's hint reaches the customer; without one there is a second's wait."""
    key = await stand.customer()
    for name, wait in (("429-retry-after", "7"), ("503-retry-after", "3"), ("429", "1")):
        answer = await stand.chat(key, FAULT + name)
        assert answer.headers["retry-after"] == wait
        assert answer.headers["retry-after-ms"] == wait + "000"


async def test_the_operators_own_trouble_is_an_alarm(stand: Stand) -> None:
    """The operator hears what the upstream said of the account; customers are told to wait."""
    key = await stand.customer()
    alarms = stand.shop.core.live.alarms
    for name in ("401", "402-credits", "402-prompt", "403-budget"):
        alarms.standing.clear()
        answer = await stand.chat(key, shows(stand, name))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"
        for word in ("credit", "balance", "budget", "key", "upstream"):
            assert word not in answer.json()["error"]["message"].lower()
        kind = "upstream_balance" if name.startswith("402") else "upstream_key"
        assert kind in {alarm.kind for alarm in alarms.unsaved}, name
        alarms.unsaved.clear()


@pytest.mark.parametrize("name", ["504", "524"])
async def test_a_timeout_at_the_edge_may_have_been_billed(stand: Stand, name: str) -> None:
    """524 is the edge's word: the request may be running behind it, so its hold stays until it
    is given up as exposure. 504 is the upstream's own refusal."""
    key = await stand.customer()
    answer = await stand.chat(key, FAULT + name)
    assert answer.status_code == 504
    assert answer.headers["x-should-retry"] == "false"
    if name == "524":
        assert len(await holds(stand)) == 1
        await give_up(stand)
        (row,) = await exposures(stand)
        assert row["charge_nanos"] == 0
    await stand.verify()
    assert not await holds(stand)
    assert (await stand.balance())["balance_usd"] == "10.00"


async def test_nothing_listens_upstream(stand: Stand) -> None:
    """A refused connection was provably never sent: released at once, a retry is safe."""
    key = await stand.customer()
    await stand.simulator.stop()
    for is_stream in (False, True):
        answer = await stand.chat(key, stream=is_stream)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"
        assert answer.headers["x-should-retry"] == "true"
    await stand.idle()
    assert not stand.shop.pending.waiting
    assert not await holds(stand)
    assert (await stand.balance())["held_usd"] == "0.00"
    assert not await exposures(stand)
    await stand.verify()


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", ["close-before-headers", "bill-then-close-before-headers"])
async def test_a_break_before_the_headers_becomes_exposure(
    stand: Stand, name: str, is_stream: bool
) -> None:
    """Nobody knows whether it was billed: pending without an id, after a day released and
    written down exactly once. The customer did not leave and is charged nothing."""
    key = await stand.customer()
    answer = await stand.chat(key, FAULT + name, stream=is_stream)
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "false"
    (hold,) = await holds(stand)
    assert hold["parked_at"] is not None
    assert hold["generation_id"] is None
    await stand.shop.pending.settle_now()
    assert len(await holds(stand)) == 1
    await give_up(stand)
    (row,) = await exposures(stand)
    assert (row["held_nanos"], row["charge_nanos"]) == (hold["held_nanos"], 0)
    assert "exposure" in stand.shop.core.live.alarms.standing
    assert (await stand.balance())["balance_usd"] == "10.00"
    await stand.verify()
    assert not await holds(stand)


async def test_a_hang_before_the_headers_ends_in_time(tmp_path: Path) -> None:
    """An upstream that says nothing is left after `read_timeout_s`; the hold stays pending."""
    async with running_shop(tmp_path / "data", upstream__read_timeout_s=0.2) as stand:
        key = await stand.customer()
        answer = await stand.chat(key, FAULT + "hang-before-headers")
        assert answer.status_code == 502
        assert answer.headers["x-should-retry"] == "false"
        assert len(await holds(stand)) == 1
        stand.simulator.gate.release()
        await give_up(stand)
        assert len(await exposures(stand)) == 1
        await stand.verify()


async def test_a_stream_that_breaks_is_settled_from_its_record(stand: Stand) -> None:
    """The customer sees an error, as a status before the first word and as one frame after it;
    what the upstream billed is charged once it is known."""
    key = await stand.customer()
    for count, name in enumerate(BREAKS, 1):
        found = await stream(stand, key, shows(stand, name))
        if name == "headers-then-drop":
            assert found.status == 502
        else:
            assert found.text, name
            assert found.error is not None, name
            assert found.error["code"] == "upstream_cut_off", name
            assert not found.is_done, name
            assert sum("error" in frame for frame in found.frames) == 1, name
        await stand.idle()
        assert len(stand.shop.pending.waiting) == count, name
    await stand.check_books()
    assert all(row["charge_nanos"] > 0 for row in await usage_rows(stand))


@pytest.mark.parametrize("name", ["headers-then-drop", "drop-mid-stream"])
async def test_a_json_answer_that_breaks_is_settled_from_its_record(
    stand: Stand, name: str
) -> None:
    """The customer gets 502 and no retry; the record settles it."""
    key = await stand.customer()
    answer = await stand.chat(key, FAULT + name)
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "false"
    await stand.check_books()
    assert len(await usage_rows(stand)) == 1


async def test_an_error_as_first_frame_has_its_true_status(stand: Stand) -> None:
    """The status was not sent yet, so the error is not a frame; the SDK tries again and the
    second answer is whole. What the first cost (nothing) is settled from its record."""
    key = await stand.customer()
    for shape in SHAPES:
        name = "error-first-frame" + shape
        answer = await stand.chat(key, shows(stand, name), stream=True)
        assert answer.status_code == 502, name
        assert answer.headers["x-should-retry"] == "true", name
    model = shows(stand, "error-first-frame")
    client = stand.sdk(key).chat.completions
    chunks = await client.create(model=model, messages=ask(), stream=True)
    assert len([chunk async for chunk in chunks]) > 5
    await stand.check_books()
    assert sum(row["charge_nanos"] > 0 for row in await usage_rows(stand)) == 1


async def test_an_error_mid_stream_is_one_frame(stand: Stand) -> None:
    """The SDK raises APIError with our words; what was billed is charged."""
    key = await stand.customer()
    client = stand.sdk(key).chat.completions
    for shape in SHAPES:
        name = "error-mid-stream" + shape
        found = await stream(stand, key, shows(stand, name))
        assert found.text, name
        assert found.error is not None, name
        assert found.error.keys() == {"message", "type", "param", "code"}, name
        assert found.frames[-1]["choices"][0]["finish_reason"] == "error", name
        model = shows(stand, name)
        chunks = await client.create(model=model, messages=ask(), stream=True)
        with pytest.raises(openai.APIError, match="provider"):
            async for _ in chunks:
                pass
    await stand.check_books()
    assert all(row["charge_nanos"] > 0 for row in await usage_rows(stand))


async def test_a_provider_failure_under_200_is_an_error(stand: Stand) -> None:
    """A whole answer whose choice failed is an error; billed nothing, so a retry is safe."""
    key = await stand.customer()
    answer = await stand.chat(key, FAULT + "provider-failure")
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "true"
    answer = await stand.chat(key, FAULT + "error-first-frame")
    assert answer.status_code == 502
    await stand.check_books()
    assert (await stand.balance())["balance_usd"] == "10.00"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_not_json_is_an_error(stand: Stand, is_stream: bool) -> None:
    """A page of HTML under 200 is 502; what it cost is asked for."""
    key = await stand.customer()
    answer = await stand.chat(key, FAULT + "not-json", stream=is_stream)
    assert answer.status_code == 502
    assert "<" not in answer.text
    await stand.check_books()
    assert len(await usage_rows(stand)) == 1


async def test_a_cost_above_the_hold_is_charged_from_what_is_free(stand: Stand) -> None:
    """An upstream that overruns its cap is paid in full while free balance lasts."""
    key = await stand.customer()
    await stand.chat(key, FAULT + "overrun", max_tokens=100)
    await stand.check_books()
    (row,) = await usage_rows(stand)
    assert row["charge_nanos"] > 4_000 * 4_000 * 12 // 10
    assert row["written_off_nanos"] == 0


async def test_what_no_balance_covers_is_written_off(stand: Stand) -> None:
    """The balance ends at zero, never below; revenue stays gross; the operator hears of it."""
    key = await stand.customer("poor@example.com", credit="0.002")
    answer = await stand.chat(key, FAULT + "overrun", max_tokens=100)
    assert answer.status_code == 200
    await stand.check_books()
    assert (await stand.balance("poor@example.com"))["balance_usd"] == "0.00"
    (row,) = await usage_rows(stand)
    assert 0 < row["written_off_nanos"] == row["charge_nanos"] - 2_000_000
    moved = await stand.rows("select kind, amount_nanos from transfer where kind != 'grant'")
    assert sum(m["amount_nanos"] for m in moved) == row["charge_nanos"]
    assert "write_off" in stand.shop.core.live.alarms.standing


async def test_a_record_that_never_comes_is_charged_by_estimate(stand: Stand) -> None:
    """Not before a day and three real answers; then our own count is charged and flagged."""
    key = await stand.customer()
    await stream(stand, key, FAULT + "record-never", "[[tokens=40]] go")
    await stand.idle()
    for _ in range(4):
        await stand.shop.pending.settle_now()
    assert len(stand.shop.pending.waiting) == 1
    await give_up(stand)
    (row,) = await usage_rows(stand)
    assert (row["outcome"], row["cost_picos"]) == ("estimated", None)
    # 40 tokens at 4 USD a million with 20 % on top, and the prompt.
    assert 40 * 4_800 <= row["charge_nanos"] <= 2 * 40 * 4_800
    assert "estimated" in stand.shop.core.live.alarms.standing
    await stand.verify()


async def test_an_unreachable_record_is_never_given_up(stand: Stand) -> None:
    """A day of failing questions is no answer: only real ones count towards an estimate."""
    key = await stand.customer()
    await stream(stand, key, FAULT + "drop-before-usage")
    await stand.idle()
    stand.simulator.faults.add("generation-500", count=40)
    stand.simulator.record_clock.advance(100)
    stand.clock.advance(90_000)
    for _ in range(5):
        await stand.shop.pending.settle_now()
    assert len(stand.shop.pending.waiting) == 1
    stand.simulator.faults.clear()
    await stand.check_books()


async def test_asking_out_of_turn_does_not_add_turns(stand: Stand) -> None:
    """However often the hourly job or the operator asks, each request keeps one turn, and turns
    come at doubled distances."""
    key = await stand.customer()
    await stream(stand, key, shows(stand, "record-never"))
    await stand.idle()
    for _ in range(6):
        await stand.shop.pending.settle_now()
    asked = sum(r.path.startswith("/api/v1/generation") for r in stand.simulator.received)
    assert asked == 6
    stand.clock.advance(65)
    stand.shop.pending._wake.set()
    await asyncio.sleep(0.05)
    again = sum(r.path.startswith("/api/v1/generation") for r in stand.simulator.received)
    assert again == 7


@pytest.mark.parametrize("name", ["record-late", "record-null-cost"])
async def test_a_record_late_or_without_cost(stand: Stand, name: str) -> None:
    """A late record settles the cost; one without a cost counts as none."""
    key = await stand.customer()
    await stream(stand, key, FAULT + name)
    await stand.idle()
    stand.simulator.record_clock.advance(30)
    await stand.shop.pending.settle_now()
    assert len(stand.shop.pending.waiting) == 1
    if name == "record-late":
        await stand.check_books()
        return
    await give_up(stand)
    (row,) = await usage_rows(stand)
    assert row["outcome"] == "estimated"
    await stand.verify()


async def test_a_price_that_moved_is_quoted_again(stand: Stand) -> None:
    """No endpoint under the price limit: quoted at the dearest endpoint, the difference held,
    and asked once more; the customer notices nothing."""
    key = await stand.customer()
    stand.simulator.faults.add("404-constraint")
    answer = await stand.chat(key, LARGE)
    assert answer.status_code == 200
    sent = [r for r in stand.simulator.received if r.path.endswith("/chat/completions")]
    assert len(sent) == 2
    assert b'"completion":18.75' in sent[0].body
    assert b'"completion":26.25' in sent[1].body
    await stand.check_books()
    (row,) = await usage_rows(stand)
    assert row["charge_nanos"] > 0


async def test_a_price_that_moved_twice_is_told(stand: Stand) -> None:
    """One more call, not more."""
    key = await stand.customer()
    stand.simulator.faults.add("404-constraint", count=2)
    answer = await stand.chat(key, LARGE)
    assert answer.status_code == 404
    assert sum(r.method == "POST" for r in stand.simulator.received) == 2
    await stand.verify()
    assert (await stand.balance())["balance_usd"] == "10.00"


async def test_a_moved_price_that_the_balance_cannot_carry(stand: Stand) -> None:
    """503 in plain words, nothing charged, nothing held, one call made."""
    key = await stand.customer("poor@example.com", credit="0.03")
    stand.simulator.faults.add("404-constraint")
    answer = await stand.chat(key, LARGE)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "price_moved"
    assert sum(r.method == "POST" for r in stand.simulator.received) == 1
    await stand.verify()
    shown = await stand.balance("poor@example.com")
    assert (shown["balance_usd"], shown["held_usd"]) == ("0.03", "0.00")


async def test_a_silent_upstream_opens_the_stream_early(tmp_path: Path) -> None:
    """After `early_open_s` the stream begins with comments; the later answer follows, and a
    later refusal is one frame in the dialect's shape."""
    async with running_shop(tmp_path / "data", server__early_open_s=0.05) as stand:
        stand.shop.engine.keep_alive_s = 0.05
        key = await stand.customer()
        found = await stream(stand, key, SMALL, "[[latency=300]] go")
        assert found.is_done
        assert found.comments >= 3
        stand.simulator.behaviour.latency_ms = 0
        task = asyncio.create_task(stream(stand, key, shows(stand, "503+hang-before-headers")))
        await stand.simulator.gate.wait_held()
        await asyncio.sleep(0.1)
        stand.simulator.gate.release()
        failed = await task
        assert failed.status == 200
        assert failed.comments >= 1
        assert failed.error is not None
        assert failed.error["code"] == "upstream_overloaded"
        assert len(failed.frames) == 1
        await stand.check_books()


async def test_json_is_never_opened_early(tmp_path: Path) -> None:
    """A JSON answer keeps its true status however long the upstream is silent; so does a stream
    where the setting is 0."""
    flags: dict[str, Any] = {"server__early_open_s": 0.02}
    for is_stream in (False, True):
        async with running_shop(tmp_path / f"data{is_stream}", **flags) as stand:
            key = await stand.customer()
            name = shows(stand, "503+hang-before-headers")
            task = asyncio.create_task(stand.chat(key, name, stream=is_stream))
            await stand.simulator.gate.wait_held()
            await asyncio.sleep(0.06)
            stand.simulator.gate.release()
            assert (await task).status_code == 503
            await stand.verify()
        flags = {"server__early_open_s": 0}
