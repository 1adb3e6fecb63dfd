"""A second, naive model of the money core, written from the promises and not from the code.

Dictionaries, loops and fractions of a dollar. Nothing is kept that can be summed: a balance is
the sum over all transfers, each time. Slow on purpose; it audits the first model.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

NANO = Fraction(1, 10**9)
PICO = Fraction(1, 10**12)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUSE = {"cash": 1, "bonus": 2, "revenue": 3, "write_off": 4, "adjustment": 5}


def rounded_up(amount: Fraction, unit: Fraction) -> Fraction:
    """The smallest multiple of `unit` that is not below `amount`."""
    return math.ceil(amount / unit) * unit


def charge_for(cost: Fraction, rule: dict[str, Any]) -> Fraction:
    """Dollars charged for a cost in dollars: cost, markup, rounding, fixed part, minimum."""
    if cost == 0:
        return Fraction(0)
    marked_up = cost * (1 + Fraction(rule["markup_percent"]) / 100)
    return max(rounded_up(marked_up, NANO) + rule["fixed"], rule["minimum"])


def read_cost(text: str) -> Fraction:
    """An upstream's figure, rounded up to whole picos."""
    return rounded_up(Fraction(Decimal(text)), PICO)


def cost_of(ask: dict[str, Any], tokens: int) -> Fraction:
    """The dearest cost of a request that answers with this many tokens."""
    per_token = Fraction(ask["output_per_million"]) / 10**6
    return rounded_up(Fraction(ask["prompt"]) + tokens * per_token, PICO)


def tokens_bought(ask: dict[str, Any], rule: dict[str, Any], money: Fraction) -> int:
    """The largest cap that `money` pays for, by bisection over the charge itself."""
    low, high = 0, ask["cap"]
    while low < high:
        middle = (low + high + 1) // 2
        if charge_for(cost_of(ask, middle), rule) <= money:
            low = middle
        else:
            high = middle - 1
    return low


def period_label(period: str, now_ms: int) -> tuple[int, ...]:
    """The calendar's own name of the period, later ones comparing greater."""
    now = EPOCH + timedelta(milliseconds=now_ms)
    if period == "daily":
        return (now.year, now.month, now.day)
    if period == "weekly":
        return tuple(now.isocalendar())[:2]
    if period == "monthly":
        return (now.year, now.month)
    return ()


