from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, LimitQuery, MemberDep, StateDep, require_scope
from app.domain.errors import MemberNotFound, SaleNotFound
from app.domain.operators import Scope
from app.routers.problems import problems
from app.schemas.branches import Branch, Inviters, OperatorBranch
from app.schemas.fields import MemberId, SaleId
from app.services import branches
from app.services.branches import MOST_SEEN, Direction

MAX_DEPTH, MAX_OPERATOR_DEPTH = 5, 20
router = APIRouter(prefix="/v1/members/me", tags=["invites"])
operator_router = APIRouter(
    prefix="/v1/ops/referrals", tags=["operators: growth"], dependencies=[Depends(require_scope(Scope.GROWTH))]
)
SaleQuery = Annotated[
    SaleId | None, Query(description="Referrals of this sale; without it, those that last in all sales")
]
DepthQuery = Annotated[int, Query(ge=1, le=MAX_DEPTH, description="How many levels 层数")]
OperatorDepthQuery = Annotated[int, Query(ge=1, le=MAX_OPERATOR_DEPTH, description="How many levels 层数")]
AfterQuery = Annotated[int, Query(ge=0, le=MOST_SEEN, description="The `next` of the page before")]


@router.get("/referrals", responses=problems(*MEMBER_ERRORS, SaleNotFound), summary="Whom I brought 我的推荐")
async def get_branch(
    state: StateDep,
    member_id: MemberDep,
    sale_id: SaleQuery = None,
    depth: DepthQuery = 1,
    after: AfterQuery = 0,
    limit: LimitQuery = 20,
) -> Branch:
    """Your own branch and no other. Whoever bought after your invite is in it."""
    return await branches.get_branch(state, member_id, sale_id, depth=depth, after=after, limit=limit)


@router.get("/inviters", responses=problems(*MEMBER_ERRORS, SaleNotFound), summary="Who brought me 我的推荐人")
async def get_inviters(
    state: StateDep, member_id: MemberDep, sale_id: SaleQuery = None, depth: DepthQuery = MAX_DEPTH
) -> Inviters:
    return await branches.get_inviters(state, member_id, sale_id, depth)


@operator_router.get(
    "/{member_id}",
    responses=problems(*OPERATOR_ERRORS, MemberNotFound, SaleNotFound),
    summary="The referrals below or above a member 推荐树",
)
async def inspect_branch(
    state: StateDep,
    member_id: MemberId,
    direction: Direction = Direction.DOWN,
    sale_id: SaleQuery = None,
    depth: OperatorDepthQuery = MAX_DEPTH,
    after: AfterQuery = 0,
    limit: LimitQuery = 20,
) -> OperatorBranch:
    return await branches.inspect(state, member_id, direction, sale_id, depth=depth, after=after, limit=limit)
