"""API keys: made, listed, changed, closed. The secret is answered once and never stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any

from reseller.actions import inputs
from reseller.actions.change import CONSOLE, Answer, caught_up, change, customer_row, whole
from reseller.core import Core
from reseller.db import keys as rows
from reseller.errors import Conflict, NotFound, Unprocessable
from reseller.ids import key_digest, visible_prefix
from reseller.limits import Limiter, Limits
from reseller.live import ApiKey, Network, parse_networks, parse_patterns
from reseller.loading import key_from_row
from reseller.money.spend import Period, period_start

MOST_KEYS = 500
_MOST_ENTRIES = 100


@whole
async def create_key(
    core: Core,
    *,
    email: str,
    name: str,
    limit_usd: str | None = None,
    period: str = "total",
    expires: str | None = None,
    models: Sequence[str] = (),
    addresses: Sequence[str] = (),
    requests_per_minute: int | None = None,
    requests_per_hour: int | None = None,
    requests_per_day: int | None = None,
    tokens_per_minute: int | None = None,
    concurrent_requests: int | None = None,
    actor: str = CONSOLE,
) -> Answer:
    """A key for the customer's account; `key` in the answer is all that will ever show it."""
    customer = await customer_row(core, email)
    now, secret = core.clock.now_ms(), core.ids.api_key()
    counted_by = _period(period)
    limits = _limits(
        requests_per_minute=requests_per_minute,
        requests_per_hour=requests_per_hour,
        requests_per_day=requests_per_day,
        tokens_per_minute=tokens_per_minute,
        concurrent_requests=concurrent_requests,
    )
    row = {
        "public_id": core.ids.new("key"),
        "account": customer["account"],
        "digest": key_digest(secret),
        "visible_prefix": visible_prefix(secret),
        "name": inputs.line(name, "name"),
        "created_at": now,
        "expires_at": None if expires is None else inputs.moment(expires, "expires", now),
        "limit_nanos": None if limit_usd is None else inputs.usd(limit_usd, "limit_usd"),
        "limit_period": counted_by.value,
        "period_start": period_start(counted_by, now),
        "models": _models(models),
        "addresses": _addresses(addresses),
        "spent_nanos": 0,
        "used_nanos": 0,
        "is_disabled": 0,
        **asdict(limits),
    }

    number = await change(
        core, actor, "key.create", row["public_id"], row["name"], lambda db: _insert(db, row)
    )
    key = key_from_row(core.live, row | {"id": number})
    core.live.add_key(key)
    shown = _shown(row | {"revoked_at": None, "last_used_at": None})
    return {"key": secret, **shown, "base_url": _base_url(core), "model": _example(core, key)}


def _insert(db: sqlite3.Connection, row: dict[str, Any]) -> int:
    if rows.count_usable(db, row["account"]) >= MOST_KEYS:
        raise Conflict(f"An account may have {MOST_KEYS} keys; revoke one first.")
    return rows.insert_key(db, row)


async def list_keys(core: Core, *, email: str, revoked: bool = False) -> Answer:
    """The customer's keys, revoked ones only if asked for."""
    customer = await customer_row(core, email)
    await caught_up(core)
    found = await rows.list_of_account(core.reader, customer["account"])
    return {
        "email": customer["email"],
        "keys": [_shown(row) for row in found if revoked or row["revoked_at"] is None],
    }


@whole
async def revoke_key(core: Core, *, key_id: str, actor: str = CONSOLE) -> Answer:
    """Close a key for good. Its running requests finish; a second time changes nothing."""
    row = await _found(core, key_id)
    now = core.clock.now_ms()
    is_new = await change(
        core,
        actor,
        "key.revoke",
        key_id,
        row["name"],
        lambda db: rows.revoke_key(db, row["id"], now),
    )
    if (key := core.live.keys_by_id.get(row["id"])) is not None:
        core.live.drop_key(key)
    return {"id": key_id, "name": row["name"], "revoked": True, "changed": is_new}


