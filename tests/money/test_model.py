"""Random days, lived by the wallet and by the naive shop side by side, equal after every step.

Days with faults: costs under and over the hold, answers whose cost comes late or never, webhooks
that arrive twice, claw-backs while requests run, crashes, and clocks that jump.
"""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reseller.errors import InsufficientCredit, RateLimited
from reseller.money.ledger import House, Transfer, TransferKind, check, grant, usage_transfers
from reseller.money.pricing import PriceRule, Quote, charge
from reseller.money.spend import Period, SpendCap
from reseller.money.wallet import Hold, HoldState, Wallet
from reseller.units import picos_from_usd, usd_text
from tests.money.naive import NANO, PICO, NaiveShop, charge_for, cost_of, read_cost

ACCOUNTS = (100, 101, 102)
RULES = (
    PriceRule("*", 2000),
    PriceRule("*", 0),
    PriceRule("*", 3333, fixed_nanos=1_000),
    PriceRule("*", 4000, fixed_nanos=7, minimum_nanos=500_000),
)
START_MS = 1_772_323_200_000  # 1 March 2026, 00:00 UTC, a Sunday
HOUR_MS = 3_600_000
KEYS = {
    "daily": (Period.DAILY, 40_000_000),
    "weekly": (Period.WEEKLY, 150_000_000),
    "monthly": (Period.MONTHLY, 400_000_000),
    "total": (Period.TOTAL, 900_000_000),
    "open": (Period.DAILY, None),
}
KEY_SETS = ((), ("daily",), ("weekly", "open"), ("total",), ("monthly", "daily"))


