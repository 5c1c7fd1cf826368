"""Erasing a member: who they were at once, what they left behind by and by.

`domain/privacy.py` says of every table what becomes of it. In one transaction the member's row loses login and
name, and all that could log in again is gone. A worker then sweeps what they left, in batches that may be repeated;
and once more when the last token has expired with which something could have been written meanwhile.
"""

from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Table, and_, case, delete, func, or_, tuple_, update
from sqlmodel import SQLModel, col, select

from app.domain.communities import CommunityState
from app.domain.entries import IN_LINE_STATES
from app.domain.errors import EntryNotWaiting, ErasureRefused, MemberNotFound, TokenInvalid
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.ledger import AccountKey, AccountKind, TransferKind, own
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.domain.notices import NoticeKind
from app.domain.orders import OrderState
from app.domain.payouts import RESERVED_STATES
from app.domain.privacy import DECISIONS, Blank, Fate, Open, still_open
from app.domain.pushes import DUE_STATES
from app.domain.refunds import RefundState
from app.domain.rewards import RewardState
from app.models import (
    Account,
    Comment,
    Community,
    Entry,
    Group,
    Identity,
    Invite,
    LinkCode,
    Mark,
    Member,
    Membership,
    Notice,
    Order,
    Payout,
    Phone,
    Post,
    Push,
    Reaction,
    Refund,
    Reward,
    RewardPolicy,
    Seat,
    Session,
)
from app.schemas.privacy import ErasurePublic
from app.services import comments, dealing, entries, ledger, posts, pushes, rewards
from app.services.erased import token_life
from app.services.locks import lock_community, lock_post, lock_referrals, lock_whole_member
from app.services.memberships import end_membership, find_membership
from app.services.terms import forget_invite
from app.services.transactions import Work, transaction
from app.state import State

BATCH = 500
LEFT_BEHIND = (MembershipState.ACTIVE, MembershipState.APPLIED, MembershipState.LAPSED)
"""Memberships that an erased member leaves; the others ended before."""


async def erase_me(state: State, member_id: str, *, forfeit_balance: bool) -> ErasurePublic:
    """Erase who asks. Raises `TokenInvalid` when there is no such member, `ErasureRefused`."""
    try:
        return await erase(state, member_id, forfeit_balance=forfeit_balance)
    except MemberNotFound:
        raise TokenInvalid from None


async def erase(state: State, member_id: str, *, forfeit_balance: bool) -> ErasurePublic:
    """Erase a member who has nothing under way; asking again changes nothing more. What is theirs in the book is
    given up if they say so. Raises `MemberNotFound`, `ErasureRefused`.
    """
    async with transaction(state, state.clock()) as work:
        await lock_referrals(work.session)
        member = await lock_whole_member(work.session, member_id)
        if member is None:
            raise MemberNotFound
        if member.erased_at is None:
            found = still_open(await _find_open(work, member_id), forfeit_balance=forfeit_balance)
            if found:
                raise ErasureRefused(**found)
            await _forfeit(work, member_id)
            known_as = select(Identity.provider, Identity.subject).where(Identity.member_id == member_id)
            await work.session.exec(
                delete(LinkCode).where(tuple_(col(LinkCode.provider), col(LinkCode.subject)).in_(known_as))
            )
            for model in (Identity, Session, Mark, Phone):
                await work.session.exec(delete(model).where(col(model.member_id) == member_id))
            table = SQLModel.metadata.tables[Member.__tablename__]
            gone = _new_values(table, work.now) | {"erased_at": work.now, "sweep_at": work.now}
            connection = await work.session.connection()
            await connection.execute(table.update().where(table.c.id == member_id).values(gone))
            work.record("member.erased", member_id, member_id=member_id)
        erased_at = member.erased_at or work.now
    state.erased[member_id] = erased_at
    await state.live.announce([member_id])
    return ErasurePublic(member_id=member_id, erased_at=erased_at)


