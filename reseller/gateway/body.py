"""Reading a request body: bounded in size, in time, and over all requests together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from reseller.config_schema import Server
from reseller.errors import BadRequest, TimedOut, TooLarge, Unavailable
from reseller.gateway.sweep import Sweep

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Scope: TypeAlias = MutableMapping[str, Any]

_MEGABYTE = 1_048_576
# A refused body that is small is in the system's buffers already; of others so much is read.
_SMALL_BYTES = 16_384
_PASSED_BYTES = 64 * _MEGABYTE
_PASSED_S = 5.0
_PAUSE_S = 0.5


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


class _Reading:
    """A body that is being read, looked at by the sweep: too late, its task is cancelled."""

    __slots__ = ("_task", "at", "is_over")

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self.at = at
        # Told the loop, it need not ask for it, which is a call to the system each time.
        self._task = asyncio.current_task(loop)
        self.is_over = False

    def look(self, now: float) -> None:
        """End the reading if its time is over."""
        if now >= self.at and not self.is_over and self._task is not None:
            self.is_over = True
            self._task.cancel()

    def forgive(self) -> None:
        """The cancellation was taken for what it meant."""
        if self._task is not None:
            self._task.uncancel()


class BodyReader:
    """Reads bodies and counts the bytes that are in memory over all requests."""

    def __init__(self, server: Server, sweep: Sweep) -> None:
        self._sweep = sweep
        self._limit = server.body_limit_mb * _MEGABYTE
        self._all = server.bodies_in_flight_mb * _MEGABYTE
        self._timeout_s = server.body_timeout_s
        self._min_rate = server.body_min_bytes_per_s
        self.in_flight_bytes = 0

    async def read(self, receive: Receive, content_length: int | None) -> bytes:
        """The whole body, its bytes counted until `release`.

        It may take `body_timeout_s` and must then have kept the minimum rate. Raises TooLarge,
        TimedOut, Unavailable (too many bodies at once), ClientGone.
        """
        if content_length is not None and content_length > self._limit:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        latest = self._sweep.loop.time() + self._timeout_s
        reading = _Reading(self._sweep.loop, latest)
        self._sweep.add(reading)
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                if part:
                    if size + len(part) > self._limit:
                        raise self._too_large()
                    size += len(part)
                    self._count(len(part))
                    parts.append(part)
                if not message.get("more_body"):
                    break
                reading.at = latest + size / self._min_rate
        except asyncio.CancelledError:
            self.release(size)
            if not reading.is_over:
                raise
            reading.forgive()
            raise self._too_slow(size) from None
        except BaseException:
            self.release(size)
            raise
        finally:
            self._sweep.discard(reading)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pass_over(self, receive: Receive, content_length: int | None) -> None:
        """Read a refused body for a while without keeping it. Raises ClientGone.

        An answer to a client that is still sending would be lost with its connection, and it
        would send the same again.
        """
        if content_length is not None and content_length <= _SMALL_BYTES:
            return
        left, loop = _PASSED_BYTES, self._sweep.loop
        end = loop.time() + _PASSED_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_S) as pause:
                while left > 0:
                    message = await receive()
                    pause.reschedule(min(end, loop.time() + _PAUSE_S))
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return

    def release(self, size: int) -> None:
        """`size` bytes of a body are no longer needed."""
        self.in_flight_bytes -= size
        assert self.in_flight_bytes >= 0

    def _count(self, size: int) -> None:
        if self.in_flight_bytes + size > self._all:
            # Counted all the same: `read` releases the whole of what it saw.
            self.in_flight_bytes += size
            raise Unavailable(
                "Too many large requests are being received. Nothing was charged; try again.",
                retry_after_ms=1_000,
            )
        self.in_flight_bytes += size

    def _too_slow(self, size: int) -> TimedOut:
        return TimedOut(
            f"The request body came too slowly: {size} bytes in {self._timeout_s:g} s or more. "
            f"Send it at {self._min_rate} bytes a second or faster."
        )

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The request body is larger than {self._limit // _MEGABYTE} MB. "
            f"Send less, or smaller pictures."
        )


def content_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """The declared length in bytes. Raises BadRequest if it is no number."""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 15:
                raise BadRequest("The Content-Length header is not a number.")
            return int(value)
    return None
