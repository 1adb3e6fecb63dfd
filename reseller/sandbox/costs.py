"""Prices and costs as whole numbers of 10^-24 dollars: exact sums, written out digit by digit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TypeAlias

Units: TypeAlias = int

_DECIMALS = 24
_ONE_USD = 10**_DECIMALS
_WIDE = Context(prec=80)
# Below this a JavaScript server writes a number with an exponent.
_PLAIN_FROM = 10 ** (_DECIMALS - 6)
_PER_MILLION = 1_000_000


def units(text: str | Decimal) -> Units:
    """A USD figure as units; finer digits than 10^-24 are a mistake of ours."""
    exact = _WIDE.multiply(Decimal(text), Decimal(_ONE_USD))
    assert exact == exact.to_integral_value(), text
    return int(exact)


def units_from_million(price: Decimal) -> Units:
    """A price per million tokens, as `max_price` has it, per token; rounded up."""
    exact = _WIDE.multiply(price, Decimal(_ONE_USD // _PER_MILLION))
    return int(exact.to_integral_value("ROUND_CEILING"))


def usd(amount: Units) -> Decimal:
    """The exact figure, without trailing zeros."""
    digits = tuple(int(digit) for digit in str(abs(amount)))
    exact = Decimal((1 if amount < 0 else 0, digits, -_DECIMALS))
    return exact.normalize(_WIDE) if amount else Decimal(0)


def number(amount: Units, *, exponent: bool = False) -> str:
    """The figure as JSON number text, every digit kept; small ones in exponent form."""
    if not amount:
        return "0"
    if exponent or 0 < amount < _PLAIN_FROM:
        return _with_exponent(amount)
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), _ONE_USD)
    if not rest:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{rest:024d}".rstrip("0")


def _with_exponent(amount: Units) -> str:
    digits = str(abs(amount))
    power = len(digits) - 1 - _DECIMALS
    fraction = digits[1:].rstrip("0")
    sign = "-" if amount < 0 else ""
    return f"{sign}{digits[0]}{'.' + fraction if fraction else ''}e{power}"


@dataclass(frozen=True, slots=True)
class Rates:
    """What one endpoint asks at one moment, in units per token (or what the model counts)."""

    prompt: Units
    completion: Units
    cache_read: Units
    cache_write: Units
    request: Units
    image_output: Units

    def scaled(self, percent: int) -> Rates:
        """The same at another service tier."""
        return Rates(
            self.prompt * percent // 100,
            self.completion * percent // 100,
            self.cache_read * percent // 100,
            self.cache_write * percent // 100,
            self.request,
            self.image_output * percent // 100,
        )


@dataclass(slots=True)
class Counts:
    """What is counted of one generation; cached and cache-written tokens are part of the prompt."""

    prompt: int
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    images: int = 0


def prompt_cost(rates: Rates, counts: Counts) -> Units:
    """The input side: plain, cached and cache-written tokens, and the fee per request."""
    plain = counts.prompt - counts.cached - counts.cache_write
    return (
        plain * rates.prompt
        + counts.cached * rates.cache_read
        + counts.cache_write * rates.cache_write
        + rates.request
    )


def completion_cost(rates: Rates, counts: Counts) -> Units:
    """The output side; reasoning is already among the completion tokens."""
    text = counts.completion - counts.images
    return text * rates.completion + counts.images * rates.image_output
