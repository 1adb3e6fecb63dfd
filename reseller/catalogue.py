"""The models on sale: what the upstream lists, made into what can be priced and bounded.

Read by the hot path; replaced as a whole when the upstream's list was fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reseller.errors import Forbidden, NotFound
from reseller.money.rates import Rates, rates_from_pricing

# Variants that are models of their own in the upstream's list and may be sold as such.
_SOLD_VARIANTS = frozenset({"free", "thinking", "extended"})
_VARIANT_REASONS = {
    "batch": "is priced for batches only",
    "online": "adds web searches that are not offered here",
    "nitro": "may be served at a dearer tier",
    "floor": "may be served at another tier",
    "exacto": "chooses its own provider order",
}


@dataclass(frozen=True, slots=True)
class Model:
    """One model on sale. `row` is its number in the database; `entry` is what may be shown."""

    id: str
    row: int
    rates: Rates
    context_tokens: int | None
    output_tokens: int | None
    input_modalities: frozenset[str]
    output_modalities: frozenset[str]
    entry: Mapping[str, Any]
    endpoints: Rates | None = None
    # What an alias (`~author/family-latest`) stands for now.
    target: str = ""

    @property
    def canonical_id(self) -> str:
        """The id of what answers, without a variant: what price rules and allow-lists see."""
        return (self.target or self.id).partition(":")[0]


class Catalogue:
    """Models by id. `blocked` rules are the price book's business, not this one's."""

    def __init__(self, models: Iterable[Model], *, show_free: bool) -> None:
        self.show_free = show_free
        self.models = {model.id: model for model in models}

    def __len__(self) -> int:
        return len(self.models)

    def find(self, name: str) -> Model:
        """The model a customer asked for. Raises NotFound or Forbidden, saying why."""
        model = self.models.get(name)
        if model is not None and self.is_on_sale(model):
            return model
        base, _, variant = name.partition(":")
        if "@" in name:
            raise Forbidden(f"Presets ({name!r:.80}) are not offered.", code="model_not_allowed")
        if reason := _VARIANT_REASONS.get(variant):
            raise Forbidden(
                f"The variant {name!r:.120} {reason}. Use {base!r:.80}.",
                code="model_not_allowed",
                param="model",
            )
        raise NotFound(
            f"The model {name!r:.120} does not exist here. GET /v1/models lists what is offered.",
            code="model_not_found",
            param="model",
        )

    def is_on_sale(self, model: Model) -> bool:
        """Free variants are sold only where the operator wants them."""
        _, _, variant = model.id.partition(":")
        if variant and variant not in _SOLD_VARIANTS:
            return False
        return self.show_free or not (variant == "free" or model.rates.is_free)

    def on_sale(self) -> list[Model]:
        """All models that can be asked for, by id."""
        return sorted((m for m in self.models.values() if self.is_on_sale(m)), key=lambda m: m.id)


def model_from_entry(
    row: int, entry: Mapping[str, Any], endpoints: Iterable[Mapping[str, Any]] = ()
) -> Model | None:
    """A model from the upstream's list entry; None where a request could not be bounded.

    Left out: routers and others without a price, and models that do not answer in text or
    vectors (their prices are not per token).
    """
    name, pricing = entry.get("id"), entry.get("pricing")
    if not isinstance(name, str) or not name or not isinstance(pricing, Mapping):
        return None
    architecture = entry.get("architecture")
    architecture = architecture if isinstance(architecture, Mapping) else {}
    outputs = _texts(architecture.get("output_modalities")) or frozenset({"text"})
    if not outputs & {"text", "embeddings"}:
        return None
    rates = rates_from_pricing(pricing)
    if rates is None:
        return None
    top = entry.get("top_provider")
    top = top if isinstance(top, Mapping) else {}
    alias = entry.get("alias_target")
    target = alias.get("slug") if isinstance(alias, Mapping) else None
    return Model(
        id=name,
        row=row,
        rates=rates,
        context_tokens=_count(entry.get("context_length")),
        output_tokens=_count(top.get("max_completion_tokens")),
        input_modalities=_texts(architecture.get("input_modalities")) or frozenset({"text"}),
        output_modalities=outputs,
        entry=entry,
        endpoints=dearest_standard(endpoints),
        target=target if isinstance(target, str) else "",
    )


def dearest_standard(endpoints: Iterable[Mapping[str, Any]]) -> Rates | None:
    """Rates that bound every standard-tier endpoint of a model; None where none is known."""
    bound: Rates | None = None
    for endpoint in endpoints:
        tag = str(endpoint.get("tag") or "")
        if tag.endswith(("/flex", "/priority", "/fast", "/ultrafast")):
            continue
        pricing = endpoint.get("pricing")
        rates = rates_from_pricing(pricing) if isinstance(pricing, Mapping) else None
        if rates is not None:
            bound = rates if bound is None else bound.at_least(rates)
    return bound


def text_rates(model: Model) -> Rates | None:
    """What plain text costs upstream, for display: `rates` bounds pictures and sounds as well."""
    pricing = model.entry["pricing"]
    return rates_from_pricing({key: pricing.get(key) for key in _TEXT_PRICES})


_TEXT_PRICES = ("prompt", "completion", "request", "input_cache_read", "input_cache_write")


def _texts(value: object) -> frozenset[str]:
    return frozenset(v for v in value if isinstance(v, str)) if isinstance(value, list) else _NONE


_NONE: frozenset[str] = frozenset()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