class TwoBooks:
    """Every step is taken in both models; the answers must be the same."""

    def __init__(self) -> None:
        self.wallet = Wallet()
        self.shop = NaiveShop()
        self.posted: dict[str, Transfer] = {}
        self.holds: dict[str, Hold] = {}
        self.quotes: dict[str, Quote] = {}
        self.caps: dict[str, SpendCap] = {}
        self.now_ms = START_MS
        self.serial = 0
        self.gross = 0
        for account in ACCOUNTS:
            self.wallet.add_account(account, 0)
            for name, (period, limit) in KEYS.items():
                key = f"{account}:{name}"
                self.caps[key] = SpendCap(period, limit, started_at=0)
                dollars = None if limit is None else limit * NANO
                self.shop.add_key(key, period.value, dollars, self.now_ms)
        self.see_time()

    # Time

    def see_time(self) -> None:
        """Both models look at the clock, as they do before a request."""
        for key, cap in self.caps.items():
            cap.roll(self.now_ms)
            self.shop.see_time(key, self.now_ms)

    def pass_time(self, milliseconds: int) -> None:
        """The wall clock moves, perhaps back."""
        self.now_ms = max(0, self.now_ms + milliseconds)
        self.see_time()

    # Payments

    def post(self, transfer: Transfer) -> None:
        """One movement outside of use; a second one with its ref changes nothing."""
        check(transfer)
        is_new = transfer.ref not in self.posted
        if is_new:
            self.posted[transfer.ref] = transfer
            if transfer.credit in ACCOUNTS:
                self.wallet.move(transfer.credit, transfer.amount_nanos)
            if transfer.debit in ACCOUNTS:
                self.wallet.move(transfer.debit, -transfer.amount_nanos)
        amount = transfer.amount_nanos * NANO
        kind = transfer.kind.value
        moved = self.shop.move(transfer.debit, transfer.credit, amount, kind, transfer.ref)
        assert moved is is_new

    def top_up(self, account: int, cash: int, bonus: int, deliveries: int = 1) -> None:
        """A payment and its bonus, delivered by one or several webhooks."""
        self.serial += 1
        for _ in range(deliveries):
            ref, kind = f"grant:pi:{self.serial}", TransferKind.TOP_UP
            self.post(Transfer(House.CASH, account, cash, kind, ref, self.now_ms))
            if bonus:
                ref, kind = f"bonus:pi:{self.serial}", TransferKind.BONUS
                self.post(Transfer(House.BONUS, account, bonus, kind, ref, self.now_ms))

    def grant(self, account: int, amount: int) -> None:
        """Free credit."""
        self.serial += 1
        self.post(grant(account, amount, f"grant:{self.serial}", self.now_ms, "welcome"))

    def claw_back(self, account: int, cash: int, bonus: int) -> None:
        """The bank takes a payment back, whatever was used of it."""
        self.serial += 1
        for house, amount in ((House.CASH, cash), (House.BONUS, bonus)):
            if amount:
                ref, kind = f"claw:{house.name}:{self.serial}", TransferKind.CLAW_BACK
                self.post(Transfer(account, house, amount, kind, ref, self.now_ms))

    # Requests

    def reserve(self, account: int, names: tuple[str, ...], quote: Quote) -> str | None:
        """Ask for a hold; both models give the same one or the same refusal."""
        self.see_time()
        self.serial += 1
        request = f"req_{self.serial}"
        keys = [f"{account}:{name}" for name in names]
        caps = tuple(self.caps[key] for key in keys)
        expected = self.shop.reserve(
            request, account, naive_ask(quote), naive_rule(quote.rule), keys
        )
        if isinstance(expected, str):
            with pytest.raises((InsufficientCredit, RateLimited)) as refused:
                self.wallet.reserve(request, account, quote, caps=caps)
            assert refused.value.code == expected
            return None
        hold = self.wallet.reserve(request, account, quote, caps=caps)
        assert hold.held_nanos * NANO == expected["held"]
        assert hold.cap_tokens == expected["cap"]
        self.holds[request], self.quotes[request] = hold, quote
        return request

    def live(self, *states: HoldState) -> list[str]:
        """Requests whose hold is in one of these states."""
        return [request for request, hold in self.holds.items() if hold.state in states]

    def capture(self, request: str, cost_usd: str) -> None:
        """The upstream names a cost; the hold becomes a charge."""
        self.see_time()
        price_rule = self.quotes[request].rule
        charge_nanos = charge(picos_from_usd(Decimal(cost_usd)), price_rule)
        dollars = charge_for(read_cost(cost_usd), naive_rule(price_rule))
        assert charge_nanos * NANO == dollars
        account = self.holds[request].account
        done = self.wallet.capture(self.holds[request], charge_nanos)
        rows = usage_transfers(
            request, account, done.charged_nanos, done.written_off_nanos, self.now_ms
        )
        for row in rows:
            assert row.ref not in self.posted
            self.posted[row.ref] = check(row)
        paid, lost = self.shop.capture(request, dollars)
        assert (done.charged_nanos * NANO, done.written_off_nanos * NANO) == (paid, lost)
        self.gross += charge_nanos

    def release(self, request: str) -> None:
        """The request cost nothing."""
        self.wallet.release(self.holds[request])
        self.shop.holds[request]["state"] = "released"

    def park(self, request: str) -> None:
        """The cost is not known yet."""
        self.wallet.park(self.holds[request])
        self.shop.holds[request]["state"] = "pending"

    def extend(self, request: str, more_nanos: int) -> None:
        """The request needs a higher bound."""
        bound = self.holds[request].held_nanos + more_nanos
        granted = self.wallet.extend(self.holds[request], bound)
        assert granted is self.shop.extend(request, bound * NANO)

    def crash(self) -> None:
        """Start again from what is on disk: sums of transfers, holds, and what caps counted."""
        self.wallet = Wallet()
        rows = self.posted.values()
        for account in ACCOUNTS:
            balance = sum(row.amount_nanos for row in rows if row.credit == account)
            balance -= sum(row.amount_nanos for row in rows if row.debit == account)
            used = sum(
                row.amount_nanos
                for row in rows
                if row.debit == account and row.kind is TransferKind.USAGE
            )
            self.wallet.add_account(account, balance, used)
        for key, cap in self.caps.items():
            self.caps[key] = SpendCap(
                cap.period, cap.limit_nanos, cap.spent_nanos, started_at=cap.started_at
            )
        for request in self.live(HoldState.OPEN, HoldState.PENDING):
            entry = self.shop.holds[request]
            entry["state"] = "pending"
            caps = tuple(self.caps[key] for key in entry["keys"])
            old = self.holds[request]
            hold = Hold(
                request, old.account, old.held_nanos, old.cap_tokens, caps, HoldState.PENDING
            )
            self.holds[request] = hold
            self.wallet.restore(hold)

    # Audit

    def audit(self) -> None:
        """Both models agree on everything, and the promises of the product hold."""
        total_held = 0
        for balance in self.wallet:
            account = balance.account
            standing = self.shop.live_holds(account)
            assert balance.balance_nanos * NANO == self.shop.balance(account)
            assert balance.held_nanos * NANO == self.shop.held(account)
            assert balance.used_nanos * NANO == self.shop.used(account)
            assert balance.holds == len(standing)
            assert balance.running == sum(hold["state"] == "open" for hold in standing)
            if account not in self.shop.clawed:
                assert 0 <= balance.held_nanos <= balance.balance_nanos
            total_held += balance.held_nanos
        assert self.wallet.held_total_nanos == total_held
        for key, cap in self.caps.items():
            assert cap.held_nanos * NANO == self.shop.held_by(key)
            assert cap.spent_nanos * NANO == self.shop.spent(key)
        self.audit_ledger()

    def audit_ledger(self) -> None:
        """The same rows in both ledgers; they sum to nought, and revenue is gross."""
        ours = [
            (row.debit, row.credit, row.amount_nanos * NANO, row.kind.value, row.ref)
            for row in self.posted.values()
        ]
        assert ours == [tuple(row.values()) for row in self.shop.transfers]
        assert len({row[4] for row in ours}) == len(ours)
        everyone = (*House, *ACCOUNTS)
        assert sum(self.shop.balance(account) for account in everyone) == 0
        assert self.shop.balance(House.REVENUE) == self.gross * NANO


