"""Limits: as many as were promised, never more, and earned again with time."""

from hypothesis import given
from hypothesis import strategies as st

from app.limiting import Limiter


def test_a_burst_and_then_the_rate() -> None:
    limiter = Limiter(rate=2, burst=4)
    asked = [limiter.ask("one", 100.0) for _ in range(6)]
    assert [allowance and allowance.remaining for allowance in asked] == [3, 2, 1, 0, 0, 0]
    assert [allowance and allowance.retry_seconds for allowance in asked] == [0, 0, 0, 0, 1, 1]
    assert asked[0] is not None
    assert (asked[0].limit, asked[0].reset_seconds) == (4, 1)
    assert [allowance and allowance.retry_seconds for allowance in (limiter.ask("other", 100.0),)] == [0]
    later = [limiter.ask("one", 101.0) for _ in range(3)]
    assert [allowance and allowance.retry_seconds for allowance in later] == [0, 0, 1]


def test_a_rate_of_nothing_limits_nothing() -> None:
    assert Limiter(rate=0, burst=1).ask("one") is None
    assert Limiter(rate=0, burst=1).wait("one") == 0


@given(
    rate=st.floats(min_value=0.1, max_value=1000),
    burst=st.integers(min_value=1, max_value=20),
    pauses=st.lists(st.floats(min_value=0, max_value=10), max_size=40),
)
def test_one_is_told_to_wait_exactly_when_one_more_is_too_many(
    rate: float, burst: int, pauses: list[float]
) -> None:
    limiter, now = Limiter(rate, burst), 50.0
    for pause in pauses:
        now += pause
        told = [limiter.wait("one", now) for _ in range(2)]
        allowance = limiter.ask("one", now)
        assert allowance is not None
        assert told == [allowance.retry_seconds] * 2


@given(
    rate=st.floats(min_value=0.1, max_value=1000),
    burst=st.integers(min_value=1, max_value=50),
    pauses=st.lists(st.floats(min_value=0, max_value=10), max_size=60),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    limiter, now, passed = Limiter(rate, burst), 50.0, []
    for pause in pauses:
        now += pause
        allowance = limiter.ask("one", now)
        assert allowance is not None
        if not allowance.retry_seconds:
            passed.append(now)
    for start, first in enumerate(passed):
        for count, last in enumerate(passed[start:], 1):
            assert count <= burst + rate * (last - first) + 1e-3


@given(rate=st.floats(min_value=0.1, max_value=100), burst=st.integers(min_value=1, max_value=20))
def test_whoever_waits_as_long_as_told_is_served(rate: float, burst: int) -> None:
    limiter = Limiter(rate, burst)
    for _ in range(burst):
        limiter.ask("one", 10.0)
    refused = limiter.ask("one", 10.0)
    assert refused is not None
    assert refused.retry_seconds
    again = limiter.ask("one", 10.0 + refused.retry_seconds)
    assert again is not None
    assert not again.retry_seconds


def test_it_does_not_grow_for_ever() -> None:
    limiter = Limiter(rate=1, burst=1)
    limiter.SIZE = 3
    for key in "abcd":
        limiter.ask(key, 1.0)
    assert len(limiter._earned_at) == 3
