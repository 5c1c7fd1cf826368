"""The days of communities: something happened on one, and it has to be counted again. A day that is over is counted
as a whole, once, and the next one begins. Days that were over before they began, because no worker ran, have a row
only if something happened on them: who was active then can be told no more.
"""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain import health
from app.domain.communities import CommunityState, Purpose
from app.domain.health import Counted, Health, Window
from app.models import Community, CommunityDay
from app.services.tallies import Span, count_shares, tally
from app.services.transactions import Work, transaction
from app.state import State

PAUSE_SECONDS = 60
"""A day is not counted again sooner than so long after it was counted, however much happens on it."""
DAY = timedelta(days=1)


def local_day(community: Community, moment: datetime) -> str:
    """The day of a moment in the community's time zone, YYYY-MM-DD."""
    return moment.astimezone(ZoneInfo(community.timezone)).date().isoformat()


def span_of(community: Community, day: str) -> Span:
    """When a day of a community begins and ends."""
    zone, first = ZoneInfo(community.timezone), date.fromisoformat(day)
    return Span(*(datetime.combine(each, time(), zone) for each in (first, first + DAY)))


async def note_day(work: Work, community: Community, moment: datetime | None = None) -> None:
    """Have a day of a community counted again: today, unless a moment of another is named."""
    day = local_day(community, moment or work.now)
    noted = await work.session.exec(
        update(CommunityDay)
        .where(col(CommunityDay.community_id) == community.id, col(CommunityDay.day) == day)
        .values(version=CommunityDay.version + 1)
        .returning(col(CommunityDay.day))
        .execution_options(synchronize_session=False),
    )
    if noted.first() is None:
        await _begin(work, community, day)


async def count_day(state: State, found: CommunityDay, now: datetime) -> bool:
    """Count a day from its rows as they are, in one snapshot; what happens meanwhile has it counted again. Returns
    whether this was the count that is kept: another worker may have counted it.
    """
    async with state.database.snapshot() as session:
        row = await session.get_one(CommunityDay, (found.community_id, found.day))
        community = await session.get_one(Community, row.community_id)
        span = span_of(community, row.day)
        closes = row.closes_at is not None and row.closes_at <= now
        figures = await tally(session, community, span) | {"members": community.member_count}
        score = row.score
        if closes:
            figures |= await count_shares(session, community, span)
        elif row.closes_at is None:  # who was active on a day that is over can be told no more
            figures |= {name: row.figures.get(name, 0) for name in ("members", *health.SHARES)}
        value = health.value_of(figures)
        if closes or row.closes_at is None:
            score = (await _judge(session, community, row, figures, value)).score
    async with transaction(state, now) as work:
        kept = await work.session.exec(
            update(CommunityDay)
            .where(
                col(CommunityDay.community_id) == row.community_id,
                col(CommunityDay.day) == row.day,
                col(CommunityDay.counted) == row.counted,
                col(CommunityDay.closes_at).is_not_distinct_from(row.closes_at),
            )
            .values(
                counted=row.version,
                counted_at=now,
                closes_at=None if closes else row.closes_at,
                figures=figures,
                value=value,
                score=score,
            )
            .returning(col(CommunityDay.day))
            .execution_options(synchronize_session=False),
        )
        if kept.first() is None:
            return False
        if closes and community.state == CommunityState.OPEN and figures["members"]:
            following = str(date.fromisoformat(row.day) + DAY)
            await _begin(work, community, max(following, local_day(community, now)))
    return True


async def read_days(session: AsyncSession, community_id: str, since: date, until: date) -> list[CommunityDay]:
    """The days of a community from one on until before another, in order."""
    found = await session.exec(
        select(CommunityDay)
        .where(
            CommunityDay.community_id == community_id,
            col(CommunityDay.day) >= str(since),
            col(CommunityDay.day) < str(until),
        )
        .order_by(col(CommunityDay.day)),
    )
    return list(found.all())


def as_counted(row: CommunityDay) -> Counted:
    """A day as the domain reads it."""
    whole = row.closes_at is None and row.counted > 0
    return Counted(date.fromisoformat(row.day), whole, row.value, row.figures)


def judge(community: Community, window: Window) -> Health:
    """The health of a community in a window: what is asked of it is what it is there for."""
    promises, sells = community.answer_minutes is not None, community.purpose == Purpose.SALES
    return health.judge(window, promises=promises, sells=sells)


async def _judge(
    session: AsyncSession, community: Community, row: CommunityDay, figures: dict[str, int], value: int
) -> Health:
    """The health of the four weeks up to a day that was just counted."""
    day = date.fromisoformat(row.day)
    until = day + DAY
    since = until - timedelta(days=health.WINDOW_DAYS)
    before = await read_days(session, community.id, health.first_read(since), day)
    days = [*map(as_counted, before), Counted(day, whole=True, value=value, figures=figures)]
    return judge(community, health.add_up(days, since, until))


async def _begin(work: Work, community: Community, day: str) -> None:
    fresh: dict[str, Any] = {
        "community_id": community.id,
        "day": day,
        "version": 1,
        "counted": 0,
        "value": 0,
        "figures": {},
        "closes_at": span_of(community, day).until,
    }
    await work.session.exec(
        work.database.insert_unless_there(CommunityDay, ["community_id", "day"]).values(fresh),
    )
