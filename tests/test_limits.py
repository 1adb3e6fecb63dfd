"""Token buckets and the requests they let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.errors import RateLimited
from reseller.limits import Limiter, Limits, TokenBucket, admit, rate_headers

START = 1000.0


def limiter(whose: str = "account", **bounds: int) -> Limiter:
    """A limiter with these bounds, full at START."""
    return Limiter(whose, Limits(**bounds), START)


def refusal(limiters: list[Limiter], now: float, tokens: int = 0) -> RateLimited:
    """The refusal of one more request; it takes nothing from anyone."""
    before = [state(one) for one in limiters]
    with pytest.raises(RateLimited) as refused:
        admit(limiters, tokens, now)
    for one, levels in zip(limiters, before, strict=True):
        assert state(one)[0] == levels[0]
        assert all(a >= b for a, b in zip(state(one)[1], levels[1], strict=True))
    return refused.value


def state(one: Limiter) -> tuple[int, list[float]]:
    """Running requests and all levels."""
    tokens = [one.tokens.level] if one.tokens is not None else []
    return (one.running, [bucket.level for bucket in one.requests] + tokens)


def test_a_full_bucket_lets_its_capacity_through() -> None:
    """60 a minute: 60 at once, then one a second."""
    one = limiter(requests_per_minute=60)
    for _ in range(60):
        admit([one], 0, START)
    refused = refusal([one], START)
    assert refused.retry_after_ms == 1000
    assert "60 requests per minute for this account" in refused.message
    assert "Try again in 1 s." in refused.message
    refusal([one], START + 0.99)
    admit([one], 0, START + 1)
    refusal([one], START + 1.5)


@given(
    st.integers(1, 100_000),
    st.sampled_from([60.0, 3_600.0, 86_400.0]),
    st.floats(0, 10**7),
    st.integers(0, 50),
)
def test_waiting_as_told_is_enough(
    capacity: int, period_s: float, now: float, overdrawn: int
) -> None:
    """Whoever comes back after exactly the stated time is let in."""
    bucket = TokenBucket("minute", capacity, period_s, now)
    bucket.add(-capacity - overdrawn)
    wait_s = bucket.wait_s(1)
    assert wait_s > 0
    assert not bucket.has_one(now)
    assert not bucket.has_one(now + wait_s * 0.99)
    assert bucket.has_one(now + wait_s)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 40)), max_size=30))
def test_never_more_than_capacity_and_refill(steps: list[tuple[float, int]]) -> None:
    """In any span no more requests pass than the bucket held plus what it refilled."""
    one = limiter(requests_per_minute=30)
    now, passed = START, 0
    for pause, tries in steps:
        now += pause
        for _ in range(tries):
            try:
                admit([one], 0, now)
            except RateLimited:
                break
            passed += 1
    assert passed <= 30 + (now - START) * 0.5 + 1e-3


def test_a_bucket_never_overflows() -> None:
    """Days of silence, a clock that stands still or goes back: at most the capacity."""
    bucket = TokenBucket("minute", 10, 60, START)
    bucket.add(-4)
    assert bucket.fill(START) == 6
    assert bucket.fill(START - 100) == 6
    assert bucket.fill(START + 6) == pytest.approx(7)
    assert bucket.fill(START + 10**6) == 10
    bucket.add(5)
    assert bucket.level == 10
    assert (bucket.wait_s(1), bucket.reset_s()) == (0, 0)


@pytest.mark.parametrize(("name", "seconds"), [("minute", 20), ("hour", 1200), ("day", 28_800)])
def test_each_window_refuses_by_its_name(name: str, seconds: int) -> None:
    """Three a window: the fourth has to wait a third of it."""
    one = limiter(**{f"requests_per_{name}": 3})
    for _ in range(3):
        admit([one], 0, START)
    refused = refusal([one], START)
    assert refused.retry_after_ms == seconds * 1000
    assert f"3 requests per {name}" in refused.message
    admit([one], 0, START + seconds)


def test_the_tightest_of_all_decides_and_a_refusal_costs_nothing() -> None:
    """A request refused by the key leaves the account's buckets as they were, and vice versa."""
    account = limiter(requests_per_minute=100, requests_per_hour=5, concurrent_requests=50)
    key = limiter("key", requests_per_minute=2, tokens_per_minute=1000)
    for _ in range(2):
        admit([account, key], 10, START)
    for order in ([account, key], [key, account]):
        assert "this key" in refusal(order, START, 10).message
    assert state(account) == (2, [98, 3])
    assert state(key) == (2, [0, 980])


def test_any_iterable_of_limiters_is_taken_from() -> None:
    """A generator can be walked once only; everyone in it pays all the same."""
    pair = [limiter(requests_per_minute=5), limiter("key", requests_per_minute=5)]
    admit((one for one in pair), 0, START)
    assert [state(one) for one in pair] == [(1, [4]), (1, [4])]


