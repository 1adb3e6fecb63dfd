"""The simulator's catalogue: models, the endpoints that serve them, and what each asks when."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from reseller.sandbox.costs import Rates, units, units_from_million

Pricing: TypeAlias = dict[str, Any]

# Providers that stop work and billing when the client closes a stream.
STOPS_ON_CANCEL = frozenset({"DeepInfra", "Fireworks", "Novita", "Together", "OpenAI", "Anthropic"})
FAULT_PREFIX = "sandbox/fault-"
_SUFFIXES = ("nitro", "floor", "online", "exacto")
_CREATED = 1_780_000_000
_PARAMETER_LINE = (
    "frequency_penalty max_completion_tokens max_tokens presence_penalty response_format seed stop "
    "structured_outputs temperature tool_choice tools top_k top_p"
)
_PARAMETERS = tuple(_PARAMETER_LINE.split())


@dataclass(slots=True)
class Endpoint:
    """One provider's offer of one model."""

    provider: str
    tag: str
    pricing: Pricing
    _flat: tuple[Pricing, Rates] | None = None

    def rates(self, prompt_tokens: int, hhmm: int) -> Rates:
        """The prices for a prompt of this length at this time of day (UTC, as HHMM)."""
        if self._flat is not None and self._flat[0] is self.pricing:
            return self._flat[1]
        rates = self._rates(prompt_tokens, hhmm)
        if "overrides" not in self.pricing:
            self._flat = (self.pricing, rates)
        return rates

    def _rates(self, prompt_tokens: int, hhmm: int) -> Rates:
        prices = dict(self.pricing)
        for entry in self.pricing.get("overrides", ()):
            if _applies(entry, prompt_tokens, hhmm):
                prices.update(entry)
        prompt = units(prices["prompt"])
        return Rates(
            prompt=prompt,
            completion=units(prices["completion"]),
            cache_read=units(prices.get("input_cache_read", prices["prompt"])),
            cache_write=units(prices.get("input_cache_write", prices["prompt"])),
            request=units(prices.get("request", "0")),
            image_output=units(prices.get("image_output", prices["completion"])),
        )

    @property
    def stops_on_cancel(self) -> bool:
        """Whether closing a stream stops the bill here."""
        return self.provider in STOPS_ON_CANCEL

    @property
    def is_standard(self) -> bool:
        """Not a priority or flex tier, which are served only on request."""
        return not self.tag.endswith(("/priority", "/flex"))


def _applies(entry: Pricing, prompt_tokens: int, hhmm: int) -> bool:
    if prompt_tokens <= entry.get("min_prompt_tokens", -1):
        return False
    if "utc_start" not in entry:
        return True
    start, end = entry["utc_start"], entry["utc_end"]
    if start <= end:
        return bool(start <= hhmm < end)
    return bool(hhmm >= start or hhmm < end)


