"""Broadcasts 群发: what they would do and cost, sent within what a community has earned, told to its members.

A push to a member takes the next free place of their day, `(member, day, number)`, of all their communities
together. Where there is none, or where they wish for it, it waits for their digest.
"""

from dataclasses import dataclass
from datetime import datetime, time
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, case, func, insert, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.communities import CommunityState
from app.domain.errors import (
    CommunityNotFound,
    IdempotencyKeyReused,
    InvalidTerms,
    PostNotFound,
    PushBudgetTooLow,
    PushNotFound,
    PushReachesNobody,
    SaleNotFound,
    SegmentNotFound,
)
from app.domain.memberships import Action, MembershipState
from app.domain.notices import DAILY_CAP, NoticeKind, PushState, PushWish
from app.domain.pushes import (
    DUE_STATES,
    PUSH_TRANSITIONS,
    SURCHARGE_WINDOW,
    allowance,
    budget,
    digest_time,
    first_day,
    next_allowed,
    price,
    start_time,
)
from app.domain.sales import SaleState
from app.models import (
    Community,
    CommunityDay,
    Member,
    Membership,
    Notice,
    Overflow,
    Post,
    Push,
    Sale,
    SaleCommunity,
    Segment,
    new_id,
)
from app.schemas.fields import Page
from app.schemas.pushes import Digested, PushCreate, PushDetail, PushPreview, PushPublic
from app.services import robots, segments
from app.services.days import local_day, note_day
from app.services.locks import lock_community, lock_segments_shared
from app.services.pages import read_page
from app.services.standing import require
from app.services.transactions import Work, transaction
from app.state import State

BATCH = 500
"""Members that are told in one transaction."""


class PlaceTaken(Exception):
    """Another push took a place of one of these members' day meanwhile."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a push costs, and what there is to pay it with."""

    cost: int
    budget: int


