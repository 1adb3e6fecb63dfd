"""What one key must not be able to do to everybody else: hold the process, hold the room."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from tests.gateway.conftest import SMALL, Stand, running_shop

FILLERS = (b",{}", b",[]", b',{"a":1}')


async def slowest_health(stand: Stand, during: asyncio.Task[object]) -> float:
    """The longest that `/healthz` took while something else went on."""
    slowest = 0.0
    while not during.done():
        began = time.monotonic()
        await stand.http.get(f"{stand.url}/healthz")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.01)
    return slowest


@pytest.mark.parametrize("filler", FILLERS)
async def test_a_body_of_millions_of_parts_is_refused(stand: Stand, filler: bytes) -> None:
    """It is counted, not built: 413, nothing held, and others are served meanwhile."""
    key = await stand.customer()
    parts = b'["image_url"' + filler * (4_000_000 // len(filler)) + b"]"
    body = b'{"model":"%b","messages":[{"role":"user","content":%b}]}' % (SMALL.encode(), parts)
    asked = asyncio.create_task(stand.post("/v1/chat/completions", body, key))
    await slowest_health(stand, asked)
    answer = await asked
    assert answer.status_code == 413, answer.text
    assert (await stand.balance())["held_usd"] == "0.00"


async def test_a_body_of_many_fields_is_refused(stand: Stand) -> None:
    """Nobody walks over a hundred thousand keys."""
    key = await stand.customer()
    body = "{ " + ",".join(f'"k{number}":1' for number in range(100_000)) + "}"
    assert (await stand.post("/v1/chat/completions", body, key)).status_code == 413


async def test_numbers_beyond_reason_are_a_400(stand: Stand) -> None:
    """A number that no type holds, beside a mark of media."""
    key = await stand.customer()
    for digits in ("9" * 100, "9" * 5_000, "1e999999"):
        body = (
            f'{{"model":"{SMALL}","messages":[{{"role":"user","content":["image_url",{digits}]}}]}}'
        )
        answer = await stand.post("/v1/chat/completions", body, key)
        assert answer.status_code in (400, 502), answer.text
        assert answer.json()["error"]["code"] != "internal_error"
    await stand.check_books()


async def test_an_empty_account_is_refused_before_its_body_is_read(stand: Stand) -> None:
    """402 at once, whatever the body holds."""
    key = await stand.customer("poor@example.com", credit=None)
    answer = await stand.post("/v1/chat/completions", b"not json at all", key)
    assert answer.status_code == 402


async def test_an_early_burst_buys_no_silence(tmp_path: Path) -> None:
    """A body that came fast and then stops is given up like any other slow one."""
    async with running_shop(tmp_path / "data", server__body_timeout_s=0.5) as stand:
        key = await stand.customer()
        host, port = stand.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        writer.write(head.encode() + b"content-length: 4000000\r\n\r\n" + b" " * 3_000_000)
        async with asyncio.timeout(8):
            assert b" 408 " in await reader.readline()
        assert stand.shop.engine.bodies.in_flight_bytes == 0
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_one_account_cannot_take_all_the_room(tmp_path: Path) -> None:
    """Half of the room at most is one account's; small bodies of others always find some."""
    flags = {"server__bodies_in_flight_mb": 4, "server__body_limit_mb": 2}
    async with running_shop(tmp_path / "data", **flags) as stand:
        greedy = await stand.customer("greedy@example.com")
        other = await stand.customer("other@example.com")
        host, port = stand.url.removeprefix("http://").split(":")
        writers = []
        for _ in range(4):
            _, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {greedy}"
            )
            writer.write(head.encode() + b"\r\ncontent-length: 2000000\r\n\r\n" + b" " * 1_900_000)
            writers.append(writer)
        await asyncio.sleep(0.3)
        assert stand.shop.engine.bodies.in_flight_bytes < 3 * 1_048_576
        large = [{"role": "user", "content": "word " * 60_000}]
        assert (await stand.chat(other)).status_code == 200
        assert (await stand.chat(other, messages=large)).status_code == 200
        for writer in writers:
            writer.close()


async def test_a_websocket_is_turned_away(stand: Stand) -> None:
    """There are none: a clear refusal, no traceback."""
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket"
        b"\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert b" 403 " in await reader.readline()
    writer.close()
