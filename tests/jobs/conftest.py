"""A Core on a real database, and the simulated upstream over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.config_schema import Brakes, Data, Upstream
from reseller.core import Core, open_core
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator


@pytest.fixture
async def upstream(clock: ShiftedClock, ids: Ids) -> AsyncIterator[UpstreamSimulator]:
    """The simulator, listening."""
    simulator = UpstreamSimulator(clock, ids)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def config(tmp_path: Path, upstream: UpstreamSimulator) -> Config:
    """A configuration that points at the simulator."""
    return replace(
        Config(),
        data=Data(dir=tmp_path, ballast_mb=0),
        upstream=Upstream(base_url=upstream.base_url, api_key=upstream.api_key),
        brakes=Brakes(new_account_concurrent=3, new_account_daily_nanos=5_000_000_000),
    )


@pytest.fixture
async def core(config: Config, clock: ShiftedClock, ids: Ids) -> AsyncIterator[Core]:
    """An open shop."""
    async with open_core(config, clock, ids) as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A plain client."""
    async with httpx.AsyncClient() as client:
        yield client