def naive_ask(quote: Quote) -> dict[str, Any]:
    """The quote in dollars."""
    return {
        "prompt": quote.prompt_picos * PICO,
        "output_per_million": quote.token_rate * PICO,
        "cap": quote.cap_tokens,
    }


def naive_rule(price_rule: PriceRule) -> dict[str, Any]:
    """The rule in percent and dollars."""
    return {
        "markup_percent": Fraction(price_rule.markup_bps, 100),
        "fixed": price_rule.fixed_nanos * NANO,
        "minimum": price_rule.minimum_nanos * NANO,
    }


def cost_text(quote: Quote, percent: int, digits: str) -> str:
    """A cost at this share of the quote's bound, with digits finer than a pico behind it."""
    picos = quote.cost_at(quote.cap_tokens) * percent // 100
    whole, rest = divmod(picos, 10**12)
    return f"{whole}.{rest:012d}{digits}"


# Mostly about as large as the balances, so that everything runs short now and then.
amounts = st.sampled_from([1, 999_999, 10_000_000, 50_000_000]) | st.integers(1, 100_000_000)
quotes = st.builds(
    Quote,
    rule=st.sampled_from(RULES),
    prompt_picos=st.sampled_from([0, 1, 5_000_000_000]) | st.integers(0, 20_000_000_000),
    token_rate=st.sampled_from([0, 1_000_001]) | st.integers(0, 40 * 10**12),
    cap_tokens=st.sampled_from([0, 1, 64]) | st.integers(0, 4_000),
)
accounts = st.sampled_from(ACCOUNTS)
picks = st.integers(0, 1_000)


class RandomDay(RuleBasedStateMachine):
    """Steps in any order; Hypothesis finds the shortest sequence that breaks a promise."""

    def __init__(self) -> None:
        super().__init__()
        self.books = TwoBooks()

    @rule(account=accounts, cash=amounts, bonus=st.just(0) | amounts, deliveries=st.integers(1, 2))
    def top_up(self, account: int, cash: int, bonus: int, deliveries: int) -> None:
        self.books.top_up(account, cash, bonus, deliveries)

    @rule(account=accounts, amount=amounts)
    def grant(self, account: int, amount: int) -> None:
        self.books.grant(account, amount)

    @rule(account=accounts, cash=amounts, bonus=st.just(0) | amounts)
    def claw_back(self, account: int, cash: int, bonus: int) -> None:
        self.books.claw_back(account, cash, bonus)

    @rule(account=accounts, names=st.sampled_from(KEY_SETS), asked=st.lists(quotes, max_size=4))
    def burst(self, account: int, names: tuple[str, ...], asked: list[Quote]) -> None:
        for quote in asked:
            self.books.reserve(account, names, quote)

    @rule(pick=picks, percent=st.integers(0, 300), digits=st.sampled_from(["", "0", "0000000001"]))
    def capture(self, pick: int, percent: int, digits: str) -> None:
        request = self.chosen(pick, HoldState.OPEN, HoldState.PENDING)
        if request is not None:
            quote = self.books.quotes[request]
            self.books.capture(request, cost_text(quote, percent, digits))

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        request = self.chosen(pick, HoldState.OPEN, HoldState.PENDING)
        if request is not None:
            self.books.release(request)

    @rule(pick=picks)
    def park(self, pick: int) -> None:
        request = self.chosen(pick, HoldState.OPEN)
        if request is not None:
            self.books.park(request)

    @rule(pick=picks, more=st.integers(-5, 5) | amounts)
    def extend(self, pick: int, more: int) -> None:
        request = self.chosen(pick, HoldState.OPEN)
        if request is not None:
            self.books.extend(request, more)

    @rule(
        milliseconds=st.integers(-3, 3) | st.integers(-30 * 24, 30 * 24).map(lambda h: h * HOUR_MS)
    )
    def pass_time(self, milliseconds: int) -> None:
        self.books.pass_time(milliseconds)

    @rule()
    def crash(self) -> None:
        self.books.crash()

    @invariant()
    def agree(self) -> None:
        self.books.audit()

    def chosen(self, pick: int, *states: HoldState) -> str | None:
        """One of the requests in these states, if there is any."""
        live = self.books.live(*states)
        return live[pick % len(live)] if live else None


