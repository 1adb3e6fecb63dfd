"""The command line's way into a running server: a socket in the data folder, its owner's alone.

One JSON object a line, answered by one: `{"action": …, "args": {…}}` by `{"ok": true, "result":
{…}}` or `{"ok": false, "error": {"code", "message", "status"}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

from reseller.actions.change import Answer
from reseller.actions.table import perform, register
from reseller.admin_client import MOST_LINE, SOCKET_NAME, socket_name
from reseller.core import Core
from reseller.errors import BadRequest, ResellerError, TooLarge
from reseller.jobs import Scheduler

log = logging.getLogger("reseller.admin")

_IDLE_S = 60.0


class AdminSocket:
    """`async with AdminSocket(core)`: listens while inside, and waits for what it began."""

    def __init__(self, core: Core, scheduler: Scheduler | None = None) -> None:
        self._core = core
        self._folder = core.config.data.dir
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        if scheduler is not None:
            register_jobs(scheduler)

    async def __aenter__(self) -> AdminSocket:
        self._server = await asyncio.start_unix_server(
            self._connected, sock=_bound(self._folder), limit=MOST_LINE
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / SOCKET_NAME)
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_S):
                    line = await reader.readline()
            except ValueError:
                too_long = TooLarge(f"A line may have {MOST_LINE} bytes.")
                await _send(writer, _failed(too_long))
                return
            if not line:
                return
            await _send(writer, await self._answer(line))

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            action, arguments = _parsed(line)
            return {"ok": True, "result": await perform(self._core, action, arguments)}
        except ResellerError as error:
            return _failed(error)
        except Exception as error:
            log.exception("an action failed")
            return _failed(ResellerError(f"{type(error).__name__}: {error}"))


def register_jobs(scheduler: Scheduler) -> None:
    """Make the scheduler's jobs actions: `job.run` and `job.list`."""

    async def run_job(core: Core, *, name: str) -> Answer:
        """Run a job now and say how it went."""
        run = await scheduler.run_now(name)
        return {
            "name": run.name,
            "ok": run.is_ok,
            "detail": run.detail,
            "started_at": run.started_at,
            "ended_at": run.ended_at,
        }

    async def list_jobs(core: Core) -> Answer:
        """All jobs with their last run."""
        last = scheduler.last_runs
        return {"jobs": [{"name": name, **_last(last.get(name))} for name in scheduler.names]}

    register("job.run", run_job)
    register("job.list", list_jobs)


def _bound(folder: Path) -> socket.socket:
    """A listening socket, 0600 from birth. The caller holds the folder's lock, so what an
    earlier process left may go."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file takes its mode from the socket as it is bound; there is no moment in between.
        os.fchmod(bound.fileno(), 0o600)
        with socket_name(folder) as name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            bound.bind(name)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _parsed(line: bytes) -> tuple[str, dict[str, object]]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("A line must be one JSON object.") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("action"), str):
        raise BadRequest('A line must be {"action": "…", "args": {…}}.')
    arguments = asked.get("args", {})
    if not isinstance(arguments, dict):
        raise BadRequest("args must be an object.")
    return asked["action"], arguments


async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    await writer.drain()


def _failed(error: ResellerError) -> dict[str, Any]:
    answer = {"code": error.code, "message": error.message, "status": error.http_status}
    return {"ok": False, "error": answer}


def _last(run: Any) -> dict[str, Any]:
    if run is None:
        return {"ran_at": None, "ok": None, "detail": ""}
    return {"ran_at": run.ended_at, "ok": run.is_ok, "detail": run.detail}
