"""Shortcuts for asking the gateway and for reading what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.gateway.conftest import SMALL, Stand

DAY_S = 86_400.0


@dataclass(slots=True)
class Streamed:
    """A stream, taken apart: data frames as objects, comments counted."""

    status: int
    headers: httpx.Headers
    raw: bytes
    frames: list[dict[str, Any]] = field(default_factory=list)
    comments: int = 0
    is_done: bool = False

    @property
    def text(self) -> str:
        """What was said."""
        parts = [c["delta"].get("content") or "" for f in self.frames for c in f.get("choices", ())]
        return "".join(parts)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of the last frame."""
        found: dict[str, Any] | None = self.frames[-1].get("error") if self.frames else None
        return found

    @property
    def usages(self) -> list[dict[str, Any]]:
        """Every usage that came."""
        return [frame["usage"] for frame in self.frames if frame.get("usage")]


def ask(text: str = "hello") -> list[Any]:
    """One user message."""
    return [{"role": "user", "content": text}]


def body(model: str = SMALL, text: str = "hello", **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": model, "messages": ask(text), **more}


def taken_apart(answer: httpx.Response) -> Streamed:
    """A whole stream as its frames."""
    found = Streamed(answer.status_code, answer.headers, answer.content)
    if answer.status_code != 200:
        return found
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content.endswith(b"\n\n")
    for frame in answer.content[:-2].split(b"\n\n"):
        if frame.startswith(b":"):
            found.comments += 1
        elif frame == b"data: [DONE]":
            found.is_done = True
        else:
            assert not found.is_done, "a frame after [DONE]"
            assert frame.startswith(b"data: {"), frame
            found.frames.append(json.loads(frame[6:]))
    return found


async def stream(
    stand: Stand, key: str, model: str = SMALL, text: str = "hello", **more: Any
) -> Streamed:
    """A streamed chat, read to its end."""
    asked = body(model, text, stream=True, **more)
    return taken_apart(await stand.post("/v1/chat/completions", asked, key))


async def usage_rows(stand: Stand) -> list[dict[str, Any]]:
    """What was settled, oldest first."""
    return await stand.rows("select * from usage_record order by id")


async def exposures(stand: Stand) -> list[dict[str, Any]]:
    """What may have been billed without our ever learning its id."""
    return await stand.rows("select * from exposure")


async def holds(stand: Stand) -> list[dict[str, Any]]:
    """Open and pending holds on disk."""
    return await stand.rows("select * from hold")


async def give_up(stand: Stand) -> None:
    """Let more than a day pass, the record being asked for a few times."""
    await stand.idle()
    stand.clock.advance(DAY_S + 60)
    for _ in range(200):
        await stand.shop.pending.settle_now()
        if not stand.shop.pending.waiting:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not given up after a day")


async def waits(claim: Any, timeout_s: float = 5.0) -> None:
    """Return once `claim()` holds."""
    async with asyncio.timeout(timeout_s):
        while not claim():
            await asyncio.sleep(0.005)


def is_whole_error(answer: httpx.Response) -> bool:
    """Whether this is an error in OpenAI's shape and nothing else."""
    found = answer.json()
    return (
        found.keys() == {"error"}
        and found["error"].keys() == {"message", "type", "param", "code"}
        and answer.headers["x-should-retry"] in ("true", "false")
        and answer.headers["x-request-id"].startswith("req_")
    )


class RawConnection:
    """A bare HTTP/1.1 connection: what no client library would do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        lines = raw.decode("latin-1").split("\r\n")
        headers = [line.split(": ", 1) for line in lines[1:] if line]
        return int(lines[0].split()[1]), {name.lower(): value for name, value in headers}

    async def whole(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer with a body of declared length."""
        status, headers = await self.head()
        length = int(headers.get("content-length", "0"))
        return status, headers, await asyncio.wait_for(self.reader.readexactly(length), 5)

    async def rest(self, timeout_s: float = 5.0) -> bytes:
        """Everything until the other side closes."""
        return await asyncio.wait_for(self.reader.read(), timeout_s)

    def reset(self) -> None:
        """Leave as a program that was killed."""
        bare = self.writer.get_extra_info("socket")
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def request_bytes(key: str, content: bytes, path: str = "/v1/chat/completions") -> bytes:
    """A whole POST request."""
    return (
        b"POST %b HTTP/1.1\r\nhost: test\r\nauthorization: Bearer %b\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (path.encode(), key.encode(), len(content), content)
    )


def chat_bytes(key: str, model: str = SMALL, text: str = "hello", **more: Any) -> bytes:
    """A whole chat request."""
    return request_bytes(key, json.dumps(body(model, text, **more)).encode())


@contextlib.asynccontextmanager
async def connection(stand: Stand, read_limit: int = 65_536) -> AsyncIterator[RawConnection]:
    """A bare connection to the gateway, closed at the end of the block."""
    address = urlsplit(stand.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=read_limit)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
