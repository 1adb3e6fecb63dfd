"""SIGTERM: running requests end, everything is settled or written down, exit status 0."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from reseller.clock import Clock
from tests.crash.clients import Seen, ask_for
from tests.crash.processes import Server, Stage, on_stage
from tests.crash.proof import check_books, check_ids_came_first, settle_everything

ADA = "ada@example.com"


def begin(stage: Stage, key: str, kind: str, wishes: str) -> asyncio.Task[Seen]:
    """One request on its way."""
    return asyncio.create_task(ask_for(stage, key, Seen(f"{kind}{wishes}", ADA), kind, wishes))


async def timed_end(server: Server) -> float:
    """How long the server takes from now until it ends well."""
    clock = Clock()
    began = clock.monotonic()
    assert await server.ended() == 0, server.log()
    return clock.monotonic() - began


@pytest.mark.parametrize(
    ("engine", "number"), [("hypercorn", signal.SIGTERM), ("granian", signal.SIGINT)]
)
async def test_a_stream_is_finished_and_settled(
    tmp_path: Path, engine: str, number: signal.Signals
) -> None:
    """The stream comes whole to its end, new requests are turned away, another signal changes
    nothing, and the server ends as soon as the stream does."""
    async with on_stage(tmp_path, server__engine=engine) as stage:
        key = await stage.customer(ADA)
        running = [
            begin(stage, key, kind, "[[tokens=30]][[pace=20]]") for kind in ("stream", "json")
        ]
        await asyncio.sleep(0.2)
        stage.server.signal(number)
        await asyncio.sleep(0.05)
        late = await ask_for(stage, key, Seen("late", ADA), "json")
        assert late.status in (0, 503)
        stage.server.signal(signal.SIGTERM)
        for asking in running:
            seen = await asking
            assert (seen.status, seen.is_whole, seen.error) == (200, True, "")
        assert seen_done(running[0].result())
        assert await timed_end(stage.server) < 1.5
        assert stage.server.remains("select * from hold") == []
        assert len(stage.server.remains("select * from usage_record")) == 2
        await stage.server.start()
        await check_books(stage)


def seen_done(seen: Seen) -> bool:
    """Whether the stream came to its proper end."""
    return seen.answer.rstrip().endswith(b"data: [DONE]")


@pytest.mark.parametrize("engine", ["hypercorn", "granian"])
async def test_what_does_not_end_is_written_down(tmp_path: Path, engine: str) -> None:
    """Requests that outlast the drain do not hold the server up: wherever the upstream keeps them,
    and a client that does not read its stream neither. Each is settled or pending on disk."""
    async with on_stage(tmp_path, server__engine=engine, server__drain_s=0.3) as stage:
        key = await stage.customer(ADA)
        faults = ("hang-before-headers", "bill-then-wait-before-headers", "hang-after-headers")
        running = [
            begin(stage, key, kind, f"[[fault={fault}]]")
            for kind in ("stream", "json")
            for fault in (*faults, "wait-before-usage")
        ]
        with contextlib.closing(await stubborn_client(stage, key)):
            await stage.simulator.held(len(running))
            await asyncio.sleep(0.3)
            stage.server.signal(signal.SIGTERM)
            assert await timed_end(stage.server) < 4
        seen = [await asking for asking in running]
        check_ids_came_first(stage.server, seen)
        holds = stage.server.remains("select * from hold")
        assert {row["state"] for row in holds} == {"pending"}
        await stage.server.start()
        await settle_everything(stage)
        await check_books(stage)
        assert len(stage.server.rows("select * from hold where generation_id is null")) == 4
        assert len(stage.server.rows("select * from usage_record where cost_picos > 0")) == 5


async def stubborn_client(stage: Stage, key: str) -> socket.socket:
    """A client that asks for a long stream and reads nothing of it."""
    body = (
        b'{"model": "sandbox/small", "stream": true, "max_tokens": 60000, "messages": '
        b'[{"role": "user", "content": "[[tokens=50000]] tell me"}]}'
    )
    host, _, port = stage.server.url.removeprefix("http://").partition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, (host, int(port)))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    await loop.sock_sendall(made, head.encode() + body)
    return made


async def test_while_the_disk_cannot_be_written(tmp_path: Path) -> None:
    """A stop waits for its last commits; a kill then loses no request."""
    async with on_stage(tmp_path) as stage:
        key = await stage.customer(ADA)
        asking = begin(stage, key, "stream", "[[fault=wait-before-usage]]")
        await stage.simulator.held()
        with stage.server.no_commits():
            await stage.simulator.post("release")
            await asking
            stage.server.signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            assert stage.server.process is not None
            assert stage.server.process.returncode is None
        assert await timed_end(stage.server) < 1.5
        assert stage.server.remains("select * from hold") == []
        await stage.server.start()
        await check_books(stage)


async def test_a_second_process_on_the_folder(tmp_path: Path) -> None:
    """It ends with 2, names the process that holds the folder, and disturbs nothing."""
    async with on_stage(tmp_path) as stage:
        assert stage.server.process is not None
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reseller", "serve", "--config", str(stage.server.config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(second.communicate(), 10)
        assert second.returncode == 2
        assert f"process {stage.server.process.pid}".encode() in err
        assert out == b""
        key = await stage.customer(ADA)
        seen = await ask_for(stage, key, Seen("one", ADA), "json")
        assert seen.status == 200
        await check_books(stage)
        await stage.server.kill()
        # A lock of a dead process is none, whatever its file still says.
        assert (stage.server.folder / "lock").read_text() == str(stage.server.process.pid)
        assert not os.path.exists(f"/proc/{stage.server.process.pid}/cmdline")
        await stage.server.start()
        await check_books(stage)
