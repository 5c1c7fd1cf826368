"""Guards of who brought whom: invites' limits, visitors, touches, binding, and what friends are told."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from app.domain.errors import (
    InvalidTerms,
    InviteExpired,
    InviteLimit,
    InviteMismatch,
    InviteNotFound,
    InviteRevoked,
    InviteUsedUp,
    MemberNotFound,
    SelfReferral,
    TokenInvalid,
    VisitorInvalid,
)
from app.domain.invites import MAX_INVITES_A_DAY, check_target, check_usable, find_expiry
from app.domain.referrals import AttributionRules, Touched, TouchKind, choose
from app.models import Cause, Invite, Referral, Touch
from app.schemas.invites import InviteCreate
from app.services import branches, causes, invites, trust, visitors
from app.services.branches import Direction
from app.services.tokens import ISSUER
from app.services.touches import adopt, touch
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.promises.test_referrals import brought_by, buy, invite, spread, tap

INVITES, REFERRALS, TOUCHES = (f"app.services.{name}" for name in ("invites", "referrals", "touches"))
DOMAIN, READ_VISITOR = "app.domain.invites", "app.services.visitors.read_visitor"
UNLOCKED = Cut("app.services.locks.lock_referrals", "session.get_bind().dialect.name == 'postgresql'", "False")


@notices(
    *cuts(f"{DOMAIN}.find_expiry", "not now < wanted <= now + timedelta(days=MAX_INVITE_DAYS)"),
    *cuts(f"{DOMAIN}.check_usable", "revoked_at is not None", "used_up_at is not None", "now >= expires_at"),
    *cuts(
        f"{DOMAIN}.check_target",
        "any((target is not None and target != wanted for target, wanted in zip(targets, claim, strict=True)))",
    ),
)
async def an_invite_is_for_one_thing_and_one_time(world: World) -> None:
    now, claim = world.service.clock(), ("group", "sale", "community")
    later = now + timedelta(1)
    for wrong in (now, now + timedelta(366)):
        with pytest.raises(InvalidTerms):
            find_expiry(wrong, now)
    check_target((None, "sale", None), claim)
    for targets in (("other", None, None), (None, "other", None), (None, None, "other")):
        with pytest.raises(InviteMismatch):
            check_target(targets, claim)
    check_usable(expires_at=later, revoked_at=None, used_up_at=None, now=now)
    for expires_at, revoked_at, used_up_at, refusal in (
        (now, None, None, InviteExpired),
        (later, now, None, InviteRevoked),
        (later, None, now, InviteUsedUp),
    ):
        with pytest.raises(refusal):
            check_usable(expires_at=expires_at, revoked_at=revoked_at, used_up_at=used_up_at, now=now)


@notices(
    Cut(
        f"{INVITES}.usable",
        "check_usable(expires_at=invite.expires_at, revoked_at=invite.revoked_at, used_up_at=used_up_at,"
        " now=work.now)",
        "None",
    ),
    *cuts(
        f"{INVITES}.type_code",
        "await work.session.get(Member, member_id) is None",
        "invite.member_id == member_id",
    ),
    *cuts(f"{INVITES}.revoke_invite", "invite.member_id != member_id"),
    Cut(f"{INVITES}.revoke_invite", "col(Invite.code) == code", "True"),
    Cut(f"{INVITES}.revoke_invite", "col(Invite.revoked_at).is_(None)", "True"),
)
async def who_made_an_invite_may_withdraw_it_and_not_use_it(world: World) -> None:
    code, other = [await invite(world.service, world.me, sale_id=world.sale.id) for _ in range(2)]
    with pytest.raises(SelfReferral):
        await invites.type_code(world.state, world.me.id, code)
    with pytest.raises(TokenInvalid):
        await invites.type_code(world.state, "nobody", code)
    with pytest.raises(InviteNotFound):
        await invites.revoke_invite(world.state, world.friend.id, code)
    await invites.revoke_invite(world.state, world.me.id, code)
    revoked_at = (await world.row(Invite, code)).revoked_at
    world.service.clock.advance(1)
    await invites.revoke_invite(world.state, world.me.id, code)
    assert (await world.row(Invite, code)).revoked_at == revoked_at
    assert await world.count("events WHERE subject = :code AND type = 'invite.revoked'", code=code) == 1
    with pytest.raises(InviteRevoked):
        await invites.type_code(world.state, world.friend.id, code)
    await invites.type_code(world.state, world.friend.id, other)


@notices(*cuts(f"{INVITES}._insert", "inserted.first() is not None"))
async def a_day_has_so_many_invites(world: World) -> None:
    maker = await world.service.member()
    for _ in range(2):
        await invites.create_invite(world.state, maker.id, InviteCreate(sale_id=world.sale.id))
    assert await world.count("invites WHERE member_id = :id", id=maker.id) == 2
    for _ in range(MAX_INVITES_A_DAY - 2):
        await invites.create_invite(world.state, maker.id, InviteCreate(sale_id=world.sale.id))
    with pytest.raises(InviteLimit):
        await invites.create_invite(world.state, maker.id, InviteCreate(sale_id=world.sale.id))


@notices(
    *cuts(
        READ_VISITOR,
        "not (meant_for_us and isinstance(visitor_id, str) and isinstance(expires_at, int))",
        "expires_at <= state.clock().timestamp()",
    ),
    Cut(READ_VISITOR, "claims['aud'] == AUDIENCE", "True"),
    Cut(READ_VISITOR, "claims['iss'] == ISSUER", "True"),
    Cut(READ_VISITOR, "state.settings.key_for(PURPOSE)", "state.settings.key_for('access token')"),
)
async def only_our_own_visitors_are_believed_until_they_expire(world: World) -> None:
    now, key = int(world.service.clock().timestamp()), world.state.settings.key_for(visitors.PURPOSE)
    good = {"sub": "vis", "exp": now + 60, "aud": visitors.AUDIENCE, "iss": ISSUER}
    assert visitors.read_visitor(world.state, jwt.encode(good, key)) == "vis"
    wrong: list[dict[str, Any]] = [{"aud": "others"}, {"iss": "others"}, {"sub": 7}, {"exp": "never"}, {"exp": now}]
    for claims in wrong:
        with pytest.raises(VisitorInvalid):
            visitors.read_visitor(world.state, jwt.encode(good | claims, key))
    with pytest.raises(VisitorInvalid):
        visitors.read_visitor(world.state, jwt.encode(good, b"x" * 32))


async def touches_of(world: World, *codes: str) -> dict[tuple[str, str], tuple[str | None, int]]:
    """Whose touches of some codes are, and how many taps, by code and visitor."""
    async with world.database.snapshot() as session:
        rows = await session.exec(select(Touch).where(col(Touch.code).in_(codes)))
        return {(row.code, row.visitor_id): (row.member_id, row.taps) for row in rows.all()}


@notices(
    Cut(f"{TOUCHES}.touch", "col(Touch.code) == code", "True"),
    Cut(f"{TOUCHES}.touch", "col(Touch.visitor_id) == visitor_id", "True"),
    Cut(f"{TOUCHES}.touch", "visitor_id, theirs)", "visitor_id, True)"),
    Cut(f"{TOUCHES}.adopt", "col(Touch.visitor_id) == visitor_id", "True"),
    Cut(f"{TOUCHES}.adopt", "col(Touch.member_id).is_(None)", "True"),
)
async def a_touch_is_one_visitors_and_the_first_to_log_in_has_done_it(world: World) -> None:
    first, second = [await invite(world.service, world.me, sale_id=world.sale.id) for _ in range(2)]
    one, two = uuid4().hex, uuid4().hex
    async with world.work() as work:
        for code, visitor_id in ((first, one), (first, two), (second, one), (first, one)):
            await touch(world.state, work, code, visitor_id, None, TouchKind.LINK)
        await adopt(work, one, world.friend.id)
        await adopt(work, one, world.members[2].id)
        await touch(world.state, work, second, one, world.members[2].id, TouchKind.LINK)
    assert await touches_of(world, first, second) == {
        (first, one): (world.friend.id, 2),
        (first, two): (None, 1),
        (second, one): (world.friend.id, 1),
        (second, world.members[2].id): (world.members[2].id, 1),
    }


@notices(*cuts("app.domain.referrals.choose", "not counted"))
async def nobody_is_brought_by_nobody(world: World) -> None:
    now = world.service.clock()
    own = Touched("code", world.me.id, TouchKind.LINK, now)
    assert choose([own], AttributionRules(), world.me.id, now) is None


async def brought(world: World, *rings: Sequence[int]) -> tuple[Any, list[str]]:
    """A sale, and the orders of members that tapped each other's invites, not looked at yet."""
    sale = await spread(world.service)
    for buyer, inviter in rings:
        code = await invite(world.service, world.members[inviter], sale_id=sale.id)
        await tap(world.service, world.members[buyer], code)
    return sale, [await buy(world.service, world.members[buyer], sale) for buyer, _ in rings]


