"""Keeping models and prices as the upstream lists them.

A list that cannot be true (empty, or most of what is on sale gone from it) is not believed: an
empty shop would refuse every customer, a shop of free models would hold nothing for what it sells.
Holds that are open keep the prices they were quoted with.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from reseller import admission
from reseller.catalogue import dearest_standard, model_from_entry
from reseller.core import Core
from reseller.db.sql import statement
from reseller.errors import ResellerError, UpstreamFault
from reseller.loading import load_catalogue
from reseller.money.rates import Rates
from reseller.units import picos_text
from reseller.upstream_api import UpstreamApi

log = logging.getLogger("reseller.sync")

_LIST_ENTRIES = statement("list_model_entries")
_SAVE_MODELS = statement("save_models")
_WITHDRAW_MODELS = statement("withdraw_models")
_SAVE_ENDPOINTS = statement("save_model_endpoints")
_SAVE_SETTING = statement("save_setting")
_FIND_SETTING = statement("find_setting")

SOURCE = "models_source"
_FIRST_PAGE = "models?output_modalities=all"
_MOST_PAGES = 50
_MOST_MODELS = 20_000
_LONGEST_NAME = 200
_MOST_ENTRY_BYTES = 200_000
_RISE_SHOWN_S = 86_400
_ENDPOINTS_FRESH_S = 60.0


class _Links(msgspec.Struct):
    next: str | None = None


class _Page(msgspec.Struct):
    """One page of the upstream's list; entries stay as they were written."""

    data: list[msgspec.Raw]
    links: _Links | None = None


class _Entry(msgspec.Struct):
    id: str
    pricing: msgspec.Raw = msgspec.Raw(b"null")


class _EndpointRow(msgspec.Struct):
    tag: str | None = None
    pricing: msgspec.Raw = msgspec.Raw(b"null")


class _EndpointList(msgspec.Struct):
    endpoints: list[_EndpointRow]


class _Endpoints(msgspec.Struct):
    data: _EndpointList


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_endpoints = msgspec.json.Decoder(_Endpoints).decode


@dataclass(frozen=True, slots=True)
class Stored:
    """A model as the database has it; `entry` is the upstream's JSON text."""

    entry: str
    is_withdrawn: bool


