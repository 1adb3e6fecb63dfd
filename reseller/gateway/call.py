"""One paid request from its hold to its settlement, in a task that belongs to the server.

The connection that asked only reads the outbox: it may come and go, the money part runs on.
`run` is steps 6 to 11 of the pipeline (see serve.py).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import msgspec

from reseller.db.rows import HoldRow
from reseller.errors import ResellerError, Unavailable, UpstreamFault
from reseller.gateway.dialects.openai import Answer
from reseller.gateway.faults import CONSTRAINT_FILTERED, fault_from_answer
from reseller.gateway.meter import Usage, shown_usage
from reseller.gateway.running import Running
from reseller.gateway.sse import DONE, ChunkRewriter, FrameScanner
from reseller.gateway.upstream import CutOff, NotSent, cut_off, read_all, read_some, stopping

log = logging.getLogger("reseller.call")

_ERROR_BODY_BYTES = 65_536
# Cloudflare's own answers: the request may be running behind them.
_EDGE_STATUSES = range(520, 528)
_READ_OUT_S = 1.0
_CLIENT_GONE = 499


class Call(Running):
    """A running request, step by step. Made with its hold already reserved."""

    __slots__ = ()

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
        if self._is_cut:
            raise stopping()
        body = self._dialect.body(self.ask, self.sending)
        self._maybe_billed = True
        self._opening = asyncio.current_task(self._loop)
        try:
            response = await self._engine.upstream.open(self._dialect.path, body)
        except NotSent:
            self._maybe_billed = False
            raise
        except asyncio.CancelledError:
            raise stopping() from None
        finally:
            self._opening = None
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
        failure = None if answer.error is None else self._fault(answer.error)
        if failure is not None:
            self.status = failure.http_status
        durable, shown = self._settle(answer.usage)
        await (durable or self._park("no_usage"))
        if failure is not None:
            failure.should_retry = failure.should_retry and not self.charged_nanos
            raise failure
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
        if response.content.at_eof():
            return
        giving_up = self._loop.call_later(_READ_OUT_S, response.close)
        try:
            while not response.content.at_eof():
                await read_some(response)
        except CutOff:
            response.close()
        finally:
            giving_up.cancel()

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
        if self.departed:
            self._stop_if_possible()
        if out and (self.head.done() or self.meter.frames or rewriter.is_done):
            self._begin()
            self.outbox.put_now(out)
            if self.outbox.is_full:
                await self.outbox.wait_for_room()
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
