from typing import Annotated

from fastapi import APIRouter, Path, Request, status

from app.deps import MEMBER_ERRORS, MemberDep, RequestKeyDep, StateDep
from app.domain.errors import (
    BadRequest,
    CurrencyNotTaken,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    OrderClosed,
    OrderNotFound,
    OrderNotHeld,
    PayerUnknown,
    PaymentNotFound,
    ProviderNotFound,
    ProviderRefused,
    ProviderUnavailable,
    SignatureInvalid,
    TooManyPayments,
)
from app.routers.problems import problems
from app.schemas.fields import OrderId
from app.schemas.payments import NoticeAnswer, PaymentCreate, PaymentPublic
from app.services import payments

router = APIRouter(tags=["orders"])
hook_router = APIRouter(prefix="/hooks/payments", tags=["hooks"])


@router.post(
    "/v1/orders/{order_id}/payments",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        BadRequest,
        IdempotencyKeyMissing,
        *MEMBER_ERRORS,
        OrderNotFound,
        ProviderNotFound,
        OrderNotHeld,
        TooManyPayments,
        PayerUnknown,
        CurrencyNotTaken,
        ProviderRefused,
        OrderClosed,
        IdempotencyKeyReused,
        ProviderUnavailable,
    ),
    summary="Start paying 发起支付",
)
async def create_payment(
    state: StateDep, member_id: MemberDep, request_key: RequestKeyDep, order_id: OrderId, body: PaymentCreate
) -> PaymentPublic:
    """Send the member to `pay_url`, or call the provider's cashier with `pay_params`. What was paid shows on the
    order and in the group, not here.
    """
    return await payments.create_payment(state, member_id, order_id, body.provider, request_key)


@hook_router.post(
    "/{provider}",
    responses=problems(ProviderNotFound, SignatureInvalid, PaymentNotFound),
    summary="Payment notifications 支付回调",
    openapi_extra={
        "requestBody": {
            "description": "The provider's own message; its signature is checked over the raw bytes",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
    },
)
async def receive_notice(
    state: StateDep, request: Request, provider: Annotated[str, Path(pattern="^[a-z_]{1,20}$")]
) -> NoticeAnswer:
    """For payment providers. Acts once however often it is called."""
    await payments.receive_notice(state, provider, request.headers, await request.body())
    return NoticeAnswer()
