from fastapi import APIRouter, Depends, status

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import BadRequest, CommunityNotFound
from app.domain.operators import Scope
from app.routers.problems import problems
from app.schemas.communities import CommunityCreate, CommunityPublic, CommunityUpdate
from app.schemas.fields import CommunityId, Page
from app.services import communities

operator_router = APIRouter(
    prefix="/v1/ops/communities",
    tags=["operators: catalog"],
    dependencies=[Depends(require_scope(Scope.CATALOG))],
    responses=problems(*OPERATOR_ERRORS),
)


@operator_router.post(
    "", status_code=status.HTTP_201_CREATED, responses=problems(BadRequest), summary="Make a community 新建社群"
)
async def create_community(state: StateDep, body: CommunityCreate) -> CommunityPublic:
    return await communities.create_community(state, body)


@operator_router.get("", summary="List communities 社群列表")
async def list_communities(
    state: StateDep, after: CommunityId | None = None, limit: LimitQuery = 20
) -> Page[CommunityPublic]:
    return await communities.list_communities(state, after, limit)


@operator_router.get("/{community_id}", responses=problems(CommunityNotFound), summary="Get a community 社群详情")
async def get_community(state: StateDep, community_id: CommunityId) -> CommunityPublic:
    return await communities.get_community(state, community_id)


@operator_router.patch(
    "/{community_id}", responses=problems(BadRequest, CommunityNotFound), summary="Change a community 修改社群"
)
async def update_community(state: StateDep, community_id: CommunityId, body: CommunityUpdate) -> CommunityPublic:
    return await communities.update_community(state, community_id, body)
