"""What the upstream asks for a model: rates, tiers, and the dearest that may apply.

Catalogue prices serve holds, display and estimates only; a charge comes from the true cost.
Units: pico-dollars per million tokens (per request, per search) rounded up.
Source: openrouter price keys, docs/ARCHITECTURE.md "Prices".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation

from reseller.units import PICOS_PER_USD, BadAmount, is_sane_amount

TOKENS_PER_RATE = 1_000_000
MINUTES_PER_DAY = 1440
_PROMPT_SIDE = ("prompt", "image", "audio", "input_audio_cache")
_OUTPUT_SIDE = (
    *("completion", "internal_reasoning"),
    *("image_output", "image_token", "audio_output"),
)
_TIME_OF_DAY = re.compile(r"[0-9]{1,4}|[0-9]{1,2}:[0-9]{2}")
_WIDE = Context(prec=80, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class RateTier:
    """Rates that replace others while all conditions hold; None inherits.

    `min_prompt_tokens` is exclusive; `start_minute` and `end_minute` are UTC minutes of the day
    and may wrap midnight.
    """

    min_prompt_tokens: int | None = None
    start_minute: int | None = None
    end_minute: int | None = None
    prompt: int | None = None
    completion: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """Upstream cost: picos per million tokens, and per request and search."""

    prompt: int
    completion: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    request_picos: int = 0
    search_picos: int = 0
    tiers: tuple[RateTier, ...] = ()

    def dearest(self, prompt_tokens: int, minute: int, minutes_ahead: int = 60) -> Rates:
        """The highest each rate can be for a prompt of at most `prompt_tokens` that starts at
        UTC `minute` of the day and is priced within `minutes_ahead`."""
        if not self.tiers:
            return self
        worst = self
        for tier in self.tiers:
            if tier.min_prompt_tokens is not None and prompt_tokens <= tier.min_prompt_tokens:
                continue
            if not _overlaps(tier, minute, minutes_ahead):
                continue
            worst = replace(
                worst,
                prompt=max(worst.prompt, tier.prompt or 0),
                completion=max(worst.completion, tier.completion or 0),
                cache_read=max(worst.cache_read, tier.cache_read or 0),
                cache_write=max(worst.cache_write, tier.cache_write or 0),
                cache_write_1h=max(worst.cache_write_1h, tier.cache_write_1h or 0),
            )
        return worst

    def at_least(self, other: Rates) -> Rates:
        """Rate by rate the dearer of two, tiers of both: one bound for several endpoints."""
        return Rates(
            prompt=max(self.prompt, other.prompt),
            completion=max(self.completion, other.completion),
            cache_read=max(self.cache_read, other.cache_read),
            cache_write=max(self.cache_write, other.cache_write),
            cache_write_1h=max(self.cache_write_1h, other.cache_write_1h),
            request_picos=max(self.request_picos, other.request_picos),
            search_picos=max(self.search_picos, other.search_picos),
            tiers=self.tiers + other.tiers,
        )

    @property
    def is_free(self) -> bool:
        """Whether the upstream lists no price for its tokens and requests, at any tier."""
        return not (
            _token_rates(self)
            or self.request_picos
            or any(_token_rates(tier) for tier in self.tiers)
        )


def _token_rates(listed: Rates | RateTier) -> int:
    rates = (listed.prompt, listed.completion, listed.cache_read)
    return max(rate or 0 for rate in (*rates, listed.cache_write, listed.cache_write_1h))


def _overlaps(tier: RateTier, minute: int, minutes_ahead: int) -> bool:
    if tier.start_minute is None or tier.end_minute is None:
        return True
    length = (tier.end_minute - tier.start_minute) % MINUTES_PER_DAY or MINUTES_PER_DAY
    since_start = (minute - tier.start_minute) % MINUTES_PER_DAY
    until_start = (tier.start_minute - minute) % MINUTES_PER_DAY
    return since_start < length or until_start <= minutes_ahead


def rates_from_pricing(pricing: Mapping[str, object]) -> Rates | None:
    """Rates from a catalogue entry's `pricing`; None where a request cannot be bounded.

    Prices are decimal strings in USD per token, per request or per search. Routers (price -1)
    and unreadable prices cannot be bounded, so such a model is not sold.
    """
    try:
        if _per_million(pricing.get("prompt")) is None:
            return None
        if _per_million(pricing.get("completion")) is None:
            return None
        return Rates(
            prompt=_dearest_of(pricing, _PROMPT_SIDE) or 0,
            completion=_dearest_of(pricing, _OUTPUT_SIDE) or 0,
            cache_read=_per_million(pricing.get("input_cache_read")) or 0,
            cache_write=_per_million(pricing.get("input_cache_write")) or 0,
            cache_write_1h=_per_million(pricing.get("input_cache_write_1h")) or 0,
            request_picos=_picos(pricing.get("request"), 1) or 0,
            search_picos=_picos(pricing.get("web_search"), 1) or 0,
            tiers=_tiers(pricing.get("overrides")),
        )
    except BadAmount:
        return None


def _dearest_of(pricing: Mapping[str, object], keys: Iterable[str]) -> int | None:
    """One rate that bounds all kinds of token on a side; None where none of them is listed."""
    listed = [_per_million(pricing.get(key)) for key in keys]
    return max((rate for rate in listed if rate is not None), default=None)


def _tiers(overrides: object) -> tuple[RateTier, ...]:
    if overrides is None:
        return ()
    if not isinstance(overrides, list) or not all(isinstance(e, dict) for e in overrides):
        raise BadAmount(f"{overrides!r:.40} is not a list of price overrides")
    return tuple(_tier(entry) for entry in overrides)


def _tier(entry: Mapping[str, object]) -> RateTier:
    floor = entry.get("min_prompt_tokens")
    return RateTier(
        min_prompt_tokens=floor if isinstance(floor, int) else None,
        start_minute=_minute(entry.get("utc_start")),
        end_minute=_minute(entry.get("utc_end")),
        prompt=_dearest_of(entry, _PROMPT_SIDE),
        completion=_dearest_of(entry, _OUTPUT_SIDE),
        cache_read=_per_million(entry.get("input_cache_read")),
        cache_write=_per_million(entry.get("input_cache_write")),
        cache_write_1h=_per_million(entry.get("input_cache_write_1h")),
    )


def _minute(value: object) -> int | None:
    """Minute of the day from `HHMM` or `HH:MM`; None, thus always, where it cannot be read."""
    text = str(value) if isinstance(value, (str, int)) else ""
    if _TIME_OF_DAY.fullmatch(text) is None:
        return None
    digits = text.replace(":", "").rjust(4, "0")
    return int(digits[:2]) * 60 + int(digits[2:])


def _per_million(value: object) -> int | None:
    return _picos(value, TOKENS_PER_RATE)


def _picos(value: object, scale: int) -> int | None:
    if value is None or value == "":
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):  # int() and str() refuse thousands of digits
        raise BadAmount("a price that cannot be read") from None
    if not is_sane_amount(amount):
        raise BadAmount(f"{amount!s:.40} is not a price")
    exact = _WIDE.multiply(amount, Decimal(PICOS_PER_USD * scale))
    return int(exact.to_integral_value(ROUND_CEILING))
