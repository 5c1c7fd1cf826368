"""Check-ins 打卡: one a day, by the calendar and the clocks of the community."""

from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

NIGHT_FROM, NIGHT_TO = 19, 5
"""Hours of the local clock between which a check-in is one of the night."""


class CheckIn(NamedTuple):
    """The day of a check-in, how many days in a row it makes, and whether it was made at night."""

    day: date
    streak: int
    night: bool


def check_in(moment: datetime, zone: tzinfo, last_day: date | None, last_streak: int) -> CheckIn:
    """What a check-in at a moment amounts to, after one on `last_day` (None: never). Days are those of the
    calendar: where clocks are put forward or back, one of 23 or 25 hours is a day like any other.
    """
    local = moment.astimezone(zone)
    day = local.date()
    goes_on = last_day is not None and last_day + timedelta(days=1) == day
    return CheckIn(day, last_streak + 1 if goes_on else 1, local.hour >= NIGHT_FROM or local.hour < NIGHT_TO)
