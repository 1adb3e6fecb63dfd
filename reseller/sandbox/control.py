"""The control interface under `/sim`: tests and demos steer the simulator by it from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from reseller.sandbox.costs import units, usd
from reseller.sandbox.faults import FAULTS
from reseller.sandbox.state import State
from reseller.sandbox.wire import Wire

Asking: TypeAlias = dict[str, Any]
Answer: TypeAlias = tuple[int, Any]


async def control(
    state: State, request: web.BaseRequest, wire: Wire, path: str
) -> web.StreamResponse:
    """Answer a request for a control route."""
    route = ROUTES.get((request.method, path))
    if route is None:
        status, answer = 404, {"error": "no such control route", "routes": route_list()}
    else:
        status, answer = await _call(state, request, route[0])
    return await wire.answer(status, msgspec.json.encode(answer))


def route_list() -> list[str]:
    """Every control route with what it does."""
    return [f"{method} {path}: {about}" for (method, path), (_, about) in ROUTES.items()]


async def _call(state: State, request: web.BaseRequest, route: Route) -> Answer:
    body = await request.read()
    try:
        asking = msgspec.json.decode(body) if body else dict(request.query)
    except msgspec.DecodeError as error:
        return 400, {"error": str(error)}
    if not isinstance(asking, dict):
        return 400, {"error": "an object is expected"}
    try:
        return await route(state, asking)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}


async def _behaviour(state: State, asking: Asking) -> Answer:
    return 200, asdict(state.behaviour)


async def _change_behaviour(state: State, asking: Asking) -> Answer:
    wrong = state.behaviour.change(asking)
    return (400, {"error": wrong}) if wrong else (200, asdict(state.behaviour))


async def _faults(state: State, asking: Asking) -> Answer:
    waiting = [
        {"name": q.fault.name, "left": q.left, "model": q.model, "marker": q.marker.decode()}
        for q in state.faults.waiting
    ]
    return 200, {"waiting": waiting, "known": {f.name: f.about for f in FAULTS.values()}}


async def _add_fault(state: State, asking: Asking) -> Answer:
    name = str(asking["name"])
    count = int(asking.get("count", 1))
    model, marker = str(asking.get("model", "")), str(asking.get("marker", ""))
    if count < 1 or not state.faults.add(name, count=count, model=model, marker=marker):
        return 400, {"error": f"unknown fault {name}, or a count below 1"}
    return 200, {"waiting": len(state.faults.waiting)}


async def _clear_faults(state: State, asking: Asking) -> Answer:
    state.faults.clear()
    return 200, {"waiting": 0}


async def _books(state: State, asking: Asking) -> Answer:
    last = int(asking.get("last", 10_000))
    rows = state.books.rows[-last:]
    return 200, {
        "count": state.books.count,
        "total": f"{state.books.total:f}",
        "credit": f"{usd(state.credit_units):f}",
        "balance": f"{usd(state.balance_units):f}",
        "rows": [row.row() for row in rows],
    }


async def _advance(state: State, asking: Asking) -> Answer:
    seconds = float(asking["advance_s"])
    if seconds < 0:
        return 400, {"error": "the clock only goes forward"}
    state.record_clock.advance(seconds)
    return 200, {"now_ms": state.record_clock.now_ms()}


async def _prices(state: State, asking: Asking) -> Answer:
    pricing = dict(asking["pricing"])
    for key, price in pricing.items():
        if key != "overrides":
            units(Decimal(price))
    provider = asking.get("provider")
    if not state.catalogue.set_price(str(asking["model"]), pricing, provider):
        return 404, {"error": "no such model"}
    return 200, {"model": asking["model"], "pricing": pricing}


async def _credit(state: State, asking: Asking) -> Answer:
    """`credit_usd` sets what was bought; `balance_usd` sets what is left."""
    if "balance_usd" in asking:
        state.credit_units = units(str(asking["balance_usd"])) + state.books.total_units
    else:
        state.credit_units = units(str(asking["credit_usd"]))
    return 200, {"balance": f"{usd(state.balance_units):f}"}


async def _release(state: State, asking: Asking) -> Answer:
    return 200, {"released": state.gate.release()}


async def _held(state: State, asking: Asking) -> Answer:
    return 200, {"held": state.gate.held.total(), "points": dict(state.gate.held)}


async def _requests(state: State, asking: Asking) -> Answer:
    last = int(asking.get("last", 50))
    rows = list(state.received)[-last:]
    return 200, {"rows": [row.row() for row in rows]}


async def _forget_requests(state: State, asking: Asking) -> Answer:
    state.received.clear()
    return 200, {"rows": []}


Route: TypeAlias = Callable[[State, Asking], Awaitable[Answer]]
ROUTES: dict[tuple[str, str], tuple[Route, str]] = {
    ("GET", "/sim/behaviour"): (_behaviour, "the defaults now"),
    ("PATCH", "/sim/behaviour"): (_change_behaviour, "change some of them"),
    ("GET", "/sim/faults"): (_faults, "faults that wait, and all that are known"),
    ("POST", "/sim/faults"): (_add_fault, "{name, count?, model?, marker?}: for the next requests"),
    ("DELETE", "/sim/faults"): (_clear_faults, "nothing waits any more"),
    ("GET", "/sim/books"): (_books, "?last=N: what was billed"),
    ("POST", "/sim/clock"): (_advance, "{advance_s}: the clock of records, prices and days"),
    ("POST", "/sim/prices"): (_prices, "{model, pricing, provider?}: change prices"),
    ("POST", "/sim/credit"): (_credit, "{credit_usd} or {balance_usd}"),
    ("POST", "/sim/release"): (_release, "let go every request that is held"),
    ("GET", "/sim/held"): (_held, "how many requests are held, and where"),
    ("GET", "/sim/requests"): (_requests, "?last=N: requests as they arrived"),
    ("DELETE", "/sim/requests"): (_forget_requests, "forget them"),
}
