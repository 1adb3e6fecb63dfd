"""A Core on a real database, and the few shortcuts that its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reseller.actions.table import perform
from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.config_schema import Data
from reseller.core import Core, open_core
from reseller.db.rows import HoldRow
from reseller.gateway.meter import Usage
from reseller.gateway.settle import Settler, Ticket
from reseller.ids import Ids
from reseller.money.pricing import PriceRule, Quote, charge

Do = Callable[..., Awaitable[dict[str, Any]]]
ADA = "ada@example.com"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """All defaults, in a folder of its own."""
    return Config(data=Data(dir=tmp_path / "data", ballast_mb=0, keep_requests_days=0))


@pytest.fixture
async def core(config: Config, clock: ShiftedClock, ids: Ids) -> AsyncIterator[Core]:
    """An open shop."""
    config.data.dir.mkdir(mode=0o700)
    async with open_core(config, clock, ids) as opened:
        opened.is_serving = True
        yield opened


@pytest.fixture
def do(core: Core) -> Do:
    """Perform an action by name, as the socket and the command line do."""

    async def run(action: str, **arguments: Any) -> dict[str, Any]:
        return await perform(core, action, arguments)

    return run


@pytest.fixture
async def ada(do: Do) -> str:
    """A customer's e-mail."""
    await do("customer.create", email=ADA, name="Ada")
    return ADA


class Spender:
    """Requests of one key, through the wallet and the journal, without an upstream."""

    def __init__(self, core: Core, secret: str) -> None:
        self.core = core
        self.key = core.live.find_key(secret)
        self.settler = Settler(core)

    async def hold(self, held_nanos: int) -> Ticket:
        """A request that runs: its hold is in memory and on disk."""
        core, account = self.core, self.key.account
        rule = PriceRule("*", 2_000)
        now = core.clock.now_ms()
        request_id = core.ids.request_id(now)
        quote = Quote(rule, held_nanos * 1_000 * 10_000 // 12_000, 0, 0)
        caps = (account.daily, self.key.cap)
        hold = core.live.wallet.reserve(request_id, account.id, quote, minimum_tokens=0, caps=caps)
        row = HoldRow(
            request_id, account.id, self.key.id, 1, now, hold.held_nanos, 2_000, 0, 0, 0, 0
        )
        await core.journal.opened(row)
        return Ticket(
            request_id, account, self.key, self.key.id, 1, hold, rule, False, now, prompt_nanos=0
        )

    async def settle(self, ticket: Ticket, cost_picos: int) -> None:
        """The request ended at this cost."""
        usage = Usage(prompt_tokens=10, completion_tokens=5)
        _, written = self.settler.charge(ticket, usage, cost_picos, status=200, outcome=None)
        await written

    async def spend(self, cost_picos: int) -> str:
        """A whole request; returns its id."""
        ticket = await self.hold(charge(cost_picos, PriceRule("*", 2_000)))
        await self.settle(ticket, cost_picos)
        return ticket.request_id


@pytest.fixture
async def spender(core: Core, do: Do, ada: str) -> Spender:
    """Ada with ten dollars and a key."""
    await do("credit.grant", email=ada, usd="10", reason="to start")
    made = await do("key.create", email=ada, name="laptop")
    return Spender(core, made["key"])
