"""The real OpenAI SDK against the gateway: what a customer's program does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.gateway.conftest import LARGE, SMALL, Stand, running_shop

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
async def stand(tmp_path: Path, engine: str) -> AsyncIterator[Stand]:
    """A shop on each of the two servers."""
    async with running_shop(tmp_path / "data", server__engine=engine) as found:
        yield found


def ask(text: str = "hello") -> list[dict[str, str]]:
    """One user message."""
    return [{"role": "user", "content": text}]


async def test_chat_is_answered_and_charged_to_the_nano(stand: Stand) -> None:
    """The charge is the true cost and 20 %, and it is what the customer sees as cost."""
    key = await stand.customer()
    answer = await stand.sdk(key).chat.completions.create(model=LARGE, messages=ask())
    assert answer.id.startswith("req_")
    assert answer.choices[0].message.content
    billed = stand.simulator.books.rows[0]
    charge = -(-int(billed.cost * 10**12) * 12_000 // 10_000_000)
    await stand.check_books()
    rows = await stand.rows("select * from transfer where kind = 'usage'")
    assert [row["amount_nanos"] for row in rows] == [charge]
    assert answer.usage is not None
    assert round(answer.usage.cost * 10**9) == charge
    assert (await stand.balance())["balance_usd"] == f"{(10**10 - charge) / 10**9:.9f}".rstrip("0")


async def test_stream_is_relayed_and_charged(stand: Stand) -> None:
    """Every delta arrives, the last chunk carries usage with the charge as cost."""
    key = await stand.customer()
    client, parts, last = stand.sdk(key, "/api/v1"), [], None
    stream = await client.chat.completions.create(model=SMALL, messages=ask(), stream=True)
    async for chunk in stream:
        assert chunk.id.startswith("req_")
        parts.append(chunk.choices[0].delta.content or "" if chunk.choices else "")
        last = chunk
    assert len("".join(parts)) > 40
    assert last is not None
    assert last.usage is not None
    assert last.usage.cost > 0
    await stand.check_books()


async def test_tools_are_called(stand: Stand) -> None:
    """A tool call comes back whole, and in pieces when streamed."""
    key = await stand.customer()
    client = stand.sdk(key)
    answer = await client.chat.completions.create(
        model=LARGE,
        messages=ask("[[tool]] weather in Paris"),
        tools=[WEATHER],
    )
    assert answer.choices[0].message.tool_calls
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    pieces = []
    stream = await client.chat.completions.create(
        model=LARGE,
        messages=ask("[[tool]] weather in Paris"),
        tools=[WEATHER],
        stream=True,
    )
    async for chunk in stream:
        for choice in chunk.choices:
            pieces += choice.delta.tool_calls or []
    assert pieces[0].function is not None
    assert pieces[0].function.name == "weather"
    await stand.check_books()


async def test_embeddings_completions_and_models(stand: Stand) -> None:
    """The other endpoints speak the SDK's language too."""
    key = await stand.customer()
    client = stand.sdk(key)
    vectors = await client.embeddings.create(model="sandbox/embed", input=["one", "two"])
    assert len(vectors.data) == 2
    assert isinstance(vectors.data[0].embedding[0], float)
    text = await client.completions.create(model=SMALL, prompt="Say this")
    assert text.choices[0].text
    listed = [model.id async for model in client.models.list()]
    assert SMALL in listed
    assert "sandbox/small:batch" not in listed
    assert (await client.models.retrieve(SMALL)).id == SMALL
    await stand.check_books()


async def test_errors_arrive_as_the_sdk_classes(stand: Stand) -> None:
    """401, 402, 404 and 429 are the classes that programs catch."""
    poor = await stand.customer("poor@example.com", credit=None)
    with pytest.raises(openai.AuthenticationError):
        await stand.sdk("sk-rs-" + "x" * 43).chat.completions.create(model=SMALL, messages=ask())
    with pytest.raises(openai.APIStatusError) as short:
        await stand.sdk(poor).chat.completions.create(model=SMALL, messages=ask())
    assert short.value.status_code == 402
    assert "Billing" in short.value.message
    key = await stand.customer()
    with pytest.raises(openai.NotFoundError):
        await stand.sdk(key).chat.completions.create(model="no/model", messages=ask())
    with pytest.raises(openai.RateLimitError):
        await stand.sdk(key, max_retries=0).chat.completions.create(
            model="sandbox/fault-429",
            messages=ask(),
        )
    await stand.check_books()


async def test_a_429_is_retried_by_the_sdk(stand: Stand) -> None:
    """The SDK waits as `retry-after-ms` says and then succeeds; nothing is charged twice."""
    key = await stand.customer()
    stand.simulator.faults.add("429", count=1)
    answer = await stand.sdk(key).chat.completions.create(model=SMALL, messages=ask())
    assert answer.choices
    assert len(stand.simulator.books.rows) == 1
    await stand.check_books()


async def test_200_streams_at_once(stand: Stand) -> None:
    """An async client with 200 parallel streams gets 200 whole answers, each charged once."""
    key = await stand.customer(credit="1000")
    client = stand.sdk(key, timeout=60)

    async def one() -> int:
        stream = await client.chat.completions.create(
            model=SMALL,
            messages=ask("[[tokens=20]] go"),
            stream=True,
        )
        return sum([1 async for _ in stream])

    counts = await asyncio.gather(*(one() for _ in range(200)))
    assert min(counts) >= 20
    assert len(stand.simulator.books.rows) == 200
    await stand.check_books()