@notices(*cuts("app.services.causes.handle", "cause.handled == cause.version"))
async def what_was_looked_at_is_not_looked_at_again(world: World) -> None:
    _, (order_id,) = await brought(world, (0, 1))
    assert await causes.handle(world.state, order_id, world.service.clock())
    assert not await causes.handle(world.state, order_id, world.service.clock())


@notices(*cuts(f"{REFERRALS}.bind", "if circle"))
async def nobody_closes_a_circle(world: World) -> None:
    sale, orders = await brought(world, (0, 1), (1, 2), (2, 0))
    for order_id in orders:
        await causes.handle(world.state, order_id, world.service.clock())
    found = [await brought_by(world.service, sale.id, world.members[number]) for number in range(3)]
    assert found == [world.friend.id, world.members[2].id, None]
    assert await world.count("refusals WHERE scope = :id", id=sale.id) == 3


@notices(UNLOCKED)
async def two_halves_of_a_circle_wait_for_each_other(world: World) -> None:
    sale, (mine, theirs) = await brought(world, (0, 1), (1, 0))
    now = world.service.clock()
    async with world.meanwhile("flush", causes.handle(world.state, theirs, now)):
        await causes.handle(world.state, mine, now)
    assert await world.count("referrals WHERE scope = :id", id=sale.id) == 1


