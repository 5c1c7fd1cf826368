"""Check-ins: days of the calendar, wherever, whatever the clocks do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.check_ins import check_in

ZONES = st.sampled_from(
    [
        *("Asia/Shanghai", "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"),
        *("America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Kiritimati", "America/St_Johns"),
    ]
).map(ZoneInfo)
BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 99 * 365 * 86_400).map(lambda seconds: BEGIN + timedelta(seconds=seconds))


@given(ZONES, st.lists(MOMENTS, min_size=1, max_size=20, unique=True))
def test_a_streak_counts_days_in_a_row(zone: ZoneInfo, moments: list[datetime]) -> None:
    """Beside a count by hand over the set of days; moments lie close together, so that there are rows of days."""
    first = min(moments)
    near = sorted(first + (moment - first) / 3_000 for moment in moments)
    days: set[date] = set()
    last: tuple[date | None, int] = (None, 0)
    for moment in near:
        made = check_in(moment, zone, *last)
        assert made.day == moment.astimezone(zone).date()
        if made.day in days:
            continue  # its place is taken
        days.add(made.day)
        row = 1
        while made.day - timedelta(days=row) in days:
            row += 1
        assert made.streak == row
        last = made.day, made.streak


@given(ZONES, st.dates(date(2000, 1, 2), date(2098, 12, 30)), st.integers(1, 5000))
def test_the_next_day_goes_on_however_long_the_day_was(zone: ZoneInfo, day: date, streak: int) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    assert check_in(noon, zone, day - timedelta(days=1), streak).streak == streak + 1
    assert check_in(noon, zone, day - timedelta(days=2), streak).streak == 1
    assert check_in(noon, zone, None, 0).streak == 1


@pytest.mark.parametrize(
    ("local", "night"),
    [("18:59", False), ("19:00", True), ("23:59", True), ("00:00", True), ("04:59", True), ("05:00", False)],
)
def test_night_is_by_the_local_clock(local: str, *, night: bool) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    moment = datetime.fromisoformat(f"2026-12-12T{local}").replace(tzinfo=zone)
    assert check_in(moment.astimezone(UTC), zone, None, 0).night is night


def test_a_day_of_23_hours_is_a_day() -> None:
    zone = ZoneInfo("Europe/Berlin")
    late = datetime(2026, 3, 28, 23, 30, tzinfo=zone)
    after = check_in(late + timedelta(hours=24), zone, late.date(), 4)
    assert (after.day, after.streak) == (date(2026, 3, 29), 5)
