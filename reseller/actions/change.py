"""What every change has in common: it runs to its end, and it is written down who made it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeAlias, TypeVar

from reseller.core import Core
from reseller.db import audit, customers
from reseller.errors import NotFound
from reseller.live import Account

P = ParamSpec("P")
R = TypeVar("R")
Answer: TypeAlias = dict[str, Any]

CONSOLE = "console"
_CATCH_UP_S = 3.0
_running: set[asyncio.Task[Any]] = set()


def whole(
    action: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Once begun, the action runs to its end even if whoever asked for it is gone.

    What is on disk is so never left without its half in memory.
    """

    @functools.wraps(action)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        task = asyncio.get_running_loop().create_task(action(*args, **kwargs))
        _running.add(task)
        task.add_done_callback(_running.discard)
        return await asyncio.shield(task)

    return run


async def change(
    core: Core,
    actor: str,
    action: str,
    subject: str,
    detail: str,
    work: Callable[[sqlite3.Connection], R],
) -> R:
    """Run `work` and write the audit line in one transaction."""
    now = core.clock.now_ms()

    def write(db: sqlite3.Connection) -> R:
        result = work(db)
        audit.insert_audit(db, now, actor, action, subject, detail)
        return result

    return await core.journal.write(write)


async def caught_up(core: Core) -> None:
    """Wait until the disk has what memory has settled; a failing disk is not waited for."""
    if not core.journal.is_failing:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_S):
                await core.journal.flushed()


async def customer_row(core: Core, email: str) -> sqlite3.Row:
    """The customer with this e-mail and their account. Raises NotFound."""
    row = await customers.find_customer(core.reader, email.strip())
    # One that is on disk and not yet in memory is being made this moment.
    if row is None or row["account"] not in core.live.accounts:
        raise NotFound(f"There is no customer {email.strip()!r:.80}.", code="no_such_customer")
    return row


async def account_of(core: Core, email: str) -> Account:
    """The account of the customer with this e-mail, in memory. Raises NotFound."""
    row = await customer_row(core, email)
    return core.live.accounts[row["account"]]
