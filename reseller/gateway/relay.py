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


class Sender:
    """One connection that sends an answer; `since` is when its present `send` began, else 0."""

    __slots__ = ("call", "is_given_up", "opens_at", "since", "task")

    def __init__(self, call: Call, opens_at: float) -> None:
        self.call = call
        self.task = asyncio.current_task()
        self.since = 0.0
        self.opens_at = opens_at
        self.is_given_up = False

    def give_up(self) -> None:
        """The client takes nothing: to us it is gone."""
        self.is_given_up = True
        self.call.depart()
        if self.task is not None:
            self.task.cancel()


class Senders:
    """Everyone who sends, looked over now and then: one timer for all instead of two for each."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stall_s: float, early_open_s: float
    ) -> None:
        self._loop = loop
        self._stall_s = stall_s
        self._early_open_s = early_open_s
        self._all: set[Sender] = set()
        self._tick_s = min(1.0, stall_s / 4, early_open_s / 4 if early_open_s else 1.0)
        self._is_looking = False

    def enter(self, call: Call) -> Sender:
        """Begin to watch a connection."""
        opens_at = 0.0
        if call.ask.is_stream and self._early_open_s:
            opens_at = self._loop.time() + self._early_open_s
        sender = Sender(call, opens_at)
        self._all.add(sender)
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(self._tick_s, self._look)
        return sender

    def leave(self, sender: Sender) -> None:
        """Its answer is sent, or nobody is there to take it."""
        self._all.discard(sender)

    def _look(self) -> None:
        now = self._loop.time()
        for sender in list(self._all):
            if sender.since and now - sender.since >= self._stall_s:
                self._all.discard(sender)
                sender.give_up()
            elif sender.opens_at and now >= sender.opens_at:
                sender.opens_at = 0.0
                sender.call.open_early()
        self._is_looking = bool(self._all)
        if self._is_looking:
            self._loop.call_later(self._tick_s, self._look)


async def relay(
    senders: Senders, call: Call, headers: Headers, receive: Receive, send: Send
) -> None:
    """Send the call's answer. Raises ResellerError before anything was sent, ClientGone."""
    loop = asyncio.get_running_loop()
    watcher = loop.create_task(_watch(call, receive))
    sender = senders.enter(call)
    try:
        await call.head
        if call.ask.is_stream:
            await _send_stream(sender, headers, send, loop)
        else:
            body = await call.outbox.take()
            if body is not None:
                await _send_whole(sender, [JSON_TYPE, *headers], body, send, loop)
    except (ResellerError, ClientGone):
        raise
    except asyncio.CancelledError:
        call.depart()
        if not sender.is_given_up or sender.task is None:
            raise
        sender.task.uncancel()
        raise ClientGone from None
    except BaseException:
        call.depart()
        raise
    finally:
        senders.leave(sender)
        watcher.cancel()


async def _watch(call: Call, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.depart()


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
    sender: Sender, headers: Headers, send: Send, loop: asyncio.AbstractEventLoop
) -> None:
    """Pieces as they come; the last one ends the answer with it."""
    outbox, more = sender.call.outbox, True
    sender.since = loop.time()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [*_STREAM_HEADERS, *headers]}
    )
    while more:
        sender.since = 0.0
        data = await outbox.take()
        if sender.call.ticket.client_left:
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
