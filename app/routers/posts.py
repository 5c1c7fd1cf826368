from typing import Annotated

from fastapi import APIRouter, Body, Depends, status

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, LimitQuery, MemberDep, RequestKeyDep, StateDep, require_scope
from app.domain.errors import (
    AlreadyCheckedIn,
    BadRequest,
    CommunityNotFound,
    CommunityNotOpen,
    GroupNotFound,
    HistoryNotKept,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidTerms,
    MemberBlocked,
    MemberNotFound,
    NotAllowed,
    Outranked,
    PostKindRefused,
    PostLimit,
    PostNotFound,
    SaleNotFound,
    TrustTooLow,
    WordsBlocked,
)
from app.domain.operators import Scope
from app.domain.posts import PostKind, ReactionKind
from app.routers.examples import POST
from app.routers.problems import problems
from app.schemas.fields import CommunityId, MemberId, Page, PostId, SubjectId
from app.schemas.posts import FeedPage, HistoryPage, PostCreate, PostPublic, Reacted, StreaksPublic
from app.services import check_ins, histories, posts, reactions, reports
from app.services.posts import Wanted

HERE = (*MEMBER_ERRORS, CommunityNotFound, MemberBlocked, NotAllowed)
"""What reading in a community refuses with."""
AT_POST = (*MEMBER_ERRORS, PostNotFound, MemberBlocked, NotAllowed)
WRITING = (BadRequest, IdempotencyKeyMissing, IdempotencyKeyReused, WordsBlocked, TrustTooLow, PostLimit)
router = APIRouter(prefix="/v1/communities/{community_id}", tags=["posts"])
post_router = APIRouter(prefix="/v1/posts/{post_id}", tags=["posts"])
operator_router = APIRouter(
    prefix="/v1/ops/communities/{community_id}/posts",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
    responses=problems(*OPERATOR_ERRORS, CommunityNotFound),
)


@router.post(
    "/posts",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *HERE,
        *WRITING,
        *(CommunityNotOpen, PostKindRefused, AlreadyCheckedIn, MemberNotFound, GroupNotFound, SaleNotFound),
        InvalidTerms,
    ),
    summary="Post something 发帖",
)
async def create_post(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    community_id: CommunityId,
    body: Annotated[PostCreate, Body(openapi_examples=POST)],
) -> PostPublic:
    """Newcomers post three times a day, without pictures, cards and mentions, until they have given and
    received.
    """
    return await posts.create_post(state, member_id, community_id, body, request_key)


@router.get("/posts", responses=problems(*HERE), summary="The feed of a community 动态")
async def list_posts(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    kind: PostKind | None = None,
    *,
    unanswered: bool = False,
    hidden: bool = False,
    after: PostId | None = None,
    limit: LimitQuery = 20,
) -> FeedPage:
    """Newest first. `unanswered` are questions that wait, the longest waiting first; `hidden` is for moderators."""
    wanted = Wanted(kind, unanswered, hidden)
    return await posts.list_posts(state, member_id, community_id, wanted, after, limit)


@router.get("/check-ins", responses=problems(*HERE), summary="Who has checked in today 今日打卡榜")
async def list_streaks(state: StateDep, member_id: MemberDep, community_id: CommunityId) -> StreaksPublic:
    return await check_ins.list_streaks(state, member_id, community_id)


@router.get(
    "/members/{member_id}/posts",
    responses=problems(*HERE, HistoryNotKept, MemberNotFound),
    summary="What a member has written in a forum 成员发言历史",
)
async def list_written(
    state: StateDep,
    viewer_id: MemberDep,
    community_id: CommunityId,
    member_id: MemberId,
    after: SubjectId | None = None,
    limit: LimitQuery = 20,
) -> HistoryPage:
    """Posts and comments together, newest first."""
    return await histories.list_written(state, viewer_id, community_id, member_id, after, limit)


@post_router.get("", responses=problems(*AT_POST), summary="Get a post 帖子详情")
async def get_post(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    return await posts.get_post(state, member_id, post_id)


@post_router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*AT_POST, CommunityNotOpen),
    summary="Take back a post of your own 删除帖子",
)
async def remove_post(state: StateDep, member_id: MemberDep, post_id: PostId) -> None:
    await posts.remove_post(state, member_id, post_id)


@post_router.post("/pin", responses=problems(*AT_POST, CommunityNotOpen), summary="Pin a post 置顶帖子")
async def pin_post(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    """The five that were pinned last are shown before the others."""
    return await posts.pin_post(state, member_id, post_id, pinned=True)


@post_router.post("/unpin", responses=problems(*AT_POST, CommunityNotOpen), summary="Pin a post no more 取消置顶")
async def unpin_post(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    return await posts.pin_post(state, member_id, post_id, pinned=False)


@post_router.post(
    "/hide", responses=problems(*AT_POST, Outranked, CommunityNotOpen), summary="Hide a post 隐藏帖子"
)
async def hide_post(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    """What was reported of it is upheld."""
    await reports.moderate(state, member_id, post_id, hidden=True)
    return await posts.get_post(state, member_id, post_id)


@post_router.post(
    "/unhide",
    responses=problems(*AT_POST, Outranked, CommunityNotOpen),
    summary="Show a hidden post again 恢复帖子",
)
async def unhide_post(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    """What was reported of it is dismissed."""
    await reports.moderate(state, member_id, post_id, hidden=False)
    return await posts.get_post(state, member_id, post_id)


@post_router.put(
    "/reactions/{kind}", responses=problems(*AT_POST, CommunityNotOpen), summary="React to a post 回应帖子"
)
async def react_to_post(state: StateDep, member_id: MemberDep, post_id: PostId, kind: ReactionKind) -> Reacted:
    return await reactions.react(state, member_id, post_id, kind)


@post_router.delete(
    "/reactions/{kind}", responses=problems(*AT_POST, CommunityNotOpen), summary="React no more 取消回应"
)
async def take_reaction_back(state: StateDep, member_id: MemberDep, post_id: PostId, kind: ReactionKind) -> Reacted:
    return await reactions.take_back(state, member_id, post_id, kind)


@operator_router.get("", summary="Posts of a community 社群帖子")
async def list_community_posts(
    state: StateDep,
    community_id: CommunityId,
    *,
    hidden: bool = False,
    after: PostId | None = None,
    limit: LimitQuery = 20,
) -> Page[PostPublic]:
    """Those that members see, or those that are hidden; newest first."""
    return await posts.list_all(state, community_id, Wanted(hidden=hidden), after, limit)


@operator_router.post(
    "/{post_id}/hide", responses=problems(CommunityNotFound, PostNotFound), summary="Hide a post 隐藏帖子"
)
async def hide_community_post(state: StateDep, community_id: CommunityId, post_id: PostId) -> PostPublic:
    return await reports.moderate_as_operator(state, community_id, post_id, hidden=True)


@operator_router.post(
    "/{post_id}/unhide",
    responses=problems(CommunityNotFound, PostNotFound),
    summary="Show a hidden post again 恢复帖子",
)
async def unhide_community_post(state: StateDep, community_id: CommunityId, post_id: PostId) -> PostPublic:
    return await reports.moderate_as_operator(state, community_id, post_id, hidden=False)
