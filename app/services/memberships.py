"""Who belongs to a community: joining it, leaving it, and what those decide who look after it.

Everything that changes who belongs to a community is done under its lock: so its count of members is exact.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import col, select

from app.domain.communities import CommunityState, JoinMode
from app.domain.errors import (
    CommunityNotFound,
    CommunityNotOpen,
    InviteMismatch,
    InviteNeeded,
    MemberBlocked,
    MemberNotFound,
    MembershipNotFound,
    MembershipRefused,
    NotInAudience,
    Outranked,
    OwnsCommunity,
    TokenInvalid,
    WordsBlocked,
)
from app.domain.machines import sources
from app.domain.memberships import (
    MEMBERSHIP_TRANSITIONS,
    Action,
    LeaveReason,
    MembershipState,
    Role,
    Shown,
    has_run_out,
    outranks,
    standing_of,
)
from app.domain.notices import NoticeKind
from app.domain.orders import OrderState
from app.domain.referrals import TouchKind
from app.domain.words import is_blocked
from app.models import Community, Invite, Membership, Offer, Order
from app.schemas.groups import ClaimAnswer, ClaimCreate
from app.schemas.memberships import JoinAnswer, JoinCreate, MembershipPublic, MembershipUpdate
from app.services import claims, segments
from app.services.days import note_day
from app.services.invites import usable
from app.services.locks import lock_community, lock_member, lock_referrals
from app.services.members import find_member
from app.services.notices import notify
from app.services.referrals import use
from app.services.standing import Place, find_place, require, see_community
from app.services.tickets import issue_ticket
from app.services.touches import touch
from app.services.transactions import Work, transaction
from app.state import State

Key = tuple[str, str]
PRESENT_STATES = {MembershipState.ACTIVE, MembershipState.APPLIED}


async def join_community(
    state: State, member_id: str, community_id: str, body: JoinCreate, request_key: str
) -> JoinAnswer:
    """Become a member, or ask to; in a paid community, order a period. Who is one already stays what they are.

    Raises `CommunityNotFound`, `CommunityNotOpen`, `MemberBlocked`, `NotInAudience`, `InviteNeeded`,
    `InviteNotFound` and those of `check_usable`, `InviteMismatch`; in a paid one also what `claims.buy` raises.
    """
    now = state.clock()
    offer: Offer | None = None
    async with transaction(state, now) as work:
        if body.invite_code is not None:
            await lock_referrals(work.session)
        community = await lock_community(work.session, community_id)
        if community is None:
            raise CommunityNotFound
        if await find_member(work.session, member_id) is None:
            raise TokenInvalid
        row = await find_membership(work, community_id, member_id)
        if community.plan_sale_id is not None:
            offer = (await work.session.exec(select(Offer).where(Offer.sale_id == community.plan_sale_id))).one()
        if offer is None or not await _has_ordered(work, offer, member_id, request_key):
            row, is_done = await _join(state, work, community, member_id, row, body)
            offer = None if is_done else offer
    answer = None
    if offer is not None:
        claim = ClaimCreate(
            offer_id=offer.id,
            invite_code=body.invite_code,
            ticket=issue_ticket(state, member_id, offer.sale_id, request_key),
        )
        answer = await claims.buy_membership(state, member_id, offer.sale_id, claim, request_key)
    return JoinAnswer(
        membership=None if row is None else public(row),
        order=None if answer is None else ClaimAnswer.model_validate_json(answer).order,
    )


async def _has_ordered(work: Work, offer: Offer, member_id: str, request_key: str) -> bool:
    """Whether this request was answered before, whatever has become of the community."""
    found = await work.session.exec(
        select(Order.id).where(
            Order.sale_id == offer.sale_id, Order.member_id == member_id, Order.request_key == request_key
        ),
    )
    return found.first() is not None


async def _join(
    state: State, work: Work, community: Community, member_id: str, row: Membership | None, body: JoinCreate
) -> tuple[Membership | None, bool]:
    """Let somebody in as the community lets in: their membership, and whether that is all, or they have to pay."""
    if row is not None and row.state == MembershipState.BLOCKED:
        raise MemberBlocked
    is_paid = community.join_mode == JoinMode.PAID
    if row is not None and row.state in PRESENT_STATES and not (is_paid and row.paid_until is not None):
        return row, True
    await see_community(work.session, community.id, member_id, work.now)
    if community.state != CommunityState.OPEN:
        raise CommunityNotOpen(state=community.state)
    fitting = community.join_segment_id
    if fitting is not None and not await segments.fits(work.session, fitting, member_id, work.now):
        raise NotInAudience
    invite = await _invite(work, community, member_id, body.invite_code)
    if community.join_mode == JoinMode.APPROVE:
        row = await _apply(work, community, member_id, row, body)
    elif not is_paid or (row is not None and row.state != MembershipState.ACTIVE and _has_paid(row, work.now)):
        row = await admit(work, community, member_id)
    else:
        return row, False  # the order counts the use of an invite
    if invite is not None:
        await use(work, invite, member_id)
        await touch(state, work, invite.code, member_id, member_id, TouchKind.CODE)
        row.invite_code = invite.code
        work.session.add(row)
    return row, True


def _has_paid(row: Membership, now: datetime) -> bool:
    return row.paid_until is not None and row.paid_until > now


async def _invite(work: Work, community: Community, member_id: str, code: str | None) -> Invite | None:
    """The invite somebody comes with. Raises `InviteNeeded` where one is needed and none, or not of a member."""
    invite = None if code is None else await usable(work, code, member_id)
    if invite is not None and invite.community_id != community.id:
        raise InviteMismatch
    if community.join_mode == JoinMode.INVITE:
        inviter = None if invite is None else await find_membership(work, community.id, invite.member_id)
        if inviter is None or inviter.state != MembershipState.ACTIVE:
            raise InviteNeeded
    return invite


async def _apply(
    work: Work, community: Community, member_id: str, row: Membership | None, body: JoinCreate
) -> Membership:
    before = None if row is None else row.state
    row = await _bring(
        *(work, community, member_id, row, MembershipState.APPLIED),
        application=body.application,
        applied_at=work.now,
    )
    _record(work, "applied", row, before)
    return row


async def admit(work: Work, community: Community, member_id: str, role: Role = Role.MEMBER) -> Membership:
    """Make somebody a member of a community that is locked; who is one already stays what they are. Raises
    `MembershipRefused`.
    """
    row = await find_membership(work, community.id, member_id)
    if row is not None and row.state == MembershipState.ACTIVE:
        return row
    before = None if row is None else row.state
    row = await _bring(
        *(work, community, member_id, row, MembershipState.ACTIVE),
        role=role,
        joined_at=work.now,
    )
    await _count(work, community, 1)
    _record(work, "joined", row, before)
    return row


async def _bring(
    work: Work,
    community: Community,
    member_id: str,
    row: Membership | None,
    target: MembershipState,
    **values: Any,
) -> Membership:
    """A membership in a state in which nobody has left: a new one, or one that was there."""
    if row is not None:
        await _move(work, row, target, left_at=None, leave_reason=None, **values)
        return row
    row = Membership(community_id=community.id, member_id=member_id, state=target, **values)
    work.session.add(row)
    await work.session.flush()
    return row


async def grant(work: Work, community: Community, member_id: str, paid_until: datetime, *, is_new: bool) -> None:
    """Let what a member has paid for last until then, and let them in when something new was paid. Who was blocked
    or erased meanwhile, or paid for what has dissolved, stays out: an event says so, for operators to refund it.
    """
    row = await find_membership(work, community.id, member_id)
    is_out = community.state != CommunityState.OPEN or (row is not None and row.state == MembershipState.BLOCKED)
    if is_new and (is_out or await find_member(work.session, member_id) is None):
        work.record("membership.needs_attention", community.id, member_id=member_id, community_id=community.id)
    elif is_new:
        row = await admit(work, community, member_id)
    if row is None or row.joined_at is None or community.state == CommunityState.DISSOLVED:
        return
    row.paid_until = paid_until
    work.session.add(row)
    work.record(
        "membership.paid",
        community.id,
        member_id=member_id,
        community_id=community.id,
        until=paid_until.isoformat(),
    )


async def get_membership(state: State, member_id: str, community_id: str) -> MembershipPublic:
    """One's own membership, whatever has become of it. Raises `CommunityNotFound`, `MembershipNotFound`."""
    async with state.database.snapshot() as session:
        place = await find_place(session, community_id, member_id)
    return public(_belonging(place))


