"""Trust in a community: earned by giving and by receiving, from distinct people, on distinct days.

One who only gives (or only broadcasts) has nobody who ever answered; one who only takes has helped nobody. So a
level is the smaller of what either earns. It takes distinct people: two accounts that thank each other a thousand
times have met one person each.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

LOOKED_BACK = timedelta(days=180)
PEOPLE = (3, 10, 25, 50)
"""Distinct members one gave to, and received from, for each level from 1 on."""
DAYS = (2, 7, 20, 45)
"""Distinct days on which one gave, for each."""
LIMITED_FOR = timedelta(hours=24)


class Level(IntEnum):
    NEW = 0
    KNOWN = 1
    TRUSTED = 2
    VALUED = 3
    PILLAR = 4


POSTS = {Level.NEW: 3, Level.KNOWN: 10, Level.TRUSTED: 30, Level.VALUED: 60, Level.PILLAR: 100}
"""Posts in 24 hours."""
COMMENTS = {Level.NEW: 30, Level.KNOWN: 100, Level.TRUSTED: 300, Level.VALUED: 300, Level.PILLAR: 300}
"""Comments in 24 hours."""
SHOWS_FROM = Level.KNOWN
"""From which level one posts pictures and cards, and mentions others: what makes an advertisement."""
REPORTS_FROM = Level.TRUSTED
"""From which level one's reports may hide something without a moderator."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a member has given and received of late: distinct people, and distinct days of giving."""

    gave_to: int
    received_from: int
    days: int


def trust(given: Given) -> Level:
    """The level this earns: the smaller of what giving and receiving do."""
    giving = sum(given.gave_to >= people and given.days >= days for people, days in zip(PEOPLE, DAYS, strict=True))
    receiving = sum(given.received_from >= people for people in PEOPLE)
    return Level(min(giving, receiving))


def wait_seconds(oldest_that_counts: datetime | None, now: datetime) -> int:
    """How long one has to wait who wrote the last but so many at that moment; 0 when one need not wait."""
    if oldest_that_counts is None:
        return 0
    left = oldest_that_counts + LIMITED_FOR - now
    return max(0, -(-left // timedelta(seconds=1)))