@dataclass(slots=True)
class Model:
    """One entry of the catalogue with the endpoints behind it."""

    id: str
    name: str
    description: str
    endpoints: list[Endpoint]
    context_length: int = 131_072
    max_completion_tokens: int | None = 16_384
    inputs: tuple[str, ...] = ("text",)
    output: str = "text"
    tokenizer: str = "Other"
    listed: Pricing | None = None
    target: str = ""
    reasoning_tokens: int = 0
    first_token_ms: int = 0
    is_byok: bool = False
    is_moderated: bool = False
    parameters: list[str] = field(default_factory=lambda: list(_PARAMETERS))

    @property
    def canonical_slug(self) -> str:
        """The dated name; the endpoints listing answers to it too."""
        return self.id.lstrip("~").partition(":")[0] + "-20260901"

    @property
    def pricing(self) -> Pricing:
        """What the listing shows: the cheapest endpoint, unless the model is a router."""
        return self.endpoints[0].pricing if self.listed is None else self.listed

    def row(self) -> dict[str, Any]:
        """The model as the catalogue lists it."""
        return {
            "id": self.id,
            "canonical_slug": self.canonical_slug,
            "hugging_face_id": None,
            "name": self.name,
            "created": _CREATED,
            "description": self.description,
            "context_length": self.context_length,
            "architecture": self._architecture(),
            "pricing": self.pricing,
            "top_provider": {
                "context_length": self.context_length,
                "max_completion_tokens": self.max_completion_tokens,
                "is_moderated": self.is_moderated,
            },
            "per_request_limits": None,
            "supported_parameters": self.parameters if self.output == "text" else [],
            "default_parameters": {},
            "supported_voices": ["alder", "birch"] if self.output == "speech" else None,
            "knowledge_cutoff": None,
            "expiration_date": None,
            "links": {"details": f"/api/v1/models/{self.canonical_slug}/endpoints"},
        } | self._extras()

    def _architecture(self) -> dict[str, Any]:
        return {
            "modality": f"{'+'.join(self.inputs)}->{self.output}",
            "input_modalities": list(self.inputs),
            "output_modalities": [self.output],
            "tokenizer": self.tokenizer,
            "instruct_type": None,
        }

    def _extras(self) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.reasoning_tokens:
            extras["reasoning"] = {"mandatory": False, "default_enabled": True}
        if self.target:
            extras["alias_target"] = {"name": self.name, "slug": self.target}
        return extras

    def endpoint_rows(self) -> dict[str, Any]:
        """The body of the endpoints listing."""
        return {
            "id": self.id,
            "name": self.name,
            "created": _CREATED,
            "description": self.description,
            "architecture": self._architecture(),
            "endpoints": [self._endpoint_row(endpoint) for endpoint in self.endpoints],
        }

    def _endpoint_row(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "name": f"{endpoint.provider} | {self.canonical_slug}",
            "model_id": self.canonical_slug,
            "model_name": self.name,
            "provider_name": endpoint.provider,
            "tag": endpoint.tag,
            "quantization": "unknown",
            "context_length": self.context_length,
            "max_completion_tokens": self.max_completion_tokens,
            "max_prompt_tokens": None,
            "pricing": endpoint.pricing | {"discount": 0},
            "supported_parameters": self.parameters if self.output == "text" else [],
            "status": 0,
            "uptime_last_5m": 100,
            "uptime_last_30m": 99.9,
            "uptime_last_1d": 99.8,
            "latency_last_30m": None,
            "throughput_last_30m": None,
            "supports_implicit_caching": "input_cache_read" in endpoint.pricing,
            "supports_voice_cloning": False,
        }


class PriceCap(msgspec.Struct):
    """`provider.max_price`: USD per million tokens, other kinds per unit."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None

    def admits(self, rates: Rates) -> bool:
        """Whether no price is above its cap."""
        return not (
            (self.prompt is not None and rates.prompt > units_from_million(self.prompt))
            or (
                self.completion is not None
                and rates.completion > units_from_million(self.completion)
            )
            or (self.request is not None and rates.request > units(self.request))
        )


class Catalogue:
    """All models; answers names, aliases, routers and variant suffixes."""

    def __init__(self, models: list[Model]) -> None:
        self.models = {model.id: model for model in models}

    def find(self, name: str) -> Model | None:
        """The listed model of this name; a suffix such as `:nitro` is looked through."""
        model = self.models.get(name)
        if model is None and name.rpartition(":")[2] in _SUFFIXES:
            model = self.models.get(name.rpartition(":")[0])
        if model is None and name.startswith(FAULT_PREFIX):
            model = fault_model(name)
        return model

    def concrete(self, model: Model) -> Model:
        """The model that serves: an alias and a router stand for another one."""
        return self.models[model.target] if model.target else model

    def rows(self, modalities: str, extra: list[Model]) -> list[dict[str, Any]]:
        """The listing, by output modality as the query has it (`all`, or a comma list)."""
        wanted = modalities.split(",")
        chosen = [*self.models.values(), *extra]
        return [m.row() for m in chosen if "all" in wanted or m.output in wanted]

    def set_price(self, name: str, pricing: Pricing, provider: str | None = None) -> bool:
        """Change prices from now on, for one endpoint or for all of a model; False if unknown."""
        model = self.models.get(name)
        if model is None:
            return False
        for endpoint in model.endpoints:
            if provider is None or endpoint.provider == provider:
                endpoint.pricing = endpoint.pricing | pricing
        return True


def fault_model(name: str) -> Model:
    """A model whose every answer shows one fault; priced as a middling text model."""
    fault = name.removeprefix(FAULT_PREFIX)
    pricing = {
        "prompt": "0.000001",
        "completion": "0.000004",
        "input_cache_read": "0.0000001",
        "input_cache_write": "0.00000125",
    }
    return Model(
        id=name,
        name=f"Sandbox: Fault {fault}",
        description=f"Every answer shows the fault {fault}.",
        endpoints=[Endpoint("DeepInfra", "deepinfra", pricing)],
    )
