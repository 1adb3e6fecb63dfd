"""GET /v1/models: what is on sale, at the prices this caller pays."""

from __future__ import annotations

from typing import Any

import msgspec

from reseller.catalogue import Catalogue, Model, text_rates
from reseller.live import ApiKey, Live
from reseller.money.pricing import PriceBook, PriceRule
from reseller.units import BPS_ONE, ceil_div, picos_text

_encode = msgspec.json.encode


class ModelList:
    """Encoded answers, kept until catalogue or prices are replaced."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._made_for: tuple[Catalogue, PriceBook] | None = None
        self._answers: dict[tuple[int, tuple[str, ...]], bytes] = {}

    def all(self, key: ApiKey | None) -> bytes:
        """The list for this key (None: nobody in particular)."""
        live = self._live
        made_for = (live.catalogue, live.prices)
        if self._made_for != made_for:
            self._made_for = made_for
            self._answers.clear()
        who = (key.account.id if key else 0, key.models if key else ())
        answer = self._answers.get(who)
        if answer is None:
            models = [
                m for m in live.catalogue.on_sale() if key is None or key.allows(m.canonical_id)
            ]
            shown = [entry for model in models if (entry := self._entry(model, who[0])) is not None]
            answer = _encode({"object": "list", "data": shown})
            if len(self._answers) > 1_000:
                self._answers.clear()
            self._answers[who] = answer
        return answer

    def one(self, model: Model, key: ApiKey | None) -> bytes | None:
        """One model, or None where this caller may not use it."""
        if key is not None and not key.allows(model.canonical_id):
            return None
        entry = self._entry(model, key.account.id if key else 0)
        return None if entry is None else _encode(entry)

    def _entry(self, model: Model, account: int) -> dict[str, Any] | None:
        rule = self._live.prices.rule_for(account, model.canonical_id)
        if rule.block:
            return None
        entry = model.entry
        return {
            "id": model.id,
            "object": "model",
            "created": entry.get("created") or 0,
            "owned_by": model.id.partition("/")[0],
            "name": entry.get("name") or model.id,
            "description": entry.get("description") or "",
            "context_length": model.context_tokens,
            "max_output_tokens": model.output_tokens,
            "architecture": {
                "input_modalities": sorted(model.input_modalities),
                "output_modalities": sorted(model.output_modalities),
            },
            "pricing": shown_prices(model, rule),
            "supported_parameters": entry.get("supported_parameters") or [],
        }


def shown_prices(model: Model, rule: PriceRule) -> dict[str, str]:
    """List prices with the markup: USD a token as decimal strings, the request's fixed part."""
    rates = text_rates(model) or model.rates
    prices = {
        "prompt": price_text(rates.prompt, rule),
        "completion": price_text(rates.completion, rule),
    }
    if rates.cache_read:
        prices["input_cache_read"] = price_text(rates.cache_read, rule)
    if rates.cache_write:
        prices["input_cache_write"] = price_text(rates.cache_write, rule)
    fixed = ceil_div(rates.request_picos * (BPS_ONE + rule.markup_bps), BPS_ONE)
    prices["request"] = picos_text(fixed + rule.fixed_nanos * 1_000)
    return prices


def price_text(rate: int, rule: PriceRule) -> str:
    """A rate (picos per million tokens) with its markup as USD per token, exact."""
    marked = ceil_div(rate * (BPS_ONE + rule.markup_bps), BPS_ONE)
    # 10^12 picos a dollar times 10^6 tokens: 18 decimals.
    whole, rest = divmod(marked, 10**18)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")
