"""Balances and holds in memory: reserve, capture, release. Nothing here awaits.

A Hold is `open`, then captured, released or *pending* (waiting for its true cost), then captured
or released. The sum of holds is promised money: API use never takes a balance below zero.
Source: docs/ARCHITECTURE.md "A request's money".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from reseller.errors import InsufficientCredit, RateLimited
from reseller.money.pricing import Quote, charge
from reseller.money.spend import Period, SpendCap
from reseller.units import Nanos, usd_text

# How soon to ask again where the money waits for true costs, which may take minutes.
_PENDING_RETRY_MS = 30_000
BALANCE_HELD = "balance_held"


class HoldState(StrEnum):
    """Where a hold is in its life."""

    OPEN = "open"
    PENDING = "pending"
    CAPTURED = "captured"
    RELEASED = "released"


@dataclass(slots=True)
class Balance:
    """One account's money: what is there, what is promised, and by how many holds.

    `running` counts the open holds among them: a request that only waits for its true cost does
    not compete with a new one.
    """

    account: int
    balance_nanos: Nanos
    held_nanos: Nanos = 0
    holds: int = 0
    used_nanos: Nanos = 0
    running: int = 0

    @property
    def free_nanos(self) -> Nanos:
        """What no hold has promised yet."""
        return self.balance_nanos - self.held_nanos


@dataclass(slots=True)
class Hold:
    """Money promised to one request, and the output cap it pays for."""

    request_id: str
    account: int
    held_nanos: Nanos
    cap_tokens: int
    caps: tuple[SpendCap, ...] = ()
    state: HoldState = HoldState.OPEN

    @property
    def is_live(self) -> bool:
        """Whether the promise still stands."""
        return self.state in (HoldState.OPEN, HoldState.PENDING)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a capture did: paid from the balance, and what nobody could cover."""

    charged_nanos: Nanos
    written_off_nanos: Nanos


class Wallet:
    """All balances. The check and the reservation are one step without an await."""

    def __init__(self) -> None:
        self._balances: dict[int, Balance] = {}
        self.held_total_nanos: Nanos = 0

    def add_account(self, account: int, balance_nanos: Nanos, used_nanos: Nanos = 0) -> Balance:
        """Make an account known. It must not be known yet."""
        assert account not in self._balances
        balance = Balance(account, balance_nanos, used_nanos=used_nanos)
        self._balances[account] = balance
        return balance

    def balance_of(self, account: int) -> Balance:
        """The account's balance; KeyError for an unknown account."""
        return self._balances[account]

    def __iter__(self) -> Iterator[Balance]:
        return iter(self._balances.values())

    def reserve(
        self,
        request_id: str,
        account: int,
        quote: Quote,
        *,
        minimum_tokens: int = 64,
        caps: tuple[SpendCap, ...] = (),
    ) -> Hold:
        """Promise the most the request may cost, or what there is with a lowered output cap.

        A lone request may take all that is free; beside others at most half of it. What can
        cost nothing needs nothing, not even a balance. Raises InsufficientCredit, or RateLimited
        `balance_held` where only holds are in the way.
        """
        balance = self._balances[account]
        bound = quote.bound_nanos()
        allowed = _allowance(balance, caps)
        if bound <= allowed:
            held, tokens = bound, quote.cap_tokens
        else:
            needed = charge(quote.cost_at(min(minimum_tokens, quote.cap_tokens)), quote.rule)
            if needed > allowed:
                raise _refusal(balance, caps, needed)
            held, tokens = allowed, quote.tokens_for(allowed)
        hold = Hold(request_id, account, held, tokens, caps)
        self._promise(balance, hold, held)
        assert held == 0 or balance.held_nanos <= balance.balance_nanos
        return hold

    def restore(self, hold: Hold) -> None:
        """Take over a hold found on disk after a restart, whatever the balance is now."""
        assert hold.is_live, hold
        self._promise(self._balances[hold.account], hold, hold.held_nanos)

    def extend(self, hold: Hold, bound_nanos: Nanos) -> bool:
        """Raise an open hold to `bound_nanos` if the difference is free; say whether it was."""
        assert hold.state is HoldState.OPEN
        balance = self._balances[hold.account]
        more = bound_nanos - hold.held_nanos
        if more <= 0:
            return True
        if more > balance.free_nanos or any(_is_beyond(cap, more) for cap in hold.caps):
            return False
        balance.held_nanos += more
        self.held_total_nanos += more
        for cap in hold.caps:
            cap.held_nanos += more
        hold.held_nanos = bound_nanos
        return True

    def park(self, hold: Hold) -> None:
        """The hold waits for its true cost; the promise stands."""
        assert hold.state is HoldState.OPEN
        hold.state = HoldState.PENDING
        balance = self._balances[hold.account]
        balance.running -= 1
        assert balance.running >= 0

    def capture(self, hold: Hold, charge_nanos: Nanos) -> Captured:
        """Turn the hold into a charge. Up to the hold it is paid in full, even below zero after
        a claw-back; what exceeds the hold is paid from free money only, the rest written off."""
        assert hold.is_live, hold
        assert charge_nanos >= 0
        balance = self._balances[hold.account]
        covered = min(charge_nanos, hold.held_nanos)
        excess = min(charge_nanos - covered, max(0, balance.free_nanos))
        paid = covered + excess
        self._end(balance, hold, HoldState.CAPTURED)
        balance.balance_nanos -= paid
        balance.used_nanos += paid
        for cap in hold.caps:
            cap.spent_nanos += paid
        assert paid <= charge_nanos
        return Captured(paid, charge_nanos - paid)

    def release(self, hold: Hold) -> None:
        """Give the promise back uncharged."""
        assert hold.is_live, hold
        self._end(self._balances[hold.account], hold, HoldState.RELEASED)

    def move(self, account: int, delta_nanos: Nanos) -> None:
        """Credit or debit outside of use: top-ups, grants, corrections, claw-backs."""
        self._balances[account].balance_nanos += delta_nanos

    def _promise(self, balance: Balance, hold: Hold, nanos: Nanos) -> None:
        assert nanos >= 0
        balance.held_nanos += nanos
        balance.holds += 1
        balance.running += hold.state is HoldState.OPEN
        self.held_total_nanos += nanos
        for cap in hold.caps:
            cap.held_nanos += nanos

    def _end(self, balance: Balance, hold: Hold, state: HoldState) -> None:
        balance.held_nanos -= hold.held_nanos
        balance.holds -= 1
        balance.running -= hold.state is HoldState.OPEN
        self.held_total_nanos -= hold.held_nanos
        for cap in hold.caps:
            cap.held_nanos -= hold.held_nanos
        hold.state = state
        assert balance.held_nanos >= 0
        assert balance.holds >= balance.running >= 0


