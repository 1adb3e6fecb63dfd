"""The edge of HTTP on both servers: versions, methods, headers, connections, browsers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reseller.gateway.outbox import OUTBOX_BYTES
from tests.gateway.asking import (
    body,
    chat_bytes,
    connection,
    is_whole_error,
    request_bytes,
    stream,
    waits,
)
from tests.gateway.conftest import SMALL, Stand, running_shop

CHAT = "/v1/chat/completions"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.fixture
async def stand(tmp_path: Path, engine: str) -> AsyncIterator[Stand]:
    """A shop on each of the two servers."""
    async with running_shop(tmp_path / "data", server__engine=engine) as found:
        yield found


async def test_http_2_is_the_front_proxys(stand: Stand) -> None:
    """Prior knowledge of HTTP/2 ends in a closed connection or 505, never in a hang; what comes
    after it is served."""
    key = await stand.customer()
    async with connection(stand) as wire:
        # Headers of GET /v1/models as an HTTP/2 frame, fields from the static table and plain.
        fields = b"\x82\x86\x84\x41\x04test"
        head = len(fields).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + fields
        await wire.send(PREFACE + SETTINGS + head)
        try:
            async with asyncio.timeout(2):
                answer = await wire.reader.read(1_000)
        except TimeoutError:
            answer = b"a hang"
        assert answer != b"a hang"
        assert b"200" not in answer
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_an_upgrade_to_http_2_is_ignored(stand: Stand) -> None:
    """The request is answered as the HTTP/1.1 it is."""
    key = await stand.customer()
    async with connection(stand) as wire:
        whole = chat_bytes(key).replace(
            b"host: test\r\n",
            b"host: test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
            b"http2-settings: AAMAAABkAAQAAP__\r\n",
        )
        await wire.send(whole)
        status, _ = await wire.head()
        assert status in (200, 101, 400)
        assert status != 101
    await stand.check_books()


async def test_http_1_0(stand: Stand) -> None:
    """The oldest clients are served and their connection is closed."""
    key = await stand.customer()
    async with connection(stand) as wire:
        await wire.send(chat_bytes(key).replace(b"HTTP/1.1", b"HTTP/1.0"))
        raw = await wire.rest()
        assert raw.split(b"\r\n")[0].split()[1] == b"200"
        assert b'"choices"' in raw
    await stand.check_books()


@pytest.mark.parametrize("size", [40_000, 300_000])
async def test_headers_too_large(stand: Stand, size: int) -> None:
    """Refused with 431 or 400, or the connection is closed; nothing is charged."""
    key = await stand.customer()
    async with connection(stand) as wire:
        more = b"host: test\r\nx-filler: " + b"x" * size + b"\r\n"
        whole = chat_bytes(key).replace(b"host: test\r\n", more)
        try:
            await wire.send(whole)
            status, _ = await wire.head()
        except (ConnectionError, asyncio.IncompleteReadError):
            status = 431
        assert status in (400, 431)
    assert not stand.simulator.books.rows
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_pipelined_requests(stand: Stand) -> None:
    """Requests sent without waiting are answered in order, each once."""
    key = await stand.customer()
    async with connection(stand) as wire:
        await wire.send(b"".join(chat_bytes(key, max_tokens=n) for n in (1, 2, 3)))
        finishes = []
        for _ in range(3):
            status, _, content = await wire.whole()
            assert status == 200
            finishes.append(json.loads(content)["usage"]["completion_tokens"])
    assert finishes == [1, 2, 3]
    await stand.check_books()


async def test_a_connection_after_an_early_error(stand: Stand) -> None:
    """An answer given before the body was read does not confuse the connection: the next request
    on it is answered rightly, or the connection is closed."""
    key = await stand.customer()
    for refused in (
        request_bytes("sk-rs-wrong", b'{"a": "' + b"POST / HTTP/1.1\r\n\r\n" * 3_000 + b'"}'),
        request_bytes(key, b"x" * 100_000, "/v1/nowhere"),
    ):
        async with connection(stand) as wire:
            await wire.send(refused[: len(refused) // 2])
            status, _, _ = await wire.whole()
            assert status in (401, 404)
            try:
                await wire.send(refused[len(refused) // 2 :])
                await wire.send(chat_bytes(key))
                status, _, content = await wire.whole()
            except (ConnectionError, asyncio.IncompleteReadError):
                continue
            assert status == 200
            assert json.loads(content)["choices"]
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_one_connection_serves_many(stand: Stand) -> None:
    """Errors, JSON and streams follow one another on one connection."""
    key = await stand.customer()
    async with connection(stand) as wire:
        for _ in range(3):
            await wire.send(chat_bytes(key, "no/model"))
            assert (await wire.whole())[0] == 404
            await wire.send(chat_bytes(key))
            assert (await wire.whole())[0] == 200
            await wire.send(chat_bytes(key, stream=True))
            status, headers = await wire.head()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            await asyncio.wait_for(wire.reader.readuntil(b"0\r\n\r\n"), 5)
    await stand.check_books()


async def test_browsers_may_call(stand: Stand) -> None:
    """The preflight allows every origin without credentials; answers and errors carry CORS
    headers, and cookies are neither read nor set."""
    key = await stand.customer()
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    allowed = await stand.http.options(stand.url + CHAT, headers=asked)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert (
        allowed.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
    )
    assert int(allowed.headers["access-control-max-age"]) > 0
    cookie = {"cookie": f"session={key}; key={key}", "origin": "https://app.example"}
    refused = await stand.http.post(stand.url + CHAT, json=body(), headers=cookie)
    served = await stand.post(CHAT, body(), key, headers=cookie)
    assert (refused.status_code, served.status_code) == (401, 200)
    for answer in (allowed, refused, served):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers
    for name in ("x-request-id", "retry-after", "x-ratelimit-remaining-requests"):
        assert name in served.headers["access-control-expose-headers"]
    await stand.check_books()


async def test_paths_and_prefixes(stand: Stand) -> None:
    """`/v1` and `/api/v1` are the same; a model's slash may be encoded; a slash at the end and
    unknown paths are no trouble."""
    key = await stand.customer()
    for prefix in ("/v1", "/api/v1"):
        assert (await stand.post(f"{prefix}/chat/completions", body(), key)).status_code == 200
        assert (await stand.post(f"{prefix}/chat/completions/", body(), key)).status_code == 200
        for name in (SMALL, SMALL.replace("/", "%2F"), SMALL.replace("/", "%2f")):
            got = await stand.http.get(f"{stand.url}{prefix}/models/{name}")
            assert got.json()["id"] == SMALL
        assert len((await stand.http.get(f"{stand.url}{prefix}/models")).json()["data"]) > 5
        for path in ("", "/", "/nowhere", "/chat", "/models/no%2Fmodel", "/chat/completions/x"):
            got = await stand.http.get(f"{stand.url}{prefix}{path}")
            assert got.status_code == 404, path
            assert is_whole_error(got)
    for path in ("/v2/chat/completions", "/v1x/models", "/api/v1/v1/models"):
        assert (await stand.http.get(stand.url + path)).status_code == 404
    await stand.check_books()


async def test_wrong_methods(stand: Stand) -> None:
    """405 in the API's shape; HEAD without a body."""
    key = await stand.customer()
    headers = {"authorization": f"Bearer {key}"}
    for method, path in (
        *(("GET", CHAT), ("PUT", CHAT), ("DELETE", CHAT), ("PATCH", CHAT), ("HEAD", CHAT)),
        *(("POST", "/v1/models"), ("PUT", f"/v1/models/{SMALL}"), ("HEAD", "/v1/models")),
    ):
        answer = await stand.http.request(method, stand.url + path, headers=headers)
        assert answer.status_code == 405, (method, path)
        if method == "HEAD":
            assert answer.content == b""
        else:
            assert is_whole_error(answer)
            assert answer.json()["error"]["code"] == "method_not_allowed"
        assert answer.headers["allow"] == ("POST, OPTIONS" if path == CHAT else "GET, OPTIONS")
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_headers_that_never_end(stand: Stand) -> None:
    """Slow headers hold only their own connection; others are served meanwhile."""
    key = await stand.customer()
    async with connection(stand) as slow, connection(stand) as slower:
        await slow.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        await slower.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a:")
        for _ in range(5):
            await slower.send(b"a")
            assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_nonsense_on_the_wire(stand: Stand) -> None:
    """What is no HTTP gets 400 or a closed connection, and nobody else notices."""
    key = await stand.customer()
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\nhost: x\r\n\r\n",
        request_bytes(key, b"{}").replace(b"content-length: 2", b"content-length: -2"),
        request_bytes(key, b"{}").replace(
            b"content-length: 2", b"content-length: 2\r\ncontent-length: 3"
        ),
        request_bytes(key, b"{}").replace(b"content-length: 2", b"transfer-encoding: gzip"),
    ):
        async with connection(stand) as wire:
            await wire.send(raw)
            answer = await asyncio.wait_for(wire.reader.read(1_000), 2)
            assert not answer or answer.split()[1] in (b"400", b"501", b"505"), answer[:100]
    assert (await stand.chat(key)).status_code == 200
    await stand.check_books()


