"""`python -m tests.bench`: measure the product against its bars and print one table."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack

import uvloop

from tests.bench.disk import CommitTimes, measure_disk
from tests.bench.figures import Figure, save, table
from tests.bench.memory import measure_memory
from tests.bench.processes import Server, bare_relay, cores, pin, product, simulator
from tests.bench.product import UPSTREAM_KEY
from tests.bench.traffic import (
    FULL,
    QUICK,
    Extent,
    Pair,
    Say,
    measure_cpu,
    measure_first_byte,
    measure_paced,
)

ENGINES = ("hypercorn", "granian")
PARTS = ("cpu", "paced", "first", "memory")


async def measure_engine(
    engine: str, extent: Extent, commits: CommitTimes, parts: set[str], say: Say
) -> list[Figure]:
    """All figures of one engine."""
    load_core, server_core = cores()
    pin(0, load_core)
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(simulator(load_core))
        async with AsyncExitStack() as both:
            bare = await both.enter_async_context(bare_relay(server_core, engine, upstream.url))
            ours = await both.enter_async_context(product(server_core, engine, upstream.url))
            pair = Pair(engine, ours, bare)
            if "cpu" in parts:
                figures += await measure_cpu(pair, extent, say)
            if "paced" in parts:
                direct = Server(upstream.pid, upstream.url, [UPSTREAM_KEY])
                figures += await measure_paced(pair, direct, extent, say)
            if "first" in parts:
                figures += await measure_first_byte(pair, commits, extent, say)
        if "memory" in parts:
            figures += await measure_memory(server_core, engine, upstream.url, extent, say)
    return figures


def main() -> int:
    """Measure, print, save; 1 if a bar was not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, for a rough look")
    parser.add_argument("--engine", choices=ENGINES, help="only this one")
    parser.add_argument("--part", choices=(*PARTS, "disk"), action="append", help="only this part")
    options = parser.parse_args()
    extent = QUICK if options.quick else FULL
    parts = set(options.part or (*PARTS, "disk"))
    begun = time.perf_counter()

    def say(line: str) -> None:
        print(f"[{time.perf_counter() - begun:4.0f} s] {line}", file=sys.stderr, flush=True)

    allowed = os.sched_getaffinity(0)
    figures: list[Figure] = []
    say("disk and journal")
    if "disk" in parts:
        found, commits = measure_disk(extent.settlements, extent.commits, say)
        figures += found
    else:
        commits = measure_disk(0, extent.commits, lambda _: None)[1]
    for engine in (options.engine,) if options.engine else ENGINES:
        say(f"{engine}: starting")
        os.sched_setaffinity(0, allowed)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures += runner.run(measure_engine(engine, extent, commits, parts, say))
    name = "quick" if options.quick else "bench"
    print(table(figures))
    print(f"\n{save(figures, name)}")
    return 0 if all(figure.is_kept is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