async def update_membership(
    state: State, member_id: str, community_id: str, body: MembershipUpdate
) -> MembershipPublic:
    """Change what is named in the body. Raises what `require` raises, and `WordsBlocked`: a nickname stands beside
    every post.
    """
    changes = body.model_dump(exclude_none=True)
    if body.shown is not None:
        changes["shown"] = dict.fromkeys(sorted(body.shown), True)
    async with transaction(state, state.clock()) as work:
        place = await require(work.session, community_id, member_id, Action.TAKE_PART, writes=True)
        if any(is_blocked(text, place.community.blocked_words) for text in (body.nickname, body.bio) if text):
            raise WordsBlocked
        row = _there(place.membership)
        row.sqlmodel_update(changes)
        work.session.add(row)
    return public(row)


async def leave_community(state: State, member_id: str, community_id: str, reason: LeaveReason) -> MembershipPublic:
    """Leave, or take back that one would like to join; who has left has. Raises `CommunityNotFound`,
    `MembershipNotFound`, `MemberBlocked`, `OwnsCommunity`, `MembershipRefused`.
    """
    async with transaction(state, state.clock()) as work:
        community = await _lock(work, community_id)
        row = _belonging(await find_place(work.session, community_id, member_id))
        if row.state == MembershipState.BLOCKED:
            raise MemberBlocked
        if row.role == Role.OWNER:
            raise OwnsCommunity
        if row.state != MembershipState.LEFT:
            await end_membership(work, community, row, MembershipState.LEFT, reason)
    return public(row)


