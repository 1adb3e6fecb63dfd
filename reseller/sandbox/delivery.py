"""Sends a generation: whole or as a stream, at its pace, with everything a fault wants of it."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

from aiohttp import web

from reseller.sandbox.answers import ID_MARK, NOW_MARK, Generation, chat_head, joined
from reseller.sandbox.behaviour import Behaviour
from reseller.sandbox.dialects import DIALECTS, Dialect
from reseller.sandbox.faults import ORDINARY
from reseller.sandbox.inference import bill
from reseller.sandbox.refusals import USER_ID, stream_error
from reseller.sandbox.state import State
from reseller.sandbox.wire import LAST_CHUNK, Wire, head, zipped

COMMENT = b": OPENROUTER PROCESSING\n\n"
_HTML = b"<!doctype html><title>Sandbox edge</title><p>Something went wrong."
_HUGE = 8_000_000
# What a fault adds to the end of a JSON object.
_ADDED = {
    "huge": b'"sandbox_padding":"@"',
    "metadata": b'"user_id":"%b","openrouter_metadata":{"region":"loopback","attempts":['
    b'{"provider":"DeepInfra","cost":0.000086}]}' % USER_ID.encode(),
}
_STREAM = "text/event-stream"
_HEAD = head(200, _STREAM, b"Cache-Control: no-cache\r\nX-Generation-Id: %b\r\n" % ID_MARK)
_COMMENT_CHUNK = joined([COMMENT])


class NotBegun(Exception):
    """The client left before any work: nothing is billed."""


class CutOff(Exception):
    """The fault wants the connection broken here; what was written has been written."""

    def __init__(self, *, by_reset: bool) -> None:
        super().__init__()
        self.by_reset = by_reset


def _with_more(frame: bytes, kind: str) -> bytes:
    more = _ADDED[kind].replace(b"@", b"x" * _HUGE)
    return b"%b,%b}\n\n" % (frame[:-3], more)


@dataclass(slots=True)
class Delivery:
    """One answer on its way."""

    state: State
    wire: Wire
    generation: Generation
    settings: Behaviour

    def id_header(self) -> bytes:
        """The header that names the generation, unless a fault leaves it out."""
        if self.generation.fault.ids in ("no_header", "none"):
            return b""
        return b"X-Generation-Id: %b\r\n" % self.generation.id.encode()

    async def point(self, name: str) -> None:
        """A point where the answer may be held or cut.

        Raises CutOff; NotBegun or ConnectionResetError when the client leaves meanwhile.
        """
        fault = self.generation.fault
        if fault.hold_at == name and not await self.state.gate.hold(name, self.wire):
            raise NotBegun if name == "start" else ConnectionResetError("the client left")
        if fault.cut_at == name:
            raise CutOff(by_reset=name in ("start", "billed"))

    def broken(self, cut: CutOff) -> web.StreamResponse:
        """Break the connection off as the fault has it."""
        if not cut.by_reset:
            return self.wire.close()
        return self.wire.reset()


async def send_whole(
    delivery: Delivery, body: bytes, content_type: str = "application/json"
) -> web.StreamResponse:
    """The answer in one piece. It is billed in full even when nobody waits for it any more."""
    state, wire, generation = delivery.state, delivery.wire, delivery.generation
    settings, fault = delivery.settings, generation.fault
    pieces = -(-generation.counts.completion // settings.chunk_tokens)
    delay = settings.latency_ms + settings.first_token_ms + settings.pace_ms * pieces
    try:
        if fault is ORDINARY and not delay:
            bill(state, generation)
            return await wire.answer(200, body, content_type, delivery.id_header())
        await delivery.point("start")
        if delay:
            await asyncio.sleep(delay / 1000)
        bill(state, generation)
        await delivery.point("billed")
        return await _send_disturbed(delivery, body, content_type)
    except CutOff as cut:
        return delivery.broken(cut)
    except (ConnectionError, NotBegun):
        return wire.close()


async def _send_disturbed(delivery: Delivery, body: bytes, content_type: str) -> web.StreamResponse:
    wire, fault, extra = delivery.wire, delivery.generation.fault, delivery.id_header()
    if fault.body == "html":
        return await wire.answer(200, _HTML, "text/html", extra)
    if fault.body == "text/plain":
        content_type = "text/plain"
    elif fault.body == "gzip":
        body, extra = zipped(body), extra + b"Content-Encoding: gzip\r\n"
    elif fault.body in _ADDED and body.endswith(b"}"):
        body = _with_more(body + b"\n\n", fault.body)[:-2]
    if fault.error_at == "first":
        body = b'{"error":{"code":502,"message":"The provider broke off"}}'
    if fault.body == "whitespace":
        await wire.write(head(200, content_type, extra))
        for _ in range(3):
            await wire.piece(b"\n         ")
            await asyncio.sleep(0.005)
        await wire.write(joined([body]) + LAST_CHUNK)
        return wire.done()
    await wire.write(head(200, content_type, extra, length=len(body)))
    await delivery.point("headers")
    if fault.cut_at in ("middle", "frame", "usage", "end"):
        await wire.write(body[: len(body) // 2])
        raise CutOff(by_reset=False)
    for name in ("middle", "usage", "done"):
        if fault.hold_at == name:
            await wire.write(body[:10])
            await delivery.point(name)
            body = body[10:]
    if fault.frames == "drip":
        for place in range(len(body)):
            await wire.write(body[place : place + 1])
            await asyncio.sleep(0)
    else:
        await wire.write(body)
    return wire.done()


async def send_stream(delivery: Delivery) -> web.StreamResponse:
    """The answer as frames. A client that leaves ends the bill where the provider allows it."""
    generation, settings = delivery.generation, delivery.settings
    if generation.fault is ORDINARY and not (
        settings.latency_ms or settings.first_token_ms or settings.pace_ms
    ):
        return await _send_at_once(delivery)
    if generation.fault.body == "html":
        bill(delivery.state, generation)
        return await delivery.wire.answer(200, _HTML, "text/html", delivery.id_header())
    stream = _Stream(delivery)
    try:
        await stream.send()
        return delivery.wire.done()
    except CutOff as cut:
        return delivery.broken(cut)
    except NotBegun:
        return delivery.wire.close()
    except ConnectionError:
        bill(delivery.state, generation, made=stream.made if generation.stops_on_cancel else None)
        return delivery.wire.close()


async def _send_at_once(delivery: Delivery) -> web.StreamResponse:
    """The whole stream in one write: nothing slows it and nothing disturbs it."""
    generation = delivery.generation
    dialect = DIALECTS[generation.api]
    bill(delivery.state, generation)
    start = dialect.start(generation)
    frames = dialect.frames(generation)
    body = b"".join(
        (
            _HEAD,
            _COMMENT_CHUNK * delivery.settings.opening_comments,
            joined([start]) if start else b"",
            frames.joined or joined([*frames.opening, *(f for f, _ in frames.pieces)]),
            joined([*dialect.end(generation), *dialect.done()]),
            LAST_CHUNK,
        )
    )
    body = body.replace(ID_MARK, generation.id.encode())
    await delivery.wire.write(body.replace(NOW_MARK, b"%d" % generation.created))
    return delivery.wire.done()


class _Stream:
    """A stream sent frame by frame; `made` counts the tokens that have left."""

    def __init__(self, delivery: Delivery) -> None:
        self.made = 0
        self._delivery = delivery
        self._wire = delivery.wire
        self._generation = delivery.generation
        self._fault = delivery.generation.fault
        self._settings = delivery.settings
        self._dialect: Dialect = DIALECTS[delivery.generation.api]
        self._packer = zlib.compressobj(1, wbits=31) if self._fault.body == "gzip" else None

    async def send(self) -> None:
        """All of it. Raises CutOff or ConnectionError where it breaks."""
        await self._begin()
        frames = self._dialect.frames(self._generation)
        start = self._dialect.start(self._generation)
        for frame in [start, *frames.opening] if start else frames.opening:
            await self._frame(frame)
        await self._wait(self._settings.first_token_ms)
        if self._fault.error_at == "first":
            await self._fail()
            return
        if await self._say(frames.pieces):
            return
        for frame in frames.closing:
            await self._frame(frame)
        bill(self._delivery.state, self._generation)
        if self._fault.cut_at == "end":
            await self._wire.write(LAST_CHUNK)
            return
        await self._delivery.point("usage")
        for _ in range(2 if self._fault.usage == "twice" else 1):
            for frame in self._dialect.end(self._generation):
                if self._fault.body == "metadata":
                    frame = _with_more(frame, "metadata")
                await self._frame(frame, is_last=self._fault.omits_done)
        await self._delivery.point("done")
        await self._finish()

    async def _begin(self) -> None:
        """Everything up to the first frame."""
        delivery, fault = self._delivery, self._fault
        await delivery.point("start")
        if self._settings.latency_ms and not await self._wire.pause(
            self._settings.latency_ms / 1000
        ):
            raise ConnectionResetError("the client left")
        if "billed" in (fault.hold_at, fault.cut_at):
            bill(delivery.state, self._generation)
            await delivery.point("billed")
        extra = b"Cache-Control: no-cache\r\n" + delivery.id_header()
        if self._packer:
            extra += b"Content-Encoding: gzip\r\n"
        kind = "text/plain" if fault.body == "text/plain" else _STREAM
        await self._wire.write(head(200, kind, extra))
        if fault.cut_at == "headers":
            bill(delivery.state, self._generation)
        await delivery.point("headers")
        for _ in range(self._settings.opening_comments):
            await self._out(COMMENT)

    async def _say(self, pieces: list[tuple[bytes, int]]) -> bool:
        """The answer's own frames; True when a fault ended the stream among them."""
        middle = len(pieces) // 2
        for place, (frame, tokens) in enumerate(pieces):
            if place:
                await self._wait(self._settings.pace_ms)
            if place == middle and await self._disturb(frame):
                return True
            if place == 0 and self._fault.body == "huge":
                frame = _with_more(frame, "huge")
            await self._frame(frame)
            self.made += tokens
        return False

    async def _disturb(self, frame: bytes) -> bool:
        fault = self._fault
        if fault.cut_at in ("middle", "frame"):
            bill(self._delivery.state, self._generation)
            if fault.cut_at == "frame":
                await self._out(self._personal(frame)[: len(frame) // 2])
                raise CutOff(by_reset=False)
        await self._delivery.point("middle")
        if fault.error_at == "middle":
            self._generation.counts.completion = self.made
            await self._fail()
            return True
        return False

    async def _fail(self) -> None:
        """An error as a frame, and the end of the stream."""
        generation = self._generation
        generation.finish = "error"
        generation.counts.completion = self.made
        bill(self._delivery.state, generation)
        begin = chat_head(generation.api, generation.model, generation.provider)
        error = stream_error(generation.api, begin, is_bare=self._fault.is_bare)
        await self._frame(error, is_last=self._fault.omits_done)
        await self._finish()

    async def _finish(self) -> None:
        if not self._fault.omits_done:
            done = self._dialect.done()
            for frame in done[:-1]:
                await self._frame(frame)
            await self._frame(done[-1], is_last=True)
        if self._packer:
            await self._wire.piece(self._packer.flush())
        await self._wire.write(LAST_CHUNK)

    async def _wait(self, milliseconds: int) -> None:
        """Pass the time, with a comment now and then. Raises ConnectionResetError."""
        every = self._settings.comment_every_ms
        while every and milliseconds > every:
            if not await self._wire.pause(every / 1000):
                raise ConnectionResetError("the client left")
            await self._out(COMMENT)
            milliseconds -= every
        if milliseconds and not await self._wire.pause(milliseconds / 1000):
            raise ConnectionResetError("the client left")

    def _personal(self, frame: bytes) -> bytes:
        generation = self._generation
        if generation.fault.ids in ("null", "none"):
            frame = frame.replace(b'"%b"' % ID_MARK, b"null")
        frame = frame.replace(ID_MARK, generation.id.encode())
        return frame.replace(NOW_MARK, b"%d" % generation.created)

    async def _frame(self, frame: bytes, *, is_last: bool = False) -> None:
        frame = self._personal(frame)
        kind = self._fault.frames
        if kind == "crlf":
            frame = frame.replace(b"\n", b"\r\n")
        elif kind == "comments":
            frame = b"%b: one more\n%b:\n\n" % (COMMENT, frame)
        elif kind == "no_final_newline" and is_last:
            frame = frame.rstrip(b"\n")
        elif kind == "drip":
            for place in range(len(frame)):
                await self._out(frame[place : place + 1])
                await asyncio.sleep(0)
            return
        await self._out(frame)

    async def _out(self, data: bytes) -> None:
        if self._packer:
            data = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        if data:
            await self._wire.piece(data)
