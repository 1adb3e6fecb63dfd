"""What a customer may send wrongly: answered in one shape, never charged, held or counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from reseller.actions.table import perform
from reseller.ids import Ids
from tests.gateway.asking import (
    RawConnection,
    ask,
    body,
    connection,
    is_whole_error,
    request_bytes,
)
from tests.gateway.conftest import LARGE, SMALL, Stand, running_shop

CHAT = "/v1/chat/completions"
VISION = "sandbox/vision"
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 40_000


async def refused(
    stand: Stand, key: str | None, asked: Any, status: int, code: str, param: str | None = None
) -> httpx.Response:
    """Assert that this is refused so, in OpenAI's shape, without a retry."""
    answer = await stand.post(CHAT, asked, key)
    error = answer.json()["error"]
    shown = asked if isinstance(asked, (bytes, str)) else json.dumps(asked)
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), (
        shown[:200],
        answer.text,
    )
    assert is_whole_error(answer)
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["content-type"] == "application/json"
    return answer


async def untouched(stand: Stand) -> None:
    """Nothing was sent, charged, held or counted."""
    assert not [r for r in stand.simulator.received if r.method == "POST"]
    assert await stand.rows("select * from hold") == []
    assert await stand.rows("select * from usage_record") == []
    for account in stand.shop.core.live.accounts.values():
        assert account.limiter.running == 0
        assert all(bucket.level == bucket.capacity for bucket in account.limiter.requests)
        assert account.balance.held_nanos == account.daily.held_nanos == 0
    assert stand.shop.engine.bodies.in_flight_bytes == 0
    await stand.verify()


