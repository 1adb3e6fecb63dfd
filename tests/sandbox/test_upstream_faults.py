"""Every fault, by name, shows what it says."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeAlias

import httpx
import pytest

from reseller.sandbox.faults import FAULTS, fault_named
from reseller.sandbox.upstream import UpstreamSimulator
from tests.sandbox.asking import PATHS, ask, body, exact, frames, parsed, said

INFERENCE = [name for name, fault in FAULTS.items() if fault.scope == "inference"]
REFUSALS = [name for name in INFERENCE if FAULTS[name].status]
HELD = [name for name in INFERENCE if FAULTS[name].hold_at]
CUT = [name for name in INFERENCE if FAULTS[name].cut_at]
COST_TEXTS = {
    "cost-null": b'"cost":null',
    "cost-negative": b'"cost":-0.0005',
    "cost-minus-one": b'"cost":-1',
    "cost-huge-exponent": b'"cost":1e999000',
    "cost-tiny-exponent": b'"cost":1e-999000',
    "cost-billion": b'"cost":1e9',
    "cost-nan": b'"cost":"NaN"',
    "cost-infinity": b'"cost":"Infinity"',
    "cost-true": b'"cost":true',
    "cost-text": b'"cost":"0.000086"',
    "cost-exponent": b'"cost":8.6e-5',
}
Queue: TypeAlias = Callable[..., Awaitable[None]]
TESTED_ALONE = {
    "cost-absent",
    "provider-failure",
    "cost-zero",
    "byok",
    "cached-tokens",
    "cache-write-tokens",
    "other-model",
    "overrun",
    "usage-absent",
    "usage-null",
    "usage-twice",
    "usage-empty-choices",
    "usage-null-finish",
    "usage-repeated-finish",
    "no-generation-id",
    "null-id",
    "no-id-anywhere",
    "huge-frame",
    "leading-whitespace",
    "metadata",
    "gzip",
    "not-json",
    "wrong-content-type",
    "no-done",
    "slow-drip",
    "crlf",
    "comments-everywhere",
    "no-final-newline",
}


def test_every_fault_is_tested_here() -> None:
    """A fault added to the table needs a line in this file."""
    errors = {name for name in INFERENCE if FAULTS[name].error_at}
    tested = {*REFUSALS, *HELD, *CUT, *COST_TEXTS, *errors, *TESTED_ALONE}
    assert tested == set(INFERENCE)


async def show(client: httpx.AsyncClient, fault: str, **more: Any) -> httpx.Response:
    """An answer that shows the fault, by the model's name."""
    return await ask(client, f"sandbox/fault-{fault}", **more)


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_has_its_status_and_shape(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, name: str
) -> None:
    fault = FAULTS[name]
    response = await show(client, name, stream=True)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (fault.status, fault.status)
    assert error["metadata"]["error_type"] == fault.error_type
    assert ("user_id" in response.json()) == fault.shows_user
    assert response.headers.get("retry-after", "0") == str(fault.retry_after)
    assert ("x-ratelimit-reset" in response.headers) == fault.limit_headers
    messages = (await show(client, name, api="messages")).json()
    assert messages["type"] == "error"
    assert messages["error"]["error_type"] == fault.error_type
    assert upstream.books.count == 0


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", HELD)
async def test_a_held_request_waits_for_its_release(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, name: str, is_stream: bool, api: str
) -> None:
    task = asyncio.create_task(show(client, name, stream=is_stream, api=api))
    await upstream.gate.wait_held()
    held_before_billing = FAULTS[name].hold_at == "start" or (
        is_stream and FAULTS[name].hold_at in ("headers", "middle")
    )
    assert upstream.books.count == (0 if held_before_billing else 1)
    assert upstream.gate.release() == 1
    response = await task
    assert response.status_code == 200
    assert upstream.books.count == 1


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", CUT)
async def test_a_cut_answer_is_billed_unless_no_work_was_done(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, name: str, is_stream: bool, api: str
) -> None:
    try:
        response = await show(client, name, stream=is_stream, api=api)
    except httpx.ReadError:
        assert name in ("close-before-headers", "bill-then-close-before-headers")
    except httpx.RemoteProtocolError:
        assert name != "end-before-usage" or not is_stream
    else:
        assert (name, is_stream) == ("end-before-usage", True)
        assert "[DONE]" not in response.text
        assert "cost" not in response.text
    assert upstream.books.count == (0 if name == "close-before-headers" else 1)


