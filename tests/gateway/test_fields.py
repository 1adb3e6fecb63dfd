"""Every known request field: what goes upstream of it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reseller.gateway.dialects.chat import Chat
from reseller.gateway.dialects.completions import Completions
from reseller.gateway.dialects.embeddings import Embeddings
from tests.gateway.asking import ask
from tests.gateway.conftest import SMALL, Stand

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}

# Sent as they came.
PASSED: dict[str, Any] = {
    "temperature": 0.25,
    "top_p": 0.5,
    "top_k": 3,
    "min_p": 0.1,
    "top_a": 0.2,
    "frequency_penalty": -1,
    "presence_penalty": 1,
    "repetition_penalty": 1.1,
    "seed": 7,
    "stop": ["a", "b"],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "functions": [FUNCTION],
    "function_call": "none",
    "top_logprobs": 2,
    "response_format": {"type": "json_object"},
    "structured_outputs": True,
    "reasoning": {"effort": "low"},
    "reasoning_effort": "low",
    "include_reasoning": False,
    "verbosity": "low",
    "cache_control": {"type": "ephemeral"},
    "tools": [TOOL],
    "echo": False,
    "suffix": "end",
    "dimensions": 4,
    "encoding_format": "float",
    "input_type": "query",
}
# Not sent, and no error: programs send them out of habit.
DROPPED: dict[str, Any] = {
    "user": "my own user",
    "metadata": {"a": "b"},
    "store": True,
    "safety_identifier": "me",
    "usage": {"include": True},
    "stream_options": {"include_usage": True},
    "prompt_cache_retention": "24h",
}
REFUSED: dict[str, Any] = {
    "models": ["a/b"],
    "route": "fallback",
    "provider": {"order": ["OpenAI"]},
    "preset": "mine",
    "plugins": [{"id": "web"}],
    "transforms": ["middle-out"],
    "web_search_options": {"search_context_size": "high"},
    "speed": "fast",
    "fallbacks": [{"model": "a/b"}],
    "trace": {"id": "x"},
    "debug": {"echo_upstream_body": True},
    "callback_url": "https://example.com/",
    "prediction": {"type": "content", "content": "x"},
    "audio": {"voice": "alder"},
    "image_config": {"aspect_ratio": "1:1"},
    "stop_server_tools_when": [{"type": "step_count_is"}],
    "max_tool_calls": 3,
    "deferred_tools": [{"type": "function"}],
    "prompt_cache_options": {"ttl": "12h"},
    "best_of": 3,
}
# Rewritten: the value sent, and what the upstream gets; `…` is the account's hash.
REWRITTEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": (SMALL, {"model": SMALL}),
    "stream": (False, {}),
    "max_tokens": (33, {"max_tokens": 33}),
    "max_completion_tokens": (34, {"max_tokens": 34}),
    "n": (2, {"n": 2}),
    "service_tier": ("auto", {}),
    "session_id": ("mine", {"session_id": "…:mine"}),
    "prompt_cache_key": ("mine", {"prompt_cache_key": "…:mine"}),
    "modalities": (["text"], {}),
}
INPUTS = {
    "chat": ("/v1/chat/completions", {"model": SMALL, "messages": ask("[[tokens=2]] x")}),
    "completions": ("/v1/completions", {"model": SMALL, "prompt": "[[tokens=2]] x"}),
    "embeddings": ("/v1/embeddings", {"model": "sandbox/embed", "input": "x"}),
}
TABLES = {"chat": Chat.table, "completions": Completions.table, "embeddings": Embeddings.table}
OTHERS = {"messages", "prompt", "input"}


async def sent(stand: Stand, key: str, dialect: str, more: dict[str, Any]) -> dict[str, Any]:
    """What the upstream gets for these fields, without what the gateway always sends."""
    path, asked = INPUTS[dialect]
    answer = await stand.post(path, asked | more, key)
    assert answer.status_code == 200, (more, answer.text)
    found: dict[str, Any] = json.loads(stand.simulator.received[-1].body)
    user = found.pop("user")
    assert user not in ("my own user", stand.keys["ada@example.com"])
    assert found.pop("provider").keys() == {"max_price"}
    for name in OTHERS & found.keys():
        assert found.pop(name) == asked[name]
    found.pop("model")
    if dialect != "embeddings" and not more.keys() & {"max_tokens", "max_completion_tokens"}:
        assert found.pop("max_tokens") == 16_384
    return json.loads(json.dumps(found).replace(user, "…"))


@pytest.mark.parametrize("dialect", TABLES)
def test_the_table_is_known_here(dialect: str) -> None:
    """A new field needs a line in this file too."""
    here = PASSED.keys() | DROPPED.keys() | REFUSED.keys() | REWRITTEN.keys() | OTHERS
    assert TABLES[dialect].keys() <= here


@pytest.mark.parametrize("dialect", TABLES)
async def test_fields_that_pass(stand: Stand, dialect: str) -> None:
    """Sent upstream as they came."""
    key = await stand.customer()
    for name in PASSED.keys() & TABLES[dialect].keys():
        assert await sent(stand, key, dialect, {name: PASSED[name]}) == {name: PASSED[name]}
    await stand.check_books()


@pytest.mark.parametrize("dialect", TABLES)
async def test_fields_that_are_dropped(stand: Stand, dialect: str) -> None:
    """Accepted and not sent: the upstream's `user` is a hash of ours, nothing reaches the
    operator's account."""
    key = await stand.customer()
    for name in DROPPED.keys() & TABLES[dialect].keys():
        assert await sent(stand, key, dialect, {name: DROPPED[name]}) == {}
    await stand.check_books()


