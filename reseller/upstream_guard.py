"""The upstream's balance, watched so that admission closes before the upstream says 402.

What is not known closes nothing. What the gateway closed on a 401 or 402 is opened again here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal

import httpx
import msgspec

from reseller import admission
from reseller.core import Core
from reseller.db.sql import statement
from reseller.errors import UpstreamFault
from reseller.units import BPS_ONE, PICOS_PER_NANO, PICOS_PER_USD, Picos, picos_text, usd_text
from reseller.upstream_api import Refused, UpstreamApi

log = logging.getLogger("reseller.upstream_guard")

_RECENT_COST = statement("sum_recent_cost")
_HOUR_MS = 3_600_000
_RUNWAY_HOURS = 6
_WARN_HOURS = 24
# A refusal by an upstream whose balance looks well is believed for this long.
_TRY_AGAIN_S = 60.0
_PLENTY_PICOS = PICOS_PER_USD
_SANE_EXPONENTS = range(-30, 13)
_MOST_USD = Decimal(10**12)
_WIDE = Context(prec=80, rounding=ROUND_FLOOR)


@dataclass(slots=True)
class UpstreamBalance:
    """The last known balance of the upstream account, when that was, and how long it lasts."""

    picos: Picos | None = None
    at: int = 0
    runway_hours: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the upstream ever said."""
        return self.picos is not None


class _Credits(msgspec.Struct):
    total_credits: Decimal
    total_usage: Decimal


class _CreditsAnswer(msgspec.Struct):
    data: _Credits


class _Key(msgspec.Struct):
    limit_remaining: Decimal | None = None


class _KeyAnswer(msgspec.Struct):
    data: _Key


_decode_credits = msgspec.json.Decoder(_CreditsAnswer).decode
_decode_key = msgspec.json.Decoder(_KeyAnswer).decode


