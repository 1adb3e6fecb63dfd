"""The sandbox's demo customer: something to paste in the first minute."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from reseller.actions.table import perform
from reseller.core import Core
from reseller.errors import NotFound, ResellerError

EMAIL = "demo@example.com"
_CREDIT_USD = "10"
_LOW_NANOS = 1_000_000_000
_KEY_FILE = "demo-key"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo customer's address and API key, and a model to try."""

    email: str
    key: str
    model: str


async def ensure_demo(core: Core) -> Demo:
    """The demo customer with sandbox credit and a key that works; made where missing.

    Sandbox only: the key stands in a file of the data folder so that the next start shows the
    same one.
    """
    assert core.config.mode == "sandbox"
    try:
        shown = await perform(core, "customer.show", {"email": EMAIL})
    except NotFound:
        await perform(core, "customer.create", {"email": EMAIL, "name": "Demo"})
        shown = await perform(core, "customer.show", {"email": EMAIL})
    account = core.live.accounts_by_public_id[shown["account"]]
    if account.balance.free_nanos < _LOW_NANOS:
        reason = {"email": EMAIL, "usd": _CREDIT_USD, "reason": "sandbox credit"}
        await perform(core, "credit.grant", reason)
    models = [model.id for model in core.live.catalogue.on_sale()]
    model = "sandbox/large" if "sandbox/large" in models else next(iter(models), "")
    return Demo(EMAIL, await _key(core), model)


async def _key(core: Core) -> str:
    path = core.config.data.dir / _KEY_FILE
    with contextlib.suppress(OSError, ResellerError):
        stored = path.read_text("ascii").strip()
        core.live.find_key(stored).check(core.clock.now_ms(), None)
        return stored
    made = await perform(core, "key.create", {"email": EMAIL, "name": "demo"})
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, made["key"].encode())
    finally:
        os.close(handle)
    return str(made["key"])
