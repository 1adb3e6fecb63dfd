"""The end of a request's money: charge, release, park or expose its hold, exactly once.

Every function changes memory and queues the rows in one step without an await; the future they
return resolves when the rows are on disk.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from reseller.core import Core
from reseller.db.group import Settlement
from reseller.db.rows import ExposureRow, ParkRow, UsageRow
from reseller.gateway.meter import Usage
from reseller.live import Account, ApiKey
from reseller.money.ledger import usage_transfers
from reseller.money.pricing import PriceRule, charge
from reseller.money.wallet import Captured, Hold
from reseller.units import Nanos

NO_USAGE = Usage()


@dataclass(slots=True)
class Ticket:
    """What the money of one request needs to know, while it runs and while it is pending."""

    request_id: str
    account: Account
    key: ApiKey | None
    key_id: int
    model_row: int
    hold: Hold
    rule: PriceRule
    is_stream: bool
    opened_at: int
    prompt_nanos: Nanos
    generation_id: str | None = None
    estimate_nanos: Nanos = 0
    first_byte_ms: int | None = None
    duration_ms: int = 0
    parked_at: int = 0
    polls: int = 0
    real_polls: int = 0
    client_left: bool = False
    reason: str = ""


class Settler:
    """Ends holds in memory and queues what the journal writes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._wallet = core.live.wallet
        self._journal = core.journal

    def charge(
        self, ticket: Ticket, usage: Usage, cost_picos: int, *, status: int, outcome: str | None
    ) -> tuple[Captured, asyncio.Future[None]]:
        """Capture the charge for a known cost by the rule the hold was quoted with."""
        return self._capture(
            ticket, usage, cost_picos, charge(cost_picos, ticket.rule), status, outcome
        )

    def charge_estimate(self, ticket: Ticket) -> tuple[Captured, asyncio.Future[None]]:
        """Capture the Meter's estimate of a request whose true cost was never learnt."""
        return self._capture(ticket, NO_USAGE, None, ticket.estimate_nanos, 200, "estimated")

    def release(self, ticket: Ticket, *, status: int, outcome: str) -> asyncio.Future[None]:
        """Give the hold back: nothing was billed."""
        self._wallet.release(ticket.hold)
        usage = self._usage_row(ticket, NO_USAGE, 0, Captured(0, 0), status, outcome)
        return self._post(ticket, usage, Captured(0, 0), None)

    def forget(self, ticket: Ticket) -> None:
        """Give back a hold that never reached the disk."""
        self._wallet.release(ticket.hold)

    def park(self, ticket: Ticket, reason: str) -> asyncio.Future[None]:
        """The hold waits for its true cost, here and on disk."""
        self._wallet.park(ticket.hold)
        ticket.reason = reason
        ticket.parked_at = self._core.clock.now_ms()
        self._journal.forget_identify(ticket.request_id)
        return self._journal.park(
            ParkRow(
                ticket.request_id,
                reason,
                ticket.estimate_nanos,
                int(ticket.client_left),
                ticket.parked_at,
                ticket.generation_id,
            )
        )

    def expose(self, ticket: Ticket) -> asyncio.Future[None]:
        """Close a hold whose generation id was never seen, and write it down as exposure.

        Where the client itself left, the prompt's quote is charged; otherwise nothing is.
        """
        nanos = min(ticket.prompt_nanos, ticket.hold.held_nanos) if ticket.client_left else 0
        held = ticket.hold.held_nanos
        self._roll(ticket)
        captured = self._wallet.capture(ticket.hold, nanos)
        usage = self._usage_row(ticket, NO_USAGE, None, captured, 0, "exposure")
        exposure = ExposureRow(
            ticket.request_id,
            ticket.account.id,
            ticket.key_id,
            ticket.model_row,
            ticket.opened_at,
            self._core.clock.now_ms(),
            held,
            captured.charged_nanos,
            ticket.reason or "no generation id",
        )
        return self._post(ticket, usage, captured, exposure)

    def _capture(
        self,
        ticket: Ticket,
        usage: Usage,
        cost_picos: int | None,
        nanos: Nanos,
        status: int,
        outcome: str | None,
    ) -> tuple[Captured, asyncio.Future[None]]:
        self._roll(ticket)
        captured = self._wallet.capture(ticket.hold, nanos)
        row = self._usage_row(ticket, usage, cost_picos, captured, status, outcome)
        if captured.written_off_nanos:
            self._core.live.alarms.tell(
                "write_off", f"request {ticket.request_id} cost more than its hold and the balance"
            )
        return captured, self._post(ticket, row, captured, None)

    def _roll(self, ticket: Ticket) -> None:
        now = self._core.clock.now_ms()
        for cap in ticket.hold.caps:
            cap.roll(now)

    def _usage_row(
        self,
        ticket: Ticket,
        usage: Usage,
        cost_picos: int | None,
        captured: Captured,
        status: int,
        outcome: str | None,
    ) -> UsageRow:
        return UsageRow(
            ticket.request_id,
            ticket.account.id,
            ticket.key_id,
            ticket.model_row,
            self._core.clock.now_ms(),
            ticket.generation_id,
            status,
            outcome,
            int(ticket.is_stream),
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            cost_picos,
            captured.charged_nanos + captured.written_off_nanos,
            captured.written_off_nanos,
            ticket.rule.markup_bps,
            ticket.rule.fixed_nanos,
            ticket.first_byte_ms,
            ticket.duration_ms,
        )

    def _post(
        self, ticket: Ticket, usage: UsageRow, captured: Captured, exposure: ExposureRow | None
    ) -> asyncio.Future[None]:
        self._journal.forget_identify(ticket.request_id)
        key = ticket.key
        return self._journal.settle(
            Settlement(
                usage=usage,
                transfers=usage_transfers(
                    ticket.request_id,
                    ticket.account.id,
                    captured.charged_nanos,
                    captured.written_off_nanos,
                    usage.at,
                ),
                request_id=ticket.request_id,
                account=ticket.account.id,
                api_key=ticket.key_id,
                paid_nanos=captured.charged_nanos,
                day_start=ticket.account.daily.started_at,
                key_period_start=key.cap.started_at if key is not None else 0,
                at=usage.at,
                exposure=exposure,
            )
        )
