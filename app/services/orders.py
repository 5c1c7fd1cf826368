"""Orders after they are placed: looked at, cancelled, shipped, completed, refunded."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import (
    KaituanError,
    OrderNotCompletable,
    OrderNotFound,
    OrderNotHeld,
    OrderNotRefundable,
    OrderNotShippable,
)
from app.domain.notices import NoticeKind, Wording
from app.domain.orders import ORDER_TRANSITIONS, OrderState
from app.domain.payments import RefundReason
from app.models import Order, Payment, Refund
from app.schemas.fields import Page
from app.schemas.orders import OperatorOrder, OrderDetail, OrderPublic, PaymentSummary, RefundSummary
from app.services import groups, refunds
from app.services.locks import lock_order, lock_order_and_group
from app.services.notices import notify
from app.services.pages import read_page
from app.services.places import give_back, record_order
from app.services.transactions import transaction
from app.state import State


async def get_order(state: State, order_id: str, member_id: str) -> OrderDetail:
    """An order of this member, with its money. Raises `OrderNotFound`, also for somebody else's."""
    async with state.database.snapshot() as session:
        order = await session.get(Order, order_id)
        if order is None or order.member_id != member_id:
            raise OrderNotFound
        return await _detail(session, order)


async def list_orders(
    state: State, member_id: str, order_state: OrderState | None, after: str | None, limit: int
) -> Page[OrderPublic]:
    """A member's orders, newest first."""
    statement = select(Order).where(Order.member_id == member_id)
    if order_state is not None:
        statement = statement.where(Order.state == order_state)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Order, statement, after, limit)
    items = [OrderPublic.model_validate(row, from_attributes=True) for row in rows]
    return Page[OrderPublic](items=items, next=following)


async def search_orders(
    state: State,
    *,
    sale_id: str | None,
    group_id: str | None,
    order_state: OrderState | None,
    after: str | None,
    limit: int,
) -> Page[OperatorOrder]:
    """Everybody's orders, newest first, for operators."""
    statement = select(Order)
    if sale_id is not None:
        statement = statement.where(Order.sale_id == sale_id)
    if group_id is not None:
        statement = statement.where(Order.group_id == group_id)
    if order_state is not None:
        statement = statement.where(Order.state == order_state)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Order, statement, after, limit)
    items = [OperatorOrder.model_validate(row, from_attributes=True) for row in rows]
    return Page[OperatorOrder](items=items, next=following)


async def cancel(state: State, order_id: str, member_id: str) -> OrderDetail:
    """Leave before paying; the places return at once. Raises `OrderNotFound`, `OrderNotHeld`."""
    async with transaction(state, state.clock()) as work:
        locked = await lock_order_and_group(work.session, order_id)
        if locked is None or locked[0].member_id != member_id:
            raise OrderNotFound
        order, group = locked
        if await give_back(work, order, OrderState.CANCELLED) is None:
            raise OrderNotHeld(state=order.state)
        await groups.settle(work, group)
        return await _detail(work.session, order)


async def ship(state: State, order_id: str) -> OperatorOrder:
    """Mark a confirmed order as shipped. Raises `OrderNotFound`, `OrderNotShippable`."""
    return await _advance(state, order_id, OrderState.FULFILLED, OrderNotShippable)


async def complete(state: State, order_id: str) -> OperatorOrder:
    """Mark a shipped order as completed. Raises `OrderNotFound`, `OrderNotCompletable`."""
    return await _advance(state, order_id, OrderState.COMPLETED, OrderNotCompletable)


async def refund(state: State, order_id: str) -> OrderDetail:
    """Refund a paid order that has not been shipped, and free its places. Asking again changes nothing more.

    Raises `OrderNotFound`, `OrderNotRefundable`.
    """
    async with transaction(state, state.clock()) as work:
        locked = await lock_order_and_group(work.session, order_id)
        if locked is None:
            raise OrderNotFound
        order, group = locked
        if await give_back(work, order, OrderState.REFUNDING) is not None:
            await refunds.promise_kept(work, order, RefundReason.OPERATOR)
            await groups.settle(work, group)
        elif order.state not in {OrderState.REFUNDING, OrderState.REFUNDED}:
            raise OrderNotRefundable(state=order.state)
        return await _detail(work.session, order)


async def _advance(
    state: State, order_id: str, target: OrderState, refusal: type[OrderNotShippable | OrderNotCompletable]
) -> OperatorOrder:
    now = state.clock()
    async with transaction(state, now) as work:
        order = await lock_order(work.session, order_id)
        if order is None:
            raise OrderNotFound
        before = order.state
        moved = await work.advance(ORDER_TRANSITIONS, order, target, changed_at=now)
        if moved is None:
            error: KaituanError = refusal(state=order.state)
            raise error
        record_order(work, moved, before)
        if target == OrderState.FULFILLED:
            notify(work, [moved.member_id], NoticeKind.ORDER, Wording.ORDER_SHIPPED, subject_id=order_id)
        return OperatorOrder.model_validate(moved, from_attributes=True)


async def _detail(session: AsyncSession, order: Order) -> OrderDetail:
    payments = await session.exec(
        select(Payment).where(Payment.order_id == order.id).order_by(col(Payment.id)),
    )
    refunds_ = await session.exec(select(Refund).where(Refund.order_id == order.id).order_by(col(Refund.id)))
    return OrderDetail(
        **OrderPublic.model_validate(order, from_attributes=True).model_dump(),
        payments=[PaymentSummary.model_validate(row, from_attributes=True) for row in payments.all()],
        refunds=[RefundSummary.model_validate(row, from_attributes=True) for row in refunds_.all()],
    )
