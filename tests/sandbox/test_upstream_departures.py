"""What is billed when the client leaves, and how time passes in paced streams."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from reseller.sandbox.upstream import UpstreamSimulator
from tests.sandbox.asking import ask, body, parsed


async def _leave_after(client: httpx.AsyncClient, model: str, count: int, **more: object) -> None:
    """Read so many frames of a paced stream, then close the connection."""
    asked = body(model, "[[pace=10]] [[tokens=200]]", stream=True, **more)
    seen = 0
    async with client.stream("POST", "/chat/completions", json=asked) as response:
        async for line in response.aiter_lines():
            seen += line.startswith("data: ")
            if seen >= count:
                break


async def _billed(upstream: UpstreamSimulator, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while upstream.books.count < count:
            await asyncio.sleep(0.005)


async def test_a_provider_that_cancels_bills_what_was_made(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    await _leave_after(client, "sandbox/large", 5)
    await _billed(upstream)
    billed = upstream.books.rows[0]
    assert billed.is_cancelled
    assert 5 <= billed.completion_tokens < 20
    upstream.record_clock.advance(1)
    record = (await client.get(f"/generation?id={billed.id}")).json()["data"]
    assert record["cancelled"] is True
    assert record["native_tokens_completion"] == billed.completion_tokens
    assert record["finish_reason"] is None


async def test_a_provider_that_does_not_cancel_bills_the_whole_answer(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    await _leave_after(client, "sandbox/steady", 5)
    await _billed(upstream)
    billed = upstream.books.rows[0]
    assert not billed.is_cancelled
    assert billed.completion_tokens == 200


async def test_a_whole_answer_is_billed_even_when_nobody_waits(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post(
            "/chat/completions", json=body("sandbox/large", "[[latency=150]]"), timeout=0.05
        )
    assert upstream.books.count == 0
    await _billed(upstream)
    assert upstream.books.rows[0].completion_tokens == 20
    assert not upstream.books.rows[0].is_cancelled


@pytest.mark.parametrize(
    ("fault", "count"),
    [("hang-before-headers", 0), ("bill-then-wait-before-headers", 1), ("wait-before-usage", 1)],
)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_leaving_a_held_request(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, fault: str, count: int, is_stream: bool
) -> None:
    asked = body(f"sandbox/fault-{fault}", stream=is_stream)
    task = asyncio.create_task(client.post("/chat/completions", json=asked))
    await upstream.gate.wait_held()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while upstream.gate.held.total():
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.01)
    assert upstream.books.count == count


async def test_leaving_before_the_headers_of_a_stream_bills_the_prompt(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    asked = body("sandbox/large", "[[latency=400]]", stream=True)
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/chat/completions", json=asked, timeout=0.05)
    await _billed(upstream)
    billed = upstream.books.rows[0]
    assert (billed.is_cancelled, billed.completion_tokens) == (True, 0)
    assert billed.cost > 0


async def test_pace_and_comments(client: httpx.AsyncClient, upstream: UpstreamSimulator) -> None:
    upstream.behaviour.comment_every_ms = 10
    upstream.behaviour.opening_comments = 0
    asked = "[[first=35]] [[pace=15]] [[tokens=3]]"
    text = (await ask(client, "sandbox/large", asked, stream=True)).text
    before, _, after = text.partition("data: ")
    assert before.count(": OPENROUTER PROCESSING\n\n") == 3
    assert after.count(": OPENROUTER PROCESSING\n\n") == 2
    assert len(parsed(text)) == 5


async def test_many_paced_streams_at_once(upstream: UpstreamSimulator) -> None:
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": "Bearer sk-or-sandbox"}
    asked = body("sandbox/small", "[[pace=30]] [[tokens=6]]", stream=True)
    async with httpx.AsyncClient(
        base_url=upstream.base_url, headers=headers, limits=limits, timeout=20, trust_env=False
    ) as client:
        answers = await asyncio.gather(
            *(client.post("/chat/completions", json=asked) for _ in range(150))
        )
    assert {len(parsed(answer.text)) for answer in answers} == {8}
    assert upstream.books.count == 150


async def test_stopping_does_not_wait_for_anyone(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    tasks = [
        asyncio.create_task(client.post("/chat/completions", json=body("sandbox/large", text)))
        for text in ("[[fault=hang-before-headers]]", "[[latency=60000]]", "[[first=60000]]")
    ]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await upstream.stop()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {isinstance(outcome, httpx.TransportError) for outcome in done} == {True}
