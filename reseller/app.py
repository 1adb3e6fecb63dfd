"""The composition root: the only place that builds the shop and takes it apart again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvloop
from quart import Quart

from reseller import admission
from reseller.actions.ledger import verify_ledger
from reseller.actions.terms import are_accepted
from reseller.admin_socket import AdminSocket
from reseller.chores import Chores, build_chores
from reseller.clock import Clock
from reseller.config import Config
from reseller.core import Core, open_core
from reseller.db.connect import locked_folder
from reseller.demo import Demo, ensure_demo
from reseller.errors import ResellerError
from reseller.gateway.asgi import Gateway, is_gateway_path
from reseller.gateway.engine import Engine
from reseller.gateway.pending import PendingQueue
from reseller.gateway.settle import Settler
from reseller.gateway.upstream import Upstream
from reseller.ids import Ids
from reseller.jobs import Job
from reseller.live import Account
from reseller.log import configure_logging, flush_requests
from reseller.sandbox.upstream import UpstreamSimulator
from reseller.server import run_server
from reseller.units import usd_text
from reseller.web.app import build_web

log = logging.getLogger("reseller.app")

Announce = Callable[["Running"], None]
# How long one thread may keep the interpreter before the other gets it: the journal's thread
# wants it back a few times a commit, and the default of 5 ms would be felt in every request.
_SWITCH_S = 0.0005
_GC_ALLOCATIONS = 20_000


class TermsNotAccepted(ResellerError):
    """Live mode without the operator's confirmation."""

    default_code = "terms_not_accepted"


class Switch:
    """`/v1` goes to the gateway as plain ASGI, everything else to Quart.

    A Quart view costs about as much as the whole rest of a request.
    """

    def __init__(self, gateway: Gateway, pages: Callable[..., Awaitable[None]]) -> None:
        self._gateway = gateway
        self._pages = pages

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One request, or Quart's lifespan."""
        if scope["type"] == "http" and is_gateway_path(scope["path"]):
            await self._gateway(scope, receive, send)
        elif scope["type"] == "websocket":
            # There are none here; closed before it was accepted it is answered 403.
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._pages(scope, receive, send)


@dataclass(slots=True)
class Shop:
    """Everything that runs, for those who start it and for tests."""

    core: Core
    engine: Engine
    pending: PendingQueue
    chores: Chores
    web: Quart
    app: Switch
    simulator: UpstreamSimulator | None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def open_shop(
    config: Config, clock: Clock, ids: Ids, simulator: UpstreamSimulator | None = None
) -> AsyncIterator[Shop]:
    """The shop, running but not yet listening; on exit it drains, settles and closes in order.

    The caller holds the data folder's lock. In sandbox mode the upstream is simulated; tests may
    bring their own simulator, already started.
    """
    async with contextlib.AsyncExitStack() as stack:
        if config.mode == "sandbox":
            if simulator is None:
                simulator = await _start_simulator(config, clock, ids)
                stack.push_async_callback(simulator.stop)
            config = _pointed_at(config, simulator)
        core = await stack.enter_async_context(open_core(config, clock, ids))
        core.simulator_url = simulator.control_url if simulator is not None else ""
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30.0, trust_env=False))
        chores = build_chores(core, http, verify_ledger)
        upstream = Upstream(config.upstream, config.upstream.base_url)
        stack.push_async_callback(upstream.close)
        settler = Settler(core)
        pending = PendingQueue(core, settler, config.upstream.base_url, http)
        engine = Engine(core, upstream, settler, pending, chores.models.fetch_endpoints)
        web = build_web(core)
        shop = Shop(
            core, engine, pending, chores, web, Switch(Gateway(engine), web.asgi_app), simulator
        )
        web.asgi_app = shop.app  # type: ignore[method-assign, assignment]
        _wire(shop)
        if not core.live.catalogue:
            await chores.scheduler.run_now("models")
        await pending.start()
        core.is_serving = True
        await chores.scheduler.start()
        try:
            yield shop
        finally:
            await _wind_down(shop)


def _wire(shop: Shop) -> None:
    """Join what must hear of each other."""
    scheduler, live = shop.chores.scheduler, shop.core.live
    scheduler.add(Job("pending", 3_600.0, _hurry(shop.pending), at_start=False))
    shop.engine.on_upstream_trouble = lambda _: scheduler.run_soon("credits")

    def suspended(account: Account) -> None:
        shop.engine.suspend(account)

    live.on_suspend = suspended