async def approve(state: State, by_id: str, community_id: str, member_id: str) -> Membership:
    """Let an applicant in, also one who was declined. Raises what `_moderating` raises, `MembershipRefused`."""
    async with _moderating(state, by_id, community_id, member_id) as (work, place, row):
        if row.state == MembershipState.ACTIVE:
            return row
        if row.state not in {MembershipState.APPLIED, MembershipState.DECLINED}:
            raise MembershipRefused(state=row.state)
        if await find_member(work.session, member_id) is None:
            raise MembershipNotFound
        await admit(work, place.community, member_id)
        text = f"「{place.community.name}」通过了你的申请。{place.community.name} has let you in."
        notify(work, [member_id], NoticeKind.MEMBERSHIP, text, community_id=community_id)
    return row


async def decline(state: State, by_id: str, community_id: str, member_id: str) -> Membership:
    """Turn an applicant down. Raises what `_moderating` raises, `MembershipRefused`."""
    async with _moderating(state, by_id, community_id, member_id) as (work, place, row):
        if row.state == MembershipState.DECLINED:
            return row
        before = row.state
        await _move(work, row, MembershipState.DECLINED)
        _record(work, "declined", row, before)
        text = f"「{place.community.name}」未通过你的申请。{place.community.name} has not let you in."
        notify(work, [member_id], NoticeKind.MEMBERSHIP, text, community_id=community_id)
    return row


async def remove(state: State, by_id: str, community_id: str, member_id: str) -> Membership:
    """Have a member leave. Raises what `_moderating` raises, `MembershipRefused`."""
    async with _moderating(state, by_id, community_id, member_id) as (work, place, row):
        if row.state != MembershipState.REMOVED:
            await end_membership(work, place.community, row, MembershipState.REMOVED, LeaveReason.REMOVED)
    return row


async def block(state: State, by_id: str, community_id: str, member_id: str) -> Membership:
    """Let somebody neither in nor back in; what they have ordered of the plan and not paid lapses. Raises what
    `_moderating` raises.
    """
    async with _moderating(state, by_id, community_id, member_id) as (work, place, row):
        if row.state != MembershipState.BLOCKED:
            await end_membership(work, place.community, row, MembershipState.BLOCKED, LeaveReason.BLOCKED)
            await drop_unpaid(work, place.community, member_id)
    return row


