"""Who has checked in today, and for how long."""

from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.check_ins import CheckIn, check_in
from app.domain.memberships import Action
from app.domain.posts import MOST_STREAKS, PostKind
from app.models import Community, Post
from app.models.posts import SHOWN
from app.schemas.posts import StreakPublic, StreaksPublic
from app.services.boards import read_people
from app.services.standing import require
from app.state import State

CHECKED_IN = f"kind = '{PostKind.CHECK_IN}'"


class Streak(NamedTuple):
    """Days in a row with a check-in, up to today or yesterday; and whether there is one of today."""

    today: date
    days: int
    checked_in: bool


async def list_streaks(state: State, viewer_id: str, community_id: str) -> StreaksPublic:
    """The twenty longest streaks among those who have checked in today, and the viewer's own. Raises
    `CommunityNotFound`, `MemberBlocked`, `NotAllowed`.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        place = await require(session, community_id, viewer_id, Action.READ)
        here = select(Post).where(Post.community_id == community_id, text(CHECKED_IN))
        own = await read_streak(session, place.community, viewer_id, now)
        rows = await session.exec(
            here.where(Post.day == own.today.isoformat(), text(SHOWN))
            .order_by(col(Post.streak).desc(), col(Post.id).desc())
            .limit(MOST_STREAKS),
        )
        posts = rows.all()
        people = await read_people(session, community_id, {post.author_id for post in posts})
    return StreaksPublic(
        day=own.today.isoformat(),
        items=[StreakPublic(**post.model_dump(), post_id=post.id, author=people[post.author_id]) for post in posts],
        your_streak=own.days,
        checked_in=own.checked_in,
    )


async def read_streak(session: AsyncSession, community: Community, member_id: str, now: datetime) -> Streak:
    """How a member's check-ins in a community go on."""
    last_day, days, would_be = await next_check_in(session, community, member_id, now)
    checked_in = last_day == would_be.day
    return Streak(would_be.day, days if checked_in else would_be.streak - 1, checked_in)


async def next_check_in(
    session: AsyncSession, community: Community, member_id: str, now: datetime
) -> tuple[date | None, int, CheckIn]:
    """The day and the streak of a member's last check-in in a community, and what one made now amounts to."""
    found = await session.exec(
        select(Post.day, Post.streak)
        .where(Post.community_id == community.id, Post.author_id == member_id, text(CHECKED_IN))
        .order_by(col(Post.day).desc())
        .limit(1),
    )
    day, streak = found.first() or (None, None)
    last_day, days = None if day is None else date.fromisoformat(day), streak or 0
    return last_day, days, check_in(now, ZoneInfo(community.timezone), last_day, days)
