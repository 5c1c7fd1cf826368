"""Invites: a short link from one member, on one channel."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from secrets import choice

from sqlalchemy import and_, func, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import (
    GroupClosed,
    GroupNotFound,
    InviteLimit,
    InviteNotFound,
    SaleEnded,
    SelfReferral,
    TokenInvalid,
)
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.invites import MAX_INVITES_A_DAY, check_usable, find_expiry
from app.domain.members import mask_name
from app.domain.orders import ACTIVE_ORDER_STATES
from app.domain.referrals import TouchKind
from app.domain.sales import SaleState
from app.models import Group, Invite, Member, Order, Referral, Touch, Use
from app.schemas.fields import Page
from app.schemas.invites import InviteCreate, InviteLanding, InviteMine, InvitePublic
from app.services.standing import see_community
from app.services.terms import forget_invite, published_sale
from app.services.touches import is_somebody, touch
from app.services.transactions import Work, transaction
from app.services.visitors import issue_visitor, read_visitor
from app.state import State

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters and digits that cannot be mistaken for each other when typed by hand."""
CODE_LENGTH = 10
"""57^10 codes, 58 bits: not to be guessed."""


async def create_invite(state: State, member_id: str, body: InviteCreate) -> InvitePublic:
    """Make a link to a group, a sale or a community. Raises `GroupNotFound`, `GroupClosed`,
    `SaleNotFound`, `SaleEnded`, `CommunityNotFound`, `InvalidTerms`, `InviteLimit`.
    """
    now = state.clock()
    expires_at = find_expiry(body.expires_at, now)
    async with transaction(state, now) as work:
        if await work.session.get(Member, member_id) is None:
            raise TokenInvalid
        if body.group_id is not None:
            group = await work.session.get(Group, body.group_id)
            if group is None:
                raise GroupNotFound
            if group.state in FINAL_GROUP_STATES:
                raise GroupClosed
        if body.community_id is not None:
            await see_community(work.session, body.community_id, member_id, now)
        if body.sale_id is not None:
            sale = await published_sale(work.session, body.sale_id)
            if sale.state == SaleState.ENDED:
                raise SaleEnded
        invite = Invite(
            **body.model_dump(exclude={"expires_at"}),
            code="".join(choice(ALPHABET) for _ in range(CODE_LENGTH)),
            member_id=member_id,
            created_at=now,
            expires_at=expires_at,
            day=now.date(),
        )
        await _insert(state, work, invite)
        work.record(
            "invite.created",
            invite.code,
            sale_id=invite.sale_id,
            member_id=member_id,
            target_group_id=invite.group_id,
            channel=invite.channel,
        )
    return _public(state, invite)


async def open_invite(
    state: State,
    code: str,
    visitor_token: str | None,
    viewer_id: str | None,
    *,
    is_tap: bool = True,
    goes_on: bool = False,
) -> InviteLanding:
    """What somebody who taps the link learns; the tap is recorded as a member's, or as a visitor's: a new one
    without a token. Who only looks at it, or goes on from it, does not tap it. On a page (`goes_on`) a member who
    has bought by an invite goes on from it when it is over.

    Raises `VisitorInvalid`, `TokenInvalid`, `InviteNotFound` and those of `check_usable`.
    """
    now = state.clock()
    if visitor_token is not None:
        visitor_id = read_visitor(state, visitor_token)
    elif viewer_id is not None:
        visitor_id = viewer_id
    else:
        visitor_id, visitor_token = issue_visitor(state)
    async with transaction(state, now) as work:
        if viewer_id is not None and await work.session.get(Member, viewer_id) is None:
            raise TokenInvalid
        if viewer_id is None and await is_somebody(work, visitor_id):
            visitor_id, visitor_token = issue_visitor(state)
        has_bought = goes_on and viewer_id is not None and await _has_bought(work, code, viewer_id)
        invite = await (read_invite(work.session, code) if has_bought else usable(work, code, viewer_id))
        inviter = await work.session.get_one(Member, invite.member_id)
        if is_tap and not has_bought:
            await _touch(state, work, invite, visitor_id, viewer_id, TouchKind.LINK)
    if invite.group_id is not None:
        target = f"/v1/groups/{invite.group_id}"
    elif invite.sale_id is not None:
        target = f"/v1/sales/{invite.sale_id}"
    else:
        target = f"/v1/sales?community_id={invite.community_id}"
    return InviteLanding(
        **_public(state, invite).model_dump(),
        inviter_name=mask_name(inviter.name),
        visitor_token=visitor_token,
        target_url=f"{state.settings.public_url.rstrip('/')}{target}",
    )


async def type_code(state: State, member_id: str, code: str) -> InvitePublic:
    """Write down that a member was brought by a code, as if its link had been tapped. Raises `TokenInvalid`,
    `InviteNotFound`, those of `check_usable`, `SelfReferral`.
    """
    async with transaction(state, state.clock()) as work:
        if await work.session.get(Member, member_id) is None:
            raise TokenInvalid
        invite = await usable(work, code, member_id)
        if invite.member_id == member_id:
            raise SelfReferral
        await _touch(state, work, invite, member_id, member_id, TouchKind.CODE)
    return _public(state, invite)


