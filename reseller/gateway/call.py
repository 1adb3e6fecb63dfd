"""One paid request from its hold to its settlement, in a task that belongs to the server.

The connection that asked only reads the outbox: it may come and go, the money part runs on.
`run` is steps 6 to 11 of the pipeline (see serve.py).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from reseller.db.rows import HoldRow
from reseller.errors import ResellerError, Unavailable, UpstreamFault
from reseller.gateway.ask import Ask
from reseller.gateway.body import ClientGone
from reseller.gateway.dialects.openai import Answer, OpenAIDialect, Sending
from reseller.gateway.faults import CONSTRAINT_FILTERED, fault_from_answer, fault_from_frame
from reseller.gateway.meter import Meter, Usage, estimated_cost, shown_usage
from reseller.gateway.outbox import Outbox
from reseller.gateway.providers import stops_billing
from reseller.gateway.settle import Ticket
from reseller.gateway.sse import DONE, KEEP_ALIVE, ChunkRewriter, FrameScanner
from reseller.gateway.upstream import CutOff, NotSent, cut_off, read_all, read_some
from reseller.money.pricing import charge
from reseller.money.wallet import HoldState

if TYPE_CHECKING:
    from reseller.gateway.engine import Engine

log = logging.getLogger("reseller.call")

_ERROR_BODY_BYTES = 65_536
# Cloudflare's own answers: the request may be running behind them.
_EDGE_STATUSES = range(520, 528)
_READ_OUT_S = 1.0
_CLIENT_GONE = 499


class Call:
    """A running request. Made with its hold already reserved."""

    __slots__ = (
        "_dialect",
        "_engine",
        "_is_requoted",
        "_loop",
        "_maybe_billed",
        "_rewriter",
        "_settled",
        "ask",
        "body_bytes",
        "charged_nanos",
        "departed",
        "error",
        "head",
        "is_lowered",
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
        self.body_bytes = 0
        self.charged_nanos = 0
        self._rewriter: ChunkRewriter | None = None
        self._is_requoted = False
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
        if self.response is not None:
            self.response.close()

    # The server's side.

    async def run(self) -> None:
        """Everything from the hold on disk to the settlement. Never raises."""
        try:
            await self._write_hold()
            if self.departed:
                # Nothing was sent yet, so nothing need be.
                self.status = _CLIENT_GONE
                return
            response = await self._open()
            if self.ask.is_stream:
                await self._relay_stream(response)
            else:
                await self._relay_answer(response)
        except ResellerError as error:
            self._fail(error)
        except Exception:
            log.exception("request %s failed", self.ticket.request_id)
            self._fail(UpstreamFault("The provider's answer could not be used."))
        finally:
            self._close()

    async def _write_hold(self) -> None:
        ticket, hold, rule = self.ticket, self.ticket.hold, self.ticket.rule
        row = HoldRow(
            ticket.request_id,
            ticket.account.id,
            ticket.key_id,
            ticket.model_row,
            ticket.opened_at,
            hold.held_nanos,
            rule.markup_bps,
            rule.fixed_nanos,
            rule.minimum_nanos,
            ticket.prompt_nanos,
            int(ticket.is_stream),
        )
        try:
            await self._engine.journal.opened(row)
        except Unavailable:
            if not self._is_requoted:
                # It never reached the disk, so there is nothing on it to close.
                self._engine.settler.forget(ticket)
            raise

    async def _open(self) -> aiohttp.ClientResponse:
        """Call the upstream; at its headers queue the generation id. Raises ResellerError."""
        body = self._dialect.body(self.ask, self.sending)
        self._maybe_billed = True
        try:
            response = await self._engine.upstream.open(self._dialect.path, body)
        except NotSent:
            self._maybe_billed = False
            raise
        self.response = response
        self._learn_id(response.headers.get("x-generation-id"))
        if response.status != 200:
            return await self._refused(response)
        # Not before: a refusal may be asked once more.
        self.ask.fields = {}
        self._engine.release_body(self)
        return response

    async def _refused(self, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        """An error answer: reword it, or quote again where only the price stood in the way."""
        status = response.status
        try:
            body = await read_all(response)
        except CutOff:
            body = b""
        fault = fault_from_answer(
            status, body[:_ERROR_BODY_BYTES], response.headers.get("retry-after")
        )
        by_id = status >= 500 and self.ticket.generation_id is not None
        self._maybe_billed = by_id or status in _EDGE_STATUSES
        if fault.constraint == CONSTRAINT_FILTERED and not self._is_requoted:
            self._is_requoted = True
            self.ticket.generation_id = None
            self.sending = await self._engine.requote(self)
            await self._write_hold()
            return await self._open()
        if fault.alarm:
            self._engine.upstream_alarm(fault.alarm)
        raise fault.error

    def _learn_id(self, generation_id: str | None) -> None:
        """Queue the id; `_identified` says when it is on disk."""
        if generation_id and self.ticket.generation_id is None and len(generation_id) <= 128:
            self.ticket.generation_id = generation_id

    async def _identified(self) -> None:
        """The generation id is on disk: from now on the answer may leave."""
        ticket = self.ticket
        if ticket.generation_id is not None:
            await self._engine.journal.identify(ticket.request_id, ticket.generation_id)

    async def _relay_answer(self, response: aiohttp.ClientResponse) -> None:
        """A JSON answer: read whole, settle, and leave when the settlement is on disk."""
        if self.ticket.generation_id is not None:
            self._engine.journal.identify(self.ticket.request_id, self.ticket.generation_id)
        raw = await read_all(response)
        self._first_byte()
        try:
            answer = self._dialect.answer(
                raw, self.ticket.request_id, show_provider=self._engine.show_provider
            )
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise cut_off() from error
        self._learn_id(answer.generation_id)
        self._check_failed(answer)
        durable, shown = self._settle(answer.usage)
        await (durable or self._park("no_usage"))
        if answer.error is not None:
            raise self._fault(answer.error)
        answer.fields["usage"] = shown
        self._answer(self._dialect.encode(answer.fields))

    def _check_failed(self, answer: Answer) -> None:
        """An error under 200 without usage or id: nothing was produced, nothing is billed."""
        if answer.error is not None and answer.usage is None and not self.ticket.generation_id:
            self._maybe_billed = False
            raise self._fault(answer.error)

    async def _relay_stream(self, response: aiohttp.ClientResponse) -> None:
        """A stream: each frame rewritten and sent, usage settled as it passes."""
        await self._identified()
        scanner = FrameScanner()
        rewriter = self._rewriter = self._dialect.rewriter(
            self.ticket.request_id,
            self.meter,
            self._on_usage,
            show_provider=self._engine.show_provider,
        )
        while not rewriter.is_done:
            chunk = await read_some(response)
            frames = scanner.feed(chunk) if chunk else scanner.end()
            if frames:
                await self._pass_on(rewriter, frames)
            if not chunk:
                break
        if self.usage is None and not rewriter.is_done:
            raise cut_off()
        self._begin()
        if not rewriter.is_done:
            self.outbox.put_now(DONE)
        self.outbox.close()
        await self._read_out(response)

    async def _read_out(self, response: aiohttp.ClientResponse) -> None:
        """Read to the end of a finished answer so that its connection can serve the next."""
        try:
            async with asyncio.timeout(_READ_OUT_S):
                while not response.content.at_eof():
                    await read_some(response)
        except (TimeoutError, CutOff):
            response.close()

    async def _pass_on(self, rewriter: ChunkRewriter, frames: list[bytes]) -> None:
        """Rewrite and send frames. Raises the upstream's error if they brought one, CutOff if
        they cannot be read."""
        had_id = self.ticket.generation_id is not None
        try:
            out = rewriter.rewrite(frames)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            self._learn_id(rewriter.generation_id)
            raise cut_off() from error
        if not had_id and rewriter.generation_id is not None:
            self._learn_id(rewriter.generation_id)
            # Where the same bytes brought the usage too, the settlement carries the id.
            await (self._settled or self._identified())
        self._stop_if_possible()
        if out and (self.head.done() or self.meter.frames or rewriter.is_done):
            self._begin()
            await self.outbox.put(out)
        if rewriter.error is not None:
            raise self._fault(rewriter.error)

    def _on_usage(self, usage: Usage) -> dict[str, Any]:
        """The stream's usage: settle at once, show the charge. A second one changes nothing."""
        if self._rewriter is not None:
            self._learn_id(self._rewriter.generation_id)
        if self.ticket.hold.is_live:
            self._settled, shown = self._settle(usage)
            return shown
        return shown_usage(usage, self.charged_nanos)

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
