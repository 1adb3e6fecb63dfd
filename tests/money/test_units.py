"""Money in whole numbers, checked against exact fractions."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.units import (
    BadAmount,
    bps_from_percent,
    ceil_div,
    is_sane_amount,
    nanos_from_text,
    percent_text,
    picos_from_usd,
    picos_text,
    usd_text,
)

sane_amounts = st.decimals(0, 100_000, allow_nan=False, places=22) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(0, 99_999),
    st.integers(-30, 0),
)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**18))
def test_ceil_div_is_the_ceiling(numerator: int, denominator: int) -> None:
    """Integer division upwards agrees with exact fractions, for negative numbers too."""
    assert ceil_div(numerator, denominator) == math.ceil(Fraction(numerator, denominator))


@given(sane_amounts)
def test_a_cost_is_rounded_up_to_picos_once(amount: Decimal) -> None:
    """The figure in picos is the ceiling of the exact one, and never a whole pico above it."""
    picos = picos_from_usd(amount)
    exact = Fraction(amount) * 10**12
    assert picos == math.ceil(exact)
    assert 0 <= picos - exact < 1


@pytest.mark.parametrize(
    ("text", "picos"),
    [
        ("0", 0),
        ("-0", 0),
        ("0.025706", 25_706_000_000),
        ("0.0000000000000000000001", 1),
        ("1.0000000000000000000001", 1_000_000_000_001),
        ("1e-30", 1),
        ("0.000000000001", 1),
        ("0.0000000000010000000001", 2),
        ("1e5", 10**17),
        ("100000", 10**17),
        ("99999.9999999999999999999999999999", 10**17),
    ],
)
def test_costs_read_to_the_pico(text: str, picos: int) -> None:
    """Known figures, among them 22 decimals and the largest amount."""
    assert picos_from_usd(Decimal(text)) == picos


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "sNaN", "Infinity", "-Infinity", "-1", "-1e-30"),
        *("100000.0000001", "100001", "1e7", "0e7", "1e-31", "1e999000", "1e-999000", "0e999000"),
    ],
)
def test_what_cannot_be_money_is_refused(text: str) -> None:
    """Not finite, negative, absurdly large or absurdly fine numbers are no amounts."""
    assert not is_sane_amount(Decimal(text))
    with pytest.raises(BadAmount):
        picos_from_usd(Decimal(text))


def test_exponent_bombs_are_refused_quickly() -> None:
    """A few bytes such as `1e999000` cannot keep the process busy."""
    started = time.process_time()
    for text in ("1e999000", "1e-999000", "9" * 300_000, "0." + "1" * 300_000, "0e-999000"):
        with pytest.raises(BadAmount):
            picos_from_usd(Decimal(text))
    for text in ("1e999000", "9" * 300_000, "0." + "0" * 300_000 + "1"):
        with pytest.raises(BadAmount):
            nanos_from_text(text)
        with pytest.raises(BadAmount):
            bps_from_percent(text)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("12", 12_000_000_000),
        ("12.5", 12_500_000_000),
        (" $12.50 ", 12_500_000_000),
        ("$ 3", 3_000_000_000),
        ("0", 0),
        (".5", 500_000_000),
        ("5.", 5_000_000_000),
        ("0.000000001", 1),
        ("0.0000000010000", 1),
        ("100000", 10**14),
        ("007", 7_000_000_000),
    ],
)
def test_typed_amounts_are_exact(text: str, nanos: int) -> None:
    """What a person types is taken to the nano."""
    assert nanos_from_text(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "$", ".", "-1", "+1", "1e3", "1,000", "1_000", "1.2.3", "$$1", "1 2", "NaN"),
        *("\N{FULLWIDTH DIGIT ONE}", "0x10", "1" * 20, "0.0000000001", "100000.000000001"),
    ],
)
def test_typed_amounts_are_exact_or_refused(text: str) -> None:
    """Signs, exponents, separators, a tenth decimal that matters: refused, never guessed."""
    with pytest.raises(BadAmount, match=r"USD|decimals"):
        nanos_from_text(text)


@given(st.integers(-(10**15), 10**15))
def test_nanos_as_text_are_exact(nanos: int) -> None:
    """Text out is the same number, with at least two decimals, and can be typed back in."""
    text = usd_text(nanos)
    assert Fraction(text) == Fraction(nanos, 10**9)
    assert len(text.partition(".")[2]) >= 2
    if 0 <= nanos <= 10**14:
        assert nanos_from_text(text) == nanos


@given(st.integers(-(10**18), 10**18))
def test_picos_as_text_are_exact(picos: int) -> None:
    """The same for pico-dollars."""
    assert Fraction(picos_text(picos)) == Fraction(picos, 10**12)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00"),
        (12_340_000_000, "12.34"),
        (100_000_000, "0.10"),
        (-168_000, "-0.000168"),
        (1, "0.000000001"),
        (-1_000_000_000, "-1.00"),
    ],
)
def test_amounts_read_well(nanos: int, text: str) -> None:
    """Two decimals at least, no trailing noughts beyond them, the sign in front."""
    assert usd_text(nanos) == text
    assert picos_text(nanos * 1000) == text


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        *(("40%", 4000), ("40", 4000), ("12.5 %", 1250), ("0", 0), ("0.01%", 1)),
        *(("10000%", 1_000_000), ("20.000", 2000), (".5%", 50)),
    ],
)
def test_percentages_are_read_exactly(text: str, bps: int) -> None:
    """Percentages with two decimals become basis points."""
    assert bps_from_percent(text) == bps


@pytest.mark.parametrize(
    "text",
    [
        *("", "%", ".", "-1%", "0.001", "10000.01", "1e2", "20%%", "20 percent", "1.1.1"),
        *("20.0000000000000000000000000000000001", "10000.0000000000000000000000001"),
    ],
)
def test_percentages_are_exact_or_refused(text: str) -> None:
    """A digit too fine for a basis point is refused, however far out it stands."""
    with pytest.raises(BadAmount):
        bps_from_percent(text)


@given(st.integers(-1_000_000, 1_000_000))
def test_percentages_as_text_are_exact(bps: int) -> None:
    """Text out is the same number, losses included, and positive ones can be typed back in."""
    text = percent_text(bps)
    assert Fraction(text.removesuffix(" %")) == Fraction(bps, 100)
    if bps >= 0:
        assert bps_from_percent(text) == bps


def test_percentages_read_well() -> None:
    """No noughts that say nothing."""
    shown = [percent_text(bps) for bps in (0, 1, 50, 1250, 2000, 10_000, -1250, -50)]
    assert shown == ["0 %", "0.01 %", "0.5 %", "12.5 %", "20 %", "100 %", "-12.5 %", "-0.5 %"]
