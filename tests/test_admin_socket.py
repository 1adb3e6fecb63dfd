"""The admin socket: its owner's alone, one object a line, and nothing half done."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reseller import __version__
from reseller.actions.table import ACTIONS, register
from reseller.admin_client import MOST_LINE, SOCKET_NAME, Lost, Refused, Silent, ask, socket_name
from reseller.admin_socket import AdminSocket
from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.config_schema import Data
from reseller.core import Core, open_core
from reseller.ids import Ids
from reseller.jobs import Job, Scheduler


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder, deeper than a socket's name may be long."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(mode=0o700, parents=True)
    return deep


@pytest.fixture
async def core(folder: Path, clock: ShiftedClock, ids: Ids) -> AsyncIterator[Core]:
    """An open shop."""
    async with open_core(Config(data=Data(dir=folder, ballast_mb=0)), clock, ids) as opened:
        yield opened


@pytest.fixture
async def opened(core: Core) -> AsyncIterator[AdminSocket]:
    """Its socket, listening."""
    async with AdminSocket(core) as admin:
        yield admin


async def _ask(folder: Path, action: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, folder, action, arguments, 5.0)


async def _connect(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with socket_name(folder) as name:
        return await asyncio.open_unix_connection(name)


async def _raw(folder: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await _connect(folder)
    answers = []
    for line in lines:
        writer.write(line + b"\n")
        answers.append(json.loads(await reader.readline()))
    writer.close()
    return answers


async def test_it_is_its_owners_alone(core: Core, folder: Path) -> None:
    """0600 under any umask, and gone after the end."""
    before = os.umask(0)
    try:
        async with AdminSocket(core):
            assert stat.S_IMODE((folder / SOCKET_NAME).stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not (folder / SOCKET_NAME).exists()


async def test_what_an_earlier_process_left_goes(core: Core, folder: Path) -> None:
    """A socket nobody listens at is replaced."""
    left = socket.socket(socket.AF_UNIX)
    with socket_name(folder) as name:
        left.bind(name)
    left.close()
    with pytest.raises(Silent):
        await _ask(folder, "ping")
    async with AdminSocket(core):
        assert (await _ask(folder, "ping"))["version"] == __version__
    with pytest.raises(Silent):
        await _ask(folder, "ping")


async def test_actions_are_performed(opened: AdminSocket, core: Core, folder: Path) -> None:
    """What the socket does is what memory has at once."""
    await _ask(folder, "customer.create", email="ada@example.com")
    done = await _ask(folder, "credit.grant", email="ada@example.com", usd="5", reason="x")
    assert done["balance_usd"] == "5.00"
    (account,) = core.live.accounts.values()
    assert account.balance.balance_nanos == 5 * 10**9


async def test_errors_keep_code_and_status(opened: AdminSocket, folder: Path) -> None:
    """The client raises what the action raised."""
    with pytest.raises(Refused) as refused:
        await _ask(folder, "customer.show", email="nobody@example.com")
    assert (refused.value.code, refused.value.http_status) == ("no_such_customer", 404)
    assert "nobody@example.com" in refused.value.message


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "invalid_request"),
        (b"nonsense", "invalid_request"),
        (b"[1]", "invalid_request"),
        (b'{"action": 5}', "invalid_request"),
        (b'{"action": "ping", "args": []}', "invalid_request"),
        (b'{"action": "ping", "args": {"x": 1}}', "bad_arguments"),
        (b'{"action": "rm -rf"}', "no_such_action"),
        (b"\xff\xfe", "invalid_request"),
        (b"[" * 100_000, "invalid_request"),
    ],
)
async def test_what_cannot_be_read_is_answered(
    opened: AdminSocket, folder: Path, line: bytes, code: str
) -> None:
    """Every line gets one answer, and the connection goes on."""
    wrong, right = await _raw(folder, line, b'{"action": "ping"}')
    assert (wrong["ok"], wrong["error"]["code"]) == (False, code)
    assert right["ok"]


async def test_a_line_is_bounded(opened: AdminSocket, folder: Path) -> None:
    """Too long a line ends the connection with an answer."""
    reader, writer = await _connect(folder)
    writer.write(b'{"action": "' + b"x" * (MOST_LINE + 1) + b'"}\n')
    answer = json.loads(await reader.readline())
    assert answer["error"]["code"] == "request_too_large"
    assert await reader.read() == b""
    writer.close()


async def test_our_own_mistakes_are_answered_too(
    opened: AdminSocket, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An action that fails in a way nobody foresaw is logged and does not hang its caller."""

    async def fail(core: Core) -> dict[str, Any]:
        """Divide by nothing."""
        return {"never": 1 // 0}

    register("test.fail", fail)
    try:
        with pytest.raises(Refused, match="ZeroDivisionError"):
            await _ask(folder, "test.fail")
    finally:
        del ACTIONS["test.fail"]
    assert "an action failed" in caplog.text


async def test_many_ask_at_once(opened: AdminSocket, folder: Path) -> None:
    """Commands beside each other all get their own answer."""
    emails = [f"c{n}@example.com" for n in range(20)]
    made = await asyncio.gather(*(_ask(folder, "customer.create", email=e) for e in emails))
    assert [each["email"] for each in made] == emails


async def test_a_caller_that_leaves_stops_nothing(
    opened: AdminSocket, core: Core, folder: Path
) -> None:
    """What was asked for is done, although nobody waits for the answer."""
    _, writer = await _connect(folder)
    writer.write(b'{"action": "customer.create", "args": {"email": "ada@example.com"}}\n')
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        while not core.live.accounts:
            await asyncio.sleep(0.005)
    assert (await _ask(folder, "customer.list"))["total"] == 1


async def test_the_end_does_not_wait_for_idle_callers(core: Core, folder: Path) -> None:
    """A connection that says nothing is closed with the socket."""
    async with AdminSocket(core):
        reader, writer = await _connect(folder)
        await _raw(folder, b'{"action": "ping"}')
    assert await reader.read() == b""
    writer.close()


async def test_a_server_that_ends_midway_leaves_a_doubt(core: Core, folder: Path) -> None:
    """The caller is told that it may have happened: never tried again behind their back."""
    started = asyncio.Event()

    async def hang(core: Core) -> dict[str, Any]:
        """Never answer."""
        started.set()
        await asyncio.sleep(60)
        return {}

    register("test.hang", hang)
    try:
        async with AdminSocket(core):
            asking = asyncio.create_task(_ask(folder, "test.hang"))
            await started.wait()
        with pytest.raises(Lost, match=r"test\.hang"):
            await asking
    finally:
        del ACTIONS["test.hang"]


async def test_the_schedulers_jobs_are_actions(core: Core, folder: Path) -> None:
    """`job.run` runs it once and says how it went; a failure is an answer, not an error."""
    runs = []

    async def count() -> str:
        runs.append(1)
        if len(runs) > 1:
            raise ValueError("no more")
        return "counted"

    scheduler = Scheduler(core)
    scheduler.add(Job("count", 60.0, count))
    async with AdminSocket(core, scheduler):
        done = await _ask(folder, "job.run", name="count")
        assert (done["ok"], done["detail"]) == (True, "counted")
        assert not (await _ask(folder, "job.run", name="count"))["ok"]
        (listed,) = (await _ask(folder, "job.list"))["jobs"]
        assert (listed["name"], listed["ok"]) == ("count", False)
        with pytest.raises(Refused, match="count"):
            await _ask(folder, "job.run", name="nothing")
