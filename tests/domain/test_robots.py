"""How often a robot may speak, what it says next, and how news is put."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.robots import (
    EDIT_WITHIN,
    LONGEST_BACKOFF,
    LONGEST_PAUSE,
    PACE,
    PATIENCE,
    PERIOD,
    SETTLE,
    Kind,
    burst,
    earned_at,
    joined_line,
    may_edit,
    may_speak_at,
    news_due,
    next_kind,
    pause,
)

NOW = datetime(2026, 11, 26, 4, tzinfo=UTC)
SECONDS = st.floats(0, 200, allow_nan=False).map(lambda seconds: timedelta(seconds=seconds))


def spoken(tries: Sequence[timedelta], per_minute: int) -> list[datetime]:
    """When a robot speaks that would like to after each of these pauses."""
    earned, now, said = NOW, NOW, []
    for wait in tries:
        now += wait
        if may_speak_at(earned, per_minute) <= now:
            said.append(now)
            earned = earned_at(earned, now, per_minute)
    return said


def most_in(said: Sequence[datetime], window: timedelta) -> int:
    """The most messages in any window, which begins with one of them and does not hold its end."""
    return max((sum(first <= at < first + window for at in said) for first in said), default=0)


@given(tries=st.lists(SECONDS, max_size=300), per_minute=st.integers(1, 600))
def test_no_period_has_more_messages_than_a_minute_may(tries: list[timedelta], per_minute: int) -> None:
    said = spoken(tries, per_minute)
    assert most_in(said, PERIOD) <= per_minute


@given(
    tries=st.lists(SECONDS, max_size=200),
    late=st.lists(st.floats(0, 10, exclude_max=True), min_size=200, max_size=200),
    per_minute=st.integers(1, 60),
)
def test_no_minute_sees_more_however_long_each_is_on_its_way(
    tries: list[timedelta], late: list[float], per_minute: int
) -> None:
    said = spoken(tries, per_minute)
    arrived = sorted(at + timedelta(seconds=seconds) for at, seconds in zip(said, late, strict=False))
    assert most_in(arrived, timedelta(minutes=1)) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 3, 4, 19, 20, 50, 300])
def test_who_always_has_something_to_say_says_nearly_as_much_as_allowed(per_minute: int) -> None:
    step = timedelta(milliseconds=50)
    said = spoken([step] * round(timedelta(minutes=10) / step), per_minute)
    assert len([at for at in said if at <= NOW + step]) == 1
    assert said[: burst(per_minute)] == [NOW + step * number for number in range(1, burst(per_minute) + 1)]
    allowed = timedelta(minutes=10) / PERIOD * per_minute
    assert len(said) >= math.floor(allowed * (per_minute - burst(per_minute)) / per_minute)


@given(failures=st.integers(1, 10_000), retry_after=st.none() | st.floats())
def test_a_pause_is_never_longer_than_it_may_be_and_never_nothing(failures: int, retry_after: float | None) -> None:
    waits = pause(failures, retry_after)
    assert timedelta(seconds=2) <= waits <= LONGEST_PAUSE
    if retry_after is None:
        assert waits <= LONGEST_BACKOFF
    elif 0 < retry_after <= LONGEST_PAUSE.total_seconds():
        assert waits >= timedelta(seconds=retry_after)


def test_pauses_grow() -> None:
    assert [pause(failures, None).total_seconds() for failures in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]
    assert pause(1, 7).total_seconds() == 7


def test_answers_go_first_but_not_for_ever() -> None:
    just, long_ago = NOW - PATIENCE + timedelta(seconds=1), NOW - PATIENCE
    assert next_kind({Kind.ANSWER: NOW, Kind.NEWS: just, Kind.PUSH: just}, NOW) == Kind.ANSWER
    assert next_kind({Kind.ANSWER: long_ago - PATIENCE, Kind.NEWS: long_ago, Kind.PUSH: just}, NOW) == Kind.NEWS
    assert next_kind({Kind.ANSWER: NOW, Kind.NEWS: just, Kind.PUSH: long_ago}, NOW) == Kind.PUSH
    assert next_kind({Kind.NEWS: just, Kind.PUSH: just}, NOW) == Kind.NEWS
    assert next_kind({Kind.NEWS: NOW, Kind.PUSH: just}, NOW) == Kind.PUSH


def test_news_waits_for_more_of_it_unless_it_matters() -> None:
    assert news_due(NOW, None, matters=True) == NOW
    assert news_due(NOW, None, matters=False) == NOW + SETTLE
    assert news_due(NOW, NOW - PACE / 2, matters=False) == NOW + PACE / 2
    assert news_due(NOW, NOW - 2 * PACE, matters=False) == NOW + SETTLE


def test_a_message_is_changed_while_it_is_in_sight() -> None:
    assert may_edit(NOW, NOW, matters=False)
    assert not may_edit(NOW, NOW, matters=True)
    assert not may_edit(NOW - EDIT_WITHIN, NOW, matters=False)
    assert not may_edit(None, NOW, matters=False)


@pytest.mark.parametrize(
    ("joined", "ago", "zh", "en"),
    [
        (3, 40, "过去 1 分钟 3 人参团", "3 joined in the last minute"),
        (3, 61, "过去 2 分钟 3 人参团", "3 joined in the last 2 minutes"),
        (1, 3600, "过去 60 分钟 1 人参团", "1 joined in the last 60 minutes"),
        (12, 9 * 3600, "新加入 12 人", "12 joined"),
        (0, 40, None, None),
    ],
)
def test_how_many_joined_is_said_with_since_when(joined: int, ago: int, zh: str | None, en: str | None) -> None:
    since = NOW - timedelta(seconds=ago)
    assert joined_line(joined, since, NOW, zh=True) == zh
    assert joined_line(joined, since, NOW, zh=False) == en