async def test_keys_that_open_nothing(stand: Stand) -> None:
    """No key, a wrong one, somebody else's kind, a revoked, expired or disabled one: 401."""
    good = await stand.customer()
    expiring = await stand.customer(expires="2099-01-01")
    await refused(stand, None, body(), 401, "missing_api_key")
    shapes = (Ids().api_key(), "sk-rs-short", "sk-or-v1-" + "0" * 64, good[:-1], good + "x", "é")
    for wrong in (*shapes, good.swapcase()):
        headers = {"authorization": f"Bearer {wrong}".encode()}
        answer = await stand.post(CHAT, body(), None, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert wrong not in answer.text
    core = stand.shop.core
    for action, code in (("key.disable", "key_disabled"), ("key.revoke", "invalid_api_key")):
        key = await stand.customer()
        number = list(core.live.keys_by_id.values())[-1].public_id
        await perform(core, action, {"key_id": number})
        await refused(stand, key, body(), 401, code)
    for known in core.live.keys_by_id.values():
        if known.expires_at is not None:
            known.expires_at = core.clock.now_ms()
    await refused(stand, expiring, body(), 401, "key_expired")
    for path in ("/v1/models", "/v1/embeddings", "/v1/completions"):
        answer = await stand.http.request(
            "GET" if path.endswith("models") else "POST",
            stand.url + path,
            headers={"authorization": "Bearer sk-rs-wrong"},
        )
        assert answer.status_code == 401
    await untouched(stand)


async def test_a_key_may_come_as_x_api_key(stand: Stand) -> None:
    """Older Anthropic clients send it so; the bearer form wins."""
    key = await stand.customer()
    answer = await stand.post(CHAT, body(), None, headers={"x-api-key": key})
    assert answer.status_code == 200
    both = {"x-api-key": "sk-rs-wrong", "authorization": f"bearer   {key}"}
    assert (await stand.post(CHAT, body(), None, headers=both)).status_code == 200
    await stand.check_books()


async def test_address_allow_list(tmp_path: Path) -> None:
    """A key bound to addresses works from them alone; X-Forwarded-For counts only behind a
    configured proxy, read from its right end."""
    forwarded = {"x-forwarded-for": "10.1.2.3"}
    async with running_shop(tmp_path / "plain") as stand:
        key = await stand.customer(addresses=["10.0.0.0/8", "2001:db8::/32"])
        await refused(stand, key, body(), 403, "address_not_allowed")
        answer = await stand.post(CHAT, body(), key, headers=forwarded)
        assert answer.status_code == 403
        own = await stand.customer(addresses=["127.0.0.1"])
        assert (await stand.chat(own)).status_code == 200
    async with running_shop(tmp_path / "behind", server__trusted_proxies="127.0.0.0/8") as stand:
        key = await stand.customer(addresses=["10.0.0.0/8"])
        for value, status in (
            ("10.1.2.3", 200),
            ("9.9.9.9, 10.1.2.3", 200),
            ("10.1.2.3, 127.0.0.5", 200),
            ("10.1.2.3, 9.9.9.9", 403),
            ("::ffff:10.1.2.3", 200),
            ("nonsense", 403),
            ("", 403),
        ):
            answer = await stand.post(CHAT, body(), key, headers={"x-forwarded-for": value})
            assert answer.status_code == status, value
        assert (await stand.post(CHAT, body(), key)).status_code == 403
        await stand.check_books()


NOT_AN_OBJECT = ("", "{", "[]", "null", '"text"', "1", "{'model':1}", "{} {}", '{"a":}', "\ufeff{}")


async def test_bodies_that_are_no_request(stand: Stand) -> None:
    """Not JSON, not an object, not UTF-8, nested too deeply: 400 that says which."""
    key = await stand.customer()
    for raw in NOT_AN_OBJECT:
        await refused(stand, key, raw.encode(), 400, "invalid_json")
    await refused(stand, key, b'{"model": "\xff"}', 400, "invalid_utf8")
    await refused(stand, key, b'{"model": "\\ud800"}', 400, "invalid_json")
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = opening * 100_000 + b"1" + closing * 100_000
        await refused(stand, key, b'{"temperature":' + deep + b"}", 400, "too_deep")
        nested = b'{"model":"%b","messages":[{"role":"user","content":%b}]}'
        await refused(stand, key, nested % (SMALL.encode(), deep), 400, "too_deep")
        for levels in (300, 700, 900):
            deep = opening * levels + b'{"image_url":"x"}' + closing * levels
            answer = await stand.post(CHAT, nested % (SMALL.encode(), deep), key)
            assert answer.status_code == 400, (levels, answer.text)
    await untouched(stand)


DUPLICATES = (
    b'{"model":"a","model":"b"}',
    b'{"model":"a","model":"a"}',
    b'{\n  "model": "a",\n  "model": "a"\n}',
    b'{"model":"a","mod\\u0065l":"b"}',
    b'{"\\u006dodel":"a", "model":"b"}',
    b'{"max_tokens":1,"max_tokens":12}',
    b'{"max_tokens":12,"max_tokens":1}',
    b'{"max_tokens": 1 ,"stream":true, "max_tokens": 1}',
    b'{"stream":true,"max_tokens":"12","max_tokens":"1"}',
    b'{"a":{"b":1},"c":2,"a":{"b":1}}',
    b'{"a":"}","a":"}"}',
    b'{"a":"\\"","b":"\\\\","a":"\\""}',
    '{"é":1,"é":2}'.encode(),
)
NO_DUPLICATES = (
    b'{"temperature":1,"top_p":1}',
    b'{ "temperature" : 1 , "metadata" : {"model":1,"model":1} }',
    b'{"stop":"a","seed":1, "metadata":{"a":"\\"seed\\":"}}',
    b'{"\\u0073eed":1}',
    b'{"seed":1,"top_k":12,"top_p":0.1 }',
)


async def test_a_field_may_stand_once(stand: Stand) -> None:
    """Duplicate top-level fields are refused by name, however they are spelled and spaced;
    nested ones are the value's own business."""
    key = await stand.customer()
    for raw in DUPLICATES:
        answer = await stand.post(CHAT, raw, key)
        assert answer.json()["error"]["code"] == "duplicate_field", raw
    await refused(stand, key, DUPLICATES[0], 400, "duplicate_field", "model")
    await untouched(stand)
    more = b',"model":"%b","messages":[{"role":"user","content":"x"}]}' % SMALL.encode()
    for raw in NO_DUPLICATES:
        answer = await stand.post(CHAT, raw.rstrip()[:-1] + more, key)
        assert answer.status_code == 200, (raw, answer.text)
    await stand.check_books()


async def test_bodies_too_large(tmp_path: Path) -> None:
    """Refused at the declared length before a byte is read, or where the limit is passed; all
    bodies together have a bound too."""
    flags: dict[str, Any] = {"server__body_limit_mb": 1, "server__bodies_in_flight_mb": 1}
    async with running_shop(tmp_path / "data", **flags) as stand:
        key = await stand.customer()
        await refused(stand, key, b" " * 1_100_000, 413, "request_too_large")
        large = b" " * 20_000_000
        for who, status in ((key, 413), ("sk-rs-wrong", 401)):
            # The answer is not lost with the connection, although nobody wants the body.
            assert (await stand.post(CHAT, large, who)).status_code == status
        async with connection(stand) as wire:
            await wire.send(chunked_head(key))
            for _ in range(18):
                await wire.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            assert (await wire.head())[0] == 413
        async with connection(stand) as wire:
            half = request_bytes(key, b" " * 700_000)
            await wire.send(half[:-10])
            while not stand.shop.engine.bodies.in_flight_bytes:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            busy = await stand.post(CHAT, b" " * 700_000, key)
            assert busy.status_code == 503
            assert busy.headers["x-should-retry"] == "true"
        while stand.shop.engine.bodies.in_flight_bytes:
            await asyncio.sleep(0.005)
        await untouched(stand)


def chunked_head(key: str) -> bytes:
    """The head of a request whose length is not declared."""
    whole = request_bytes(key, b"")
    return whole.replace(b"content-length: 0", b"transfer-encoding: chunked")


async def test_bodies_too_slow(tmp_path: Path, engine: str) -> None:
    """A body that never ends, or comes by the byte, is 408 after a while; a slow but steady one
    is taken."""
    flags = {
        "server__engine": engine,
        "server__body_timeout_s": 0.2,
        "server__body_min_bytes_per_s": 10_000,
    }
    async with running_shop(tmp_path / "data", **flags) as stand:
        key = await stand.customer()
        for head in (chunked_head(key), request_bytes(key, b"").replace(b": 0", b": 5000")):
            async with connection(stand) as wire:
                await wire.send(head)
                await dripped(wire, head)
                status, headers = await wire.head()
                assert (status, headers["x-should-retry"]) == (408, "false")
        await untouched(stand)
        content = json.dumps(body(text="x" * 6_000)).encode()
        async with connection(stand) as wire:
            whole = request_bytes(key, content)
            for start in range(0, len(whole), 500):
                await wire.send(whole[start : start + 500])
                await asyncio.sleep(0.03)
            assert (await wire.head())[0] == 200
        await stand.check_books()


async def dripped(wire: RawConnection, head: bytes) -> None:
    """A few bytes of a body, slowly."""
    for _ in range(4):
        await wire.send(b"1\r\n{\r\n" if b"chunked" in head else b"{")
        await asyncio.sleep(0.03)


async def test_models_that_are_not_offered(stand: Stand) -> None:
    """Unknown: 404. Variants that cost otherwise, presets, routers, blocked ones: refused with a
    reason; the kind of endpoint must fit too."""
    key = await stand.customer()
    await refused(stand, key, body("no/such"), 404, "model_not_found", "model")
    await refused(stand, key, body("sandbox/auto"), 404, "model_not_found", "model")
    await refused(stand, key, body("sandbox/mini-free:free"), 404, "model_not_found", "model")
    for variant in ("batch", "online", "nitro", "floor", "exacto"):
        wanted = f"{SMALL}:{variant}"
        answer = await refused(stand, key, body(wanted), 403, "model_not_allowed", "model")
        assert f"Use '{SMALL}'" in answer.json()["error"]["message"]
    for preset in ("@preset/mine", f"{SMALL}@preset/mine"):
        answer = await stand.post(CHAT, body(preset), key)
        assert answer.json()["error"]["code"] == "model_not_allowed"
    await refused(stand, key, body("sandbox/embed"), 400, "wrong_endpoint", "model")
    for wrong in ("", None):
        await refused(stand, key, body(wrong), 400, "missing_field", "model")
    for wrong in (1, ["a"], {"a": 1}, True):
        await refused(stand, key, body(wrong), 400, "invalid_value", "model")
    await untouched(stand)


async def test_caps_and_counts(stand: Stand) -> None:
    """`max_tokens` and `n` are whole numbers in their range, or refused by name; a huge cap is
    what the model can do."""
    key = await stand.customer()
    for name in ("max_tokens", "max_completion_tokens", "n"):
        for wrong in (-1, 0, -(10**30), "5", 5.5, True, [1], {}):
            await refused(stand, key, body(**{name: wrong}), 400, "invalid_value", name)
    for wrong in (9, 10**20):
        await refused(stand, key, body(n=wrong), 400, "invalid_value", "n")
    digits = b'{"max_tokens":%b}' % (b"9" * 10_000)
    assert (await stand.post(CHAT, digits, key)).status_code == 400
    for wrong in ("yes", 1, "true"):
        await refused(stand, key, body(stream=wrong), 400, "invalid_value", "stream")
    await untouched(stand)
    for cap in (10**9, 10**18):
        assert (await stand.chat(key, max_tokens=cap)).status_code == 200
        assert b'"max_tokens":16384' in stand.simulator.received[-1].body
    await stand.chat(key, max_tokens=300, max_completion_tokens=200)
    assert b'"max_tokens":200' in stand.simulator.received[-1].body
    assert (await stand.chat(key, max_tokens=None, n=None, stream=None)).status_code == 200
    two = await stand.chat(key, n=2)
    assert len(two.json()["choices"]) == 2
    await stand.check_books()


async def test_messages_that_are_none(stand: Stand) -> None:
    """Missing, empty, not a list, not messages, too many."""
    key = await stand.customer()
    await refused(stand, key, {"model": SMALL}, 400, "missing_field", "messages")
    for wrong in ([], None):
        asked = {"model": SMALL, "messages": wrong}
        await refused(stand, key, asked, 400, "missing_field", "messages")
    for wrong in ("hi", {"role": "user"}, [1], ["hi"], [{"content": "hi"}], [{"role": 1}]):
        asked = {"model": SMALL, "messages": wrong}
        await refused(stand, key, asked, 400, "invalid_value", "messages")
    asked = {"model": SMALL, "messages": ask() * 10_001}
    await refused(stand, key, asked, 400, "invalid_request", "messages")
    await untouched(stand)


async def test_other_endpoints_check_their_input(stand: Stand) -> None:
    """Prompts and inputs: missing, empty, of the wrong kind, too many; no stream of vectors."""
    key = await stand.customer()
    for path, name, model in (
        ("/v1/completions", "prompt", SMALL),
        ("/v1/embeddings", "input", "sandbox/embed"),
    ):
        for wrong, code in (
            *(("", "missing_field"), ([], "missing_field"), (None, "missing_field")),
            *((1, "invalid_value"), ({"a": 1}, "invalid_value"), ([{"a": 1}], "invalid_value")),
            (["x"] * 5_000, "invalid_request"),
        ):
            answer = await stand.post(path, {"model": model, name: wrong}, key)
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert (error["code"], error["param"]) == (code, name), (path, wrong)
        answer = await stand.post(path, {"model": model, "messages": ask()}, key)
        assert answer.json()["error"]["param"] == "messages"
    streamed = {"model": "sandbox/embed", "input": "x", "stream": True}
    assert (await stand.post("/v1/embeddings", streamed, key)).status_code == 400
    wrong_kind = {"model": SMALL, "input": "x"}
    answer = await stand.post("/v1/embeddings", wrong_kind, key)
    assert answer.json()["error"]["code"] == "wrong_endpoint"
    await untouched(stand)


def parts(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """A message with text and other parts."""
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, *more]}]


