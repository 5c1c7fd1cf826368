from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, status

from app.deps import (
    MEMBER_ERRORS,
    OPERATOR_ERRORS,
    LimitQuery,
    MemberDep,
    StateDep,
    ViewerDep,
    require_scope,
)
from app.domain.errors import (
    BadRequest,
    CommunityNotFound,
    CommunityNotOpen,
    InvalidTerms,
    MemberBlocked,
    MemberNotFound,
    MembershipRefused,
    NotAllowed,
    SegmentNotFound,
    TokenExpired,
    TokenInvalid,
    ValueUnstated,
)
from app.domain.operators import Scope
from app.routers.examples import COMMUNITY_CHANGE, COMMUNITY_DRAFT
from app.routers.problems import problems
from app.schemas.communities import (
    CommunityCreate,
    CommunityDetail,
    CommunityMine,
    CommunityPublic,
    CommunityUpdate,
    OwnerSet,
)
from app.schemas.fields import CommunityId, Page
from app.schemas.memberships import MembershipPublic
from app.services import communities, dissolving, memberships

VIEWER_ERRORS = (TokenInvalid, TokenExpired)
FOR_STRANGERS: dict[str, Any] = {"security": [{}]}  # besides the member's: a stranger may look, too
router = APIRouter(prefix="/v1/communities", tags=["communities"])
member_router = APIRouter(prefix="/v1/members/me/communities", tags=["communities"])
operator_router = APIRouter(
    prefix="/v1/ops/communities",
    tags=["operators: catalog"],
    dependencies=[Depends(require_scope(Scope.CATALOG))],
    responses=problems(*OPERATOR_ERRORS),
)


@router.get(
    "", responses=problems(*VIEWER_ERRORS), summary="Communities there are 社群列表", openapi_extra=FOR_STRANGERS
)
async def list_open_communities(
    state: StateDep, viewer_id: ViewerDep, after: CommunityId | None = None, limit: LimitQuery = 20
) -> Page[CommunityPublic]:
    """Those that are open, newest first. What you may not see is left out of its page, which is shorter then: read
    on while there is a `next`.
    """
    return await communities.list_open(state, viewer_id, after, limit)


@router.get(
    "/{community_id}",
    responses=problems(CommunityNotFound, *VIEWER_ERRORS),
    summary="What a community is for 社群详情",
    openapi_extra=FOR_STRANGERS,
)
async def get_community(state: StateDep, viewer_id: ViewerDep, community_id: CommunityId) -> CommunityPublic:
    return await communities.get_community(state, community_id, viewer_id)


@router.patch(
    "/{community_id}",
    responses=problems(
        *MEMBER_ERRORS,
        *(BadRequest, CommunityNotFound, CommunityNotOpen, InvalidTerms, MemberBlocked, NotAllowed, ValueUnstated),
    ),
    summary="Change a community that one leads 修改社群设置",
)
async def edit_community(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    body: Annotated[CommunityUpdate, Body(openapi_examples=COMMUNITY_CHANGE)],
) -> CommunityDetail:
    """For those who lead it."""
    return await communities.edit_community(state, member_id, community_id, body)


@member_router.get("", responses=problems(*MEMBER_ERRORS), summary="My communities 我的社群")
async def list_my_communities(
    state: StateDep, member_id: MemberDep, after: CommunityId | None = None, limit: LimitQuery = 20
) -> Page[CommunityMine]:
    """Those you belong to, have applied to, or belonged to until what you paid ran out."""
    return await communities.list_mine(state, member_id, after, limit)


@operator_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(BadRequest, InvalidTerms, SegmentNotFound),
    summary="Make a community 新建社群",
)
async def create_community(
    state: StateDep, body: Annotated[CommunityCreate, Body(openapi_examples=COMMUNITY_DRAFT)]
) -> CommunityDetail:
    """It is closed until it has stated its value and is opened."""
    return await communities.create_community(state, body)


@operator_router.get("", summary="List communities 社群列表")
async def list_communities(
    state: StateDep, after: CommunityId | None = None, limit: LimitQuery = 20
) -> Page[CommunityDetail]:
    return await communities.list_all(state, after, limit)


@operator_router.get(
    "/{community_id}", responses=problems(CommunityNotFound), summary="Get a community with its settings 社群设置"
)
async def get_community_settings(state: StateDep, community_id: CommunityId) -> CommunityDetail:
    return await communities.get_detail(state, community_id)


@operator_router.patch(
    "/{community_id}",
    responses=problems(BadRequest, CommunityNotFound, CommunityNotOpen, InvalidTerms, ValueUnstated),
    summary="Change a community 修改社群",
)
async def update_community(
    state: StateDep,
    community_id: CommunityId,
    body: Annotated[CommunityUpdate, Body(openapi_examples=COMMUNITY_CHANGE)],
) -> CommunityDetail:
    return await communities.update_community(state, community_id, body)


@operator_router.post(
    "/{community_id}/open",
    responses=problems(CommunityNotFound, ValueUnstated, CommunityNotOpen),
    summary="Open a community that has stated its value 开放社群",
)
async def open_community(state: StateDep, community_id: CommunityId) -> CommunityDetail:
    return await communities.open_community(state, community_id)


@operator_router.post(
    "/{community_id}/dissolve",
    responses=problems(CommunityNotFound),
    summary="Dissolve a community 解散社群",
)
async def dissolve_community(state: StateDep, community_id: CommunityId) -> CommunityDetail:
    """Nothing is written in it any more; its sales end, and its members are told what it came to."""
    return await dissolving.dissolve(state, community_id)


@operator_router.put(
    "/{community_id}/owner",
    responses=problems(BadRequest, CommunityNotFound, CommunityNotOpen, MemberNotFound, MembershipRefused),
    summary="Name the owner 指定群主",
)
async def set_owner(state: StateDep, community_id: CommunityId, body: OwnerSet) -> MembershipPublic:
    return await memberships.set_owner(state, community_id, body.member_id)
