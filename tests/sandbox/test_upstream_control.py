"""The control routes steer the simulator from outside."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from reseller.clock import Clock
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator
from tests.sandbox.asking import ask, body, parsed
from tests.sandbox.conftest import KEY


async def test_behaviour_changes_all_or_nothing(
    client: httpx.AsyncClient, sim: httpx.AsyncClient
) -> None:
    before = (await sim.get("/behaviour")).json()
    changed = await sim.patch("/behaviour", json={"answer_tokens": 4, "chunk_tokens": 2})
    assert changed.json() == before | {"answer_tokens": 4, "chunk_tokens": 2}
    assert len(parsed((await ask(client, stream=True)).text)) == 2 + 2
    for wrong in (
        {"no_such": 1},
        {"answer_tokens": "4"},
        {"answer_tokens": 9, "usage_chunk_shape": "round"},
        {"chunk_tokens": 0},
    ):
        assert (await sim.patch("/behaviour", json=wrong)).status_code == 400
    assert (await sim.get("/behaviour")).json()["answer_tokens"] == 4


async def test_the_books_are_told_exactly(
    client: httpx.AsyncClient, sim: httpx.AsyncClient
) -> None:
    await ask(client, "sandbox/small", "Hi [[mark=m1]]", user="u1")
    await ask(client)
    told = (await sim.get("/books")).json()
    assert told["count"] == 2
    assert told["rows"][0]["marker"] == "m1"
    assert told["rows"][0]["external_user"] == "u1"
    assert told["rows"][0]["cost"] == "0.0000126583333333333329"
    assert told["total"] == "0.0002776583333333333329"
    assert told["balance"] == "999.9997223416666666666671"
    assert len((await sim.get("/books?last=1")).json()["rows"]) == 1


async def test_prices_change_at_run_time(client: httpx.AsyncClient, sim: httpx.AsyncClient) -> None:
    before = (await ask(client)).json()["usage"]["cost"]
    changed = {"model": "sandbox/large", "pricing": {"prompt": "0.00001", "completion": "0.00005"}}
    assert (await sim.post("/prices", json=changed)).status_code == 200
    assert (await ask(client)).json()["usage"]["cost"] == pytest.approx(4 * before)
    listed = (await client.get("/model/sandbox/large")).json()["data"]["pricing"]["prompt"]
    assert listed == "0.00001"
    only = changed | {"provider": "Together", "pricing": {"prompt": "0", "completion": "0"}}
    await sim.post("/prices", json=only)
    assert (await ask(client)).json()["provider"] == "Together"
    assert (await sim.post("/prices", json=changed | {"model": "x/y"})).status_code == 404
    wrong = changed | {"pricing": {"prompt": "cheap"}}
    assert (await sim.post("/prices", json=wrong)).status_code == 400


async def test_requests_are_remembered_as_they_came(
    client: httpx.AsyncClient, sim: httpx.AsyncClient
) -> None:
    await client.post("/chat/completions", json=body(), headers={"X-Odd": "yes"})
    await client.get("/models?limit=1")
    rows = (await sim.get("/requests")).json()["rows"]
    assert [row["path"] for row in rows] == ["/api/v1/chat/completions", "/api/v1/models?limit=1"]
    assert ["X-Odd", "yes"] in rows[0]["headers"]
    assert '"Hello there"' in rows[0]["body"]
    await sim.delete("/requests")
    assert (await sim.get("/requests")).json()["rows"] == []


async def test_held_requests_are_seen_and_released(
    client: httpx.AsyncClient, sim: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    asked = [ask(client, "sandbox/fault-bill-then-wait-before-headers") for _ in range(2)]
    tasks = [asyncio.create_task(one) for one in asked]
    await upstream.gate.wait_held(2)
    assert (await sim.get("/held")).json() == {"held": 2, "points": {"billed": 2}}
    assert (await sim.get("/books")).json()["count"] == 2
    assert (await sim.post("/release")).json() == {"released": 2}
    assert {(await task).status_code for task in tasks} == {200}
    assert (await sim.get("/held")).json()["held"] == 0


async def test_the_clock_and_mistaken_calls(sim: httpx.AsyncClient) -> None:
    now = (await sim.post("/clock", json={"advance_s": 3600})).json()["now_ms"]
    later = (await sim.post("/clock", json={"advance_s": 0.5})).json()["now_ms"]
    assert 500 <= later - now < 5_000
    assert (await sim.post("/clock", json={"advance_s": -1})).status_code == 400
    assert (await sim.post("/clock", content=b"{")).status_code == 400
    assert (await sim.post("/clock", json=[1])).status_code == 400
    assert (await sim.post("/credit", json={})).status_code == 400
    unknown = await sim.get("/nothing")
    assert unknown.status_code == 404
    assert any(line.startswith("POST /sim/faults") for line in unknown.json()["routes"])


async def test_fault_models_may_be_listed_always(clock: Clock, ids: Ids) -> None:
    simulator = UpstreamSimulator(clock, ids, api_key="sk-other", list_fault_models=True)
    base_url = await simulator.start()
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        rows = (await client.get("/models")).json()["data"]
        assert (await ask(client)).status_code == 401
        client.headers["Authorization"] = "Bearer sk-other"
        assert (await ask(client)).status_code == 200
    await simulator.stop()
    await simulator.stop()
    assert any(row["id"] == "sandbox/fault-529" for row in rows)
    assert simulator.api_key != KEY
