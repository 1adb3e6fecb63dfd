"""The processes of the bench: started on their core, measured from outside, ended by their pid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_START_S = 30.0
_STOP_S = 15.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cores() -> tuple[int | None, int | None]:
    """The core of the load and the simulator, and that of the server; None: nothing to pin."""
    free = sorted(os.sched_getaffinity(0))
    return (free[0], free[1]) if len(free) > 1 else (None, None)


def pin(pid: int, core: int | None) -> None:
    """Keep a process, its threads to come included, on one core."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


@dataclass(slots=True)
class Server:
    """A running process that takes requests."""

    pid: int
    url: str
    keys: list[str]

    def cpu_s(self) -> float:
        """CPU time of all its threads, ended ones too: /proc/PID/stat in a finer grain."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.pid}/task"))


@contextlib.asynccontextmanager
async def running(core: int | None, module: str, *arguments: str) -> AsyncIterator[Server]:
    """A module as a process on a core, from its first line of output to its end."""
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        # At once: the threads that it will start stay on the same core.
        pin(process.pid, core)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_START_S):
                line = (await process.stdout.readline()).decode().strip()
            if not line:
                log.seek(0)
                raise RuntimeError(f"{module} did not start:\n{log.read().decode()}")
            found = json.loads(line) if line.startswith("{") else {"url": line, "keys": []}
            yield Server(process.pid, found["url"], found["keys"])
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def simulator(core: int | None) -> contextlib.AbstractAsyncContextManager[Server]:
    """The upstream: instant, with totals only, and more credit than any run can use."""
    return running(
        core,
        "reseller.sandbox.standalone",
        *("--instant", "--no-books", "--quiet", "--credit-usd", "1000000000"),
    )


def bare_relay(
    core: int | None, engine: str, upstream: str
) -> contextlib.AbstractAsyncContextManager[Server]:
    """The yardstick."""
    return running(core, "tests.bench.relay", "--engine", engine, "--upstream", upstream)


@contextlib.asynccontextmanager
async def product(core: int | None, engine: str, upstream: str) -> AsyncIterator[Server]:
    """The product with a data folder of its own, warm."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        arguments = ("--engine", engine, "--upstream", upstream, "--folder", folder)
        async with running(core, "tests.bench.product", *arguments) as server:
            yield server
