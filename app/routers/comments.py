from typing import Annotated

from fastapi import APIRouter, Body, status

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, RequestKeyDep, StateDep
from app.domain.errors import (
    CommentNotFound,
    CommunityNotOpen,
    MemberBlocked,
    MemberNotFound,
    NotAllowed,
    Outranked,
)
from app.domain.posts import ReactionKind
from app.routers.examples import COMMENT
from app.routers.posts import AT_POST, WRITING
from app.routers.problems import problems
from app.schemas.fields import CommentId, Page, PostId
from app.schemas.posts import CommentCreate, CommentPublic, Reacted
from app.services import comments, reactions, reports

AT_COMMENT = (*MEMBER_ERRORS, CommentNotFound, MemberBlocked, NotAllowed, CommunityNotOpen)
post_router = APIRouter(prefix="/v1/posts/{post_id}/comments", tags=["posts"])
router = APIRouter(prefix="/v1/comments/{comment_id}", tags=["posts"])


@post_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*AT_POST, *WRITING, CommunityNotOpen, MemberNotFound, CommentNotFound),
    summary="Comment on a post, or answer it 评论或回答",
)
async def create_comment(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    post_id: PostId,
    body: Annotated[CommentCreate, Body(openapi_examples=COMMENT)],
) -> CommentPublic:
    """To a question it is an answer; in a community that promises answers, if those say it who answer there."""
    return await comments.create_comment(state, member_id, post_id, body, request_key)


@post_router.get("", responses=problems(*AT_POST), summary="Comments on a post 评论列表")
async def list_comments(
    state: StateDep, member_id: MemberDep, post_id: PostId, after: CommentId | None = None, limit: LimitQuery = 20
) -> Page[CommentPublic]:
    return await comments.list_comments(state, member_id, post_id, after, limit)


@router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*AT_COMMENT),
    summary="Take back a comment of your own 删除评论",
)
async def remove_comment(state: StateDep, member_id: MemberDep, comment_id: CommentId) -> None:
    await comments.remove_comment(state, member_id, comment_id)


@router.post(
    "/hide",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*AT_COMMENT, Outranked),
    summary="Hide a comment 隐藏评论",
)
async def hide_comment(state: StateDep, member_id: MemberDep, comment_id: CommentId) -> None:
    await reports.moderate(state, member_id, comment_id, hidden=True)


@router.post(
    "/unhide",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*AT_COMMENT, Outranked),
    summary="Show a hidden comment again 恢复评论",
)
async def unhide_comment(state: StateDep, member_id: MemberDep, comment_id: CommentId) -> None:
    await reports.moderate(state, member_id, comment_id, hidden=False)


@router.put("/reactions/{kind}", responses=problems(*AT_COMMENT), summary="React to a comment 回应评论")
async def react_to_comment(
    state: StateDep, member_id: MemberDep, comment_id: CommentId, kind: ReactionKind
) -> Reacted:
    return await reactions.react(state, member_id, comment_id, kind)


@router.delete("/reactions/{kind}", responses=problems(*AT_COMMENT), summary="React no more 取消回应")
async def take_comment_reaction_back(
    state: StateDep, member_id: MemberDep, comment_id: CommentId, kind: ReactionKind
) -> Reacted:
    return await reactions.take_back(state, member_id, comment_id, kind)
