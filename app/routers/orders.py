from typing import Annotated

from fastapi import APIRouter, Depends, Query, status
from fastapi.responses import Response

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, LimitQuery, MemberDep, RequestKeyDep, StateDep, require_scope
from app.domain.errors import (
    IdempotencyKeyMissing,
    OrderNotCompletable,
    OrderNotFound,
    OrderNotHeld,
    OrderNotRefundable,
    OrderNotShippable,
    SaleNotFound,
)
from app.domain.operators import Scope
from app.domain.orders import OrderState
from app.routers.claims import CLAIM_ANSWER, CLAIM_ERRORS, TICKET_ERRORS, PurchaseBody, claimed
from app.routers.limits import ClaimHeadersDep
from app.routers.problems import problems
from app.schemas.fields import GroupId, OrderId, Page, SaleId
from app.schemas.groups import ClaimAnswer
from app.schemas.orders import OperatorOrder, OrderDetail, OrderPublic
from app.services import claims, orders

router = APIRouter(prefix="/v1/orders", tags=["orders"])
sale_router = APIRouter(prefix="/v1/sales/{sale_id}/orders", tags=["orders"])
operator_router = APIRouter(
    prefix="/v1/ops/orders",
    tags=["operators: orders"],
    dependencies=[Depends(require_scope(Scope.ORDERS))],
)


@sale_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=ClaimAnswer,
    responses=CLAIM_ANSWER | problems(SaleNotFound, *TICKET_ERRORS, *CLAIM_ERRORS),
    summary="Buy in a flash sale 抢购",
)
async def buy(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    limits: ClaimHeadersDep,
    sale_id: SaleId,
    body: PurchaseBody,
) -> Response:
    """Buy alone, with the `ticket` you got at the entrance: your order is a group of one. Pay before
    `order.hold_expires_at`.
    """
    return claimed(await claims.buy(state, member_id, sale_id, body, request_key), limits)


@router.get("", responses=problems(*MEMBER_ERRORS), summary="My orders 我的订单")
async def list_orders(
    state: StateDep,
    member_id: MemberDep,
    order_state: Annotated[OrderState | None, Query(alias="state")] = None,
    after: OrderId | None = None,
    limit: LimitQuery = 20,
) -> Page[OrderPublic]:
    """Newest first."""
    return await orders.list_orders(state, member_id, order_state, after, limit)


@router.get("/{order_id}", responses=problems(*MEMBER_ERRORS, OrderNotFound), summary="One of my orders 订单详情")
async def get_order(state: StateDep, member_id: MemberDep, order_id: OrderId) -> OrderDetail:
    """With its payments and refunds."""
    return await orders.get_order(state, order_id, member_id)


@router.post(
    "/{order_id}/cancel",
    responses=problems(*MEMBER_ERRORS, OrderNotFound, OrderNotHeld),
    summary="Leave before paying 取消订单",
)
async def cancel_order(state: StateDep, member_id: MemberDep, order_id: OrderId) -> OrderDetail:
    """Gives the seat and the units back. When the leader leaves, the member of the next seat leads."""
    return await orders.cancel(state, order_id, member_id)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="Find orders 查询订单")
async def search_orders(
    state: StateDep,
    sale_id: SaleId | None = None,
    group_id: GroupId | None = None,
    order_state: Annotated[OrderState | None, Query(alias="state")] = None,
    after: OrderId | None = None,
    limit: LimitQuery = 20,
) -> Page[OperatorOrder]:
    """Newest first."""
    return await orders.search_orders(
        state, sale_id=sale_id, group_id=group_id, order_state=order_state, after=after, limit=limit
    )


@operator_router.post(
    "/{order_id}/ship",
    responses=problems(*OPERATOR_ERRORS, OrderNotFound, OrderNotShippable),
    summary="Mark as shipped 发货",
)
async def ship_order(state: StateDep, order_id: OrderId) -> OperatorOrder:
    """Only confirmed orders: those whose group succeeded."""
    return await orders.ship(state, order_id)


@operator_router.post(
    "/{order_id}/complete",
    responses=problems(*OPERATOR_ERRORS, OrderNotFound, OrderNotCompletable),
    summary="Mark as completed 完成",
)
async def complete_order(state: StateDep, order_id: OrderId) -> OperatorOrder:
    return await orders.complete(state, order_id)


@operator_router.post(
    "/{order_id}/refund",
    responses=problems(*OPERATOR_ERRORS, IdempotencyKeyMissing, OrderNotFound, OrderNotRefundable),
    summary="Refund 退款",
)
async def refund_order(state: StateDep, _request_key: RequestKeyDep, order_id: OrderId) -> OrderDetail:
    """Refunds a paid order that has not been shipped, once, whatever the key; its units return to the stock."""
    return await orders.refund(state, order_id)