async def preview_push(state: State, member_id: str, community_id: str, body: PushCreate) -> PushPreview:
    """What a push would do and cost, and whether it would be sent. Raises what `send_push` raises, except for its
    price.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        community = (await require(session, community_id, member_id, Action.PUSH, writes=True)).community
        await _check_links(session, community_id, body)
        wished = start_time(body.sends_at, now)
        sends_at = _next_allowed(community, wished)
        audience = await _audience(session, community_id, body.segment_id, now)
        full = select(Notice.id).where(
            Notice.member_id == Membership.member_id,
            Notice.day == local_day(community, sends_at),
            Notice.number == DAILY_CAP,
        )
        each = col(Membership.push_wish) == PushWish.EACH
        counted = await session.exec(
            select(
                func.count(),
                func.count(case((~each, 1))),
                func.count(case((and_(each, full.exists()), 1))),
            )
            .select_from(Membership)
            .where(*audience),
        )
        recipients, by_wish, by_cap = counted.one()
        quote = await _quote(session, community, recipients, now)
    return PushPreview(
        recipients=recipients,
        digested=Digested(wish=by_wish, cap=by_cap),
        cost=quote.cost,
        budget=quote.budget,
        budget_after=quote.budget - quote.cost,
        sends_at=sends_at,
        quiet=sends_at > wished,
    )


async def send_push(
    state: State, member_id: str, community_id: str, body: PushCreate, request_key: str
) -> PushPublic:
    """Have a push sent, and pay for it; the same key does it once. Raises `CommunityNotFound`, `CommunityNotOpen`,
    `MemberBlocked`, `NotAllowed`, `PostNotFound`, `SaleNotFound`, `SegmentNotFound`, `InvalidTerms`,
    `PushReachesNobody`, `PushBudgetTooLow`, `IdempotencyKeyReused`.
    """
    request_hash = sha256(f"{community_id} {body.model_dump_json()}".encode()).hexdigest()
    async with transaction(state, state.clock()) as work:
        await lock_community(
            work.session, community_id
        )  # one after the other, they spend what there is and no more
        community = (await require(work.session, community_id, member_id, Action.PUSH, writes=True)).community
        found = await work.session.exec(
            select(Push).where(Push.sender_id == member_id, Push.request_key == request_key),
        )
        earlier = found.one_or_none()
        if earlier is not None:
            if earlier.request_hash != request_hash:
                raise IdempotencyKeyReused
            return _public(earlier)
        if body.segment_id is not None:
            await lock_segments_shared(work.session, [body.segment_id])
        await _check_links(work.session, community_id, body)
        sends_at = _next_allowed(community, start_time(body.sends_at, work.now))
        audience = await _audience(work.session, community_id, body.segment_id, work.now)
        counted = await work.session.exec(select(func.count()).select_from(Membership).where(*audience))
        recipients = counted.one()
        if recipients == 0:
            raise PushReachesNobody
        quote = await _quote(work.session, community, recipients, work.now)
        if quote.cost > quote.budget:
            raise PushBudgetTooLow(price=quote.cost, budget=quote.budget)
        push = Push(
            **body.model_dump(exclude={"sends_at"}),
            community_id=community_id,
            sender_id=member_id,
            state=PushState.SCHEDULED,
            cost=quote.cost,
            recipients=recipients,
            sends_at=sends_at,
            created_at=work.now,
            request_key=request_key,
            request_hash=request_hash,
        )
        made = await work.session.exec(
            state.database.insert_unless_there(Push, ["sender_id", "request_key"])
            .values(push.model_dump())
            .returning(col(Push.id)),
        )
        if made.first() is None:  # for another community, in the same moment
            raise IdempotencyKeyReused
        _record(work, push, None, budget=quote.budget)
    return _public(push)


async def list_pushes(
    state: State, member_id: str | None, community_id: str, after: str | None, limit: int
) -> Page[PushPublic]:
    """The pushes of a community, newest first; for an operator when no member is named. Raises
    `CommunityNotFound`, `MemberBlocked`, `NotAllowed`.
    """
    async with state.database.snapshot() as session:
        await _check_reader(session, member_id, community_id)
        statement = select(Push).where(Push.community_id == community_id)
        rows, following = await read_page(session, Push, statement, after, limit)
    return Page[PushPublic](items=[_public(row) for row in rows], next=following)


async def get_push(state: State, member_id: str, community_id: str, push_id: str) -> PushDetail:
    """A push, and how many have read it. Raises as `list_pushes`, and `PushNotFound`."""
    async with state.database.snapshot() as session:
        await _check_reader(session, member_id, community_id)
        push = await _find(session, community_id, push_id)
        read = await session.exec(
            select(func.count()).where(Notice.push_id == push_id, col(Notice.read_at).is_not(None)),
        )
        return PushDetail(**_public(push).model_dump(), reads=read.one())


async def cancel_push(state: State, member_id: str | None, community_id: str, push_id: str) -> PushPublic:
    """Send a push no further. One that has not begun costs nothing any more; one that has stays paid. Again changes
    nothing. By an operator when no member is named. Raises as `get_push`.
    """
    async with transaction(state, state.clock()) as work:
        await _check_reader(work.session, member_id, community_id)
        push = await _find(work.session, community_id, push_id)
        await stop(work, push)
        await work.session.refresh(push)
        return _public(push)


async def deliver(state: State, push_id: str, _now: datetime) -> bool:
    """Tell a push to everybody it is for, a batch in a transaction; who goes on after a crash begins where the last
    one was committed. In quiet hours it is put off. True when this call told somebody.
    """
    told = False
    while await _deliver_some(state, push_id):
        told = True
    return told


async def _deliver_some(state: State, push_id: str) -> bool:
    """Whether to look again: there may be more to do."""
    try:
        async with transaction(state, state.clock()) as work:
            return await _deliver_batch(state, work, push_id)
    except PlaceTaken:
        return True


async def _deliver_batch(state: State, work: Work, push_id: str) -> bool:
    push = await work.session.get_one(Push, push_id)
    community = await work.session.get_one(Community, push.community_id)
    if push.state not in DUE_STATES or push.sends_at > work.now:
        return False
    if community.state != CommunityState.OPEN:
        await stop(work, push)
        return False
    allowed = _next_allowed(community, work.now)
    if allowed > work.now:
        await work.session.exec(
            update(Push)
            .where(col(Push.id) == push_id)
            .values(sends_at=allowed)
            .execution_options(synchronize_session=False),
        )
        return False
    day = local_day(community, work.now)
    taken = (
        select(func.coalesce(func.max(Notice.number), 0))
        .where(Notice.member_id == Membership.member_id, Notice.day == day)
        .scalar_subquery()
    )
    found = await work.session.exec(
        select(Membership.member_id, Membership.push_wish, taken)
        .where(*await _audience(work.session, push.community_id, push.segment_id, push.created_at))
        .where(Membership.member_id > push.sent_to)
        .order_by(col(Membership.member_id))
        .limit(BATCH),
    )
    batch = found.all()
    places = [(id_, number + 1) for id_, wish, number in batch if wish == PushWish.EACH and number < DAILY_CAP]
    placed = {id_ for id_, _ in places}
    left_over = [id_ for id_, _, _ in batch if id_ not in placed]
    if push.state == PushState.SCHEDULED and not await _begin(state, work, push, community):
        return False
    if not await _move_on(work, push, batch[-1][0] if batch else push.sent_to, len(placed), len(left_over)):
        return False
    if places:
        await _take_places(work, push, day, places)
    if left_over:
        due_at = digest_time(work.now, community.quiet_from, community.quiet_to, ZoneInfo(community.timezone))
        values = {"push_id": push_id, "created_at": work.now, "due_at": due_at}
        await work.session.exec(insert(Overflow), params=[{"member_id": id_} | values for id_ in left_over])
    if len(batch) < BATCH:
        await _end(work, push)
    return True


async def _begin(state: State, work: Work, push: Push, community: Community) -> bool:
    """Begin to send a push, and tell the chats, unless another worker has or somebody has stopped it."""
    if await work.advance(PUSH_TRANSITIONS, push, PushState.SENDING) is None:
        return False
    _record(work, push, PushState.SCHEDULED)
    if push.to_chats:
        await robots.tell_chats(state, work, push, community)
    return True


async def _move_on(work: Work, push: Push, sent_to: str, placed: int, left_over: int) -> bool:
    """Move the cursor of a push, unless another worker has moved it or somebody has stopped it."""
    moved = await work.session.exec(
        update(Push)
        .where(col(Push.id) == push.id, col(Push.state) == PushState.SENDING, col(Push.sent_to) == push.sent_to)
        .values(sent_to=sent_to, delivered=Push.delivered + placed, digested=Push.digested + left_over)
        .returning(col(Push.id))
        .execution_options(synchronize_session=False),
    )
    return moved.first() is not None


async def _take_places(work: Work, push: Push, day: str, places: list[tuple[str, int]]) -> None:
    """Tell members, each at their next place of the day; in the order of their ids, so that two pushes never wait
    for each other. Raises `PlaceTaken`; then the batch is done anew.
    """
    values = {
        "kind": NoticeKind.PUSH,
        "community_id": push.community_id,
        "push_id": push.id,
        "subject_id": push.post_id or push.sale_id,
        "text": push.text,
        "day": day,
        "created_at": work.now,
    }
    told = await work.session.exec(
        work.database.insert_unless_there(Notice, ["member_id", "day", "number"]).returning(col(Notice.member_id)),
        params=[{"id": new_id("ntc"), "member_id": id_, "number": number} | values for id_, number in places],
    )
    if len(told.all()) < len(places):
        raise PlaceTaken


async def stop(work: Work, push: Push) -> None:
    """End a push where it is; chats that it has not reached do not hear it."""
    await _end(work, push)
    await robots.withdraw(work, push.id)


async def _end(work: Work, push: Push) -> None:
    """Cancelled before it begins, sent afterwards."""
    for before, after in ((PushState.SCHEDULED, PushState.CANCELLED), (PushState.SENDING, PushState.SENT)):
        sent_at = work.now if after == PushState.SENT else None
        moved = await work.advance(PUSH_TRANSITIONS, push, after, sent_at=sent_at)
        if moved is not None:
            _record(work, moved, before)
            await note_day(work, await work.session.get_one(Community, push.community_id))
            return


async def _check_links(session: AsyncSession, community_id: str, body: PushCreate) -> None:
    """Raise for a post or a sale that is not of this community, or cannot be seen there, and for a segment that is
    none, or that chats would not be.
    """
    if body.post_id is not None:
        post = await session.get(Post, body.post_id)
        if post is None or post.community_id != community_id or post.hidden_at or post.removed_at:
            raise PostNotFound
    if body.sale_id is not None:
        belongs = or_(
            col(Sale.community_id) == community_id,
            select(SaleCommunity.sale_id)
            .where(SaleCommunity.sale_id == Sale.id, SaleCommunity.community_id == community_id)
            .exists(),
        )
        found = await session.exec(
            select(Sale.id).where(Sale.id == body.sale_id, Sale.state != SaleState.DRAFT, belongs),
        )
        if found.first() is None:
            raise SaleNotFound
    if body.segment_id is not None and await session.get(Segment, body.segment_id) is None:
        raise SegmentNotFound
    if body.segment_id is not None and body.to_chats:
        raise InvalidTerms(field="to_chats", reason="a chat is for all, not for a segment")


async def _audience(
    session: AsyncSession, community_id: str, segment_id: str | None, asked_at: datetime
) -> list[ColumnElement[bool]]:
    """Whom a push is for: those who had joined when it was asked for, are there, and do not wish for none; of a
    segment, when one is named.
    """
    conditions = [
        col(Membership.community_id) == community_id,
        col(Membership.state) == MembershipState.ACTIVE,
        col(Membership.push_wish) != PushWish.NONE,
        col(Membership.joined_at) <= asked_at,
    ]
    if segment_id is not None:
        segment = await session.get_one(Segment, segment_id)
        conditions.append(
            col(Membership.member_id).in_(
                segments.with_facts(col(Member.id)).where(segments.members_where(segment, asked_at))
            ),
        )
    return conditions


async def _quote(session: AsyncSession, community: Community, recipients: int, now: datetime) -> Quote:
    zone = ZoneInfo(community.timezone)
    day = first_day(now, zone)
    earned = await session.exec(
        select(func.coalesce(func.sum(CommunityDay.value), 0)).where(
            CommunityDay.community_id == community.id, CommunityDay.day >= day.isoformat()
        ),
    )
    lately = case((col(Push.created_at) > now - SURCHARGE_WINDOW, 1))
    paid = await session.exec(
        select(func.coalesce(func.sum(Push.cost), 0), func.count(lately)).where(
            Push.community_id == community.id,
            Push.state != PushState.CANCELLED,
            Push.created_at >= datetime.combine(day, time(), zone),
        ),
    )
    spent, sent = paid.one()
    allowed = allowance(community.member_count, now - (community.opened_at or now))
    return Quote(price(recipients, sent), budget(int(earned.one()), allowed, int(spent)))


async def _check_reader(session: AsyncSession, member_id: str | None, community_id: str) -> None:
    if member_id is not None:
        await require(session, community_id, member_id, Action.PUSH)
    elif await session.get(Community, community_id) is None:
        raise CommunityNotFound


async def _find(session: AsyncSession, community_id: str, push_id: str) -> Push:
    push = await session.get(Push, push_id)
    if push is None or push.community_id != community_id:
        raise PushNotFound
    return push


def _next_allowed(community: Community, moment: datetime) -> datetime:
    return next_allowed(moment, community.quiet_from, community.quiet_to, ZoneInfo(community.timezone))


def _public(push: Push) -> PushPublic:
    return PushPublic.model_validate(push, from_attributes=True)


def _record(work: Work, push: Push, before: PushState | None, **data: Any) -> None:
    work.record(
        f"push.{push.state}",
        push.id,
        states=(before, push.state),
        member_id=push.sender_id,
        community_id=push.community_id,
        cost=push.cost,
        **data,
    )
