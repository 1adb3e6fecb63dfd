"""An upstream simulator in a thread of its own, for commands that block."""

from __future__ import annotations

import asyncio
import threading

from reseller.clock import Clock
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator


class Simulated:
    """Run `run` in a thread; `url` stands once `ready` is set."""

    def __init__(self) -> None:
        self.url = ""
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None

    def run(self) -> None:
        """Serve until `stop`."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """End it, from another thread."""
        assert self._loop is not None
        assert self._stopped is not None
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        simulator = UpstreamSimulator(Clock(), Ids())
        await simulator.start()
        self.url = simulator.control_url
        self.ready.set()
        await self._stopped.wait()
        await simulator.stop()
