"""Steering the simulator from the command line, as one would while trying things out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reseller.cli import main
from tests.cli.simulated import Simulated


@pytest.fixture(scope="module")
def simulated() -> Iterator[Simulated]:
    """A simulator in a thread of its own."""
    made = Simulated()
    thread = threading.Thread(target=made.run)
    thread.start()
    assert made.ready.wait(10)
    yield made
    made.stop()
    thread.join(10)


def steer(simulated: Simulated, folder: Path, *arguments: str) -> Result:
    """`reseller sandbox …`."""
    words = ["--data-dir", str(folder), "sandbox", *arguments]
    return CliRunner().invoke(main, words, env={"RESELLER_SIMULATOR": simulated.url})


def test_behaviour_is_shown_and_changed(simulated: Simulated, tmp_path: Path) -> None:
    """A change holds and shows; a wrong name or value is refused and changes nothing."""
    changed = steer(simulated, tmp_path, "set", "latency_ms=7", "exponent_costs=true", "--json")
    assert json.loads(changed.output)["latency_ms"] == 7
    assert "latency_ms" in steer(simulated, tmp_path, "set").output
    assert steer(simulated, tmp_path, "set", "latency_ms=soon").exit_code == 2
    assert steer(simulated, tmp_path, "set", "nonsense").exit_code == 2
    assert json.loads(steer(simulated, tmp_path, "set", "--json").output)["latency_ms"] == 7


def test_faults_are_queued_and_cleared(simulated: Simulated, tmp_path: Path) -> None:
    """A named fault waits for its requests until it is cleared."""
    assert steer(simulated, tmp_path, "fault", "cost-null", "--count", "3").exit_code == 0
    waiting = json.loads(steer(simulated, tmp_path, "faults", "--json").output)["waiting"]
    assert [(each["name"], each["left"]) for each in waiting] == [("cost-null", 3)]
    assert "cost-null" in steer(simulated, tmp_path, "faults").output
    cleared = json.loads(steer(simulated, tmp_path, "faults", "--clear", "--json").output)
    assert cleared["waiting"] == []
    assert steer(simulated, tmp_path, "fault", "no-such-fault").exit_code == 2


def test_clock_books_and_release(simulated: Simulated, tmp_path: Path) -> None:
    """The other switches answer."""
    assert steer(simulated, tmp_path, "advance", "60").exit_code == 0
    assert steer(simulated, tmp_path, "release").exit_code == 0
    assert "Nothing was billed" in steer(simulated, tmp_path, "books").output


def test_no_simulator_is_said(tmp_path: Path) -> None:
    """Where nothing answers, the command says so and ends with 1."""
    words = ["--data-dir", str(tmp_path), "sandbox", "set", "--url", "http://127.0.0.1:9/sim"]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 1
    assert "does not answer" in found.output
