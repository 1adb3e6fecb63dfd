"""The gateway's state: admission to a paid request, and the requests that run.

`admit` is steps 3 to 5 of the pipeline: route, limits, quote and reserve in one go, without an
await, so that no other request can come between a check and what it allowed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import msgspec

from reseller.catalogue import Model
from reseller.core import Core
from reseller.errors import (
    BadRequest,
    Forbidden,
    InsufficientCredit,
    NotFound,
    RateLimited,
    ResellerError,
    Unavailable,
)
from reseller.gateway.ask import Ask
from reseller.gateway.body import BodyReader
from reseller.gateway.call import Call
from reseller.gateway.dialects.openai import OpenAIDialect, Sending
from reseller.gateway.pending import PendingQueue
from reseller.gateway.running import Running
from reseller.gateway.settle import Settler, Ticket
from reseller.gateway.sweep import Sweep
from reseller.gateway.turns import Turns
from reseller.gateway.upstream import Upstream
from reseller.ids import keyed_hash
from reseller.live import Account, ApiKey, suspended
from reseller.log import log_request
from reseller.money.pricing import PriceRule, Quote, charge, quote
from reseller.money.rates import MINUTES_PER_DAY, Rates
from reseller.money.wallet import BALANCE_HELD
from reseller.units import PICOS_PER_NANO, ceil_div, picos_text, usd_text

log = logging.getLogger("reseller.gateway")

_HOUR_S = 3_600.0
_KEEP_ALIVE_S = 10.0
_LEAST_ROOM_TOKENS = 1_024
_NO_WATCH: Callable[[str], None] = lambda _: None  # noqa: E731

FetchEndpoints = Callable[[str], Awaitable[Rates | None]]


class Engine:
    """Admits, starts and ends paid requests."""

    def __init__(
        self,
        core: Core,
        upstream: Upstream,
        settler: Settler,
        pending: PendingQueue,
        fetch_endpoints: FetchEndpoints,
    ) -> None:
        self.core = core
        self.live = core.live
        self.clock = core.clock
        self.ids = core.ids
        self.journal = core.journal
        self.loop = asyncio.get_running_loop()
        self.upstream = upstream
        self.settler = settler
        self.pending = pending
        server = core.config.server
        self.early_open_s = server.early_open_s
        self.send_timeout_s = server.send_timeout_s
        times = (server.early_open_s or 10.0, server.send_timeout_s, server.body_timeout_s)
        self.sweep = Sweep(self.loop, min(times) / 8)
        self.bodies = BodyReader(server, self.sweep)
        self.keep_alive_s = _KEEP_ALIVE_S
        self.trusted_proxies = tuple(
            ipaddress.ip_network(network) for network in core.config.server.trusted_proxies
        )
        self.show_provider = core.config.upstream.show_provider
        self.running: dict[str, Call] = {}
        # Called with what the upstream said against the operator's account: `key` or `balance`.
        self.on_upstream_trouble = _NO_WATCH
        self._fetch_endpoints = fetch_endpoints
        self._tasks: set[asyncio.Task[None]] = set()
        self._holds = core.config.holds
        self._turns = Turns(self.loop, core.config.holds.wait_s)
        self._idle = asyncio.Event()
        self._idle.set()

    # Admission.

    async def admit_soon(
        self, key: ApiKey, dialect: OpenAIDialect, ask: Ask, request_id: str
    ) -> Call:
        """`admit`; where only holds of running requests are in the way, wait a moment for one of
        them to end."""
        try:
            return self.admit(key, dialect, ask, request_id)
        except RateLimited as error:
            if error.code != BALANCE_HELD or not key.account.balance.running:
                raise
            call = await self._turns.retry(
                lambda: self.admit(key, dialect, ask, request_id), key.account.id, error
            )
            call.has_waited = True
            return call

    def check_early(self, key: ApiKey) -> None:
        """Refuse before the body is read what could not be admitted whatever is in it.

        Raises ResellerError. `admit` looks again: the body may take its time.
        """
        self.live.admission.check()
        now = self.clock.monotonic()
        for limiter in key.limiters:
            limiter.check(now)
        balance = key.account.balance.balance_nanos
        if balance <= 0 and not self.live.catalogue.show_free:
            raise InsufficientCredit(
                f"Your balance is ${usd_text(balance)}. Add credits in the dashboard under Billing."
            )

    def admit(self, key: ApiKey, dialect: OpenAIDialect, ask: Ask, request_id: str) -> Call:
        """A call with its hold reserved. Raises ResellerError; then nothing was consumed."""
        account, now = key.account, self.clock.monotonic()
        self.live.admission.check()
        if account.is_suspended:
            # Since its key was looked at.
            raise suspended()
        if account.is_frozen:
            raise Unavailable("This account's books are being checked; try again shortly.")
        model, rule = self._route(key, dialect, ask)
        self._check_streaming(account, ask, now)
        limiters = key.limiters
        for limiter in limiters:
            limiter.check(now)
        if dialect.has_one_prompt and model.context_tokens:
            # A longer prompt is refused by the upstream and not billed.
            ask.prompt_tokens = min(ask.prompt_tokens, model.context_tokens)
        cap = self._output_cap(ask, model)
        quoted = self._quote(model.rates, rule, ask, cap)
        now_ms = self.clock.now_ms()
        caps = (account.daily, key.cap)
        for spend_cap in caps:
            spend_cap.roll(now_ms)
        hold = self.live.wallet.reserve(
            request_id, account.id, quoted, minimum_tokens=self._holds.minimum_tokens, caps=caps
        )
        for limiter in limiters:
            limiter.take(ask.prompt_tokens)
        ticket = Ticket(
            request_id=request_id,
            account=account,
            key=key,
            key_id=key.id,
            model_row=model.row,
            hold=hold,
            rule=rule,
            is_stream=ask.is_stream,
            opened_at=now_ms,
            prompt_nanos=charge(quoted.prompt_picos, rule),
        )
        sending = self._sending(model, account, hold.cap_tokens, model.rates, ask)
        call = Call(self, dialect, ask, ticket, sending)
        call.limiters = limiters
        call.is_lowered = hold.cap_tokens < (ask.cap_tokens or cap)
        return call

    def _route(self, key: ApiKey, dialect: OpenAIDialect, ask: Ask) -> tuple[Model, PriceRule]:
        model = self.live.catalogue.find(ask.model)
        name = model.canonical_id
        rule = self.live.prices.rule_for(key.account.id, name)
        if rule.block:
            raise Forbidden(
                f"The model {ask.model!r:.120} is not offered here.",
                code="model_not_allowed",
                param="model",
            )
        if key.models and not key.allows(name):
            raise Forbidden(
                f"The API key {key.name!r:.60} may not use {ask.model!r:.120}.",
                code="model_not_allowed",
                param="model",
            )
        if dialect.modality not in model.output_modalities:
            raise BadRequest(
                f"The model {ask.model!r:.120} does not answer at this endpoint.",
                code="wrong_endpoint",
                param="model",
            )
        if missing := ask.media - model.input_modalities:
            raise BadRequest(
                f"The model {ask.model!r:.120} does not take {', '.join(sorted(missing))} input.",
                code="media_not_supported",
                param="messages",
            )
        return model, rule

    def _check_streaming(self, account: Account, ask: Ask, now: float) -> None:
        """Streams are off for an hour after too many departures without an id."""
        departures = account.departures
        while departures and now - departures[0] > _HOUR_S:
            departures.popleft()
        bound = self.core.config.brakes.departures_per_hour
        if ask.is_stream and bound and len(departures) > bound:
            raise RateLimited(
                "Too many streams of this account were left before they were answered. "
                "Streaming is off for an hour; requests without 'stream' are served.",
                code="streaming_suspended",
                retry_after_ms=round((_HOUR_S - (now - departures[0])) * 1000),
            )

    def _output_cap(self, ask: Ask, model: Model) -> int:
        """The client's cap within what the model can do; else the model's, within the setting."""
        if ask.cap_tokens is None:
            own = model.output_tokens or self._holds.max_output_tokens
            cap = min(own, self._holds.max_output_tokens)
            if model.context_tokens:
                # Providers refuse a cap that does not fit beside the prompt; the bound counts
                # about two tokens for one of plain text.
                room = model.context_tokens - ask.prompt_tokens * 11 // 20
                cap = min(cap, max(room, _LEAST_ROOM_TOKENS))
            return cap
        most = model.output_tokens or model.context_tokens
        return min(ask.cap_tokens, most) if most else ask.cap_tokens

    def _quote(self, rates: Rates, rule: PriceRule, ask: Ask, cap: int) -> Quote:
        minute = self.clock.now_ms() // 60_000 % MINUTES_PER_DAY
        return quote(
            rates.dearest(ask.prompt_tokens, minute),
            rule,
            prompt_tokens=ask.prompt_tokens,
            cap_tokens=cap,
            choices=ask.choices,
            guard_bps=self._holds.price_guard_bps,
            extra_picos=ask.extra_nanos * PICOS_PER_NANO,
            hour_cache=ask.has_hour_cache,
        )

    def _sending(
        self, model: Model, account: Account, cap_tokens: int, rates: Rates, ask: Ask
    ) -> Sending:
        minute = self.clock.now_ms() // 60_000 % MINUTES_PER_DAY
        most = rates.dearest(ask.prompt_tokens, minute)
        limits = _max_price(
            most.prompt, most.completion, most.request_picos, self._holds.price_guard_bps
        )
        return Sending(model, cap_tokens, limits, self.end_user(account))

    def end_user(self, account: Account) -> str:
        """What the upstream sees of an account: a keyed hash, always the same."""
        if not account.end_user:
            account.end_user = keyed_hash(self.core.secret, account.public_id)
        return account.end_user

    async def requote(self, call: Call) -> Sending:
        """After the upstream refused the price limit: bound by the dearest standard endpoint.

        Reserves the difference. Raises Unavailable where the balance cannot carry it.
        """
        model, ticket = call.sending.model, call.ticket
        rates = await self._fetch_endpoints(model.id) or model.endpoints
        if rates is None:
            raise _price_moved()
        quoted = self._quote(rates, ticket.rule, call.ask, ticket.hold.cap_tokens)
        bound = quoted.bound_nanos()
        if not self.live.wallet.extend(ticket.hold, bound):
            raise _price_moved()
        ticket.prompt_nanos = charge(quoted.prompt_picos, ticket.rule)
        return self._sending(model, ticket.account, ticket.hold.cap_tokens, rates, call.ask)

    # Running requests.

    def start(self, call: Call) -> None:
        """Run the call in a task of the server."""
        self.running[call.ticket.request_id] = call
        self._idle.clear()
        task = self.loop.create_task(call.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ended(self, call: Running) -> None:
        """The call's money is settled or pending."""
        self.release_body(call)
        ticket = call.ticket
        used = call.usage.total_tokens if call.usage is not None else 0
        for limiter in call.limiters:
            limiter.finish(call.ask.prompt_tokens, used)
        self.running.pop(ticket.request_id, None)
        if not self.running:
            self._idle.set()
        self._turns.wake(ticket.account.id)
        log_request(
            ticket.request_id,
            account=ticket.account.public_id,
            model=call.sending.model.id,
            status=call.status,
            tokens=used,
            charge_nanos=call.charged_nanos,
            ms=ticket.duration_ms,
        )

    def release_body(self, call: Running) -> None:
        """The request's body is no longer in memory."""
        if call.body_bytes:
            self.bodies.release(call.body_bytes, call.ticket.account.id)
            call.body_bytes = 0

    def suspend(self, account: Account) -> None:
        """End the account's streams now; what they cost is settled."""
        error = suspended()
        for call in list(self.running.values()):
            if call.ticket.account is account:
                call.halt(error)

    async def drain(self, seconds: float) -> None:
        """Wait for running requests; after `seconds` leave them to be settled after the start."""
        self._turns.wake_all()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d requests are cut at the end of the drain", len(self.running))
        for call in list(self.running.values()):
            call.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def note_departure(self, account: Account) -> None:
        """A client left and no generation id was ever seen."""
        account.departures.append(self.clock.monotonic())

    def doubt(self, ticket: Ticket, detail: str) -> None:
        """The upstream gave a usage that cannot be charged from."""
        self.live.alarms.tell("cost_unknown", f"request {ticket.request_id}: {detail}")

    def upstream_alarm(self, alarm: str) -> None:
        """The upstream refused the operator's account."""
        kind, _, detail = alarm.partition(": ")
        self.live.alarms.tell(kind, detail)
        self.on_upstream_trouble(kind)

    def find_model(self, name: str) -> Model:
        """A model on sale by its id. Raises NotFound."""
        try:
            return self.live.catalogue.find(name)
        except ResellerError as error:
            raise NotFound(error.message, code="model_not_found", param="model") from None


def _price_moved() -> Unavailable:
    return Unavailable(
        "The price of this model has just moved and the request was not sent. Nothing was "
        "charged; try again, or add credits.",
        code="price_moved",
        retry_after_ms=5_000,
    )


@lru_cache(maxsize=4096)
def _max_price(prompt: int, completion: int, request: int, guard_bps: int) -> dict[str, Any]:
    """`provider.max_price`: USD per million tokens, per request for the rest."""
    limits = {
        "prompt": _guarded(prompt, guard_bps),
        "completion": _guarded(completion, guard_bps),
    }
    if request:
        limits["request"] = _guarded(request, guard_bps)
    return limits


def _guarded(picos: int, guard_bps: int) -> msgspec.Raw:
    return msgspec.Raw(picos_text(ceil_div(picos * guard_bps, 10_000)).encode())
