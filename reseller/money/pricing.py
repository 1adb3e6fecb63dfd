"""From cost to charge: price rules, the one rounding, and quotes that bound a request.

charge = ceil(cost_picos * (10,000 + markup_bps) / 10,000,000) + fixed, then the minimum.
A cost of 0 charges 0. Everything is `int`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reseller.money.rates import TOKENS_PER_RATE, Rates
from reseller.units import BPS_ONE, PICOS_PER_NANO, Bps, Nanos, Picos, ceil_div

_SCALE = BPS_ONE * PICOS_PER_NANO


@dataclass(frozen=True, slots=True)
class PriceRule:
    """How requests for models that match `pattern` are priced, or that they are blocked.

    `pattern` is a shell wildcard over canonical model ids; `account` None means everyone.
    """

    pattern: str
    markup_bps: Bps
    fixed_nanos: Nanos = 0
    minimum_nanos: Nanos = 0
    priority: int = 0
    account: int | None = None
    block: bool = False
    id: int = 0

    def __post_init__(self) -> None:
        assert self.markup_bps >= 0
        assert self.fixed_nanos >= 0
        assert self.minimum_nanos >= 0

    def matches(self, model_id: str, account: int) -> bool:
        """Whether this rule speaks of this model for this account."""
        if self.account is not None and self.account != account:
            return False
        return fnmatchcase(model_id, self.pattern)

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Higher wins: own rule of the account, priority, longer pattern, the newer rule."""
        return (self.account is not None, self.priority, len(self.pattern), self.id)


class PriceBook:
    """All price rules, ranked; answers are remembered until the book is replaced."""

    def __init__(self, rules: Iterable[PriceRule], default: PriceRule) -> None:
        self.rules = sorted(rules, key=lambda rule: rule.rank, reverse=True)
        self.default = default
        self._known: dict[tuple[int, str], PriceRule] = {}

    def rule_for(self, account: int, model_id: str) -> PriceRule:
        """The one rule that prices this model for this account."""
        known = self._known.get((account, model_id))
        if known is None:
            matching = (rule for rule in self.rules if rule.matches(model_id, account))
            known = next(matching, self.default)
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[(account, model_id)] = known
        return known


def charge(cost_picos: Picos, rule: PriceRule) -> Nanos:
    """What a request that cost `cost_picos` is charged: the only place that rounds."""
    assert cost_picos >= 0
    if cost_picos == 0:
        return 0
    nanos = ceil_div(cost_picos * (BPS_ONE + rule.markup_bps), _SCALE) + rule.fixed_nanos
    return max(nanos, rule.minimum_nanos)


def affordable_cost(held_nanos: Nanos, rule: PriceRule) -> Picos:
    """The largest cost whose charge is within `held_nanos`; 0 where none is."""
    if held_nanos < max(rule.minimum_nanos, rule.fixed_nanos):
        return 0
    return (held_nanos - rule.fixed_nanos) * _SCALE // (BPS_ONE + rule.markup_bps)


@dataclass(slots=True)
class Quote:
    """The most a request may be charged, and how that bound moves with the output cap.

    `prompt_picos`: everything but output, price guard included. `token_rate`: picos per million
    output tokens over all choices, guard included. `cap_tokens`: the cap the bound was made for.
    """

    rule: PriceRule
    prompt_picos: Picos
    token_rate: int
    cap_tokens: int

    def bound_nanos(self) -> Nanos:
        """The charge if the prompt and every capped token are billed at the dearest rate."""
        return charge(self.cost_at(self.cap_tokens), self.rule)

    def cost_at(self, output_tokens: int) -> Picos:
        """Upstream cost bound for this many output tokens of each choice."""
        return self.prompt_picos + ceil_div(output_tokens * self.token_rate, TOKENS_PER_RATE)

    def tokens_for(self, held_nanos: Nanos) -> int:
        """The largest cap, at most `cap_tokens`, whose charge `held_nanos` covers; 0 if none."""
        spare = affordable_cost(held_nanos, self.rule) - self.prompt_picos
        if spare < 0:
            return 0
        if self.token_rate == 0:
            return self.cap_tokens
        tokens = min(self.cap_tokens, spare * TOKENS_PER_RATE // self.token_rate)
        assert tokens <= 0 or charge(self.cost_at(tokens), self.rule) <= held_nanos
        return max(tokens, 0)


def quote(
    rates: Rates,
    rule: PriceRule,
    *,
    prompt_tokens: int,
    cap_tokens: int,
    choices: int = 1,
    guard_bps: Bps = 15_000,
    extra_picos: Picos = 0,
    hour_cache: bool = False,
) -> Quote:
    """Bound a request: prompt and output at `rates` (already the dearest) times the guard.

    `choices` is `n`; `extra_picos` are bounded extras such as searches and flat file holds.
    """
    assert prompt_tokens >= 0
    assert cap_tokens >= 0
    assert choices >= 1
    assert guard_bps >= BPS_ONE
    assert extra_picos >= 0
    prompt_rate = max(rates.prompt, rates.cache_write, rates.cache_write_1h if hour_cache else 0)
    prompt = prompt_tokens * prompt_rate * guard_bps
    fees = ceil_div(rates.request_picos * guard_bps, BPS_ONE)
    return Quote(
        rule=rule,
        prompt_picos=ceil_div(prompt, TOKENS_PER_RATE * BPS_ONE) + fees + extra_picos,
        token_rate=ceil_div(rates.completion * choices * guard_bps, BPS_ONE),
        cap_tokens=cap_tokens,
    )
