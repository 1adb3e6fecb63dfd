"""What the upstream billed: the truth that a reseller's books are held against."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from reseller.clock import Clock
from reseller.sandbox.costs import Counts, Units, number, usd

_KEPT = 200_000


@dataclass(slots=True)
class Billed:
    """One billed generation. `cost_units` is what the account pays the upstream."""

    id: str
    model: str
    provider: str
    api: str
    cost_units: Units
    inference_units: Units
    counts: Counts
    is_byok: bool
    is_cancelled: bool
    is_streamed: bool
    finish: str
    billed_at: int
    visible_at: int
    marker: str = ""
    external_user: str | None = None
    record: str = ""

    @property
    def cost(self) -> Decimal:
        """Billed to the account, in USD."""
        return usd(self.cost_units)

    @property
    def upstream_inference_cost(self) -> Decimal:
        """What the provider's own price comes to, in USD; with an own key it is billed there."""
        return usd(self.inference_units)

    @property
    def prompt_tokens(self) -> int:
        """Counted on the way in, with cached ones."""
        return self.counts.prompt

    @property
    def completion_tokens(self) -> int:
        """Counted on the way out, with reasoning."""
        return self.counts.completion

    def row(self) -> dict[str, Any]:
        """For the control interface: figures as exact strings."""
        return {
            "id": self.id,
            "marker": self.marker,
            "model": self.model,
            "provider": self.provider,
            "api": self.api,
            "cost": f"{self.cost:f}",
            "upstream_inference_cost": f"{self.upstream_inference_cost:f}",
            "prompt_tokens": self.counts.prompt,
            "completion_tokens": self.counts.completion,
            "cached_tokens": self.counts.cached,
            "cache_write_tokens": self.counts.cache_write,
            "reasoning_tokens": self.counts.reasoning,
            "is_byok": self.is_byok,
            "cancelled": self.is_cancelled,
            "streamed": self.is_streamed,
            "finish_reason": self.finish,
            "billed_at": self.billed_at,
            "external_user": self.external_user,
        }


class Books:
    """Every billed generation, and running totals. With `keep=False` only the totals."""

    def __init__(self, clock: Clock, *, keep: bool = True) -> None:
        self.clock = clock
        self.keeps = keep
        self.count = 0
        self.total_units: Units = 0
        self._by_id: OrderedDict[str, Billed] = OrderedDict()

    @property
    def total(self) -> Decimal:
        """All that was ever billed to the account, in USD."""
        return usd(self.total_units)

    @property
    def rows(self) -> list[Billed]:
        """What was billed, oldest first."""
        return list(self._by_id.values())

    def add(self, billed: Billed) -> None:
        """Bill a generation, once; a second bill under one id is a mistake of ours."""
        assert billed.id not in self._by_id
        self.count += 1
        self.total_units += billed.cost_units
        if self.keeps:
            self._by_id[billed.id] = billed
            if len(self._by_id) > _KEPT:
                self._by_id.popitem(last=False)

    def find(self, generation_id: str) -> Billed | None:
        """The generation of this id, visible or not."""
        return self._by_id.get(generation_id)

    def record(self, generation_id: str) -> bytes | None:
        """The body of a generation record; None while it cannot be seen."""
        billed = self._by_id.get(generation_id)
        if billed is None or billed.record == "never" or billed.visible_at > self.clock.now_ms():
            return None
        return msgspec.json.encode({"data": _record(billed)})

    def activity(self, date: str = "") -> list[dict[str, Any]]:
        """Use by completed UTC day, model and provider, newest day first."""
        today = day_of(self.clock.now_ms())
        sums: dict[tuple[str, str, str], list[Billed]] = {}
        for billed in self._by_id.values():
            day = day_of(billed.billed_at)
            if day < today and date in ("", day):
                sums.setdefault((day, billed.model, billed.provider), []).append(billed)
        return [_activity_row(*key, rows) for key, rows in sorted(sums.items(), reverse=True)]

    def used_since(self, start_ms: int) -> Units:
        """What was billed from that moment on."""
        return sum(b.cost_units for b in self._by_id.values() if b.billed_at >= start_ms)


def day_of(at_ms: int) -> str:
    """The UTC day of a moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _activity_row(day: str, model: str, provider: str, rows: list[Billed]) -> dict[str, Any]:
    own_key = sum(b.inference_units for b in rows if b.is_byok)
    return {
        "date": day,
        "model": model,
        "model_permaslug": model,
        "endpoint_id": f"ep-{provider.lower()}-{model.replace('/', '-')}",
        "provider_name": provider,
        "usage": exact(sum(b.cost_units for b in rows)),
        "byok_usage_inference": exact(own_key),
        "requests": len(rows),
        "prompt_tokens": sum(b.counts.prompt for b in rows),
        "completion_tokens": sum(b.counts.completion for b in rows),
        "reasoning_tokens": sum(b.counts.reasoning for b in rows),
        "cached_tokens": sum(b.counts.cached for b in rows),
    }


def exact(amount: Units) -> msgspec.Raw:
    """The figure as a JSON number with every digit."""
    return msgspec.Raw(number(amount).encode())


_API_TYPES = {
    "embeddings": "embeddings",
    "rerank": "rerank",
    "speech": "tts",
    "transcriptions": "stt",
    "images": "image",
}


def _record(billed: Billed) -> dict[str, Any]:
    cost = None if billed.record == "null_cost" else exact(billed.cost_units)
    made = datetime.fromtimestamp(billed.billed_at / 1000, UTC)
    counts = billed.counts
    return {
        "id": billed.id,
        "request_id": None,
        "upstream_id": f"provider-{billed.id[-20:]}",
        "model": billed.model,
        "provider_name": billed.provider,
        "provider_responses": [
            {"provider_name": billed.provider, "status": 200, "is_byok": billed.is_byok}
        ],
        "total_cost": cost,
        "usage": cost,
        "upstream_inference_cost": exact(billed.inference_units) if billed.is_byok else 0,
        "cache_discount": None,
        "is_byok": billed.is_byok,
        "cancelled": billed.is_cancelled,
        "streamed": billed.is_streamed,
        "finish_reason": None if billed.is_cancelled else billed.finish,
        "native_finish_reason": None if billed.is_cancelled else billed.finish,
        "tokens_prompt": counts.prompt,
        "tokens_completion": counts.completion,
        "native_tokens_prompt": counts.prompt,
        "native_tokens_completion": counts.completion,
        "native_tokens_cached": counts.cached,
        "native_tokens_reasoning": counts.reasoning,
        "native_tokens_completion_images": counts.images,
        "num_media_prompt": None,
        "num_media_completion": None,
        "num_input_audio_prompt": None,
        "num_search_results": None,
        "num_fetches": None,
        "web_search_engine": None,
        "latency": 12,
        "generation_time": 34,
        "moderation_latency": None,
        "created_at": made.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "api_type": _API_TYPES.get(billed.api, "completions"),
        "app_id": None,
        "origin": "",
        "http_referer": None,
        "user_agent": None,
        "external_user": billed.external_user,
        "session_id": None,
        "preset_id": None,
        "router": None,
        "service_tier": None,
        "data_region": "global",
        "workspace_id": None,
        "response_cache_source_id": None,
    }
