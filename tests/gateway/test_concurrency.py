"""Many requests at once: no overdraft, nothing charged twice, every refusal says why."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from reseller.actions.table import perform
from tests.gateway.asking import ask, body, is_whole_error, stream, usage_rows
from tests.gateway.conftest import SMALL, Stand, running_shop

EMAIL = "ada@example.com"


async def many(stand: Stand, key: str, count: int, **more: Any) -> list[httpx.Response]:
    """So many requests at the same time, each on a connection of its own."""
    url, asked = f"{stand.url}/v1/chat/completions", body(**more)
    headers = {"authorization": f"Bearer {key}"}
    # 500 connections of httpx in one process keep the loop busy for seconds.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=headers
    ) as http:

        async def one() -> httpx.Response:
            async with http.post(url, json=asked) as answer:
                content = await answer.read()
                return httpx.Response(answer.status, headers=answer.headers, content=content)

        return await asyncio.gather(*(one() for _ in range(count)))


def codes(answers: list[httpx.Response]) -> Counter[str]:
    """How often each error code, or `ok`, came; each error is whole and says what to do."""
    found: Counter[str] = Counter()
    for answer in answers:
        if answer.status_code == 200:
            found["ok"] += 1
            continue
        assert is_whole_error(answer), answer.text
        error = answer.json()["error"]
        assert answer.status_code in (402, 429), answer.text
        assert "$" in error["message"] or "limit" in error["message"]
        assert ("retry-after-ms" in answer.headers) == (answer.status_code == 429)
        found[error["code"]] += 1
    return found


async def test_500_at_once_on_a_balance_for_20(stand: Stand) -> None:
    """The balance never goes below zero and is used up; nothing is written off; whoever is
    refused is told why and when to come back."""
    key = await stand.customer(credit="0.0004")
    found = codes(await many(stand, key, 500, max_tokens=100))
    assert found["ok"] >= 15
    assert sum(found.values()) == 500
    assert found.keys() <= {"ok", "insufficient_credits", "balance_held"}
    await stand.check_books()
    rows = await usage_rows(stand)
    paid = [row for row in rows if row["charge_nanos"]]
    assert len(paid) == found["ok"] == len(stand.simulator.books.rows)
    assert not any(row["written_off_nanos"] for row in rows)
    left = stand.shop.core.live.accounts[rows[0]["account"]].balance
    assert left.balance_nanos == 400_000 - sum(row["charge_nanos"] for row in rows) >= 0
    assert (left.held_nanos, left.holds, left.running) == (0, 0, 0)
    assert "write_off" not in stand.shop.core.live.alarms.standing


async def test_a_burst_on_a_small_balance_is_answered(stand: Stand) -> None:
    """Twenty programs with the SDK's own settings and no cap, on a balance that covers three
    bounds, with answers that take their time: all are answered."""
    key = await stand.customer(credit="0.0520")
    client = stand.sdk(key)
    asked = ask("[[latency=300]] go")
    answers = await asyncio.gather(
        *(
            client.chat.completions.with_raw_response.create(model=SMALL, messages=asked)
            for _ in range(20)
        )
    )
    lowered = [
        int(answer.headers["x-reseller-max-tokens"])
        for answer in answers
        if "x-reseller-max-tokens" in answer.headers
    ]
    assert 0 < len(lowered) < 20
    assert min(lowered) >= 64
    await stand.check_books()
    assert len(await usage_rows(stand)) == 20


async def test_waiting_for_a_hold_ends(tmp_path: Path) -> None:
    """Where nothing ends in time the refusal is 429 `balance_held`; one that leaves while it
    waits is never sent."""
    async with running_shop(tmp_path / "data", holds__wait_s=0.1) as stand:
        key = await stand.customer(credit="0.0001")
        stand.simulator.faults.add("hang-before-headers")
        first = asyncio.create_task(stand.chat(key))
        await stand.simulator.gate.wait_held()
        second = await stand.chat(key)
        assert second.status_code == 429
        assert second.json()["error"]["code"] == "balance_held"
        assert second.headers["retry-after-ms"] == "1000"
        third = asyncio.create_task(stand.chat(key))
        await asyncio.sleep(0.03)
        third.cancel()
        stand.simulator.gate.release()
        assert (await first).status_code == 200
        await stand.check_books()
        assert len(stand.simulator.books.rows) == 1


async def test_a_lowered_cap_is_told_and_sent(stand: Stand) -> None:
    """Where the balance buys fewer tokens, the upstream's cap is what it buys and the customer
    is told; below 64 tokens it is 402 with what is missing."""
    key = await stand.customer(credit="0.001")
    answer = await stand.chat(key, max_tokens=5_000)
    cap = int(answer.headers["x-reseller-max-tokens"])
    assert 64 <= cap < 5_000
    assert b'"max_tokens":%d' % cap in stand.simulator.received[-1].body
    enough = await stand.chat(key, max_tokens=100)
    assert "x-reseller-max-tokens" not in enough.headers
    assert b'"max_tokens":100' in stand.simulator.received[-1].body
    poor = await stand.customer("poor@example.com", credit="0.00001")
    refused = await stand.chat(poor)
    assert refused.status_code == 402
    assert "balance is $0.00001" in refused.json()["error"]["message"]
    assert "Billing" in refused.json()["error"]["message"]
    await stand.check_books()


async def test_a_keys_spend_limit_holds_under_a_burst(stand: Stand) -> None:
    """However many at once, a key never spends more than its limit; other keys go on."""
    key = await stand.customer(credit="10", limit_usd="0.0002")
    found = codes(await many(stand, key, 100, max_tokens=80))
    assert found["ok"] >= 3
    assert found["ok"] + found["spend_limit_reached"] + found["balance_held"] == 100
    await stand.check_books()
    spent = sum(row["charge_nanos"] for row in await usage_rows(stand))
    assert spent <= 200_000
    last = await stand.chat(key)
    while last.status_code == 200:
        last = await stand.chat(key)
    assert last.json()["error"]["code"] == "spend_limit_reached"
    other = await stand.customer()
    assert (await stand.chat(other)).status_code == 200
    await stand.check_books()


async def test_a_daily_cap_holds_under_a_burst(stand: Stand) -> None:
    """The account's day is bounded over all its keys, and begins anew at midnight UTC."""
    key = await stand.customer()
    await perform(stand.shop.core, "limits.set", {"email": EMAIL, "daily_usd": "0.0002"})
    found = codes(await many(stand, key, 100, max_tokens=80))
    assert found["ok"] >= 3
    await stand.check_books()
    assert sum(row["charge_nanos"] for row in await usage_rows(stand)) <= 200_000
    while (await stand.chat(key)).status_code == 200:
        pass
    refused = await stand.chat(key)
    assert refused.status_code == 402
    assert "daily" in refused.json()["error"]["message"]
    stand.clock.advance(86_400)
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


