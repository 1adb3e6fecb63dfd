"""The firewall for requests: every known field of the OpenAI dialects, and what happens to it.

A field that could change the cost or reach the operator's account is bounded, rewritten or
refused; a field that nobody knows is refused too (docs/API.md lists them).
"""

from __future__ import annotations

from reseller.gateway.ask import DROP, HANDLED, PASS, Field, refuse

_ROUTING = "models and providers are chosen by the service."
_TOOLS = "it runs tools that are billed apart."
_STATE = "it reaches state that is shared with others."
_TIER = "requests are served at the standard tier."

# What every OpenAI-shaped endpoint has in common.
COMMON: dict[str, Field] = {
    "model": HANDLED,
    "user": DROP,
    "metadata": DROP,
    "store": DROP,
    "safety_identifier": DROP,
    "usage": DROP,
    "models": refuse(_ROUTING),
    "route": refuse(_ROUTING),
    "provider": refuse(_ROUTING),
    "preset": refuse(_STATE),
    "plugins": refuse(_TOOLS),
    "transforms": refuse("prompts are sent as they are."),
    "web_search_options": refuse(_TOOLS),
    "service_tier": HANDLED,
    "speed": refuse(_TIER),
    "fallbacks": refuse(_ROUTING),
    "trace": refuse(_STATE),
    "debug": refuse(_STATE),
    "session_id": HANDLED,
    "callback_url": refuse(_STATE),
}

SAMPLING: dict[str, Field] = dict.fromkeys(
    (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "top_a",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "stop",
        "logit_bias",
        "logprobs",
    ),
    PASS,
)

OUTPUT: dict[str, Field] = {
    "stream": HANDLED,
    "stream_options": DROP,
    "max_tokens": HANDLED,
    "max_completion_tokens": HANDLED,
    "n": HANDLED,
}

CHAT: dict[str, Field] = {
    **COMMON,
    **SAMPLING,
    **OUTPUT,
    "messages": HANDLED,
    "tools": HANDLED,
    "tool_choice": PASS,
    "parallel_tool_calls": PASS,
    "functions": PASS,
    "function_call": PASS,
    "top_logprobs": PASS,
    "response_format": PASS,
    "structured_outputs": PASS,
    "reasoning": PASS,
    "reasoning_effort": PASS,
    "include_reasoning": PASS,
    "verbosity": PASS,
    "cache_control": PASS,
    "prompt_cache_key": HANDLED,
    "prompt_cache_retention": DROP,
    "modalities": HANDLED,
    "prompt": refuse("send 'messages'."),
    "prediction": refuse("tokens that were predicted wrongly would be billed on top."),
    "audio": refuse("only text is answered."),
    "image_config": refuse("only text is answered."),
    "stop_server_tools_when": refuse(_TOOLS),
    "max_tool_calls": refuse(_TOOLS),
    "deferred_tools": refuse(_TOOLS),
    "prompt_cache_options": refuse("it changes the price of a cache write."),
}

COMPLETIONS: dict[str, Field] = {
    **COMMON,
    **SAMPLING,
    **OUTPUT,
    "prompt": HANDLED,
    "best_of": refuse("answers that are not shown would be billed."),
    "echo": PASS,
    "suffix": PASS,
    "response_format": PASS,
    "reasoning": PASS,
    "reasoning_effort": PASS,
    "messages": refuse("send 'prompt', or use /v1/chat/completions."),
}

EMBEDDINGS: dict[str, Field] = {
    **COMMON,
    "input": HANDLED,
    "dimensions": PASS,
    "encoding_format": PASS,
    "input_type": PASS,
    "stream": HANDLED,
}

# Fields whose text is part of the prompt and is billed as such.
PROMPT_FIELDS = frozenset({"functions", "response_format", "structured_outputs", "suffix"})
