from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, status
from fastapi.responses import Response

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, ViewerDep, require_scope
from app.domain.errors import (
    BadRequest,
    CommunityNotFound,
    CommunityNotOpen,
    InvalidTerms,
    SaleEnded,
    SaleNotEditable,
    SaleNotFound,
    SaleTransitionRefused,
    SaleWithoutOffers,
    SegmentNotFound,
    SkuAlreadyOffered,
    SkuNotFound,
    TokenExpired,
    TokenInvalid,
)
from app.domain.operators import Scope
from app.domain.sales import SaleState
from app.routers.examples import SALE_CHANGE, SALE_DRAFT
from app.routers.problems import problems
from app.routers.shown import NOT_MODIFIED, IfNoneMatch, shown
from app.schemas.fields import CommunityId, Page, SaleId
from app.schemas.sales import SaleCreate, SalePublic, SaleUpdate
from app.services import sales, views

router = APIRouter(prefix="/v1/sales", tags=["sales"])
operator_router = APIRouter(
    prefix="/v1/ops/sales",
    tags=["operators: sales"],
    dependencies=[Depends(require_scope(Scope.SALES))],
)


@router.get(
    "",
    responses=problems(TokenInvalid, TokenExpired),
    summary="List sales 活动列表",
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may look, too
)
async def list_sales(
    state: StateDep,
    viewer_id: ViewerDep,
    sale_state: Annotated[SaleState | None, Query(alias="state")] = None,
    community_id: CommunityId | None = None,
    series_id: SaleId | None = None,
    after: SaleId | None = None,
    limit: LimitQuery = 20,
) -> Page[SalePublic]:
    """Published sales, newest first, with the live counts of their offers. The slots of a series come in the order
    they open. Sales for members only are left out where you may not see the community.
    """
    return await sales.list_sales(
        state,
        sale_state=sale_state,
        community_id=community_id,
        series_id=series_id,
        after=after,
        limit=limit,
        viewer_id=viewer_id,
    )


@router.get(
    "/{sale_id}",
    response_model=SalePublic,
    responses=NOT_MODIFIED | problems(TokenInvalid, TokenExpired, SaleNotFound),
    summary="Get a sale 活动详情",
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may look, too
)
async def get_sale(
    state: StateDep, viewer_id: ViewerDep, sale_id: SaleId, if_none_match: IfNoneMatch = None
) -> Response:
    """A sale with the live `taken` and `left` of each offer, and who that you know has bought."""
    return shown(await views.show_sale(state, sale_id, viewer_id), if_none_match)


@operator_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *(*OPERATOR_ERRORS, BadRequest, CommunityNotFound, SegmentNotFound),
        *(SkuNotFound, SkuAlreadyOffered, InvalidTerms),
    ),
    summary="Draw up a sale 新建活动",
)
async def create_sale(
    state: StateDep, body: Annotated[SaleCreate, Body(openapi_examples=SALE_DRAFT)]
) -> SalePublic:
    return await sales.create_sale(state, body)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="List sales and drafts 活动列表（含草稿）")
async def list_all_sales(
    state: StateDep,
    sale_state: Annotated[SaleState | None, Query(alias="state")] = None,
    community_id: CommunityId | None = None,
    series_id: SaleId | None = None,
    after: SaleId | None = None,
    limit: LimitQuery = 20,
) -> Page[SalePublic]:
    return await sales.list_sales(
        state,
        sale_state=sale_state,
        community_id=community_id,
        series_id=series_id,
        after=after,
        limit=limit,
        drafts=True,
    )


@operator_router.get(
    "/{sale_id}", responses=problems(*OPERATOR_ERRORS, SaleNotFound), summary="Get a sale or draft 活动详情"
)
async def get_any_sale(state: StateDep, sale_id: SaleId) -> SalePublic:
    return await sales.get_sale(state, sale_id, drafts=True)


@operator_router.patch(
    "/{sale_id}",
    responses=problems(
        *OPERATOR_ERRORS,
        BadRequest,
        SaleNotFound,
        CommunityNotFound,
        SegmentNotFound,
        SkuNotFound,
        SkuAlreadyOffered,
        SaleEnded,
        SaleNotEditable,
        InvalidTerms,
    ),
    summary="Change a sale 修改活动",
)
async def update_sale(
    state: StateDep, sale_id: SaleId, body: Annotated[SaleUpdate, Body(openapi_examples=SALE_CHANGE)]
) -> SalePublic:
    """A draft may change in everything; a published sale only in its texts, a later end and more stock."""
    return await sales.update_sale(state, sale_id, body)


@operator_router.post(
    "/{sale_id}/publish",
    responses=problems(
        *OPERATOR_ERRORS, SaleNotFound, SaleEnded, SaleWithoutOffers, SaleTransitionRefused, CommunityNotOpen
    ),
    summary="Publish 发布",
)
async def publish_sale(state: StateDep, sale_id: SaleId) -> SalePublic:
    """Members see it, and may buy from `opens_at` on."""
    return await sales.publish_sale(state, sale_id)


@operator_router.post(
    "/{sale_id}/pause",
    responses=problems(*OPERATOR_ERRORS, SaleNotFound, SaleTransitionRefused),
    summary="Pause 暂停",
)
async def pause_sale(state: StateDep, sale_id: SaleId) -> SalePublic:
    """No new claims; payments, deadlines and refunds go on."""
    return await sales.pause_sale(state, sale_id)


@operator_router.post(
    "/{sale_id}/resume",
    responses=problems(*OPERATOR_ERRORS, SaleNotFound, SaleTransitionRefused),
    summary="Resume 恢复",
)
async def resume_sale(state: StateDep, sale_id: SaleId) -> SalePublic:
    return await sales.resume_sale(state, sale_id)


@operator_router.post(
    "/{sale_id}/end",
    responses=problems(*OPERATOR_ERRORS, SaleNotFound, SaleTransitionRefused),
    summary="End now 提前结束",
)
async def end_sale(state: StateDep, sale_id: SaleId) -> SalePublic:
    """Groups that are not full and paid fail now; everybody who paid is refunded."""
    return await sales.end_sale(state, sale_id)
