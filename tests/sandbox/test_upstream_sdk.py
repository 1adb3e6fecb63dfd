"""The real client packages talk to the simulator as they would to the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import httpx
import openai
import pytest

from reseller.sandbox.upstream import UpstreamSimulator
from tests.sandbox.conftest import KEY

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture
async def sdk(upstream: UpstreamSimulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """The OpenAI client."""
    client = httpx.AsyncClient(trust_env=False)
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=upstream.base_url, max_retries=0, http_client=client
    ) as opened:
        yield opened


async def test_openai_chat(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model="sandbox/large", messages=[HELLO])
    text = answer.choices[0].message.content
    stream = await sdk.chat.completions.create(model="sandbox/large", messages=[HELLO], stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text
    assert answer.usage == chunks[-1].usage
    assert answer.usage is not None
    assert answer.usage.total_tokens == 25


async def test_openai_calls_a_tool(sdk: openai.AsyncOpenAI) -> None:
    asked = {"model": "sandbox/large", "tools": [TOOL]}
    marked = {"role": "user", "content": "[[tool]]"}
    answer = await sdk.chat.completions.create(messages=[marked], **asked)
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "look_up"
    stream = await sdk.chat.completions.create(
        messages=[HELLO], tool_choice="required", stream=True, **asked
    )
    pieces = [c.choices[0].delta.tool_calls async for c in stream if c.choices[0].delta.tool_calls]
    assert "".join(p[0].function.arguments for p in pieces) == call.function.arguments
    plain = await sdk.chat.completions.create(messages=[HELLO], **asked)
    assert plain.choices[0].finish_reason == "stop"


async def test_openai_other_interfaces(sdk: openai.AsyncOpenAI) -> None:
    models = [model.id async for model in sdk.models.list()]
    assert "sandbox/large" in models
    vectors = await sdk.embeddings.create(model="sandbox/embed", input=["a", "b"])
    assert len(vectors.data) == 2
    assert isinstance(vectors.data[0].embedding[0], float)
    response = await sdk.responses.create(model="sandbox/large", input="Hello")
    stream = await sdk.responses.create(model="sandbox/large", input="Hello", stream=True)
    events = [event async for event in stream]
    assert events[-1].response.output_text == response.output_text != ""
    completion = await sdk.completions.create(model="sandbox/large", prompt="Hello")
    assert completion.choices[0].text
    heard = await sdk.audio.transcriptions.create(model="sandbox/scribe", file=("a.wav", b"RIFF"))
    assert heard.text


async def test_openai_raises_what_the_upstream_refuses(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        await sdk.chat.completions.create(model="sandbox/fault-429-retry-after", messages=[HELLO])
    assert limited.value.response.headers["retry-after"] == "7"
    stream = await sdk.chat.completions.create(
        model="sandbox/fault-error-mid-stream", messages=[HELLO], stream=True
    )
    with pytest.raises(openai.APIError, match="broke off"):
        [chunk async for chunk in stream]


async def test_anthropic_messages(upstream: UpstreamSimulator) -> None:
    root = upstream.base_url.removesuffix("/v1")
    client = anthropic.DefaultAsyncHttpxClient(trust_env=False)
    async with anthropic.AsyncAnthropic(
        api_key=None, auth_token=KEY, base_url=root, max_retries=0, http_client=client
    ) as sdk:
        asked = {"model": "sandbox/large", "max_tokens": 64, "messages": [HELLO]}
        answer = await sdk.messages.create(**asked)
        assert answer.content[0].text
        assert answer.stop_reason == "end_turn"
        tool = {"name": "look_up", "input_schema": {"type": "object"}}
        called = await sdk.messages.create(tools=[tool], tool_choice={"type": "any"}, **asked)
        assert called.content[0].input == {"query": "sandbox", "count": 3}
        with pytest.raises(anthropic.APIStatusError):
            await sdk.messages.create(**asked | {"model": "sandbox/fault-529"})
