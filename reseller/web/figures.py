"""Numbers as people read them. Money stays `int` until it is text."""

from __future__ import annotations

from reseller.units import NANOS_PER_USD, Nanos, ceil_div, usd_text

_CENT = NANOS_PER_USD // 100
_SIGNIFICANT = 1_000


def usd_shown(nanos: Nanos) -> str:
    """`$12.34`; under a dollar three digits that matter: `$0.000168`. Rounded up, never down."""
    sign, size = ("-", -nanos) if nanos < 0 else ("", nanos)
    unit = _CENT
    if size < NANOS_PER_USD:
        unit = 1
        while size >= unit * _SIGNIFICANT:
            unit *= 10
    whole, fraction = usd_text(ceil_div(size, unit) * unit).split(".")
    return f"{sign}${int(whole):,}.{fraction}"


def count_shown(count: int) -> str:
    """`950`, `131 K`, `1.05 M`: to three digits."""
    step = 1
    while count >= step * 1_000:
        step *= 10
    rounded = (count + step // 2) // step * step
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if rounded >= size:
            whole, rest = divmod(rounded * 100 // size, 100)
            fraction = f"{rest:02d}".rstrip("0")
            return f"{whole}{'.' if fraction else ''}{fraction} {letter}"
    return str(rounded)
