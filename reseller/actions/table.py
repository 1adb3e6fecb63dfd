"""Every action by name, with arguments checked: one table for the admin socket and the
command line, so that a command means the same whether the server runs or not."""

from __future__ import annotations

import inspect
import os
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from reseller import __version__
from reseller.actions import (
    allowances,
    credits,
    customers,
    gate,
    keys,
    ledger,
    operators,
    prices,
    stats,
    terms,
    trail,
    usage,
)
from reseller.actions.change import Answer
from reseller.core import Core
from reseller.db.group import GroupMismatch
from reseller.errors import Conflict, NotFound, Unavailable, Unprocessable

Run: TypeAlias = Callable[..., Awaitable[Answer]]

# Who acts is not for the caller to say.
_NOT_ARGUMENTS = ("core", "actor")


class Action:
    """An action and the shape of its arguments, read from its signature."""

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self.run = run
        self._arguments: type[msgspec.Struct] | None = None

    def checked(self, arguments: Mapping[str, object]) -> dict[str, Any]:
        """The arguments as the action takes them. Raises Unprocessable."""
        if self._arguments is None:
            self._arguments = _shape(self.name, self.run)
        try:
            shaped = msgspec.convert(arguments, self._arguments)
        except msgspec.ValidationError as wrong:
            message = f"{self.name}: {wrong}."
            raise Unprocessable(message, code="bad_arguments") from wrong
        return {field: getattr(shaped, field) for field in shaped.__struct_fields__}


ACTIONS: dict[str, Action] = {}


def register(name: str, run: Run) -> None:
    """Add an action, or put another in its place: `run(core, **arguments)` answers what JSON
    can hold, and takes its arguments by keyword, with types."""
    ACTIONS[name] = Action(name, run)


async def perform(core: Core, name: str, arguments: Mapping[str, object]) -> Answer:
    """Run an action. Raises NotFound, Unprocessable, and what the action raises; what the
    database refuses becomes an error with an answer."""
    action = ACTIONS.get(name)
    if action is None:
        raise NotFound(f"There is no action {name!r:.60}.", code="no_such_action")
    try:
        return await action.run(core, **action.checked(arguments))
    except GroupMismatch as wrong:
        raise Conflict(
            f"The books on disk are not what was believed ({wrong}); nothing was changed. See "
            f"ledger verify.",
            code="books_mismatch",
        ) from wrong
    except sqlite3.Error as failed:
        raise Unavailable(
            f"The database failed ({failed}); nothing was changed.", code="database_failed"
        ) from failed


def _shape(name: str, run: Run) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for each in inspect.signature(run, eval_str=True).parameters.values():
        if each.name in _NOT_ARGUMENTS:
            continue
        if each.default is inspect.Parameter.empty:
            fields.append((each.name, each.annotation))
        else:
            fields.append((each.name, each.annotation, each.default))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


async def ping(core: Core) -> Answer:
    """Who answers."""
    return {"version": __version__, "pid": os.getpid(), "mode": core.config.mode}


_TABLE: dict[str, Run] = {
    "customer.create": customers.create_customer,
    "customer.show": customers.show_customer,
    "customer.list": customers.list_customers,
    "customer.suspend": customers.suspend_customer,
    "customer.unsuspend": customers.unsuspend_customer,
    "customer.unfreeze": customers.unfreeze_customer,
    "key.create": keys.create_key,
    "key.list": keys.list_keys,
    "key.revoke": keys.revoke_key,
    "key.disable": keys.disable_key,
    "key.enable": keys.enable_key,
    "key.set": keys.set_key,
    "credit.grant": credits.grant_credit,
    "credit.debit": credits.debit_credit,
    "credit.refund": credits.refund_charge,
    "credit.list": credits.list_transfers,
    "limits.show": allowances.show_limits,
    "limits.set": allowances.set_limits,
    "pricing.list": prices.list_prices,
    "pricing.set": prices.set_price,
    "pricing.remove": prices.remove_price,
    "usage.list": usage.list_usage,
    "ledger.verify": ledger.verify_ledger,
    "stats.show": stats.show_stats,
    "admission.show": gate.show_admission,
    "admission.off": gate.close_admission,
    "admission.on": gate.open_admission,
    "sandbox.show": gate.show_sandbox,
    "terms.show": terms.show_terms,
    "terms.accept": terms.accept_terms,
    "admin.create": operators.create_operator,
    "admin.reset_password": operators.reset_password,
    "audit.list": trail.list_audit,
    "ping": ping,
}
for _name, _run in _TABLE.items():
    register(_name, _run)
