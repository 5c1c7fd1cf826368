"""Daily time slots 场次: a flash sale at the same times of several days, each with a window of its own."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.domain.errors import InvalidTerms

MAX_SLOTS = 100
MAX_MINUTES = 24 * 60
OF_THIS_MACHINE = {"localtime", "posixrules", "Factory"}
"""Names that say another zone on every machine, or none."""


class Window(NamedTuple):
    """When a slot opens and closes, in UTC."""

    opens_at: datetime
    closes_at: datetime


def find_zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises `InvalidTerms`."""
    wrong = InvalidTerms(field="timezone", reason="must be an IANA time zone, e.g. Asia/Shanghai")
    if name in OF_THIS_MACHINE:
        raise wrong
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # the last for the name of a folder of zones
        raise wrong from error


def lay_out(first_day: date, last_day: date, times: Sequence[time], minutes: int, zone: ZoneInfo) -> list[Window]:
    """A window of so many minutes at each of these times of each of these days, in order.

    A time that the clocks skip on a day is read by the clock before they did (RFC 5545): 02:30 is the moment
    that is called 03:30. A time that there is twice is the first. Minutes are real ones, whatever the clocks do.
    Raises `InvalidTerms`: no day, or more slots than `MAX_SLOTS`.
    """
    days = (last_day - first_day).days + 1
    if days < 1:
        raise InvalidTerms(field="last_day", reason="must not be before first_day")
    if days * len(times) > MAX_SLOTS:
        raise InvalidTerms(field="last_day", reason=f"more than {MAX_SLOTS} slots")
    opening = (
        datetime.combine(first_day + timedelta(days=day), moment, zone).astimezone(UTC)
        for day in range(days)
        for moment in times
    )
    return [Window(opens_at, opens_at + timedelta(minutes=minutes)) for opens_at in sorted(opening)]


def find_missing(there: Collection[Window], wanted: Sequence[Window]) -> list[Window]:
    """Those of the wanted windows that are not there yet, in order.

    Raises `InvalidTerms`: with them two would overlap, or there would be more than `MAX_SLOTS`.
    """
    missing = [window for window in wanted if window not in there]
    together = sorted([*there, *missing])
    for earlier, later in pairwise(together):
        if later.opens_at < earlier.closes_at:
            raise InvalidTerms(field="times", reason=f"slots overlap at {later.opens_at.isoformat()}")
    if len(together) > MAX_SLOTS:
        raise InvalidTerms(field="last_day", reason=f"more than {MAX_SLOTS} slots")
    return missing