class NaiveShop:
    """Transfers, holds and spend limits as plain lists and dictionaries."""

    def __init__(self) -> None:
        self.transfers: list[dict[str, Any]] = []
        self.holds: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.clawed: set[int] = set()

    # Money

    def move(self, debit: int, credit: int, amount: Fraction, kind: str, ref: str) -> bool:
        """Write a transfer unless its ref is there already; say whether it was written."""
        if amount <= 0 or any(row["ref"] == ref for row in self.transfers):
            return False
        row = {"debit": debit, "credit": credit, "amount": amount, "kind": kind, "ref": ref}
        self.transfers.append(row)
        if kind == "claw_back":
            self.clawed.add(debit)
        return True

    def balance(self, account: int) -> Fraction:
        """Everything that came in less everything that went out."""
        total = Fraction(0)
        for row in self.transfers:
            if row["credit"] == account:
                total += row["amount"]
            if row["debit"] == account:
                total -= row["amount"]
        return total

    def used(self, account: int) -> Fraction:
        """What the account itself paid for requests."""
        rows = (r for r in self.transfers if r["kind"] == "usage" and r["debit"] == account)
        return sum((row["amount"] for row in rows), Fraction(0))

    # Holds

    def live_holds(self, account: int) -> list[dict[str, Any]]:
        """Holds of the account that still stand."""
        standing = ("open", "pending")
        return [
            hold
            for hold in self.holds.values()
            if hold["account"] == account and hold["state"] in standing
        ]

    def held(self, account: int) -> Fraction:
        """The sum of the account's standing holds."""
        return sum((hold["held"] for hold in self.live_holds(account)), Fraction(0))

    def share(self, account: int, keys: list[str]) -> Fraction:
        """What one more request may hold: all that is free, or half beside running ones."""
        candidates = [self.balance(account) - self.held(account)]
        for key in keys:
            left = self.left_of(key)
            if left is not None:
                candidates.append(left - self.held_by(key))
        share = max(min(candidates), Fraction(0))
        if any(hold["state"] == "open" for hold in self.live_holds(account)):
            share = math.floor(share / 2 / NANO) * NANO
        return share

    def reserve(
        self,
        request: str,
        account: int,
        ask: dict[str, Any],
        rule: dict[str, Any],
        keys: list[str],
    ) -> dict[str, Any] | str:
        """Hold the bound or what there is; otherwise the code of the refusal."""
        share = self.share(account, keys)
        bound = charge_for(cost_of(ask, ask["cap"]), rule)
        cap = ask["cap"]
        if bound > share:
            needed = charge_for(cost_of(ask, min(64, ask["cap"])), rule)
            if needed > share:
                return self._reason(account, keys, needed)
            bound, cap = share, tokens_bought(ask, rule, share)
        hold = {"account": account, "held": bound, "cap": cap, "keys": keys, "state": "open"}
        self.holds[request] = hold
        return hold

    def _reason(self, account: int, keys: list[str], needed: Fraction) -> str:
        for key in keys:
            left = self.left_of(key)
            if left is not None and needed > left:
                return "spend_limit_reached"
        return "balance_held" if needed <= self.balance(account) else "insufficient_credits"

    def capture(self, request: str, charge: Fraction) -> tuple[Fraction, Fraction]:
        """End the hold with a charge: what the account pays, and what nobody can."""
        hold = self.holds[request]
        account = hold["account"]
        promised_to_others = self.held(account) - hold["held"]
        can_pay = max(hold["held"], self.balance(account) - promised_to_others)
        paid = min(charge, can_pay)
        hold["state"] = "captured"
        for key in hold["keys"]:
            self.keys[key]["spends"].append((self.keys[key]["label"], paid))
        self.move(account, HOUSE["revenue"], paid, "usage", f"use:{request}")
        lost = charge - paid
        self.move(HOUSE["write_off"], HOUSE["revenue"], lost, "write_off", f"off:{request}")
        return paid, lost

    def extend(self, request: str, bound: Fraction) -> bool:
        """Raise the hold if the difference is free everywhere."""
        hold = self.holds[request]
        more = bound - hold["held"]
        if more <= 0:
            return True
        free = [self.balance(hold["account"]) - self.held(hold["account"])]
        for key in hold["keys"]:
            left = self.left_of(key)
            if left is not None:
                free.append(left - self.held_by(key))
        if more > min(free):
            return False
        hold["held"] = bound
        return True

    # Spend limits

    def add_key(self, key: str, period: str, limit: Fraction | None, now_ms: int) -> None:
        """A key whose spending starts anew with each period of the calendar."""
        label = period_label(period, now_ms)
        self.keys[key] = {"period": period, "limit": limit, "label": label, "spends": []}

    def see_time(self, key: str, now_ms: int) -> None:
        """A later period begins; an earlier one, by a clock set back, does not."""
        entry = self.keys[key]
        entry["label"] = max(entry["label"], period_label(entry["period"], now_ms))

    def spent(self, key: str) -> Fraction:
        """What the key paid in the current period."""
        entry = self.keys[key]
        return sum((paid for at, paid in entry["spends"] if at == entry["label"]), Fraction(0))

    def held_by(self, key: str) -> Fraction:
        """What standing holds promise on behalf of the key."""
        total = Fraction(0)
        for hold in self.holds.values():
            if key in hold["keys"] and hold["state"] in ("open", "pending"):
                total += hold["held"]
        return total

    def left_of(self, key: str) -> Fraction | None:
        """The limit less what was paid in this period; None without a limit."""
        limit = self.keys[key]["limit"]
        return None if limit is None else limit - self.spent(key)