def _allowance(balance: Balance, caps: tuple[SpendCap, ...]) -> Nanos:
    free = balance.free_nanos
    for cap in caps:
        within = cap.free_nanos()
        if within is not None and within < free:
            free = within
    return max(0, free if balance.running == 0 else free // 2)


def _is_beyond(cap: SpendCap, more: Nanos) -> bool:
    free = cap.free_nanos()
    return free is not None and more > free


def _refusal(
    balance: Balance, caps: tuple[SpendCap, ...], needed: Nanos
) -> InsufficientCredit | RateLimited:
    """Which answer fits: a cap that is used up, money that is short, or holds in the way."""
    for cap in caps:
        if cap.limit_nanos is not None and needed > cap.limit_nanos - cap.spent_nanos:
            left = usd_text(max(0, cap.limit_nanos - cap.spent_nanos))
            return InsufficientCredit(
                f"This request needs at least ${usd_text(needed)}, but the {cap.period} spend "
                f"limit of ${usd_text(cap.limit_nanos)} has ${left} left. Raise the limit"
                f"{'' if cap.period is Period.TOTAL else ' or wait until it resets'}.",
                code="spend_limit_reached",
            )
    for cap in caps:
        if cap.held_nanos and _is_beyond(cap, needed):
            return RateLimited(
                f"${usd_text(cap.held_nanos)} of the {cap.period} spend limit of "
                f"${usd_text(cap.limit_nanos or 0)} is held by requests that have not been "
                f"charged yet; this one needs at least ${usd_text(needed)}. It can start when "
                f"they finish.",
                code=BALANCE_HELD,
                retry_after_ms=1_000 if balance.running else _PENDING_RETRY_MS,
            )
    if needed <= balance.balance_nanos:
        return RateLimited(
            f"${usd_text(balance.held_nanos)} of your balance of "
            f"${usd_text(balance.balance_nanos)} is held by {balance.holds} request(s) that have "
            f"not been charged yet; this one needs at least ${usd_text(needed)}. It can start "
            f"when they finish.",
            code=BALANCE_HELD,
            retry_after_ms=1_000 if balance.running else _PENDING_RETRY_MS,
        )
    return InsufficientCredit(
        f"This request needs at least ${usd_text(needed)}, but your balance is "
        f"${usd_text(balance.balance_nanos)}. Add credits in the dashboard under Billing, or "
        f"lower the prompt's length."
    )