async def test_cuts_come_where_they_say(client: httpx.AsyncClient) -> None:
    async def received(name: str) -> bytes:
        asked = body(f"sandbox/fault-{name}", stream=True)
        got = b""
        async with client.stream("POST", "/chat/completions", json=asked) as response:
            parts = response.aiter_raw()
            while True:
                try:
                    got += await anext(parts)
                except httpx.RemoteProtocolError:
                    return got

    assert b"data" not in await received("headers-then-drop")
    between = await received("drop-mid-stream")
    assert between.endswith(b"}\n\n")
    assert between.count(b"data: ") == 10
    assert not (await received("drop-mid-frame")).endswith(b"\n")
    last = await received("drop-before-usage")
    assert last.endswith(b'"finish_reason":"stop","native_finish_reason":"stop"}]}\n\n')


@pytest.mark.parametrize("place", ["first-frame", "mid-stream"])
@pytest.mark.parametrize("bare", ["", "-bare"])
@pytest.mark.parametrize("done", ["", "-no-done"])
async def test_errors_come_as_frames_under_200(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, place: str, bare: str, done: str
) -> None:
    response = await show(client, f"error-{place}{bare}{done}", stream=True)
    chunks = parsed(response.text)
    assert response.status_code == 200
    assert chunks[-1]["error"]["code"] == 502
    assert ("choices" in chunks[-1]) == (not bare)
    assert len(chunks) == (1 if place == "first-frame" else 11)
    assert (frames(response.text)[-1] == "[DONE]") == (not done)
    billed = upstream.books.rows[0]
    assert billed.completion_tokens == (0 if place == "first-frame" else 10)
    assert (billed.cost == 0) == (place == "first-frame")


async def test_errors_mid_stream_in_the_other_interfaces(client: httpx.AsyncClient) -> None:
    text = (await show(client, "error-mid-stream", stream=True, api="messages")).text
    assert "event: error\n" in text
    assert parsed(text)[-2]["error"]["type"] == "overloaded_error"
    text = (await show(client, "error-mid-stream", stream=True, api="responses")).text
    assert parsed(text)[-1]["type"] == "response.error"
    text = (await show(client, "error-mid-stream-bare", stream=True, api="responses")).text
    assert parsed(text)[-1]["type"] == "error"


async def test_a_provider_failure_in_a_whole_answer(client: httpx.AsyncClient) -> None:
    answer = (await show(client, "provider-failure")).json()
    assert answer["choices"][0]["finish_reason"] == "error"
    assert answer["choices"][0]["error"]["code"] == 502
    assert answer["usage"]["cost"] == 0
    answer = (await show(client, "provider-failure", api="responses")).json()
    assert answer["status"] == "failed"


@pytest.mark.parametrize("name", COST_TEXTS)
async def test_the_cost_is_told_wrongly_and_billed_rightly(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, name: str
) -> None:
    for api in ("chat", "responses", "messages"):
        for is_stream in (False, True):
            response = await show(client, name, api=api, stream=is_stream)
            assert COST_TEXTS[name] in response.content
    assert {row.cost for row in upstream.books.rows} == {Decimal("0.000086")}