async def _find_open(work: Work, member_id: str) -> Open:
    """What a member has under way. What is confirmed is sold: the merchant ships it by the id of its order."""
    session = work.session
    mine = Order.member_id == member_id
    orders = await session.exec(
        select(Order.state, func.count())
        .where(mine, col(Order.state).in_([OrderState.HELD, OrderState.PAID]))
        .group_by(col(Order.state)),
    )
    groups = await session.exec(
        select(func.count())
        .select_from(Seat)
        .join(Order, col(Order.id) == Seat.order_id)
        .join(Group, col(Group.id) == Seat.group_id)
        .where(mine, col(Group.state).not_in(FINAL_GROUP_STATES)),
    )
    refunds = await session.exec(
        select(func.count())
        .select_from(Refund)
        .join(Order, col(Order.id) == Refund.order_id)
        .where(mine, Refund.state != RefundState.SUCCEEDED),
    )
    payouts = await session.exec(
        select(func.count()).where(Payout.member_id == member_id, col(Payout.state).in_(RESERVED_STATES)),
    )
    owned = await session.exec(
        select(Membership.community_id)
        .join(Community)
        .where(
            Membership.member_id == member_id,
            Membership.role == Role.OWNER,
            Community.state != CommunityState.DISSOLVED,
        )
        .order_by(col(Membership.community_id)),
    )
    return Open(
        orders={OrderState(state): count for state, count in orders.all()},
        groups=groups.one(),
        refunds=refunds.one(),
        payouts=payouts.one(),
        balances=await _find_balances(work, member_id),
        communities=tuple(owned.all()),
    )


async def _find_balances(work: Work, member_id: str) -> dict[str, int]:
    """What a member has, or would have when it matures or is released, by currency."""
    booked = await work.session.exec(
        select(Account.currency, func.sum(Account.balance))
        .where(
            Account.member_id == member_id,
            col(Account.kind).in_([AccountKind.BALANCE, AccountKind.PENDING]),
        )
        .group_by(col(Account.currency)),
    )
    withheld = await work.session.exec(
        select(RewardPolicy.currency, func.sum(Reward.amount))
        .join(RewardPolicy)
        .where(Reward.member_id == member_id, Reward.state == RewardState.WITHHELD)
        .group_by(col(RewardPolicy.currency)),
    )
    found: dict[str, int] = {}
    for currency, amount in [*booked.all(), *withheld.all()]:
        found[currency] = found.get(currency, 0) + int(amount)
    return found


async def _forfeit(work: Work, member_id: str) -> None:
    """Give up what a member has: rewards go back to their budgets, the balance to the house."""
    await rewards.give_up(work, member_id)
    held = await work.session.exec(
        select(Account.currency).where(
            Account.member_id == member_id, Account.kind == AccountKind.BALANCE, Account.balance > 0
        ),
    )
    for currency in sorted(held.all()):
        balance, house = AccountKey(member_id, AccountKind.BALANCE, currency), own(AccountKind.HOUSE, currency)
        amount, _ = await ledger.lock(work, balance, house)
        kind = TransferKind.FORFEITED
        cause = f"{kind} {member_id} {currency}"
        await ledger.post(work, kind, cause, [(balance, -amount), (house, amount)], subject=member_id)


