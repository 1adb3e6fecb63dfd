"""Money in whole numbers: nano-dollars (balances, charges) and pico-dollars (upstream costs).

1 USD = 10^9 nanos = 10^12 picos. Text goes in and out through `Decimal`; `float` never does.
Source of the rules: the money section of docs/ARCHITECTURE.md.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from typing import TypeAlias

Nanos: TypeAlias = int
Picos: TypeAlias = int
Bps: TypeAlias = int

NANOS_PER_USD = 10**9
PICOS_PER_USD = 10**12
PICOS_PER_NANO = 1_000
BPS_ONE = 10_000

_COST_LIMIT_USD = Decimal(100_000)
_EXPONENT_RANGE = range(-30, 7)
_WIDE = Context(prec=80, rounding=ROUND_CEILING)


class BadAmount(ValueError):
    """A number that cannot be money: not finite, negative, absurdly large or absurdly fine."""


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded towards plus infinity; `denominator` > 0."""
    return -(-numerator // denominator)


def is_sane_amount(amount: Decimal) -> bool:
    """Whether arithmetic on this number is safe and it can be money.

    Finite, 0 <= amount <= 100,000 USD, exponent within -30..6. The exponent is looked at first:
    turning `1e999000` into an integer would stop the process for more than a minute.
    """
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent not in _EXPONENT_RANGE:
        return False
    return 0 <= amount <= _COST_LIMIT_USD


def picos_from_usd(amount: Decimal) -> Picos:
    """An upstream's USD figure in pico-dollars, rounded up once. Raises BadAmount."""
    if not is_sane_amount(amount):
        raise BadAmount(f"{amount!s:.40} is not an amount between 0 and 100,000 USD")
    return int(_WIDE.multiply(amount, Decimal(PICOS_PER_USD)).to_integral_value(ROUND_CEILING))


def nanos_from_text(text: str) -> Nanos:
    """A USD figure typed by a person, as nanos; exact or refused. Raises BadAmount.

    Accepts `12`, `12.5`, `$12.50`; not signs, exponents, separators or more than nine decimals.
    """
    amount = _plain_decimal(text.strip().removeprefix("$").strip())
    if amount is None:
        raise BadAmount(f"{text!r:.40} is not a USD amount such as 12.50")
    if not is_sane_amount(amount):
        raise BadAmount(f"{text!r:.40} is not between 0 and 100,000 USD with sensible digits")
    nanos = _WIDE.multiply(amount, Decimal(NANOS_PER_USD))
    if nanos != nanos.to_integral_value():
        raise BadAmount(f"{text!r:.40} has more than nine decimals")
    return int(nanos)


def _plain_decimal(bare: str) -> Decimal | None:
    """Digits with at most one point among them, exactly; None for anything else."""
    if not bare or not all(c in "0123456789." for c in bare) or bare.count(".") > 1 or bare == ".":
        return None
    return Decimal(bare)


def usd_text(nanos: Nanos) -> str:
    """Nanos as an exact decimal string: `12.34`, `-0.000168`, at least two decimals."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    return f"{sign}{whole}.{_decimals(f'{rest:09d}')}"


def picos_text(picos: Picos) -> str:
    """Picos as an exact decimal string in USD, at least two decimals."""
    sign = "-" if picos < 0 else ""
    whole, rest = divmod(abs(picos), PICOS_PER_USD)
    return f"{sign}{whole}.{_decimals(f'{rest:012d}')}"


def _decimals(digits: str) -> str:
    return digits.rstrip("0").ljust(2, "0")


def bps_from_percent(text: str) -> Bps:
    """`40%`, `40` or `12.5 %` as basis points; 0 to 10,000 %. Raises BadAmount."""
    percent = _plain_decimal(text.strip().removesuffix("%").strip())
    if percent is None:
        raise BadAmount(f"{text!r:.40} is not a percentage such as 20%")
    if not is_sane_amount(percent):
        raise BadAmount(f"{text!r:.40} is not between 0 and 10,000 % with two decimals")
    bps = _WIDE.multiply(percent, Decimal(100))
    if bps != bps.to_integral_value() or not 0 <= bps <= 1_000_000:
        raise BadAmount(f"{text!r:.40} is not between 0 and 10,000 % with two decimals")
    return int(bps)


def percent_text(bps: Bps) -> str:
    """Basis points as a percentage: 2000 -> `20 %`, 1250 -> `12.5 %`, -50 -> `-0.5 %`."""
    sign = "-" if bps < 0 else ""
    whole, rest = divmod(abs(bps), 100)
    return sign + f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + " %"
