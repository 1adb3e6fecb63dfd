"""Rules, the one rounding, and quotes that bound a request."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.money.pricing import (
    PriceBook,
    PriceRule,
    Quote,
    affordable_cost,
    charge,
    quote,
)
from reseller.money.rates import Rates

DEFAULT = PriceRule("*", 2000)

costs = st.integers(0, 10**9) | st.integers(0, 10**17)
rules = st.builds(
    PriceRule,
    pattern=st.just("*"),
    markup_bps=st.sampled_from([0, 1, 2000, 3333, 4000, 1_000_000]) | st.integers(0, 1_000_000),
    fixed_nanos=st.sampled_from([0, 0, 1, 500_000]),
    minimum_nanos=st.sampled_from([0, 0, 1, 2_000_000]),
)
quotes = st.builds(
    Quote,
    rule=rules,
    prompt_picos=st.integers(0, 10**10),
    token_rate=st.sampled_from([0, 1, 999_999, 1_000_001]) | st.integers(0, 10**15),
    cap_tokens=st.integers(0, 50_000),
)


@pytest.mark.parametrize(
    ("cost_picos", "bps", "nanos"),
    [
        (0, 2000, 0),
        (1, 0, 1),
        (1, 2000, 1),
        (1_000, 0, 1),
        (1_001, 0, 2),
        (1_000, 2000, 2),
        (5_000, 2000, 6),
        (25_706_000_000, 2000, 30_847_200),
        (25_706_000_000, 4000, 35_988_400),
        (10**17, 1_000_000, 101 * 10**14),
    ],
)
def test_known_charges(cost_picos: int, bps: int, nanos: int) -> None:
    """Cost times markup, rounded up to the nano."""
    assert charge(cost_picos, PriceRule("*", bps)) == nanos


def test_the_fixed_part_comes_before_the_minimum() -> None:
    """The minimum bounds the whole charge; it is not added to it."""
    rule = PriceRule("*", 0, fixed_nanos=10, minimum_nanos=50)
    assert charge(39_000, rule) == 50
    assert charge(40_000, rule) == 50
    assert charge(40_001, rule) == 51


@given(costs, rules)
def test_a_charge_is_one_exact_rounding(cost_picos: int, rule: PriceRule) -> None:
    """Against fractions: the ceiling of cost times markup, nothing lost in between."""
    exact = Fraction(cost_picos, 1000) * (1 + Fraction(rule.markup_bps, 10_000))
    expected = max(math.ceil(exact) + rule.fixed_nanos, rule.minimum_nanos)
    assert charge(cost_picos, rule) == (expected if cost_picos else 0)


@given(rules)
def test_a_cost_of_nothing_charges_nothing(rule: PriceRule) -> None:
    """Neither the fixed part nor the minimum is asked for a free answer."""
    assert charge(0, rule) == 0


@given(costs, costs, rules)
def test_charges_rise_with_costs(one: int, other: int, rule: PriceRule) -> None:
    """A dearer request is never charged less, and never less than it cost."""
    low, high = sorted((one, other))
    assert charge(low, rule) <= charge(high, rule)
    assert charge(low, rule) * 1000 >= low


@given(st.integers(-5, 10**7) | st.integers(0, 10**15), rules)
def test_affordable_cost_is_the_largest(held_nanos: int, rule: PriceRule) -> None:
    """What is held pays for exactly this cost and for not one pico more."""
    cost = affordable_cost(held_nanos, rule)
    assert cost >= 0
    assert charge(cost + 1, rule) > held_nanos
    if held_nanos >= 0:
        assert charge(cost, rule) <= held_nanos


@given(quotes, st.integers(-5, 10**7) | st.integers(0, 10**13))
def test_tokens_for_is_the_largest_cap(asked: Quote, held_nanos: int) -> None:
    """The lowered cap is covered by the hold, and one token more would not be."""
    tokens = asked.tokens_for(held_nanos)
    assert 0 <= tokens <= asked.cap_tokens
    if tokens:
        assert charge(asked.cost_at(tokens), asked.rule) <= max(0, held_nanos)
    if tokens < asked.cap_tokens and held_nanos >= 0:
        assert charge(asked.cost_at(tokens + 1), asked.rule) > held_nanos


@given(quotes)
def test_the_bound_buys_the_whole_cap(asked: Quote) -> None:
    """Holding the bound lowers nothing."""
    assert asked.tokens_for(asked.bound_nanos()) == asked.cap_tokens


@given(quotes, st.integers(0, 50_000))
def test_no_answer_within_the_cap_is_charged_above_the_hold(asked: Quote, tokens: int) -> None:
    """Whatever the answer's length, the charge of its listed cost is within the bound."""
    used = min(tokens, asked.cap_tokens)
    exact = asked.prompt_picos + Fraction(used * asked.token_rate, 10**6)
    assert charge(math.ceil(exact), asked.rule) <= asked.bound_nanos()


def test_a_quote_adds_up() -> None:
    """Prompt and output at their rates times the guard, fees, extras: to the pico."""
    rates = Rates(prompt=2 * 10**12, completion=10**13, request_picos=5 * 10**9)
    asked = quote(rates, DEFAULT, prompt_tokens=1000, cap_tokens=100, choices=2, extra_picos=7)
    assert asked.prompt_picos == 3 * 10**9 + 75 * 10**8 + 7
    assert asked.token_rate == 3 * 10**13
    assert asked.cost_at(100) == asked.prompt_picos + 3 * 10**9
    assert asked.bound_nanos() == math.ceil(Fraction(asked.cost_at(100), 1000) * Fraction(12, 10))


