"""Invites: a short link from one member, on one channel."""

from datetime import timedelta
from secrets import choice

from app.domain.errors import (
    CommunityNotFound,
    GroupClosed,
    GroupNotFound,
    InviteExpired,
    InviteNotFound,
    SaleEnded,
    TokenInvalid,
)
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.invites import INVITE_TTL_DAYS
from app.domain.members import mask_name
from app.domain.referrals import TouchKind
from app.domain.sales import SaleState
from app.models import Community, Group, Invite, Member
from app.schemas.invites import InviteCreate, InviteLanding, InvitePublic
from app.services.terms import published_sale
from app.services.touches import touch
from app.services.transactions import transaction
from app.services.visitors import issue_visitor, read_visitor
from app.state import State

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters and digits that cannot be mistaken for each other when typed by hand."""
CODE_LENGTH = 10
"""57^10 codes, 58 bits: not to be guessed."""


async def create_invite(state: State, member_id: str, body: InviteCreate) -> InvitePublic:
    """Make a link to a group, a sale or a community. Raises `GroupNotFound`, `GroupClosed`,
    `SaleNotFound`, `SaleEnded`, `CommunityNotFound`.
    """
    now = state.clock()
    async with transaction(state, now) as work:
        if await work.session.get(Member, member_id) is None:
            raise TokenInvalid
        if body.group_id is not None:
            group = await work.session.get(Group, body.group_id)
            if group is None:
                raise GroupNotFound
            if group.state in FINAL_GROUP_STATES:
                raise GroupClosed
        if body.community_id is not None and await work.session.get(Community, body.community_id) is None:
            raise CommunityNotFound
        if body.sale_id is not None:
            sale = await published_sale(work.session, body.sale_id)
            if sale.state == SaleState.ENDED:
                raise SaleEnded
        invite = Invite(
            **body.model_dump(),
            code="".join(choice(ALPHABET) for _ in range(CODE_LENGTH)),
            member_id=member_id,
            created_at=now,
            expires_at=now + timedelta(days=INVITE_TTL_DAYS),
        )
        work.session.add(invite)
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
    state: State, code: str, visitor_token: str | None, viewer_id: str | None, *, is_tap: bool = True
) -> InviteLanding:
    """What somebody who taps the link learns; the tap is recorded as a member's, or as a visitor's: a new one
    without a token. Who only looks at it, or goes on from it, does not tap it.

    Raises `VisitorInvalid`, `InviteNotFound`, `InviteExpired`.
    """
    now = state.clock()
    if visitor_token is not None:
        visitor_id = read_visitor(state, visitor_token)
    elif viewer_id is not None:
        visitor_id = viewer_id
    else:
        visitor_id, visitor_token = issue_visitor(state)
    async with transaction(state, now) as work:
        invite = await work.session.get(Invite, code)
        if invite is None:
            raise InviteNotFound
        if now >= invite.expires_at:
            raise InviteExpired
        inviter = await work.session.get_one(Member, invite.member_id)
        if is_tap and await touch(state, work, code, visitor_id, viewer_id, TouchKind.LINK):
            work.record(
                "invite.clicked",
                code,
                sale_id=invite.sale_id,
                member_id=viewer_id,
                target_group_id=invite.group_id,
            )
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


def _public(state: State, invite: Invite) -> InvitePublic:
    return InvitePublic(
        **invite.model_dump(include={"code", "group_id", "sale_id", "community_id", "channel", "expires_at"}),
        url=f"{state.settings.public_url.rstrip('/')}/i/{invite.code}",
    )
