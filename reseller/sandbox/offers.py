"""The models the simulator sells. All names, prices and sentences are our own inventions."""

from __future__ import annotations

from copy import deepcopy

from reseller.sandbox.catalogue import Endpoint, Model, Pricing

_LARGE: Pricing = {
    "prompt": "0.0000025",
    "completion": "0.0000125",
    "input_cache_read": "0.00000025",
    "input_cache_write": "0.000003125",
    "web_search": "0.01",
}
_FREE: Pricing = {"prompt": "0", "completion": "0"}
_CHEAP: Pricing = {"prompt": "0.0000002", "completion": "0.0000009"}


def _dearer(pricing: Pricing, **changed: str) -> Pricing:
    return pricing | changed


def _other(slug: str, name: str, description: str, output: str, pricing: Pricing) -> Model:
    inputs = ("audio",) if output == "transcription" else ("text",)
    return Model(
        id=f"sandbox/{slug}",
        name=f"Sandbox: {name}",
        description=description,
        context_length=8_192,
        max_completion_tokens=None,
        inputs=inputs,
        output=output,
        endpoints=[
            Endpoint("DeepInfra", "deepinfra", {"prompt": "0", "completion": "0"} | pricing),
            Endpoint("Nebius", "nebius", {"prompt": "0", "completion": "0"} | _doubled(pricing)),
        ],
    )


def _doubled(pricing: Pricing) -> Pricing:
    """Twice the digits of each price: every first digit here is below five."""
    return {key: _times_two(text) for key, text in pricing.items()}


def _times_two(text: str) -> str:
    digits = text.partition(".")[2]
    return f"0.{int(digits) * 2:0{len(digits)}d}"


_TEXT = [
    Model(
        id="sandbox/large",
        name="Sandbox: Large",
        description="The careful one: long context, prompt caching, tools and images.",
        context_length=400_000,
        max_completion_tokens=64_000,
        inputs=("text", "image"),
        endpoints=[
            Endpoint("Fireworks", "fireworks", _LARGE),
            Endpoint(
                "Together",
                "together",
                _dearer(_LARGE, prompt="0.0000034", completion="0.0000175"),
            ),
            Endpoint(
                "Fireworks",
                "fireworks/priority",
                _dearer(_LARGE, prompt="0.000005", completion="0.000025"),
            ),
            Endpoint(
                "Fireworks",
                "fireworks/flex",
                _dearer(_LARGE, prompt="0.00000125", completion="0.00000625"),
            ),
        ],
    ),
    Model(
        id="sandbox/small",
        name="Sandbox: Small",
        description="Quick and cheap, for everyday work.",
        endpoints=[
            Endpoint(
                "DeepInfra",
                "deepinfra",
                {
                    "prompt": "0.0000001416666666666667",
                    "completion": "0.0000005833333333333333",
                    "input_cache_read": "0.0000000208333333333333",
                },
            ),
            Endpoint("Novita", "novita", {"prompt": "0.0000002", "completion": "0.0000009"}),
        ],
    ),
    Model(
        id="sandbox/tiered",
        name="Sandbox: Tiered",
        description="Long prompts cost double; the night hours (UTC) are half price.",
        context_length=1_000_000,
        max_completion_tokens=65_536,
        endpoints=[
            Endpoint(
                "Novita",
                "novita",
                {
                    "prompt": "0.0000008",
                    "completion": "0.0000032",
                    "overrides": [
                        {
                            "utc_start": 2200,
                            "utc_end": 400,
                            "prompt": "0.0000004",
                            "completion": "0.0000016",
                        },
                        {
                            "min_prompt_tokens": 32_000,
                            "prompt": "0.0000016",
                            "completion": "0.0000048",
                        },
                    ],
                },
            ),
            Endpoint("SambaNova", "sambanova", {"prompt": "0.0000019", "completion": "0.0000057"}),
        ],
    ),
    Model(
        id="sandbox/vision",
        name="Sandbox: Vision",
        description="Looks at pictures and files and tells what they show.",
        inputs=("text", "image", "file"),
        endpoints=[
            Endpoint(
                "Google",
                "google",
                {"prompt": "0.0000003", "completion": "0.0000025", "image": "0.0000003"},
            )
        ],
    ),
    Model(
        id="sandbox/reasoner",
        name="Sandbox: Reasoner",
        description="Thinks before it answers; sets no limit on its output.",
        max_completion_tokens=None,
        reasoning_tokens=16,
        endpoints=[
            Endpoint(
                "Nebius",
                "nebius/fp8",
                {
                    "prompt": "0.00000055",
                    "completion": "0.00000219",
                    "internal_reasoning": "0.00000219",
                },
            )
        ],
    ),
    Model(
        id="sandbox/steady",
        name="Sandbox: Steady",
        description="Served where a closed stream is still billed in full.",
        endpoints=[
            Endpoint("Mistral", "mistral", {"prompt": "0.0000004", "completion": "0.000002"})
        ],
    ),
]
_ODD = [
    Model(
        id="sandbox/mini-free:free",
        name="Sandbox: Mini (free)",
        description="Costs nothing; shared by everyone.",
        context_length=32_768,
        max_completion_tokens=4_096,
        endpoints=[Endpoint("Venice", "venice", _FREE)],
    ),
    Model(
        id="sandbox/small:batch",
        name="Sandbox: Small (batch)",
        description="The price of the batch interface alone.",
        endpoints=[
            Endpoint("DeepInfra", "deepinfra", {"prompt": "0.00000007", "completion": "0.0000003"})
        ],
    ),
    Model(
        id="sandbox/auto",
        name="Sandbox: Auto",
        description="Chooses a model; its price is the chosen one's.",
        tokenizer="Router",
        listed={"prompt": "-1", "completion": "-1"},
        target="sandbox/large",
        endpoints=[Endpoint("Fireworks", "fireworks", _LARGE)],
    ),
    Model(
        id="~sandbox/small-latest",
        name="Sandbox: Small (latest)",
        description="Stands for the newest small model.",
        target="sandbox/small",
        endpoints=[Endpoint("DeepInfra", "deepinfra", _CHEAP)],
    ),
    Model(
        id="sandbox/own-key",
        name="Sandbox: Own Key",
        description="Runs on the account's own provider key: the provider sends the bill.",
        is_byok=True,
        endpoints=[Endpoint("OpenAI", "openai", {"prompt": "0.000002", "completion": "0.000008"})],
    ),
    Model(
        id="sandbox/slow",
        name="Sandbox: Slow",
        description="Takes its time before the first word.",
        first_token_ms=3_000,
        endpoints=[Endpoint("Together", "together", _CHEAP)],
    ),
]
_OTHER = [
    _other("embed", "Embed", "Turns text into vectors.", "embeddings", {"prompt": "0.00000002"}),
    _other("rerank", "Rerank", "Sorts documents by relevance.", "rerank", {"request": "0.002"}),
    _other("voice", "Voice", "Reads text aloud.", "speech", {"prompt": "0.000015"}),
    _other("scribe", "Scribe", "Writes down speech.", "transcription", {"prompt": "0.0001"}),
    _other(
        "painter",
        "Painter",
        "Draws pictures from words.",
        "image",
        {"image_output": "0.00003"},
    ),
]


def all_models() -> list[Model]:
    """A fresh set, because prices may be changed at run time."""
    return deepcopy([*_TEXT, *_ODD, *_OTHER])