def test_a_quote_expects_the_cache_to_be_written() -> None:
    """Writing a cache may be dearer than the prompt; the hour's only where it was asked for."""
    rates = Rates(prompt=10, completion=0, cache_write=20, cache_write_1h=30)
    plain = quote(rates, DEFAULT, prompt_tokens=10**6, cap_tokens=0, guard_bps=10_000)
    hourly = quote(
        rates, DEFAULT, prompt_tokens=10**6, cap_tokens=0, guard_bps=10_000, hour_cache=True
    )
    assert (plain.prompt_picos, hourly.prompt_picos) == (20, 30)


@given(
    st.integers(0, 10**14),
    st.integers(0, 10**14),
    st.integers(0, 10**6),
    st.integers(0, 10**5),
    st.integers(1, 8),
    st.integers(10_000, 30_000),
)
def test_a_quote_covers_prices_up_to_the_guard(
    prompt_rate: int, output_rate: int, prompt: int, output: int, choices: int, guard: int
) -> None:
    """If every price rises by the guard and every token is used, the hold still covers it."""
    asked = quote(
        Rates(prompt=prompt_rate, completion=output_rate),
        DEFAULT,
        prompt_tokens=prompt,
        cap_tokens=output,
        choices=choices,
        guard_bps=guard,
    )
    spent = Fraction(prompt * prompt_rate + choices * output * output_rate, 10**6)
    worst = math.ceil(spent * Fraction(guard, 10_000))
    assert charge(worst, DEFAULT) <= asked.bound_nanos()
    assert asked.cost_at(output) - worst <= 2 + output // 10**6


@pytest.mark.parametrize(
    ("pattern", "model", "matches"),
    [
        ("*", "openai/gpt-4o", True),
        ("openai/*", "openai/gpt-4o", True),
        ("openai/gpt-4*", "openai/gpt-4o-mini", True),
        ("openai/gpt-4*", "openai/gpt-5", False),
        ("*/gpt-4?", "azure/gpt-4o", True),
        ("openai/gpt-[45]*", "openai/gpt-5", True),
        ("OpenAI/*", "openai/gpt-4o", False),
        ("gpt-4o", "openai/gpt-4o", False),
        ("openai/gpt-4o", "openai/gpt-4o-mini", False),
        ("openai/gpt.4o", "openai/gpt-4o", False),
    ],
)
def test_patterns_are_shell_wildcards(pattern: str, model: str, matches: bool) -> None:
    """The whole id must match, in its own case; nothing else is special."""
    assert PriceRule(pattern, 0).matches(model, 100) is matches


def test_the_winning_rule() -> None:
    """Own rule, then priority, then the longer pattern, then the newer one; each beats the next."""
    ordered = [
        PriceRule("*", 1, account=100, id=1),
        PriceRule("openai/*", 2, priority=9, id=2),
        PriceRule("openai/gpt*", 3, priority=5, id=3),
        PriceRule("openai/*", 4, priority=5, id=7),
        PriceRule("open*/*", 5, id=6),
        PriceRule("*", 6, id=5),
        PriceRule("*", 7, id=4),
    ]
    for start in range(len(ordered)):
        for rules_given in (ordered[start:], ordered[start:][::-1]):
            book = PriceBook(rules_given, DEFAULT)
            assert book.rule_for(100, "openai/gpt-4o").markup_bps == start + 1


def test_a_block_is_ranked_like_any_rule() -> None:
    """A general block falls to an account's own rule, and an own block beats every price."""
    block = PriceRule("openai/*", 0, block=True, priority=9)
    own = PriceRule("openai/gpt-4o", 100, account=100)
    book = PriceBook([block, own], DEFAULT)
    assert not book.rule_for(100, "openai/gpt-4o").block
    assert book.rule_for(101, "openai/gpt-4o").block
    assert book.rule_for(100, "openai/gpt-5").block
    own_block = PriceRule("*", 0, block=True, account=100)
    book = PriceBook([own_block, PriceRule("openai/gpt-4o", 1, priority=9)], DEFAULT)
    assert book.rule_for(100, "openai/gpt-4o").block
    assert not book.rule_for(101, "openai/gpt-4o").block


def test_without_a_match_the_default_prices() -> None:
    """Another account's rule and another maker's pattern do not apply."""
    book = PriceBook([PriceRule("*", 1, account=101), PriceRule("google/*", 2)], DEFAULT)
    assert book.rule_for(100, "openai/gpt-4o") is DEFAULT


@given(
    st.lists(
        st.builds(
            PriceRule,
            pattern=st.sampled_from(["*", "a/*", "a/b*", "*b", "a/b", "c*"]),
            markup_bps=st.integers(0, 9),
            priority=st.integers(0, 2),
            account=st.sampled_from([None, None, 100, 101]),
        ),
        max_size=6,
    )
)
def test_remembered_answers_are_the_same_answers(price_rules: list[PriceRule]) -> None:
    """Asking twice, in any order, gives what a search through all rules gives."""
    numbered = [
        PriceRule(r.pattern, r.markup_bps, 0, 0, r.priority, r.account, r.block, number)
        for number, r in enumerate(price_rules)
    ]
    book = PriceBook(numbered, DEFAULT)
    questions = list(itertools.product((100, 101, 102), ("a/b", "a/bc", "c/b")))
    for account, model in questions + questions[::-1]:
        matching = [r for r in numbered if r.matches(model, account)]
        expected = max(matching, key=lambda r: r.rank) if matching else DEFAULT
        assert book.rule_for(account, model) is expected
