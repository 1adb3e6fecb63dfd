"""No answer, header, frame, error or log shows what the operator pays, to whom, with what key."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.actions.table import perform
from reseller.config_schema import Log
from reseller.gateway.meter import Meter, Usage, shown_usage
from reseller.gateway.sse import ChunkRewriter, FrameScanner
from reseller.log import configure_logging
from reseller.sandbox.catalogue import STOPS_ON_CANCEL
from reseller.sandbox.faults import FAULTS
from reseller.sandbox.refusals import USER_ID
from tests.gateway.asking import body, stream
from tests.gateway.conftest import LARGE, SMALL, Stand

PROVIDERS = (*STOPS_ON_CANCEL, "Nebius", "Mistral", "Google", "SambaNova")
FORBIDDEN = (
    *(USER_ID, "gen-", "user_id", "upstream_inference", "cost_details", "is_byok", "byok"),
    *("openrouter", "OPENROUTER", "sandbox-edge", "CF-Ray", "cf-ray", "__edge", "set-cookie"),
    *("upstream.invalid", "settings/credits", "can only afford", "flagged sentence", "loopback"),
    *('"provider"', "provider_name", "native_tokens", "sandbox_padding", "workspace"),
)
# Faults that hold an answer until it is released.
HOLDING = {name for name, fault in FAULTS.items() if fault.hold_at}
ANSWERS = sorted(
    name for name, fault in FAULTS.items() if fault.scope == "inference" and name not in HOLDING
)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, as it would be written."""
    written, root = io.StringIO(), logging.getLogger()
    before, level = list(root.handlers), root.level
    configure_logging(Log(level="debug", format="json"), written)
    yield written
    for handler in list(root.handlers):
        if handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)


def cost_digits(stand: Stand) -> set[str]:
    """The digits of what was paid upstream, where there are enough to be no accident."""
    costs = [row.cost for row in stand.simulator.books.rows]
    costs += [row.upstream_inference_cost for row in stand.simulator.books.rows]
    digits = {str(int(cost * 10**18)).strip("0") for cost in costs if cost}
    return {text for text in digits if len(text) > 4} | {f"{cost:f}" for cost in costs if cost}


def searched(answer: httpx.Response) -> str:
    """All of an answer as text."""
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    return headers + "\n\n" + answer.text


@pytest.mark.parametrize("model", [SMALL, LARGE])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_nothing_of_the_upstream_is_shown(
    stand: Stand, logged: io.StringIO, is_stream: bool, model: str
) -> None:
    """Every answer the simulator can give, with its secrets in it: none of them gets through."""
    key = await stand.customer(credit="1000")
    stand.simulator.faults.add("metadata")
    for name in ("metadata", *ANSWERS):
        stand.simulator.faults.add(f"{name}+metadata" if "frame" not in name else name)
        answer = await stand.chat(key, model, stream=is_stream)
        stand.simulator.faults.clear()
        text = searched(answer)
        for word in (*FORBIDDEN, *PROVIDERS, stand.simulator.api_key, key):
            assert word not in text, (name, word, text[:2_000])
        for digits in cost_digits(stand):
            assert digits not in text, (name, digits)
        assert answer.headers["x-request-id"].startswith("req_")
    await stand.idle()
    for secret in (key, stand.simulator.api_key, key[6:]):
        assert secret not in logged.getvalue()
    assert '"event":"request"' in logged.getvalue()


async def test_headers_pass_an_allow_list(stand: Stand) -> None:
    """Of the upstream's headers none passes; ours are few and known."""
    key = await stand.customer()
    known = {
        *("content-type", "content-length", "date", "x-request-id", "access-control-allow-origin"),
        *("access-control-expose-headers", "cache-control", "x-accel-buffering"),
        *("x-should-retry", "retry-after", "retry-after-ms", "transfer-encoding", "connection"),
    }
    for name in ("metadata", "429-limit", "503-retry-after", "402-credits", "gzip"):
        for is_stream in (False, True):
            stand.simulator.faults.add(name)
            answer = await stand.chat(key, stream=is_stream)
            found = {h for h in answer.headers if not h.startswith("x-ratelimit-")}
            assert found <= known, found - known
            reset = answer.headers.get("x-ratelimit-reset-requests", "")
            assert "1999999999000" not in reset
    await stand.check_books()


async def test_completions_and_embeddings_show_nothing(stand: Stand) -> None:
    """The other endpoints, whole and streamed."""
    key = await stand.customer()
    for path, asked in (
        ("/v1/completions", {"model": SMALL, "prompt": "hi"}),
        ("/v1/completions", {"model": SMALL, "prompt": "hi", "stream": True}),
        ("/v1/embeddings", {"model": "sandbox/embed", "input": "hi"}),
    ):
        stand.simulator.faults.add("metadata")
        answer = await stand.post(path, asked, key)
        assert answer.status_code == 200
        for word in (*FORBIDDEN, *PROVIDERS):
            assert word not in searched(answer), word
    await stand.check_books()


