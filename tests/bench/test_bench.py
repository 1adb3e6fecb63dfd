"""The bench itself runs: every figure is produced. What they are is for `make bench` to say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.bench.__main__ import measure_engine
from tests.bench.disk import CommitTimes, measure_disk
from tests.bench.figures import Figure, save, table
from tests.bench.traffic import Extent

TINY = Extent(
    rounds=1,
    requests=24,
    clients=8,
    paced_streams=8,
    paced_tokens=6,
    paced_window_s=0.3,
    arrival_rounds=1,
    arrival_s=0.4,
    live_streams=4,
    readers=8,
    deaf=2,
    settle_s=0.1,
    settlements=400,
    commits=10,
)


@pytest.fixture
def any_core() -> Iterator[None]:
    """Give the test process its cores back: the bench pins itself."""
    allowed = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, allowed)


BARS = {
    "cpu": {
        "CPU, JSON, over bare relay",
        "CPU, JSON, 1/11 of the proxy",
        "CPU, 20-chunk stream, over bare relay",
        "CPU, 20-chunk stream, 1/30 of the proxy",
        "CPU, 20 chunks 20 ms apart, over bare relay",
    },
    "paced": {"8 paced streams, over bare relay"},
    "first": {"first byte over bare relay, p50", "first byte over bare relay, p99"},
    "memory": {
        "idle RSS",
        "memory a stream, read",
        "memory a stream, not read",
        "RSS with 8 streams",
    },
}


@pytest.mark.usefixtures("any_core")
@pytest.mark.parametrize(
    ("engine", "parts"), [("hypercorn", {"cpu", "first"}), ("granian", {"paced", "memory"})]
)
def test_every_part_gives_figures(engine: str, parts: set[str]) -> None:
    """Each part of the bench, on one of the engines, with a handful of requests."""
    said: list[str] = []
    figures = uvloop.run(measure_engine(engine, TINY, CommitTimes(1.0, 2.0), parts, said.append))
    assert {f.engine for f in figures} == {engine}
    assert {f.name for f in figures if f.bar is not None} == set().union(
        *(BARS[part] for part in parts)
    )
    assert len(said) >= len(parts)


def test_the_disk_gives_figures() -> None:
    """Commits, settlements and the size of the database."""
    figures, commits = measure_disk(TINY.settlements, TINY.commits, lambda _: None)
    named = {figure.name: figure for figure in figures}
    assert {"fdatasync p50", "commit, open", "durable settlements"} <= named.keys()
    assert 0 < commits.p50_ms <= commits.p99_ms
    # That one is no matter of time: the rows are as large on any machine.
    assert named["database a request"].is_kept


def test_figures_show_their_bars(tmp_path: Path) -> None:
    """A value beside its bar, and the same as JSON."""
    figures = [
        Figure("quick", "granian", 1.5, "ms", 2.0),
        Figure("slow", "granian", 3_000, "ms", 2.0, note="why"),
        Figure("many", "", 0.9, "×", 0.85, at_most=False),
        Figure("told", "", 7, "MB"),
        Figure("disturbed", "", 1, "ms", 2, is_unsure=True),
    ]
    lines = [line.split() for line in table(figures).splitlines()[2:]]
    assert lines[0] == ["quick", "granian", "1.50", "ms", "≤", "2.00", "pass"]
    assert lines[1] == ["slow", "granian", "3,000", "ms", "≤", "2.00", "SHORT", "why"]
    assert lines[2] == ["many", "0.90", "×", "≥", "0.85", "pass"]
    assert lines[3] == ["told", "7.00", "MB"]
    assert lines[4] == ["disturbed", "1.00", "ms", "≤", "2.00", "unsure"]
    found = json.loads(save(figures, "bench", tmp_path).read_text())
    assert [figure["is_kept"] for figure in found["figures"]] == [True, False, True, None, None]
