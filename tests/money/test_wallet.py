"""Balances and holds: what is promised, what is paid, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.errors import InsufficientCredit, RateLimited
from reseller.money.pricing import PriceRule, Quote
from reseller.money.spend import Period, SpendCap
from reseller.money.wallet import Captured, Hold, HoldState, Wallet

ME = 100
AT_COST = PriceRule("*", 0)


def ask(tokens: int, prompt: int = 0, rule: PriceRule = AT_COST) -> Quote:
    """A request whose prompt and tokens cost one nano each."""
    return Quote(rule, prompt_picos=prompt * 1000, token_rate=10**9, cap_tokens=tokens)


def wallet_with(nanos: int) -> Wallet:
    """One account with this balance."""
    wallet = Wallet()
    wallet.add_account(ME, nanos)
    return wallet


def standing(wallet: Wallet) -> tuple[int, int, int]:
    """The account's balance, what is held of it, and by how many holds."""
    balance = wallet.balance_of(ME)
    assert wallet.held_total_nanos == balance.held_nanos
    return (balance.balance_nanos, balance.held_nanos, balance.holds)


def test_a_hold_is_the_bound() -> None:
    """Where there is enough, the most the request may cost is held, and no cap is lowered."""
    wallet = wallet_with(1000)
    hold = wallet.reserve("r1", ME, ask(500, prompt=100))
    assert (hold.held_nanos, hold.cap_tokens, hold.state) == (600, 500, HoldState.OPEN)
    assert standing(wallet) == (1000, 600, 1)
    assert wallet.balance_of(ME).free_nanos == 400


def test_a_lone_request_may_hold_everything() -> None:
    """All that is free, the output cap lowered to what it buys."""
    wallet = wallet_with(300)
    hold = wallet.reserve("r1", ME, ask(500, prompt=100))
    assert (hold.held_nanos, hold.cap_tokens) == (300, 200)


