"""The upstream's reading interface: catalogue, generation records, key, credits, activity."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from reseller.sandbox.books import exact
from reseller.sandbox.catalogue import FAULT_PREFIX, Catalogue, Model, fault_model
from reseller.sandbox.faults import FAULTS
from reseller.sandbox.refusals import USER_ID, error_body, fault_refusal
from reseller.sandbox.state import State
from reseller.sandbox.wire import Wire

_DAY_MS = 86_400_000
_CACHED = (
    b"Cache-Control: public, max-age=300, stale-while-revalidate=3600, stale-if-error=3600\r\n"
)
_ENDPOINTS = re.compile(r"/(?:images/)?models/([^/]+/[^/]+)/endpoints")
_MODEL = re.compile(r"/model/([^/]+/[^/]+)")
_HTML = b"<!doctype html><title>Sandbox edge</title>"
_SCOPES = {"/credits": "credits", "/key": "key", "/generation": "generation"}


async def read(state: State, request: web.BaseRequest, wire: Wire, path: str) -> web.StreamResponse:
    """Answer a GET under the upstream's base."""
    scope = "activity" if path == "/activity" else _SCOPES.get(path, "catalogue")
    fault = state.faults.take(scope)
    if fault is not None:
        if fault.hold_at and not await state.gate.hold(scope, wire):
            return wire.close()
        if fault.status:
            body, extra = fault_refusal("chat", fault, "")
            return await wire.answer(fault.status, body, extra=extra)
        if fault.body == "html":
            return await wire.answer(200, _HTML, "text/html")
    if scope == "catalogue":
        listing = _catalogue(state, request, path)
        if listing is None:
            return await _absent(wire, "Model not found")
        return await wire.answer(200, listing, extra=_CACHED)
    if not state.knows_key(request):
        body = error_body("chat", 401, "authentication", "No valid key was given")
        return await wire.answer(401, body)
    if path == "/generation":
        record = state.books.record(request.query.get("id", ""))
        if record is None:
            return await _absent(wire, "Generation not found")
        return await wire.answer(200, record)
    if path == "/activity":
        rows = state.books.activity(request.query.get("date", ""))
        return await wire.answer(200, msgspec.json.encode({"data": rows}))
    data = _credits(state) if path == "/credits" else _key(state)
    return await wire.answer(200, msgspec.json.encode({"data": data}))


async def _absent(wire: Wire, message: str) -> web.StreamResponse:
    return await wire.answer(404, error_body("chat", 404, "not_found", message))


def _catalogue(state: State, request: web.BaseRequest, path: str) -> bytes | None:
    if path == "/models":
        return _listing(state, request)
    if path == "/embeddings/models":
        rows = state.catalogue.rows("embeddings", [])
        return msgspec.json.encode({"data": rows})
    if path == "/images/models":
        return msgspec.json.encode({"data": _image_rows(state.catalogue)})
    if path == "/models/count":
        return msgspec.json.encode({"data": {"count": len(state.catalogue.models)}})
    match = _ENDPOINTS.fullmatch(path)
    if match:
        model = _find(state.catalogue, match[1])
        return msgspec.json.encode({"data": model.endpoint_rows()}) if model else None
    match = _MODEL.fullmatch(path)
    if match:
        model = _find(state.catalogue, match[1])
        return msgspec.json.encode({"data": model.row()}) if model else None
    return None


def _find(catalogue: Catalogue, name: str) -> Model | None:
    model = catalogue.find(name)
    if model is None:
        model = next((m for m in catalogue.models.values() if m.canonical_slug == name), None)
    return catalogue.concrete(model) if model and model.id.startswith("~") else model


def _listing(state: State, request: web.BaseRequest) -> bytes:
    query = request.query
    extra: list[Model] = []
    if state.behaviour.list_fault_models or query.get("faults") == "1":
        named = [name for name, fault in FAULTS.items() if fault.scope == "inference"]
        extra = [fault_model(FAULT_PREFIX + name) for name in named]
    rows = state.catalogue.rows(query.get("output_modalities", "text"), extra)
    total = len(rows)
    following = None
    if "offset" in query or "limit" in query:
        offset = _whole(query.get("offset"), 0)
        limit = min(_whole(query.get("limit"), 500), 1_000)
        rows = rows[offset : offset + limit]
        if offset + limit < total:
            following = f"/api/v1/models?offset={offset + limit}&limit={limit}"
    return msgspec.json.encode({"data": rows, "total_count": total, "links": {"next": following}})


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise


def _image_rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "id": model.id,
            "name": model.name,
            "created": model.row()["created"],
            "description": model.description,
            "architecture": {
                "input_modalities": list(model.inputs),
                "output_modalities": [model.output],
            },
            "supported_parameters": {"seed": {"type": "boolean"}},
            "supports_streaming": True,
            "endpoints": f"/api/v1/images/models/{model.id}/endpoints",
        }
        for model in catalogue.models.values()
        if model.output == "image"
    ]


def _credits(state: State) -> dict[str, Any]:
    return {
        "total_credits": exact(state.credit_units),
        "total_usage": exact(state.books.total_units),
    }


def _key(state: State) -> dict[str, Any]:
    now = state.record_clock.now_ms()
    today = now - now % _DAY_MS
    weekday = (now // _DAY_MS + 3) % 7
    usage = exact(state.books.total_units)
    own_key = exact(sum(b.inference_units for b in state.books.rows if b.is_byok))
    return {
        "label": "sk-or-sandbox...key",
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
        "usage": usage,
        "usage_daily": exact(state.books.used_since(today)),
        "usage_weekly": exact(state.books.used_since(today - weekday * _DAY_MS)),
        "usage_monthly": usage,
        "byok_usage": own_key,
        "byok_usage_daily": own_key,
        "byok_usage_weekly": own_key,
        "byok_usage_monthly": own_key,
        "is_free_tier": False,
        "is_management_key": False,
        "is_provisioning_key": False,
        "creator_user_id": USER_ID,
        "expires_at": None,
        "rate_limit": {"requests": -1, "interval": "10s", "note": "No longer in use."},
    }