def test_running_requests_are_bounded() -> None:
    """One more than the bound waits for one to finish, in about a second."""
    one = limiter(concurrent_requests=2)
    admit([one], 0, START)
    admit([one], 0, START)
    refused = refusal([one], START)
    assert (refused.retry_after_ms, refused.http_status) == (1000, 429)
    assert "2 requests of this account are already running" in refused.message
    one.finish(0, 0)
    admit([one], 0, START)


def test_tokens_are_corrected_by_what_was_used() -> None:
    """An estimate is taken first; the difference is given back, or taken, at the end."""
    one = limiter(tokens_per_minute=600)
    admit([one], 500, START)
    one.finish(500, 200)
    assert state(one) == (0, [400])
    admit([one], 100, START)
    one.finish(100, 900)
    assert state(one) == (0, [-500])
    refused = refusal([one], START)
    assert refused.retry_after_ms == 50_100
    assert "600 tokens per minute" in refused.message
    admit([one], 0, START + 50.1)


def test_giving_back_does_not_fill_above_the_brim() -> None:
    """Estimated tokens that come back after the bucket has refilled are not saved up."""
    one = limiter(tokens_per_minute=600)
    admit([one], 600, START)
    admit([one], 0, START + 120)
    one.finish(600, 0)
    assert state(one) == (1, [600])


def test_a_request_refused_further_on_is_given_back() -> None:
    """Whoever is then refused for want of money has used up no request."""
    one = limiter(requests_per_minute=5, requests_per_day=9, tokens_per_minute=100)
    admit([one], 40, START)
    one.give_back(40)
    assert state(one) == (0, [5, 9, 100])


def test_finishing_more_than_was_started_is_our_mistake() -> None:
    """The count of running requests never goes below nought."""
    one = limiter(requests_per_minute=5)
    for end in (lambda: one.finish(0, 0), lambda: one.give_back(0)):
        with pytest.raises(AssertionError):
            end()


def test_no_bounds_bound_nothing() -> None:
    """None is no bound of that kind."""
    one = limiter()
    for _ in range(1000):
        admit([one], 10**9, START)
    assert (one.running, rate_headers(one)) == (1000, [])


@pytest.mark.parametrize("bound", [0, -1])
@pytest.mark.parametrize("name", list(Limits.__slots__))
def test_a_bound_is_at_least_one(name: str, bound: int) -> None:
    """Nought would read as "no bound" to one and as "nothing at all" to another."""
    with pytest.raises(AssertionError):
        Limits(**{name: bound})


def test_new_limits_start_full_and_keep_what_is_running() -> None:
    """An operator's change takes effect at once; running requests still end well."""
    one = limiter(requests_per_minute=1, tokens_per_minute=10)
    admit([one], 10, START)
    one.apply(Limits(requests_per_minute=2, tokens_per_minute=20, concurrent_requests=2), START)
    assert state(one) == (1, [2, 20])
    admit([one], 1, START)
    refusal([one], START)
    one.finish(10, 3)
    assert state(one) == (1, [1, 20])


def test_levels_outlive_a_restart() -> None:
    """Hour and day come back, refilled by the time that passed; the minute starts full."""
    bounds = {"requests_per_minute": 60, "requests_per_hour": 3600, "requests_per_day": 86_400}
    one = limiter(**bounds)
    for _ in range(50):
        admit([one], 0, START)
    saved = one.levels()
    assert saved == {"hour": 3550, "day": 86_350}
    later = limiter(**bounds)
    later.restore(saved, 20.0)
    assert state(later) == (0, [60, 3570, 86_370])
    later.restore(saved, -500.0)
    assert state(later) == (0, [60, 3550, 86_350])
    later.restore({"hour": 3599, "week": 1}, 10**9)
    assert state(later)[1][1] == 3600


def test_saved_levels_hold_what_refilled_since() -> None:
    """A limiter untouched for ten minutes is saved as it is now, not as it was then."""
    one = limiter(requests_per_hour=3600)
    for _ in range(1000):
        admit([one], 0, START)
    assert one.levels() == {"hour": 2600}
    assert one.levels(START + 600) == {"hour": 3200}


def test_headers_tell_where_one_stands() -> None:
    """OpenAI's names, from the minute buckets; a debt shows as nought."""
    one = limiter(requests_per_minute=60, tokens_per_minute=600)
    for tokens in (300, 500):
        admit([one], tokens, START)
    assert dict(rate_headers(one)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"58",
        b"x-ratelimit-reset-requests": b"2000ms",
        b"x-ratelimit-limit-tokens": b"600",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"80000ms",
    }
    assert rate_headers(limiter(requests_per_hour=5)) == []
