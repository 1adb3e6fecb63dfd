"""Clocks: the real one, and the one that can be moved."""

from __future__ import annotations

import time

import pytest

from reseller.clock import Clock, ShiftedClock


def test_the_clock_is_the_systems() -> None:
    """Unix milliseconds and monotonic seconds."""
    clock = Clock()
    assert abs(clock.now_ms() - time.time() * 1000) < 5_000
    assert abs(clock.monotonic() - time.monotonic()) < 5
    assert isinstance(clock.now_ms(), int)
    assert clock.monotonic() <= clock.monotonic()


def test_advancing_moves_both_clocks(clock: ShiftedClock) -> None:
    """An hour and a half second pass everywhere."""
    wall, steady = clock.now_ms(), clock.monotonic()
    clock.advance(3600.5)
    assert 3_600_500 <= clock.now_ms() - wall < 3_605_500
    assert 3600.5 <= clock.monotonic() - steady + 1e-6 < 3605.5


def test_time_does_not_run_backwards(clock: ShiftedClock) -> None:
    """Only the wall clock may be set back; durations never see it."""
    with pytest.raises(AssertionError):
        clock.advance(-1)
    wall, steady = clock.now_ms(), clock.monotonic()
    clock.shift_wall(-7200)
    assert -7_200_000 <= clock.now_ms() - wall < -7_195_000
    assert 0 <= clock.monotonic() - steady < 5
    clock.shift_wall(7200)
    assert 0 <= clock.now_ms() - wall < 5_000


def test_shifts_add_up(clock: ShiftedClock) -> None:
    """Many small steps are as far as one large one."""
    wall = clock.now_ms()
    for _ in range(1000):
        clock.advance(0.25)
    assert 250_000 <= clock.now_ms() - wall < 255_000
