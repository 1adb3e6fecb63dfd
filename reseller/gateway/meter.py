"""What a request used: the upstream's usage, read exactly, and our own count for want of it.

A cost is believed only if it is finite, not negative, at most 100,000 USD and of sane digits;
anything else, null or absent means *pending*, never 0 (docs/ARCHITECTURE.md "Money").
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import msgspec.structs

from reseller.money.rates import TOKENS_PER_RATE, Rates
from reseller.units import BadAmount, Nanos, Picos, ceil_div, picos_from_usd, usd_text


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: Decimal | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost: Decimal | None = None
    is_byok: bool | None = None
    cost_details: _CostDetails | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decode_usage = msgspec.json.Decoder(_Usage).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MOST_TOKENS = 1 << 40


@dataclass(slots=True)
class Usage:
    """Counts in tokens; `cost_picos` None where the upstream's figure cannot be believed."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_picos: Picos | None = None
    doubt: str = ""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


def read_usage(raw: bytes | msgspec.Raw) -> Usage:
    """The `usage` object of a chat, completion or embedding answer. Never raises."""
    doubt = ""
    try:
        found = _decode_usage(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        found, doubt = _read_odd(raw, f"usage cannot be read: {error}")
    prompt = found.prompt_tokens_details or _PromptDetails()
    completion = found.completion_tokens_details or _CompletionDetails()
    usage = Usage(
        prompt_tokens=_count(found.prompt_tokens),
        completion_tokens=_count(found.completion_tokens),
        cached_tokens=_count(prompt.cached_tokens),
        cache_write_tokens=_count(prompt.cache_write_tokens),
        reasoning_tokens=_count(completion.reasoning_tokens),
    )
    if doubt:
        usage.doubt = doubt
        return usage
    details = found.cost_details.upstream_inference_cost if found.cost_details else None
    usage.cost_picos, usage.doubt = read_cost(found.cost, bool(found.is_byok), details)
    return usage


def _read_odd(raw: bytes | msgspec.Raw, doubt: str) -> tuple[_Usage, str]:
    """A usage that is not as it should be, field by field; `doubt` where that touches the cost."""
    odd = _Usage()
    try:
        found = _decode_fields(raw)
    except (msgspec.DecodeError, RecursionError):
        return odd, doubt
    wrong = set()
    for field in msgspec.structs.fields(_Usage):
        if field.name in found:
            try:
                setattr(odd, field.name, msgspec.json.decode(found[field.name], type=field.type))
            except (msgspec.DecodeError, RecursionError):
                wrong.add(field.name)
    return odd, doubt if wrong & {"cost", "is_byok", "cost_details"} else ""


def read_cost(
    cost: Decimal | None, is_byok: bool, inference_cost: Decimal | None
) -> tuple[Picos | None, str]:
    """The true cost in picos, or None and why it cannot be believed.

    Own provider keys (BYOK) are billed elsewhere: there the inference cost is added.
    """
    if cost is None:
        return None, "the upstream gave no cost"
    try:
        picos = picos_from_usd(cost)
        if is_byok:
            if inference_cost is None:
                return None, "the upstream gave no inference cost for an own provider key"
            picos += picos_from_usd(inference_cost)
    except BadAmount as error:
        return None, f"cost: {error}"
    return picos, ""


def _count(value: int | None) -> int:
    return value if value is not None and 0 <= value <= _MOST_TOKENS else 0


def shown_usage(usage: Usage, charge_nanos: Nanos | None) -> dict[str, Any]:
    """The `usage` a customer sees: counts, and the charge in USD as `cost` (null: unknown yet)."""
    shown: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": None if charge_nanos is None else msgspec.Raw(usd_text(charge_nanos).encode()),
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    return shown


def estimated_cost(rates: Rates, prompt_tokens: int, completion_tokens: int) -> Picos:
    """Catalogue cost of counted tokens: what is charged if the true cost is never learnt."""
    tokens = prompt_tokens * rates.prompt + completion_tokens * rates.completion
    return ceil_div(tokens, TOKENS_PER_RATE) + rates.request_picos


@dataclass(slots=True)
class Meter:
    """Our own count of an answer while it passes: frames and bytes of text."""

    frames: int = 0
    text_bytes: int = 0

    def completion_tokens(self) -> int:
        """At least a token a frame, at least a token for four bytes."""
        return max(self.frames, self.text_bytes // 4)
