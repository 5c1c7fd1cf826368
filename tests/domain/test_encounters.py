"""Trust: the smaller of what giving and receiving earn, which takes distinct people on distinct days."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.encounters import COMMENTS, DAYS, LIMITED_FOR, PEOPLE, POSTS, Given, Level, trust, wait_seconds

COUNTS = st.integers(0, 1_000)
MANY = 10**6


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_more_never_lowers_a_level(to: int, of: int, days: int, more_to: int, more_of: int, more_days: int) -> None:
    before, after = Given(to, of, days), Given(to + more_to, of + more_of, days + more_days)
    assert trust(before) <= trust(after)


@given(COUNTS, COUNTS)
def test_who_only_gives_or_only_takes_stays_low(few: int, days: int) -> None:
    few %= PEOPLE[0]
    for lopsided in (Given(MANY, few, MANY), Given(few, MANY, MANY), Given(MANY, MANY, days % DAYS[0])):
        assert trust(lopsided) == Level.NEW


@given(st.integers(1, 100), st.integers(0, MANY))
def test_a_ring_of_accounts_gets_no_further_than_it_is_large(size: int, days: int) -> None:
    """Everybody in it gives to everybody else, as often as they like."""
    level = trust(Given(size - 1, size - 1, days))
    assert level == Level.NEW or size > PEOPLE[level - 1]


def test_every_level_can_be_reached_and_each_takes_more() -> None:
    reached = [trust(Given(people, people, days)) for people, days in zip(PEOPLE, DAYS, strict=True)]
    assert reached == [Level.KNOWN, Level.TRUSTED, Level.VALUED, Level.PILLAR]
    for limits in (POSTS, COMMENTS):
        assert list(limits) == list(Level)
        assert sorted(limits.values()) == list(limits.values())


@given(st.integers(0, 10**6))
def test_waiting_ends_when_the_day_is_over(passed: int) -> None:
    now = datetime(2026, 12, 12, tzinfo=UTC)
    written = now - timedelta(seconds=passed)
    wait = wait_seconds(written, now)
    assert wait == max(0, LIMITED_FOR.total_seconds() - passed)
    assert wait_seconds(written, now + timedelta(seconds=wait)) == 0
    assert wait_seconds(None, now) == 0
