"""The sandbox cashier: a payment provider of our own for development and staging.

The service calls the signed routes, as it would call a real provider; people and tests open the page to pay.
"""

from contextlib import suppress
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Path, Query, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ValidationError

from app.deps import StateDep
from app.domain.errors import (
    BadRequest,
    PaymentClosed,
    PaymentNotFound,
    ProviderUnavailable,
    SignatureInvalid,
)
from app.gateways.payments import signing
from app.routers.examples import PAY
from app.routers.pages import show_page as show
from app.routers.problems import problems
from app.schemas.sandbox import (
    ChargeAnswer,
    ChargeCreate,
    ChargeRef,
    Pay,
    PayoutAnswer,
    PayoutCreate,
    RefundAnswer,
    RefundCreate,
)
from app.services import sandbox
from app.state import State

router = APIRouter(prefix="/sandbox", tags=["sandbox"])
Token = Annotated[str, Path(pattern="^[0-9A-Za-z_-]{24}$")]
Back = Annotated[
    str | None,
    Query(
        pattern="^/i/[0-9A-Za-z]{8,20}/orders/ord_[0-9a-f]{32}$",
        description="The page of ours that leads on from here 返回地址",
    ),
]
Content = TypeVar("Content", bound=BaseModel)


@router.get(
    "/pay/{token}",
    response_class=HTMLResponse,
    responses=problems(PaymentNotFound),
    summary="The page to pay on 收银台页面",
)
async def show_page(
    state: StateDep, request: Request, token: Token, *, refused: bool = False, back: Back = None
) -> HTMLResponse:
    """Where `pay_url` leads."""
    charge = await sandbox.find_by_token(state, token)
    expired = charge.state == sandbox.PENDING and charge.expires_at <= state.clock()
    told = {"charge": charge, "expired": expired, "refused": refused, "back": back}
    return show(request, "cashier.html", told)


@router.post(
    "/pay/{token}/form",
    response_class=RedirectResponse,
    status_code=status.HTTP_303_SEE_OTHER,
    include_in_schema=False,
)
async def pay_by_form(state: StateDep, request: Request, token: Token, back: Back = None) -> str:
    """The page's own button; leads back to the page, which shows what came of it."""
    try:
        async with request.form(max_fields=20) as form:
            filled = {name: value for name, value in form.items() if value not in {"", "0"}}
    except ValueError as error:  # in a character set that is none
        raise BadRequest from error
    try:
        wish = Pay.model_validate_strings(filled)
    except ValidationError as error:
        raise BadRequest from error
    with suppress(PaymentClosed):
        await sandbox.pay(state, token, wish)
    query = urlencode(({"refused": "true"} if wish.refuse else {}) | ({} if back is None else {"back": back}))
    return f"/sandbox/pay/{token}{query and '?'}{query}"


@router.post(
    "/pay/{token}",
    responses=problems(BadRequest, PaymentNotFound, PaymentClosed),
    summary="Pay, and misbehave if you like 支付（可模拟异常）",
)
async def pay(
    state: StateDep, token: Token, body: Annotated[Pay | None, Body(openapi_examples=PAY)] = None
) -> ChargeAnswer:
    """What the page's button does, for programs: `token` is the last part of `pay_url`."""
    return await sandbox.pay(state, token, body or Pay())


@router.post("/charges", include_in_schema=False)
async def create_charge(state: StateDep, request: Request) -> ChargeAnswer:
    return await sandbox.create_charge(state, await _signed(state, request, ChargeCreate))


@router.post("/charges/query", include_in_schema=False)
async def query_charge(state: StateDep, request: Request) -> ChargeAnswer:
    return await sandbox.query_charge(state, (await _signed(state, request, ChargeRef)).id)


@router.post("/charges/close", include_in_schema=False)
async def close_charge(state: StateDep, request: Request) -> ChargeAnswer:
    return await sandbox.close_charge(state, (await _signed(state, request, ChargeRef)).id)


@router.post("/refunds", include_in_schema=False, responses=problems(ProviderUnavailable))
async def refund(state: StateDep, request: Request) -> RefundAnswer:
    return await sandbox.refund(state, await _signed(state, request, RefundCreate))


@router.post("/refunds/query", include_in_schema=False)
async def query_refund(state: StateDep, request: Request) -> RefundAnswer:
    return await sandbox.query_refund(state, (await _signed(state, request, ChargeRef)).id)


@router.post("/payouts", include_in_schema=False, responses=problems(ProviderUnavailable))
async def pay_out(state: StateDep, request: Request) -> PayoutAnswer:
    return await sandbox.pay_out(state, await _signed(state, request, PayoutCreate))


async def _signed(state: State, request: Request, content: type[Content]) -> Content:
    """The body of a request that the merchant signed. Raises `SignatureInvalid`."""
    body = await request.body()
    signing.verify(signing.merchant_key(state.settings).public_key(), request.headers, body, state.clock())
    try:
        return content.model_validate_json(body)
    except ValidationError as error:
        raise SignatureInvalid from error