class UpstreamGuard:
    """The `credits` job."""

    def __init__(self, core: Core, http: httpx.AsyncClient) -> None:
        self._core = core
        self._api = UpstreamApi(http, core.config.upstream)
        self.balance = UpstreamBalance()
        # Since when admission is closed, by reason, on the monotonic clock; and the balance then.
        self._closed: dict[str, tuple[float, Picos | None]] = {}

    async def check(self) -> str:
        """Ask for the balance; close or open admission by it. Raises UpstreamFault if unknown."""
        self._note_closures()
        faults: list[str] = []
        of_account = await self._ask_credits(faults)
        of_key, key_works = await self._ask_key(faults)
        self._judge_key(key_works)
        known = [picos for picos in (of_account, of_key) if picos is not None]
        if not known:
            self._judge_unknown()
            if faults:
                raise UpstreamFault("; ".join(faults))
            return "the upstream does not say"
        balance = min(known)
        cost = await self._recent_cost()
        runway = balance * _RUNWAY_HOURS // cost if cost > 0 and balance > 0 else None
        runway = 0 if balance <= 0 else runway
        self.balance.picos, self.balance.at = balance, self._core.clock.now_ms()
        self.balance.runway_hours = runway
        self._judge(balance, runway)
        left = "" if runway is None else f", about {runway} h at the present pace"
        return f"{picos_text(balance)} USD{left}"

    async def _ask_credits(self, faults: list[str]) -> Picos | None:
        """Bought less used; None where this key may not ask or nobody answers."""
        try:
            body, _ = await self._api.read("credits", is_management=True)
            credits = _decode_credits(body or b"").data
            return _picos(credits.total_credits) + _picos(-credits.total_usage)
        except Refused as error:
            if error.refused_with not in (401, 403, 404):
                faults.append(error.message)
        except UpstreamFault as error:
            faults.append(error.message)
        except (msgspec.DecodeError, ValueError) as error:
            faults.append(f"The upstream's credits cannot be read: {error}")
        return None

    async def _ask_key(self, faults: list[str]) -> tuple[Picos | None, bool | None]:
        """What the key's own limit leaves, and whether the key works; None: not known."""
        try:
            body, _ = await self._api.read("key")
            remaining = _decode_key(body or b"").data.limit_remaining
            return None if remaining is None else _picos(remaining), True
        except Refused as error:
            if error.refused_with == 401:
                return None, False
            if error.refused_with not in (403, 404):
                faults.append(error.message)
        except UpstreamFault as error:
            faults.append(error.message)
        except (msgspec.DecodeError, ValueError) as error:
            faults.append(f"The upstream's key record cannot be read: {error}")
        return None, None

    def _judge(self, balance: Picos, runway: int | None) -> None:
        live = self._core.live
        held = live.wallet.held_total_nanos
        needed = held * PICOS_PER_NANO * self._core.config.brakes.upstream_headroom_bps // BPS_ONE
        last = "" if runway is None else f" It lasts about {runway} h at the present pace."
        if balance <= 0 or balance < needed:
            detail = (
                f"The upstream balance is {picos_text(balance)} USD, open requests hold "
                f"{usd_text(held)} USD.{last} Add credits upstream."
            )
            live.admission.close(admission.UPSTREAM_BALANCE, detail)
            live.alarms.tell(admission.UPSTREAM_BALANCE, detail)
            self._note_closures()
            return
        if self._may_open(admission.UPSTREAM_BALANCE, balance):
            self._open(admission.UPSTREAM_BALANCE)
        if runway is not None and runway < _WARN_HOURS:
            live.alarms.tell(
                "upstream_runway", f"The upstream balance is {picos_text(balance)} USD.{last}"
            )
        else:
            live.alarms.clear("upstream_runway")

    def _judge_key(self, key_works: bool | None) -> None:
        """A key that works opens what a 401 closed; where nobody says, one request may try."""
        live = self._core.live
        if key_works is False:
            live.alarms.tell(admission.UPSTREAM_KEY, "The upstream does not take the API key.")
        elif key_works or self._may_open(admission.UPSTREAM_KEY, None):
            self._open(admission.UPSTREAM_KEY)

    def _judge_unknown(self) -> None:
        """Without any figure a closure by the gateway ends after a while, so that one may try."""
        if self._may_open(admission.UPSTREAM_BALANCE, None):
            self._open(admission.UPSTREAM_BALANCE)

    def _note_closures(self) -> None:
        reasons = self._core.live.admission.reasons
        for reason in (admission.UPSTREAM_BALANCE, admission.UPSTREAM_KEY):
            if reason not in reasons:
                self._closed.pop(reason, None)
            elif reason not in self._closed:
                self._closed[reason] = (self._core.clock.monotonic(), self.balance.picos)

    def _may_open(self, reason: str, balance: Picos | None) -> bool:
        """Plenty is there, or more than when it closed, or it is long enough ago to try."""
        closed = self._closed.get(reason)
        if closed is None:
            return True
        since, before = closed
        if self._core.clock.monotonic() - since >= _TRY_AGAIN_S:
            return True
        if balance is None:
            return False
        return balance >= _PLENTY_PICOS or (before is not None and balance > before)

    def _open(self, reason: str) -> None:
        self._core.live.admission.open(reason)
        self._core.live.alarms.clear(reason)
        self._closed.pop(reason, None)

    async def _recent_cost(self) -> Picos:
        since = self._core.clock.now_ms() - _RUNWAY_HOURS * _HOUR_MS
        row = await self._core.reader.row(_RECENT_COST, (since,))
        return int(row["cost_picos"])


def _picos(amount: Decimal) -> Picos:
    """A balance or a total in picos, rounded down; lifetime totals may be large. ValueError."""
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent not in _SANE_EXPONENTS or abs(amount) > _MOST_USD:
        raise ValueError(f"{amount!s:.40} is not a balance")
    return int(_WIDE.multiply(amount, Decimal(PICOS_PER_USD)).to_integral_value(ROUND_FLOOR))
