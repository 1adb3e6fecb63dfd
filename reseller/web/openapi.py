"""The OpenAPI 3.1 document of the API: what is accepted, what is answered, and every error code.

Written by hand, because it is the promise that the gateway is tested against, not its echo.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import reseller
from reseller import errors
from reseller.errors import ResellerError
from reseller.web.openapi_answers import ANSWERS
from reseller.web.openapi_requests import REQUESTS

Json: TypeAlias = dict[str, Any]

# Codes beyond each error's own, by status.
_MORE_CODES: dict[int, tuple[str, ...]] = {
    400: (
        *("invalid_json", "invalid_utf8", "too_deep", "duplicate_field", "missing_field"),
        *("invalid_value", "unknown_field", "field_not_offered", "wrong_endpoint"),
        *("media_not_offered", "media_not_supported", "context_length_exceeded"),
        *("max_tokens_exceeded", "token_limit_exceeded", "string_too_long", "refusal"),
        *("content_policy_violation", "invalid_prompt", "invalid_image", "image_too_large"),
        *("image_too_small", "unsupported_image_format", "image_not_found"),
        "image_download_failed",
    ),
    401: ("missing_api_key", "key_expired", "key_disabled"),
    402: ("spend_limit_reached",),
    403: (*("account_suspended", "address_not_allowed", "model_not_allowed", "content_moderated"),),
    404: ("model_not_found", "model_unavailable", "unknown_path"),
    422: (
        *("context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded"),
        *("string_too_long", "content_policy_violation", "refusal", "invalid_prompt"),
        *("invalid_image", "image_too_large", "image_too_small", "unsupported_image_format"),
        *("image_not_found", "image_download_failed"),
    ),
    405: ("method_not_allowed",),
    429: ("balance_held", "streaming_suspended", "upstream_busy"),
    431: ("request_too_large",),
    502: ("upstream_cut_off", "upstream_lost", "upstream_unreachable"),
    503: (
        "admission_closed",
        "books_mismatch",
        "price_moved",
        "service_stopping",
        "upstream_overloaded",
    ),
    504: ("upstream_error",),
    505: ("http_version_not_supported",),
}
_MEANINGS = {
    400: "The request is wrong; `param` names the field.",
    401: "No API key, or not one that may be used.",
    402: "The balance or a spend limit does not cover the request. Nothing was sent or charged.",
    403: "The key is known and may not do this.",
    404: "There is no such model or path.",
    405: "The path takes another method.",
    408: "The body came too slowly, or the provider gave up.",
    413: "The body or the provider's input is too large.",
    422: "Well-formed, but the provider cannot use it.",
    429: "A limit was reached; `retry-after-ms` says when there is room.",
    431: "The request's headers are too large.",
    500: "A fault of the service. Nothing was charged.",
    502: "The provider failed. What it billed, if anything, is settled at its true cost.",
    503: "The service or the model cannot take the request now. Nothing was charged.",
    504: "The provider did not answer in time.",
    505: "HTTP/2 belongs to the proxy in front.",
}
_ALWAYS = (401, 405, 431, 500, 505)
_PAID = (400, 402, 403, 404, 408, 413, 422, 429, 502, 503, 504)


def error_codes() -> dict[int, list[str]]:
    """Every `code` an answer of the API may carry, by status."""
    found = {status: list(codes) for status, codes in _MORE_CODES.items()}
    for each in vars(errors).values():
        is_error = isinstance(each, type) and issubclass(each, ResellerError)
        if is_error and each.status in _MEANINGS and each.default_code != "conflict":
            found.setdefault(each.status, []).insert(0, each.default_code)
    return {status: sorted(codes) for status, codes in sorted(found.items())}


def build_openapi(base_url: str) -> Json:
    """The document; its servers are `base_url` with both prefixes."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "API",
            "version": reseller.__version__,
            "description": (
                "The OpenAI API. Prepaid: `usage.cost` of every answer is what it was charged, "
                "in US dollars. Unknown request fields are refused by name."
            ),
        },
        "servers": [{"url": base_url + prefix} for prefix in ("/v1", "/api/v1")],
        "security": [{"key": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of yours: `sk-rs-` and 43 characters.",
                }
            },
            "schemas": REQUESTS | ANSWERS | {"Error": _error_schema()},
            "headers": _HEADERS,
            "responses": {f"Error{status}": _error_response(status) for status in _MEANINGS},
        },
    }


