"""Periods of paid memberships: written down when their order is paid, looked at again when its money goes back.

A payment only notes that there is a period to look at. A worker brings the membership there, from all that its
member has paid for and not got back, so that looking twice changes nothing.
"""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select

from app.domain.memberships import Bought, paid_until
from app.domain.orders import PAID_SEAT_STATES
from app.models import Community, Order, Period, Sale
from app.services.locks import lock_community, lock_periods
from app.services.memberships import grant
from app.services.transactions import Work, transaction
from app.state import State

Key = tuple[str, str]
"""Of a membership: the ids of its community and its member."""


async def note(work: Work, order_id: str) -> None:
    """Have the period that a paid order bought looked at, if it bought one. The caller holds the order's lock."""
    found = await work.session.exec(
        select(Sale.community_id, Order.member_id, Community.period_days, Order.paid_at)
        .join(Sale, col(Sale.id) == Order.sale_id)
        .join(Community, col(Community.id) == Sale.community_id)
        .where(Order.id == order_id, col(Sale.is_plan)),
    )
    for community_id, member_id, days, paid_at in found.all():
        values = {"community_id": community_id, "member_id": member_id, "days": days, "bought_at": paid_at}
        await work.session.exec(
            work.database.insert_unless_there(Period, ["order_id"]).values(
                order_id=order_id, is_due=True, **values
            ),
        )
        await work.session.exec(
            update(Period)
            .where(col(Period.order_id) == order_id)
            .values(is_due=True)
            .execution_options(synchronize_session=False),
        )


async def settle(state: State, key: Key, now: datetime) -> bool:
    """Bring a membership where its periods say. Returns whether there was something to do."""
    community_id, member_id = key
    async with transaction(state, now) as work:
        community = await lock_community(work.session, community_id)
        if community is None:
            raise AssertionError("a period is of a community that is there")
        periods = await lock_periods(work.session, community_id, member_id)
        due = [period for period in periods if period.is_due]
        if not due:
            return False
        orders = await work.session.exec(
            select(Order.id).where(
                col(Order.id).in_([period.order_id for period in due]), col(Order.state).in_(PAID_SEAT_STATES)
            ),
        )
        kept, is_new = set(orders.all()), False
        for period in due:
            if period.order_id not in kept:
                period.ended_at = period.ended_at or now
            elif period.granted_at is None:
                period.granted_at, is_new = now, True
            period.is_due = False
            work.session.add(period)
        bought = (Bought(period.days, period.bought_at, period.ended_at is None) for period in periods)
        await grant(work, community, member_id, paid_until(bought) or now, is_new=is_new)
    return True