@pytest.mark.parametrize("dialect", TABLES)
async def test_fields_that_are_rewritten(stand: Stand, dialect: str) -> None:
    """Bounded, renamed or prefixed with the account's hash."""
    key = await stand.customer()
    for name in REWRITTEN.keys() & TABLES[dialect].keys() - {"model"}:
        value, wanted = REWRITTEN[name]
        assert await sent(stand, key, dialect, {name: value}) == wanted, name
    await stand.check_books()


@pytest.mark.parametrize("dialect", TABLES)
async def test_fields_that_are_refused(stand: Stand, dialect: str) -> None:
    """400 that names the field and says why; unset they are no matter. Fields of the other
    endpoints and unknown ones are refused too."""
    key = await stand.customer()
    path, asked = INPUTS[dialect]
    table = TABLES[dialect]
    for name in REFUSED.keys() & table.keys():
        answer = await stand.post(path, asked | {name: REFUSED[name]}, key)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            400,
            "field_not_offered",
            name,
        )
        assert not stand.simulator.received or b"max_price" not in (
            stand.simulator.received[-1].body
        )
    everything = PASSED | REFUSED | DROPPED
    unknown = {"what_is_this": 1, "Temperature": 1, "x" * 1_000: 1}
    for name in (everything.keys() - table.keys()) | unknown.keys():
        answer = await stand.post(path, asked | {name: 1}, key)
        assert answer.json()["error"]["code"] == "unknown_field", name
        assert len(answer.text) < 2_000
    for unset in (None, False, [], {}, ""):
        more = dict.fromkeys(REFUSED.keys() & table.keys(), unset)
        assert await sent(stand, key, dialect, more) == {}
    await stand.check_books()


async def test_fields_with_values_that_are_refused(stand: Stand) -> None:
    """Tiers and answers that are not text cost otherwise."""
    key = await stand.customer()
    path, asked = INPUTS["chat"]
    for name, value in (
        *(
            ("service_tier", "flex"),
            ("service_tier", "priority"),
            ("modalities", ["text", "image"]),
        ),
        ("modalities", ["audio"]),
    ):
        answer = await stand.post(path, asked | {name: value}, key)
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("field_not_offered", name)
    for name in ("service_tier", "session_id", "prompt_cache_key", "modalities"):
        answer = await stand.post(path, asked | {name: 1}, key)
        assert answer.json()["error"]["code"] == "invalid_value"
    assert not stand.simulator.books.rows


async def test_what_is_sent_is_encoded_anew(stand: Stand) -> None:
    """White space and order of the top level are ours; values keep every digit; request headers
    of the customer never leave."""
    key = await stand.customer()
    raw = (
        b'{ "top_p" : 0.30000000000000001 ,\n"seed":9007199254740993, "model":"sandbox/small",'
        b' "messages":[ {"role":"user","content":"\\u00e9 [[tokens=2]]"} ] }'
    )
    headers = {
        "x-openrouter-metadata": "enabled",
        "x-session-id": "mine",
        "http-referer": "https://customer.example",
        "x-title": "Customer",
        "cookie": "a=b",
        "user-agent": "customer/1",
    }
    answer = await stand.post("/v1/chat/completions", raw, key, headers=headers)
    assert answer.status_code == 200
    received = stand.simulator.received[-1]
    assert b'"top_p":0.30000000000000001,' in received.body
    assert b'"seed":9007199254740993,' in received.body
    assert b'"messages":[ {"role":"user","content":"\\u00e9 [[tokens=2]]"} ]' in received.body
    sent_headers = {name.lower(): value for name, value in received.headers.items()}
    assert sent_headers.keys() == {
        *("host", "authorization", "content-type", "content-length", "accept-encoding", "accept"),
    }
    assert sent_headers["accept-encoding"] == "identity"
    assert key not in str(sent_headers)


async def test_the_user_sent_upstream_is_steady(stand: Stand) -> None:
    """The same account is always the same hash, another account another one, and neither is its
    public id."""
    users = []
    for email in ("ada@example.com", "ada@example.com", "bob@example.com"):
        key = await stand.customer(email)
        await stand.chat(key)
        users.append(json.loads(stand.simulator.received[-1].body)["user"])
    assert users[0] == users[1] != users[2]
    for account in stand.shop.core.live.accounts.values():
        assert account.public_id not in users
    await stand.check_books()


async def test_a_session_keeps_its_prefix_when_asked_again(stand: Stand) -> None:
    """The second call after a moved price is the first one at another price limit."""
    key = await stand.customer()
    stand.simulator.faults.add("404-constraint")
    path, asked = INPUTS["chat"]
    answer = await stand.post(path, asked | {"session_id": "mine", "n": 2}, key)
    assert answer.status_code == 200
    first, second = (json.loads(r.body) for r in stand.simulator.received if r.method == "POST")
    assert first.pop("provider") != second.pop("provider")
    assert first == second
    await stand.check_books()
