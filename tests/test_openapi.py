"""The OpenAPI document: well-formed, complete, and strict where the firewall is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import reseller
from reseller.gateway.ask import Field
from reseller.gateway.dialects.fields import CHAT, COMPLETIONS, EMBEDDINGS
from reseller.web.openapi import build_openapi, error_codes
from tests.openapi_check import check_answer

DOCUMENT = build_openapi("https://ai.example.com")
SOURCE = Path(reseller.__file__).parent
REQUEST_ID = "req_" + "0" * 20


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def resolve(pointer: str) -> Any:
    """What a reference points at. Raises KeyError."""
    at: Any = DOCUMENT
    for step in pointer.removeprefix("#/").split("/"):
        at = at[step.replace("~1", "/")]
    return at


def test_structure() -> None:
    """The parts OpenAPI 3.1 asks for are there, and the document is plain JSON."""
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert {server["url"] for server in DOCUMENT["servers"]} == {
        "https://ai.example.com/v1",
        "https://ai.example.com/api/v1",
    }
    names = []
    for path, item in DOCUMENT["paths"].items():
        assert path.startswith("/")
        for method, operation in item.items():
            if method == "parameters":
                continue
            names.append(operation["operationId"])
            assert operation["summary"]
            for status, response in operation["responses"].items():
                assert re.fullmatch("[1-5][0-9][0-9]", status)
                response = resolve(response["$ref"]) if "$ref" in response else response
                assert response["description"]
    assert len(set(names)) == len(names) == 5


def test_every_schema_is_valid() -> None:
    """Each schema is one of JSON Schema 2020-12."""
    schemas = [*DOCUMENT["components"]["schemas"].values()]
    schemas += [each["schema"] for each in walk(DOCUMENT) if isinstance(each.get("schema"), dict)]
    for schema in schemas:
        Draft202012Validator.check_schema(schema)


def test_references_resolve() -> None:
    """No reference leads nowhere, and no component is left unused."""
    found = {each["$ref"] for each in walk(DOCUMENT) if isinstance(each.get("$ref"), str)}
    for pointer in found:
        assert resolve(pointer)
    for kind in ("schemas", "headers", "responses"):
        for name in DOCUMENT["components"][kind]:
            pointer = f"#/components/{kind}/{name}"
            assert any(each.startswith(pointer) for each in found), pointer


@pytest.mark.parametrize(
    ("schema", "table"),
    [("ChatRequest", CHAT), ("CompletionRequest", COMPLETIONS), ("EmbeddingRequest", EMBEDDINGS)],
)
def test_request_fields_are_those_of_the_firewall(schema: str, table: Mapping[str, Field]) -> None:
    """What the gateway accepts is documented, what it refuses is not."""
    documented = DOCUMENT["components"]["schemas"][schema]["properties"]
    assert set(documented) == {name for name, rule in table.items() if not rule.refused}


def test_every_code_the_gateway_raises_is_listed() -> None:
    """Codes written in the request path's modules are in the document."""
    listed = {code for codes in error_codes().values() for code in codes}
    files = [*SOURCE.glob("gateway/**/*.py"), *SOURCE.glob("money/*.py")]
    files += [SOURCE / name for name in ("live.py", "catalogue.py", "limits.py", "admission.py")]
    for file in files:
        for code in re.findall(r'code="([a-z_]+)"', file.read_text("utf-8")):
            assert code in listed, f"{code} of {file.name}"


USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.000001}
CHAT_ANSWER = {
    "id": REQUEST_ID,
    "object": "chat.completion",
    "created": 1,
    "model": "a/b",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
    "usage": USAGE,
}


def check(body: Any, status: int = 200, content_type: str = "application/json") -> None:
    """Check an answer to a chat request."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    check_answer(DOCUMENT, "POST", "/v1/chat/completions", status, content_type, raw)


def test_a_right_answer_passes() -> None:
    """Answers, errors and streams in the shape of the gateway."""
    check(CHAT_ANSWER)
    error = {"message": "m", "type": "insufficient_quota", "param": None, "code": "balance_held"}
    check({"error": error}, 402)
    chunk = {"id": REQUEST_ID, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
    stream = b": hello\n\ndata: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
    check(stream, content_type="text/event-stream; charset=utf-8")
    chunk["error"] = error
    check(b"data: " + json.dumps(chunk).encode() + b"\n\n", content_type="text/event-stream")


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "gen-1"},
        {"cost": 1},
        {"openrouter_metadata": {}},
        {"user_id": "user_1"},
        {"usage": {**USAGE, "cost_details": {}}},
        {"usage": {**USAGE, "is_byok": False}},
        {"usage": {**USAGE, "cost": -1}},
        {"usage": {**USAGE, "cost": "0.1"}},
        {"choices": [{"index": 0, "message": {"role": "assistant"}, "error": {}}]},
    ],
)
def test_what_must_not_be_seen_fails(changes: dict[str, Any]) -> None:
    """The document itself is a firewall test: operator's details are not in it."""
    with pytest.raises(AssertionError):
        check(CHAT_ANSWER | changes)


def test_unknown_status_type_and_end_fail() -> None:
    """Answers the document does not speak of are not waved through."""
    for status, content_type, body in (
        (418, "application/json", b"{}"),
        (200, "text/html", b"<html>"),
        (200, "text/event-stream", b"data: {}\n\n"),
    ):
        with pytest.raises(AssertionError):
            check(body, status, content_type)
