from fastapi import APIRouter, Depends, status

from app.deps import OPERATOR_ERRORS, LimitQuery, MemberDep, StateDep, require_scope
from app.domain.errors import (
    BadRequest,
    CommentNotFound,
    CommunityNotFound,
    CommunityNotOpen,
    Outranked,
    PostNotFound,
    ReportDecided,
    ReportNotFound,
)
from app.domain.operators import Scope
from app.domain.posts import ReportState
from app.routers.comments import AT_COMMENT
from app.routers.posts import AT_POST, HERE
from app.routers.problems import problems
from app.schemas.fields import CommentId, CommunityId, Page, PostId, ReportId
from app.schemas.reports import ReportCreate, ReportMade, ReportPublic
from app.services import reports

DECIDING = (*HERE, CommunityNotOpen, ReportNotFound, ReportDecided, Outranked, PostNotFound, CommentNotFound)
subject_router = APIRouter(prefix="/v1", tags=["posts"])
router = APIRouter(prefix="/v1/communities/{community_id}/reports", tags=["posts"])
operator_router = APIRouter(
    prefix="/v1/ops/communities/{community_id}/reports",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
    responses=problems(*OPERATOR_ERRORS, CommunityNotFound),
)


@subject_router.post(
    "/posts/{post_id}/reports",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*AT_POST, BadRequest, CommunityNotOpen),
    summary="Report a post 举报帖子",
)
async def report_post(state: StateDep, member_id: MemberDep, post_id: PostId, body: ReportCreate) -> ReportMade:
    """Once: the first counts."""
    return await reports.report(state, member_id, post_id, body)


@subject_router.post(
    "/comments/{comment_id}/reports",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*AT_COMMENT, BadRequest),
    summary="Report a comment 举报评论",
)
async def report_comment(
    state: StateDep, member_id: MemberDep, comment_id: CommentId, body: ReportCreate
) -> ReportMade:
    """Once: the first counts."""
    return await reports.report(state, member_id, comment_id, body)


@router.get("", responses=problems(*HERE), summary="Reports that wait for a moderator 待处理举报")
async def list_reports(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    after: ReportId | None = None,
    limit: LimitQuery = 20,
) -> Page[ReportPublic]:
    return await reports.list_reports(state, member_id, community_id, after, limit)


@router.post("/{report_id}/uphold", responses=problems(*DECIDING), summary="Uphold a report 举报成立")
async def uphold_report(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, report_id: ReportId
) -> ReportPublic:
    """What it is about is hidden, and all reports of that are upheld."""
    return await reports.decide(state, member_id, community_id, report_id, ReportState.UPHELD)


@router.post("/{report_id}/dismiss", responses=problems(*DECIDING), summary="Dismiss a report 举报不成立")
async def dismiss_report(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, report_id: ReportId
) -> ReportPublic:
    """What it is about is shown again if it was hidden, and all reports of that are dismissed."""
    return await reports.decide(state, member_id, community_id, report_id, ReportState.DISMISSED)


@operator_router.get("", summary="Reports that wait for a moderator 待处理举报")
async def list_community_reports(
    state: StateDep, community_id: CommunityId, after: ReportId | None = None, limit: LimitQuery = 20
) -> Page[ReportPublic]:
    return await reports.list_for_operators(state, community_id, after, limit)