async def sweep(state: State, member_id: str, now: datetime) -> bool:
    """Delete and blank what an erased member left behind, and say when to look again. Doing it twice, or having
    been killed in the middle, does no harm. Returns whether this call was the one to be done with it.
    """
    async with state.database.snapshot() as session:
        member = await session.get_one(Member, member_id)
    due_at, erased_at = member.sweep_at, member.erased_at
    if due_at is None or erased_at is None:
        return False
    await _leave_communities(state, member_id)
    await _leave_lines(state, member_id)
    await _take_back_reactions(state, member_id)
    await _take_back_words(state, member_id)
    await _withdraw_invites(state, member_id)
    await _stop_pushes(state, member_id)
    await _blank_copies(state, member_id)
    for name, decision in DECISIONS.items():
        if decision.fate == Fate.DELETED:
            await _delete(state, name, member_id)
        elif decision.blank and name != Member.__tablename__:
            await _blank(state, name, member_id)
    await state.dealer.forget_member(await dealing.kept_sales(state, now), member_id)
    last_token = erased_at + token_life(state)
    async with transaction(state, state.clock()) as work:
        done = await work.session.exec(
            update(Member)
            .where(col(Member.id) == member_id, col(Member.sweep_at) == due_at)
            .values(sweep_at=last_token if now < last_token else None)
            .returning(col(Member.id)),
        )
        return done.first() is not None


async def _leave_communities(state: State, member_id: str) -> None:
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Membership.community_id).where(
                Membership.member_id == member_id, col(Membership.state).in_(LEFT_BEHIND)
            ),
        )
    for community_id in found.all():
        async with transaction(state, state.clock()) as work:
            community = await lock_community(work.session, community_id)
            row = await find_membership(work, community_id, member_id)
            if community is not None and row is not None and row.state in LEFT_BEHIND:
                await end_membership(work, community, row, MembershipState.LEFT, LeaveReason.ERASED)


