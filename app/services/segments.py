"""Segments: members whom a rule fits at the moment, or who are on a list.

`condition` is what `domain/segments.py: evaluate` says, as SQL over `members` joined with `facts` (`with_facts`):
who has no row there has neither bought nor checked in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, literal, not_, or_
from sqlalchemy import select as select_rows
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import CommunityNotFound, InvalidTerms, MemberNotFound, SegmentInUse, SegmentNotFound
from app.domain.members import mask_name
from app.domain.memberships import MembershipState
from app.domain.segments import (
    BUCKETS,
    COMPARED,
    DAY,
    LISTED,
    All,
    AnyOf,
    DeviceKind,
    Fact,
    InWords,
    Known,
    Not,
    Numbered,
    Op,
    Rule,
    SegmentKind,
    Worded,
    communities_of,
    describe,
    evaluate,
    parse,
)
from app.models import Community, Facts, Member, Membership, Segment, SegmentMember, Tag
from app.schemas.fields import Page
from app.schemas.segments import SegmentCreate, SegmentDetail, SegmentMemberPublic, SegmentPublic, Words
from app.services.pages import read_page
from app.services.transactions import Work, transaction
from app.state import State

LOOKED_AT = 5_000
"""Members that one page of a segment looks at."""
BATCH = 256
"""Buckets of members that one statement puts on a list."""
Condition = ColumnElement[bool]


def with_facts(*columns: Any) -> Any:
    """A SELECT of these columns from members who were not erased and what is known of them, for `condition`."""
    known = select_rows(*columns).select_from(Member).join(Facts, col(Facts.member_id) == Member.id, isouter=True)
    return known.where(col(Member.erased_at).is_(None))


def condition(rule: Rule, now: datetime) -> Condition:
    """Whether a rule fits, in SQL; never NULL."""
    match rule:
        case All(parts):
            return and_(*(condition(part, now) for part in parts))
        case AnyOf(parts):
            return or_(*(condition(part, now) for part in parts))
        case Not(part):
            return not_(condition(part, now))
        case Numbered(fact, op, value):
            return _numbered(fact, op, value, now)
        case Worded(fact, words):
            return _worded(fact, words)


MOMENTS: Mapping[Fact, Any] = {
    Fact.DAYS_SINCE_FIRST_ORDER: col(Facts.first_order_at),
    Fact.DAYS_SINCE_LAST_ORDER: col(Facts.last_order_at),
    Fact.MEMBER_DAYS: col(Member.created_at),
}
CHECK_INS, NIGHT = func.coalesce(Facts.check_ins, 0), func.coalesce(Facts.night_check_ins, 0)
COUNTS: Mapping[Fact, ColumnElement[Any]] = {
    Fact.ORDERS: func.coalesce(Facts.orders, 0),
    Fact.SPENT: func.coalesce(Facts.spent, 0),
    Fact.CHECK_INS: CHECK_INS,
    Fact.NIGHT_CHECK_INS: NIGHT,
    Fact.NIGHT_SHARE: NIGHT * 100 // func.nullif(CHECK_INS, 0),
}


def _numbered(fact: Fact, op: Op, value: int, now: datetime) -> Condition:
    if fact in MOMENTS:
        return _since(MOMENTS[fact], op, value, now)
    compared: Condition = COMPARED[op](COUNTS[fact], value)
    return and_(CHECK_INS > 0, compared) if fact == Fact.NIGHT_SHARE else compared


def _since(moment: Any, op: Op, days: int, now: datetime) -> Condition:
    """Compare the whole days since a moment."""
    so_many, no_more = moment <= now - days * DAY, moment > now - (days + 1) * DAY
    match op:
        case Op.AT_LEAST:
            return and_(moment.is_not(None), so_many)
        case Op.AT_MOST:
            return and_(moment.is_not(None), no_more)
        case _:
            return and_(moment.is_not(None), so_many, no_more)


def _worded(fact: Fact, words: Collection[str]) -> Condition:
    match fact:
        case Fact.DEVICE:
            return func.coalesce(col(Facts.device).in_([DeviceKind(word) for word in words]), literal(value=False))
        case Fact.CITY:
            return func.coalesce(col(Facts.city).in_(words), literal(value=False))
        case Fact.TAG | Fact.OWN_TAG:
            return (
                select(Tag.tag)
                .where(Tag.member_id == Member.id, col(Tag.tag).in_(words), col(Tag.own).is_(fact == Fact.OWN_TAG))
                .correlate(Member)
                .exists()
            )
        case _:
            return (
                select(Membership.member_id)
                .where(
                    Membership.member_id == Member.id,
                    col(Membership.community_id).in_(words),
                    Membership.state == MembershipState.ACTIVE,
                )
                .correlate(Member)
                .exists()
            )


def members_where(segment: Segment, now: datetime) -> Condition:
    """Whether a member is in a segment, in SQL: to be used with `with_facts`."""
    if segment.kind == SegmentKind.DYNAMIC:
        return condition(parse(segment.rule), now)
    listed = select(SegmentMember.member_id).where(
        SegmentMember.segment_id == segment.id, SegmentMember.member_id == Member.id
    )
    return listed.correlate(Member).exists()


async def fits(session: AsyncSession, segment_id: str, member_id: str, now: datetime) -> bool:
    """Whether a member is in a segment now."""
    return bool(await fitting(session, {segment_id: [member_id]}, now))


async def fitting(session: AsyncSession, asked: Mapping[str, Sequence[str]], now: datetime) -> set[tuple[str, str]]:
    """Of members who are asked about by segment: which are in it, as pairs of both ids, by a few statements."""
    found = await session.exec(select(Segment).where(col(Segment.id).in_(asked)))
    segments = found.all()
    lists = [segment.id for segment in segments if segment.kind == SegmentKind.STATIC]
    inside: set[tuple[str, str]] = set()
    if lists:
        named = {member_id for id_ in lists for member_id in asked[id_]}
        listed = await session.exec(
            select(SegmentMember.segment_id, SegmentMember.member_id).where(
                col(SegmentMember.segment_id).in_(lists), col(SegmentMember.member_id).in_(named)
            ),
        )
        inside |= {(id_, member_id) for id_, member_id in listed.all() if member_id in asked[id_]}
    rules = {segment.id: parse(segment.rule) for segment in segments if segment.kind == SegmentKind.DYNAMIC}
    if rules:
        known = await read_known(session, {member_id for id_ in rules for member_id in asked[id_]})
        inside |= {
            (id_, member_id)
            for id_, rule in rules.items()
            for member_id in asked[id_]
            if member_id in known and evaluate(rule, known[member_id], now)
        }
    return inside


async def hidden_communities(session: AsyncSession, viewer_id: str | None, now: datetime) -> list[str]:
    """The communities that a viewer, or a stranger, may not see: those whose segment they are not in, unless they
    are members.
    """
    found = await session.exec(
        select(Community.id, Community.see_segment_id).where(col(Community.see_segment_id).is_not(None)),
    )
    seen_by = {id_: str(segment_id) for id_, segment_id in found.all()}
    if not seen_by or viewer_id is None:
        return list(seen_by)
    inside = await fitting(session, {segment_id: [viewer_id] for segment_id in seen_by.values()}, now)
    own = await session.exec(
        select(Membership.community_id).where(
            Membership.member_id == viewer_id, Membership.state == MembershipState.ACTIVE
        ),
    )
    belongs = set(own.all())
    return [
        id_ for id_, segment_id in seen_by.items() if id_ not in belongs and (segment_id, viewer_id) not in inside
    ]


async def read_known(session: AsyncSession, member_ids: Collection[str]) -> dict[str, Known]:
    """What is known of these members, by their ids."""
    rows = await session.exec(with_facts(Member.id, Member.created_at, Facts).where(col(Member.id).in_(member_ids)))
    found = {id_: _known(since, facts) for id_, since, facts in rows.all()}
    tags = await session.exec(select(Tag.member_id, Tag.tag, Tag.own).where(col(Tag.member_id).in_(found)))
    for id_, tag, own in tags.all():
        one = found[id_]
        found[id_] = replace(one, own_tags=one.own_tags | {tag}) if own else replace(one, tags=one.tags | {tag})
    active = await session.exec(
        select(Membership.member_id, Membership.community_id).where(
            col(Membership.member_id).in_(found), Membership.state == MembershipState.ACTIVE
        ),
    )
    for id_, community_id in active.all():
        found[id_] = replace(found[id_], communities=found[id_].communities | {community_id})
    return found


def _known(since: datetime, facts: Facts | None) -> Known:
    if facts is None:
        return Known(since)
    return Known(since, **facts.model_dump(exclude={"member_id"}))


async def create_segment(state: State, body: SegmentCreate) -> SegmentDetail:
    """Save a rule, or a list: of the members that are named, or of those whom the rule fits now. Raises
    `InvalidTerms`, `CommunityNotFound`, `MemberNotFound`.
    """
    now = state.clock()
    rule = None if body.rule is None else parse(body.rule)
    if (rule is None) == (body.member_ids is None):
        raise InvalidTerms(field="member_ids", reason="either a rule or a list of members is needed")
    if body.kind == SegmentKind.DYNAMIC and rule is None:
        raise InvalidTerms(field="member_ids", reason="a list of members is for a static segment")
    async with transaction(state, now) as work:
        if rule is not None:
            await check_communities(work.session, rule)
        segment = Segment(name=body.name, kind=body.kind, rule=body.rule or {}, created_at=now)
        work.session.add(segment)
        await work.session.flush()
        if body.member_ids is not None:
            await _list_named(work, segment, set(body.member_ids))
        elif rule is not None and body.kind == SegmentKind.STATIC:
            await _list_fitting(work, segment, rule)
        work.record("segment.created", segment.id)
    return await get_segment(state, segment.id)


async def check_communities(session: AsyncSession, rule: Rule) -> None:
    """Raise `CommunityNotFound` when a rule asks about a community there is not."""
    asked = communities_of(rule)
    found = await session.exec(select(Community.id).where(col(Community.id).in_(asked)))
    if set(found.all()) != asked:
        raise CommunityNotFound


async def _list_named(work: Work, segment: Segment, member_ids: set[str]) -> None:
    there = await work.session.exec(
        select(Member.id).where(col(Member.id).in_(member_ids), col(Member.erased_at).is_(None)),
    )
    if set(there.all()) != member_ids:
        raise MemberNotFound
    work.session.add_all(SegmentMember(segment_id=segment.id, member_id=id_) for id_ in sorted(member_ids))


async def _list_fitting(work: Work, segment: Segment, rule: Rule) -> None:
    """Put whom the rule fits on the list, some buckets at a time: no statement takes long. In one transaction,
    because half a list would be another one.
    """
    fitting_ = with_facts(literal(segment.id), Member.id).where(condition(rule, work.now))
    parts = [between(Member.bucket, first, first + BATCH) for first in range(0, BUCKETS, BATCH)]
    for part in [*parts, col(Member.bucket).is_(None)]:
        await work.session.exec(
            insert(SegmentMember).from_select(["segment_id", "member_id"], fitting_.where(part)),
        )


def between(bucket: Any, first: int, end: int) -> Condition:
    """Whether a bucket is one of these, counted from 0; `end` is not."""
    above = col(bucket) >= f"{first:03x}"
    return above if end >= BUCKETS else and_(above, col(bucket) < f"{end:03x}")


async def delete_segment(state: State, segment_id: str) -> None:
    """Forget a segment that nothing asks for: the keys that point to it say so. Raises `SegmentNotFound`,
    `SegmentInUse`.
    """
    try:
        async with transaction(state, state.clock()) as work:
            await work.session.exec(delete(SegmentMember).where(col(SegmentMember.segment_id) == segment_id))
            gone = await work.session.exec(
                delete(Segment).where(col(Segment.id) == segment_id).returning(col(Segment.id)),
            )
            if gone.first() is None:
                raise SegmentNotFound
            work.record("segment.deleted", segment_id)
    except IntegrityError as error:
        raise SegmentInUse from error


async def list_segments(state: State, after: str | None, limit: int) -> Page[SegmentPublic]:
    """All segments, newest first."""
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Segment, select(Segment), after, limit)
        words = await read_words(session, rows)
    return Page[SegmentPublic](items=[_public(row, words[row.id]) for row in rows], next=following)


async def get_segment(state: State, segment_id: str) -> SegmentDetail:
    """A segment; of a list with its length. Raises `SegmentNotFound`."""
    async with state.database.snapshot() as session:
        row = await _find(session, segment_id)
        words = await read_words(session, [row])
        length = None
        if row.kind == SegmentKind.STATIC:
            counted = select(func.count()).where(SegmentMember.segment_id == segment_id)
            length = (await session.exec(counted)).one()
    return SegmentDetail(**_public(row, words[row.id]).model_dump(), listed=length)


async def list_members(state: State, segment_id: str, after: str | None, limit: int) -> Page[SegmentMemberPublic]:
    """The members of a segment now, the newest first. A page looks at so many members and no more: it may be
    shorter than asked for, and yet not the last. Raises `SegmentNotFound`.
    """
    async with state.database.snapshot() as session:
        segment = await _find(session, segment_id)
        newest = select(Member.id).order_by(col(Member.id).desc()).limit(LOOKED_AT)
        if segment.kind == SegmentKind.STATIC:
            newest = (
                select(SegmentMember.member_id)
                .where(SegmentMember.segment_id == segment_id)
                .order_by(col(SegmentMember.member_id).desc())
                .limit(LOOKED_AT)
            )
        if after is not None:
            key = SegmentMember.member_id if segment.kind == SegmentKind.STATIC else Member.id
            newest = newest.where(col(key) < after)
        looked_at = (await session.exec(newest)).all()
        last = looked_at[-1] if looked_at else ""
        found = await session.exec(
            with_facts(Member.id, Member.name)
            .where(members_where(segment, state.clock()), col(Member.id) >= last)
            .where(col(Member.id) < after if after is not None else literal(value=True))
            .order_by(col(Member.id).desc())
            .limit(limit),
        )
        rows = found.all()
    items = [SegmentMemberPublic(member_id=id_, name=mask_name(name)) for id_, name in rows]
    if len(items) == limit:
        last = items[-1].member_id
    more = len(looked_at) == LOOKED_AT or (looked_at and last != looked_at[-1])
    return Page[SegmentMemberPublic](items=items, next=last if more else None)


async def _find(session: AsyncSession, segment_id: str) -> Segment:
    segment = await session.get(Segment, segment_id)
    if segment is None:
        raise SegmentNotFound
    return segment


async def read_words(session: AsyncSession, segments: Iterable[Segment]) -> dict[str, InWords]:
    """Segments in words, by their ids."""
    return await in_words(session, {row.id: parse(row.rule) if row.rule else None for row in segments})


async def in_words(session: AsyncSession, rules: Mapping[str, Rule | None]) -> dict[str, InWords]:
    """Rules in words, with the names of communities; None is a list."""
    asked = {id_ for rule in rules.values() if rule is not None for id_ in communities_of(rule)}
    names: dict[str, str] = {}
    if asked:
        found = await session.exec(select(Community.id, Community.name).where(col(Community.id).in_(asked)))
        names = dict(found.all())
    return {key: LISTED if rule is None else describe(rule, names) for key, rule in rules.items()}


def _public(row: Segment, words: InWords) -> SegmentPublic:
    return SegmentPublic(**row.model_dump(), words=Words(en=words.en, zh=words.zh))
