"""How the simulator behaves by default, and what a single request may ask to be otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

_DIRECTIVE = re.compile(r"\[\[([a-z][a-z-]*)(?:=([^\]]*))?\]\]")
_SHAPES = ("repeated_finish", "null_finish", "empty_choices")
# What a header `x-sim-…` or a `[[…]]` in the last user message may set.
_STEERABLE = {
    "latency": "latency_ms",
    "first": "first_token_ms",
    "pace": "pace_ms",
    "chunk": "chunk_tokens",
    "tokens": "answer_tokens",
    "hidden": "hidden_tokens",
    "reasoning": "reasoning_tokens",
    "comments": "comment_every_ms",
}


@dataclass(slots=True)
class Behaviour:
    """Defaults; every field may be changed at run time.

    Times are milliseconds. `hidden_tokens` are billed without a frame of their own.
    """

    latency_ms: int = 0
    first_token_ms: int = 0
    pace_ms: int = 0
    chunk_tokens: int = 1
    answer_tokens: int = 20
    hidden_tokens: int = 0
    reasoning_tokens: int = 0
    comment_every_ms: int = 0
    opening_comments: int = 1
    usage_chunk_shape: str = "repeated_finish"
    generation_delay_ms: int = 1_000
    late_record_ms: int = 60_000
    exponent_costs: bool = False
    use_dearest_endpoint: bool = False
    checks_balance: bool = True
    checks_key: bool = True
    list_fault_models: bool = False

    def change(self, changes: dict[str, Any]) -> str:
        """Set several fields, all or none; what is wrong, or nothing."""
        kinds = {spec.name: type(getattr(self, spec.name)) for spec in fields(self)}
        for name, value in changes.items():
            if name not in kinds:
                return f"{name} is not a behaviour"
            if type(value) is not kinds[name]:
                return f"{name} must be of type {kinds[name].__name__}"
        if changes.get("usage_chunk_shape", _SHAPES[0]) not in _SHAPES:
            return f"usage_chunk_shape must be one of {', '.join(_SHAPES)}"
        if changes.get("chunk_tokens", 1) < 1:
            return "chunk_tokens must be at least 1"
        for name, value in changes.items():
            setattr(self, name, value)
        return ""

    def steered(self, wishes: dict[str, str]) -> Behaviour:
        """A copy with one request's wishes; wishes that are not numbers are passed over."""
        changes: dict[str, Any] = {
            _STEERABLE[name]: int(text)
            for name, text in wishes.items()
            if name in _STEERABLE and text.isdecimal()
        }
        if "chunk_tokens" in changes:
            changes["chunk_tokens"] = max(1, changes["chunk_tokens"])
        return replace(self, **changes) if changes else self


def directives(text: str) -> dict[str, str]:
    """The `[[name=value]]` marks of a message, such as `[[tokens=500]]` or `[[tool]]`."""
    return dict(_DIRECTIVE.findall(text))


def header_wishes(raw_headers: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    """The `x-sim-…` headers of a request, without their prefix and a `-ms` at the end."""
    wishes = {}
    for name, value in raw_headers:
        if name[:6].lower() == b"x-sim-":
            wish = name[6:].lower().decode("latin-1").removesuffix("-ms").removesuffix("-token")
            wishes[wish.removeprefix("answer-").removesuffix("-tokens")] = value.decode("latin-1")
    return wishes
