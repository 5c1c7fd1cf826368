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
    CommunityNotFound,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidTerms,
    PolicyEnded,
    PolicyNotFound,
    RewardNotFound,
    RewardNotWithheld,
    SaleNotFound,
)
from app.domain.operators import Scope
from app.domain.rewards import RewardState
from app.routers.examples import POLICY, TOP_UP
from app.routers.problems import problems
from app.schemas.fields import Page, PolicyId, RewardId
from app.schemas.rewards import OperatorReward, PolicyCreate, PolicyPublic, RewardPublic, TopUp
from app.services import policies, rewards

router = APIRouter(prefix="/v1/members/me", tags=["money"])
operator_router = APIRouter(
    prefix="/v1/ops",
    tags=["operators: rewards"],
    dependencies=[Depends(require_scope(Scope.REWARDS))],
)


@router.get("/rewards", responses=problems(*MEMBER_ERRORS), summary="My rewards 我的奖励")
async def list_my_rewards(
    state: StateDep, member_id: MemberDep, after: RewardId | None = None, limit: LimitQuery = 20
) -> Page[RewardPublic]:
    """Newest first."""
    return await rewards.list_own(state, member_id, after, limit)


@operator_router.post(
    "/reward-policies",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*OPERATOR_ERRORS, BadRequest, SaleNotFound, CommunityNotFound, InvalidTerms),
    summary="Make a reward policy 新建奖励规则",
)
async def create_policy(
    state: StateDep, body: Annotated[PolicyCreate, Body(openapi_examples=POLICY)]
) -> PolicyPublic:
    """It rewards orders that are paid from now on, out of its budget, which is empty yet."""
    return await policies.create_policy(state, body)


@operator_router.get("/reward-policies", responses=problems(*OPERATOR_ERRORS), summary="Reward policies 奖励规则")
async def list_policies(
    state: StateDep, after: PolicyId | None = None, limit: LimitQuery = 20
) -> Page[PolicyPublic]:
    """Newest first."""
    return await policies.list_policies(state, after, limit)


@operator_router.get(
    "/reward-policies/{policy_id}",
    responses=problems(*OPERATOR_ERRORS, PolicyNotFound),
    summary="A reward policy 奖励规则详情",
)
async def get_policy(state: StateDep, policy_id: PolicyId) -> PolicyPublic:
    return await policies.get_policy(state, policy_id)


@operator_router.post(
    "/reward-policies/{policy_id}/budget",
    responses=problems(
        *OPERATOR_ERRORS,
        BadRequest,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
        PolicyNotFound,
        PolicyEnded,
    ),
    summary="Top a budget up 追加预算",
)
async def top_up_budget(
    state: StateDep,
    request_key: RequestKeyDep,
    policy_id: PolicyId,
    body: Annotated[TopUp, Body(openapi_examples=TOP_UP)],
) -> PolicyPublic:
    return await policies.top_up(state, policy_id, body.amount, request_key)


@operator_router.post(
    "/reward-policies/{policy_id}/end",
    responses=problems(*OPERATOR_ERRORS, PolicyNotFound),
    summary="End a reward policy 结束奖励规则",
)
async def end_policy(state: StateDep, policy_id: PolicyId) -> PolicyPublic:
    """Orders that are paid from now on earn nothing by it; what was earned stays."""
    return await policies.end_policy(state, policy_id)


@operator_router.get("/rewards", responses=problems(*OPERATOR_ERRORS), summary="Find rewards 查询奖励")
async def list_rewards(
    state: StateDep,
    reward_state: Annotated[RewardState | None, Query(alias="state")] = None,
    policy_id: PolicyId | None = None,
    after: RewardId | None = None,
    limit: LimitQuery = 20,
) -> Page[OperatorReward]:
    """Newest first."""
    return await rewards.list_rewards(
        state, reward_state=reward_state, policy_id=policy_id, after=after, limit=limit
    )


@operator_router.post(
    "/rewards/{reward_id}/release",
    responses=problems(*OPERATOR_ERRORS, RewardNotFound, RewardNotWithheld),
    summary="Let a withheld reward go on 放行奖励",
)
async def release_reward(state: StateDep, reward_id: RewardId) -> OperatorReward:
    """As far as the budget goes. It is not withheld again."""
    return await rewards.release(state, reward_id)


@operator_router.post(
    "/rewards/{reward_id}/decline",
    responses=problems(*OPERATOR_ERRORS, RewardNotFound, RewardNotWithheld),
    summary="Refuse a withheld reward 拒绝奖励",
)
async def decline_reward(state: StateDep, reward_id: RewardId) -> OperatorReward:
    """For good."""
    return await rewards.decline(state, reward_id)