def _paths() -> Json:
    return {
        "/chat/completions": {
            "post": _paid("createChatCompletion", "Answer a conversation", "Chat")
        },
        "/completions": {"post": _paid("createCompletion", "Continue a text", "Completion")},
        "/embeddings": {
            "post": _paid("createEmbedding", "Turn texts into vectors", "Embedding", stream=False)
        },
        "/models": {"get": _read("listModels", "What is on sale, at your prices", "ModelList")},
        "/models/{id}": {
            "parameters": [
                {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": "Such as `openai/gpt-5.5`; the slash as it is or as `%2F`.",
                    "schema": {"type": "string"},
                }
            ],
            "get": _read("retrieveModel", "One model", "Model", more=(403, 404)),
        },
    }


def _paid(operation: str, summary: str, name: str, *, stream: bool = True) -> Json:
    content: Json = {"application/json": {"schema": _ref(f"{name}Answer")}}
    if stream:
        content["text/event-stream"] = {
            "schema": {
                "type": "string",
                "description": "Events with JSON in `data:`, the last one `[DONE]`.",
            },
            # What stands in each event; OpenAPI 3.1 has no word for it.
            "x-event-schema": _ref(f"{name}Chunk"),
        }
    headers = _header_refs("x-request-id", *_RATE_HEADERS)
    if stream:
        headers |= _header_refs("x-reseller-max-tokens")
    return {
        "operationId": operation,
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(f"{name}Request")}},
        },
        "responses": {
            "200": {"description": "The answer.", "headers": headers, "content": content},
            **_errors(*_ALWAYS, *_PAID),
        },
    }


def _read(operation: str, summary: str, answer: str, *, more: tuple[int, ...] = ()) -> Json:
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{}, {"key": []}],
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": _header_refs("x-request-id"),
                "content": {"application/json": {"schema": _ref(answer)}},
            },
            **_errors(*_ALWAYS, *more),
        },
    }


def _errors(*statuses: int) -> Json:
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted(statuses)
    }


def _error_response(status: int) -> Json:
    codes = error_codes().get(status, [])
    headers = ["x-request-id", "x-should-retry"]
    if status in (429, 503):
        headers += ["retry-after", "retry-after-ms"]
    return {
        "description": f"{_MEANINGS[status]} Codes: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": _header_refs(*headers),
        "content": {"application/json": {"schema": _ref("Error")}},
    }


def _error_schema() -> Json:
    kinds = {
        each.kind
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, ResellerError)
    }
    codes = sorted({code for codes in error_codes().values() for code in codes})
    return {
        "type": "object",
        "required": ["error"],
        "additionalProperties": False,
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "additionalProperties": False,
                "properties": {
                    "message": {"type": "string", "description": "What to do, for people."},
                    "type": {"enum": sorted(kinds - {"conflict_error"})},
                    "param": {"type": ["string", "null"], "description": "The field at fault."},
                    "code": {"enum": codes, "description": "For programs; never renamed."},
                },
            }
        },
    }


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _header_refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(description: str, schema: Json) -> Json:
    return {"description": description, "schema": schema}


_WHOLE: Json = {"type": "integer", "minimum": 0}
_DURATION: Json = {"type": "string", "pattern": "^[0-9]+ms$"}
_HEADERS: Json = {
    "x-request-id": _header(
        "The id of this request here; also the `id` of its answer.",
        {"type": "string", "pattern": "^req_[0-9A-Za-z]{20}$"},
    ),
    "x-should-retry": _header(
        "Whether the same request may be sent again without paying twice.",
        {"enum": ["true", "false"]},
    ),
    "retry-after": _header("Seconds to wait before the next try.", _WHOLE),
    "retry-after-ms": _header("The same in milliseconds.", _WHOLE),
    "x-reseller-max-tokens": _header(
        "The output cap this request ran with, where the balance or the model lowered it.",
        {"type": "integer", "minimum": 1},
    ),
}
_RATE_HEADERS = []
for _what in ("requests", "tokens"):
    for _kind, _schema, _text in (
        ("limit", _WHOLE, f"{_what.capitalize()} your account may use in a minute."),
        ("remaining", _WHOLE, f"{_what.capitalize()} left of them."),
        ("reset", _DURATION, "Time until all of them are back."),
    ):
        _name = f"x-ratelimit-{_kind}-{_what}"
        _HEADERS[_name] = _header(_text, _schema)
        _RATE_HEADERS.append(_name)
