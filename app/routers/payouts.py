from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, status

from app.deps import (
    MEMBER_ERRORS,
    OPERATOR_ERRORS,
    LimitQuery,
    MemberDep,
    RequestKeyDep,
    StateDep,
    require_scope,
)
from app.domain.errors import (
    BadRequest,
    BalanceTooLow,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    MemberOwes,
    PayoutNotFound,
    PayoutNotWaiting,
    PayoutTooSmall,
)
from app.domain.operators import Scope
from app.domain.payouts import PayoutState
from app.routers.examples import PAYOUT
from app.routers.problems import problems
from app.schemas.fields import Page, PayoutId
from app.schemas.payouts import OperatorPayout, PayoutCreate, PayoutPublic
from app.services import payouts

router = APIRouter(prefix="/v1/payouts", tags=["money"])
operator_router = APIRouter(
    prefix="/v1/ops/payouts",
    tags=["operators: rewards"],
    dependencies=[Depends(require_scope(Scope.REWARDS))],
)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *MEMBER_ERRORS,
        BadRequest,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
        PayoutTooSmall,
        BalanceTooLow,
    ),
    summary="Have money paid out 提现",
)
async def create_payout(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    body: Annotated[PayoutCreate, Body(openapi_examples=PAYOUT)],
) -> PayoutPublic:
    """It leaves the balance at once. A large one waits for an operator; one that cannot be sent comes back."""
    return await payouts.create_payout(state, member_id, body, request_key)


@router.get("", responses=problems(*MEMBER_ERRORS), summary="My payouts 我的提现")
async def list_my_payouts(
    state: StateDep, member_id: MemberDep, after: PayoutId | None = None, limit: LimitQuery = 20
) -> Page[PayoutPublic]:
    """Newest first."""
    return await payouts.list_own(state, member_id, after, limit)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="Find payouts 查询提现")
async def list_payouts(
    state: StateDep,
    payout_state: Annotated[PayoutState | None, Query(alias="state")] = None,
    after: PayoutId | None = None,
    limit: LimitQuery = 20,
) -> Page[OperatorPayout]:
    """Newest first."""
    return await payouts.list_payouts(state, payout_state, after, limit)


@operator_router.post(
    "/{payout_id}/approve",
    responses=problems(*OPERATOR_ERRORS, PayoutNotFound, PayoutNotWaiting, MemberOwes),
    summary="Approve a payout 批准提现",
)
async def approve_payout(state: StateDep, payout_id: PayoutId) -> OperatorPayout:
    """Of a member who owes nothing: otherwise reject it, and what it held pays the debt first."""
    return await payouts.approve(state, payout_id)


@operator_router.post(
    "/{payout_id}/reject",
    responses=problems(*OPERATOR_ERRORS, PayoutNotFound, PayoutNotWaiting),
    summary="Reject a payout 拒绝提现",
)
async def reject_payout(state: StateDep, payout_id: PayoutId) -> OperatorPayout:
    """The money is the member's again."""
    return await payouts.reject(state, payout_id)
