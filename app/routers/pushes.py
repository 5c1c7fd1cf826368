from typing import Annotated

from fastapi import APIRouter, Body, Depends, status

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
    CommunityNotOpen,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidTerms,
    MemberBlocked,
    NotAllowed,
    PostNotFound,
    PushBudgetTooLow,
    PushNotFound,
    PushReachesNobody,
    SaleNotFound,
    SegmentNotFound,
)
from app.domain.operators import Scope
from app.routers.examples import PUSH
from app.routers.problems import problems
from app.schemas.fields import CommunityId, Page, PushId
from app.schemas.pushes import PushCreate, PushDetail, PushPreview, PushPublic
from app.services import pushes

LEADER_ERRORS = (*MEMBER_ERRORS, CommunityNotFound, MemberBlocked, NotAllowed)
WRITTEN_ERRORS = (BadRequest, CommunityNotOpen, PostNotFound, SaleNotFound, SegmentNotFound, InvalidTerms)
PushBody = Annotated[PushCreate, Body(openapi_examples=PUSH)]
router = APIRouter(prefix="/v1/communities/{community_id}", tags=["communities"])
operator_router = APIRouter(
    prefix="/v1/ops/communities/{community_id}/pushes",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
    responses=problems(*OPERATOR_ERRORS),
)


@router.post(
    "/push-preview",
    responses=problems(*LEADER_ERRORS, *WRITTEN_ERRORS),
    summary="What a broadcast would do and cost 群发预览",
)
async def preview_push(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, body: PushBody
) -> PushPreview:
    """Nothing is sent and nothing is spent. For leaders and the owner, as everything here."""
    return await pushes.preview_push(state, member_id, community_id, body)


@router.post(
    "/pushes",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *LEADER_ERRORS,
        *WRITTEN_ERRORS,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
        PushReachesNobody,
        PushBudgetTooLow,
    ),
    summary="Tell the members of a community 群发",
)
async def send_push(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    community_id: CommunityId,
    body: PushBody,
) -> PushPublic:
    """Paid out of the value the community has given. A refusal costs nothing. Quiet hours put it off; who was told
    three things today, by whichever community, finds it in their digest.
    """
    return await pushes.send_push(state, member_id, community_id, body, request_key)


@router.get("/pushes", responses=problems(*LEADER_ERRORS), summary="Broadcasts of a community 群发记录")
async def list_pushes(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    after: PushId | None = None,
    limit: LimitQuery = 20,
) -> Page[PushPublic]:
    return await pushes.list_pushes(state, member_id, community_id, after, limit)


@router.get(
    "/pushes/{push_id}",
    responses=problems(*LEADER_ERRORS, PushNotFound),
    summary="What became of a broadcast 群发效果",
)
async def get_push(state: StateDep, member_id: MemberDep, community_id: CommunityId, push_id: PushId) -> PushDetail:
    return await pushes.get_push(state, member_id, community_id, push_id)


@router.delete(
    "/pushes/{push_id}", responses=problems(*LEADER_ERRORS, PushNotFound), summary="Send it no further 取消群发"
)
async def cancel_push(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, push_id: PushId
) -> PushPublic:
    """Before it begins, its cost is given back; once it has begun it stops, and stays paid."""
    return await pushes.cancel_push(state, member_id, community_id, push_id)


@operator_router.get("", responses=problems(CommunityNotFound), summary="Broadcasts of a community 群发记录")
async def list_pushes_of(
    state: StateDep, community_id: CommunityId, after: PushId | None = None, limit: LimitQuery = 20
) -> Page[PushPublic]:
    return await pushes.list_pushes(state, None, community_id, after, limit)


@operator_router.post(
    "/{push_id}/cancel",
    responses=problems(CommunityNotFound, PushNotFound),
    summary="Stop a broadcast 叫停群发",
)
async def stop_push(state: StateDep, community_id: CommunityId, push_id: PushId) -> PushPublic:
    return await pushes.cancel_push(state, None, community_id, push_id)
