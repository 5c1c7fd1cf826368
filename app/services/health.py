"""Whether communities are alive. Read are their days, at most 397 of them, however many members there are."""

from datetime import UTC, date, datetime, timedelta

from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import CommunityNotFound, InvalidTerms
from app.domain.growth import Ratio
from app.domain.health import (
    MAX_WINDOW_DAYS,
    WINDOW_DAYS,
    Component,
    Window,
    Words,
    add_up,
    first_read,
)
from app.domain.memberships import Action
from app.models import Community, CommunityDay
from app.schemas.growth import RatioPublic
from app.schemas.health import (
    AdvicePublic,
    AnswersPublic,
    BalancePublic,
    CohortPublic,
    ComponentPublic,
    DayPublic,
    DaysPublic,
    HealthPublic,
    RankedPublic,
    RankingPublic,
    SharesPublic,
    TriadPublic,
    WordsPublic,
)
from app.services.days import DAY, as_counted, judge, local_day, read_days
from app.services.standing import require
from app.state import State


async def show_health(state: State, community_id: str, since: date | None, until: date | None) -> HealthPublic:
    """The health of a community; of the four weeks until today unless asked otherwise. Raises `CommunityNotFound`,
    `InvalidTerms`.
    """
    async with state.database.snapshot() as session:
        community = await _find(session, community_id)
        return await _show(session, community, *_window(community, state.clock(), since, until))


async def show_own_health(
    state: State, member_id: str, community_id: str, since: date | None, until: date | None
) -> HealthPublic:
    """The same for those who lead it. Raises as `show_health`, and `MemberBlocked`, `NotAllowed`."""
    async with state.database.snapshot() as session:
        place = await require(session, community_id, member_id, Action.SEE_HEALTH)
        community = place.community
        return await _show(session, community, *_window(community, state.clock(), since, until))


async def list_days(state: State, community_id: str, since: date | None, until: date | None) -> DaysPublic:
    """The days of a community, today with them unless asked otherwise. Raises `CommunityNotFound`,
    `InvalidTerms`.
    """
    async with state.database.snapshot() as session:
        community = await _find(session, community_id)
        return await _list(session, community, *_window(community, state.clock(), since, until, today=1))


async def list_own_days(
    state: State, member_id: str, community_id: str, since: date | None, until: date | None
) -> DaysPublic:
    """The same for those who lead it. Raises as `list_days`, and `MemberBlocked`, `NotAllowed`."""
    async with state.database.snapshot() as session:
        place = await require(session, community_id, member_id, Action.SEE_HEALTH)
        community = place.community
        return await _list(session, community, *_window(community, state.clock(), since, until, today=1))


async def rank_communities(state: State, day: date | None, after: str | None, limit: int) -> RankingPublic:
    """Communities by their score of a day, the lowest first; of yesterday in UTC unless another is named."""
    day = day or state.clock().astimezone(UTC).date() - DAY
    score, id_ = col(CommunityDay.score), col(CommunityDay.community_id)
    statement = (
        select(CommunityDay, Community.name)
        .join(Community, col(Community.id) == id_)
        .where(CommunityDay.day == str(day), score.is_not(None))
        .order_by(score, id_)
        .limit(limit + 1)
    )
    async with state.database.snapshot() as session:
        if after is not None:
            last = await session.get(CommunityDay, (after, str(day)))
            if last is not None:
                statement = statement.where(
                    or_(score > last.score, and_(score == last.score, id_ > last.community_id)),
                )
        rows = (await session.exec(statement)).all()
    items = [_ranked(row, name) for row, name in rows[:limit]]
    return RankingPublic(day=day, items=items, next=items[-1].community_id if len(rows) > limit else None)


async def _find(session: AsyncSession, community_id: str) -> Community:
    community = await session.get(Community, community_id)
    if community is None:
        raise CommunityNotFound
    return community


def _window(
    community: Community, now: datetime, since: date | None, until: date | None, *, today: int = 0
) -> tuple[date, date]:
    """The days that are asked about: four weeks until one, or from one on. Raises `InvalidTerms`."""
    length = timedelta(days=WINDOW_DAYS)
    if until is None:
        here = date.fromisoformat(local_day(community, now)) + today * DAY
        until = here if since is None or since < here else since + length
    since = until - length if since is None else since
    if not DAY <= until - since <= MAX_WINDOW_DAYS * DAY:
        raise InvalidTerms(field="to", reason=f"must be 1 to {MAX_WINDOW_DAYS} days after from")
    return since, until


async def _show(session: AsyncSession, community: Community, since: date, until: date) -> HealthPublic:
    earlier = since - (until - since)
    days = [as_counted(row) for row in await read_days(session, community.id, first_read(earlier), until)]
    window = add_up(days, since, until)
    found = judge(community, window)
    return HealthPublic(
        community_id=community.id,
        name=community.name,
        since=since,
        until=until,
        days=window.days,
        score=found.score,
        before=judge(community, add_up(days, earlier, since)).score,
        verdict=found.verdict,
        words=_words(found.words),
        components=[_component(one) for one in found.components],
        advice=[AdvicePublic(part=one.part, lost=one.lost, advice=_words(one.advice)) for one in found.advice],
        triad=TriadPublic(
            conversion=_ratio(window.conversion),
            repurchase=_ratio(window.repurchase),
            cohorts=[
                CohortPublic(week=date.fromisoformat(one.week), again=_ratio(one.again)) for one in window.cohorts
            ],
            spread=_ratio(window.spread),
        ),
        balance=BalancePublic(given=window.given, taken=window.taken, ratio=_ratio(window.balance)),
        shares=SharesPublic(**window.shares) if window.shares else None,
        leave_reasons=dict(window.leave_reasons),
        answers=_answers(window),
        figures={name: count for name, count in window.sums.items() if name not in {"members", "answer_seconds"}},
    )


async def _list(session: AsyncSession, community: Community, since: date, until: date) -> DaysPublic:
    rows = await read_days(session, community.id, since, until)
    items = [
        DayPublic(
            day=date.fromisoformat(row.day),
            whole=as_counted(row).whole,
            score=row.score,
            value=row.value,
            figures=row.figures,
        )
        for row in rows
    ]
    return DaysPublic(community_id=community.id, since=since, until=until, items=items)


def _answers(window: Window) -> AnswersPublic:
    sums = window.sums
    return AnswersPublic(
        questions=sums["questions"],
        answered=sums["answered"],
        answered_in_time=sums["answered_in_time"],
        seconds=window.answer_seconds,
    )


def _component(one: Component) -> ComponentPublic:
    return ComponentPublic(
        part=one.part, score=one.score, weight=one.weight, lost=one.lost, reason=_words(one.reason)
    )


def _ranked(row: CommunityDay, name: str) -> RankedPublic:
    shown = {share: row.figures.get(share, 0) for share in ("members", "active", "silent", "zombie")}
    return RankedPublic(community_id=row.community_id, name=name, score=row.score or 0, value=row.value, **shown)


def _ratio(ratio: Ratio) -> RatioPublic:
    return RatioPublic.model_validate(ratio, from_attributes=True)


def _words(words: Words) -> WordsPublic:
    return WordsPublic(en=words.en, zh=words.zh)
