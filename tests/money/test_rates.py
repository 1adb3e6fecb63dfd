"""What the upstream lists, made into rates that bound a request."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.money.rates import Rates, RateTier, rates_from_pricing

KINDS = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h")


def listed(**pricing: Any) -> Rates:
    """Rates of a catalogue entry that can be sold."""
    rates = rates_from_pricing({"prompt": "0.000001", "completion": "0.000002"} | pricing)
    assert rates is not None
    return rates


def test_prices_become_picos_per_million() -> None:
    """Every listed price lands in its own rate."""
    rates = rates_from_pricing(
        {
            "prompt": "0.000002",
            "completion": "0.00001",
            "input_cache_read": "0.0000002",
            "input_cache_write": "0.0000025",
            "input_cache_write_1h": "0.000004",
            "request": "0.005",
            "web_search": "0.01",
            "discount": 0.438,
        }
    )
    assert rates == Rates(
        prompt=2 * 10**12,
        completion=10**13,
        cache_read=2 * 10**11,
        cache_write=25 * 10**11,
        cache_write_1h=4 * 10**12,
        request_picos=5 * 10**9,
        search_picos=10**10,
    )


@given(st.decimals(0, 1, allow_nan=False, places=22))
def test_a_price_of_22_decimals_is_rounded_up_only(price: object) -> None:
    """A price is never bounded from below, and by less than one pico per million above."""
    exact = Fraction(str(price)) * 10**18
    assert listed(prompt=f"{price:f}").prompt == math.ceil(exact)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("0.0000000000000000000001", 1),
        (1e-06, 10**12),
        (1, 10**18),
        ("1e-6", 10**12),
        ("0", 0),
        ("100000", 10**23),
        ("99999.000000000000000001", 99_999 * 10**18 + 1),
    ],
)
def test_prices_may_be_text_or_numbers(value: object, rate: int) -> None:
    """Decimal strings are the rule; numbers are read by their shortest text."""
    assert listed(prompt=value).prompt == rate


@pytest.mark.parametrize(
    "value",
    [
        *("-1", "-0.000001", "NaN", "Infinity", "1e999000", "1e-999000", "cheap", "100001"),
        *(True, [], {}, float("nan"), float("inf"), -1, "9" * 5000),
    ],
)
@pytest.mark.parametrize("key", ["prompt", "completion", "input_cache_write", "request", "audio"])
def test_what_cannot_be_read_cannot_be_sold(key: str, value: object) -> None:
    """Routers (-1) and unreadable prices have no bound, so there are no rates."""
    assert rates_from_pricing({"prompt": "0", "completion": "0"} | {key: value}) is None


@pytest.mark.parametrize("key", ["prompt", "completion"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_both_token_prices_must_be_listed(key: str, nothing: object) -> None:
    """A missing prompt or completion price is not a price of nought."""
    assert rates_from_pricing({"prompt": "0.1", "completion": "0.1"} | {key: nothing}) is None


@pytest.mark.parametrize("key", ["image", "audio", "input_audio_cache"])
def test_any_prompt_token_is_bounded(key: str) -> None:
    """Images and audio in the prompt cannot cost more than the prompt rate."""
    assert listed(**{key: "0.00005"}).prompt == 5 * 10**13
    assert listed(**{key: "0.0000001"}).prompt == 10**12


@pytest.mark.parametrize(
    "key", ["internal_reasoning", "image_output", "image_token", "audio_output"]
)
def test_any_output_token_is_bounded(key: str) -> None:
    """Reasoning, images and audio in the answer cannot cost more than the completion rate."""
    assert listed(**{key: "0.00005"}).completion == 5 * 10**13
    assert listed(**{key: "0.0000001"}).completion == 2 * 10**12


def test_the_floor_of_a_tier_is_exclusive() -> None:
    """A prompt of exactly the floor pays the lower price; one token more pays the higher."""
    rates = listed(overrides=[{"min_prompt_tokens": 200_000, "prompt": "0.000003"}])
    assert rates.dearest(200_000, 0).prompt == 10**12
    assert rates.dearest(200_001, 0).prompt == 3 * 10**12
    assert rates.dearest(200_001, 0).completion == 2 * 10**12


def test_a_cheaper_tier_does_not_lower_the_bound() -> None:
    """The prompt is only bounded from above, so lower tiers may apply as well."""
    rates = listed(overrides=[{"min_prompt_tokens": 10, "prompt": "0.0000001"}])
    assert rates.dearest(1_000, 0).prompt == 10**12


@pytest.mark.parametrize(
    ("minute", "applies"),
    [
        *((29, False), (30, True), (89, True), (90, True), (120, True), (149, True)),
        *((150, False), (151, False), (1439, False), (0, False)),
    ],
)
def test_a_time_window_counts_from_an_hour_before(minute: int, applies: bool) -> None:
    """From 01:30 to 02:30: a request that starts up to an hour earlier may end inside."""
    rates = listed(overrides=[{"utc_start": "0130", "utc_end": "0230", "prompt": "0.000009"}])
    assert (rates.dearest(1, minute).prompt == 9 * 10**12) is applies


@pytest.mark.parametrize(
    ("minute", "applies"),
    [
        *((1259, False), (1260, True), (1320, True), (1439, True), (0, True), (59, True)),
        *((60, False), (61, False), (720, False)),
    ],
)
def test_a_time_window_may_wrap_midnight(minute: int, applies: bool) -> None:
    """From 22:00 to 01:00, with the hour before it."""
    rates = listed(overrides=[{"utc_start": 2200, "utc_end": 100, "completion": "0.000009"}])
    assert (rates.dearest(1, minute).completion == 9 * 10**12) is applies


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 1439), st.integers(0, 180))
def test_windows_agree_with_counting_minutes(start: int, end: int, minute: int, ahead: int) -> None:
    """The window test is what one gets by walking minute by minute."""
    tier = RateTier(start_minute=start, end_minute=end, prompt=9)
    inside, at = set(), start
    while True:
        inside.add(at)
        at = (at + 1) % 1440
        if at == end % 1440:
            break
    walked = any((minute + step) % 1440 in inside for step in range(ahead + 1))
    assert (Rates(1, 1, tiers=(tier,)).dearest(0, minute, ahead).prompt == 9) is walked


@pytest.mark.parametrize(
    ("text", "minute"),
    [
        *(("0000", 0), ("0930", 570), ("2359", 1439), ("2400", 1440), ("09:30", 570), (930, 570)),
        *((0, 0), ("9:30", 570), (5, 5), ("", None), (None, None), ("noon", None)),
        *((-5, None), (9.5, None), (True, None), ("²", None), ("093000", None), ("9:5", None)),
    ],
)
def test_times_of_day(text: object, minute: int | None) -> None:
    """HHMM as text or number; what cannot be read holds at all times, the dearer reading."""
    rates = listed(overrides=[{"utc_start": text, "utc_end": text, "prompt": "1"}])
    assert rates.tiers[0].start_minute == minute


def test_an_unreadable_condition_always_holds() -> None:
    """A floor or a time that cannot be read must not hide a dearer price."""
    for condition in ({"min_prompt_tokens": "200k"}, {"utc_start": "noon", "utc_end": "0100"}):
        rates = listed(overrides=[condition | {"prompt": "0.000009"}])
        assert rates.dearest(1, 720).prompt == 9 * 10**12


@pytest.mark.parametrize(
    "overrides", [{"prompt": "1"}, "none", 5, ["1"], [{"prompt": "-1"}], [{"audio": "x"}]]
)
def test_unreadable_overrides_cannot_be_sold(overrides: object) -> None:
    """Overrides of another shape are a price that is not known."""
    pricing = {"prompt": "0", "completion": "0", "overrides": overrides}
    assert rates_from_pricing(pricing) is None


def test_a_tier_bounds_every_kind_of_token() -> None:
    """A tier that raises only audio or reasoning raises the side it belongs to."""
    rates = listed(overrides=[{"audio": "0.00003", "internal_reasoning": "0.00004"}])
    assert rates.dearest(0, 0).prompt == 3 * 10**13
    assert rates.dearest(0, 0).completion == 4 * 10**13
    assert listed(overrides=[{}]).tiers[0].prompt is None


@pytest.mark.parametrize(
    ("pricing", "free"),
    [
        ({}, True),
        ({"web_search": "0.01"}, True),
        ({"prompt": "0.1"}, False),
        ({"completion": "0.1"}, False),
        ({"request": "0.1"}, False),
        ({"input_cache_write": "0.1"}, False),
        ({"overrides": [{"utc_start": "0100", "utc_end": "0200", "prompt": "0.1"}]}, False),
        ({"overrides": [{"min_prompt_tokens": 5, "prompt": "0"}]}, True),
    ],
)
def test_free_means_free_at_every_tier(pricing: dict[str, object], free: bool) -> None:
    """A model that costs something for long prompts, or at night, is not free."""
    assert listed(**({"prompt": "0", "completion": "0"} | pricing)).is_free is free


rate_numbers = st.integers(0, 50)
tiers = st.builds(
    RateTier,
    min_prompt_tokens=st.none() | st.integers(0, 20),
    start_minute=st.none() | st.integers(0, 1439),
    end_minute=st.none() | st.integers(0, 1440),
    **{kind: st.none() | rate_numbers for kind in KINDS},
)
some_rates = st.builds(
    Rates,
    **dict.fromkeys((*KINDS, "request_picos", "search_picos"), rate_numbers),
    tiers=st.lists(tiers, max_size=3).map(tuple),
)


@given(some_rates, some_rates, st.integers(0, 30), st.integers(0, 1439))
def test_the_dearer_of_two_endpoints_bounds_both(
    one: Rates, other: Rates, prompt_tokens: int, minute: int
) -> None:
    """Whatever the prompt and the hour, no rate of either endpoint is above the common bound."""
    both = one.at_least(other).dearest(prompt_tokens, minute)
    for endpoint in (one, other):
        alone = endpoint.dearest(prompt_tokens, minute)
        for kind in (*KINDS, "request_picos", "search_picos"):
            assert getattr(alone, kind) <= getattr(both, kind)


@given(some_rates, st.integers(0, 30), st.integers(0, 30), st.integers(0, 1439))
def test_a_longer_prompt_never_has_a_lower_bound(
    rates: Rates, shorter: int, longer: int, minute: int
) -> None:
    """A prompt that turns out shorter than its bound is still covered."""
    shorter, longer = sorted((shorter, longer))
    low, high = rates.dearest(shorter, minute), rates.dearest(longer, minute)
    for kind in KINDS:
        assert getattr(rates, kind) <= getattr(low, kind) <= getattr(high, kind)


def test_rates_without_tiers_are_their_own_bound() -> None:
    """Nothing is copied where there is nothing to choose."""
    rates = listed()
    assert rates.dearest(10**6, 0) is rates
    assert replace(rates, tiers=()) == rates


def test_a_number_of_thousands_of_digits_cannot_be_sold() -> None:
    """Python refuses to print such a number; that is no reason to stop reading the list."""
    assert rates_from_pricing({"prompt": 10**5000, "completion": "0"}) is None
