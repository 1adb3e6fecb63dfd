"""Request bodies of the API as JSON Schema: every field that is accepted, with its bounds."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_TEXT: Json = {"type": ["string", "null"]}
_FLAG: Json = {"type": ["boolean", "null"]}
_NUMBER: Json = {"type": ["number", "null"]}
_WHOLE: Json = {"type": ["integer", "null"]}
_OBJECT: Json = {"type": ["object", "null"]}
_CAP: Json = {
    "type": ["integer", "null"],
    "minimum": 1,
    "description": "Most tokens of the answer. Lowered where the balance buys fewer.",
}
_TEXTS_OR_TOKENS: Json = {
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
        {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "items": {"type": "integer"}},
        },
    ]
}
_IGNORED = "Accepted and not used."

_COMMON: Json = {
    "model": {"type": "string", "minLength": 1, "description": "An id of `GET /models`."},
    "user": {**_TEXT, "description": _IGNORED},
    "safety_identifier": {**_TEXT, "description": _IGNORED},
    "metadata": {**_OBJECT, "description": _IGNORED},
    "store": {**_FLAG, "description": _IGNORED},
    "usage": {**_OBJECT, "description": "Accepted; usage is always answered."},
    "session_id": {**_TEXT, "description": "Requests of one session share a prompt cache."},
    "service_tier": {"enum": ["auto", "default", "standard", None]},
}
_SAMPLING: Json = {
    **dict.fromkeys(
        (
            *("temperature", "top_p", "min_p", "top_a", "frequency_penalty"),
            *("presence_penalty", "repetition_penalty"),
        ),
        _NUMBER,
    ),
    **dict.fromkeys(("top_k", "seed"), _WHOLE),
    "stop": {
        "oneOf": [
            {"type": "null"},
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
        ]
    },
    "logit_bias": _OBJECT,
    "logprobs": {"type": ["boolean", "integer", "null"]},
}
_OUTPUT: Json = {
    "max_tokens": _CAP,
    "max_completion_tokens": _CAP,
    "n": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 8,
        "description": "Answers to the same prompt; each is charged.",
    },
    "stream": {**_FLAG, "description": "Answer in server-sent events."},
    "stream_options": {**_OBJECT, "description": "Accepted; usage ends every stream."},
}


def _body(required: tuple[str, ...], *fields: Json) -> Json:
    properties: Json = {}
    for each in fields:
        properties |= each
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        # The gateway names an unknown field and refuses it.
        "additionalProperties": False,
    }


REQUESTS: Json = {
    "Message": {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"type": "string", "description": "system, user, assistant, tool, developer."},
            "content": {
                "oneOf": [
                    {"type": "null"},
                    {"type": "string"},
                    {"type": "array", "items": {"type": "object"}},
                ]
            },
        },
        "additionalProperties": True,
    },
    "Tool": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": ["function", "custom"]}},
        "additionalProperties": True,
        "description": "Tools that run at your side. Those that run at a provider are refused.",
    },
    "ChatRequest": _body(
        ("model", "messages"),
        _COMMON,
        _OUTPUT,
        _SAMPLING,
        {
            "messages": {
                "type": "array",
                "minItems": 1,
                "maxItems": 10_000,
                "items": {"$ref": "#/components/schemas/Message"},
            },
            "tools": {
                "type": ["array", "null"],
                "maxItems": 512,
                "items": {"$ref": "#/components/schemas/Tool"},
            },
            "tool_choice": {"type": ["string", "object", "null"]},
            "parallel_tool_calls": _FLAG,
            "functions": {"type": ["array", "null"], "items": {"type": "object"}},
            "function_call": {"type": ["string", "object", "null"]},
            "top_logprobs": _WHOLE,
            "response_format": _OBJECT,
            "structured_outputs": {"type": ["boolean", "object", "null"]},
            "reasoning": _OBJECT,
            "reasoning_effort": _TEXT,
            "include_reasoning": _FLAG,
            "verbosity": _TEXT,
            "cache_control": _OBJECT,
            "prompt_cache_key": _TEXT,
            "prompt_cache_retention": {**_TEXT, "description": _IGNORED},
            "modalities": {
                "type": ["array", "null"],
                "items": {"enum": ["text"]},
                "description": "Answers are text.",
            },
        },
    ),
    "CompletionRequest": _body(
        ("model", "prompt"),
        _COMMON,
        _OUTPUT,
        _SAMPLING,
        {
            "prompt": _TEXTS_OR_TOKENS,
            "echo": _FLAG,
            "suffix": _TEXT,
            "response_format": _OBJECT,
            "reasoning": _OBJECT,
            "reasoning_effort": _TEXT,
        },
    ),
    "EmbeddingRequest": _body(
        ("model", "input"),
        _COMMON,
        {
            "input": _TEXTS_OR_TOKENS,
            "dimensions": _WHOLE,
            "encoding_format": {"enum": ["float", "base64", None]},
            "input_type": _TEXT,
            "stream": {"enum": [False, None]},
        },
    ),
}
