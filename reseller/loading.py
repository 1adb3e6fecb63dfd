"""Building `Live` from the database: at start, and again for the parts that were changed."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from reseller import admission
from reseller.catalogue import Catalogue, Model, model_from_entry
from reseller.config import Config
from reseller.db.connect import Reader
from reseller.db.sql import statement
from reseller.limits import Limiter, Limits
from reseller.live import Account, ApiKey, Live, key_cap, parse_networks, parse_patterns
from reseller.money.pricing import PriceRule
from reseller.money.spend import Period, SpendCap

_LIST_ACCOUNTS = statement("list_accounts")
_LIST_KEYS = statement("list_keys")
_LIST_RULES = statement("list_price_rules")
_LIST_MODELS = statement("list_models")
_LIST_SETTINGS = statement("list_settings")
_LIST_LEVELS = statement("list_bucket_levels")
_NEWEST_TIME = statement("newest_time")
DEFAULT_KEYS = ("pricing.markup", "pricing.fixed_usd", "pricing.minimum_usd")


async def load(live: Live, reader: Reader) -> None:
    """Fill an empty Live with everything the hot path needs."""
    for row in await reader.rows(_LIST_ACCOUNTS):
        live.add_account(account_from_row(live, row))
    for row in await reader.rows(_LIST_KEYS):
        live.add_key(key_from_row(live, row))
    await load_rules(live, reader)
    await load_catalogue(live, reader)
    await _restore_levels(live, reader)
    settings = {row["name"]: row["value"] for row in await reader.rows(_LIST_SETTINGS)}
    if settings.get("admission") == "off":
        live.admission.close(admission.OPERATOR, "switched off by the operator")
    newest = await reader.row(_NEWEST_TIME)
    if newest is not None and newest["newest"] > live.clock.now_ms() + 60_000:
        live.alarms.tell("clock", "The wall clock is earlier than the newest stored row.")


async def load_rules(live: Live, reader: Reader) -> None:
    """Read the price rules again. A default in the configuration beats a stored one."""
    rules = [rule_from_row(row) for row in await reader.rows(_LIST_RULES)]
    if locking_key(live.config) is not None:
        rules = [rule for rule in rules if rule.pattern != "*" or rule.account is not None]
    live.replace_rules(rules)


def locking_key(config: Config) -> str | None:
    """The configuration key that sets the price of `*` for everyone, if one does."""
    return next((key for key in DEFAULT_KEYS if config.is_locked(key)), None)


async def load_catalogue(live: Live, reader: Reader) -> None:
    """Read the models again; holds that are open keep what they were quoted."""
    models = [m for row in await reader.rows(_LIST_MODELS) if (m := _model(row)) is not None]
    live.catalogue = Catalogue(models, show_free=live.config.pricing.show_free)


def account_from_row(live: Live, row: sqlite3.Row | dict[str, Any]) -> Account:
    """An account in memory, its balance entered into the wallet."""
    own = _limits(row)
    limits = live.effective_limits(own, row["created_at"])
    balance = live.wallet.add_account(row["id"], row["balance_nanos"], row["used_nanos"])
    daily_limit = live.daily_limit(row["daily_limit_nanos"], row["created_at"])
    return Account(
        id=row["id"],
        public_id=row["public_id"],
        name=row["name"],
        balance=balance,
        limiter=Limiter("account", limits, live.clock.monotonic()),
        daily=SpendCap(
            Period.DAILY, daily_limit, row["day_spent_nanos"], started_at=row["day_start"]
        ),
        created_at=row["created_at"],
        own_limits=own,
        is_suspended=row["suspended_at"] is not None,
        is_frozen=row["frozen_at"] is not None,
    )


def key_from_row(live: Live, row: sqlite3.Row | dict[str, Any]) -> ApiKey:
    """A usable key in memory."""
    limits = _limits(row)
    return ApiKey(
        id=row["id"],
        public_id=row["public_id"],
        account=live.accounts[row["account"]],
        name=row["name"],
        digest=bytes(row["digest"]),
        cap=key_cap(
            row["limit_nanos"], row["limit_period"], row["spent_nanos"], row["period_start"]
        ),
        limiter=Limiter("key", limits, live.clock.monotonic()) if limits != Limits() else None,
        expires_at=row["expires_at"],
        is_disabled=bool(row["is_disabled"]),
        models=parse_patterns(row["models"]),
        networks=parse_networks(row["addresses"]),
    )


def rule_from_row(row: sqlite3.Row | dict[str, Any]) -> PriceRule:
    """A stored price rule."""
    return PriceRule(
        pattern=row["pattern"],
        markup_bps=row["markup_bps"],
        fixed_nanos=row["fixed_nanos"],
        minimum_nanos=row["minimum_nanos"],
        priority=row["priority"],
        account=row["account"],
        block=bool(row["is_block"]),
        id=row["id"],
    )


def _model(row: sqlite3.Row) -> Model | None:
    endpoints = json.loads(row["endpoints"]) if row["endpoints"] else []
    return model_from_entry(row["id"], json.loads(row["entry"]), endpoints)


def _limits(row: sqlite3.Row | dict[str, Any]) -> Limits:
    return Limits(
        row["requests_per_minute"],
        row["requests_per_hour"],
        row["requests_per_day"],
        row["tokens_per_minute"],
        row["concurrent_requests"],
    )


async def _restore_levels(live: Live, reader: Reader) -> None:
    """Hour and day levels as they were saved, refilled by the wall time since."""
    now = live.clock.now_ms()
    for row in await reader.rows(_LIST_LEVELS):
        limiter = _limiter(live, row["owner"])
        if limiter is not None:
            limiter.restore(json.loads(row["levels"]), (now - row["saved_at"]) / 1000)


def _limiter(live: Live, owner: str) -> Limiter | None:
    kind, _, number = owner.partition(":")
    if kind == "account":
        account = live.accounts.get(int(number))
        return account.limiter if account else None
    key = live.keys_by_id.get(int(number))
    return key.limiter if key else None