async def unblock(state: State, by_id: str, community_id: str, member_id: str) -> Membership:
    """Let somebody join again. Raises what `_moderating` raises, `MembershipRefused`."""
    async with _moderating(state, by_id, community_id, member_id) as (work, _, row):
        if row.state == MembershipState.LEFT:
            return row
        if row.state != MembershipState.BLOCKED:
            raise MembershipRefused(state=row.state)
        before = row.state
        await _move(work, row, MembershipState.LEFT)
        _record(work, "unblocked", row, before)
    return row


async def set_role(state: State, by_id: str, community_id: str, member_id: str, role: Role) -> Membership:
    """Give a member another role than the owner's. Raises what `require` raises, `MembershipNotFound`, `Outranked`,
    `MembershipRefused`.
    """
    async with _moderating(state, by_id, community_id, member_id, Action.SET_ROLES) as (work, _, row):
        if row.state != MembershipState.ACTIVE:
            raise MembershipRefused(state=row.state)
        row.role = role
        work.session.add(row)
        work.record(
            "membership.role_set", community_id, member_id=member_id, community_id=community_id, role=role, by=by_id
        )
    return row


async def hand_over(state: State, by_id: str, community_id: str, member_id: str) -> Membership:
    """Make another member the owner; who was, leads on. Raises what `set_role` raises, and `MembershipNotFound` for
    who was erased: nobody would look after the community.
    """
    async with _moderating(state, by_id, community_id, member_id, Action.SET_ROLES) as (work, place, row):
        if row.state != MembershipState.ACTIVE:
            raise MembershipRefused(state=row.state)
        if await lock_member(work.session, member_id) is None:
            raise MembershipNotFound
        await _own(work, place.community, row)
    return row


async def set_owner(state: State, community_id: str, member_id: str) -> MembershipPublic:
    """Make somebody the owner, as an operator; who was, leads on. Raises `CommunityNotFound`, `MemberNotFound`,
    `CommunityNotOpen` when it is dissolved, `MembershipRefused` when they are blocked.
    """
    async with transaction(state, state.clock()) as work:
        community = await _lock(work, community_id)
        if community.state == CommunityState.DISSOLVED:
            raise CommunityNotOpen(state=community.state)
        if await lock_member(work.session, member_id) is None:
            raise MemberNotFound
        row = await admit(work, community, member_id)
        await _own(work, community, row)
    return public(row)


async def lapse(state: State, key: Key, now: datetime) -> bool:
    """End the membership of who has not paid on, and tell them. False when there was nothing to do."""
    async with transaction(state, now) as work:
        community = await _lock(work, key[0])
        row = _there(await find_membership(work, *key))
        if not has_run_out(row.state, row.role, row.paid_until, now):
            return False
        await end_membership(work, community, row, MembershipState.LAPSED, LeaveReason.LAPSED)
        text = f"你在「{community.name}」的会员已到期。Your membership of {community.name} has run out."
        notify(work, [key[1]], NoticeKind.MEMBERSHIP, text, community_id=key[0])
    return True


async def warn(state: State, key: Key, now: datetime) -> bool:
    """Tell a member that what they have paid for runs out soon, once. False when there was nothing to do."""
    async with transaction(state, now) as work:
        community = await _lock(work, key[0])
        row = _there(await find_membership(work, *key))
        until = row.paid_until
        if until is None or row.warned_for == until:
            return False
        row.warned_for = until
        work.session.add(row)
        day = until.date().isoformat()
        text = (
            f"你在「{community.name}」的会员将于 {day} 到期。Your membership of {community.name} runs out on {day}."
        )
        notify(work, [key[1]], NoticeKind.MEMBERSHIP, text, community_id=key[0])
    return True


async def end_membership(
    work: Work, community: Community, row: Membership, target: MembershipState, reason: LeaveReason
) -> None:
    """Have somebody belong to a community that is locked no more. Raises `MembershipRefused`."""
    before = row.state
    await _move(work, row, target, role=Role.MEMBER, left_at=work.now, leave_reason=reason)
    if before == MembershipState.ACTIVE:
        await _count(work, community, -1)
    _record(work, target, row, before, reason=reason)