@pytest.mark.parametrize("name", ["minute", "hour", "day"])
async def test_rate_limits(stand: Stand, name: str) -> None:
    """Exactly so many requests pass; refused ones consume nothing, and the wait that is told is
    long enough and not longer."""
    key = await stand.customer()
    await perform(stand.shop.core, "limits.set", {"email": EMAIL, f"requests_per_{name}": 5})
    found = codes(await many(stand, key, 12))
    assert found == {"ok": 5, "rate_limit_exceeded": 7}
    refused = await stand.chat(key)
    wait_ms = int(refused.headers["retry-after-ms"])
    period_s = {"minute": 60, "hour": 3_600, "day": 86_400}[name]
    assert period_s * 200 - 3_000 < wait_ms <= period_s * 200
    assert int(refused.headers["retry-after"]) == -(-wait_ms // 1000)
    assert f"5 requests per {name}" in refused.json()["error"]["message"]
    stand.clock.advance(wait_ms / 1000)
    assert (await stand.chat(key)).status_code == 200
    assert (await stand.chat(key)).status_code == 429
    await stand.check_books()


async def test_rate_headers(stand: Stand) -> None:
    """Successes, streams and refusals say what is left, in OpenAI's headers; with limits of its
    own the key counts where it has less left."""
    key = await stand.customer()
    await perform(
        stand.shop.core,
        "limits.set",
        {"email": EMAIL, "requests_per_minute": 3, "tokens_per_minute": 50_000},
    )
    first = await stand.chat(key)
    assert first.headers["x-ratelimit-limit-requests"] == "3"
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    assert 0 < int(first.headers["x-ratelimit-reset-requests"].removesuffix("ms")) <= 20_000
    assert first.headers["x-ratelimit-limit-tokens"] == "50000"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 50_000
    streamed = await stream(stand, key)
    assert streamed.headers["x-ratelimit-remaining-requests"] == "1"
    await stand.chat(key)
    refused = await stand.chat(key)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    own = await stand.customer("other@example.com", requests_per_minute=2)
    assert (await stand.chat(own)).headers["x-ratelimit-limit-requests"] == "2"
    await stand.check_books()


async def test_tokens_per_minute_are_corrected_by_use(stand: Stand) -> None:
    """The prompt's bound is taken first and corrected by what was really used."""
    key = await stand.customer()
    limits = {"email": EMAIL, "tokens_per_minute": 600}
    await perform(stand.shop.core, "limits.set", limits)
    long = "[[tokens=300]] " + "word " * 100
    first = await stand.post("/v1/chat/completions", body(SMALL, long), key)
    used = first.json()["usage"]["total_tokens"]
    assert used > 400
    second = await stand.chat(key)
    left = int(second.headers["x-ratelimit-remaining-tokens"])
    assert 600 - used - 60 < left < 600 - used + 10
    third = await stand.post("/v1/chat/completions", body(SMALL, long), key)
    assert third.status_code == 200
    refused = await stand.chat(key)
    assert refused.status_code == 429
    assert "tokens per minute" in refused.json()["error"]["message"]
    stand.clock.advance(int(refused.headers["retry-after-ms"]) / 1000)
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_concurrent_requests_are_bounded(stand: Stand) -> None:
    """So many run, one more is told to wait; when one ended there is room again."""
    key = await stand.customer()
    await perform(stand.shop.core, "limits.set", {"email": EMAIL, "concurrent_requests": 2})
    stand.simulator.faults.add("hang-before-headers", count=2)
    running = [asyncio.create_task(stand.chat(key)) for _ in range(2)]
    await stand.simulator.gate.wait_held(2)
    refused = await stand.chat(key)
    assert refused.status_code == 429
    assert "2 requests" in refused.json()["error"]["message"]
    stand.simulator.gate.release()
    assert [answer.status_code for answer in await asyncio.gather(*running)] == [200, 200]
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_limits_changed_while_a_request_runs(stand: Stand) -> None:
    """A key that gets its first limits meanwhile counts from the next request on."""
    key = await stand.customer()
    (known,) = stand.shop.core.live.keys_by_id.values()
    stand.simulator.faults.add("hang-before-headers")
    running = asyncio.create_task(stand.chat(key))
    await stand.simulator.gate.wait_held()
    changes = {"key_id": known.public_id, "concurrent_requests": 1, "requests_per_minute": 1}
    await perform(stand.shop.core, "key.set", changes)
    stand.simulator.gate.release()
    assert (await running).status_code == 200
    assert (await stand.chat(key)).status_code == 200
    assert (await stand.chat(key)).status_code == 429
    assert not stand.shop.engine.running
    await stand.check_books()