class ModelSync:
    """The `models` job, and endpoints of single models on demand."""

    def __init__(self, core: Core, http: httpx.AsyncClient) -> None:
        self._core = core
        self._api = UpstreamApi(http, core.config.upstream)
        self._etag = ""
        self._risen_at: float | None = None
        self._fetches: dict[str, tuple[float, asyncio.Task[Rates | None]]] = {}
        self.close_while_empty()

    def close_while_empty(self) -> None:
        """No paid requests while no model is known."""
        live = self._core.live
        if len(live.catalogue):
            live.admission.open(admission.CATALOGUE)
        else:
            live.admission.close(admission.CATALOGUE, "the upstream's models are not known yet")

    async def refresh(self) -> str:
        """Fetch the list, store what changed, sell by it. Raises UpstreamFault."""
        listed, etag = await self._fetch()
        if listed is None:
            return f"unchanged, {len(self._core.live.catalogue)} models"
        known = {
            row["name"]: Stored(row["entry"], row["withdrawn_at"] is not None)
            for row in await self._core.reader.rows(_LIST_ENTRIES)
        }
        changed = {name: text for name, text in listed.items() if known.get(name) != _as_is(text)}
        gone = [name for name, old in known.items() if name not in listed and not old.is_withdrawn]
        is_same_source = await self._is_same_source()
        if is_same_source or not listed:
            self._doubt(listed, changed)
        self._tell_rises(self._price_rises(changed) if is_same_source else [])
        if changed or gone or not is_same_source:
            await self._store(changed, gone)
            await load_catalogue(self._core.live, self._core.reader)
        self._etag = etag
        self.close_while_empty()
        count = len(self._core.live.catalogue)
        return f"{len(changed)} changed, {len(gone)} withdrawn, {count} models"

    async def fetch_endpoints(self, model_id: str) -> Rates | None:
        """What bounds a model's standard endpoints, asked of the upstream and stored.

        None where it could not be found out. Callers at the same time share one question, and
        an answer serves for a minute.
        """
        now = self._core.clock.monotonic()
        for name, (asked_at, task) in list(self._fetches.items()):
            if task.done() and now - asked_at > _ENDPOINTS_FRESH_S:
                del self._fetches[name]
        if model_id not in self._fetches:
            task = asyncio.create_task(self._fetch_endpoints(model_id), name="endpoints")
            self._fetches[model_id] = (now, task)
        return await asyncio.shield(self._fetches[model_id][1])

    async def _fetch(self) -> tuple[dict[str, str] | None, str]:
        """Every entry by name, pages joined, and the ETag; None where nothing changed since."""
        body, etag = await self._api.read(_FIRST_PAGE, etag=self._etag)
        if body is None:
            return None, etag
        listed: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = _read_page(body)
            listed.update(_entries(page.data))
            following = page.links.next if page.links else None
            if not following or not page.data or len(listed) > _MOST_MODELS:
                break
            # A list of several pages is asked for whole: the tag speaks of its first page only.
            etag = ""
            body, _ = await self._api.read(following)
            assert body is not None
        return listed, etag

    async def _is_same_source(self) -> bool:
        """Whether the stored models are this upstream's; another one may list quite others."""
        row = await self._core.reader.row(_FIND_SETTING, (SOURCE,))
        return row is not None and row["value"] == self._api.base_url

    def _doubt(self, listed: Mapping[str, str], changed: Mapping[str, str]) -> None:
        """Raise UpstreamFault if the list cannot be true."""
        models = self._core.live.catalogue.models
        sold = {name for name, model in models.items() if not model.rates.is_free}
        kept = {
            name
            for name in sold
            if name in listed and (name not in changed or _is_priced(changed[name]))
        }
        if not listed or len(kept) * 2 < len(sold):
            raise UpstreamFault(
                f"The upstream lists {len(listed)} models and has a price for {len(kept)} of "
                f"the {len(sold)} that are on sale. That is not believed; the shop sells by the "
                f"list it had."
            )

    def _price_rises(self, changed: Mapping[str, str]) -> list[str]:
        """What became dearer, in words an operator can read."""
        rises = []
        for name, text in changed.items():
            old = self._core.live.catalogue.models.get(name)
            new = model_from_entry(0, json.loads(text)) if old else None
            if old is not None and new is not None:
                rises += [f"{name}: {rise}" for rise in _rises(old.rates, new.rates)]
        return rises

    async def _store(self, changed: Mapping[str, str], gone: list[str]) -> None:
        now = self._core.clock.now_ms()
        rows = json.dumps([[name, text, now] for name, text in changed.items()])
        names = json.dumps(gone)
        source = (SOURCE, self._api.base_url, now)

        def work(db: sqlite3.Connection) -> None:
            db.execute(_SAVE_MODELS, (rows,))
            db.execute(_WITHDRAW_MODELS, (now, names))
            db.execute(_SAVE_SETTING, source)

        await self._core.journal.write(work)
        if gone:
            log.warning("withdrawn by the upstream: %s", ", ".join(gone[:20]))

    def _tell_rises(self, rises: list[str]) -> None:
        """An alarm that stands for a day after prices rose."""
        alarms, now = self._core.live.alarms, self._core.clock.monotonic()
        for rise in rises:
            log.warning("dearer upstream: %s", rise)
        if rises:
            self._risen_at = now
            more = f" and {len(rises) - 5} more" if len(rises) > 5 else ""
            alarms.tell("price_rise", "; ".join(rises[:5]) + more)
        elif self._risen_at is None or now - self._risen_at > _RISE_SHOWN_S:
            alarms.clear("price_rise")

    async def _fetch_endpoints(self, model_id: str) -> Rates | None:
        path = f"models/{quote(model_id, safe='/:~@')}/endpoints"
        try:
            body, _ = await self._api.read(path)
            rows = _endpoint_rows(body or b"")
        except (ResellerError, msgspec.DecodeError) as error:
            log.warning("endpoints of %s: %s", model_id, error)
            self._fetches.pop(model_id, None)
            return None
        rates = dearest_standard(rows)
        models = self._core.live.catalogue.models
        if (model := models.get(model_id)) is not None:
            models[model_id] = replace(model, endpoints=rates)
        text = json.dumps(rows)
        try:
            await self._core.journal.write(lambda db: db.execute(_SAVE_ENDPOINTS, (text, model_id)))
        except sqlite3.Error as error:
            log.warning("endpoints of %s were not stored: %s", model_id, error)
        return rates


def _read_page(body: bytes) -> _Page:
    try:
        return _decode_page(body)
    except msgspec.DecodeError as error:
        raise UpstreamFault(f"The upstream's list of models cannot be read: {error}") from error


def _entries(raw: Iterable[msgspec.Raw]) -> Iterable[tuple[str, str]]:
    """Name and text of each entry that can be kept; one that is malformed costs only itself."""
    for each in raw:
        try:
            entry = _decode_entry(each)
            known = _decode_fields(each)
            if "pricing" in known:
                known["pricing"] = msgspec.Raw(json.dumps(_exact(entry.pricing)).encode())
            text = msgspec.json.encode(known).decode()
        except (ValueError, RecursionError) as error:
            log.warning("an entry of the upstream's list cannot be read: %s", error)
            continue
        name = entry.id
        is_kept = len(name) <= _LONGEST_NAME and len(text) <= _MOST_ENTRY_BYTES
        if name and name.isprintable() and is_kept:
            yield name, text


def _exact(raw: msgspec.Raw) -> Any:
    """JSON whose fractions are kept as the text they were written in: money is never a float."""
    return json.loads(bytes(raw), parse_float=str)


def _endpoint_rows(body: bytes) -> list[dict[str, Any]]:
    return [
        {"tag": row.tag, "pricing": _exact(row.pricing)}
        for row in _decode_endpoints(body).data.endpoints
    ]


def _as_is(text: str) -> Stored:
    return Stored(text, is_withdrawn=False)


def _is_priced(entry: str) -> bool:
    """Whether a model could be sold for money by this entry."""
    model = model_from_entry(0, json.loads(entry))
    return model is not None and not model.rates.is_free


def _rises(old: Rates, new: Rates) -> Iterable[str]:
    for each in fields(Rates):
        before, after = getattr(old, each.name), getattr(new, each.name)
        if each.name == "tiers":
            if before != after:
                yield "its tiers changed"
        elif after > before:
            unit = "" if each.name.endswith("_picos") else " a million tokens"
            what = each.name.removesuffix("_picos").replace("_", " ")
            yield f"{what} {picos_text(before)} -> {picos_text(after)} USD{unit}"