@notices(
    *cuts(f"{REFERRALS}.use", "invite.max_uses is None", "known.first() is not None"),
    Cut(f"{REFERRALS}.use", "col(Invite.code) == invite.code", "True"),
)
async def an_invite_counts_whom_it_brings(world: World) -> None:
    first = await spread(world.service)
    community_id = first.body["community_id"]
    second = await spread(world.service, community_id=community_id)
    single, free = [
        await invite(world.service, maker, community_id=community_id, **limit)
        for maker, limit in ((world.me, {"max_uses": 2}), (world.friend, {}))
    ]
    buyers = list(world.members)[2:5]
    for buyer, code in zip(buyers, (single, single, free), strict=True):
        await tap(world.service, buyer, code)
    for sale in (first, second):
        for buyer in buyers:
            order_id = await buy(world.service, buyer, sale)
            await causes.handle(world.state, order_id, world.service.clock())
    assert await world.count("uses WHERE code = :code", code=single) == 2
    assert (await world.row(Invite, single)).used_up_at is not None
    assert (await world.row(Invite, free)).used_up_at is None
    async with world.database.snapshot() as session:
        bound = await session.exec(select(Referral.code).where(col(Referral.scope).in_([first.id, second.id])))
        assert sorted(bound.all()) == sorted([single, single, free] * 2)


@notices(*cuts("app.services.branches.inspect", "await session.get(Member, member_id) is None"))
async def a_branch_is_some_members(world: World) -> None:
    with pytest.raises(MemberNotFound):
        await branches.inspect(world.state, "nobody", Direction.DOWN, None, depth=1, after=0, limit=1)


@notices(*cuts("app.services.trust._unless_away", "not is_outage(error)"))
async def what_went_wrong_is_not_taken_for_an_outage(_world: World) -> None:
    async def fail(error: Exception) -> int:
        raise error

    assert await trust._unless_away(fail(OSError()), 7) == 7
    with pytest.raises(ValueError, match="wrong"):
        await trust._unless_away(fail(ValueError("wrong")), 7)


async def one_use_brings_one(world: World) -> None:
    """Two are brought by an invite for one at the same moment."""
    sale = await spread(world.service)
    code = await invite(world.service, world.me, sale_id=sale.id, max_uses=1)
    orders = []
    for buyer in list(world.members)[1:3]:
        await tap(world.service, buyer, code)
        orders.append(await buy(world.service, buyer, sale))

    async def conclude(order_id: str) -> None:
        with suppress(IntegrityError):
            await causes.handle(world.state, order_id, world.service.clock())

    async with world.meanwhile("flush", conclude(orders[0])):
        await conclude(orders[1])
    assert await world.count("referrals WHERE scope = :id", id=sale.id) == 1


async def a_member_is_brought_once(world: World) -> None:
    """Two orders of one buyer are concluded from at the same moment."""
    sale = await spread(world.service)
    for maker in (world.friend, world.members[2]):
        await tap(world.service, world.me, await invite(world.service, maker, sale_id=sale.id))
    orders = [await buy(world.service, world.me, sale) for _ in range(2)]

    async def conclude(order_id: str) -> None:
        with suppress(IntegrityError):
            await causes.handle(world.state, order_id, world.service.clock())

    async with world.meanwhile("flush", conclude(orders[0])):
        await conclude(orders[1])
    assert await world.count("referrals WHERE scope = :id", id=sale.id) == 1


@notices(
    *cuts(
        f"{INVITES}.open_invite",
        "viewer_id is not None and await work.session.get(Member, viewer_id) is None",
    )
)
async def a_member_who_is_not_there_does_not_tap(world: World) -> None:
    code = await invite(world.service, world.me, sale_id=world.sale.id)
    with pytest.raises(TokenInvalid):
        await invites.open_invite(world.state, code, None, f"mem_{'0' * 32}")


@notices(Cut("app.services.causes.dismiss", "col(Cause.order_id).in_(order_ids)", "True"))
async def what_something_follows_from_is_not_dismissed(world: World) -> None:
    sale, (told,) = await brought(world, (0, 1))
    idle = await buy(world.service, await world.service.member(), sale)
    assert await causes.dismiss(world.state, world.service.clock())
    assert [(await world.row(Cause, order_id)).handled for order_id in (told, idle)] == [0, 1]
