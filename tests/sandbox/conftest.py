"""A running upstream simulator and clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from reseller.clock import ShiftedClock
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator

KEY = "sk-or-sandbox"


@pytest.fixture
async def upstream(clock: ShiftedClock, ids: Ids) -> AsyncIterator[UpstreamSimulator]:
    """The simulator on a free port."""
    simulator = UpstreamSimulator(clock, ids)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def client(upstream: UpstreamSimulator) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP with the account's key, at the simulator's base URL."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        base_url=upstream.base_url, headers=headers, timeout=5, trust_env=False, verify=False
    ) as opened:
        yield opened


@pytest.fixture
async def sim(upstream: UpstreamSimulator) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP at the control routes."""
    async with httpx.AsyncClient(
        base_url=upstream.control_url, timeout=5, trust_env=False, verify=False
    ) as opened:
        yield opened