async def disable_key(core: Core, *, key_id: str, actor: str = CONSOLE) -> Answer:
    """Refuse a key's requests until it is enabled again."""
    return await _store(core, key_id, {"is_disabled": 1}, actor, "key.disable")


async def enable_key(core: Core, *, key_id: str, actor: str = CONSOLE) -> Answer:
    """Accept a disabled key again."""
    return await _store(core, key_id, {"is_disabled": 0}, actor, "key.enable")


async def set_key(
    core: Core,
    *,
    key_id: str,
    name: str | None = None,
    limit_usd: str | None = None,
    period: str | None = None,
    expires: str | None = None,
    models: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    requests_per_minute: int | None = None,
    requests_per_hour: int | None = None,
    requests_per_day: int | None = None,
    tokens_per_minute: int | None = None,
    concurrent_requests: int | None = None,
    actor: str = CONSOLE,
) -> Answer:
    """Change what is given. `none` (0 for a rate, an empty list) takes a bound away.

    Another `period` starts counting at nothing spent.
    """
    now = core.clock.now_ms()
    wanted: dict[str, Any] = {}
    if name is not None:
        wanted["name"] = inputs.line(name, "name")
    if limit_usd is not None:
        wanted["limit_nanos"] = None if limit_usd == "none" else inputs.usd(limit_usd, "limit_usd")
    if expires is not None:
        wanted["expires_at"] = None if expires == "none" else inputs.moment(expires, "expires", now)
    if models is not None:
        wanted["models"] = _models(models)
    if addresses is not None:
        wanted["addresses"] = _addresses(addresses)
    rates = {
        "requests_per_minute": requests_per_minute,
        "requests_per_hour": requests_per_hour,
        "requests_per_day": requests_per_day,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
    }
    for rate, bound in rates.items():
        if bound is not None:
            wanted[rate] = inputs.count(bound, rate, least=0) or None
    counted_by = None if period is None else _period(period)
    if not wanted and counted_by is None:
        raise Unprocessable("Nothing to change was given.")
    return await _store(core, key_id, wanted, actor, "key.set", counted_by)


@whole
async def _store(
    core: Core,
    key_id: str,
    wanted: dict[str, Any],
    actor: str,
    action: str,
    counted_by: Period | None = None,
) -> Answer:
    before = await _found(core, key_id)
    if before["revoked_at"] is not None:
        raise Conflict(f"The key {key_id} is revoked.", code="key_revoked")
    row = dict(before) | wanted
    key = core.live.keys_by_id[row["id"]]
    restart = counted_by if counted_by not in (None, Period(row["limit_period"])) else None
    started_at = period_start(restart, core.clock.now_ms()) if restart else 0

    def write(db: sqlite3.Connection) -> bool:
        if restart:
            rows.restart_period(db, row["id"], restart.value, started_at)
        return rows.update_key(db, row)

    # In step with the journal's queue: settlements before this one count in the old period, on
    # disk as in memory, and later ones in the new.
    was = (key.cap.period, key.cap.started_at, key.cap.spent_nanos)
    if restart:
        key.cap.period, key.cap.started_at, key.cap.spent_nanos = restart, started_at, 0
    changed = [*wanted, *(["limit_period"] if restart else [])]
    try:
        is_stored = await change(core, actor, action, key_id, ", ".join(changed), write)
    except BaseException:
        key.cap.period, key.cap.started_at, key.cap.spent_nanos = was
        raise
    if not is_stored:
        raise Conflict(f"The key {key_id} is revoked.", code="key_revoked")
    _apply(core, key, row)
    return _shown(await _found(core, key_id))