async def _leave_lines(state: State, member_id: str) -> None:
    """Who has been called at this moment gets an order that nobody pays, and that lapses."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Entry.id).where(Entry.member_id == member_id, col(Entry.state).in_(IN_LINE_STATES)),
        )
    for entry_id in found.all():
        try:
            await entries.leave(state, entry_id, member_id)
        except EntryNotWaiting:
            continue


async def _take_back_reactions(state: State, member_id: str) -> None:
    """Delete reactions, and count them no more."""
    async with state.database.snapshot() as session:
        found = await session.exec(select(Reaction.subject_id).where(Reaction.member_id == member_id).distinct())
    for subject_id in found.all():
        async with transaction(state, state.clock()) as work:
            comment = await work.session.get(Comment, subject_id)
            await lock_post(work.session, subject_id if comment is None else comment.post_id)
            gone = await work.session.exec(
                delete(Reaction)
                .where(col(Reaction.subject_id) == subject_id, col(Reaction.member_id) == member_id)
                .returning(col(Reaction.kind)),
            )
            count = len(gone.all())
            for model in (Post, Comment):
                await work.session.exec(
                    update(model)
                    .where(col(model.id) == subject_id)
                    .values(reaction_count=col(model.reaction_count) - count),
                )


async def _take_back_words(state: State, member_id: str) -> None:
    """Remove what they wrote, as if they had done it themselves."""
    async with state.database.snapshot() as session:
        written = await session.exec(
            select(Post.id).where(Post.author_id == member_id, col(Post.removed_at).is_(None)),
        )
        said = await session.exec(
            select(Comment.id, Comment.post_id).where(
                Comment.author_id == member_id, col(Comment.removed_at).is_(None)
            ),
        )
    for post_id in written.all():
        async with transaction(state, state.clock()) as work:
            post = await lock_post(work.session, post_id)
            if post is not None and post.removed_at is None:
                await posts.take_back(work, await work.session.get_one(Community, post.community_id), post)
    for comment_id, post_id in said.all():
        async with transaction(state, state.clock()) as work:
            post = await lock_post(work.session, post_id)
            row = await work.session.get_one(Comment, comment_id)
            if post is not None and row.removed_at is None:
                community = await work.session.get_one(Community, row.community_id)
                await comments.take_back(work, community, post, row)


async def _withdraw_invites(state: State, member_id: str) -> None:
    """Let nobody come by their links any more."""
    async with transaction(state, state.clock()) as work:
        withdrawn = await work.session.exec(
            update(Invite)
            .where(col(Invite.member_id) == member_id, col(Invite.revoked_at).is_(None))
            .values(revoked_at=work.now)
            .returning(col(Invite.code)),
        )
        codes = [code for (code,) in withdrawn.all()]
    for code in codes:
        forget_invite(state, code)


async def _stop_pushes(state: State, member_id: str) -> None:
    """Broadcast nothing any more in their words."""
    async with transaction(state, state.clock()) as work:
        due = select(Push).where(Push.sender_id == member_id, col(Push.state).in_(DUE_STATES)).order_by(Push.id)
        for push in (await work.session.exec(due)).all():
            await pushes.stop(work, push)


async def _blank_copies(state: State, member_id: str) -> None:
    """Blank what others were told in their words: broadcasts they sent, and news of their posts and comments."""
    written = select(Post.id).where(Post.author_id == member_id)
    said = select(Comment.id).where(Comment.author_id == member_id)
    sent = select(Push.id).where(Push.sender_id == member_id)
    quoting = col(Notice.kind).in_([NoticeKind.MENTION, NoticeKind.ANSWER])
    for condition in (
        col(Notice.push_id).in_(sent),
        and_(quoting, col(Notice.subject_id).in_(written)),
        and_(quoting, col(Notice.subject_id).in_(said)),
    ):
        while True:
            some = select(Notice.id).where(condition, Notice.text != "").limit(BATCH)
            async with transaction(state, state.clock()) as work:
                blanked = await work.session.exec(
                    update(Notice).where(col(Notice.id).in_(some)).values(text="").returning(col(Notice.id)),
                )
                if len(blanked.all()) < BATCH:
                    break


async def _delete(state: State, name: str, member_id: str) -> None:
    table = SQLModel.metadata.tables[name]
    key = tuple_(*table.primary_key)
    some = sqlalchemy.select(*table.primary_key).where(owned_by(table, member_id)).limit(BATCH)
    while True:
        async with transaction(state, state.clock()) as work:
            connection = await work.session.connection()
            gone = await connection.execute(table.delete().where(key.in_(some)).returning(*table.primary_key))
            if len(gone.all()) < BATCH:
                break


async def _blank(state: State, name: str, member_id: str) -> None:
    table = SQLModel.metadata.tables[name]
    key, after = tuple_(*table.primary_key), None
    while True:
        some = sqlalchemy.select(*table.primary_key).where(owned_by(table, member_id)).order_by(*table.primary_key)
        if after is not None:
            some = some.where(key > after)
        async with transaction(state, state.clock()) as work:
            connection = await work.session.connection()
            keys = [tuple(row) for row in (await connection.execute(some.limit(BATCH))).all()]
            if keys:
                new = _new_values(table, work.now)
                await connection.execute(table.update().where(key.in_(keys)).values(new))
        if len(keys) < BATCH:
            break
        after = keys[-1]


def _new_values(table: Table, now: datetime) -> dict[str, Any]:
    """What blanked rows of a table get. Keys that we made ourselves, which callers cannot, stay: orders are found
    by them.
    """
    values: dict[str, Any] = dict(DECISIONS[table.name].blank)
    for name, value in DECISIONS[table.name].blank.items():
        column = table.c[name]
        if value == Blank.KEY:
            values[name] = case((column.contains(" "), column), else_=next(iter(table.primary_key)))
        elif value == Blank.NOW:
            values[name] = func.coalesce(column, now)
    return values


def owned_by(table: Table, member_id: str) -> ColumnElement[bool]:
    """Whether a row of this table is the member's, as `domain/privacy.py` has it."""
    decision = DECISIONS[table.name]
    conditions: list[ColumnElement[bool]] = [table.c[name] == member_id for name in decision.whose]
    if decision.via is not None:
        other = SQLModel.metadata.tables[decision.via.table]
        theirs = sqlalchemy.select(other.c[decision.via.target]).where(owned_by(other, member_id))
        conditions.append(table.c[decision.via.column].in_(theirs))
    return or_(*conditions)
