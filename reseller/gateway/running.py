"""What a paid request is while it runs, and how it ends: `call.Call` adds what it does.

The connection that asked only reads the outbox: it may come and go, the money part runs on.
Whatever happened, `_close` leaves the hold captured, released or pending.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from reseller.errors import ResellerError
from reseller.gateway.ask import Ask
from reseller.gateway.body import ClientGone
from reseller.gateway.dialects.openai import OpenAIDialect, Sending
from reseller.gateway.faults import fault_from_frame
from reseller.gateway.meter import Meter, Usage, estimated_cost, shown_usage
from reseller.gateway.outbox import Outbox
from reseller.gateway.providers import stops_billing
from reseller.gateway.settle import Ticket
from reseller.gateway.sse import KEEP_ALIVE, ChunkRewriter
from reseller.gateway.upstream import stopping
from reseller.limits import Limiter
from reseller.money.pricing import charge
from reseller.money.wallet import HoldState

if TYPE_CHECKING:
    from reseller.gateway.engine import Engine


class Running:
    """A running request: its state, its answer, its departure and its end."""

    __slots__ = (
        "_dialect",
        "_engine",
        "_is_cut",
        "_is_requoted",
        "_loop",
        "_maybe_billed",
        "_opening",
        "_rewriter",
        "_settled",
        "ask",
        "body_bytes",
        "charged_nanos",
        "departed",
        "error",
        "has_waited",
        "head",
        "is_lowered",
        "limiters",
        "meter",
        "outbox",
        "response",
        "sending",
        "started",
        "status",
        "ticket",
        "usage",
    )

    def __init__(
        self, engine: Engine, dialect: OpenAIDialect, ask: Ask, ticket: Ticket, sending: Sending
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._loop = engine.loop
        self.ask = ask
        self.ticket = ticket
        self.sending = sending
        self.meter = Meter()
        self.outbox = Outbox(engine.loop)
        # Resolves with the status once the answer may begin; its error is the whole answer.
        self.head: asyncio.Future[int] = engine.loop.create_future()
        self.response: aiohttp.ClientResponse | None = None
        self.usage: Usage | None = None
        self.error: ResellerError | None = None
        self.status = 200
        self.departed = False
        self.started = engine.clock.monotonic()
        # Whether the output cap sent upstream is less than what was asked for.
        self.is_lowered = False
        # Whether it waited for money that other requests held.
        self.has_waited = False
        # The limiters it was counted in; its key may be given others meanwhile.
        self.limiters: tuple[Limiter, ...] = ()
        self.body_bytes = 0
        self.charged_nanos = 0
        self._rewriter: ChunkRewriter | None = None
        self._is_requoted = False
        self._is_cut = False
        # The task that waits for the upstream's headers, while it does.
        self._opening: asyncio.Task[Any] | None = None
        # Resolves when a stream's settlement is on disk.
        self._settled: asyncio.Future[None] | None = None
        # Whether the upstream may have billed this request.
        self._maybe_billed = False

    # The connection's side.

    def open_early(self) -> None:
        """Begin the stream before the upstream has answered; an error is a frame from now on."""
        if not self.head.done():
            self.head.set_result(200)
            self.outbox.put_now(KEEP_ALIVE)
            self._loop.call_later(self._engine.keep_alive_s, self._keep_alive)

    def _keep_alive(self) -> None:
        if self.response is None and not self.departed and self.error is None:
            self.outbox.put_now(KEEP_ALIVE)
            self._loop.call_later(self._engine.keep_alive_s, self._keep_alive)

    def depart(self) -> None:
        """The client is gone. The request runs on until its cost is certain to be found."""
        self.outbox.abandon()
        if self.departed:
            return
        self.departed = True
        self.ticket.client_left = True
        if not self.head.done():
            self.head.set_exception(ClientGone())
            self.head.exception()
        self._stop_if_possible()

    def halt(self, error: ResellerError) -> None:
        """End the answer now with an error (the account was suspended); its cost is settled."""
        if self.departed or not self.ask.is_stream:
            return
        self.departed = True
        self._fail(error)
        self.outbox.close()
        self._stop_if_possible()

    def cut(self) -> None:
        """The server stops: leave the upstream's answer, its cost is asked for after the start."""
        self._is_cut = True
        if self._opening is not None:
            self._opening.cancel()
        elif self.response is not None:
            self._fail(stopping())
            # A client that reads nothing must not keep the stop waiting.
            self.outbox.close()
            self.response.close()

    # Its end.

    def _settle(self, usage: Usage | None) -> tuple[asyncio.Future[None] | None, dict[str, Any]]:
        """Charge a known cost; the future says when that is on disk. None: cost unknown."""
        self._count_time()
        if usage is None or usage.cost_picos is None:
            if usage is not None:
                self._engine.doubt(self.ticket, usage.doubt)
            return None, shown_usage(usage or Usage(), None)
        self.usage = usage
        captured, durable = self._engine.settler.charge(
            self.ticket,
            usage,
            usage.cost_picos,
            status=self.status,
            outcome="client_left" if self.ticket.client_left else None,
        )
        self.charged_nanos = captured.charged_nanos
        return durable, shown_usage(usage, captured.charged_nanos)

    def _park(self, reason: str) -> asyncio.Future[None]:
        ticket, rates = self.ticket, self.sending.model.rates
        counted = estimated_cost(rates, self.ask.prompt_tokens // 2, self.meter.completion_tokens())
        ticket.estimate_nanos = min(charge(counted, ticket.rule), ticket.hold.held_nanos)
        durable = self._engine.settler.park(ticket, reason)
        self._engine.pending.add(ticket)
        return durable

    def _stop_if_possible(self) -> None:
        """Leave the upstream's stream where the provider then stops billing."""
        rewriter = self._rewriter
        if (
            self.departed
            and rewriter is not None
            and self.response is not None
            and self.ticket.generation_id is not None
            and stops_billing(rewriter.provider)
        ):
            self.response.close()

    def _fault(self, raw: msgspec.Raw) -> ResellerError:
        fault = fault_from_frame(raw)
        if fault.alarm:
            self._engine.upstream_alarm(fault.alarm)
        if self.usage is not None and self.usage.cost_picos:
            fault.error.should_retry = False
        return fault.error

    def _begin(self) -> None:
        self._first_byte()
        if not self.head.done():
            self.head.set_result(200)

    def _answer(self, body: bytes) -> None:
        self.outbox.put_now(body)
        if not self.head.done():
            self.head.set_result(200)

    def _fail(self, error: ResellerError) -> None:
        """The answer is an error: its own status if nothing has left yet, else one frame."""
        if self.error is not None:
            return
        self.error = error
        self.status = error.http_status
        if not self.head.done():
            self.head.set_exception(error)
            # Nobody may be there to take it.
            self.head.exception()
        elif self.ask.is_stream:
            self.outbox.put_now(self._dialect.error_frame(error, self.ticket.request_id))

    def _first_byte(self) -> None:
        if self.ticket.first_byte_ms is None:
            elapsed = self._engine.clock.monotonic() - self.started
            self.ticket.first_byte_ms = round(elapsed * 1000)

    def _count_time(self) -> None:
        self.ticket.duration_ms = round((self._engine.clock.monotonic() - self.started) * 1000)

    def _close(self) -> None:
        """Whatever happened: the hold has ended or is pending when this returns."""
        ticket = self.ticket
        self._count_time()
        if self.response is not None and not self.response.closed:
            self.response.close()
        if ticket.hold.state is HoldState.OPEN:
            self._end_hold()
        self.outbox.close()
        if not self.head.done():
            self.head.set_result(self.status)
        self._engine.ended(self)

    def _end_hold(self) -> None:
        outcome = self.error.code if self.error is not None else "no_usage"
        if self.ticket.client_left:
            outcome = "client_left"
        if self._maybe_billed:
            if self.ticket.generation_id is None and self.ticket.client_left:
                self._engine.note_departure(self.ticket.account)
            self._park(outcome)
        else:
            self._engine.settler.release(self.ticket, status=self.status, outcome=outcome)
