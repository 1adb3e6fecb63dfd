"""What every test shares: the Hypothesis profile, clocks, ids, and the `--slow` switch."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from reseller.clock import ShiftedClock
from reseller.ids import Ids

_WANTS_SLOW = os.environ.get("RESELLER_SLOW", "") not in ("", "0")

# The quick profile repeats the same examples on every run, so that a red test is a red change;
# the long one looks for new ones.
settings.register_profile("quick", max_examples=30, derandomize=True, database=None, deadline=None)
settings.register_profile(
    "long",
    max_examples=1_000,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("long" if _WANTS_SLOW else "quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--slow`, which runs the long series too (so does RESELLER_SLOW=1)."""
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis look further when the long series are asked for."""
    if config.getoption("--slow"):
        settings.load_profile("long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked slow unless it was asked for."""
    if _WANTS_SLOW or config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow or RESELLER_SLOW=1")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def clock() -> ShiftedClock:
    """A clock that a test can move."""
    return ShiftedClock()


@pytest.fixture
def ids() -> Ids:
    """A source of random ids."""
    return Ids()
