"""Count the days of communities on which something happened, and those that are over."""

from datetime import datetime, timedelta

from sqlalchemy.orm import aliased
from sqlmodel import col, or_, select

from app.models import CommunityDay
from app.services.days import PAUSE_SECONDS, count_day
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many were counted."""
    key = col(CommunityDay.community_id), col(CommunityDay.day)
    rested = or_(
        col(CommunityDay.counted_at).is_(None),
        col(CommunityDay.counted_at) <= now - timedelta(seconds=PAUSE_SECONDS),
    )
    closing, before = col(CommunityDay.closes_at), aliased(CommunityDay)
    not_closing = or_(closing.is_(None), closing > now)
    changed = (
        select(CommunityDay)
        .where(col(CommunityDay.counted) < CommunityDay.version, rested, not_closing)
        .order_by(*key)
    )
    # A day is closed after those before it: its score looks back on them.
    open_before = select(before.day).where(
        before.community_id == CommunityDay.community_id,
        before.day < CommunityDay.day,
        col(before.closes_at).is_not(None),
    )
    over = select(CommunityDay).where(closing <= now, ~open_before.exists()).order_by(closing, *key)
    counted = 0
    while closed := await work_through(state, now, over, count_day):
        counted += closed
    return counted + await work_through(state, now, changed, count_day)
