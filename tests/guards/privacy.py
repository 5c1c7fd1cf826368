"""Guards of erasure: of whom it is, when it may be, and that who is gone is gone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, update
from sqlmodel import col, select

from app.domain.errors import ErasureRefused, MemberNotFound, TokenInvalid
from app.domain.members import MarkKind
from app.domain.notices import NoticeKind, PushState
from app.domain.posts import PostKind, ReactionKind
from app.domain.privacy import Open, still_open
from app.models import Invite, Mark, Notice, Post, Push, Reaction, Session, new_id
from app.models import Member as MemberRow
from app.schemas.groups import ClaimCreate
from app.schemas.invites import InviteCreate
from app.schemas.payouts import PayoutCreate
from app.schemas.tips import TipCreate
from app.services import (
    claims,
    erased,
    erasure,
    exports,
    identities,
    invites,
    links,
    locks,
    marks,
    payouts,
    sessions,
    tips,
)
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.promises.money import account, brought, flash, give, policy
from tests.service import Member

ERASURE, SESSIONS = "app.services.erasure", "app.services.sessions"
OPEN = f"{ERASURE}._find_open"
NO_ORDERS = (Cut(OPEN, "orders={OrderState(state): count for state, count in orders.all()}", "orders={}"),)
NO_GROUPS = (Cut(OPEN, "groups=groups.one()", "groups=0"),)
"""Who has a seat in a group that runs has an order."""


async def gone(world: World, member: Member) -> Member:
    """A member who was just erased."""
    await erasure.erase(world.state, member.id, forfeit_balance=True)
    return member


def later(model: str) -> str:
    """A condition that is true of those who came after, too."""
    return f"col({model}.member_id) >= member_id"


@notices(
    *cuts(f"{ERASURE}.erase", "if found"),
    *cuts("app.domain.privacy.still_open", "if amount > 0 and (not forfeit_balance)"),
    *(replace(cut, down=NO_GROUPS) for cut in NO_ORDERS),
    *(replace(cut, down=NO_ORDERS) for cut in NO_GROUPS),
    Cut(OPEN, "refunds=refunds.one()", "refunds=0"),
    Cut(OPEN, "payouts=payouts.one()", "payouts=0"),
    Cut(OPEN, "balances=await _find_balances(work, member_id)", "balances={}"),
    Cut(OPEN, "communities=tuple(owned.all())", "communities=()"),
)
async def nobody_is_erased_with_something_under_way(world: World) -> None:
    service = world.service
    assert still_open(Open(balances={"CNY": 1}), forfeit_balance=True) == {}
    assert still_open(Open(balances={"CNY": 1}), forfeit_balance=False) == {"balance": "CNY 1"}
    holder, refunded, paid_out, rich, owner = await service.members(5)
    await holder.open(world.sale)
    order_id = (await refunded.buy(await flash(service))).json()["order"]["id"]
    await refunded.pay(order_id)
    await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    await give(service, paid_out, 60_000)
    await payouts.create_payout(world.state, paid_out.id, PayoutCreate(amount=60_000, account="alice"), "once")
    await give(service, rich, 1)
    await service.community(owner)
    for member in (holder, refunded, paid_out, rich, owner):
        with pytest.raises(ErasureRefused):
            await erasure.erase(world.state, member.id, forfeit_balance=False)
        async with world.database.snapshot() as session:
            assert (await session.get_one(MemberRow, member.id)).name == member.name


@notices(
    Cut(f"{ERASURE}.erase", "col(model.member_id) == member_id", later("model")),
    Cut(f"{ERASURE}.erase", "tuple_(col(LinkCode.provider), col(LinkCode.subject)).in_(known_as)", "True"),
)
async def erasing_one_logs_nobody_else_out(world: World) -> None:
    member, other = await world.service.member(), await world.service.member()
    async with world.work() as work:
        for one in (member, other):
            await marks.mark(world.state, work, one.id, MarkKind.DEVICE, "shared")
            await identities.link(work, one.id, "slack", one.id)
    for one in (member, other):
        await links.create_link(world.state, "slack", one.id)
    await gone(world, member)
    for one, count in ((member, 0), (other, 1)):
        assert await world.count("link_codes WHERE subject = :id", id=one.id) == count
    for model in (Session, Mark):
        for one, count in ((member, 0), (other, 1)):
            assert await world.count(f"{model.__tablename__} WHERE member_id = :id", id=one.id) == count


@notices(Cut("app.services.locks.lock_whole_member", ".with_for_update()", ""))
async def who_is_being_erased_is_locked(world: World) -> None:
    member = await world.service.member()
    async with world.database.transaction() as session:
        assert await locks.lock_whole_member(session, member.id)
        assert await world.is_locked(MemberRow, member.id)


@notices(
    *cuts(f"{SESSIONS}.read_token", "if member_id in state.erased and (not may_be_erased)"),
    *cuts(f"{SESSIONS}.refresh_session", "if member.erased_at is not None"),
    *cuts("app.services.exports.export", "if await find_member(session, member_id) is None"),
    Cut("app.services.members.find_member", "member.erased_at is not None", "False"),
    Cut("app.services.locks.lock_member", "col(Member.erased_at).is_(None)", "True"),
    Cut("app.services.commits._strangers", "claiming & state.erased.keys()", "set()"),
)
async def who_is_gone_does_nothing_any_more(world: World) -> None:
    service, state = world.service, world.state
    member, giver = await service.members(2)
    await give(service, giver, 10)
    await member.open(world.sale)
    order_id = (await member.get("/v1/orders")).json()["items"][0]["id"]
    await member.post(f"/v1/orders/{order_id}/cancel")
    await gone(world, member)
    with pytest.raises(TokenInvalid):
        sessions.read_access_token(state, member.token)
    assert sessions.read_access_token(state, member.token, may_be_erased=True) == member.id
    with pytest.raises(TokenInvalid):
        await exports.export(state, member.id)
    with pytest.raises(MemberNotFound):
        await tips.tip(state, giver.id, member.id, TipCreate(amount=1), "once")
    with pytest.raises(TokenInvalid):
        await payouts.create_payout(state, member.id, PayoutCreate(amount=100, account="alice"), "once")
    with pytest.raises(TokenInvalid):
        await claims.open_group(state, member.id, world.sale.id, ClaimCreate(offer_id=world.sale.offer), "once")
    session_id = new_id("ses")
    async with world.work() as work:  # a login that was on its way
        await marks.mark(state, work, member.id, MarkKind.DEVICE, "shared")
        await work.session.exec(
            insert(Session).values(
                id=session_id,
                member_id=member.id,
                refresh_hash=sessions._hash("secret"),
                expires_at=work.now + timedelta(days=1),
                created_at=work.now,
            ),
        )
    assert await world.count("marks WHERE member_id = :id", id=member.id) == 0
    with pytest.raises(TokenInvalid):
        await sessions.refresh_session(state, f"{session_id}.secret")


@notices(
    Cut("app.services.rewards._beneficiaries", "and one.member_id in living", ""),
    Cut("app.services.rewards._beneficiaries", "col(Member.erased_at).is_(None)", "True"),
)
async def nobody_who_is_gone_is_rewarded(world: World) -> None:
    service = world.service
    inviter, buyer = await service.members(2)
    sale = await flash(service)
    await policy(service, sale_id=sale.id)
    await brought(service, inviter, sale, buyer)
    await gone(world, inviter)
    await service.work()
    assert await account(service, f"{inviter.id}:pending:CNY") == 0


@notices(Cut(f"{ERASURE}.sweep", "col(Member.sweep_at) == due_at", "True"))
async def one_of_two_who_sweep_is_done_with_it(world: World) -> None:
    member = await gone(world, await world.service.member())
    outcomes = []

    async def rival() -> None:
        outcomes.append(await erasure.sweep(world.state, member.id, world.service.clock()))

    async with world.meanwhile("UPDATE members", rival()):
        outcomes.append(await erasure.sweep(world.state, member.id, world.service.clock()))
    assert sorted(outcomes) == [False, True]


async def said(world: World, member: Member, other: Member) -> list[str]:
    """Two posts, to which both have reacted; returns their ids."""
    community = await world.service.community()
    now = world.service.clock()
    posts = [
        Post(
            community_id=community["id"],
            author_id=author.id,
            kind=PostKind.TEXT,
            body="茶",
            created_at=now,
            request_key=uuid4().hex,
            reaction_count=count,
        )
        for author, count in ((member, 2), (other, 1))
    ]
    async with world.database.transaction() as session:
        session.add_all(posts)
        await session.flush()
        for post, author in ((posts[0], member), (posts[0], other), (posts[1], other)):
            values: dict[str, Any] = {"subject_id": post.id, "member_id": author.id, "kind": ReactionKind.LIKE}
            session.add(Reaction(**values, community_id=community["id"], created_at=now))
        for kind, post in ((NoticeKind.MENTION, posts[0]), (NoticeKind.MENTION, posts[1])):
            session.add(Notice(member_id=other.id, kind=kind, text="茶", subject_id=post.id, created_at=now))
        await session.commit()
    return [post.id for post in posts]


@notices(
    Cut(f"{ERASURE}._take_back_reactions", "col(Reaction.member_id) == member_id", later("Reaction")),
    Cut(
        f"{ERASURE}._take_back_reactions",
        "col(Reaction.subject_id) == subject_id",
        "col(Reaction.subject_id) != subject_id",
    ),
    Cut(f"{ERASURE}._blank_copies", "col(Notice.id).in_(some)", "col(Notice.id) >= some.scalar_subquery()"),
)
async def what_others_said_and_were_told_stays(world: World) -> None:
    member, other = await world.service.member(), await world.service.member()
    mine, theirs = await said(world, member, other)
    await erasure._take_back_reactions(world.state, member.id)
    await erasure._blank_copies(world.state, member.id)
    for post_id, left in ((mine, 1), (theirs, 1)):
        assert (await world.row(Post, post_id)).reaction_count == left
        assert await world.count("reactions WHERE subject_id = :id", id=post_id) == left
    async with world.database.snapshot() as session:
        told = await session.exec(select(Notice.subject_id, Notice.text).where(Notice.member_id == other.id))
        assert dict(told.all()) == {mine: "", theirs: "茶"}


@notices(
    Cut(f"{ERASURE}._withdraw_invites", "col(Invite.member_id) == member_id", later("Invite")),
    Cut(f"{ERASURE}._withdraw_invites", "col(Invite.revoked_at).is_(None)", "True"),
)
async def their_own_invites_are_withdrawn_once(world: World) -> None:
    member, other = await world.service.member(), await world.service.member()
    codes = [
        (await invites.create_invite(world.state, one.id, InviteCreate(sale_id=world.sale.id))).code
        for one in (member, member, other)
    ]
    earlier = world.service.clock() - timedelta(days=1)
    async with world.work() as work:
        await work.session.exec(update(Invite).where(col(Invite.code) == codes[0]).values(revoked_at=earlier))
    await erasure._withdraw_invites(world.state, member.id)
    before, now, others = [(await world.row(Invite, code)).revoked_at for code in codes]
    assert before == earlier
    assert now is not None
    assert others is None


async def push(world: World, sender: Member, community_id: str, state: PushState) -> str:
    """A broadcast; returns its id."""
    now = world.service.clock()
    row = Push(
        community_id=community_id,
        sender_id=sender.id,
        text="周六喝茶",
        state=state,
        cost=1,
        recipients=1,
        sends_at=now + timedelta(hours=1),
        sent_at=now if state == PushState.SENT else None,
        created_at=now,
        request_key=uuid4().hex,
        request_hash="",
    )
    async with world.database.transaction() as session:
        session.add(row)
        await session.commit()
    return row.id


@notices(
    Cut(f"{ERASURE}._stop_pushes", "Push.sender_id == member_id", "Push.sender_id >= member_id"),
)
async def what_they_would_have_sent_is_not_sent(world: World) -> None:
    member, other = await world.service.member(), await world.service.member()
    community_id = (await world.service.community())["id"]
    made = [
        *((member, PushState.SCHEDULED), (member, PushState.SENDING), (member, PushState.SENT)),
        (other, PushState.SCHEDULED),
    ]
    ids = [await push(world, sender, community_id, state) for sender, state in made]
    await erasure._stop_pushes(world.state, member.id)
    states = [(await world.row(Push, push_id)).state for push_id in ids]
    assert states == [PushState.CANCELLED, PushState.SENT, PushState.SENT, PushState.SCHEDULED]


@notices(
    Cut("app.services.erased.learn", ".items() if erased_at > since", ".items()"),
    Cut("app.services.erased.learn", "state.erased | rows", "rows"),
)
async def the_erased_are_remembered_while_their_tokens_live(world: World) -> None:
    member = await gone(world, await world.service.member())
    world.state.erased["mem_heard"] = world.service.clock()
    await erased.learn(world.state)
    assert world.state.erased.keys() >= {member.id, "mem_heard"}
    world.service.clock.advance(world.state.settings.access_token_seconds + 301)
    await erased.learn(world.state)
    assert not world.state.erased