async def test_pictures_are_held_by_allowance(stand: Stand) -> None:
    """A picture of 440 KB holds its allowance, not its base64; models that see nothing refuse."""
    key = await stand.customer()
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    asked = {"model": SMALL, "messages": parts(picture)}
    await refused(stand, key, asked, 400, "media_not_supported", "messages")
    await untouched(stand)
    stand.simulator.faults.add("hang-before-headers")
    asked = {"model": LARGE, "messages": parts(picture, picture), "max_tokens": 100}
    waiting = asyncio.create_task(stand.post(CHAT, asked, key))
    await stand.simulator.gate.wait_held()
    (call,) = stand.shop.engine.running.values()
    assert 2 * 4_096 < call.ask.prompt_tokens < 2 * 4_096 + 300
    stand.simulator.gate.release()
    assert (await waiting).status_code == 200
    await stand.check_books()


async def test_files_videos_and_their_disguises(stand: Stand) -> None:
    """What cannot be priced in advance is refused, however its name is spelled."""
    key = await stand.customer()
    for part in (
        {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "input_file", "input_file": {"url": "https://example.com/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "video", "source": {"type": "url", "url": "https://example.com/a.mp4"}},
    ):
        asked = {"model": VISION, "messages": parts(part)}
        await refused(stand, key, asked, 400, "media_not_offered", "messages")
    spelled = json.dumps({"model": VISION, "messages": parts({"type": "file", "file": {}})})
    for plain, escaped in (('"file":', '"\\u0066ile":'), ('"file":', '"fi\\u006ce":')):
        raw = spelled.replace(plain, escaped)
        await refused(stand, key, raw.encode(), 400, "media_not_offered", "messages")
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    asked = {"model": VISION, "messages": parts(audio)}
    await refused(stand, key, asked, 400, "media_not_supported", "messages")
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    asked = {"model": SMALL, "messages": parts(picture)}
    await refused(stand, key, asked, 400, "media_not_supported", "messages")
    await untouched(stand)


async def test_server_tools_are_refused(stand: Stand) -> None:
    """Only function tools: others run at the provider and are billed apart."""
    key = await stand.customer()
    for tool in ("openrouter:web_search", "web_search_preview", "image_generation", ""):
        asked = body(tools=[{"type": tool}])
        await refused(stand, key, asked, 400, "field_not_offered", "tools")
    raw = json.dumps(body(tools=[{"type": "openrouter:web_search"}])).encode()
    disguised = raw.replace(b'"type"', b'"ty\\u0070e"')
    await refused(stand, key, disguised, 400, "field_not_offered", "tools")
    await refused(stand, key, body(tools=[{}] * 513), 400, "invalid_request", "tools")
    for wrong in ("x", {}, [1]):
        await refused(stand, key, body(tools=wrong), 400, "invalid_value", "tools")
    await untouched(stand)


async def test_header_injection_is_impossible(stand: Stand) -> None:
    """Nothing of the request stands in a header of the answer, line breaks least of all."""
    key = await stand.customer()
    evil = "x\r\nset-cookie: a=b"
    for asked in (body(evil), body(**{evil: 1}), body(service_tier=evil), {"model": evil}):
        answer = await stand.post(CHAT, asked, key)
        assert answer.status_code in (400, 404)
        assert "set-cookie" not in answer.headers
        assert "\r" not in answer.text
    answer = await stand.http.get(f"{stand.url}/v1/x%0d%0aset-cookie:a=b")
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers
    async with connection(stand) as wire:
        await wire.send(request_bytes(key + "\r\n evil: 1", b"{}"))
        assert (await wire.head())[0] in (400, 401)
    await untouched(stand)
