"""Answers written straight to the connection, so that every way of breaking off can be imitated."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import LooseHeaders

_LOOK_S = 0.1
_LINGER_NONE = struct.pack("ii", 1, 0)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Payload Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
# Sent with every answer: what an edge server adds, and what a reseller must not pass on.
EDGE_HEADERS = (
    b"Server: sandbox-edge\r\nCF-Ray: 0sandbox0-LOOP\r\nAccess-Control-Allow-Origin: *\r\n"
    b"Set-Cookie: __edge=sandbox; path=/; HttpOnly\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


class Sent(web.StreamResponse):
    """Tells aiohttp that the answer has been written already, and if the connection lives on."""

    def __init__(self, *, stays: bool) -> None:
        super().__init__(headers=_NO_HEADERS)
        self._stays = stays

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


_NO_HEADERS: LooseHeaders = {}
STAYS = Sent(stays=True)
CLOSES = Sent(stays=False)


def head(status: int, content_type: str, extra: bytes = b"", *, length: int | None = None) -> bytes:
    """The status line and headers; without a length the body is chunked."""
    size = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n"
        f"Content-Type: {content_type}\r\n".encode()
        + EDGE_HEADERS
        + extra
        + size
        + b"\r\n\r\n"
    )


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Wire:
    """One request's connection. Writing to a client that left raises ConnectionResetError."""

    __slots__ = ("_request", "_writer")

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._writer = request.writer

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed the connection."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    async def write(self, data: bytes) -> None:
        """Bytes as they are; waits when the client does not read."""
        await self._writer.write(data)

    async def piece(self, data: bytes) -> None:
        """One chunk of a chunked body."""
        await self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def pause(self, seconds: float) -> bool:
        """Sleep, but not past the client's departure; False when it left."""
        while seconds > 4 * _LOOK_S:
            await asyncio.sleep(_LOOK_S)
            seconds -= _LOOK_S
            if self.is_gone:
                return False
        if seconds > 0:
            await asyncio.sleep(seconds)
        return not self.is_gone

    async def answer(
        self, status: int, body: bytes, content_type: str = "application/json", extra: bytes = b""
    ) -> web.StreamResponse:
        """A whole answer at once."""
        await self._writer.write(head(status, content_type, extra, length=len(body)) + body)
        return self.done()

    def done(self) -> web.StreamResponse:
        """The answer is complete; the connection stays if the client wishes so."""
        return STAYS if self._request.keep_alive else CLOSES

    def reset(self) -> web.StreamResponse:
        """Break off with a TCP reset, dropping what is still queued."""
        transport = self._request.transport
        if transport is not None:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            transport.abort()
        return CLOSES

    def close(self) -> web.StreamResponse:
        """End the connection after what was written, with no proper end of the body."""
        transport = self._request.transport
        if transport is not None:
            transport.close()
        return CLOSES


def zipped(body: bytes) -> bytes:
    """The body as gzip, the same bytes every time."""
    return gzip.compress(body, compresslevel=1, mtime=0)
