"""Real answers against the document at /openapi.json."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from reseller.sandbox.faults import FAULTS
from tests.gateway.asking import ask, body
from tests.gateway.conftest import LARGE, SMALL, Stand
from tests.openapi_check import check_answer

CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


async def document(stand: Stand) -> dict[str, Any]:
    """The document as it is served."""
    answer = await stand.http.get(f"{stand.url}/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def check(known: dict[str, Any], path: str, answer: httpx.Response, method: str = "POST") -> None:
    """The answer is one the document promises."""
    kind = answer.headers["content-type"]
    check_answer(known, method, path, answer.status_code, kind, answer.content)


async def test_answers_of_every_endpoint(stand: Stand) -> None:
    """Chats with tools, thought and several choices, completions and embeddings, whole and
    streamed; models listed and shown."""
    key, known = await stand.customer(), await document(stand)
    think = {"model": "sandbox/reasoner", "messages": ask()}
    tool = {"model": LARGE, "messages": ask("[[tool]] go"), "tools": [TOOL]}
    for is_stream in (False, True):
        for asked in (body(), body(n=2), body(max_tokens=3), think, tool):
            check(known, CHAT, await stand.post(CHAT, asked | {"stream": is_stream}, key))
        text = {"model": SMALL, "prompt": "hi", "stream": is_stream}
        check(known, "/v1/completions", await stand.post("/v1/completions", text, key))
    for encoding in ("float", "base64"):
        vectors = {"model": "sandbox/embed", "input": ["a", "b"], "encoding_format": encoding}
        check(known, "/v1/embeddings", await stand.post("/v1/embeddings", vectors, key))
    for path in ("/v1/models", f"/v1/models/{SMALL}", "/api/v1/models", "/v1/models/none"):
        check(known, path, await stand.http.get(stand.url + path), "GET")
    await stand.check_books()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_answers_in_trouble(stand: Stand, is_stream: bool) -> None:
    """Whatever goes wrong upstream, the answer is in the document."""
    key, known = await stand.customer(credit="1000"), await document(stand)
    for name, fault in FAULTS.items():
        if fault.scope == "inference" and not fault.hold_at and name != "huge-frame":
            stand.simulator.faults.add(name)
            check(known, CHAT, await stand.chat(key, stream=is_stream))
            stand.simulator.faults.clear()
    await stand.idle()


async def test_refusals(stand: Stand) -> None:
    """Bad requests, keys, models, balances and limits are in the document too."""
    key, known = await stand.customer(), await document(stand)
    poor = await stand.customer("poor@example.com", credit=None)
    for asked, who in (
        (b"{", key),
        (body("no/model"), key),
        (body(f"{SMALL}:online"), key),
        (body(max_tokens=0), key),
        (body(provider={}), None),
        (body(), "sk-rs-wrong"),
        (body(), poor),
        (b" " * 17_000_000, key),
    ):
        check(known, CHAT, await stand.post(CHAT, asked, who))
    (account, _) = stand.shop.core.live.accounts.values()
    account.limiter.requests[0].level = 0
    check(known, CHAT, await stand.chat(key))
    account.is_frozen = True
    check(known, CHAT, await stand.chat(key))
    check(known, CHAT, await stand.http.get(stand.url + CHAT), "GET")
    assert json.dumps(known)
    await stand.verify()