def _hurry(pending: PendingQueue) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        waiting = len(pending.waiting)
        await pending.settle_now()
        return f"{waiting - len(pending.waiting)} settled, {len(pending.waiting)} wait"

    return run


async def _wind_down(shop: Shop) -> None:
    """No new requests, running ones get their time, then everything is written down."""
    shop.core.live.admission.close(admission.STOPPING, "the server stops")
    await shop.engine.drain(shop.core.config.server.drain_s)
    for task in shop.tasks:
        task.cancel()
    await shop.pending.stop()
    await shop.chores.scheduler.stop()
    await shop.core.journal.flushed()


async def _start_simulator(config: Config, clock: Clock, ids: Ids) -> UpstreamSimulator:
    simulator = UpstreamSimulator(clock, ids, credit_usd=usd_text(config.sandbox.credit_nanos))
    simulator.behaviour.latency_ms = config.sandbox.latency_ms
    simulator.behaviour.pace_ms = config.sandbox.pace_ms
    await simulator.start()
    return simulator


def _pointed_at(config: Config, simulator: UpstreamSimulator) -> Config:
    """The configuration with the simulator as its upstream, still in sandbox mode."""
    upstream = replace(
        config.upstream, base_url=simulator.base_url, api_key=simulator.api_key, management_key=""
    )
    return replace(config, upstream=upstream, sandbox=replace(config.sandbox, enabled=True))


@dataclass(frozen=True, slots=True)
class Running:
    """What a person needs to know once the shop takes requests."""

    url: str
    mode: str
    folder: Path
    models: int
    demo: Demo | None
    simulator_url: str


def serve(config: Config, *, announce: Announce) -> int:
    """Run the server until SIGINT or SIGTERM; returns the exit status.

    Raises FolderInUse, AddressInUse, WrongMode, SchemaTooNew, TermsNotAccepted before it listens.
    """
    configure_logging(config.log, sys.stderr)
    sys.setswitchinterval(_SWITCH_S)
    with locked_folder(config.data.dir), asyncio.Runner(loop_factory=uvloop.new_event_loop) as run:
        try:
            run.run(_serve(config, announce))
        finally:
            flush_requests()
    return 0


async def _serve(config: Config, announce: Announce) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with open_shop(config, Clock(), Ids()) as shop:
        await _check_terms(shop)
        demo = await ensure_demo(shop.core) if shop.simulator is not None else None
        async with AdminSocket(shop.core, shop.chores.scheduler):

            def listening(url: str) -> None:
                # What was built until now stays; requests leave few cycles, so look seldom.
                gc.collect()
                gc.freeze()
                gc.set_threshold(_GC_ALLOCATIONS, 20, 20)
                announce(_running(shop, url, demo))

            await run_server(shop.app, config, await _stopping(shop, stop), listening)


async def _stopping(shop: Shop, stop: asyncio.Event) -> asyncio.Event:
    """An event that follows `stop` once the running requests have had their time."""
    drained = asyncio.Event()

    async def drain() -> None:
        await stop.wait()
        shop.core.live.admission.close(admission.STOPPING, "the server stops")
        await shop.engine.drain(shop.core.config.server.drain_s)
        drained.set()

    shop.tasks.append(asyncio.get_running_loop().create_task(drain()))
    return drained


async def _check_terms(shop: Shop) -> None:
    """Live mode needs the operator's word on the upstream's and Stripe's terms."""
    if shop.core.config.mode == "live" and not await are_accepted(shop.core):
        raise TermsNotAccepted(
            "Live mode starts once you have confirmed that the upstream's and Stripe's terms "
            "allow your shop. Read them with `reseller terms show`, then run `reseller terms "
            "accept` (or set operator.terms_accepted = true)."
        )


def _running(shop: Shop, url: str, demo: Demo | None) -> Running:
    core = shop.core
    return Running(
        url=url,
        mode=core.config.mode,
        folder=core.config.data.dir.absolute(),
        models=len(core.live.catalogue.on_sale()),
        demo=demo,
        simulator_url=core.simulator_url,
    )
