"""The command line in an empty folder, with and without a server beside it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reseller.admin_socket import AdminSocket
from reseller.cli import main
from reseller.cli.shell import Shell
from reseller.clock import Clock
from reseller.config import Config
from reseller.config_schema import Data
from reseller.core import Core, open_core
from reseller.db.connect import locked_folder
from reseller.ids import Ids

ADA = "ada@example.com"
Type = Callable[..., Result]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Run `reseller …` in an empty working directory without variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("RESELLER_CONFIG", "RESELLER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESELLER__DATA__BALLAST_MB", "0")

    def run(*words: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(
            main, words, input=stdin, env=env, obj=Shell(patience_s=0.5), catch_exceptions=False
        )

    return run


@pytest.fixture
def asked(typed: Type) -> Ask:
    """Run with `--json`; the object it printed, exit status 0 being expected."""

    def run(*words: str, status: int = 0, **more: Any) -> dict[str, Any]:
        result = typed(*words, "--json", **more)
        assert result.exit_code == status, result.output
        answer = json.loads(result.stdout)
        assert isinstance(answer, dict)
        return answer

    return run


class Server:
    """A process's worth of server in a thread: the lock, the Core and the socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.core: Core

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = Config(data=Data(dir=self._folder, ballast_mb=0))
        with locked_folder(self._folder):
            async with open_core(config, Clock(), Ids()) as self.core, AdminSocket(self.core):
                self._ready.set()
                await self._stop.wait()


@pytest.fixture
def server(typed: Type, tmp_path: Path) -> Iterator[Server]:
    """A server on the folder that commands use."""
    with Server(tmp_path / "data") as running:
        yield running
