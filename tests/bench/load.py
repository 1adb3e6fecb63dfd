"""The load: many clients on raw connections, each asking again as soon as it was answered."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MODEL = "sandbox/small"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMEOUT_S = 60.0
_PROMPT = (
    "Please read the following lines and say in a few plain words what they are about, then name "
    "the one thing in them that a careful reader would want to know more about. "
)


class Refused(Exception):
    """An answer other than 200, or none: the measurement is worth nothing."""


@dataclass(slots=True)
class Answer:
    """When it was asked, when its first piece of content came and when its end, in seconds."""

    asked: float
    first: float = 0.0
    ended: float = 0.0
    size: int = 0


def request(key: str, *, stream: bool, steer: str = "", max_tokens: int = 200) -> bytes:
    """A chat request as bytes; `steer` holds directives to the simulator."""
    asked = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": _PROMPT + steer},
        ],
        "temperature": 0.7,
        "max_tokens": max_tokens,
    }
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(asked, separators=(",", ":")).encode()
    head = (
        "POST /api/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"user-agent: OpenAI/Python 3.0\r\nauthorization: Bearer {key}\r\n"
        f"accept: application/json\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One kept connection: a request, its answer to the end, the next request."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Answer] | None = None
        self._answer = Answer(0)
        self._head = b""
        self._in_body = False
        # Bytes of the body that are still to come; None: chunked.
        self._left: int | None = None
        self._tail = b""

    @classmethod
    async def open(cls, url: str) -> Connection:
        """A new connection."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, parts.hostname, parts.port)
        return protocol

    async def ask(self, asked: bytes) -> Answer:
        """Send a request and hear its answer. Raises Refused."""
        assert self.transport is not None
        self._answer = Answer(time.perf_counter())
        self._head, self._in_body, self._left, self._tail = b"", False, None, b""
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(asked)
        async with asyncio.timeout(_TIMEOUT_S):
            return await self._done

    def close(self) -> None:
        """Leave, whatever is under way."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that has not ended never will."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(Refused(f"the server closed the connection ({exc})"))
            self._done.exception()

    def data_received(self, data: bytes) -> None:
        """Find the head, the first content and the end."""
        if not self._in_body:
            self._head += data
            at = self._head.find(b"\r\n\r\n")
            if at < 0:
                return
            data, head = self._head[at + 4 :], self._head[:at]
            self._in_body = True
            if head[9:12] != b"200":
                self._fail(self._head)
                return
            found = _LENGTH.search(head)
            self._left = int(found[1]) if found else None
        if not data:
            return
        answer = self._answer
        answer.size += len(data)
        if not answer.first and (self._left is not None or b"data: " in data):
            answer.first = time.perf_counter()
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._end()
        else:
            self._tail = (self._tail + data)[-5:]
            if self._tail == b"0\r\n\r\n":
                self._end()

    def _end(self) -> None:
        self._answer.ended = time.perf_counter()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)

    def _fail(self, data: bytes) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(Refused(data[:400].decode("latin-1")))


@dataclass(slots=True)
class Live:
    """A number of clients that ask again and again until they are told to stop."""

    url: str
    requests: Sequence[bytes]
    answers: list[Answer] = field(default_factory=list)
    is_over: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, clients: int, spread_s: float = 0.0) -> None:
        """Start the clients, evenly over a time."""
        for number in range(clients):
            wait_s = spread_s * number / clients
            asked = self.requests[number % len(self.requests)]
            self._tasks.append(asyncio.create_task(self._client(asked, wait_s)))

    async def stop(self) -> None:
        """Let each client hear its last answer to the end. Raises Refused."""
        self.is_over = True
        await asyncio.gather(*self._tasks)

    async def leave(self) -> None:
        """Close all connections in the middle of whatever they hear."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, asked: bytes, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        connection = await Connection.open(self.url)
        try:
            while not self.is_over:
                self.answers.append(await connection.ask(asked))
        finally:
            connection.close()


async def burst(url: str, requests: Sequence[bytes], count: int, clients: int) -> list[Answer]:
    """So many requests by so many clients, as fast as they are answered. Raises Refused."""
    left = iter(range(count))
    answers: list[Answer] = []

    async def client(asked: bytes) -> None:
        connection = await Connection.open(url)
        try:
            for _ in left:
                answers.append(await connection.ask(asked))
        finally:
            connection.close()

    clients = min(clients, count)
    await asyncio.gather(*(client(requests[n % len(requests)]) for n in range(clients)))
    return answers


async def arrivals(
    url: str, requests: Sequence[bytes], per_s: float, seconds: float, chance: random.Random
) -> list[Answer]:
    """Requests that come by chance, so many a second, whatever became of those before."""
    idle: list[Connection] = []
    answers: list[Answer] = []
    loop = asyncio.get_running_loop()

    async def one(asked: bytes) -> None:
        connection = idle.pop() if idle else await Connection.open(url)
        answers.append(await connection.ask(asked))
        idle.append(connection)

    started, at = loop.time(), 0.0
    async with asyncio.TaskGroup() as group:
        while (at := at + chance.expovariate(per_s)) < seconds:
            await asyncio.sleep(max(0.0, started + at - loop.time()))
            group.create_task(one(requests[len(answers) % len(requests)]))
    for connection in idle:
        connection.close()
    return answers


async def deaf_clients(url: str, requests: Sequence[bytes], count: int) -> Callable[[], None]:
    """Clients that ask and read nothing of the answer; returns what makes them leave."""
    parts = urlsplit(url)
    address = (parts.hostname, parts.port)
    loop = asyncio.get_running_loop()
    sockets = []
    for number in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, requests[number % len(requests)])
        sockets.append(client)

    def leave() -> None:
        for client in sockets:
            client.close()

    return leave


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
