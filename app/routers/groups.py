from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi.responses import Response

from app.deps import LimitQuery, MemberDep, RequestKeyDep, StateDep, ViewerDep
from app.domain.errors import GroupNotFound, SaleNotFound, TokenExpired, TokenInvalid
from app.domain.groups import GroupState
from app.routers.claims import CLAIM_ANSWER, CLAIM_ERRORS, ClaimBody, claimed
from app.routers.limits import ClaimHeadersDep
from app.routers.problems import problems
from app.routers.shown import NOT_MODIFIED, IfNoneMatch, shown
from app.schemas.fields import GroupId, SaleId
from app.schemas.groups import ClaimAnswer, GroupList, GroupPublic
from app.services import claims, groups, views

router = APIRouter(tags=["groups"])


@router.post(
    "/v1/sales/{sale_id}/groups",
    status_code=status.HTTP_201_CREATED,
    response_model=ClaimAnswer,
    responses=CLAIM_ANSWER | problems(SaleNotFound, *CLAIM_ERRORS),
    summary="Open a group 开团",
)
async def open_group(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    limits: ClaimHeadersDep,
    sale_id: SaleId,
    body: ClaimBody,
) -> Response:
    """Open a group and take its first seat; you lead it. Pay before `order.hold_expires_at`."""
    return claimed(await claims.open_group(state, member_id, sale_id, body, request_key), limits)


@router.get(
    "/v1/sales/{sale_id}/groups",
    responses=problems(TokenInvalid, TokenExpired, SaleNotFound),
    summary="Groups about to fill 凑团",
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may look, too
)
async def list_groups(
    state: StateDep,
    viewer_id: ViewerDep,
    sale_id: SaleId,
    group_state: Annotated[GroupState, Query(alias="state")] = GroupState.OPEN,
    limit: LimitQuery = 20,
) -> GroupList:
    """Groups of a sale that strangers may join: those with friends of yours first, then nearest to full,
    then nearest to their deadline.
    """
    return await groups.list_groups(state, sale_id, group_state, limit, state.clock(), viewer_id)


@router.get(
    "/v1/groups/{group_id}",
    response_model=GroupPublic,
    responses=NOT_MODIFIED | problems(TokenInvalid, TokenExpired, GroupNotFound),
    summary="Get a group 团详情",
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may look, too
)
async def get_group(
    state: StateDep, viewer_id: ViewerDep, group_id: GroupId, if_none_match: IfNoneMatch = None
) -> Response:
    """How full a group is and who is in it. Names are masked for strangers."""
    return shown(await views.show_group(state, group_id, viewer_id), if_none_match)


@router.post(
    "/v1/groups/{group_id}/seats",
    status_code=status.HTTP_201_CREATED,
    response_model=ClaimAnswer,
    responses=CLAIM_ANSWER | problems(GroupNotFound, *CLAIM_ERRORS),
    summary="Join a group 参团",
)
async def join_group(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    limits: ClaimHeadersDep,
    group_id: GroupId,
    body: ClaimBody,
) -> Response:
    """Take a seat, with any offer of the group's product. Pay before `order.hold_expires_at`."""
    return claimed(await claims.join(state, member_id, group_id, body, request_key), limits)
