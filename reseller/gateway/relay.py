"""The connection's side of a request: reads the outbox, notices that the client is gone.

A departure shows only as `http.disconnect` from `receive`, and a client that reads nothing only
as a `send` that does not return; both end in `call.depart`.
"""

from __future__ import annotations

import asyncio

from reseller.errors import ResellerError
from reseller.gateway.body import ClientGone, Receive, Send
from reseller.gateway.call import Call
from reseller.gateway.outbox import OUTBOX_BYTES

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class _Stall:
    """Ends the connection's task when one `send` takes too long."""

    __slots__ = ("_call", "_handle", "_limit_s", "_loop", "_task", "is_over", "since")

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._call = call
        self._loop = loop
        self._limit_s = limit_s
        self._task = asyncio.current_task()
        self.since = 0.0
        self.is_over = False
        self._handle = loop.call_later(limit_s, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if self.since and now - self.since >= self._limit_s:
            self.is_over = True
            self._call.depart()
            if self._task is not None:
                self._task.cancel()
            return
        wait_s = self._limit_s - (now - self.since) if self.since else self._limit_s
        self._handle = self._loop.call_later(max(0.05, wait_s), self._look)

    def stop(self) -> None:
        """The answer is sent."""
        self._handle.cancel()


async def relay(
    call: Call, headers: Headers, receive: Receive, send: Send, early_open_s: float, stall_s: float
) -> None:
    """Send the call's answer. Raises ResellerError before anything was sent, ClientGone."""
    loop = asyncio.get_running_loop()
    watcher = loop.create_task(_watch(call, receive))
    early = None
    if call.ask.is_stream and early_open_s:
        early = loop.call_later(early_open_s, call.open_early)
    try:
        await call.head
        if call.ask.is_stream:
            await _send_stream(call, headers, send, loop, stall_s)
        else:
            body = await call.outbox.take()
            if body is not None:
                await _send_whole(call, headers, body, send, loop, stall_s)
    except (ResellerError, ClientGone):
        raise
    except BaseException:
        call.depart()
        raise
    finally:
        watcher.cancel()
        if early is not None:
            early.cancel()


async def _watch(call: Call, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.depart()


async def _send_whole(
    call: Call,
    headers: Headers,
    body: bytes,
    send: Send,
    loop: asyncio.AbstractEventLoop,
    stall_s: float,
) -> None:
    """A JSON answer; a large one goes in pieces and must be taken as steadily as a stream."""
    headers = [JSON_TYPE, *headers]
    if len(body) <= OUTBOX_BYTES:
        await send_answer(send, 200, headers, body)
        return
    headers.append((b"content-length", b"%d" % len(body)))
    stall = _Stall(call, loop, stall_s)
    try:
        stall.since = loop.time()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at in range(0, len(body), OUTBOX_BYTES):
            piece = body[at : at + OUTBOX_BYTES]
            is_last = at + OUTBOX_BYTES >= len(body)
            stall.since = loop.time()
            await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
    except asyncio.CancelledError:
        if not stall.is_over:
            raise
        raise ClientGone from None
    finally:
        stall.stop()


async def _send_stream(
    call: Call, headers: Headers, send: Send, loop: asyncio.AbstractEventLoop, stall_s: float
) -> None:
    stall = _Stall(call, loop, stall_s)
    try:
        stall.since = loop.time()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*_STREAM_HEADERS, *headers],
            }
        )
        while True:
            stall.since = 0.0
            data = await call.outbox.take()
            if data is None:
                break
            stall.since = loop.time()
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if not call.ticket.client_left:
            stall.since = loop.time()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.CancelledError:
        if not stall.is_over:
            raise
        raise ClientGone from None
    finally:
        stall.stop()


async def send_answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """A whole answer in two messages."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