async def test_an_absent_cost_and_an_absent_usage(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    for api in ("chat", "responses", "messages"):
        assert b'"cost"' not in (await show(client, "cost-absent", api=api)).content
        assert b'"usage":{' not in (await show(client, "usage-absent", api=api)).content
        assert b'"usage":null' in (await show(client, "usage-null", api=api)).content
        assert b'"usage":null' in (await show(client, "usage-null", api=api, stream=True)).content
    text = (await show(client, "usage-absent", stream=True)).text
    assert '"usage"' not in text
    assert frames(text)[-1] == "[DONE]"
    assert {row.cost for row in upstream.books.rows} == {Decimal("0.000086")}


async def test_tokens_that_change_the_cost(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    read = (await show(client, "cached-tokens")).json()["usage"]
    assert read["prompt_tokens_details"]["cached_tokens"] == 3
    assert read["cost"] == pytest.approx(3 * 1e-6 + 3 * 1e-7 + 20 * 4e-6)
    written = (await show(client, "cache-write-tokens", api="messages")).json()["usage"]
    assert (written["cache_creation_input_tokens"], written["input_tokens"]) == (5, 1)
    assert written["cost"] == pytest.approx(1e-6 + 5 * 1.25e-6 + 20 * 4e-6)
    over = (await show(client, "overrun", max_tokens=50)).json()["usage"]
    assert over["completion_tokens"] == 4050
    free = exact((await show(client, "cost-zero", stream=True)).text.split("data: ")[-2])
    assert free.usage.cost == 0
    assert upstream.books.rows[-1].completion_tokens == 20
    own = exact((await show(client, "byok")).content).usage
    assert (own.cost, own.is_byok) == (0, True)
    assert own.cost_details is not None
    assert own.cost_details["upstream_inference_cost"] == Decimal("0.000086")
    other = (await show(client, "other-model", stream=True)).text
    assert {chunk["model"] for chunk in parsed(other)} == {"sandbox/large"}


async def test_the_shapes_of_the_usage_chunk(client: httpx.AsyncClient) -> None:
    twice = parsed((await show(client, "usage-twice", stream=True)).text)
    assert sum("usage" in chunk for chunk in twice) == 2
    for shape, choices in (
        ("empty-choices", []),
        ("null-finish", [None]),
        ("repeated-finish", ["stop"]),
    ):
        last = parsed((await show(client, f"usage-{shape}", stream=True)).text)[-1]
        assert [choice["finish_reason"] for choice in last["choices"]] == choices


async def test_ids_go_missing(client: httpx.AsyncClient, upstream: UpstreamSimulator) -> None:
    for name, header, inner in (
        ("no-generation-id", False, True),
        ("null-id", True, False),
        ("no-id-anywhere", False, False),
    ):
        for api in PATHS:
            whole = await show(client, name, api=api)
            assert ("x-generation-id" in whole.headers, bool(whole.json()["id"])) == (header, inner)
        streamed = await show(client, name, stream=True)
        assert ("x-generation-id" in streamed.headers) == header
        assert {bool(chunk["id"]) for chunk in parsed(streamed.text)} == {inner}
    assert upstream.books.count == 3 * 5


async def test_bodies_of_an_odd_kind(client: httpx.AsyncClient) -> None:
    huge = await show(client, "huge-frame", stream=True)
    assert max(len(frame) for frame in frames(huge.text)) > 8_000_000
    assert len((await show(client, "huge-frame")).content) > 8_000_000
    spaced = await show(client, "leading-whitespace")
    assert spaced.text.startswith("\n   ")
    assert spaced.json()["usage"]
    html = await show(client, "not-json", stream=True)
    assert (html.status_code, html.headers["content-type"]) == (200, "text/html")
    assert (await show(client, "not-json")).text.startswith("<!doctype")
    for is_stream in (False, True):
        wrong = await show(client, "wrong-content-type", stream=is_stream)
        assert wrong.headers["content-type"] == "text/plain"
        asked = body("sandbox/fault-gzip", stream=is_stream)
        async with client.stream("POST", "/chat/completions", json=asked) as packed:
            raw = b"".join([part async for part in packed.aiter_raw()])
        assert b'"usage"' in gzip.decompress(raw)


async def test_an_answer_that_tells_the_operators_details(client: httpx.AsyncClient) -> None:
    assert (await show(client, "metadata")).json()["user_id"].startswith("user_")
    for api in PATHS:
        events = parsed((await show(client, "metadata", stream=True, api=api)).text)
        assert any("openrouter_metadata" in event for event in events)


async def test_frames_of_an_odd_kind(client: httpx.AsyncClient) -> None:
    plain = said(parsed((await ask(client, stream=True)).text))
    texts = {
        name: (await show(client, name, stream=True)).text
        for name in ("no-done", "slow-drip", "crlf", "comments-everywhere", "no-final-newline")
    }
    assert {said(parsed(text)) for text in texts.values()} == {plain}
    assert "[DONE]" not in texts["no-done"]
    assert texts["crlf"].endswith("data: [DONE]\r\n\r\n")
    assert texts["comments-everywhere"].count(": OPENROUTER PROCESSING") > 20
    assert texts["no-final-newline"].endswith("data: [DONE]")


async def test_records_that_are_late_lost_or_empty(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    for name in ("record-never", "record-late", "record-null-cost"):
        with pytest.raises(httpx.RemoteProtocolError):
            await show(client, name, stream=True)
    upstream.record_clock.advance(2)
    paths = [f"/generation?id={row.id}" for row in upstream.books.rows]
    assert [(await client.get(path)).status_code for path in paths] == [404, 404, 200]
    upstream.record_clock.advance(60)
    assert [(await client.get(path)).status_code for path in paths] == [404, 200, 200]
    assert (await client.get(paths[1])).json()["data"]["total_cost"] == 0.000086
    assert (await client.get(paths[2])).json()["data"]["total_cost"] is None


@pytest.fixture
def queue(sim: httpx.AsyncClient) -> Queue:
    """Queues a fault over the control interface."""

    async def add(name: str, **more: Any) -> None:
        assert (await sim.post("/faults", json={"name": name, **more})).status_code == 200

    return add


async def test_faults_of_the_reading_routes(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, queue: Queue
) -> None:
    for scope, path in (
        ("catalogue", "/models"),
        ("credits", "/credits"),
        ("generation", "/generation?id=x"),
        ("key", "/key"),
        ("activity", "/activity"),
    ):
        await queue(f"{scope}-500")
        assert (await client.get(path)).status_code == 500
        assert (await client.get(path)).status_code != 500
    await queue("generation-429")
    assert (await client.get("/generation?id=x")).status_code == 429
    await queue("catalogue-not-json")
    assert (await client.get("/models")).text.startswith("<!doctype")
    await queue("generation-hang")
    task = asyncio.create_task(client.get("/generation?id=x"))
    await upstream.gate.wait_held()
    upstream.gate.release()
    assert (await task).status_code == 404


async def test_queued_faults_fit_a_model_or_a_marker_and_run_out(
    client: httpx.AsyncClient, sim: httpx.AsyncClient, queue: Queue
) -> None:
    await queue("500", count=2)
    assert [(await ask(client)).status_code for _ in range(3)] == [500, 500, 200]
    await queue("503", model="sandbox/small")
    await queue("502", marker="blue")
    assert (await ask(client)).status_code == 200
    assert (await ask(client, "sandbox/large", "so blue")).status_code == 502
    assert (await ask(client, "sandbox/small")).status_code == 503
    await queue("500", count=9)
    assert len((await sim.get("/faults")).json()["waiting"]) == 1
    await sim.delete("/faults")
    assert (await ask(client)).status_code == 200
    assert (await sim.post("/faults", json={"name": "no such"})).status_code == 400
    assert (await sim.post("/faults", json={})).status_code == 400


async def test_faults_by_header_by_message_and_merged(client: httpx.AsyncClient) -> None:
    by_header = await client.post("/chat/completions", json=body(), headers={"x-sim-fault": "529"})
    assert by_header.status_code == 529
    assert (await ask(client, "sandbox/large", "[[fault=422]]")).status_code == 422
    merged = await show(client, "cost-null+no-done", stream=True)
    assert '"cost":null' in merged.text
    assert "[DONE]" not in merged.text
    assert (await show(client, "no-such-fault")).status_code == 400
    assert (await show(client, "credits-500")).status_code == 400
    assert fault_named("500+no-such") is None
