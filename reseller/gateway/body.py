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
_ALWAYS_BYTES = 65_536
_PASSED_BYTES = 64 * _MEGABYTE
_PASSED_S = 5.0
_PAUSE_S = 0.5


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


class _Reading:
    """A body that is being read, looked at by the sweep: too slow, its task is cancelled.

    Each stretch of time must bring its bytes: what came fast at first buys no silence later.
    """

    __slots__ = ("_at", "_due_bytes", "_seen", "_stretch_s", "_task", "is_over", "size")

    def __init__(self, loop: asyncio.AbstractEventLoop, stretch_s: float, bytes_per_s: int) -> None:
        self._stretch_s = stretch_s
        self._due_bytes = stretch_s * bytes_per_s
        self._at = loop.time() + stretch_s
        self._seen = 0
        self.size = 0
        # Told the loop, it need not ask for it, which is a call to the system each time.
        self._task = asyncio.current_task(loop)
        self.is_over = False

    def look(self, now: float) -> None:
        """End the reading if the stretch that is over did not bring enough."""
        if now < self._at or self.is_over or self._task is None:
            return
        if self.size - self._seen < self._due_bytes:
            self.is_over = True
            self._task.cancel()
            return
        self._seen = self.size
        self._at = now + self._stretch_s

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
        self._share = max(self._limit, self._all // 2)
        self._timeout_s = server.body_timeout_s
        self._min_rate = server.body_min_bytes_per_s
        self.in_flight_bytes = 0
        self._by_account: dict[int, int] = {}

    async def read(self, receive: Receive, content_length: int | None, account: int) -> bytes:
        """The whole body, its bytes counted until `release`.

        It may take `body_timeout_s`, or longer where it keeps the minimum rate all the while.
        Raises TooLarge, TimedOut, Unavailable (too many bodies at once), ClientGone.
        """
        if content_length is not None and content_length > self._limit:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        reading = _Reading(self._sweep.loop, self._timeout_s, self._min_rate)
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
                    reading.size = size
                    self._count(size, len(part), account)
                    parts.append(part)
                if not message.get("more_body"):
                    break
        except asyncio.CancelledError:
            self.release(size, account)
            if not reading.is_over:
                raise
            reading.forgive()
            raise self._too_slow(size) from None
        except BaseException:
            self.release(size, account)
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

    def release(self, size: int, account: int) -> None:
        """`size` bytes of a body are no longer needed."""
        self.in_flight_bytes -= size
        left = self._by_account.get(account, 0) - size
        if left:
            self._by_account[account] = left
        else:
            self._by_account.pop(account, None)
        assert self.in_flight_bytes >= 0
        assert left >= 0

    def _count(self, size: int, more: int, account: int) -> None:
        """Count `more` bytes; `read` releases the whole of what it saw, refused or not.

        One account gets at most half of the room, and a small body always finds some.
        """
        self.in_flight_bytes += more
        own = self._by_account[account] = self._by_account.get(account, 0) + more
        if size > _ALWAYS_BYTES and (self.in_flight_bytes > self._all or own > self._share):
            raise Unavailable(
                "Too many large requests are being received. Nothing was charged; try again.",
                retry_after_ms=1_000,
            )

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