async def test_both_lengths_are_no_smuggling(stand: Stand) -> None:
    """A length and chunks together are refused, or read as chunks and the connection closed:
    the rest is never taken for a second request."""
    key = await stand.customer()
    second = chat_bytes(key)
    chunked = b"0\r\n\r\n" + second
    whole = request_bytes(key, b"").replace(
        b"content-length: 0", b"content-length: %d\r\ntransfer-encoding: chunked" % len(chunked)
    )
    async with connection(stand) as wire:
        await wire.send(whole + chunked)
        status, _ = await wire.head()
        assert status == 400
        await asyncio.sleep(0.1)
    assert len(stand.simulator.books.rows) <= 1
    await stand.check_books()


async def test_a_slow_reader_holds_the_upstream_back(stand: Stand) -> None:
    """What a client does not take is not read from the upstream either: memory stays bounded,
    and when it reads on it gets every word."""
    key = await stand.customer()
    async with connection(stand, read_limit=1_024) as wire:
        asked = "[[tokens=30000]] go on"
        await wire.send(chat_bytes(key, "sandbox/reasoner", asked, stream=True))
        await waits(lambda: stand.shop.engine.running)
        (call,) = stand.shop.engine.running.values()
        await asyncio.sleep(0.3)
        assert stand.shop.engine.running
        assert call.outbox._size < 4 * OUTBOX_BYTES
        assert call.meter.frames < 29_000
        raw = b""
        while b"data: [DONE]" not in raw[-2_000:]:
            raw += await asyncio.wait_for(wire.reader.read(1_000_000), 5)
    assert raw.count(b'"content":"') >= 30_000
    await stand.check_books()