TestRandomDay = RandomDay.TestCase
TestRandomDay.settings = settings(
    max_examples=settings.default.max_examples // 2, stateful_step_count=30
)


def live_random_steps(books: TwoBooks, chance: random.Random, steps: int) -> None:
    """Busy days of short money: mostly requests and their ends, now and then a fault."""
    for _ in range(steps):
        account = chance.choice(ACCOUNTS)
        live = books.live(HoldState.OPEN, HoldState.PENDING)
        dice = chance.random()
        if dice < 0.12:
            books.top_up(account, chance.randint(1, 90_000_000), chance.choice((0, 5_000_000)))
        elif dice < 0.14:
            books.claw_back(account, chance.randint(1, 30_000_000), chance.choice((0, 1)))
        elif dice < 0.17:
            books.pass_time(chance.randint(-6, 30) * HOUR_MS)
        elif dice < 0.19:
            books.crash()
        elif dice < 0.60 or not live:
            quote = Quote(
                chance.choice(RULES),
                chance.randint(0, 3_000_000_000),
                chance.randint(0, 20 * 10**12),
                chance.randint(0, 2_000),
            )
            books.reserve(account, chance.choice(KEY_SETS), quote)
        else:
            end_one(books, chance, chance.choice(live))


def end_one(books: TwoBooks, chance: random.Random, request: str) -> None:
    """Settle, park, extend or release one request."""
    dice = chance.random()
    is_open = books.holds[request].state is HoldState.OPEN
    if dice < 0.1 and is_open:
        books.park(request)
    elif dice < 0.2 and is_open:
        books.extend(request, chance.randint(1, 20_000_000))
    elif dice < 0.3:
        books.release(request)
    else:
        percent = chance.choice((0, 10, 60, 100, 100, 130))
        books.capture(request, cost_text(books.quotes[request], percent, chance.choice(("", "01"))))


@pytest.mark.parametrize("seed", range(3))
def test_a_random_day_replayed(seed: int) -> None:
    """A fixed random day: both models agree throughout, and money did move."""
    books, chance = TwoBooks(), random.Random(seed)
    for _ in range(8):
        live_random_steps(books, chance, 15)
        books.audit()
    assert books.gross > 0


def test_the_naive_shop_finds_a_lost_nano() -> None:
    """The audit is awake: one nano too few in one balance is found."""
    books = TwoBooks()
    books.top_up(100, 1_000_000, 0)
    books.audit()
    books.wallet.move(100, -1)
    with pytest.raises(AssertionError):
        books.audit()


def test_known_charges_in_the_naive_shop() -> None:
    """The second model is right by itself about a published example."""
    markup = {"markup_percent": 20, "fixed": Fraction(0), "minimum": Fraction(0)}
    assert charge_for(read_cost("0.025706"), markup) == Fraction("0.0308472")
    ask = {"prompt": Fraction("0.01"), "output_per_million": Fraction(10), "cap": 100}
    assert cost_of(ask, 100) == Fraction("0.011")
    assert usd_text(charge(11 * 10**9, RULES[0])) == "0.0132"
