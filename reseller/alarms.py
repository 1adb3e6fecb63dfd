"""What the operator has to hear. One standing alarm a kind; repeats count, they do not pile up."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from reseller.clock import Clock

log = logging.getLogger("reseller.alarm")


@dataclass(slots=True)
class Alarm:
    """A standing alarm: first and last time (unix ms), how often, what it said last."""

    kind: str
    detail: str
    first_at: int
    last_at: int
    times: int = 1


class Alarms:
    """Standing alarms in memory; a job writes changes to the database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.standing: dict[str, Alarm] = {}
        self.unsaved: list[Alarm] = []
        self.cleared: list[str] = []

    def tell(self, kind: str, detail: str) -> None:
        """Raise an alarm, or count it again if it stands."""
        now = self._clock.now_ms()
        alarm = self.standing.get(kind)
        if alarm is None:
            alarm = self.standing[kind] = Alarm(kind, detail, now, now)
            log.error("%s: %s", kind, detail)
        else:
            alarm.times += 1
            alarm.last_at = now
            alarm.detail = detail
            log.warning("%s again (%d times): %s", kind, alarm.times, detail)
        if alarm not in self.unsaved:
            self.unsaved.append(alarm)

    def clear(self, kind: str) -> None:
        """What was wrong is right again."""
        if self.standing.pop(kind, None) is not None:
            self.cleared.append(kind)
            log.warning("%s is over", kind)
