"""A shop and its upstream, each in a process of its own: one pair for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.crash.processes import Stage, on_stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Started once; what the tests of a module leave on disk, the next ones start from."""
    async with on_stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> Stage:
    """The module's stage, its server running and its simulator at rest."""
    server, simulator = shared_stage.server, shared_stage.simulator
    if server.process is None or server.process.returncode is not None:
        await server.start()
    await simulator.http.delete(simulator.route("faults"))
    await simulator.http.delete(simulator.route("requests"))
    await simulator.post("release")
    return shared_stage
