"""What happens when time is up. Each runs under the lock of the group, so it may run twice and act once."""

from contextlib import suppress
from datetime import datetime

from sqlmodel import col, select

from app.domain.groups import FINAL_GROUP_STATES
from app.domain.orders import OrderState
from app.domain.payments import PaymentState
from app.models import Group, Order, Payment, Sale
from app.services import groups, rescues
from app.services.locks import lock_group, lock_order_and_group
from app.services.payments import decide_locked
from app.services.places import give_back
from app.services.transactions import Work, transaction
from app.state import State


async def expire_hold(state: State, order_id: str, now: datetime) -> bool:
    """Give back the places of an order that was not paid in time. True when this call did it."""
    async with transaction(state, state.clock()) as work:
        locked = await lock_order_and_group(work.session, order_id, skip_locked=True)
        if locked is None:
            return False
        order, group = locked
        await _decide_captured(work, group, order_id)
        await work.session.refresh(order)
        if order.state != OrderState.HELD or order.hold_expires_at > now:
            return False
        if await give_back(work, order, OrderState.EXPIRED) is None:
            return False
        await groups.settle(work, group)
        return True


async def expire_group(state: State, group_id: str, now: datetime) -> bool:
    """End a group whose time is up: with success when enough have paid, or as its members wished for that case.
    True when this call did it.

    Money that was captured in time but not yet decided is decided first, and may save the group.
    """
    with suppress(rescues.SiblingLocked):  # another look will come
        async with transaction(state, state.clock()) as work:
            group = await lock_group(work.session, group_id, skip_locked=True)
            if group is None:
                return False
            await _decide_captured(work, group, None)
            await work.session.refresh(group)
            if group.state in FINAL_GROUP_STATES or group.deadline_at > now:
                return False
            await rescues.close(work, group, await work.session.get_one(Sale, group.sale_id))
            return True
    return False


async def _decide_captured(work: Work, group: Group, order_id: str | None) -> None:
    statement = (
        select(Payment.id)
        .join(Order, col(Order.id) == Payment.order_id)
        .where(
            Order.group_id == group.id,
            Payment.state == PaymentState.CAPTURED,
            col(Payment.outcome).is_(None),
        )
        .order_by(col(Payment.captured_at))
    )
    if order_id is not None:
        statement = statement.where(Order.id == order_id)
    for payment_id in (await work.session.exec(statement)).all():
        await decide_locked(work, group, payment_id)
