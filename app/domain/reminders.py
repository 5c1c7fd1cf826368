"""Reminders: a member is told some minutes before a sale opens."""

from datetime import datetime, timedelta

from app.domain.errors import SaleAlreadyOpen, SaleEnded
from app.domain.sales import SaleState, SaleTerms

MAX_MINUTES_BEFORE = 24 * 60


def reminder_time(terms: SaleTerms, minutes_before: int, now: datetime) -> datetime:
    """When to remind of a sale. It may have passed: then it is due at once.

    As in a claim, the clock decides and not the worker. Raises `SaleEnded`, and from `opens_at` on
    `SaleAlreadyOpen`.
    """
    if terms.state == SaleState.ENDED:
        raise SaleEnded
    if now >= terms.opens_at:
        raise SaleAlreadyOpen
    return terms.opens_at - timedelta(minutes=minutes_before)
