"""Customers: made together with the account they own, shown, suspended."""

from __future__ import annotations

import sqlite3
from typing import Any

from reseller.actions import inputs
from reseller.actions.change import CONSOLE, Answer, caught_up, change, customer_row, whole
from reseller.core import Core
from reseller.db import customers as rows
from reseller.db import ledger
from reseller.errors import Conflict
from reseller.loading import account_from_row
from reseller.units import usd_text


async def create_customer(
    core: Core, *, email: str, name: str = "", actor: str = CONSOLE
) -> Answer:
    """A customer with an account of their own. Raises Conflict for a known e-mail."""
    return await add_person(core, email=email, name=name, actor=actor)


@whole
async def add_person(
    core: Core,
    *,
    email: str,
    name: str = "",
    password_hash: str | None = None,
    is_operator: bool = False,
    actor: str = CONSOLE,
) -> Answer:
    """Customer, account and membership in one transaction, then known to memory."""
    email = inputs.email_address(email)
    name = inputs.line(name, "name", may_be_empty=True)
    customer_id, account_id = core.ids.new("cus"), core.ids.new("acc")
    now = core.clock.now_ms()

    def write(db: sqlite3.Connection) -> int:
        if rows.has_email(db, email):
            raise Conflict(f"There is a customer {email!r:.80} already.", code="email_taken")
        account = rows.insert_account(db, account_id, name or email, now)
        customer = rows.insert_customer(
            db, customer_id, email, name, password_hash, is_operator, now
        )
        rows.insert_membership(db, customer, account)
        return account

    kind = "operator" if is_operator else "customer"
    account = await change(core, actor, f"{kind}.create", customer_id, email, write)
    core.journal.add_account(account)
    stored = rows.new_account(account, account_id, name or email, now)
    core.live.add_account(account_from_row(core.live, stored))
    return {
        "id": customer_id,
        "email": email,
        "name": name,
        "account": account_id,
        "is_operator": is_operator,
        "created_at": now,
    }


async def show_customer(core: Core, *, email: str) -> Answer:
    """A customer with balance and holds as they are on disk now."""
    await caught_up(core)
    row = await customer_row(core, email)
    held, holds = await rows.sum_holds(core.reader, row["account"])
    limits = core.live.accounts[row["account"]].limiter.limits
    return _summary(row, held) | {
        "free_usd": usd_text(row["balance_nanos"] - held),
        "holds": holds,
        "daily_limit_usd": inputs.optional_usd(
            core.live.accounts[row["account"]].daily.limit_nanos
        ),
        "limits": {
            "requests_per_minute": limits.requests_per_minute,
            "requests_per_hour": limits.requests_per_hour,
            "requests_per_day": limits.requests_per_day,
            "tokens_per_minute": limits.tokens_per_minute,
            "concurrent_requests": limits.concurrent_requests,
        },
    }


async def list_customers(
    core: Core, *, search: str = "", limit: int = 100, skip: int = 0
) -> Answer:
    """Customers, the newest first, `limit` at a time."""
    most = inputs.count(limit, "limit", most=1_000)
    skip = inputs.count(skip, "skip", least=0)
    part = search.strip().lower()
    await caught_up(core)
    found = await rows.list_customers(core.reader, part, most, skip)
    return {
        "customers": [_summary(row, row["held_nanos"]) | _keys(row) for row in found],
        "total": await rows.count_customers(core.reader, part),
    }


@whole
async def suspend_customer(
    core: Core, *, email: str, reason: str = "", actor: str = CONSOLE
) -> Answer:
    """Refuse the account's requests from now on and end its streams. Nothing is deleted."""
    reason = inputs.line(reason, "reason", most=200, may_be_empty=True)
    row = await customer_row(core, email)
    account, now = row["account"], core.clock.now_ms()
    is_new = await change(
        core,
        actor,
        "customer.suspend",
        row["customer_id"],
        reason,
        lambda db: rows.suspend_account(db, account, now),
    )
    core.live.accounts[account].is_suspended = True
    core.live.on_suspend(core.live.accounts[account])
    core.live.on_suspend(core.live.accounts[account])
    return {"email": row["email"], "suspended": True, "changed": is_new}


@whole
async def unsuspend_customer(core: Core, *, email: str, actor: str = CONSOLE) -> Answer:
    """Let the account's requests through again."""
    row = await customer_row(core, email)
    account = row["account"]
    is_new = await change(
        core,
        actor,
        "customer.unsuspend",
        row["customer_id"],
        "",
        lambda db: rows.unsuspend_account(db, account),
    )
    core.live.accounts[account].is_suspended = False
    return {"email": row["email"], "suspended": False, "changed": is_new}


@whole
async def unfreeze_customer(core: Core, *, email: str, actor: str = CONSOLE) -> Answer:
    """Lift the freeze a mismatch left, once the account's books are right again."""
    row = await customer_row(core, email)
    account = row["account"]

    def write(db: sqlite3.Connection) -> bool:
        stored, moved = ledger.explain_balance(db, account)
        posted = core.journal.posted[account]
        if not stored == moved == posted:
            raise Conflict(
                f"The books of {row['email']} do not agree: {usd_text(stored)} USD stored, "
                f"{usd_text(moved)} by transfers, {usd_text(posted)} believed. See ledger verify.",
                code="books_mismatch",
            )
        return rows.unfreeze_account(db, account)

    is_new = await change(core, actor, "customer.unfreeze", row["customer_id"], "", write)
    core.live.accounts[account].is_frozen = False
    return {"email": row["email"], "frozen": False, "changed": is_new}


def _summary(row: sqlite3.Row, held_nanos: int) -> dict[str, Any]:
    return {
        "id": row["customer_id"],
        "email": row["email"],
        "name": row["name"],
        "account": row["account_id"],
        "is_operator": bool(row["is_operator"]),
        "created_at": row["created_at"],
        "state": _state(row),
        "balance_usd": usd_text(row["balance_nanos"]),
        "held_usd": usd_text(held_nanos),
        "used_usd": usd_text(row["used_nanos"]),
    }


def _keys(row: sqlite3.Row) -> dict[str, Any]:
    return {"keys": row["api_keys"]}


def _state(row: sqlite3.Row) -> str:
    if row["frozen_at"] is not None:
        return "frozen"
    return "suspended" if row["suspended_at"] is not None else "active"
