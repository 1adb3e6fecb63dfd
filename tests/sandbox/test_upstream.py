"""The simulator as an ordinary upstream: answers, prices, books and reading routes."""

from __future__ import annotations

import base64
import re
import struct
from decimal import Decimal

import httpx
import pytest

from reseller.sandbox.upstream import UpstreamSimulator
from tests.sandbox.asking import ask, body, exact, frames, parsed, said

GENERATION_ID = re.compile(r"gen-\d{10}-[0-9A-Za-z]{20}")


async def test_a_whole_answer_reports_the_cost_that_is_in_the_books(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    response = await ask(client, user="customer-7")
    answer = response.json()
    assert response.status_code == 200
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 20
    assert answer["usage"]["prompt_tokens"] == 3 + 3
    assert GENERATION_ID.fullmatch(answer["id"])
    assert response.headers["X-Generation-Id"] == answer["id"]
    cost = 6 * Decimal("0.0000025") + 20 * Decimal("0.0000125")
    billed = upstream.books.find(answer["id"])
    assert billed is not None
    assert billed.cost == upstream.books.total == exact(response.content).usage.cost == cost
    assert billed.external_user == "customer-7"
    assert not billed.is_streamed


async def test_a_stream_says_the_same_and_ends_with_usage_and_done(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    whole = (await ask(client)).json()["choices"][0]["message"]["content"]
    response = await ask(client, stream=True)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.startswith(": OPENROUTER PROCESSING\n\ndata: {")
    chunks = parsed(response.text)
    assert said(chunks) == whole
    assert len(chunks) == 20 + 2
    assert {chunk["id"] for chunk in chunks} == {response.headers["X-Generation-Id"]}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == ["stop", "stop"]
    assert ["usage" in chunk for chunk in chunks] == [False] * 21 + [True]
    assert frames(response.text)[-1] == "[DONE]"
    assert upstream.books.rows[-1].is_streamed


@pytest.mark.parametrize(
    ("shape", "choices"),
    [
        ("empty_choices", []),
        ("null_finish", [None]),
        ("repeated_finish", ["stop"]),
    ],
)
async def test_the_usage_chunk_takes_the_shape_asked_for(
    client: httpx.AsyncClient, upstream: UpstreamSimulator, shape: str, choices: list[str | None]
) -> None:
    upstream.behaviour.usage_chunk_shape = shape
    last = parsed((await ask(client, stream=True)).text)[-1]
    assert [choice["finish_reason"] for choice in last["choices"]] == choices
    assert last["usage"]["total_tokens"] == 26


async def test_small_costs_have_an_exponent_and_every_digit(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    response = await ask(client, "sandbox/small", "Hi [[tokens=1]]")
    tokens = response.json()["usage"]["prompt_tokens"]
    rate = Decimal("0.0000001416666666666667")
    assert b'"upstream_inference_completions_cost":5.833333333333333e-7' in response.content
    assert exact(response.content).usage.cost == tokens * rate + Decimal("0.0000005833333333333333")
    upstream.behaviour.exponent_costs = True
    assert b'"cost":2.65e-4' in (await ask(client)).content


async def test_the_cap_ends_the_answer(client: httpx.AsyncClient) -> None:
    for cap in ("max_tokens", "max_completion_tokens"):
        answer = (await ask(client, **{cap: 7})).json()
        assert answer["usage"]["completion_tokens"] == 7
        assert answer["choices"][0]["finish_reason"] == "length"
    answer = (await ask(client, max_tokens=3, api="messages")).json()
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 3)
    answer = (await ask(client, max_output_tokens=3, api="responses")).json()
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_a_message_may_steer_its_own_answer(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    text = "[[tokens=500]] [[mark=blue]] please"
    assert (await ask(client, "sandbox/large", text)).json()["usage"]["completion_tokens"] == 500
    assert upstream.books.rows[-1].marker == "blue"
    chunks = parsed((await ask(client, "sandbox/large", "[[chunk=5]]", stream=True)).text)
    assert len(chunks) == 20 / 5 + 2
    answer = (await ask(client, "sandbox/large", "[[hidden=30]]")).json()
    assert answer["usage"]["completion_tokens"] == 50
    response = await client.post(
        "/chat/completions", json=body(), headers={"x-sim-answer-tokens": "3", "x-sim-mark": "red"}
    )
    assert response.json()["usage"]["completion_tokens"] == 3
    assert upstream.books.rows[-1].marker == "red"


async def test_several_choices_are_all_billed(client: httpx.AsyncClient) -> None:
    answer = (await ask(client, n=3)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 60
    chunks = parsed((await ask(client, n=2, stream=True)).text)
    assert len(chunks) == 2 * 20 + 2 + 1


async def test_reasoning_is_part_of_the_completion_tokens(client: httpx.AsyncClient) -> None:
    answer = (await ask(client, "sandbox/reasoner")).json()
    assert answer["usage"]["completion_tokens"] == 36
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 16
    assert answer["choices"][0]["message"]["reasoning"]
    chunks = parsed((await ask(client, "sandbox/reasoner", stream=True)).text)
    thoughts = [c for c in chunks if c["choices"][0]["delta"].get("reasoning")]
    assert len(thoughts) == 16


async def test_long_prompts_and_night_hours_change_the_price(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    day_ms = 86_400_000
    now = upstream.record_clock.now_ms()
    upstream.record_clock.advance((day_ms - now % day_ms) / 1000 + 12 * 3600)
    noon = exact((await ask(client, "sandbox/tiered")).content).usage.cost
    assert noon == 6 * Decimal("0.0000008") + 20 * Decimal("0.0000032")
    upstream.record_clock.advance(11 * 3600)
    night = exact((await ask(client, "sandbox/tiered")).content).usage.cost
    assert night == noon / 2
    long = exact((await ask(client, "sandbox/tiered", "word " * 30_000)).content).usage.cost
    assert long == (37_500 + 3) * Decimal("0.0000016") + 20 * Decimal("0.0000048")


async def test_a_price_cap_is_kept_and_the_dearest_endpoint_may_serve(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    capped = {"max_price": {"prompt": 3, "completion": "15"}}
    assert (await ask(client, provider=capped)).json()["provider"] == "Fireworks"
    upstream.behaviour.use_dearest_endpoint = True
    assert (await ask(client, provider=capped)).json()["provider"] == "Fireworks"
    dear = await ask(client)
    assert dear.json()["provider"] == "Together"
    assert exact(dear.content).usage.cost == 6 * Decimal("0.0000034") + 20 * Decimal("0.0000175")
    refused = await ask(client, provider={"max_price": {"completion": 2}})
    assert refused.status_code == 404
    assert refused.json()["error"]["availability"]["code"] == "constraint_filtered"
    assert (await ask(client, provider={"only": ["together"]})).json()["provider"] == "Together"


async def test_what_a_firewall_must_stop_costs_more(client: httpx.AsyncClient) -> None:
    async def cost(model: str, **more: str) -> Decimal:
        return exact((await ask(client, model, **more)).content).usage.cost

    plain = await cost("sandbox/large")
    assert await cost("sandbox/large:nitro") == 2 * plain
    assert await cost("sandbox/large", service_tier="priority") == 2 * plain
    assert await cost("sandbox/large", service_tier="flex") == plain / 2
    assert await cost("sandbox/large:online") == plain + Decimal("0.007")


async def test_unknown_misplaced_and_fallback_models(client: httpx.AsyncClient) -> None:
    unknown = await ask(client, "sandbox/nowhere")
    assert unknown.status_code == 400
    assert unknown.json()["error"]["availability"]["code"] == "model_not_found"
    assert (await ask(client, "sandbox/embed")).status_code == 400
    assert (await ask(client, "sandbox/small:batch")).status_code == 400
    fallback = await ask(client, "sandbox/nowhere", models=["sandbox/small"])
    assert fallback.json()["model"] == "sandbox/small"
    assert (await ask(client, "sandbox/auto")).json()["model"] == "sandbox/large"
    assert (await ask(client, "~sandbox/small-latest")).json()["model"] == "sandbox/small"


async def test_bad_requests_and_missing_keys_are_refused(client: httpx.AsyncClient) -> None:
    for content in (
        b"",
        b"{",
        b"[]",
        b'{"model":"sandbox/small"}',
        b'{"messages":[]}',
        b"[" * 9999,
    ):
        response = await client.post("/chat/completions", content=content)
        assert response.status_code == 400, content
    assert (await client.post("/messages", json=body())).status_code == 400
    wrong = {"Authorization": "Bearer x"}
    refused = await client.post("/chat/completions", json=body(), headers=wrong)
    assert refused.status_code == 401
    assert (await client.get("/credits", headers=wrong)).status_code == 401
    assert (await client.get("/models", headers=wrong)).status_code == 200
    assert (
        await client.post("/responses", json={"model": "m", "input": "x", "store": True})
    ).is_error


async def test_a_short_balance_is_402_before_any_work(
    client: httpx.AsyncClient, sim: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    await sim.post("/credit", json={"balance_usd": "0.0005"})
    refused = await ask(client, max_tokens=500)
    assert refused.status_code == 402
    assert refused.json()["user_id"].startswith("user_")
    assert "requested up to 500 tokens, but can only afford 38" in refused.text
    assert (await ask(client, max_tokens=38)).status_code == 200
    assert "Prompt tokens limit" in (await ask(client, "sandbox/large", "x" * 1000)).text
    assert (await ask(client, "sandbox/mini-free:free")).json()["usage"]["cost"] == 0
    await sim.post("/credit", json={"balance_usd": "-1"})
    assert (await ask(client, "sandbox/mini-free:free")).status_code == 402
    assert upstream.books.count == 2


async def test_the_catalogue_lists_and_pages(client: httpx.AsyncClient) -> None:
    listing = await client.get("/models")
    rows = listing.json()["data"]
    assert "max-age=300" in listing.headers["cache-control"]
    assert {row["architecture"]["output_modalities"][0] for row in rows} == {"text"}
    everything = (await client.get("/models?output_modalities=all")).json()
    assert everything["total_count"] == len(everything["data"]) > len(rows)
    page = (await client.get("/models?offset=2&limit=3")).json()
    assert [row["id"] for row in page["data"]] == [row["id"] for row in rows[2:5]]
    assert page["links"]["next"] == "/api/v1/models?offset=5&limit=3"
    faults = (await client.get("/models?faults=1")).json()["data"]
    assert "sandbox/fault-drop-mid-frame" in {row["id"] for row in faults}
    assert len({row["id"] for row in faults}) == len(faults)


async def test_models_and_their_endpoints_are_found_by_every_name(
    client: httpx.AsyncClient,
) -> None:
    for name in ("sandbox/large", "sandbox/large-20260901"):
        model = (await client.get(f"/model/{name}")).json()["data"]
        assert model["id"] == "sandbox/large"
    alias = (await client.get("/model/~sandbox/small-latest")).json()["data"]
    assert alias["id"] == "sandbox/small"
    assert (await client.get("/model/sandbox/auto")).json()["data"]["pricing"]["prompt"] == "-1"
    rows = (await client.get("/models/sandbox/large/endpoints")).json()["data"]["endpoints"]
    prices = [Decimal(row["pricing"]["prompt"]) for row in rows]
    assert min(prices) < max(prices)
    assert (await client.get("/model/sandbox/nowhere")).status_code == 404
    assert (await client.get("/nothing")).status_code == 404


async def test_the_generation_record_appears_after_its_delay(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    answer = await ask(client)
    path = f"/generation?id={answer.json()['id']}"
    assert (await client.get(path)).status_code == 404
    upstream.record_clock.advance(1)
    record = (await client.get(path)).json()["data"]
    assert record["total_cost"] == record["usage"] == answer.json()["usage"]["cost"]
    assert (record["cancelled"], record["streamed"]) == (False, False)
    assert record["native_tokens_completion"] == 20
    assert (await client.get("/generation?id=gen-0-none")).status_code == 404


async def test_credits_key_and_activity_agree_with_the_books(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    for model in ("sandbox/large", "sandbox/large", "sandbox/steady", "sandbox/own-key"):
        await ask(client, model)
    credit = (await client.get("/credits")).json()["data"]
    assert credit["total_credits"] == 1000
    assert credit["total_usage"] == float(upstream.books.total)
    key = (await client.get("/key")).json()["data"]
    assert key["usage"] == key["usage_daily"] == credit["total_usage"]
    assert (await client.get("/activity")).json()["data"] == []
    upstream.record_clock.advance(86_400)
    rows = (await client.get("/activity")).json()["data"]
    assert sum(Decimal(str(row["usage"])) for row in rows) == upstream.books.total
    assert {row["model"]: row["requests"] for row in rows}["sandbox/large"] == 2
    assert next(r for r in rows if r["model"] == "sandbox/own-key")["byok_usage_inference"] > 0
    assert (await client.get("/activity?date=2001-01-01")).json()["data"] == []


async def test_an_own_key_costs_the_account_nothing(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    usage = exact((await ask(client, "sandbox/own-key")).content).usage
    assert (usage.cost, usage.is_byok) == (0, True)
    assert usage.cost_details["upstream_inference_cost"] == Decimal("0.000172")
    assert upstream.books.total == 0
    assert upstream.books.rows[0].upstream_inference_cost == Decimal("0.000172")


async def test_embeddings_come_as_floats_and_as_base64(client: httpx.AsyncClient) -> None:
    asked = {"model": "sandbox/embed", "input": ["one", "two"], "dimensions": 4}
    plain = (await client.post("/embeddings", json=asked)).json()
    packed = (await client.post("/embeddings", json=asked | {"encoding_format": "base64"})).json()
    for first, second in zip(plain["data"], packed["data"], strict=True):
        unpacked = struct.unpack("<4f", base64.b64decode(second["embedding"]))
        assert list(unpacked) == first["embedding"]
    assert plain["usage"]["cost"] == pytest.approx(2 * 0.00000002)
    numbers = {"model": "sandbox/embed", "input": [[1, 2, 3], [4]]}
    assert (await client.post("/embeddings", json=numbers)).json()["usage"]["prompt_tokens"] == 4


async def test_rerank_images_speech_and_transcription_are_billed(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    asked = {"model": "sandbox/rerank", "query": "q", "documents": ["a", "b", "c"], "top_n": 2}
    ranked = (await client.post("/rerank", json=asked)).json()
    assert [r["index"] for r in ranked["results"]] == [0, 1]
    assert ranked["usage"]["cost"] == 0.002
    asked = {"model": "sandbox/painter", "prompt": "a cat", "n": 2}
    images = (await client.post("/images", json=asked)).json()
    assert base64.b64decode(images["data"][1]["b64_json"]).startswith(b"\x89PNG")
    assert images["usage"]["cost"] == pytest.approx(2 * 1290 * 0.00003)
    streamed = await client.post("/images", json=asked | {"stream": True})
    assert parsed(streamed.text)[-1]["type"] == "image_generation.completed"
    spoken = await client.post("/audio/speech", json={"model": "sandbox/voice", "input": "x" * 10})
    assert spoken.headers["content-type"] == "audio/pcm"
    assert upstream.books.rows[-1].cost == 10 * Decimal("0.000015")
    asked = {"model": "sandbox/voice", "input": "Hello", "response_format": "mp3"}
    mp3 = await client.post("/audio/speech", json=asked)
    assert mp3.headers["content-type"] == "audio/mpeg"
    heard = await client.post(
        "/audio/transcriptions",
        files={"file": ("a.wav", b"RIFF")},
        data={"model": "sandbox/scribe"},
    )
    assert heard.json()["text"]
    assert heard.json()["usage"]["cost"] == pytest.approx(0.0001)
    asked = {"model": "sandbox/scribe", "input_audio": {"data": "", "format": "wav"}}
    assert (await client.post("/audio/transcriptions", json=asked)).status_code == 200


async def test_messages_and_responses_streams_are_whole(client: httpx.AsyncClient) -> None:
    text = (await ask(client, api="messages", stream=True)).text
    assert text.endswith("event: data\ndata: [DONE]\n\n")
    events = parsed(text)
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    assert events[-2]["usage"]["cost"] == 0.000265
    events = parsed((await ask(client, api="responses", stream=True)).text)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["usage"]["cost"] == 0.000265


async def test_completions_answer_with_text(client: httpx.AsyncClient) -> None:
    answer = (await ask(client, api="completions")).json()
    chunks = parsed((await ask(client, api="completions", stream=True)).text)
    text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert answer["choices"][0]["text"] == text


async def test_edge_headers_are_there_to_be_stripped(client: httpx.AsyncClient) -> None:
    headers = (await ask(client)).headers
    assert "set-cookie" in headers
    assert "cf-ray" in headers


async def test_a_picture_counts_as_prompt_tokens(client: httpx.AsyncClient) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "What is this?"}, picture]
    asked = {"model": "sandbox/vision", "messages": [{"role": "user", "content": content}]}
    answer = (await client.post("/chat/completions", json=asked)).json()
    assert answer["usage"]["prompt_tokens"] == 258 + 3 + 4


async def test_totals_alone_are_kept_for_a_bench(
    client: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    upstream.books.keeps = False
    answer = await ask(client)
    assert (upstream.books.rows, upstream.books.count) == ([], 1)
    assert upstream.books.total == exact(answer.content).usage.cost
