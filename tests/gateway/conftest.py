"""A whole shop on loopback for the gateway's tests: real server, real database, real upstream."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from reseller.actions.table import perform
from reseller.app import Shop, open_shop
from reseller.clock import ShiftedClock
from reseller.config import Config, load
from reseller.db.connect import locked_folder
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator
from reseller.server import run_server

LARGE = "sandbox/large"
SMALL = "sandbox/small"


def make_config(folder: Path, **flags: object) -> Config:
    """A configuration for tests: free port, quick polls, no noise."""
    values: dict[str, object] = {
        "data.dir": str(folder),
        "data.ballast_mb": 1,
        "server.listen": "127.0.0.1:0",
        "server.drain_s": 2,
        "sandbox.latency_ms": 0,
        "sandbox.pace_ms": 0,
        "limits.requests_per_minute": 100_000,
        "limits.requests_per_hour": 100_000,
        "limits.requests_per_day": 100_000,
        "limits.tokens_per_minute": 10**9,
    }
    values.update({name.replace("__", "."): value for name, value in flags.items()})
    return load(Path("/dev/null"), {}, values)


def true_picos(row: Any) -> int:
    """What a generation really cost: with an own provider key, the fee and the inference."""
    cost = row.cost + (row.upstream_inference_cost if row.is_byok else 0)
    return math.ceil(cost * 10**12)


@dataclass(slots=True)
class Stand:
    """A running shop with its address, and shortcuts for its customers."""

    shop: Shop
    url: str
    clock: ShiftedClock
    simulator: UpstreamSimulator
    http: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)
    clients: list[openai.AsyncOpenAI] = field(default_factory=list)

    def sdk(self, key: str, base: str = "/v1", **more: Any) -> openai.AsyncOpenAI:
        """A client of the OpenAI SDK, closed with the shop."""
        made = openai.AsyncOpenAI(api_key=key, base_url=self.url + base, **more)
        self.clients.append(made)
        return made

    async def close(self) -> None:
        """Close the SDK's clients."""
        await asyncio.gather(*(made.close() for made in self.clients))

    async def customer(
        self, email: str = "ada@example.com", credit: str | None = "10", **key: Any
    ) -> str:
        """A customer with credit; returns an API key."""
        core = self.shop.core
        if email not in self.keys:
            await perform(core, "customer.create", {"email": email})
            if credit is not None:
                await perform(
                    core, "credit.grant", {"email": email, "usd": credit, "reason": "test"}
                )
        made = await perform(core, "key.create", {"email": email, "name": "test", **key})
        self.keys[email] = made["key"]
        return str(made["key"])

    async def balance(self, email: str = "ada@example.com") -> dict[str, Any]:
        """What `customer show` says."""
        return await perform(self.shop.core, "customer.show", {"email": email})

    async def post(self, path: str, body: Any, key: str | None, **more: Any) -> httpx.Response:
        """One request to the API."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        headers.update(more.pop("headers", {}))
        content = {"content": body} if isinstance(body, (bytes, str)) else {"json": body}
        return await self.http.post(f"{self.url}{path}", headers=headers, **content, **more)

    async def chat(self, key: str | None, model: str = SMALL, **more: Any) -> httpx.Response:
        """One chat request."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
        return await self.post("/v1/chat/completions", body, key)

    async def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Rows of the database, everything queued being on disk first."""
        await self.shop.core.journal.flushed()
        return [dict(row) for row in await self.shop.core.reader.rows(query, parameters)]

    async def idle(self) -> None:
        """Wait until no request runs."""
        for _ in range(500):
            if not self.shop.engine.running:
                break
            await asyncio.sleep(0.01)
        await self.shop.core.journal.flushed()

    async def settled(self, rounds: int = 200) -> None:
        """Wait until nothing is pending, letting the simulator's records appear."""
        await self.idle()
        for _ in range(rounds):
            if not self.shop.pending.waiting:
                return
            self.simulator.record_clock.advance(5)
            await self.shop.pending.settle_now()
            await asyncio.sleep(0.01)
        raise AssertionError(f"still pending: {list(self.shop.pending.waiting)}")

    async def verify(self) -> None:
        """The books are right: `ledger verify`, no hold left, and billed = settled."""
        await self.idle()
        found = await perform(self.shop.core, "ledger.verify", {})
        assert found["ok"], found

    async def check_books(self) -> None:
        """Every generation the simulator billed is settled to the last pico."""
        await self.settled()
        await self.verify()
        billed = {row.id: true_picos(row) for row in self.simulator.books.rows}
        rows = await self.rows("select generation_id, cost_picos from usage_record")
        settled = {r["generation_id"]: r["cost_picos"] for r in rows if r["generation_id"]}
        for name, cost in billed.items():
            assert name in settled, f"{name} was billed and is not settled"
            assert settled[name] == cost, name
        assert await self.rows("select * from hold") == []


@contextlib.asynccontextmanager
async def running_shop(
    folder: Path,
    clock: ShiftedClock | None = None,
    upstream: UpstreamSimulator | None = None,
    **flags: object,
) -> AsyncIterator[Stand]:
    """A shop that listens on a free port of loopback; with an upstream of its own if none is
    given."""
    clock = clock or ShiftedClock()
    config = make_config(folder, **flags)
    async with contextlib.AsyncExitStack() as stack:
        simulator = upstream or UpstreamSimulator(clock, Ids(), list_fault_models=True)
        if upstream is None:
            stack.push_async_callback(simulator.stop)
            await simulator.start()
        stack.enter_context(locked_folder(config.data.dir))
        shop = await stack.enter_async_context(open_shop(config, clock, Ids(), simulator))
        url = await stack.enter_async_context(listening(shop, config))
        http = await stack.enter_async_context(client())
        stand = Stand(shop, url, clock, simulator, http)
        stack.push_async_callback(stand.close)
        yield stand


@contextlib.asynccontextmanager
async def listening(shop: Shop, config: Config) -> AsyncIterator[str]:
    """The shop's web server, until the block ends; gives its address."""
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = asyncio.create_task(run_server(shop.app, config, stop, address.set_result))
    await asyncio.wait({server, address}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield server.result() or "" if server.done() else address.result()
    finally:
        stop.set()
        await server


def client() -> httpx.AsyncClient:
    """An HTTP client that no environment changes."""
    return httpx.AsyncClient(timeout=30, trust_env=False)


@pytest.fixture(params=["hypercorn", "granian"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both web servers."""
    return str(request.param)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    """A running shop on the default server."""
    async with running_shop(tmp_path / "data") as found:
        yield found
