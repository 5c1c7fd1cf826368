from typing import Annotated

from fastapi import APIRouter, Body, Depends, status

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import (
    BadRequest,
    CommunityNotFound,
    InvalidTerms,
    MemberNotFound,
    SegmentInUse,
    SegmentNotFound,
)
from app.domain.operators import Scope
from app.routers.examples import PREVIEW, SEGMENT
from app.routers.problems import problems
from app.schemas.fields import MemberId, Page, SegmentId
from app.schemas.segments import (
    Preview,
    PreviewAsked,
    SegmentCreate,
    SegmentDetail,
    SegmentMemberPublic,
    SegmentPublic,
)
from app.services import previews, segments

operator_router = APIRouter(
    prefix="/v1/ops/segments",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
)

preview_router = APIRouter(
    prefix="/v1/ops/segment-previews",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
)


@operator_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*OPERATOR_ERRORS, BadRequest, CommunityNotFound, MemberNotFound, InvalidTerms),
    summary="Save a segment 新建人群",
)
async def create_segment(
    state: StateDep, body: Annotated[SegmentCreate, Body(openapi_examples=SEGMENT)]
) -> SegmentDetail:
    """A rule that is asked anew each time, or a list that stays: of the members you name, or of those whom the rule
    fits now. A segment does not change.
    """
    return await segments.create_segment(state, body)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="List segments 人群列表")
async def list_segments(
    state: StateDep, after: SegmentId | None = None, limit: LimitQuery = 20
) -> Page[SegmentPublic]:
    return await segments.list_segments(state, after, limit)


@preview_router.post(
    "",
    responses=problems(*OPERATOR_ERRORS, BadRequest, CommunityNotFound, InvalidTerms),
    summary="Try a rule 试算人群",
)
async def preview(state: StateDep, body: Annotated[PreviewAsked, Body(openapi_examples=PREVIEW)]) -> Preview:
    """How many members it fits, of all or of one community: exact for up to 10,000, of more by a sample, with the
    range the true number lies in nineteen times in twenty.
    """
    return await previews.preview(state, body)


@operator_router.get(
    "/{segment_id}", responses=problems(*OPERATOR_ERRORS, SegmentNotFound), summary="Get a segment 人群详情"
)
async def get_segment(state: StateDep, segment_id: SegmentId) -> SegmentDetail:
    return await segments.get_segment(state, segment_id)


@operator_router.delete(
    "/{segment_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*OPERATOR_ERRORS, SegmentNotFound, SegmentInUse),
    summary="Forget a segment 删除人群",
)
async def delete_segment(state: StateDep, segment_id: SegmentId) -> None:
    """One that no community and no sale asks for."""
    await segments.delete_segment(state, segment_id)


@operator_router.get(
    "/{segment_id}/members",
    responses=problems(*OPERATOR_ERRORS, SegmentNotFound),
    summary="Who is in a segment 人群成员",
)
async def list_segment_members(
    state: StateDep, segment_id: SegmentId, after: MemberId | None = None, limit: LimitQuery = 20
) -> Page[SegmentMemberPublic]:
    """The newest members first. A page may be shorter than `limit` and yet not the last: read on while there is a
    `next`.
    """
    return await segments.list_members(state, segment_id, after, limit)
