"""Taking and giving back numbered places. The keys of these tables are the law against overselling."""

from sqlalchemy import delete, insert
from sqlmodel import col

from app.domain.orders import ORDER_TRANSITIONS, OrderState
from app.gateways.dealer import Claim
from app.models import Group, Offer, Order, Purchase, Sale, Seat, Unit
from app.services.transactions import Work


async def take(work: Work, claim: Claim, sale: Sale, offer: Offer, group: Group) -> None:
    """Insert the rows of every place of a claim.

    Raises `IntegrityError` when somebody has one of them, or when there is no such place.
    """
    await work.session.exec(
        insert(Unit),
        params=[
            {"offer_id": offer.id, "number": number, "stock": offer.stock, "order_id": claim.order_id}
            for number in claim.units
        ],
    )
    await work.session.exec(
        insert(Seat).values(
            group_id=group.id,
            number=claim.seat,
            size=group.size,
            member_id=claim.member_id,
            order_id=claim.order_id,
        ),
    )
    await work.session.exec(
        insert(Purchase).values(
            sale_id=sale.id,
            member_id=claim.member_id,
            number=claim.purchase,
            member_limit=sale.member_limit,
            order_id=claim.order_id,
        ),
    )


async def give_back(work: Work, order: Order, target: OrderState) -> Order | None:
    """Move an order to a state in which it holds nothing, and delete its places.

    Returns the order as it then is, or None when it may not go there; then nothing changed.
    """
    before = order.state
    moved = await work.advance(ORDER_TRANSITIONS, order, target, changed_at=work.now)
    if moved is None:
        return None
    for model in (Seat, Unit, Purchase):
        await work.session.exec(delete(model).where(col(model.order_id) == order.id))
    work.freed.append(moved)
    record_order(work, moved, before)
    return moved


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
