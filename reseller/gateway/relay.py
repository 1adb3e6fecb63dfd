"""The connection's side of a request: reads the outbox, notices that the client is gone.

A departure shows only as `http.disconnect` from `receive`, and a client that reads nothing only
as a `send` that does not return; both end in `call.depart`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reseller.errors import ResellerError
from reseller.gateway.body import ClientGone, Receive, Send
from reseller.gateway.call import Call
from reseller.gateway.outbox import OUTBOX_BYTES, PIECE_BYTES

if TYPE_CHECKING:
    from reseller.gateway.engine import Engine

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Sender:
    """One connection that sends an answer, looked at by the sweep.

    `since` is when its present `send` began, else 0. Only a request that lasts gets a task that
    watches for its client's departure: most are answered before the first look.
    """

    __slots__ = (
        "_call",
        "_early_at",
        "_loop",
        "_receive",
        "_stall_s",
        "_task",
        "_watcher",
        "is_given_up",
        "since",
    )

    def __init__(self, call: Call, receive: Receive, engine: Engine) -> None:
        self._call = call
        self._receive = receive
        self._task = asyncio.current_task(engine.loop)
        self._loop = engine.loop
        self._watcher: asyncio.Task[None] | None = None
        self._stall_s = engine.send_timeout_s
        self._early_at = 0.0
        if call.ask.is_stream and engine.early_open_s:
            self._early_at = engine.loop.time() + engine.early_open_s
        self.since = 0.0
        self.is_given_up = False
        if call.has_waited:
            # Its client may be gone by now: find out before anything is sent upstream.
            self._start_watching()

    def look(self, now: float) -> None:
        """Notice a departure, a client that takes nothing, and a stream that waits too long."""
        if self._watcher is None:
            self._start_watching()
        if self.since and now - self.since >= self._stall_s and not self.is_given_up:
            self._give_up()
        elif self._early_at and now >= self._early_at:
            self._early_at = 0.0
            self._call.open_early()

    def stop(self) -> None:
        """The answer is sent, or nobody is there to take it."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self.is_given_up and self._task is not None:
            self._task.uncancel()

    def _give_up(self) -> None:
        self.is_given_up = True
        self._call.depart()
        if self._task is not None:
            self._task.cancel()

    def _start_watching(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._call.depart()


async def relay(engine: Engine, call: Call, headers: Headers, receive: Receive, send: Send) -> None:
    """Send the call's answer. Raises ResellerError before anything was sent, ClientGone."""
    sender = Sender(call, receive, engine)
    engine.sweep.add(sender)
    try:
        await call.head
        if call.ask.is_stream:
            await _send_stream(sender, call, headers, send, engine.loop)
        else:
            body = await call.outbox.take()
            if body is not None:
                await _send_whole(sender, [JSON_TYPE, *headers], body, send, engine.loop)
    except (ResellerError, ClientGone):
        raise
    except asyncio.CancelledError:
        call.depart()
        if not sender.is_given_up:
            raise
        raise ClientGone from None
    except BaseException:
        call.depart()
        raise
    finally:
        engine.sweep.discard(sender)
        sender.stop()


async def _send_whole(
    sender: Sender, headers: Headers, body: bytes, send: Send, loop: asyncio.AbstractEventLoop
) -> None:
    """A JSON answer; a large one goes in pieces and must be taken as steadily as a stream."""
    if len(body) <= OUTBOX_BYTES:
        await send_answer(send, 200, headers, body)
        return
    headers.append((b"content-length", b"%d" % len(body)))
    sender.since = loop.time()
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for at in range(0, len(body), OUTBOX_BYTES):
        piece = body[at : at + OUTBOX_BYTES]
        is_last = at + OUTBOX_BYTES >= len(body)
        sender.since = loop.time()
        await send({"type": "http.response.body", "body": piece, "more_body": not is_last})


async def _send_stream(
    sender: Sender, call: Call, headers: Headers, send: Send, loop: asyncio.AbstractEventLoop
) -> None:
    """Pieces as they come; the last one ends the answer with it."""
    outbox, more = call.outbox, True
    sender.since = loop.time()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [*_STREAM_HEADERS, *headers]}
    )
    while more:
        sender.since = 0.0
        data = await outbox.take(PIECE_BYTES)
        if call.ticket.client_left:
            return
        more = data is not None and not outbox.is_at_end
        sender.since = loop.time()
        await send({"type": "http.response.body", "body": data or b"", "more_body": more})


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
