"""Checking a real answer against the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

_PREFIXES = ("/api/v1", "/v1")


def check_answer(
    document: dict[str, Any],
    method: str,
    path: str,
    status: int,
    content_type: str,
    body: bytes,
) -> None:
    """Assert that this answer is one the document promises for this request.

    JSON is checked against its schema; of an event stream every event is, and its last must be
    `[DONE]` unless an error ended it.
    """
    operation = _operation(document, method, path)
    responses = operation["responses"]
    assert str(status) in responses, f"{method} {path} may not answer {status}"
    response = _resolved(document, responses[str(status)])
    media = content_type.partition(";")[0].strip()
    assert media in response["content"], f"{method} {path} {status} may not be {media}"
    content = response["content"][media]
    if media == "text/event-stream":
        _check_events(document, content["x-event-schema"], body)
    else:
        _check(document, content["schema"], json.loads(body))


def _operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    for prefix in _PREFIXES:
        if path.startswith(prefix + "/"):
            path = path.removeprefix(prefix)
            break
    path = path.partition("?")[0]
    if path.startswith("/models/"):
        path = "/models/{id}"
    assert path in document["paths"], f"{path} is not in the document"
    item = document["paths"][path]
    # A wrong method is answered as every operation of the path may answer it.
    found = item.get(method.lower()) or next(v for k, v in item.items() if k in ("get", "post"))
    assert isinstance(found, dict)
    return found


def _check_events(document: dict[str, Any], schema: dict[str, Any], body: bytes) -> None:
    datas = [
        line.removeprefix(b"data:").strip()
        for line in body.splitlines()
        if line.startswith(b"data:")
    ]
    assert datas, "a stream without events"
    ended_by_error = False
    for data in datas:
        if data != b"[DONE]":
            event = json.loads(data)
            ended_by_error = "error" in event
            _check(document, schema, event)
    assert datas[-1] == b"[DONE]" or ended_by_error, f"a stream that ends with {datas[-1]!r:.80}"


def _check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    root = {**schema, "components": document["components"]}
    found = sorted(Draft202012Validator(root).iter_errors(value), key=lambda e: list(e.path))
    assert not found, "; ".join(f"{'/'.join(map(str, e.path))}: {e.message:.300}" for e in found)


def _resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        at: Any = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            at = at[step]
        value = at
    return value