async def test_the_cost_shown_is_the_charge(stand: Stand) -> None:
    """`usage.cost` times nothing: exactly what the ledger took, whole and streamed."""
    key = await stand.customer()
    shown = []
    answer = await stand.post("/v1/chat/completions", body(LARGE), key)
    shown.append(msgspec.json.decode(answer.content, type=dict[str, Any])["usage"])
    shown.append((await stream(stand, key, LARGE)).usages[-1])
    await stand.check_books()
    moved = await stand.rows("select amount_nanos from transfer where kind = 'usage'")
    for usage, row in zip(shown, moved, strict=True):
        assert Decimal(str(usage["cost"])) * 10**9 == row["amount_nanos"]
        assert usage.keys() == {
            *("prompt_tokens", "completion_tokens", "total_tokens", "cost"),
            *("prompt_tokens_details", "completion_tokens_details"),
        }


async def test_the_list_shows_our_prices_alone(stand: Stand) -> None:
    """Models are listed at the customer's price; the upstream's is in no field."""
    listed = await stand.http.get(f"{stand.url}/v1/models")
    large = next(m for m in listed.json()["data"] if m["id"] == LARGE)
    assert large["pricing"]["prompt"] == "0.000003"
    assert "0.0000025" not in json.dumps(large)
    for word in ("openrouter", "per_request_limits", "canonical_slug", *PROVIDERS):
        assert word not in searched(listed), word


async def test_no_endpoint_answers_for_another_account(stand: Stand) -> None:
    """Nobody learns of others: neither by our request id nor by the upstream's."""
    mine, theirs = await stand.customer(), await stand.customer("bob@example.com")
    answer = await stand.chat(mine)
    ids = [answer.json()["id"], stand.simulator.books.rows[0].id]
    before = len(stand.simulator.received)
    for name in ids:
        for path in (f"generation?id={name}", f"responses/{name}", f"chat/completions/{name}"):
            for prefix in ("/v1/", "/api/v1/"):
                got = await stand.http.get(
                    stand.url + prefix + path, headers={"authorization": f"Bearer {theirs}"}
                )
                assert got.status_code in (404, 405), path
                assert "hello" not in got.text
    for path in ("credits", "key", "keys", "activity", "files", "batches", "dashboard/billing"):
        got = await stand.http.get(
            f"{stand.url}/v1/{path}", headers={"authorization": f"Bearer {theirs}"}
        )
        assert "ada@" not in got.text
        assert "9.99" not in got.text
    assert len(stand.simulator.received) == before
    await stand.check_books()


async def test_alarms_name_requests_not_keys(stand: Stand, logged: io.StringIO) -> None:
    """What the operator hears names our request ids; customers' words are in no log."""
    key = await stand.customer()
    text = "my dearest secret"
    for name in ("cost-null", "401", "402-credits", "not-json", "drop-mid-stream"):
        stand.simulator.faults.add(name)
        await stand.post("/v1/chat/completions", body(SMALL, text), key)
        stand.shop.core.live.admission.reasons.clear()
    await stand.post("/v1/chat/completions", body("no/model", text), key)
    await stand.post("/v1/chat/completions", f'{{"{text}": 1'.encode(), key)
    await stand.settled()
    found = await perform(stand.shop.core, "stats.show", {})
    for secret in (text, key, key[6:], stand.simulator.api_key, USER_ID):
        assert secret not in logged.getvalue()
        assert secret not in json.dumps(found)


# Frames at every split, as a unit.

SECRET = "DeepInfra"
HEAD = (
    '{"id":"gen-1-secret","object":"chat.completion.chunk","created":1,"model":"m",'
    f'"provider":"{SECRET}",'
)
USAGE = (
    '"usage":{"prompt_tokens":3,"completion_tokens":2,"cost":0.00123456789,"is_byok":false,'
    '"cost_details":{"upstream_inference_cost":0.00123456789}}'
)


def chunk(text: str, more: str = "", behind: str = "") -> str:
    """One chunk with a piece of text."""
    said = json.dumps(text, ensure_ascii=False)
    choices = f'"choices":[{{"index":0,"delta":{{"content":{said}}},"finish_reason":null}}]'
    return f"{HEAD}{more}{choices}{behind}}}"


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12
) | st.sampled_from(['"', "\\", '"usage"', '"provider":"x"', "data: [DONE]", "\r\n\r\n", "\n\n"])
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
COMMENTS = st.lists(st.sampled_from(["", ": x", ":", ": OPENROUTER PROCESSING"]), max_size=2)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """The bytes of a stream and what it says; line ends, comments and its end as they may be."""
    end, texts, lines = draw(ENDS), draw(st.lists(TEXTS, max_size=6)), []
    for text in texts:
        lines += draw(COMMENTS)
        kind = draw(st.integers(0, 4))
        behind = ',"user_id":"secret"' if kind == 1 else ""
        more = '"openrouter_metadata":{"a":"secret"},' if kind == 2 else ""
        lines += ["", f"data: {chunk(text, more, behind)}" if kind else f"data:{chunk(text)}", ""]
    lines += [f"data: {chunk('', behind=',' + USAGE)}", ""]
    if draw(st.booleans()):
        lines += ["data: [DONE]", ""]
    whole = end.join(lines)
    return (whole + end if draw(st.booleans()) else whole).encode(), texts


