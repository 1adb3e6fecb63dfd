"""The simulator's answers fit the upstream's published description, where that is at hand."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from jsonschema.exceptions import best_match

from reseller.sandbox.upstream import UpstreamSimulator
from tests.sandbox.asking import PATHS, ask, parsed

SPECS = Path(
    os.environ.get("RESELLER_SPECS") or Path(__file__).parents[2].parent / "shared" / "specs"
)
DESCRIPTION = SPECS / "openrouter-openapi.json"
pytestmark = pytest.mark.skipif(
    not DESCRIPTION.exists(), reason="needs openrouter-openapi.json in the folder RESELLER_SPECS"
)


@functools.cache
def description() -> dict[str, Any]:
    """The whole description, read once."""
    whole: dict[str, Any] = msgspec.json.decode(DESCRIPTION.read_bytes())
    return whole


def check(answer: Any, schema: dict[str, Any]) -> None:
    """Fail unless the answer fits, saying where and why."""
    whole = {"components": description()["components"]} | schema
    wrong = best_match(jsonschema.Draft202012Validator(whole).iter_errors(answer))
    assert wrong is None, f"{wrong.json_path}: {wrong.message[:400]}"


def named(name: str) -> dict[str, Any]:
    """A schema by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def event_of(name: str, event: dict[str, Any]) -> dict[str, Any]:
    """The schema of one event: a union is followed by the event's type, for a clear message."""
    union = description()["components"]["schemas"][name].get("discriminator")
    return {"$ref": union["mapping"][event["type"]]} if union else named(name)


def answer_of(path: str, method: str = "get") -> dict[str, Any]:
    """The schema of a path's 200 answer."""
    content = description()["paths"][path][method]["responses"]["200"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


MODELS = ["sandbox/large", "sandbox/reasoner", "sandbox/own-key", "sandbox/fault-provider-failure"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("api", "schema"),
    [("chat", "ChatResult"), ("responses", "OpenResponsesResult"), ("messages", "MessagesResult")],
)
async def test_whole_answers(client: httpx.AsyncClient, model: str, api: str, schema: str) -> None:
    check((await ask(client, model, api=api)).json(), named(schema))


@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
async def test_tool_calls(client: httpx.AsyncClient, api: str) -> None:
    schema = {
        "chat": "ChatResult",
        "responses": "OpenResponsesResult",
        "messages": "MessagesResult",
    }
    events = {"responses": "StreamEvents", "messages": "MessagesStreamEvents"}
    tool = {"name": "look_up", "type": "function", "function": {"name": "look_up"}}
    asked = {"text": "[[tool]]", "api": api, "tools": [tool]}
    check((await ask(client, "sandbox/large", **asked)).json(), named(schema[api]))
    for event in parsed((await ask(client, "sandbox/large", **asked, stream=True)).text):
        check(event, event_of(events.get(api, "ChatStreamChunk"), event))


@pytest.mark.parametrize(
    ("api", "schema"),
    [
        ("chat", "ChatStreamChunk"),
        ("responses", "StreamEvents"),
        ("messages", "MessagesStreamEvents"),
    ],
)
@pytest.mark.parametrize("model", ["sandbox/large", "sandbox/fault-cached-tokens"])
async def test_frames(client: httpx.AsyncClient, api: str, schema: str, model: str) -> None:
    for event in parsed((await ask(client, model, api=api, stream=True)).text):
        check(event, event_of(schema, event))


async def test_error_frames(client: httpx.AsyncClient) -> None:
    chunks = parsed((await ask(client, "sandbox/fault-error-mid-stream", stream=True)).text)
    check(chunks[-1], named("ChatStreamChunk"))


@pytest.mark.parametrize("api", PATHS)
async def test_refusals(client: httpx.AsyncClient, api: str) -> None:
    answer = (await ask(client, "sandbox/fault-402-credits", api=api)).json()
    if api != "messages":
        check(answer, named("PaymentRequiredResponse"))


@pytest.mark.parametrize("path", ["/models", "/credits", "/key", "/activity", "/images/models"])
async def test_reading_routes(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, path: str
) -> None:
    await ask(client)
    upstream.record_clock.advance(86_400)
    answer = (await client.get(path, params={"output_modalities": "all"})).json()
    assert answer["data"]
    check(answer, answer_of(path))


async def test_models_endpoints_and_records(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    for name, model in upstream.catalogue.models.items():
        if name.startswith("~"):
            continue
        check((await client.get(f"/model/{name}")).json(), named("ModelResponse"))
        rows = (await client.get(f"/models/{name}/endpoints")).json()
        check(rows, answer_of("/models/{author}/{slug}/endpoints"))
        assert len(rows["data"]["endpoints"]) == len(model.endpoints)
    await ask(client)
    upstream.record_clock.advance(1)
    record = await client.get(f"/generation?id={upstream.books.rows[0].id}")
    check(record.json(), named("GenerationResponse"))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/embeddings", {"model": "sandbox/embed", "input": ["one", "two"]}),
        ("/rerank", {"model": "sandbox/rerank", "query": "q", "documents": ["a", "b"]}),
        ("/images", {"model": "sandbox/painter", "prompt": "a cat"}),
        (
            "/audio/transcriptions",
            {"model": "sandbox/scribe", "input_audio": {"data": "", "format": "wav"}},
        ),
    ],
)
async def test_other_kinds(client: httpx.AsyncClient, path: str, asked: dict[str, Any]) -> None:
    check((await client.post(path, json=asked)).json(), answer_of(path, "post"))
