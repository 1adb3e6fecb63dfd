"""What models cost here: the catalogue's rates with the shop's markup, per million tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from reseller.catalogue import Model, text_rates
from reseller.live import Live
from reseller.money.pricing import charge
from reseller.money.rates import TOKENS_PER_RATE
from reseller.units import Nanos, ceil_div

_EVERYONE = 0


@dataclass(frozen=True, slots=True)
class Price:
    """A model and what a million of its tokens is sold for."""

    id: str
    name: str
    context_tokens: int | None
    input_nanos: Nanos
    output_nanos: Nanos
    request_nanos: Nanos

    def charge_for(self, prompt_tokens: int, completion_tokens: int) -> Nanos:
        """What a plain request of this size is charged at these prices."""
        nanos = prompt_tokens * self.input_nanos + completion_tokens * self.output_nanos
        return ceil_div(nanos, TOKENS_PER_RATE) + self.request_nanos


def price_of(live: Live, model: Model) -> Price | None:
    """The list price of a model for everyone; None where it is blocked or has none per token."""
    rule = live.prices.rule_for(_EVERYONE, model.canonical_id)
    rates = text_rates(model)
    if rule.block or rates is None:
        return None
    per_token = replace(rule, fixed_nanos=0, minimum_nanos=0)
    return Price(
        id=model.id,
        name=_short_name(model),
        context_tokens=model.context_tokens,
        input_nanos=charge(rates.prompt, per_token),
        output_nanos=charge(rates.completion, per_token),
        request_nanos=charge(rates.request_picos, per_token) + rule.fixed_nanos,
    )


def showcase(live: Live, count: int) -> list[Price]:
    """A few models that stand for all: the newest of each maker, makers of many models first."""
    offered = [model for model in live.catalogue.on_sale() if _is_plain(model)]
    offered.sort(key=_newest_first)
    makers = Counter(_maker(model) for model in offered)
    place: Counter[str] = Counter()
    ranked = []
    for model in offered:
        maker = _maker(model)
        ranked.append((place[maker], -makers[maker], maker, model))
        place[maker] += 1
    ranked.sort(key=lambda each: each[:3])
    prices = (price_of(live, model) for *_, model in ranked)
    return [price for _, price in zip(range(count), filter(None, prices), strict=False)]


def _is_plain(model: Model) -> bool:
    """A model of its own that is sold per token of text: no alias, variant or free one."""
    if model.id.startswith("~") or ":" in model.id or model.entry.get("alias_target"):
        return False
    return model.output_modalities == {"text"} and bool(
        model.rates.prompt or model.rates.completion
    )


def _newest_first(model: Model) -> tuple[int, str]:
    created = model.entry.get("created")
    return (-created if isinstance(created, int) else 0, model.id)


def _maker(model: Model) -> str:
    return model.id.partition("/")[0]


def _short_name(model: Model) -> str:
    name = model.entry.get("name")
    return name[:60] if isinstance(name, str) and name else model.id
