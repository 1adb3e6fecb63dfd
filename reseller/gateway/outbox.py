"""The bounded queue between a request's own task and the connection that reads it."""

from __future__ import annotations

import asyncio

OUTBOX_BYTES = 65_536
# What the server is handed at once: it may keep several pieces for a client that reads slowly.
PIECE_BYTES = 16_384


class Outbox:
    """Bytes on their way to the client: at most about 64 KB wait, then the writer does."""

    __slots__ = ("_is_abandoned", "_is_closed", "_items", "_loop", "_reader", "_room", "_size")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: list[bytes] = []
        self._size = 0
        self._is_closed = False
        self._is_abandoned = False
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the writer should wait before it puts more."""
        return self._size > OUTBOX_BYTES and not (self._is_abandoned or self._is_closed)

    async def wait_for_room(self) -> None:
        """Return when more may be put. After `abandon` and `close` there is always room."""
        while self.is_full:
            self._room = self._loop.create_future()
            await self._room

    def put_now(self, data: bytes) -> None:
        """Queue bytes; after `abandon` and `close` they are dropped."""
        if self._is_abandoned or self._is_closed:
            return
        self._items.append(data)
        self._size += len(data)
        _resolve(self._reader)

    def close(self) -> None:
        """No more bytes will come."""
        self._is_closed = True
        _resolve(self._reader)
        _resolve(self._room)

    def abandon(self) -> None:
        """Nobody reads any more: drop what waits, let the writer run free."""
        self._is_abandoned = True
        self._items.clear()
        self._size = 0
        _resolve(self._reader)
        _resolve(self._room)

    @property
    def is_at_end(self) -> bool:
        """Whether everything was taken and no more will come."""
        return self._is_closed and not self._items

    async def take(self, most: int | None = None) -> bytes | None:
        """What waits, as one piece of at most so many bytes; None at the end. One reader at a
        time."""
        while not self._items:
            if self._is_closed or self._is_abandoned:
                return None
            self._reader = self._loop.create_future()
            await self._reader
        items, self._items = self._items, []
        data = items[0] if len(items) == 1 else b"".join(items)
        if most is not None and len(data) > most:
            self._items.append(data[most:])
            data = data[:most]
        self._size -= len(data)
        if self._size <= OUTBOX_BYTES:
            _resolve(self._room)
        return data


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
