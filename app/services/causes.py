"""Causes: orders that were paid or refunded, for whoever has to draw conclusions from it.

A payment only notes that there is something to conclude. What follows (who brought the buyer, who is rewarded)
is done by a worker. It looks at how things are, so that looking twice changes nothing: at one order at a time, and
at all at once from which nothing can follow.
"""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, or_, select

from app.models import Cause, Order, RewardPolicy, Sale, Touch
from app.services import periods, referrals, rewards
from app.services.locks import lock_referrals
from app.services.transactions import Work, transaction
from app.state import State

MANY = 500
"""Orders that are dismissed in one transaction."""


async def note(work: Work, order_id: str) -> None:
    """Have an order looked at. The caller holds its lock."""
    known = await work.session.exec(
        update(Cause)
        .where(col(Cause.order_id) == order_id)
        .values(version=Cause.version + 1)
        .returning(col(Cause.order_id))
        .execution_options(synchronize_session=False),
    )
    if known.first() is None:
        work.session.add(Cause(order_id=order_id))
        await work.session.flush()
    await periods.note(work, order_id)


async def dismiss(state: State, now: datetime) -> int:
    """Be done with orders from which nothing follows: the buyer has come by no invite, and nobody is rewarded in
    the sale. Most are of this kind, and done many at a time. Returns how many.
    """
    policy = or_(col(RewardPolicy.sale_id) == Sale.id, col(RewardPolicy.community_id) == Sale.community_id)
    idle = (
        select(Cause.order_id)
        .join(Order, col(Order.id) == Cause.order_id)
        .join(Sale, col(Sale.id) == Order.sale_id)
        .where(
            col(Cause.handled) < Cause.version,
            col(Order.invite_code).is_(None),
            ~select(Touch.code).where(Touch.member_id == Order.member_id).exists(),
            ~select(RewardPolicy.id).where(policy).exists(),
        )
        .order_by(col(Cause.order_id))
        .limit(MANY)
    )
    async with state.database.snapshot() as session:
        order_ids = (await session.exec(idle)).all()
    if order_ids:
        async with transaction(state, now) as work:
            await work.session.exec(
                update(Cause)
                .where(col(Cause.order_id).in_(order_ids))
                .values(handled=Cause.version)
                .execution_options(synchronize_session=False),
            )
    return len(order_ids)


async def handle(state: State, order_id: str, now: datetime) -> bool:
    """Draw the conclusions from an order as it is now. Returns whether there was something to do."""
    async with transaction(state, now) as work:
        await lock_referrals(work.session)
        cause = await work.session.get_one(Cause, order_id, populate_existing=True)
        if cause.handled == cause.version:
            return False
        order = await work.session.get_one(Order, order_id)
        if cause.handled:  # who brought the buyer and who is rewarded has been decided
            await rewards.adjust(work, order)
        else:
            await rewards.accrue(work, order, await referrals.bind(state, work, order))
        await work.session.exec(
            update(Cause)
            .where(col(Cause.order_id) == order_id)
            .values(handled=cause.version)
            .execution_options(synchronize_session=False),
        )
    return True
