"""One timer for everything that is looked at now and then: slow bodies, stalled senders.

A timer of its own for each request would cost more than what it guards against.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

MOST_TICK_S = 0.25


class Watched(Protocol):
    """Something the sweep looks at."""

    def look(self, now: float) -> None:
        """Act if it is time; `now` is the event loop's clock in seconds."""


class Sweep:
    """Looks at all it was given a few times a second, while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float) -> None:
        self.loop = loop
        self._tick_s = max(0.01, min(MOST_TICK_S, tick_s))
        self._all: set[Watched] = set()
        self._is_running = False

    def add(self, watched: Watched) -> None:
        """Look at it from now on."""
        self._all.add(watched)
        if not self._is_running:
            self._is_running = True
            self.loop.call_later(self._tick_s, self._look)

    def discard(self, watched: Watched) -> None:
        """Look at it no longer."""
        self._all.discard(watched)

    def _look(self) -> None:
        now = self.loop.time()
        for watched in list(self._all):
            watched.look(now)
        self._is_running = bool(self._all)
        if self._is_running:
            self.loop.call_later(self._tick_s, self._look)