def rewritten(raw: bytes, cuts: list[int]) -> tuple[list[dict[str, Any]], list[Usage], bytes]:
    """The frames that leave for these bytes, cut at these places."""
    seen: list[Usage] = []

    def on_usage(usage: Usage) -> dict[str, Any]:
        seen.append(usage)
        return shown_usage(usage, 1_481_482)

    scanner, rewriter = FrameScanner(), ChunkRewriter("req_1", Meter(), on_usage)
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    out = b""
    for start, stop in pairwise(places):
        out += rewriter.rewrite(scanner.feed(raw[start:stop]))
    out += rewriter.rewrite(scanner.end())
    frames = [f for f in out.split(b"\n\n") if f and not f.startswith(b":")]
    assert all(frame.startswith(b"data: ") for frame in frames)
    return [json.loads(f[6:]) for f in frames if f != b"data: [DONE]"], seen, out


@given(streams(), st.lists(st.integers(0, 10_000), max_size=8))
def test_frames_at_any_split(found: tuple[bytes, list[str]], cuts: list[int]) -> None:
    """However the bytes come in pieces: every word once and in order, one usage, no secret."""
    raw, texts = found
    frames, usages, out = rewritten(raw, cuts)
    assert [f["choices"][0]["delta"]["content"] for f in frames] == [*texts, ""]
    assert {frame["id"] for frame in frames} == {"req_1"}
    assert [usage.cost_picos for usage in usages] == [1_234_567_890]
    assert frames[-1]["usage"]["cost"] == 0.001481482
    for secret in (b"secret", b"gen-", SECRET.encode(), b"123456789", b"user_id", b"OPENROUTER"):
        assert secret not in out


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_one_stream_at_every_split(end: bytes) -> None:
    """Cut in two at each of its bytes the stream gives the same answer."""
    raw = b": hi\n\ndata: %b\n\ndata: %b\n\ndata: %b\n\ndata: [DONE]\n\n" % (
        chunk("é\n").encode(),
        chunk('say "x"').encode(),
        chunk("", behind="," + USAGE).encode(),
    )
    raw = raw.replace(b"\n", end)
    whole = rewritten(raw, [])
    assert len(whole[0]) == 3
    for cut in range(1, len(raw)):
        frames, usages, out = rewritten(raw, [cut])
        assert frames == whole[0], cut
        assert len(usages) == 1
        assert b"secret" not in out
    byte_by_byte, _, _ = rewritten(raw, list(range(len(raw))))
    assert byte_by_byte == whole[0]


def test_a_frame_of_8_megabytes() -> None:
    """A huge frame in pieces of 16 KB is not copied again with each of them."""
    text = "x" * 8_000_000
    raw = f"data: {chunk('a')}\n\ndata: {chunk(text)}\n\ndata: [DONE]\n\n".encode()
    frames, _, _ = rewritten(raw, list(range(0, len(raw), 16_384)))
    assert frames[1]["choices"][0]["delta"]["content"] == text


FIRST = f"data: {chunk('a')}\n\ndata: {chunk('b')}\n\n"
SLIPPERY = {
    "usage spelled with an escape": chunk("c", behind=',"us\\u0061ge":{"cost":0.00123456789}'),
    "provider again": chunk("c", behind=f',"provider":"{SECRET}"'),
    "id again": chunk("c", behind=',"id":"gen-1-secret"'),
    "error null": chunk("c", behind=',"error":null'),
    "another head": chunk("c").replace("gen-1-secret", "gen-2-secret"),
    "white space": chunk("c").replace('":', '" : ').replace(",", " ,\t"),
    "keys in another order": f'{{"choices":[],"provider":"{SECRET}","id":"gen-1-secret"}}',
    "choices with an error": HEAD
    + '"choices":[{"index":0,"delta":{"content":"c"},"error":{"message":"secret"}}]}',
    "unknown field behind": chunk("c", behind=',"account":"secret"'),
    "unknown list behind": chunk("c", behind=',"accounts":["secret"]'),
    "unknown field before": chunk("c", more='"account":"secret",'),
}


@pytest.mark.parametrize("name", SLIPPERY)
def test_frames_that_try_to_slip_through(name: str) -> None:
    """Whatever a later frame carries and however it is written, only known fields leave."""
    raw = f"{FIRST}data: {SLIPPERY[name]}\n\ndata: [DONE]\n\n".encode()
    frames, _, out = rewritten(raw, [])
    assert len(frames) == 3
    known = {"id", "object", "created", "model", "choices", "usage", "service_tier"}
    assert frames[-1].keys() <= known
    for secret in (b"secret", SECRET.encode(), b"123456789"):
        assert secret not in out, out