async def revoke_invite(state: State, member_id: str, code: str) -> None:
    """Let an invite bring nobody any more; whom it has brought stays brought. Raises `InviteNotFound`, also for
    somebody else's.
    """
    now = state.clock()
    async with transaction(state, now) as work:
        invite = await work.session.get(Invite, code)
        if invite is None or invite.member_id != member_id:
            raise InviteNotFound
        revoked = await work.session.exec(
            update(Invite)
            .where(col(Invite.code) == code, col(Invite.revoked_at).is_(None))
            .values(revoked_at=now)
            .returning(col(Invite.code)),
        )
        if revoked.first() is not None:
            work.record("invite.revoked", code, sale_id=invite.sale_id, member_id=member_id)
    forget_invite(state, code)


async def list_invites(state: State, member_id: str, after: str | None, limit: int) -> Page[InviteMine]:
    """A member's invites, newest first, with what came of them."""
    made_at, code = col(Invite.created_at), col(Invite.code)
    statement = select(Invite).where(Invite.member_id == member_id)
    if after is not None:
        last = select(Invite.created_at).where(Invite.code == after).scalar_subquery()
        statement = statement.where(or_(made_at < last, and_(made_at == last, code < after)))
    statement = statement.order_by(made_at.desc(), code.desc()).limit(limit + 1)
    async with state.database.snapshot() as session:
        rows = (await session.exec(statement)).all()
        counts = await _count(session, member_id, [invite.code for invite in rows[:limit]])
    return Page[InviteMine](
        items=[
            InviteMine(
                **_public(state, invite).model_dump(),
                **counts[invite.code],
                **invite.model_dump(include={"created_at", "revoked_at", "used_up_at"}),
            )
            for invite in rows[:limit]
        ],
        next=rows[limit - 1].code if len(rows) > limit else None,
    )


async def _insert(state: State, work: Work, invite: Invite) -> None:
    """Insert an invite at the first free place of its member's day. Raises `InviteLimit`."""
    taken = await work.session.exec(
        select(func.count()).where(Invite.member_id == invite.member_id, Invite.day == invite.day),
    )
    for number in range(taken.one() + 1, MAX_INVITES_A_DAY + 1):
        invite.day_number = number
        inserted = await work.session.exec(
            state.database.insert_unless_there(Invite, ["member_id", "day", "day_number"])
            .values(**invite.model_dump())
            .returning(col(Invite.code)),
        )
        if inserted.first() is not None:
            return
    midnight = datetime.combine(work.now.date() + timedelta(days=1), time(), UTC)
    raise InviteLimit(limit=MAX_INVITES_A_DAY, retry_after_seconds=int((midnight - work.now).total_seconds()) + 1)


async def _touch(
    state: State, work: Work, invite: Invite, visitor_id: str, member_id: str | None, kind: TouchKind
) -> None:
    """Write down that somebody came by an invite; an event says so the first time."""
    if await touch(state, work, invite.code, visitor_id, member_id, kind):
        work.record(
            "invite.clicked",
            invite.code,
            sale_id=invite.sale_id,
            member_id=member_id,
            target_group_id=invite.group_id,
        )


async def usable(work: Work, code: str, member_id: str | None) -> Invite:
    """An invite that works now, for its maker and those it has brought also when it is used up. Raises
    `InviteNotFound` and those of `check_usable`.
    """
    used_up_at = None
    invite = await read_invite(work.session, code)
    if invite.used_up_at is not None and member_id != invite.member_id:
        brought = await work.session.exec(select(Use.number).where(Use.code == code, Use.member_id == member_id))
        used_up_at = invite.used_up_at if brought.first() is None else None
    check_usable(expires_at=invite.expires_at, revoked_at=invite.revoked_at, used_up_at=used_up_at, now=work.now)
    return invite


async def _has_bought(work: Work, code: str, member_id: str) -> bool:
    """Whether a member has an order that was claimed with an invite, or a place in the group it is to."""
    to_group = select(Invite.group_id).where(Invite.code == code).scalar_subquery()
    found = await work.session.exec(
        select(Order.id)
        .where(
            Order.member_id == member_id,
            col(Order.state).in_(ACTIVE_ORDER_STATES),
            or_(col(Order.invite_code) == code, col(Order.group_id) == to_group),
        )
        .limit(1),
    )
    return found.first() is not None


async def read_invite(session: AsyncSession, code: str) -> Invite:
    """An invite, whether it works or not. Raises `InviteNotFound`."""
    invite = await session.get(Invite, code)
    if invite is None:
        raise InviteNotFound
    return invite


async def _count(session: AsyncSession, member_id: str, codes: Sequence[str]) -> dict[str, dict[str, int]]:
    """What came of a member's invites; what members do with their own is not counted."""
    counts = {code: {"taps": 0, "logins": 0, "brought": 0} for code in codes}
    touches = await session.exec(
        select(Touch.code, func.sum(Touch.taps), func.count(col(Touch.member_id).distinct()))
        .where(col(Touch.code).in_(codes), or_(col(Touch.member_id).is_(None), col(Touch.member_id) != member_id))
        .group_by(col(Touch.code)),
    )
    for code, taps, logins in touches.all():
        counts[code] |= {"taps": int(taps), "logins": logins}
    brought = await session.exec(
        select(Referral.code, func.count(col(Referral.member_id).distinct()))
        .where(col(Referral.code).in_(codes))
        .group_by(col(Referral.code)),
    )
    for code, members in brought.all():
        counts[code]["brought"] = members
    return counts


def _public(state: State, invite: Invite) -> InvitePublic:
    shown = {"code", "group_id", "sale_id", "community_id", "channel", "expires_at", "max_uses"}
    return InvitePublic(
        **invite.model_dump(include=shown),
        url=f"{state.settings.public_url.rstrip('/')}/i/{invite.code}",
    )
