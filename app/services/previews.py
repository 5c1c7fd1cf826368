"""Previews: how many members a rule fits, before it is saved.

All of up to 10,000 are counted. Of more, those in the first buckets are looked at: a sample by the last digits of
their ids, which are random, and the same each time.
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import case, func
from sqlalchemy import select as select_rows
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import CommunityNotFound
from app.domain.members import mask_name
from app.domain.memberships import MembershipState
from app.domain.segments import BUCKETS, EXACT_UP_TO, SAMPLED, estimate, parse
from app.models import Community, Member, Membership
from app.schemas.segments import Counted, CountedIn, Preview, PreviewAsked, SegmentMemberPublic, Words
from app.services.segments import between, check_communities, condition, in_words, with_facts
from app.state import State

EXAMPLES = 5
MOST_COMMUNITIES = 20


async def preview(state: State, body: PreviewAsked) -> Preview:
    """Count whom a rule fits, among all members or those of a community. Raises `InvalidTerms`,
    `CommunityNotFound`.
    """
    rule = parse(body.rule)
    async with state.database.snapshot() as session:
        await check_communities(session, rule)
        if body.community_id is not None and await session.get(Community, body.community_id) is None:
            raise CommunityNotFound
        words = (await in_words(session, {"": rule}))[""]
        buckets, looked_at = await _sample(session, body.community_id)
        fitting = _fitting(_ids(body.community_id, buckets), condition(rule, state.clock()))
        shown = (await session.exec(fitting.add_columns(func.count().over()).limit(EXAMPLES))).all()
        found = shown[0][1] if shown else 0
        examples = await session.exec(
            select(Member.id, Member.name).where(col(Member.id).in_([id_ for id_, _ in shown]))
        )
        names = dict(examples.all())
        inside = [] if body.community_id else await _count_inside(session, fitting)

    def counted(fits: int) -> dict[str, int]:
        return asdict(estimate(fits, looked_at, buckets))

    return Preview(
        words=Words(en=words.en, zh=words.zh),
        exact=buckets == BUCKETS,
        looked_at=looked_at,
        members=Counted(**counted(found)),
        communities=[CountedIn(community_id=id_, name=name, **counted(fits)) for id_, name, fits in inside],
        examples=[SegmentMemberPublic(member_id=id_, name=mask_name(name)) for id_, name in names.items()],
    )


async def _sample(session: AsyncSession, community_id: str | None) -> tuple[int, int]:
    """How many buckets are to be looked at, and how many members are in them: all, or as many as have enough."""
    looked_at = await _count(session, _ids(community_id, BUCKETS).limit(EXACT_UP_TO + 1))
    if looked_at <= EXACT_UP_TO:
        return BUCKETS, looked_at
    buckets = 1
    while (looked_at := await _count(session, _ids(community_id, buckets))) < SAMPLED and buckets < BUCKETS:
        buckets *= 2
    return buckets, looked_at


def _ids(community_id: str | None, buckets: int) -> Any:
    """Ids of the members in the first buckets: of all, or of the active ones of a community."""
    if community_id is None:
        return _within(select_rows(col(Member.id)), Member.bucket, buckets)
    return _within(select_rows(col(Membership.member_id)).where(*_active(community_id)), Membership.bucket, buckets)


def _fitting(ids: Any, fits: Any) -> Any:
    """Those of some members whom a condition fits. It is asked of one after the other, along their keys: a join
    would read all that is known of everybody.
    """
    sample = ids.subquery()
    asked = with_facts(case((fits, 1))).where(col(Member.id) == sample.c[0]).correlate(sample).scalar_subquery()
    return select_rows(sample.c[0].label("id")).where(asked == 1)


def _active(community_id: str) -> list[Any]:
    return [col(Membership.community_id) == community_id, col(Membership.state) == MembershipState.ACTIVE]


def _within(members: Any, bucket: Any, buckets: int) -> Any:
    return members if buckets == BUCKETS else members.where(between(bucket, 0, buckets))


async def _count(session: AsyncSession, members: Any) -> int:
    counting: Any = select_rows(func.count()).select_from(members.subquery())
    return int((await session.exec(counting)).scalar_one())


async def _count_inside(session: AsyncSession, fitting: Any) -> list[Any]:
    """The communities with the most of some members: id, name, how many."""
    members, number = fitting.subquery(), func.count().label("number")
    counting: Any = (
        select_rows(col(Community.id), col(Community.name), number)
        .join(Membership, col(Membership.community_id) == Community.id)
        .join(members, members.c.id == Membership.member_id)
        .where(col(Membership.state) == MembershipState.ACTIVE)
        .group_by(col(Community.id), col(Community.name))
        .order_by(number.desc(), col(Community.id))
        .limit(MOST_COMMUNITIES)
    )
    return list((await session.exec(counting)).all())
