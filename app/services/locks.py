"""Every row lock there is, and the order they are taken in: sale, then group, then order, then payment, then
bargain; of the book: member, then payout, then accounts; of communities: community, then membership, then post; and
facts after all of them. An endpoint is locked before its lanes, with nothing else.
Who needs locks of several of these takes them in this order: communities, sales, the book.

`key_share` leaves other transactions free to point at a locked row: a claim's foreign keys never wait for the
operator who is changing its sale. On SQLite a transaction is alone from its beginning, and the locks are no more
than reads of the newest state.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy
from sqlalchemy import func
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.bargains import RUNNING_BARGAIN_STATES
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.orders import OrderState
from app.gateways.bulk import among
from app.models import (
    Account,
    Bargain,
    Binding,
    Comment,
    Community,
    Endpoint,
    Facts,
    Group,
    Lane,
    Member,
    Order,
    Payment,
    Payout,
    Period,
    Post,
    Sale,
    Segment,
)

Row = TypeVar("Row", bound=SQLModel)


GROUPS_BY_ID = (
    sqlalchemy.select(
        *(col(Group.id), col(Group.sale_id), col(Group.product_id), col(Group.leader_id)),
        *(col(Group.state), col(Group.size), col(Group.opened_at), col(Group.deadline_at)),
        col(Group.extended_at),
    )
    .where(among(Group.id, "group_ids"))
    .order_by(col(Group.id))
)
LOCK_GROUPS_WAITING = GROUPS_BY_ID.with_for_update(key_share=True)
"""Lock many groups, by id, and see them as they then are."""
LOCK_GROUPS = GROUPS_BY_ID.with_for_update(key_share=True, skip_locked=True)
"""The same, without those that somebody else has locked."""

BARGAINS_BY_ID = (
    sqlalchemy.select(
        *(col(Bargain.id), col(Bargain.state), col(Bargain.price), col(Bargain.deadline_at)),
    )
    .where(among(Bargain.id, "bargain_ids"))
    .order_by(col(Bargain.id))
)
LOCK_BARGAINS_WAITING = BARGAINS_BY_ID.with_for_update(key_share=True)
LOCK_BARGAINS = BARGAINS_BY_ID.with_for_update(key_share=True, skip_locked=True)
"""The same for bargains."""


REFERRALS = 0x6B61697475616E
"""The number of the advisory lock of referrals: `kaituan` in ASCII."""


async def lock_referrals(session: AsyncSession) -> None:
    """Lock all that is concluded from orders, before anything else: two who bind referrals at once could each miss
    the other's half of a cycle.
    """
    if session.get_bind().dialect.name == "postgresql":  # on SQLite a transaction is alone
        await session.exec(select(func.pg_advisory_xact_lock(REFERRALS)))


async def lock_member(session: AsyncSession, member_id: str) -> Member | None:
    """Lock a member who spends their own money, before their accounts: their requests wait for each other.
    None when there is no such member, or not any more.
    """
    found = await session.exec(
        _locking(select(Member).where(Member.id == member_id, col(Member.erased_at).is_(None))),
    )
    return found.one_or_none()


async def lock_whole_member(session: AsyncSession, member_id: str) -> Member | None:
    """Lock a member against everybody who points at them, too: nothing new is theirs until the transaction ends.
    None when there is no such member.
    """
    found = await session.exec(
        select(Member).where(Member.id == member_id).with_for_update().execution_options(populate_existing=True),
    )
    return found.one_or_none()


async def lock_community(session: AsyncSession, community_id: str) -> Community | None:
    """Lock a community: whoever changes its terms, its state or who belongs to it does this first."""
    found = await session.exec(
        _locking(select(Community).where(Community.id == community_id)),
    )
    return found.one_or_none()


async def lock_binding(session: AsyncSession, binding_id: str) -> Binding | None:
    """Lock a binding: whoever changes where it speaks or with what does this first."""
    found = await session.exec(
        _locking(select(Binding).where(Binding.id == binding_id)),
    )
    return found.one_or_none()


async def lock_community_shared(session: AsyncSession, community_id: str) -> Community | None:
    """Lock a community against changes of its terms or state, together with others who do the same."""
    found = await session.exec(
        select(Community)
        .where(Community.id == community_id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True),
    )
    return found.one_or_none()


async def lock_segments_shared(session: AsyncSession, ids: Collection[str]) -> set[str]:
    """Keep segments from being deleted until something points to them; returns those that are there."""
    found = await session.exec(
        select(Segment.id).where(col(Segment.id).in_(ids)).order_by(col(Segment.id)).with_for_update(read=True),
    )
    return set(found.all())


async def lock_periods(session: AsyncSession, community_id: str, member_id: str) -> Sequence[Period]:
    """Lock what a member has paid for in a community, which is locked: an order may have them looked at again."""
    found = await session.exec(
        _locking(
            select(Period)
            .where(Period.community_id == community_id, Period.member_id == member_id)
            .order_by(col(Period.order_id))
        ),
    )
    return found.all()


async def lock_post(session: AsyncSession, post_id: str) -> Post | None:
    """Lock a post: whoever changes it, its comments or its reactions does this first."""
    found = await session.exec(
        _locking(select(Post).where(Post.id == post_id)),
    )
    return found.one_or_none()


async def lock_older_posts(
    session: AsyncSession, community_id: str, before: datetime, limit: int
) -> Sequence[Post]:
    """Lock posts of a community up to a moment that have not been forgotten, oldest first; without those that
    somebody else has locked.
    """
    older = select(Post).where(
        Post.community_id == community_id, col(Post.removed_at).is_(None), Post.created_at <= before
    )
    found = await session.exec(
        _locking(older.order_by(col(Post.created_at)).limit(limit), skip_locked=True),
    )
    return found.all()


async def lock_older_comments(
    session: AsyncSession, community_id: str, before: datetime, limit: int
) -> Sequence[Comment]:
    """The same of comments to posts that are gone."""
    gone = select(Post.id).where(Post.id == Comment.post_id, col(Post.removed_at).is_not(None))
    older = select(Comment).where(
        Comment.community_id == community_id,
        col(Comment.removed_at).is_(None),
        Comment.created_at <= before,
        gone.exists(),
    )
    found = await session.exec(
        _locking(older.order_by(col(Comment.created_at)).limit(limit), skip_locked=True),
    )
    return found.all()


async def lock_facts(session: AsyncSession, member_ids: Collection[str]) -> Sequence[Facts]:
    """Lock what is known of members, by their ids: whoever counts it anew, or asks for a consent to write it, does
    this first.
    """
    found = await session.exec(
        _locking(select(Facts).where(col(Facts.member_id).in_(member_ids)).order_by(col(Facts.member_id))),
    )
    return found.all()


async def lock_payout(session: AsyncSession, payout_id: str) -> Payout | None:
    """Lock a payout, which two operators may decide on; None when there is no such payout."""
    found = await session.exec(
        _locking(select(Payout).where(Payout.id == payout_id)),
    )
    return found.one_or_none()


async def lock_accounts(session: AsyncSession, ids: Collection[str]) -> Sequence[Account]:
    """Lock accounts, by id, so that two transfers never wait for each other."""
    found = await session.exec(
        _locking(select(Account).where(col(Account.id).in_(ids)).order_by(col(Account.id))),
    )
    return found.all()


async def lock_sale(session: AsyncSession, sale_id: str) -> Sale | None:
    """Lock a sale against other changes of its terms or state; None when there is no such sale."""
    found = await session.exec(
        _locking(select(Sale).where(Sale.id == sale_id)),
    )
    return found.one_or_none()


async def lock_sale_shared(session: AsyncSession, sale_id: str) -> Sale | None:
    """Lock a sale against changes of its terms or state, together with others who do the same."""
    found = await session.exec(
        select(Sale).where(Sale.id == sale_id).with_for_update(read=True).execution_options(populate_existing=True),
    )
    return found.one_or_none()


async def lock_group(session: AsyncSession, group_id: str, *, skip_locked: bool = False) -> Group | None:
    """Lock a group: whoever changes its seats or its state does this first.

    None when there is no such group, or when it is locked and `skip_locked` says not to wait.
    """
    found = await session.exec(
        _locking(select(Group).where(Group.id == group_id), skip_locked=skip_locked),
    )
    return found.one_or_none()


async def lock_running_groups(session: AsyncSession, sale_id: str) -> Sequence[Group]:
    """Lock the groups of a sale that are not final, by id."""
    found = await session.exec(
        _locking(
            select(Group)
            .where(Group.sale_id == sale_id, col(Group.state).not_in(FINAL_GROUP_STATES))
            .order_by(col(Group.id))
        ),
    )
    return found.all()


async def lock_bargain(session: AsyncSession, bargain_id: str, *, skip_locked: bool = False) -> Bargain | None:
    """Lock a bargain: whoever cuts its price or changes its state does this first. None as for a group."""
    found = await session.exec(
        _locking(select(Bargain).where(Bargain.id == bargain_id), skip_locked=skip_locked),
    )
    return found.one_or_none()


async def lock_running_bargains(session: AsyncSession, sale_id: str) -> Sequence[Bargain]:
    """Lock the bargains of a sale that are not final, by id."""
    found = await session.exec(
        _locking(
            select(Bargain)
            .where(Bargain.sale_id == sale_id, col(Bargain.state).in_(RUNNING_BARGAIN_STATES))
            .order_by(col(Bargain.id))
        ),
    )
    return found.all()


async def lock_order(session: AsyncSession, order_id: str) -> Order | None:
    """Lock an order; None when there is no such order."""
    found = await session.exec(
        _locking(select(Order).where(Order.id == order_id)),
    )
    return found.one_or_none()


async def lock_order_and_group(
    session: AsyncSession, order_id: str, *, skip_locked: bool = False
) -> tuple[Order, Group] | None:
    """Lock the group of an order, then the order; None when there is no such order, or as `lock_group`."""
    while True:
        group_id = (await session.exec(select(Order.group_id).where(Order.id == order_id))).one_or_none()
        group = None if group_id is None else await lock_group(session, group_id, skip_locked=skip_locked)
        order = None if group is None else await lock_order(session, order_id)
        if group is None or order is None:
            return None
        if order.group_id == group.id:  # else it was moved to another one meanwhile
            return order, group


async def lock_orders(session: AsyncSession, group_id: str, state: OrderState) -> Sequence[Order]:
    """Lock the orders of a group that are in one state, by id."""
    found = await session.exec(
        _locking(select(Order).where(Order.group_id == group_id, Order.state == state).order_by(col(Order.id))),
    )
    return found.all()


async def lock_payment(session: AsyncSession, payment_id: str) -> Payment | None:
    """Lock a payment; None when there is no such payment."""
    found = await session.exec(
        _locking(select(Payment).where(Payment.id == payment_id)),
    )
    return found.one_or_none()


def _locking(statement: SelectOfScalar[Row], *, skip_locked: bool = False) -> SelectOfScalar[Row]:
    """Lock what is selected, and read it anew even when the session knows an older state of it."""
    locking = statement.with_for_update(key_share=True, skip_locked=skip_locked)
    return locking.execution_options(populate_existing=True)


async def lock_endpoint(session: AsyncSession, endpoint_id: str) -> Endpoint | None:
    """Lock an endpoint: whoever changes it, or lines something up for it, does this first."""
    found = await session.exec(_locking(select(Endpoint).where(Endpoint.id == endpoint_id)))
    return found.one_or_none()


async def lock_lanes(session: AsyncSession, endpoint_id: str, subjects: Collection[str]) -> Sequence[Lane]:
    """Lock the lanes of an endpoint that are there, in the order of their subjects; after the endpoint, for who
    needs both.
    """
    found = await session.exec(
        _locking(
            select(Lane)
            .where(Lane.endpoint_id == endpoint_id, col(Lane.subject).in_(subjects))
            .order_by(col(Lane.subject))
        ),
    )
    return found.all()
