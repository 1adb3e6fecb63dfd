"""What open streams hold in memory, each time in a fresh process."""

from __future__ import annotations

import asyncio
import time

from tests.bench.figures import Figure
from tests.bench.load import Live, burst, deaf_clients, request
from tests.bench.processes import Server, product
from tests.bench.traffic import Extent, Say, requests_for

_KB, _MB = 1_000, 1_000_000
# About 4 MB: more than the buffers of the kernel take for a client that reads nothing.
_LONG_TOKENS = 16_000


async def measure_memory(
    core: int | None, engine: str, upstream: str, extent: Extent, say: Say
) -> list[Figure]:
    """RSS idle, with streams that are read, and with streams that are not."""
    begun = time.perf_counter()
    async with product(core, engine, upstream) as server:
        started_s = time.perf_counter() - begun
        await asyncio.sleep(extent.settle_s)
        idle = server.rss_bytes()
        cpu = server.cpu_s()
        await asyncio.sleep(extent.settle_s)
        idle_cpu = (server.cpu_s() - cpu) / extent.settle_s
        await _warm(server)
        reading, total = await _read_streams(server, extent)
    async with product(core, engine, upstream) as server:
        await _warm(server)
        deaf = await _deaf_streams(server, extent)
    say(f"memory: idle {idle / _MB:.0f} MB, {extent.readers} streams {total / _MB:.0f} MB")
    return [
        Figure(
            "idle RSS", engine, idle / _MB, "MB", 80, note=f"{started_s:.1f} s to the first line"
        ),
        Figure("idle CPU", engine, idle_cpu * 100, "%"),
        Figure("memory a stream, read", engine, reading / _KB, "KB", 60),
        Figure(
            "memory a stream, not read",
            engine,
            deaf / _KB,
            "KB",
            200,
            note=f"{extent.deaf} clients that never read",
        ),
        Figure(f"RSS with {extent.readers} streams", engine, total / _MB, "MB", 150),
    ]


async def _warm(server: Server) -> None:
    for stream in (False, True):
        await burst(server.url, requests_for(server, stream=stream), 60, 8)


async def _read_streams(server: Server, extent: Extent) -> tuple[float, int]:
    """Bytes a stream and in all, all of them open and slow."""
    before = server.rss_bytes()
    live = Live(server.url, requests_for(server, stream=True, steer="[[pace=400]][[tokens=60]]"))
    live.start(extent.readers, extent.readers / 500)
    await asyncio.sleep(extent.readers / 500 + extent.settle_s)
    after = server.rss_bytes()
    await live.leave()
    return (after - before) / extent.readers, after


async def _deaf_streams(server: Server, extent: Extent) -> float:
    """Bytes a stream whose client does not read it."""
    asked = [
        request(key, stream=True, steer=f"[[tokens={_LONG_TOKENS}]]", max_tokens=_LONG_TOKENS)
        for key in server.keys
    ]
    before = server.rss_bytes()
    leave = await deaf_clients(server.url, asked, extent.deaf)
    highest, cpu = before, -1.0
    # Until nothing moves any more: everyone waits for clients that do not read.
    for _ in range(100):
        await asyncio.sleep(extent.settle_s / 4)
        highest = max(highest, server.rss_bytes())
        now = server.cpu_s()
        if now - cpu < 0.05 * extent.settle_s / 4:
            break
        cpu = now
    leave()
    return (highest - before) / extent.deaf