async def find_membership(work: Work, community_id: str, member_id: str) -> Membership | None:
    """The membership as it is now; exact while its community is locked."""
    return await work.session.get(Membership, (community_id, member_id), populate_existing=True)


async def drop_unpaid(work: Work, community: Community, member_id: str | None = None) -> None:
    """Let what was ordered of a plan and not paid expire now: all of it, or a member's."""
    statement = (
        update(Order)
        .where(col(Order.sale_id) == community.plan_sale_id, col(Order.state) == OrderState.HELD)
        .values(hold_expires_at=work.now)
        .execution_options(synchronize_session=False)
    )
    await work.session.exec(statement if member_id is None else statement.where(col(Order.member_id) == member_id))


def public(row: Membership) -> MembershipPublic:
    """A membership as its member sees it."""
    shown = [name for name in Shown if row.shown.get(name)]
    return MembershipPublic.model_validate(row.model_dump() | {"shown": shown})


@asynccontextmanager
async def _moderating(
    state: State, by_id: str, community_id: str, member_id: str, action: Action = Action.MODERATE
) -> AsyncIterator[tuple[Work, Place, Membership]]:
    """A transaction in which somebody decides on another's membership. Raises what `require` raises,
    `MembershipNotFound`, `Outranked`.
    """
    async with transaction(state, state.clock()) as work:
        await _lock(work, community_id)
        place = await require(work.session, community_id, by_id, action, writes=True)
        row = _there(await find_membership(work, community_id, member_id))
        if not outranks(place.standing, standing_of(row.state, row.role)):
            raise Outranked
        yield work, place, row


async def _own(work: Work, community: Community, row: Membership) -> None:
    """Make a member the owner. There is one at a time: who was becomes a leader first."""
    found = await work.session.exec(
        select(Membership).where(Membership.community_id == community.id, Membership.role == Role.OWNER)
    )
    for owner in found.all():
        owner.role = Role.LEADER
        work.session.add(owner)
    await work.session.flush()
    row.role = Role.OWNER
    work.session.add(row)
    work.record("community.owner_set", community.id, member_id=row.member_id, community_id=community.id)


async def _move(work: Work, row: Membership, target: MembershipState, **values: Any) -> None:
    """Compare and set, by the table; the row is then as it is. Raises `MembershipRefused`."""
    before = row.state
    moved = await work.session.exec(
        update(Membership)
        .where(
            col(Membership.community_id) == row.community_id,
            col(Membership.member_id) == row.member_id,
            col(Membership.state).in_(sources(MEMBERSHIP_TRANSITIONS, target)),
        )
        .values(state=target, **values)
        .returning(Membership)
        .execution_options(synchronize_session=False, populate_existing=True),
    )
    if moved.scalar_one_or_none() is None:
        raise MembershipRefused(state=before)


async def _count(work: Work, community: Community, change: int) -> None:
    await work.session.exec(
        update(Community)
        .where(col(Community.id) == community.id)
        .values(member_count=Community.member_count + change)
        .execution_options(synchronize_session=False),
    )
    await note_day(work, community)


async def _lock(work: Work, community_id: str) -> Community:
    community = await lock_community(work.session, community_id)
    if community is None:
        raise CommunityNotFound
    return community


def _there(row: Membership | None) -> Membership:
    if row is None:
        raise MembershipNotFound
    return row


def _belonging(place: Place) -> Membership:
    """What somebody has to do with a community. Raises `MembershipNotFound`; to who may not know of it,
    `CommunityNotFound`.
    """
    if place.membership is None:
        raise MembershipNotFound if place.community.see_segment_id is None else CommunityNotFound
    return place.membership


def _record(work: Work, what: str, row: Membership, before: MembershipState | None, **data: Any) -> None:
    work.record(
        f"membership.{what}",
        row.community_id,
        states=(before, row.state),
        member_id=row.member_id,
        community_id=row.community_id,
        **data,
    )
