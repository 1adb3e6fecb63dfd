"""The simulator as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys

import httpx


async def test_it_prints_its_address_answers_and_stops_on_a_signal() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "reseller.sandbox.standalone", "--instant", "--no-books"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    base_url = (await process.stdout.readline()).decode().strip()
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        assert (await client.get("/models")).status_code == 200
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 5)
    assert process.returncode == 0
    assert b"POST /sim/faults" in out
    assert err == b""
