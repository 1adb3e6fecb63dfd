"""Answers of the API as JSON Schema. Top levels are closed: what is not here is never sent."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_ID: Json = {"type": "string", "pattern": "^req_[0-9A-Za-z]{20}$"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_DECIMAL: Json = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
_FINISH: Json = {
    "type": ["string", "null"],
    "description": "stop, length, tool_calls, content_filter or error.",
}


def _closed(required: tuple[str, ...], properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _generated(kind: str, choice: str, *, is_chunk: bool = False) -> Json:
    """An answer or a chunk of one."""
    properties: Json = {
        "id": _ID,
        "object": {"const": kind},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "system_fingerprint": {"type": ["string", "null"]},
        "service_tier": {"type": ["string", "null"]},
        "provider": {"type": "string", "description": "Only where the shop shows it."},
        "choices": _list(_ref(choice)),
    }
    if not is_chunk:
        properties["usage"] = _ref("Usage")
        return _closed(("id", "object", "model", "choices", "usage"), properties)
    properties["usage"] = {"oneOf": [{"type": "null"}, _ref("Usage")]}
    properties["error"] = {"$ref": "#/components/schemas/Error/properties/error"}
    return _closed(("id", "object", "choices"), properties)


def _choice(content: Json, required: tuple[str, ...]) -> Json:
    return {
        "type": "object",
        "required": list(required),
        "properties": {
            "index": _COUNT,
            "finish_reason": _FINISH,
            "logprobs": {"type": ["object", "null"]},
            "error": False,
            **content,
        },
        "additionalProperties": True,
    }


ANSWERS: Json = {
    "Usage": _closed(
        ("prompt_tokens", "completion_tokens", "total_tokens", "cost"),
        {
            "prompt_tokens": _COUNT,
            "completion_tokens": _COUNT,
            "total_tokens": _COUNT,
            "cost": {
                "type": ["number", "null"],
                "minimum": 0,
                "description": (
                    "What this request was charged, in US dollars, exact to nine decimals. Null "
                    "where the provider has not said yet; the charge follows in the usage log."
                ),
            },
            "prompt_tokens_details": _closed(
                (), {"cached_tokens": _COUNT, "cache_write_tokens": _COUNT}
            ),
            "completion_tokens_details": _closed((), {"reasoning_tokens": _COUNT}),
        },
    ),
    "ChatAnswer": _generated("chat.completion", "ChatChoice"),
    "ChatChoice": _choice({"message": _ref("AnswerMessage")}, ("index", "message")),
    "AnswerMessage": {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"type": "string"},
            "content": {"type": ["string", "null"]},
            "refusal": {"type": ["string", "null"]},
            "reasoning": {"type": ["string", "null"]},
            "tool_calls": {"type": ["array", "null"], "items": {"type": "object"}},
        },
        "additionalProperties": True,
    },
    "ChatChunk": _generated("chat.completion.chunk", "ChatChunkChoice", is_chunk=True),
    "ChatChunkChoice": _choice({"delta": {"type": "object"}}, ("index", "delta")),
    "CompletionAnswer": _generated("text_completion", "CompletionChoice"),
    "CompletionChoice": _choice({"text": {"type": ["string", "null"]}}, ("index", "text")),
    "CompletionChunk": _generated("text_completion", "CompletionChoice", is_chunk=True),
    "EmbeddingAnswer": _closed(
        ("object", "data", "model", "usage"),
        {
            "id": _ID,
            "object": {"const": "list"},
            "model": {"type": "string"},
            "provider": {"type": "string", "description": "Only where the shop shows it."},
            "data": _list(
                {
                    "type": "object",
                    "required": ["object", "index", "embedding"],
                    "properties": {
                        "object": {"const": "embedding"},
                        "index": _COUNT,
                        "embedding": {
                            "oneOf": [
                                _list({"type": "number"}),
                                {"type": "string", "contentEncoding": "base64"},
                            ]
                        },
                    },
                }
            ),
            "usage": _ref("Usage"),
        },
    ),
    "ModelList": _closed(
        ("object", "data"), {"object": {"const": "list"}, "data": _list(_ref("Model"))}
    ),
    "Model": _closed(
        ("id", "object", "created", "owned_by", "pricing"),
        {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": {"type": "string"},
            "name": {"type": "string"},
            "description": {"type": "string"},
            "context_length": {"type": ["integer", "null"]},
            "max_output_tokens": {"type": ["integer", "null"]},
            "architecture": _closed(
                ("input_modalities", "output_modalities"),
                {
                    "input_modalities": _list({"type": "string"}),
                    "output_modalities": _list({"type": "string"}),
                },
            ),
            "pricing": _closed(
                ("prompt", "completion", "request"),
                {
                    "prompt": {**_DECIMAL, "description": "US dollars a token, as charged."},
                    "completion": _DECIMAL,
                    "input_cache_read": _DECIMAL,
                    "input_cache_write": _DECIMAL,
                    "request": {**_DECIMAL, "description": "US dollars a request."},
                },
            ),
            "supported_parameters": _list({"type": "string"}),
        },
    ),
}