def test_beside_others_half_of_what_is_free() -> None:
    """The second holds at most half, the third half of the rest; caps are lowered to fit."""
    wallet = wallet_with(1000)
    wallet.reserve("r1", ME, ask(200))
    second = wallet.reserve("r2", ME, ask(500))
    assert (second.held_nanos, second.cap_tokens) == (400, 400)
    third = wallet.reserve("r3", ME, ask(150))
    assert (third.held_nanos, third.cap_tokens) == (150, 150)


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 200)), min_size=20, max_size=20),
)
def test_twenty_parallel_calls_share(balance: int, asks: list[tuple[int, int]]) -> None:
    """Each call after the first holds at most half of what was free; the promise is kept."""
    wallet = wallet_with(balance)
    for number, (tokens, prompt) in enumerate(asks):
        free = wallet.balance_of(ME).free_nanos
        running = wallet.balance_of(ME).running
        quote = ask(tokens, prompt)
        try:
            hold = wallet.reserve(f"r{number}", ME, quote)
        except (InsufficientCredit, RateLimited):
            continue
        assert hold.held_nanos <= (free // 2 if running else free)
        assert hold.held_nanos <= quote.bound_nanos()
        assert min(tokens, 64) <= hold.cap_tokens <= tokens
    assert 0 <= wallet.balance_of(ME).held_nanos <= balance


def test_a_pending_request_is_not_in_the_way() -> None:
    """One that only waits for its true cost keeps its money but does not halve the rest."""
    wallet = wallet_with(1000)
    waiting = wallet.reserve("r1", ME, ask(200))
    wallet.park(waiting)
    assert wallet.reserve("r2", ME, ask(800)).held_nanos == 800
    assert standing(wallet) == (1000, 1000, 2)
    assert wallet.balance_of(ME).running == 1


@pytest.mark.parametrize("cap", [0, 1, 63, 64, 500])
def test_less_than_the_minimum_is_refused(cap: int) -> None:
    """A balance must buy the prompt and 64 tokens, or all of a shorter cap."""
    needed = 100 + min(cap, 64)
    assert wallet_with(needed).reserve("r1", ME, ask(cap, 100)).cap_tokens == min(cap, 64)
    with pytest.raises(InsufficientCredit) as refusal:
        wallet_with(needed - 1).reserve("r1", ME, ask(cap, 100))
    assert refusal.value.code == "insufficient_credits"
    assert refusal.value.http_status == 402


def test_the_refusal_names_what_is_missing() -> None:
    """402 says what the request needs, what there is, and where to top up."""
    with pytest.raises(InsufficientCredit, match=r"\$0\.000000164.*\$0\.00000015\..*Billing"):
        wallet_with(150).reserve("r1", ME, ask(500, 100))


def test_money_in_other_holds_is_429() -> None:
    """Enough money, but held: come back when those requests finish."""
    wallet = wallet_with(200)
    hold = wallet.reserve("r1", ME, ask(180))
    with pytest.raises(RateLimited) as refusal:
        wallet.reserve("r2", ME, ask(64))
    assert refusal.value.code == "balance_held"
    assert refusal.value.retry_after_ms == 1000
    wallet.park(hold)
    with pytest.raises(RateLimited) as refusal:
        wallet.reserve("r2", ME, ask(64))
    assert refusal.value.retry_after_ms is not None
    assert refusal.value.retry_after_ms > 1000
    wallet.release(hold)
    assert wallet.reserve("r2", ME, ask(64)).held_nanos == 64


def test_the_half_rule_alone_is_429_too() -> None:
    """What is free would do, half of it does not: the request can start once it is alone."""
    wallet = wallet_with(200)
    wallet.reserve("r1", ME, ask(100))
    with pytest.raises(RateLimited, match="held by 1 request"):
        wallet.reserve("r2", ME, ask(64))


def test_what_the_whole_balance_cannot_buy_is_402() -> None:
    """Waiting for other requests would not help, so it is not 429."""
    wallet = wallet_with(200)
    wallet.reserve("r1", ME, ask(100))
    with pytest.raises(InsufficientCredit) as refusal:
        wallet.reserve("r2", ME, ask(64, prompt=137))
    assert refusal.value.code == "insufficient_credits"


@pytest.mark.parametrize(
    ("balance", "cap_nanos", "tokens", "code"),
    [
        (64, None, 500, "balance_held"),
        (63, None, 500, "insufficient_credits"),
        (10, None, 10, "balance_held"),
        (9, None, 10, "insufficient_credits"),
        (1000, 64, 500, "balance_held"),
        (1000, 63, 500, "spend_limit_reached"),
    ],
)
def test_402_or_429_to_the_nano(
    balance: int, cap_nanos: int | None, tokens: int, code: str
) -> None:
    """429 as long as the whole balance and the whole cap would do, 402 one nano below."""
    wallet = wallet_with(balance)
    caps = (SpendCap(Period.DAILY, cap_nanos),)
    wallet.reserve("r1", ME, ask(1), caps=caps)
    with pytest.raises((InsufficientCredit, RateLimited)) as refusal:
        wallet.reserve("r2", ME, ask(tokens), caps=caps)
    assert refusal.value.code == code


def test_a_refusal_leaves_no_trace() -> None:
    """Neither balance nor caps change when a request is refused."""
    wallet = wallet_with(100)
    cap = SpendCap(Period.DAILY, 50)
    with pytest.raises(InsufficientCredit):
        wallet.reserve("r1", ME, ask(64), caps=(cap,))
    assert standing(wallet) == (100, 0, 0)
    assert (cap.held_nanos, cap.spent_nanos) == (0, 0)


def test_a_cap_bounds_the_hold() -> None:
    """The narrowest of balance and caps decides; the cap sent upstream is lowered."""
    wallet = wallet_with(1000)
    caps = (SpendCap(Period.DAILY, 300), SpendCap(Period.TOTAL, 250, spent_nanos=50))
    hold = wallet.reserve("r1", ME, ask(500), caps=caps)
    assert (hold.held_nanos, hold.cap_tokens) == (200, 200)
    assert [cap.held_nanos for cap in caps] == [200, 200]
    wallet.capture(hold, 120)
    assert [(cap.held_nanos, cap.spent_nanos) for cap in caps] == [(0, 120), (0, 170)]


@pytest.mark.parametrize(("period", "resets"), [(Period.DAILY, True), (Period.TOTAL, False)])
def test_a_used_up_cap_is_402(period: Period, resets: bool) -> None:
    """Its own code, the cap's name, and advice that can be followed."""
    caps = (SpendCap(Period.MONTHLY, None), SpendCap(period, 100, spent_nanos=50))
    with pytest.raises(InsufficientCredit) as refusal:
        wallet_with(1000).reserve("r1", ME, ask(64), caps=caps)
    assert refusal.value.code == "spend_limit_reached"
    assert f"{period.value} spend limit" in refusal.value.message
    assert ("resets" in refusal.value.message) is resets


def test_a_cap_held_by_running_requests_is_429() -> None:
    """The cap has room once the other request of that key is charged what it really cost."""
    wallet = wallet_with(1000)
    cap = SpendCap(Period.DAILY, 100)
    wallet.reserve("r1", ME, ask(90), caps=(cap,))
    with pytest.raises(RateLimited) as refusal:
        wallet.reserve("r2", ME, ask(64), caps=(cap,))
    assert refusal.value.code == "balance_held"


def test_an_overspent_cap_refuses() -> None:
    """A lowered limit may be below what was spent; that is not a negative hold."""
    caps = (SpendCap(Period.DAILY, 100, spent_nanos=500),)
    with pytest.raises(InsufficientCredit):
        wallet_with(1000).reserve("r1", ME, ask(64), caps=caps)
    assert wallet_with(1000).reserve("r1", ME, ask(0), caps=caps).held_nanos == 0


@pytest.mark.parametrize("balance", [0, -500])
def test_what_costs_nothing_needs_nothing(balance: int) -> None:
    """A free model spends nothing, so that even a debt does not stop it; anything else is 402."""
    wallet = wallet_with(balance)
    free = Quote(PriceRule("*", 2000, minimum_nanos=9), 0, 0, cap_tokens=700)
    hold = wallet.reserve("r1", ME, free)
    assert (hold.held_nanos, hold.cap_tokens) == (0, 700)
    with pytest.raises(InsufficientCredit):
        wallet.reserve("r2", ME, ask(1))
    assert wallet.capture(hold, 0) == Captured(0, 0)
    assert standing(wallet) == (balance, 0, 0)


def test_a_capture_gives_back_what_was_not_used() -> None:
    """The account pays the charge, the rest of the hold is free again."""
    wallet = wallet_with(1000)
    hold = wallet.reserve("r1", ME, ask(600))
    assert wallet.capture(hold, 250) == Captured(250, 0)
    assert standing(wallet) == (750, 0, 0)
    assert wallet.balance_of(ME).used_nanos == 250
    assert hold.state is HoldState.CAPTURED
    assert not hold.is_live


def test_beyond_the_hold_only_free_money_pays() -> None:
    """Money promised to another request is not touched; what nobody covers is written off."""
    wallet = wallet_with(1000)
    first = wallet.reserve("r1", ME, ask(300))
    second = wallet.reserve("r2", ME, ask(200))
    assert wallet.capture(first, 900) == Captured(800, 100)
    assert standing(wallet) == (200, 200, 1)
    assert wallet.capture(second, 200) == Captured(200, 0)
    assert standing(wallet) == (0, 0, 0)
    assert wallet.balance_of(ME).used_nanos == 1000


def test_a_claw_back_during_a_request() -> None:
    """The hold is still paid in full, below zero only then, and its excess is written off."""
    wallet = wallet_with(1000)
    hold = wallet.reserve("r1", ME, ask(600))
    wallet.move(ME, -900)
    assert wallet.balance_of(ME).free_nanos == -500
    with pytest.raises(RateLimited):
        wallet.reserve("r2", ME, ask(1))
    assert wallet.capture(hold, 700) == Captured(600, 100)
    assert standing(wallet) == (-500, 0, 0)
    with pytest.raises(InsufficientCredit):
        wallet.reserve("r2", ME, ask(1))
    wallet.move(ME, 600)
    assert wallet.reserve("r3", ME, ask(100)).held_nanos == 100


def test_a_debt_of_one_hold_takes_nothing_from_another() -> None:
    """After a claw-back two holds are each paid as promised."""
    wallet = wallet_with(1000)
    holds = [wallet.reserve("r1", ME, ask(400)), wallet.reserve("r2", ME, ask(300))]
    wallet.move(ME, -1000)
    assert [wallet.capture(hold, 500) for hold in holds] == [Captured(400, 100), Captured(300, 200)]
    assert standing(wallet) == (-700, 0, 0)


def test_a_release_charges_nothing() -> None:
    """An open or a pending hold can be given back whole."""
    wallet = wallet_with(1000)
    for number in range(2):
        hold = wallet.reserve(f"r{number}", ME, ask(600))
        if number:
            wallet.park(hold)
        wallet.release(hold)
        assert hold.state is HoldState.RELEASED
        assert standing(wallet) == (1000, 0, 0)
    assert wallet.balance_of(ME).used_nanos == 0


def test_a_parked_hold_stands_until_its_cost_is_known() -> None:
    """Pending keeps the money promised, on the caps too; then it is captured like any other."""
    wallet = wallet_with(1000)
    cap = SpendCap(Period.DAILY, 900)
    hold = wallet.reserve("r1", ME, ask(600), caps=(cap,))
    wallet.park(hold)
    assert hold.state is HoldState.PENDING
    assert standing(wallet) == (1000, 600, 1)
    assert cap.held_nanos == 600
    assert wallet.capture(hold, 10) == Captured(10, 0)
    assert (cap.held_nanos, cap.spent_nanos) == (0, 10)


@pytest.mark.parametrize("end", ["capture", "release"])
def test_a_hold_ends_once(end: str) -> None:
    """A second end, a late park or an extension is our own mistake and changes nothing."""
    wallet = wallet_with(1000)
    hold = wallet.reserve("r1", ME, ask(100))
    if end == "capture":
        wallet.capture(hold, 40)
    else:
        wallet.release(hold)
    before = standing(wallet)
    for again in (
        lambda: wallet.capture(hold, 40),
        lambda: wallet.release(hold),
        lambda: wallet.park(hold),
        lambda: wallet.extend(hold, 500),
        lambda: wallet.restore(hold),
    ):
        with pytest.raises(AssertionError):
            again()
    assert standing(wallet) == before


def test_a_pending_hold_is_not_extended_or_parked_again() -> None:
    """Only a running request can need more."""
    wallet = wallet_with(1000)
    hold = wallet.reserve("r1", ME, ask(100))
    wallet.park(hold)
    for again in (lambda: wallet.park(hold), lambda: wallet.extend(hold, 500)):
        with pytest.raises(AssertionError):
            again()
    assert wallet.balance_of(ME).running == 0


def test_an_extension_takes_the_difference_if_it_is_free() -> None:
    """Up to the last free nano, and not one more; a lower bound changes nothing."""
    wallet = wallet_with(1000)
    wallet.reserve("r1", ME, ask(300))
    hold = wallet.reserve("r2", ME, ask(200))
    assert wallet.extend(hold, 150)
    assert hold.held_nanos == 200
    assert not wallet.extend(hold, 701)
    assert hold.held_nanos == 200
    assert wallet.extend(hold, 700)
    assert (hold.held_nanos, standing(wallet)) == (700, (1000, 1000, 2))


def test_an_extension_respects_the_caps() -> None:
    """Every cap must have room for the difference, or none is changed."""
    wallet = wallet_with(1000)
    caps = (SpendCap(Period.DAILY, 900), SpendCap(Period.DAILY, 400))
    hold = wallet.reserve("r1", ME, ask(300), caps=caps)
    assert not wallet.extend(hold, 401)
    assert [cap.held_nanos for cap in caps] == [300, 300]
    assert wallet.extend(hold, 400)
    assert [cap.held_nanos for cap in caps] == [400, 400]


def test_a_hold_found_on_disk_is_taken_over() -> None:
    """After a restart the promise stands, even where the balance no longer covers it."""
    wallet = wallet_with(50)
    hold = Hold("r1", ME, 80, 80, state=HoldState.PENDING)
    wallet.restore(hold)
    assert standing(wallet) == (50, 80, 1)
    assert wallet.balance_of(ME).running == 0
    assert wallet.capture(hold, 80) == Captured(80, 0)
    assert standing(wallet) == (-30, 0, 0)


def test_accounts_do_not_touch_each_other() -> None:
    """The total of holds is over all accounts; free money is each account's own."""
    wallet = wallet_with(100)
    wallet.add_account(101, 1000, used_nanos=7)
    wallet.reserve("r1", ME, ask(100))
    hold = wallet.reserve("r2", 101, ask(1000))
    assert wallet.held_total_nanos == 1100
    assert hold.held_nanos == 1000
    wallet.capture(hold, 1)
    assert [balance.used_nanos for balance in wallet] == [0, 8]
    with pytest.raises(AssertionError):
        wallet.add_account(101, 0)
    with pytest.raises(KeyError):
        wallet.balance_of(102)


def test_a_negative_charge_is_our_mistake() -> None:
    """No settlement pays a customer."""
    wallet = wallet_with(100)
    hold = wallet.reserve("r1", ME, ask(10))
    with pytest.raises(AssertionError):
        wallet.capture(hold, -1)
    assert standing(wallet) == (100, 10, 1)
