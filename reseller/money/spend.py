"""Spend caps: the most a key or an account may spend within a period."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reseller.units import Nanos

_DAY_MS = 86_400_000
# 1 January 1970 was a Thursday; weeks start on Monday.
_MONDAY_SHIFT_MS = 3 * _DAY_MS


class Period(StrEnum):
    """How often a cap starts anew, at 00:00 UTC (weeks on Monday); `total` never does."""

    TOTAL = "total"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def period_start(period: Period, now_ms: int) -> int:
    """Unix ms at which the period that holds `now_ms` began; 0 for `total`."""
    if period is Period.TOTAL:
        return 0
    if period is Period.DAILY:
        return now_ms - now_ms % _DAY_MS
    if period is Period.WEEKLY:
        return now_ms - (now_ms + _MONDAY_SHIFT_MS) % (7 * _DAY_MS)
    days = now_ms // _DAY_MS
    return (days - _day_of_month(days) + 1) * _DAY_MS


def _day_of_month(days_since_epoch: int) -> int:
    """Day of the month by the civil-from-days rule (years start in March, eras of 400 years)."""
    shifted = days_since_epoch + 719_468
    day_of_era = shifted % 146_097
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    return day_of_year - (153 * month + 2) // 5 + 1


@dataclass(slots=True)
class SpendCap:
    """What was spent and is held against a limit; `limit_nanos` None counts without bounding."""

    period: Period
    limit_nanos: Nanos | None
    spent_nanos: Nanos = 0
    held_nanos: Nanos = 0
    started_at: int = 0

    def roll(self, now_ms: int) -> None:
        """Start the period of `now_ms` if it is a later one. A clock set back changes nothing."""
        start = period_start(self.period, now_ms)
        if start > self.started_at:
            self.started_at = start
            self.spent_nanos = 0

    def free_nanos(self) -> Nanos | None:
        """What may still be held, or None where there is no limit. May be negative."""
        if self.limit_nanos is None:
            return None
        return self.limit_nanos - self.spent_nanos - self.held_nanos
