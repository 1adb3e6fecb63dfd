"""What all parts of the simulator share."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from reseller.clock import Clock, ShiftedClock
from reseller.ids import Ids
from reseller.sandbox.behaviour import Behaviour
from reseller.sandbox.books import Books
from reseller.sandbox.catalogue import Catalogue
from reseller.sandbox.costs import Units, units
from reseller.sandbox.faults import FaultQueue
from reseller.sandbox.offers import all_models
from reseller.sandbox.wire import Wire

_POLL_S = 0.01
_KEPT_BODY_BYTES = 65_536


class Gate:
    """Where requests are held at a point of their life until they are released, or leave."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self._round = 0

    async def hold(self, point: str, wire: Wire) -> bool:
        """Wait here; False when the client left first."""
        now = self._round
        self.held[point] += 1
        try:
            # No event tells that the client left: its connection has to be looked at.
            while now == self._round and not wire.is_gone:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
        finally:
            self.held[point] -= 1
            self.held += Counter()
        return not wire.is_gone

    def release(self) -> int:
        """Let everything go that is held now; how many that was."""
        self._round += 1
        return self.held.total()

    async def wait_held(self, count: int = 1, timeout_s: float = 5.0) -> None:
        """Return once so many requests are held. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.held.total() < count:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)


@dataclass(slots=True)
class Received:
    """A request as it arrived; of a long body only the beginning."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def row(self) -> dict[str, Any]:
        """For the control interface."""
        return {
            "method": self.method,
            "path": self.path,
            "headers": [(str(name), value) for name, value in self.headers.items()],
            "body": self.body.decode("utf-8", "replace"),
        }


class State:
    """The simulated upstream: its settings, its books, and what it was asked."""

    def __init__(
        self, clock: Clock, ids: Ids, *, api_key: str, credit_usd: str, keep_books: bool
    ) -> None:
        self.clock = clock
        self.record_clock = ShiftedClock()
        self.ids = ids
        self.api_key = api_key
        self.credit_units: Units = units(credit_usd)
        self.behaviour = Behaviour()
        self.books = Books(self.record_clock, keep=keep_books)
        self.catalogue = Catalogue(all_models())
        self.faults = FaultQueue()
        self.gate = Gate()
        self.received: deque[Received] = deque(maxlen=500)

    @property
    def balance_units(self) -> Units:
        """Bought credit less what was billed."""
        return self.credit_units - self.books.total_units

    def remember(self, request: web.BaseRequest, body: bytes) -> None:
        """Keep the request for tests that look at what arrived."""
        if self.books.keeps:
            kept = body[:_KEPT_BODY_BYTES]
            self.received.append(Received(request.method, request.raw_path, request.headers, kept))

    def knows_key(self, request: web.BaseRequest) -> bool:
        """Whether the request carries the account's key."""
        if not self.behaviour.checks_key:
            return True
        return request.headers.get("Authorization") == f"Bearer {self.api_key}"
