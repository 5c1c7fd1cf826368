"""Guards of communities: what they are made of, who gets in, who decides on whom, what was paid, how they end."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.domain.errors import (
    CommunityNotFound,
    CommunityNotOpen,
    InvalidTerms,
    InviteMismatch,
    InviteNeeded,
    KaituanError,
    MemberBlocked,
    MemberNotFound,
    MembershipNotFound,
    MembershipRefused,
    NotAllowed,
    NotInAudience,
    Outranked,
    OwnsCommunity,
    SaleIsPlan,
    SegmentNotFound,
    TokenInvalid,
    ValueUnstated,
)
from app.domain.memberships import Action, LeaveReason, MembershipState, Role
from app.domain.notices import NoticeKind, PushState
from app.domain.posts import PostKind, ReportReason, ReportState
from app.domain.segments import SegmentKind
from app.models import (
    Comment,
    Community,
    CommunityDay,
    Encounter,
    Membership,
    Order,
    Post,
    Push,
    Report,
    Segment,
)
from app.schemas.communities import CommunityCreate, CommunityUpdate
from app.schemas.entries import EntryCreate
from app.schemas.groups import ClaimCreate
from app.schemas.invites import InviteCreate
from app.schemas.memberships import JoinAnswer, JoinCreate
from app.services import (
    claims,
    communities,
    dissolving,
    entries,
    erasure,
    invites,
    locks,
    memberships,
    orders,
    periods,
    profiles,
    sales,
    standing,
)
from app.services.days import local_day, note_day
from app.services.encounters import meet
from app.services.notices import notify
from app.services.tickets import issue_ticket
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import STATED, Member

COMMUNITIES, MEMBERSHIPS = "app.services.communities", "app.services.memberships"
DISSOLVING, STANDING, LOCKS = "app.services.dissolving", "app.services.standing", "app.services.locks"
ANY_STATE = "dict.fromkeys(CommunityState, frozenset(CommunityState))"
NOTHING = "0" * 32
PAID: dict[str, Any] = {"join_mode": "paid", "plan": {"price": 1990, "period_days": 30}}


async def made(world: World, **terms: Any) -> str:
    return str((await world.service.community(**terms))["id"])


async def join(world: World, member: Member, community_id: str, **body: Any) -> JoinAnswer:
    return await memberships.join_community(world.state, member.id, community_id, JoinCreate(**body), uuid4().hex)


async def state_of(world: World, community_id: str, member: Member) -> tuple[str, str]:
    row = await world.row(Membership, (community_id, member.id))
    return row.state, row.role


async def refuses(refusal: type[KaituanError], attempt: Coroutine[Any, Any, Any]) -> None:
    with pytest.raises(refusal):
        await attempt


async def led(world: World, **terms: Any) -> str:
    """A community with me as its owner, my friend as a moderator and a third as a member."""
    community_id = await made(world, **terms)
    await memberships.set_owner(world.state, community_id, world.me.id)
    for member in (world.friend, world.members[2]):
        await join(world, member, community_id)
    await memberships.set_role(world.state, world.me.id, community_id, world.friend.id, Role.MODERATOR)
    return community_id


@notices(
    *cuts(
        f"{COMMUNITIES}.create_community",
        "body.closes_at is not None and body.closes_at <= now",
        "asked != await lock_segments_shared(work.session, asked)",
    ),
    *cuts(
        f"{COMMUNITIES}._change",
        "row.state == CommunityState.DISSOLVED",
        "field in changes and unfit",
        "body.closes_at is not None and body.closes_at <= work.now",
    ),
    *cuts(f"{COMMUNITIES}.open_community", "moved is None and row.state != CommunityState.OPEN"),
    Cut(f"{COMMUNITIES}.open_community", "COMMUNITY_TRANSITIONS", ANY_STATE),
    Cut(f"{DISSOLVING}._dissolve", "COMMUNITY_TRANSITIONS", ANY_STATE),
    *cuts(f"{COMMUNITIES}._check_stated", "if missing"),
    *cuts("app.services.sales.publish_locked", "community.state != CommunityState.OPEN"),
)
async def a_community_is_of_one_kind_and_goes_one_way(world: World) -> None:
    now, state = world.service.clock(), world.state
    past = now - timedelta(seconds=1)
    flash: dict[str, Any] = {"lifespan": "flash", "closes_at": now + timedelta(hours=1)}
    create = communities.create_community
    await refuses(InvalidTerms, create(state, CommunityCreate(name="x", **flash | {"closes_at": past})))
    nowhere = CommunityCreate(name="x", see_segment_id=f"seg_{NOTHING}")
    await refuses(SegmentNotFound, create(state, nowhere))
    draft = await create(state, CommunityCreate(name="x", **flash))
    await refuses(ValueUnstated, communities.open_community(state, draft.id))
    for wrong in ({"memory_days": 3}, {"answer_minutes": 3}, {"closes_at": past}):
        await refuses(InvalidTerms, communities.update_community(state, draft.id, CommunityUpdate(**wrong)))
    sale = await world.service.sale(publish=False, community_id=draft.id)
    await refuses(CommunityNotOpen, sales.publish_sale(state, sale.id))
    stated = {name: said for name, said in STATED.items() if name != "name"}
    await communities.update_community(state, draft.id, CommunityUpdate(**stated))
    for _ in range(2):
        opened = await communities.open_community(state, draft.id)
        await world.service.ops("GET", f"communities/{draft.id}")
    before = await world.count("events WHERE subject = :id AND to_state IS NOT NULL", id=draft.id)
    assert (opened.state, before) == ("open", 2)
    await refuses(ValueUnstated, communities.update_community(state, draft.id, CommunityUpdate(need="")))
    for _ in range(2):
        await dissolving.dissolve(state, draft.id)
    assert await world.count("events WHERE subject = :id AND to_state IS NOT NULL", id=draft.id) == before + 1
    await refuses(CommunityNotOpen, communities.update_community(state, draft.id, CommunityUpdate(need="x")))
    await refuses(CommunityNotOpen, communities.open_community(state, draft.id))


@notices(
    *cuts(
        f"{MEMBERSHIPS}.join_community",
        "await find_member(work.session, member_id) is None",
    ),
    *cuts(
        f"{MEMBERSHIPS}._join",
        "row is not None and row.state == MembershipState.BLOCKED",
        "community.state != CommunityState.OPEN",
        "fitting is not None and (not await segments.fits(work.session, fitting, member_id, work.now))",
    ),
    *cuts(
        f"{MEMBERSHIPS}._invite",
        "invite is not None and invite.community_id != community.id",
        "inviter.state != MembershipState.ACTIVE",
    ),
    *cuts(f"{MEMBERSHIPS}._belonging", "place.membership is None"),
)
async def who_may_not_join_does_not(world: World) -> None:
    state, me, friend = world.state, world.me, world.friend
    draft = await communities.create_community(state, CommunityCreate(name="x"))
    await refuses(CommunityNotFound, join(world, me, draft.id))
    community_id = await led(world)
    stranger = Member(world.service, f"mem_{NOTHING}", "nobody", "")
    await refuses(TokenInvalid, join(world, stranger, community_id))
    await refuses(MembershipNotFound, memberships.get_membership(state, stranger.id, community_id))
    await memberships.block(state, me.id, community_id, friend.id)
    await refuses(MemberBlocked, join(world, friend, community_id))
    async with world.work() as work:
        segment = Segment(name="nobody", kind=SegmentKind.STATIC, rule={}, created_at=work.now)
        work.session.add(segment)
    await refuses(NotInAudience, join(world, me, await made(world, join_segment_id=segment.id)))
    by_invite, other = await led_by_invite(world), await led(world)
    elsewhere = await invites.create_invite(state, me.id, InviteCreate(community_id=other))
    await refuses(InviteMismatch, join(world, friend, by_invite, invite_code=elsewhere.code))
    code = (await invites.create_invite(state, me.id, InviteCreate(community_id=by_invite))).code
    await memberships.set_owner(state, by_invite, world.members[3].id)
    await memberships.leave_community(state, me.id, by_invite, LeaveReason.OTHER)
    await refuses(InviteNeeded, join(world, friend, by_invite, invite_code=code))
    await dissolving.dissolve(state, community_id)
    await refuses(CommunityNotOpen, join(world, world.members[5], community_id))


async def led_by_invite(world: World) -> str:
    community_id = await made(world, join_mode="invite")
    await memberships.set_owner(world.state, community_id, world.me.id)
    return community_id


@notices(
    *cuts(
        f"{STANDING}.find_place",
        "community.state == CommunityState.DRAFT and (not may(place.standing, Action.EDIT))",
    ),
    *cuts(
        f"{STANDING}.require",
        "place.standing == Standing.BLOCKED",
        "not may(place.standing, action)",
        "writes and place.community.state != CommunityState.OPEN",
    ),
    *cuts(f"{STANDING}.see_community", "not await may_see(session, place, viewer_id, now)"),
    Cut(f"{COMMUNITIES}.list_open", "await may_see(session, place, viewer_id, now)", "True"),
    *cuts("app.services.profiles.list_profiles", "of_state != MembershipState.ACTIVE and (not moderates)"),
    *cuts("app.services.profiles.get_profile", "row.state != MembershipState.ACTIVE"),
)
async def standing_decides_what_one_sees_and_does(world: World) -> None:
    state, (me, friend, third, blocked) = world.state, list(world.members)[:4]
    draft = await communities.create_community(state, CommunityCreate(name="x"))
    community_id = await led(world)
    await join(world, blocked, community_id)
    await memberships.block(state, me.id, community_id, blocked.id)
    async with world.database.snapshot() as session:
        require = standing.require
        await refuses(CommunityNotFound, standing.find_place(session, draft.id, me.id))
        await refuses(MemberBlocked, require(session, community_id, blocked.id, Action.READ))
        await refuses(NotAllowed, require(session, community_id, third.id, Action.MODERATE))
        await require(session, community_id, friend.id, Action.MODERATE, writes=True)
    listed: dict[str, Any] = {"role": None, "after": None, "limit": 1}
    blocked_ones = profiles.list_profiles(state, third.id, community_id, of_state=MembershipState.BLOCKED, **listed)
    await refuses(NotAllowed, blocked_ones)
    await refuses(MembershipNotFound, profiles.get_profile(state, third.id, community_id, blocked.id))
    async with world.work() as work:
        segment = Segment(name="nobody", kind=SegmentKind.STATIC, rule={}, created_at=work.now)
        work.session.add(segment)
    hidden = await made(world, see_segment_id=segment.id)
    await refuses(CommunityNotFound, communities.get_community(state, hidden, me.id))
    assert (await communities.list_open(state, me.id, None, 1)).items == []
    await dissolving.dissolve(state, community_id)
    async with world.database.snapshot() as session:
        await require(session, community_id, third.id, Action.READ)
        await refuses(CommunityNotOpen, require(session, community_id, third.id, Action.READ, writes=True))


@notices(
    *cuts(f"{MEMBERSHIPS}.leave_community", "row.state == MembershipState.BLOCKED", "row.role == Role.OWNER"),
    *cuts(
        f"{MEMBERSHIPS}.approve",
        "row.state not in {MembershipState.APPLIED, MembershipState.DECLINED}",
        "await find_member(work.session, member_id) is None",
    ),
    *cuts(f"{MEMBERSHIPS}.unblock", "row.state != MembershipState.BLOCKED"),
    *cuts(f"{MEMBERSHIPS}.set_role", "row.state != MembershipState.ACTIVE"),
    *cuts(
        f"{MEMBERSHIPS}.hand_over",
        "row.state != MembershipState.ACTIVE",
        "await lock_member(work.session, member_id) is None",
    ),
    *cuts(
        f"{MEMBERSHIPS}.set_owner",
        "community.state == CommunityState.DISSOLVED",
        "await lock_member(work.session, member_id) is None",
    ),
    *cuts(f"{MEMBERSHIPS}._moderating", "not outranks(place.standing, standing_of(row.state, row.role))"),
    Cut(f"{MEMBERSHIPS}._move", "col(Membership.community_id) == row.community_id", "True"),
    Cut(f"{MEMBERSHIPS}._move", "col(Membership.member_id) == row.member_id", "True"),
    Cut(f"{MEMBERSHIPS}._move", "col(Membership.state).in_(sources(MEMBERSHIP_TRANSITIONS, target))", "True"),
    *cuts(f"{MEMBERSHIPS}._move", "moved.scalar_one_or_none() is None"),
)
async def memberships_go_the_way_of_their_table(world: World) -> None:
    state, (me, friend, third) = world.state, list(world.members)[:3]
    community_id, _other = await led(world), await led(world)
    decide: dict[str, Any] = {"state": state, "by_id": me.id, "community_id": community_id}
    await refuses(OwnsCommunity, memberships.leave_community(state, me.id, community_id, LeaveReason.OTHER))
    await refuses(Outranked, memberships.remove(state, friend.id, community_id, me.id))
    gone = await world.service.member()
    async with world.work() as work:
        declined = Membership(community_id=community_id, member_id=gone.id, state=MembershipState.DECLINED)
        work.session.add(declined)
    await erasure.erase(state, gone.id, forfeit_balance=True)
    await refuses(MembershipNotFound, memberships.approve(member_id=gone.id, **decide))
    await refuses(MembershipRefused, memberships.decline(member_id=third.id, **decide))
    await refuses(MembershipRefused, memberships.unblock(member_id=third.id, **decide))
    await memberships.leave_community(state, third.id, community_id, LeaveReason.OTHER)
    assert await state_of(world, community_id, friend) == ("active", "moderator")
    assert await state_of(world, _other, third) == ("active", "member")
    await refuses(MembershipRefused, memberships.approve(member_id=third.id, **decide))
    await refuses(MembershipRefused, memberships.remove(member_id=third.id, **decide))
    await refuses(MembershipRefused, memberships.set_role(member_id=third.id, role=Role.MEMBER, **decide))
    await refuses(MembershipRefused, memberships.hand_over(member_id=third.id, **decide))
    await memberships.block(member_id=third.id, **decide)
    await refuses(MemberBlocked, memberships.leave_community(state, third.id, community_id, LeaveReason.OTHER))
    await refuses(MemberNotFound, memberships.set_owner(state, community_id, f"mem_{NOTHING}"))
    erased = await world.service.member()
    await refuses(
        MembershipNotFound, memberships.leave_community(state, erased.id, community_id, LeaveReason.OTHER)
    )
    await erased.enrol({"id": community_id})
    await erasure.erase(state, erased.id, forfeit_balance=False)
    await refuses(MembershipNotFound, memberships.hand_over(member_id=erased.id, **decide))
    await dissolving.dissolve(state, community_id)
    await refuses(CommunityNotOpen, memberships.set_owner(state, community_id, friend.id))


@notices(
    Cut(f"{LOCKS}.lock_community", "_locking(", "(lambda statement: statement)("),
    Cut(f"{LOCKS}.lock_post", "_locking(", "(lambda statement: statement)("),
)
async def a_community_is_locked(world: World) -> None:
    community_id = await made(world)
    post = Post(
        community_id=community_id,
        author_id=world.me.id,
        kind=PostKind.TEXT,
        body="x",
        created_at=world.service.clock(),
        request_key=uuid4().hex,
    )
    async with world.work() as work:
        work.session.add(post)
    async with world.database.transaction() as session:
        assert await locks.lock_community(session, community_id)
        assert await world.is_locked(Community, community_id)
        assert await locks.lock_post(session, post.id)
        assert await world.is_locked(Post, post.id)


@notices(
    Cut(f"{LOCKS}.lock_community_shared", ".with_for_update(read=True)", ""),
    Cut("app.services.sales.lock_community_of", "await lock_community_shared(work.session, community_id)", "None"),
)
async def a_community_does_not_dissolve_while_its_sale_is_published(world: World) -> None:
    community_id = await made(world)
    draft = await world.service.sale(publish=False, community_id=community_id)
    async with world.work() as work, world.database.transaction() as other:
        await sales.lock_community_of(work, draft.id)
        assert await world.is_locked(Community, community_id)
        assert await locks.lock_community_shared(other, community_id)


@notices(Cut(f"{LOCKS}.lock_segments_shared", ".with_for_update(read=True)", ""))
async def a_segment_is_not_deleted_while_it_is_pointed_to(world: World) -> None:
    async with world.work() as work:
        segment = Segment(name="nobody", kind=SegmentKind.STATIC, rule={}, created_at=work.now)
        work.session.add(segment)
    async with world.database.transaction() as session:
        assert await locks.lock_segments_shared(session, [segment.id]) == {segment.id}
        assert await world.is_locked(Segment, segment.id)


async def bought(world: World, member: Member, community_id: str) -> str:
    """The order of a period that a member has paid for and been given."""
    answer = await join(world, member, community_id)
    assert answer.order is not None
    await member.pay(answer.order.id)
    assert await periods.settle(world.state, (community_id, member.id), world.service.clock())
    return answer.order.id


@notices(
    *cuts("app.services.claims._read", "sale.is_plan != wish.for_plan"),
    *cuts("app.services.entries.enter", "facts.is_plan"),
    *cuts("app.services.periods.settle", "not due"),
    Cut(f"{LOCKS}.lock_periods", "_locking(", "(lambda statement: statement)("),
    *cuts(f"{MEMBERSHIPS}.lapse", "not has_run_out(row.state, row.role, row.paid_until, now)"),
    *cuts(f"{MEMBERSHIPS}.warn", "row.warned_for == until"),
    Cut(f"{MEMBERSHIPS}.grant", "await find_member(work.session, member_id) is None", "False"),
    *cuts(f"{MEMBERSHIPS}.grant", "row.joined_at is None", "community.state == CommunityState.DISSOLVED"),
)
async def what_was_paid_is_given_and_no_more(world: World) -> None:
    state, member, now = world.state, world.me, world.service.clock()
    community_id = await made(world, **PAID)
    sale_id = (await world.row(Community, community_id)).plan_sale_id or ""
    offer_id = (await sales.get_sale(state, sale_id)).offers[0].id
    plain = ClaimCreate(offer_id=offer_id, ticket=issue_ticket(state, member.id, sale_id, "x"))
    await refuses(SaleIsPlan, claims.buy(state, member.id, sale_id, plain, "x"))
    await refuses(SaleIsPlan, entries.enter(state, member.id, sale_id, EntryCreate(offer_id=offer_id)))
    order_id = await bought(world, member, community_id)
    key = (community_id, member.id)
    async with world.database.transaction() as session:
        assert await locks.lock_periods(session, *key)
        async with world.database.transaction() as other:
            skipping = text("SELECT 1 FROM periods WHERE order_id = :id FOR NO KEY UPDATE SKIP LOCKED")
            assert (await (await other.connection()).execute(skipping, {"id": order_id})).first() is None
    assert not await periods.settle(state, key, now)
    assert not await memberships.lapse(state, key, now)
    assert [await memberships.warn(state, key, now) for _ in range(2)] == [True, False]
    before = (await world.row(Membership, key)).paid_until
    assert before is not None
    async with world.work() as work:
        community = await work.session.get_one(Community, community_id)
        applicant = Membership(community_id=community_id, member_id=world.friend.id, state=MembershipState.APPLIED)
        work.session.add(applicant)
        await work.session.flush()
        await memberships.grant(work, community, world.friend.id, now, is_new=False)
    gone = await world.service.member()
    await erasure.erase(state, gone.id, forfeit_balance=True)
    async with world.work() as work:
        community = await work.session.get_one(Community, community_id)
        await memberships.grant(work, community, gone.id, now, is_new=True)
    assert await world.count("memberships WHERE member_id = :id", id=gone.id) == 0
    await dissolving.dissolve(state, community_id)
    await orders.refund(state, order_id)
    assert await periods.settle(state, key, now)
    assert (await world.row(Membership, key)).paid_until == before


@notices(
    Cut(f"{MEMBERSHIPS}.drop_unpaid", "col(Order.sale_id) == community.plan_sale_id", "True"),
    Cut(f"{MEMBERSHIPS}.drop_unpaid", "col(Order.state) == OrderState.HELD", "True"),
)
async def only_what_was_not_paid_of_a_plan_is_dropped(world: World) -> None:
    community_id, held = await made(world, **PAID), await world.held()
    paid = await bought(world, world.friend, community_id)
    answer = await join(world, world.members[2], community_id)
    assert answer.order is not None
    ids = (held.order_id, paid, answer.order.id)
    before = [(await world.row(Order, id_)).hold_expires_at for id_ in ids]
    await dissolving.dissolve(world.state, community_id)
    after = [(await world.row(Order, id_)).hold_expires_at for id_ in ids]
    assert after[:2] == before[:2]
    assert after[2] < before[2]


@notices(
    *cuts(f"{DISSOLVING}.dissolve_due", "row.closes_at is None", "row.closes_at > now"),
    *cuts(f"{DISSOLVING}.wind_up", "row.wound_up_at is not None"),
    Cut(f"{DISSOLVING}.wind_up", "col(Push.community_id) == row.id", "True"),
    Cut(
        f"{DISSOLVING}._part_with",
        "col(Notice.member_id).in_([membership.member_id for membership in members])",
        "True",
    ),
    Cut(f"{DISSOLVING}._part_with", "col(Notice.community_id) == row.id", "True"),
    Cut(f"{DISSOLVING}._erase_posts", "col(Post.id).in_(post_ids)", "True"),
    Cut(f"{DISSOLVING}._erase_posts", "said = col(Comment.post_id).in_(post_ids)", "said = True"),
    Cut(f"{DISSOLVING}._erase_posts", "about = or_(", "about = or_(True, "),
)
async def a_community_ends_in_its_time_and_nothing_else_with_it(world: World) -> None:
    state, now = world.state, world.service.clock()
    lasting = await led(world)
    assert not await dissolving.dissolve_due(state, lasting, now)
    flash: dict[str, Any] = {"lifespan": "flash", "closes_at": (now + timedelta(hours=1)).isoformat()}
    ended = await led(world, on_dissolve="erase", **flash)
    assert not await dissolving.dissolve_due(state, ended, now)
    for community_id in (lasting, ended):
        await write(world, community_id)
    later = now + timedelta(hours=2)
    assert await dissolving.dissolve_due(state, ended, later)
    parts = 0
    while await dissolving.wind_up(state, ended, later):
        parts += 1
        assert parts < 10, "it is wound up once"
    assert await words_of(world, lasting) == {"posts": 1, "comments": 1, "reports": 1, "pushes": 1, "notices": 2}
    assert await words_of(world, ended) == {"posts": 0, "comments": 0, "reports": 0, "pushes": 0, "notices": 4}


async def write(world: World, community_id: str) -> None:
    """Words of mine in a community, and what two were told there; one of them is no member."""
    now, key, me = world.service.clock(), uuid4().hex, world.me
    said: dict[str, Any] = {"community_id": community_id, "created_at": now}
    async with world.work() as work:
        post = Post(author_id=me.id, kind=PostKind.TEXT, body="x", request_key=key, **said)
        push = Push(
            sender_id=me.id,
            text="x",
            state=PushState.SENT,
            cost=1,
            recipients=1,
            sends_at=now,
            sent_at=now,
            request_key=key,
            request_hash="",
            **said,
        )
        work.session.add_all([post, push])
        await work.session.flush()
        comment = Comment(post_id=post.id, author_id=me.id, body="x", request_key=key, **said)
        work.session.add(comment)
        await work.session.flush()
        report = Report(
            subject_id=comment.id,
            reporter_id=me.id,
            reason=ReportReason.OTHER,
            note="x",
            state=ReportState.OPEN,
            **said,
        )
        work.session.add(report)
        told = [me.id, world.members[10].id]
        notify(work, told, NoticeKind.MENTION, "x", community_id=community_id)


async def words_of(world: World, community_id: str) -> dict[str, int]:
    """Rows of a community that have words, by table."""
    texts = {"posts": "body", "comments": "body", "reports": "note", "pushes": "text", "notices": "text"}
    return {
        table: await world.count(f"{table} WHERE community_id = :id AND {text} <> ''", id=community_id)
        for table, text in texts.items()
    }


@notices(
    *cuts("app.services.encounters.meet", "giver_id == receiver_id"),
)
async def only_the_day_something_happened_is_counted_again(world: World) -> None:
    ids = [await made(world) for _ in range(2)]
    now, me = world.service.clock(), world.me
    async with world.work() as work:
        for id_ in ids:
            community = await work.session.get_one(Community, id_)
            for moment in (now, now - timedelta(days=1)):
                await note_day(work, community, moment)
        await note_day(work, community, now)
        await meet(work, community, me.id, me.id)
        await meet(work, community, me.id, world.friend.id)
    day = local_day(community, now)
    assert (await world.row(CommunityDay, (ids[1], day))).version == 2
    assert await world.count("community_days WHERE version = 2 AND community_id = :id", id=ids[1]) == 1
    assert (await world.row(CommunityDay, (ids[0], day))).version == 1
    assert await world.row(Encounter, (ids[1], me.id, world.friend.id, day))
