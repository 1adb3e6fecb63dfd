"""Spend caps and the calendar they follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.money.spend import Period, SpendCap, period_start

DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(0, 4_102_444_800_000) | st.builds(
    lambda day, slip: max(0, day * DAY_MS + slip), st.integers(0, 47_482), st.integers(-2, 2)
)


def ms(text: str) -> int:
    """Unix ms of an ISO date or time, in UTC."""
    return int(
        (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) / timedelta(milliseconds=1)
    )


@given(moments)
def test_periods_start_as_the_calendar_says(now_ms: int) -> None:
    """Against `datetime`: midnight, Monday's midnight, the first of the month, the beginning."""
    now = EPOCH + timedelta(milliseconds=now_ms)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    expected = {
        Period.TOTAL: EPOCH,
        Period.DAILY: midnight,
        Period.WEEKLY: midnight - timedelta(days=now.weekday()),
        Period.MONTHLY: midnight.replace(day=1),
    }
    for period, start in expected.items():
        assert EPOCH + timedelta(milliseconds=period_start(period, now_ms)) == start


@pytest.mark.parametrize(
    ("period", "now", "start"),
    [
        (Period.DAILY, "2026-02-28T23:59:59.999", "2026-02-28"),
        (Period.DAILY, "2026-03-01", "2026-03-01"),
        (Period.WEEKLY, "2026-03-01T12:00", "2026-02-23"),
        (Period.WEEKLY, "2026-03-02", "2026-03-02"),
        (Period.MONTHLY, "2028-02-29T01:00", "2028-02-01"),
        (Period.MONTHLY, "2100-03-01", "2100-03-01"),
        (Period.MONTHLY, "2100-02-28T23:59", "2100-02-01"),
        (Period.MONTHLY, "2026-12-31T23:59:59", "2026-12-01"),
    ],
)
def test_known_days(period: Period, now: str, start: str) -> None:
    """Leap days, ends of years, and the century that has no leap day."""
    assert period_start(period, ms(now)) == ms(start)


def test_a_later_period_starts_anew_and_keeps_what_is_held() -> None:
    """At midnight the spending is nought again; running requests still hold their money."""
    cap = SpendCap(Period.DAILY, 100, spent_nanos=80, held_nanos=15, started_at=ms("2026-03-01"))
    cap.roll(ms("2026-03-01T23:59:59.999"))
    assert cap.free_nanos() == 5
    cap.roll(ms("2026-03-02"))
    assert (cap.spent_nanos, cap.held_nanos, cap.free_nanos()) == (0, 15, 85)
    assert cap.started_at == ms("2026-03-02")


def test_a_clock_set_back_opens_no_new_period() -> None:
    """Going back to yesterday and forward again to today gives no second allowance."""
    cap = SpendCap(Period.DAILY, 100, started_at=ms("2026-03-02"))
    cap.spent_nanos = 100
    for moment in ("2026-03-01T12:00", "2026-02-01", "2026-03-02T12:00"):
        cap.roll(ms(moment))
        assert cap.spent_nanos == 100
    cap.roll(ms("2026-03-03"))
    assert cap.spent_nanos == 0


@given(st.lists(moments, max_size=10))
def test_a_total_cap_never_starts_anew(times: list[int]) -> None:
    """No moment resets a cap on the total."""
    cap = SpendCap(Period.TOTAL, 100, spent_nanos=60)
    for now_ms in times:
        cap.roll(now_ms)
    assert (cap.spent_nanos, cap.free_nanos()) == (60, 40)


@given(st.sampled_from(list(Period)), st.lists(moments, max_size=10))
def test_the_period_only_moves_forward(period: Period, times: list[int]) -> None:
    """Whatever the clock says, the start of the period never goes back."""
    cap = SpendCap(period, None)
    for number, now_ms in enumerate(times):
        before = cap.started_at
        cap.roll(now_ms)
        seen = [0, *(period_start(period, moment) for moment in times[: number + 1])]
        assert before <= cap.started_at == max(seen)


def test_what_is_free() -> None:
    """No limit is no bound; a lowered limit may leave less than nothing."""
    assert SpendCap(Period.DAILY, None, spent_nanos=10**15).free_nanos() is None
    assert SpendCap(Period.DAILY, 100, spent_nanos=70, held_nanos=50).free_nanos() == -20
    assert SpendCap(Period.DAILY, 0).free_nanos() == 0
