"""The shop and its upstream as processes of their own, to be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx

from reseller.admin_client import ask
from reseller.db.connect import DATABASE_NAME
from reseller.units import usd_text

SMALL = "sandbox/small"
LARGE = "sandbox/large"
EMBED = "sandbox/embed"
_ADDRESS = re.compile(rb"http://127\.0\.0\.1:\d+")
_START_S = 20.0


class Server:
    """`reseller serve` on one data folder, pointed at a simulator: live mode, real commands."""

    def __init__(self, folder: Path, upstream: str, **settings: object) -> None:
        self.folder = folder
        self.database = folder / DATABASE_NAME
        self.config = folder.parent / "reseller.toml"
        self.errors = folder.parent / "server.log"
        self.upstream = upstream
        self.settings: dict[str, object] = {
            "server.listen": "127.0.0.1:0",
            "server.drain_s": 5,
            "data.dir": str(folder),
            "data.ballast_mb": 0,
            "upstream.base_url": upstream,
            "upstream.api_key": "sk-or-sandbox",
            "pending.first_poll_s": 0.2,
            "brakes.departures_per_hour": 100_000,
            "limits.requests_per_minute": 1_000_000,
            "limits.requests_per_hour": 1_000_000,
            "limits.requests_per_day": 1_000_000,
            "operator.terms_accepted": True,
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        self.url = ""
        self.process: asyncio.subprocess.Process | None = None

    async def launch(self) -> None:
        """Start it and wait for nothing."""
        self.config.write_text("".join(_toml(self.settings)))
        self.config.chmod(0o600)
        with self.errors.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "reseller", "serve", "--config", str(self.config)),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=_environment(),
            )

    async def start(self) -> None:
        """Start it and wait for its address."""
        await self.launch()
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(_START_S):
            while not (line := _ADDRESS.search(await self.process.stdout.readline())):
                assert self.process.returncode is None, self.log()
                if self.process.stdout.at_eof():
                    await self.process.wait()
        self.url = line.group().decode()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it as a power cut would end it: nothing of ours runs any more."""
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def ended(self, seconds: float = 15.0) -> int:
        """Its exit status, once it has one."""
        assert self.process is not None
        await asyncio.wait_for(self.process.communicate(), seconds)
        assert self.process.returncode is not None
        return self.process.returncode

    async def stop(self) -> int:
        """Ask it to stop, and wait until it did; gives its exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def end(self) -> None:
        """Whatever state it is in: it does not outlive the test."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            await self.ended()

    async def act(self, action: str, **arguments: object) -> dict[str, Any]:
        """Perform an action through the admin socket, as the command line does."""
        return await asyncio.to_thread(ask, self.folder, action, arguments, 10.0)

    def log(self) -> str:
        """What it wrote on standard error, the end of it."""
        return self.errors.read_text()[-4_000:] if self.errors.exists() else ""

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Rows of the database as they are on disk now, while the server runs or after it."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, parameters)]

    def remains(self, query: str) -> list[dict[str, Any]]:
        """Rows as a dead server left them, read from a copy so that nothing is repaired."""
        copy = self.folder.parent / "remains"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in (DATABASE_NAME, DATABASE_NAME + "-wal"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, copy / name)
        with contextlib.closing(sqlite3.connect(copy / DATABASE_NAME)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query)]

    @contextlib.contextmanager
    def no_commits(self) -> Iterator[None]:
        """While inside, the server's commits wait: what it does then is not on disk."""
        other = sqlite3.connect(self.database, isolation_level=None, timeout=5)
        try:
            other.execute("begin immediate")
            yield
        finally:
            if other.in_transaction:
                other.execute("rollback")
            other.close()


class Simulator:
    """The upstream simulator and its control routes."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.base_url = ""
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and learn its address."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reseller.sandbox.standalone"),
            *("--instant", "--fault-models", "--quiet", "--credit-usd", "100000"),
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(_START_S):
            self.base_url = (await self.process.stdout.readline()).decode().strip()

    async def stop(self) -> None:
        """Stop it."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        await asyncio.wait_for(self.process.communicate(), 10)

    async def get(self, name: str) -> dict[str, Any]:
        """Read a control route."""
        return dict((await self.http.get(self.route(name))).raise_for_status().json())

    async def post(self, route: str, **asking: object) -> dict[str, Any]:
        """Use a control route."""
        answer = await self.http.post(self.route(route), json=asking)
        return dict(answer.raise_for_status().json())

    async def books(self) -> list[dict[str, Any]]:
        """What was billed."""
        return list((await self.get("books?last=100000"))["rows"])

    async def held(self, count: int = 1) -> None:
        """Return once so many requests are held."""
        async with asyncio.timeout(5):
            while (await self.get("held"))["held"] < count:
                await asyncio.sleep(0.01)

    async def asked(self, count: int = 1) -> list[dict[str, Any]]:
        """Inference requests that arrived, once there are so many."""
        async with asyncio.timeout(5):
            while True:
                rows = (await self.get("requests?last=500"))["rows"]
                posts = [row for row in rows if row["method"] == "POST"]
                if len(posts) >= count:
                    return posts
                await asyncio.sleep(0.01)

    async def billed(self, count: int) -> None:
        """Return once so many generations are billed."""
        async with asyncio.timeout(5):
            while (await self.get("books?last=1"))["count"] < count:
                await asyncio.sleep(0.01)

    def route(self, name: str) -> str:
        """The address of a control route."""
        return self.base_url.removesuffix("/api/v1") + "/sim/" + name


class Stage:
    """A simulator, a server, and an HTTP client for both."""

    def __init__(self, server: Server, simulator: Simulator, http: httpx.AsyncClient) -> None:
        self.server = server
        self.simulator = simulator
        self.http = http
        # What each customer was given, in nanos.
        self.granted: dict[str, int] = {}

    async def customer(self, email: str, nanos: int = 10 * 10**9) -> str:
        """A customer with credit; returns an API key."""
        act = self.server.act
        await act("customer.create", email=email)
        self.granted[email] = 0
        await self.grant(email, nanos)
        return str((await act("key.create", email=email, name="test"))["key"])

    async def grant(self, email: str, nanos: int) -> None:
        """Credit by the operator."""
        await self.server.act("credit.grant", email=email, usd=usd_text(nanos), reason="test")
        self.granted[email] += nanos

    async def a_day_later(self) -> None:
        """Restart the server a day after what waits began to wait."""
        assert await self.server.stop() == 0
        with contextlib.closing(sqlite3.connect(self.server.database)) as db, db:
            db.execute("update hold set parked_at = parked_at - 90000000")
        await self.server.start()
        await self.server.act("job.run", name="pending")


@contextlib.asynccontextmanager
async def on_stage(folder: Path, **settings: object) -> AsyncIterator[Stage]:
    """A running shop with its upstream; both are gone afterwards, however it went."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(timeout=20, trust_env=False, limits=limits) as http:
        simulator = Simulator(http)
        await simulator.start()
        server = Server(folder / "data", simulator.base_url, **settings)
        try:
            await server.start()
            yield Stage(server, simulator, http)
        finally:
            await server.end()
            await simulator.stop()


def _toml(settings: dict[str, object]) -> Iterator[str]:
    sections: dict[str, list[str]] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        text = str(value).lower() if isinstance(value, (bool, int, float)) else f'"{value}"'
        sections.setdefault(section, []).append(f"{key} = {text}\n")
    for section, lines in sections.items():
        yield f"[{section}]\n"
        yield from lines


def _environment() -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("RESELLER_")}
    return {**own, "PYTHONUNBUFFERED": "1"}
