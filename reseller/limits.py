"""Rate limits: token buckets on the monotonic clock, per account and per key.

A refused request consumes nothing. Hour and day levels are saved and restored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass

from reseller.errors import RateLimited

# Refilling in floating point may fall this short of a whole unit.
_HAIR = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an account or key, each at least 1; None means no bound of that kind."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def __post_init__(self) -> None:
        for bound in astuple(self):
            assert bound is None or bound > 0, self


class TokenBucket:
    """`capacity` units that refill evenly over `period_s`; the level may fall below zero."""

    __slots__ = ("capacity", "level", "name", "period_s", "rate", "updated")

    def __init__(self, name: str, capacity: int, period_s: float, now: float) -> None:
        assert capacity > 0
        self.name = name
        self.capacity = capacity
        self.period_s = period_s
        self.rate = capacity / period_s
        self.level = float(capacity)
        self.updated = now

    def fill(self, now: float) -> float:
        """Bring the level up to `now` and return it."""
        if now > self.updated:
            self.level = min(float(self.capacity), self.level + (now - self.updated) * self.rate)
            self.updated = now
        return self.level

    def add(self, units: float) -> None:
        """Put units back, or take more if negative; never above the capacity."""
        self.level = min(float(self.capacity), self.level + units)

    def has_one(self, now: float) -> bool:
        """Whether one unit is there; the hair keeps a wait of exactly `wait_s` long enough."""
        return self.fill(now) >= 1 - _HAIR

    def wait_s(self, units: float) -> float:
        """Seconds until `units` (capped at the capacity) are there, from the last fill."""
        missing = min(units, self.capacity) - self.level
        return max(0.0, missing / self.rate)

    def reset_s(self) -> float:
        """Seconds until the bucket is full again."""
        return max(0.0, (self.capacity - self.level) / self.rate)


_REQUEST_WINDOWS = (("minute", 60.0), ("hour", 3_600.0), ("day", 86_400.0))


class Limiter:
    """The buckets of one account or key, and its running requests."""

    __slots__ = ("limits", "requests", "running", "tokens", "whose")

    def __init__(self, whose: str, limits: Limits, now: float) -> None:
        self.whose = whose
        self.running = 0
        self.apply(limits, now)

    def apply(self, limits: Limits, now: float) -> None:
        """Take new limits; buckets start full (an operator who changes limits starts afresh)."""
        self.limits = limits
        counts = (limits.requests_per_minute, limits.requests_per_hour, limits.requests_per_day)
        self.requests = [
            TokenBucket(name, count, period, now)
            for (name, period), count in zip(_REQUEST_WINDOWS, counts, strict=True)
            if count is not None
        ]
        per_minute = limits.tokens_per_minute
        self.tokens = None if per_minute is None else TokenBucket("minute", per_minute, 60.0, now)

    def check(self, now: float) -> None:
        """Raise RateLimited unless one more request fits. Takes nothing."""
        bound = self.limits.concurrent_requests
        if bound is not None and self.running >= bound:
            raise _limited(f"{bound} requests of this {self.whose} are already running", 1.0)
        for bucket in self.requests:
            if not bucket.has_one(now):
                raise _limited(
                    f"The limit of {bucket.capacity} requests per {bucket.name} for this "
                    f"{self.whose} is reached",
                    bucket.wait_s(1),
                )
        if self.tokens is not None and not self.tokens.has_one(now):
            raise _limited(
                f"The limit of {self.tokens.capacity} tokens per minute for this "
                f"{self.whose} is reached",
                self.tokens.wait_s(1),
            )

    def take(self, tokens: int) -> None:
        """Consume one request and its estimated tokens; call after every check has passed."""
        self.running += 1
        for bucket in self.requests:
            bucket.level -= 1
        if self.tokens is not None:
            self.tokens.level -= tokens

    def give_back(self, tokens: int) -> None:
        """Undo `take`: the request was refused further on, and a refusal consumes nothing."""
        for bucket in self.requests:
            bucket.add(1)
        self.finish(tokens, 0)

    def finish(self, estimated_tokens: int, actual_tokens: int) -> None:
        """A request ended: correct the token bucket by what it really used."""
        assert self.running > 0
        self.running -= 1
        if self.tokens is not None:
            self.tokens.add(estimated_tokens - actual_tokens)

    def levels(self, now: float | None = None) -> dict[str, float]:
        """Hour and day levels, to be saved; give `now` so that what refilled since is in them."""
        if now is not None:
            for bucket in self.requests:
                bucket.fill(now)
        return {b.name: b.level for b in self.requests if b.name != "minute"}

    def restore(self, levels: dict[str, float], elapsed_s: float) -> None:
        """Put saved levels back, refilled by the wall time since (never negative)."""
        for bucket in self.requests:
            saved = levels.get(bucket.name)
            if saved is not None:
                refilled = saved + max(0.0, elapsed_s) * bucket.rate
                bucket.level = min(float(bucket.capacity), refilled)


def admit(limiters: Iterable[Limiter], tokens: int, now: float) -> None:
    """Take one request from all limiters, or raise RateLimited and take from none."""
    everyone = tuple(limiters)
    for limiter in everyone:
        limiter.check(now)
    for limiter in everyone:
        limiter.take(tokens)


def rate_headers(limiter: Limiter, *more: Limiter) -> list[tuple[bytes, bytes]]:
    """OpenAI's `x-ratelimit-*` headers from the minute buckets as they stand now; of several
    limiters, the one with the least left counts."""
    requests, tokens = _per_minute(limiter), limiter.tokens
    for other in more:
        requests, tokens = _emptier(requests, _per_minute(other)), _emptier(tokens, other.tokens)
    headers = []
    if requests is not None:
        headers += _bucket_headers(b"requests", requests)
    if tokens is not None:
        headers += _bucket_headers(b"tokens", tokens)
    return headers


def _per_minute(limiter: Limiter) -> TokenBucket | None:
    first = limiter.requests[0] if limiter.requests else None
    return first if first is not None and first.name == "minute" else None


def _emptier(one: TokenBucket | None, other: TokenBucket | None) -> TokenBucket | None:
    if one is None or other is None:
        return one or other
    return other if other.level < one.level else one


def _bucket_headers(what: bytes, bucket: TokenBucket) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % bucket.capacity),
        (b"x-ratelimit-remaining-" + what, b"%d" % max(0, int(bucket.level))),
        (b"x-ratelimit-reset-" + what, b"%dms" % math.ceil(bucket.reset_s() * 1000)),
    ]


def _limited(message: str, wait_s: float) -> RateLimited:
    wait_ms = max(1, math.ceil(wait_s * 1000))
    return RateLimited(
        f"{message}. Try again in {math.ceil(wait_ms / 1000)} s.", retry_after_ms=wait_ms
    )
