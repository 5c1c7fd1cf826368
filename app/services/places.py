"""Giving back numbered places. They are taken in `commits.py`; the keys of their tables are the law."""

from sqlalchemy import delete
from sqlmodel import col, select

from app.domain.orders import ORDER_TRANSITIONS, OrderState
from app.models import Order, Purchase, Redemption, Seat, Unit
from app.services import bargains
from app.services.transactions import Work


async def give_back(work: Work, order: Order, target: OrderState) -> Order | None:
    """Move an order to a state in which it holds nothing, and delete its places.

    Returns the order as it then is, or None when it may not go there; then nothing changed.
    """
    before = order.state
    moved = await work.advance(ORDER_TRANSITIONS, order, target, changed_at=work.now)
    if moved is None:
        return None
    if moved.bargain_id is not None:
        await bargains.give_back(work, moved.bargain_id)
    for places in (
        delete(Seat).where(col(Seat.group_id) == order.group_id, col(Seat.order_id) == order.id),
        delete(Unit).where(col(Unit.order_id) == order.id),
        delete(Purchase).where(
            col(Purchase.sale_id) == order.sale_id,
            col(Purchase.member_id) == order.member_id,
            col(Purchase.order_id) == order.id,
        ),
    ):
        await work.session.exec(places)
    if order.coupon_code is not None:
        await work.session.exec(delete(Redemption).where(col(Redemption.order_id) == order.id))
    work.freed.append(moved)
    record_order(work, moved, before)
    return moved


async def give_units_back(work: Work, order: Order, keep: int) -> None:
    """Delete the units of an active order beyond the first so many."""
    if keep == order.quantity:
        return
    numbers = (
        await work.session.exec(select(Unit.number).where(Unit.order_id == order.id).order_by(col(Unit.number)))
    ).all()
    await work.session.exec(
        delete(Unit).where(col(Unit.offer_id) == order.offer_id, col(Unit.number).in_(numbers[keep:])),
    )
    work.amended.append(order)


def record_order(work: Work, order: Order, before: OrderState | None) -> None:
    """Write the event of an order's new state."""
    work.record(
        f"order.{order.state}",
        order.id,
        states=(before, order.state),
        sale_id=order.sale_id,
        # What becomes of an order after its group has succeeded is no longer a change of the group.
        group_id=None if order.confirmed_at else order.group_id,
        member_id=order.member_id,
        seat=order.seat_number,
        amount=order.amount,
    )
