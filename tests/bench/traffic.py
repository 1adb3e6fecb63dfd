"""What requests cost and how they flow: the product beside the bare relay, round by round."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.disk import CommitTimes
from tests.bench.figures import Figure, shown
from tests.bench.load import Live, arrivals, burst, quantile, request
from tests.bench.processes import Server

Say = Callable[[str], None]

# At most this many times the bare relay's CPU.
_MOST_TIMES = {"hypercorn": 1.25, "granian": 1.6}
# A popular Python LLM proxy without a database, measured once, µs a request; not scaled to this
# machine (docs/ARCHITECTURE.md "Engine").
_PROXY = {"JSON": (14_000, 11), "20-chunk stream": (48_000, 30)}
_PACE_MS = 40


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured; as it stands, the full run."""

    rounds: int = 6
    requests: int = 1_500
    clients: int = 64
    paced_streams: int = 400
    # At the pace above 2.64 s a stream, so that 1,200 can finish in the window.
    paced_tokens: int = 67
    paced_window_s: float = 8.0
    arrival_rounds: int = 5
    arrival_s: float = 6.0
    live_streams: int = 50
    readers: int = 1_000
    deaf: int = 100
    settle_s: float = 2.0
    settlements: int = 50_000
    commits: int = 300


FULL = Extent()
QUICK = Extent(
    rounds=3,
    requests=500,
    paced_tokens=26,
    paced_window_s=2.0,
    arrival_rounds=1,
    arrival_s=4.0,
    readers=300,
    deaf=40,
    settle_s=1.0,
    settlements=10_000,
    commits=100,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """The product and its yardstick on the same engine."""

    engine: str
    product: Server
    bare: Server


def requests_for(server: Server, *, stream: bool, steer: str = "") -> list[bytes]:
    """One request for each of its keys."""
    return [request(key, stream=stream, steer=steer) for key in server.keys]


async def measure_cpu(pair: Pair, extent: Extent, say: Say) -> list[Figure]:
    """CPU a request: JSON, a stream whose chunks come at once, one whose chunks come apart."""
    figures = []
    for name, stream, steer, count in (
        ("JSON", False, "", extent.requests),
        ("20-chunk stream", True, "", extent.requests),
        ("20 chunks 20 ms apart", True, "[[pace=20]]", extent.requests // 5),
    ):
        bare, ours = await _cpu_rounds(pair, extent, stream, steer, count)
        bare_us, own_us = statistics.median(bare), statistics.median(ours)
        times = [b / a for a, b in zip(bare, ours, strict=True)]
        say(f"CPU, {name}: bare relay {bare_us:.0f} µs, product {own_us:.0f} µs")
        figures += [
            Figure(f"CPU, {name}, bare relay", pair.engine, bare_us, "µs"),
            Figure(f"CPU, {name}", pair.engine, own_us, "µs", note=_spread(ours, "µs")),
            Figure(
                f"CPU, {name}, over bare relay",
                pair.engine,
                statistics.median(times),
                "×",
                _MOST_TIMES[pair.engine],
                note=_spread(times, "×"),
            ),
        ]
        if name in _PROXY:
            proxy_us, share = _PROXY[name]
            note = f"of {proxy_us:,} µs, a fixed reference that is not scaled to this machine"
            label = f"CPU, {name}, 1/{share} of the proxy"
            figures.append(Figure(label, pair.engine, own_us, "µs", proxy_us / share, note=note))
    return figures


async def _cpu_rounds(
    pair: Pair, extent: Extent, stream: bool, steer: str, count: int
) -> tuple[list[float], list[float]]:
    """Microseconds a request, of the bare relay and of the product in turn."""
    both = (pair.bare, pair.product)
    asked = {server.pid: requests_for(server, stream=stream, steer=steer) for server in both}
    for server in both:
        await burst(server.url, asked[server.pid], max(count // 5, 8), extent.clients)
    spent: dict[int, list[float]] = {server.pid: [] for server in both}
    for _ in range(extent.rounds):
        for server in both:
            before = server.cpu_s()
            await burst(server.url, asked[server.pid], count, extent.clients)
            await asyncio.sleep(0.05)  # what trails behind the last answer belongs to it
            spent[server.pid].append((server.cpu_s() - before) / count * 1e6)
    return spent[pair.bare.pid], spent[pair.product.pid]


def _spread(values: Sequence[float], unit: str) -> str:
    return f"{shown(min(values))} to {shown(max(values))} {unit} in {len(values)} rounds"


async def measure_paced(pair: Pair, simulator: Server, extent: Extent, say: Say) -> list[Figure]:
    """Streams at a reading pace, many at once: how many finish in a while."""
    steer = f"[[pace={_PACE_MS}]][[tokens={extent.paced_tokens}]]"
    stream_s = (extent.paced_tokens - 1) * _PACE_MS / 1000
    possible = round(extent.paced_streams * extent.paced_window_s / stream_s)
    finished, shares = {}, {}
    for server in (pair.bare, pair.product, simulator):
        asked = [request(key, stream=True, steer=steer) for key in server.keys]
        live = Live(server.url, asked)
        live.start(extent.paced_streams, stream_s)
        await asyncio.sleep(stream_s)
        begun, before = time.perf_counter(), server.cpu_s()
        await asyncio.sleep(extent.paced_window_s)
        shares[server.pid] = (server.cpu_s() - before) / extent.paced_window_s
        ended = time.perf_counter()
        await live.stop()
        finished[server.pid] = sum(begun <= a.ended < ended for a in live.answers)
    ours, bare = finished[pair.product.pid], finished[pair.bare.pid]
    direct = finished[simulator.pid]
    say(f"paced streams: product {ours}, bare {bare}, simulator itself {direct}, of {possible}")
    what = f"{extent.paced_streams} paced streams"
    return [
        Figure(
            f"{what}, bare relay finishes",
            pair.engine,
            bare,
            "",
            note=f"{possible} possible, {direct} without anything between; "
            f"{shares[pair.bare.pid]:.0%} of its core",
        ),
        Figure(
            f"{what}, finishes",
            pair.engine,
            ours,
            "",
            note=f"{shares[pair.product.pid]:.0%} of its core",
        ),
        Figure(
            f"{what}, over bare relay", pair.engine, ours / max(1, bare), "×", 0.85, at_most=False
        ),
    ]


async def measure_first_byte(
    pair: Pair, commits: CommitTimes, extent: Extent, say: Say
) -> list[Figure]:
    """Time to the first content, requests coming by chance beside live streams."""
    bare: list[list[float]] = []
    ours: list[list[float]] = []
    for number in range(extent.arrival_rounds):
        bare.append(await _first_bytes(pair.bare, extent, number))
        ours.append(await _first_bytes(pair.product, extent, number))
    figures = []
    for name, share, bar_ms in (
        ("p50", 0.5, 2 + commits.p50_ms),
        ("p99", 0.99, 10 + 2 * commits.p99_ms),
    ):
        bare_ms = [quantile(waits, share) for waits in bare]
        own_ms = [quantile(waits, share) for waits in ours]
        over = [b - a for a, b in zip(bare_ms, own_ms, strict=True)]
        middle, bare_middle = statistics.median(over), statistics.median(bare_ms)
        say(f"first byte, {name}: {middle:.1f} ms over the bare relay's {bare_middle:.1f} ms")
        figures.append(
            Figure(
                f"first byte over bare relay, {name}",
                pair.engine,
                middle,
                "ms",
                bar_ms,
                note=f"{_spread(over, 'ms')}; bare relay {_spread(bare_ms, 'ms')}",
                is_unsure=bare_middle > bar_ms,
            )
        )
    return figures


async def _first_bytes(server: Server, extent: Extent, number: int) -> list[float]:
    """Milliseconds to the first content of each arrival; the same arrivals for every server."""
    slow = requests_for(server, stream=True, steer="[[pace=40]][[tokens=25]]")
    background = Live(server.url, slow)
    background.start(extent.live_streams, 0.9)
    await asyncio.sleep(1.0)
    asked = requests_for(server, stream=True)
    answers = await arrivals(server.url, asked, 25, extent.arrival_s, random.Random(number))
    await background.leave()
    return [(answer.first - answer.asked) * 1e3 for answer in answers]
