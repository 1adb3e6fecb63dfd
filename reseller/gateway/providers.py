"""Which providers stop billing when a stream is cancelled.

Source: the upstream's own list of cancellation support; a provider on neither of its lists is
taken not to stop.
"""

from __future__ import annotations

_STOPPING = frozenset(
    name.casefold()
    for name in (
        "OpenAI",
        "Azure",
        "Anthropic",
        "Fireworks",
        "Mancer",
        "Recursal",
        "AnyScale",
        "Lepton",
        "OctoAI",
        "Novita",
        "NovitaAI",
        "DeepInfra",
        "Together",
        "Cohere",
        "Hyperbolic",
        "Infermatic",
        "Avian",
        "xAI",
        "Cloudflare",
        "SFCompute",
        "Nineteen",
        "Liquid",
        "Friendli",
        "Chutes",
        "DeepSeek",
    )
)


def stops_billing(provider: str | None) -> bool:
    """Whether leaving this provider's stream ends what it bills."""
    return provider is not None and provider.casefold() in _STOPPING