def _apply(core: Core, key: ApiKey, row: dict[str, Any]) -> None:
    """Bring a key in memory to what is stored; its cap and limiter keep what they counted."""
    key.name = row["name"]
    key.expires_at = row["expires_at"]
    key.is_disabled = bool(row["is_disabled"])
    key.models = parse_patterns(row["models"])
    key.networks = parse_networks(row["addresses"])
    key.cap.limit_nanos = row["limit_nanos"]
    limits = Limits(**{name: row[name] for name in Limits.__dataclass_fields__})
    if key.limiter is None:
        if limits != Limits():
            key.limiter = Limiter("key", limits, core.clock.monotonic())
    elif key.limiter.limits != limits:
        key.limiter.apply(limits, core.clock.monotonic())


def _base_url(core: Core) -> str:
    """Where the API is reached: as customers are told, else from this machine."""
    server = core.config.server
    host = "127.0.0.1" if server.host in ("", "0.0.0.0", "::") else server.host  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    return server.base_url.rstrip("/") or f"http://{shown}:{server.port}"


def _example(core: Core, key: ApiKey) -> str | None:
    """A cheap model that the key may use, for a first try."""
    usable = [
        model
        for model in core.live.catalogue.on_sale()
        if "text" in model.output_modalities
        and not core.live.prices.rule_for(key.account.id, model.canonical_id).block
        and (not key.models or any(fnmatchcase(model.canonical_id, p) for p in key.models))
    ]
    cheapest = min(usable, key=lambda model: (model.rates.completion, model.id), default=None)
    return None if cheapest is None else cheapest.id


async def _found(core: Core, key_id: str) -> sqlite3.Row:
    row = await rows.find_key(core.reader, key_id)
    if row is None:
        raise NotFound(f"There is no key {key_id!r:.60}.", code="no_such_key")
    return row


def _limits(**bounds: int | None) -> Limits:
    for name, bound in bounds.items():
        if bound is not None:
            inputs.count(bound, name)
    return Limits(**bounds)


def _period(text: str) -> Period:
    try:
        return Period(text)
    except ValueError:
        raise Unprocessable(
            f"period: {text!r:.40} is not one of {', '.join(Period)}.", param="period"
        ) from None


def _models(patterns: Sequence[str]) -> str | None:
    """A model allow-list in its stored form."""
    if len(patterns) > _MOST_ENTRIES:
        raise Unprocessable(f"models: at most {_MOST_ENTRIES} may be listed.", param="models")
    for pattern in patterns:
        if not pattern.isprintable() or not 0 < len(pattern) <= 200 or set(pattern) & set(", "):
            raise Unprocessable(
                f"models: {pattern!r:.80} is not a model or pattern such as openai/*.",
                param="models",
            )
    return ",".join(patterns) or None


def _addresses(networks: Sequence[str]) -> str | None:
    """An address allow-list in its stored form."""
    if len(networks) > _MOST_ENTRIES:
        raise Unprocessable(f"addresses: at most {_MOST_ENTRIES} may be listed.", param="addresses")
    parsed: list[Network] = []
    for network in networks:
        try:
            parsed += parse_networks(network.strip() or "-")
        except ValueError:
            raise Unprocessable(
                f"addresses: {network!r:.60} is not an address or network such as 10.0.0.0/8.",
                param="addresses",
            ) from None
    return ",".join(map(str, parsed)) or None


def _shown(row: Any) -> dict[str, Any]:
    """A key as it may be shown: everything but its digest."""
    return {
        "id": row["public_id"],
        "name": row["name"],
        "prefix": row["visible_prefix"],
        "state": _state(row),
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "last_used_at": row["last_used_at"],
        "limit_usd": inputs.optional_usd(row["limit_nanos"]),
        "period": row["limit_period"],
        "spent_usd": inputs.optional_usd(row["spent_nanos"]),
        "used_usd": inputs.optional_usd(row["used_nanos"]),
        "models": list(parse_patterns(row["models"])),
        "addresses": [str(network) for network in parse_networks(row["addresses"])],
        "limits": {name: row[name] for name in Limits.__dataclass_fields__},
    }


def _state(row: Any) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "disabled" if row["is_disabled"] else "active"
