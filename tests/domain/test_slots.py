"""The windows of daily slots: as the clock on the wall says, and never two at once."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTerms
from app.domain.slots import MAX_MINUTES, MAX_SLOTS, Window, find_missing, find_zone, lay_out

ZONES = [
    *("Asia/Shanghai", "America/New_York", "Europe/London", "Asia/Kolkata", "UTC"),
    *("Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns"),  # half hours, and a day that was left out
]
days = st.dates(date(2005, 1, 1), date(2037, 12, 25))
times = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
zones = st.sampled_from(ZONES).map(ZoneInfo)
minutes = st.integers(1, MAX_MINUTES)


def is_skipped(day: date, moment: time, zone: ZoneInfo) -> bool:
    """Whether the clocks of a zone never show this."""
    local = datetime.combine(day, moment, zone)
    return local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)


@given(days, st.integers(0, 6), st.lists(times, min_size=1, max_size=5, unique=True), minutes, zones)
def test_slots_open_when_the_clock_on_the_wall_says_so(
    first: date, more: int, at: list[time], length: int, zone: ZoneInfo
) -> None:
    windows = lay_out(first, first + timedelta(days=more), at, length, zone)
    assert len(windows) == (more + 1) * len(at)
    assert windows == sorted(windows)
    assert {(closes - opens).total_seconds() for opens, closes in windows} == {length * 60}
    assert all(opens.tzinfo is UTC for opens, _ in windows)
    wanted = [(first + timedelta(days=day), moment) for day in range(more + 1) for moment in at]
    shown = {opens.astimezone(zone).replace(tzinfo=None) for opens, _ in windows}
    assert shown >= {datetime.combine(*one) for one in wanted if not is_skipped(*one, zone)}


@given(days, st.lists(times, min_size=1, max_size=5), minutes, zones, st.data())
def test_a_series_never_overlaps_and_grows_only_by_what_it_lacks(
    first: date, at: list[time], length: int, zone: ZoneInfo, data: st.DataObject
) -> None:
    wanted = lay_out(first, first + timedelta(days=1), at, length, zone)
    apart = all(later.opens_at >= earlier.closes_at for earlier, later in pairwise(wanted))
    if not apart:
        with pytest.raises(InvalidTerms):
            find_missing([], wanted)
        return
    assert find_missing([], wanted) == wanted
    assert find_missing(wanted, wanted) == []
    there = data.draw(st.sets(st.sampled_from(wanted)))
    assert {*there, *find_missing(there, wanted)} == set(wanted)


@pytest.mark.parametrize(
    ("day", "at", "opens_at"),
    [
        ("2026-03-08", "01:30", "06:30"),
        ("2026-03-08", "02:30", "07:30"),  # skipped: the moment that is called 03:30
        ("2026-03-08", "03:30", "07:30"),
        ("2026-11-01", "01:30", "05:30"),  # there twice: the first
        ("2026-11-01", "02:30", "07:30"),
    ],
)
def test_clocks_that_are_put_forward_and_back(day: str, at: str, opens_at: str) -> None:
    on = date.fromisoformat(day)
    (window,) = lay_out(on, on, [time.fromisoformat(at)], 90, ZoneInfo("America/New_York"))
    assert window.opens_at == datetime.fromisoformat(f"{day}T{opens_at}:00+00:00")
    assert window.closes_at - window.opens_at == timedelta(minutes=90)


def test_slots_that_meet_because_an_hour_is_skipped_are_refused() -> None:
    at = [time(2), time(3)]
    usual = lay_out(date(2026, 3, 7), date(2026, 3, 7), at, 60, ZoneInfo("America/New_York"))
    assert len(find_missing([], usual)) == 2
    skipped = lay_out(date(2026, 3, 7), date(2026, 3, 8), at, 60, ZoneInfo("America/New_York"))
    with pytest.raises(InvalidTerms):
        find_missing([], skipped)


def test_there_is_an_end_to_slots() -> None:
    zone, day = find_zone("Asia/Shanghai"), date(2026, 12, 1)
    hundred = lay_out(day, day + timedelta(days=MAX_SLOTS - 1), [time(10)], 60, zone)
    assert find_missing([], hundred) == hundred
    with pytest.raises(InvalidTerms):
        lay_out(day, day + timedelta(days=MAX_SLOTS), [time(10)], 60, zone)
    with pytest.raises(InvalidTerms):
        lay_out(day, day - timedelta(days=1), [time(10)], 60, zone)
    with pytest.raises(InvalidTerms):
        find_missing([Window(*(moment - timedelta(days=1) for moment in hundred[0])), *hundred], hundred)


@pytest.mark.parametrize(
    "name", ["Asia", "Asia/Peking", "", "../UTC", "/etc/localtime", "a" * 500, "Asia/\0", "CN", "localtime"]
)
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidTerms):
        find_zone(name)
