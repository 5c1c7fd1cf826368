"""Broadcasts: prices that only grow, a budget that is never below nothing, quiet hours of every clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import InvalidTerms
from app.domain.notices import NoticeKind, Wording, worded
from app.domain.pushes import (
    DIGEST_AT,
    DIGEST_LINES,
    EARNING_DAYS,
    LEAST_PRICE,
    MAX_AHEAD,
    MINUTE,
    allowance,
    budget,
    digest_text,
    digest_time,
    first_day,
    is_quiet,
    next_allowed,
    price,
    start_time,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")
DAY = 24 * 60
people = st.integers(1, 10**7)
weeks = st.integers(0, 1000)
minutes = st.integers(0, DAY - 1)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
zones = st.sampled_from(
    ["Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
).map(ZoneInfo)
IN_SPRING = datetime(2026, 3, 8, 6, 59, tzinfo=UTC)
IN_AUTUMN = datetime(2026, 11, 1, 5, 10, tzinfo=UTC)
"""In New York: right before the hour that is missing, and in the one there is twice."""


def at(text: str, zone: ZoneInfo, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@given(people, people, weeks, weeks)
def test_more_members_and_more_pushes_are_dearer(one: int, other: int, sent: int, later: int) -> None:
    few, many = sorted((one, other))
    once, often = sorted((sent, later))
    assert LEAST_PRICE <= price(few, once) <= price(many, once) <= price(many, often)
    assert price(many, once) < price(many, once + 1)
    assert price(few + 10 * LEAST_PRICE, once) > price(few, once)
    assert all(isinstance(price(few, sent), int) for sent in (once, often))


@given(people, st.integers(0, 100))
def test_the_price_of_a_member_does_not_depend_on_how_many_there_are(members: int, sent: int) -> None:
    assert price(members, sent) == (1 + sent) * price(members, 0)
    assert 0 <= price(members, 0) * 10 - members < 10 or members <= 10 * LEAST_PRICE


@given(people)
def test_a_new_community_speaks_once_a_week_twice(members: int) -> None:
    has = allowance(members, timedelta(0))
    assert price(members, 0) <= has < price(members, 0) + price(members, 1)
    assert budget(0, has, price(members, 0)) == price(members, 0)
    assert allowance(members, timedelta(days=EARNING_DAYS)) == 0


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**9))
def test_nobody_spends_more_than_there_is(earned: int, allowed: int, spent: int) -> None:
    left = budget(earned, allowed, spent)
    assert left == max(0, earned + allowed - spent)
    assert budget(earned, allowed, spent + left) == 0


@given(moments, minutes, minutes, zones)
@example(IN_SPRING, 60, 150, NEW_YORK)
@example(IN_AUTUMN, 0, 90, NEW_YORK)
@example(IN_AUTUMN + timedelta(hours=1), 0, 90, NEW_YORK)
def test_what_waits_for_the_end_of_quiet_hours_waits_no_longer(
    moment: datetime, quiet_from: int, quiet_to: int, zone: ZoneInfo
) -> None:
    clock = (quiet_from, quiet_to, zone)
    allowed = next_allowed(moment, *clock)
    assert not is_quiet(allowed, *clock)
    assert (allowed == moment) is not is_quiet(moment, *clock)
    if allowed > moment:
        assert is_quiet(allowed - MINUTE / 2, *clock), "it begins with the minute"
        assert allowed - moment <= timedelta(days=1, hours=2)
        steps = int((allowed - moment) / MINUTE)
        assert all(is_quiet(moment + step * MINUTE, *clock) for step in range(0, steps, 7))


@given(moments, minutes, minutes, zones)
def test_quiet_hours_are_those_of_the_clock_on_the_wall(
    moment: datetime, quiet_from: int, quiet_to: int, zone: ZoneInfo
) -> None:
    local = moment.astimezone(zone)
    since = (local.hour * 60 + local.minute - quiet_from) % DAY
    assert is_quiet(moment, quiet_from, quiet_to, zone) == (since < (quiet_to - quiet_from) % DAY)


@given(moments, minutes, zones)
def test_hours_that_end_where_they_begin_are_never_quiet(moment: datetime, minute: int, zone: ZoneInfo) -> None:
    assert next_allowed(moment, minute, minute, zone) == moment


@pytest.mark.parametrize(
    ("moment", "allowed"),
    [
        ("2026-12-11 21:59", "2026-12-11 21:59"),
        ("2026-12-11 22:00", "2026-12-12 08:00"),
        ("2026-12-11 23:59", "2026-12-12 08:00"),
        ("2026-12-12 00:00", "2026-12-12 08:00"),
        ("2026-12-12 07:59", "2026-12-12 08:00"),
        ("2026-12-12 08:00", "2026-12-12 08:00"),
    ],
)
def test_quiet_hours_across_midnight_in_shanghai(moment: str, allowed: str) -> None:
    assert next_allowed(at(moment, SHANGHAI), 22 * 60, 8 * 60, SHANGHAI) == at(allowed, SHANGHAI)


def test_clocks_that_are_changed_on_the_way() -> None:
    assert next_allowed(IN_SPRING, 60, 150, NEW_YORK) == at("2026-03-08 03:00", NEW_YORK), "02:30 is not there"
    assert next_allowed(IN_AUTUMN, 0, 90, NEW_YORK) == at("2026-11-01 01:30", NEW_YORK)
    again = IN_AUTUMN + timedelta(hours=1)
    assert next_allowed(again, 0, 90, NEW_YORK) == at("2026-11-01 01:30", NEW_YORK, fold=1)


@given(moments, minutes, minutes, zones)
def test_a_digest_comes_in_the_evening_when_it_is_not_quiet(
    moment: datetime, quiet_from: int, quiet_to: int, zone: ZoneInfo
) -> None:
    due = digest_time(moment, quiet_from, quiet_to, zone)
    assert moment < due <= moment + timedelta(days=2, hours=2)
    assert not is_quiet(due, quiet_from, quiet_to, zone)
    evening = DIGEST_AT.hour * 60
    if not is_quiet(at("2026-11-11 18:00", zone), quiet_from, quiet_to, zone):
        assert due.astimezone(zone).hour * 60 + due.astimezone(zone).minute == evening


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=500)), max_size=60))
def test_a_digest_has_a_limit(lines: list[tuple[str, str]]) -> None:
    text = digest_text(lines)
    assert len(text) <= 2000
    assert text.endswith(f"+{len(lines) - DIGEST_LINES}") or len(lines) <= DIGEST_LINES


def test_a_digest_names_communities_and_how_many_more_there_are() -> None:
    assert digest_text([("茶友", "龙井\n今晚八点"), ("跑团", "夜跑" * 20)]) == f"茶友: 龙井\n跑团: {'夜跑' * 14}夜…"
    assert digest_text([("茶友", "龙井")] * 22).splitlines()[-2:] == ["茶友: 龙井", "+2"]


def test_a_push_starts_neither_in_the_past_nor_far_ahead() -> None:
    now = datetime(2026, 11, 11, tzinfo=UTC)
    assert start_time(None, now) == start_time(now, now) == now
    assert start_time(now + MAX_AHEAD, now) == now + MAX_AHEAD
    for wrong in (now - MINUTE, now + MAX_AHEAD + MINUTE):
        with pytest.raises(InvalidTerms):
            start_time(wrong, now)


def test_a_budget_counts_whole_days_there() -> None:
    now = datetime(2026, 12, 30, 17, tzinfo=UTC)
    assert [first_day(now, zone).isoformat() for zone in (SHANGHAI, NEW_YORK)] == ["2026-12-02", "2026-12-01"]


def test_notices_are_worded_for_their_reader() -> None:
    assert worded(NoticeKind.ORDER, Wording.ORDER_SHIPPED, zh=True) == "订单已发货"
    assert worded(NoticeKind.REFUND, Wording.REFUNDED, zh=False) == "Your refund has arrived"
    assert worded(NoticeKind.PUSH, Wording.REFUNDED, zh=True) == "refunded", "what people wrote stays"
    assert worded(NoticeKind.REMINDER, "{}龙井", zh=False) == "Opens soon: {}龙井"
    assert all(isinstance(worded(NoticeKind.ORDER, word, zh=True), str) for word in Wording)
