"""Requests that wait for their true cost: asked for by generation id until it is known.

Polled at 1, 2, 4, 8 … s up to an hour. After `pending.give_up_hours` and three real answers the
Meter's estimate is charged and flagged. A request without an id becomes exposure then.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from decimal import Decimal

import httpx
import msgspec

from reseller.core import Core
from reseller.db.rows import StoredHold
from reseller.db.sql import statement
from reseller.gateway.meter import Usage, read_cost
from reseller.gateway.settle import Settler, Ticket
from reseller.money.pricing import PriceRule
from reseller.money.wallet import Hold

log = logging.getLogger("reseller.pending")

_LIST_HOLDS = statement("list_holds")
_COUNT_POLL = statement("count_poll")
_LONGEST_WAIT_S = 3_600.0
_REAL_POLLS = 3
_AT_ONCE = 8


class _Record(msgspec.Struct):
    total_cost: Decimal | None = None
    is_byok: bool | None = None
    upstream_inference_cost: Decimal | None = None
    native_tokens_prompt: int | None = None
    native_tokens_completion: int | None = None
    native_tokens_cached: int | None = None
    native_tokens_reasoning: int | None = None
    cancelled: bool | None = None


class _Answer(msgspec.Struct):
    data: _Record


_decode = msgspec.json.Decoder(_Answer).decode


class PendingQueue:
    """Asks for the cost of parked requests and settles them."""

    def __init__(
        self, core: Core, settler: Settler, base_url: str, http: httpx.AsyncClient
    ) -> None:
        self._core = core
        self._settler = settler
        self._http = http
        self._url = base_url.rstrip("/") + "/generation"
        self._headers = {"authorization": f"Bearer {core.config.upstream.api_key}"}
        self._config = core.config.pending
        self.waiting: dict[str, Ticket] = {}
        self._due: list[tuple[float, str]] = []
        self._turns: dict[str, float] = {}
        self._asking: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over every hold on disk, then begin to poll.

        A hold that was open when the process ended is pending now: with its id it will be
        settled, without one nobody can know.
        """
        for row in await self._core.reader.rows(_LIST_HOLDS):
            stored = StoredHold(*tuple(row))
            ticket = self._ticket(stored)
            self._core.live.wallet.restore(ticket.hold)
            if stored.parked_at is None:
                self._settler.park(ticket, "restart")
            else:
                self._core.live.wallet.park(ticket.hold)
                ticket.parked_at = stored.parked_at
            self.add(ticket)
        if self.waiting:
            log.warning("%d requests wait for their cost after the restart", len(self.waiting))
        self._loop_task = asyncio.get_running_loop().create_task(self._run(), name="pending")

    async def stop(self) -> None:
        """Stop polling; what waits is on disk."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, ticket: Ticket) -> None:
        """Wait for the cost of a parked request."""
        self.waiting[ticket.request_id] = ticket
        self._schedule(ticket)

    async def settle_now(self) -> None:
        """Ask for everything that waits, once, without waiting for its turn."""
        waiting = list(self.waiting.values())
        for start in range(0, len(waiting), _AT_ONCE):
            batch = waiting[start : start + _AT_ONCE]
            await asyncio.gather(*(self._advance(ticket) for ticket in batch))

    def _schedule(self, ticket: Ticket) -> None:
        wait_s = min(self._config.first_poll_s * 2 ** min(ticket.polls, 20), _LONGEST_WAIT_S)
        if ticket.generation_id is None:
            wait_s = min(self._give_up_ms() / 1000, _LONGEST_WAIT_S)
        due = self._core.clock.monotonic() + wait_s
        # One turn each: what was asked out of turn leaves its old place in the heap behind.
        self._turns[ticket.request_id] = due
        heapq.heappush(self._due, (due, ticket.request_id))
        self._wake.set()

    def _give_up_ms(self) -> int:
        return round(self._config.give_up_hours * 3_600_000)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._core.clock.monotonic()
            while self._due and self._due[0][0] <= now and len(self._tasks) < _AT_ONCE:
                due, request_id = heapq.heappop(self._due)
                ticket = self.waiting.get(request_id)
                if ticket is not None and self._turns.get(request_id) == due:
                    task = asyncio.get_running_loop().create_task(self._advance(ticket))
                    self._tasks.add(task)
                    task.add_done_callback(self._ended)
            wait_s = min(1.0, max(0.01, self._due[0][0] - now)) if self._due else 1.0
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("asking for a cost failed", exc_info=error)

    async def _advance(self, ticket: Ticket) -> None:
        """One look at a parked request: settle it, give it up, or come back later."""
        if ticket.request_id in self._asking or not ticket.hold.is_live:
            return
        self._asking.add(ticket.request_id)
        try:
            if ticket.generation_id is not None and await self._poll(ticket):
                return
            if self._is_given_up(ticket):
                self._give_up(ticket)
        finally:
            self._asking.discard(ticket.request_id)
            if ticket.hold.is_live:
                self._schedule(ticket)
            else:
                self.waiting.pop(ticket.request_id, None)
                self._turns.pop(ticket.request_id, None)

    async def _poll(self, ticket: Ticket) -> bool:
        """Ask once; True if that settled it."""
        try:
            answer = await self._http.get(
                self._url, params={"id": ticket.generation_id or ""}, headers=self._headers
            )
        except httpx.HTTPError as error:
            log.info("no generation record for %s: %s", ticket.request_id, error)
            ticket.polls += 1
            return False
        ticket.polls += 1
        if answer.status_code not in (200, 404):
            log.info("no generation record for %s: %d", ticket.request_id, answer.status_code)
            return False
        if answer.status_code == 200 and self._settle(ticket, answer.content):
            return True
        row = (ticket.request_id,)
        await self._core.journal.write(lambda db: db.execute(_COUNT_POLL, row))
        ticket.real_polls += 1
        return False

    def _settle(self, ticket: Ticket, body: bytes) -> bool:
        try:
            record = _decode(body).data
        except (msgspec.DecodeError, RecursionError) as error:
            log.warning("the generation record of %s cannot be read: %s", ticket.request_id, error)
            return False
        cost, doubt = read_cost(
            record.total_cost, bool(record.is_byok), record.upstream_inference_cost
        )
        if cost is None:
            log.warning("the generation record of %s: %s", ticket.request_id, doubt)
            return False
        usage = Usage(
            prompt_tokens=record.native_tokens_prompt or 0,
            completion_tokens=record.native_tokens_completion or 0,
            cached_tokens=record.native_tokens_cached or 0,
            reasoning_tokens=record.native_tokens_reasoning or 0,
        )
        outcome = "cancelled" if record.cancelled else ticket.reason or "late"
        self._settler.charge(ticket, usage, cost, status=200, outcome=outcome)
        return True

    def _is_given_up(self, ticket: Ticket) -> bool:
        if self._core.clock.now_ms() - ticket.parked_at < self._give_up_ms():
            return False
        return ticket.generation_id is None or ticket.real_polls >= _REAL_POLLS

    def _give_up(self, ticket: Ticket) -> None:
        if ticket.generation_id is None:
            self._settler.expose(ticket)
            self._core.live.alarms.tell(
                "exposure", f"request {ticket.request_id} may have been billed; its id is unknown"
            )
            return
        self._settler.charge_estimate(ticket)
        self._core.live.alarms.tell(
            "estimated", f"request {ticket.request_id} was charged by estimate; no record came"
        )

    def _ticket(self, stored: StoredHold) -> Ticket:
        live = self._core.live
        account = live.accounts[stored.account]
        key = live.keys_by_id.get(stored.api_key)
        caps = (account.daily,) if key is None else (account.daily, key.cap)
        return Ticket(
            request_id=stored.request_id,
            account=account,
            key=key,
            key_id=stored.api_key,
            model_row=stored.model,
            hold=Hold(stored.request_id, account.id, stored.held_nanos, 0, caps),
            rule=PriceRule("*", stored.markup_bps, stored.fixed_nanos, stored.minimum_nanos),
            is_stream=bool(stored.is_stream),
            opened_at=stored.opened_at,
            prompt_nanos=stored.prompt_nanos,
            generation_id=stored.generation_id,
            # Nothing was counted before a crash: the prompt's quote is the best estimate there is.
            estimate_nanos=(
                stored.prompt_nanos if stored.estimate_nanos is None else stored.estimate_nanos
            ),
            client_left=bool(stored.client_left),
            reason=stored.reason or "restart",
            polls=stored.polls,
            real_polls=stored.polls,
        )