async def test_a_client_that_closes_its_sending_half(stand: Stand) -> None:
    """It gets its answer or is taken for gone; in both cases the books are right."""
    key = await stand.customer()
    async with connection(stand) as wire:
        await wire.send(chat_bytes(key))
        wire.writer.write_eof()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1_000), 0.3)
    await stand.check_books()
    assert len(stand.simulator.books.rows) <= 1


async def test_every_answer_has_an_id_of_its_own(stand: Stand) -> None:
    """Request ids are ours, unique and the same in header and body; one sent by the client is
    ignored."""
    key = await stand.customer()
    seen = set()
    for _ in range(3):
        answer = await stand.post(CHAT, body(), key, headers={"x-request-id": "mine"})
        assert answer.json()["id"] == answer.headers["x-request-id"] != "mine"
        seen.add(answer.headers["x-request-id"])
        seen.add((await stream(stand, key)).headers["x-request-id"])
        seen.add((await stand.chat(None)).headers["x-request-id"])
    assert len(seen) == 9
    await stand.check_books()


async def test_http_clients_in_a_row(stand: Stand) -> None:
    """Fifty short connections one after another leave nothing behind."""
    key = await stand.customer()
    for _ in range(50):
        async with connection(stand) as wire:
            whole = chat_bytes(key).replace(b"host: test", b"host: test\r\nconnection: close")
            await wire.send(whole)
            assert b'"choices"' in await wire.rest()
    assert not stand.shop.engine.running
    await stand.check_books()
