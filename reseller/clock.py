"""Time: the only place that reads a clock. Passed to whatever needs it."""

from __future__ import annotations

import time


class Clock:
    """Wall time for records, monotonic time for durations."""

    def now_ms(self) -> int:
        """Wall clock, unix ms. May jump; never used for a duration."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        return time.monotonic()


class ShiftedClock(Clock):
    """A clock that can be moved: the sandbox and tests live through hours in a moment."""

    def __init__(self) -> None:
        self._shift_ms = 0
        self._ahead_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks. Only forward."""
        assert seconds >= 0
        self._shift_ms += round(seconds * 1000)
        self._ahead_s += seconds

    def shift_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a bad time server would."""
        self._shift_ms += round(seconds * 1000)

    def now_ms(self) -> int:
        """Wall clock, unix ms, moved by all that was asked for."""
        return super().now_ms() + self._shift_ms

    def monotonic(self) -> float:
        """Monotonic seconds, ahead by all that was let pass."""
        return super().monotonic() + self._ahead_s
