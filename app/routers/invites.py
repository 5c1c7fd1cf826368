from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Request, status
from fastapi.responses import JSONResponse, Response

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, StateDep, ViewerDep
from app.domain.errors import (
    BadRequest,
    CommunityNotFound,
    GroupClosed,
    GroupNotFound,
    InvalidTerms,
    InviteExpired,
    InviteLimit,
    InviteNotFound,
    InviteRevoked,
    InviteUsedUp,
    RateLimited,
    SaleEnded,
    SaleNotFound,
    SelfReferral,
    TokenExpired,
    TokenInvalid,
    VisitorInvalid,
)
from app.domain.readers import Reader, reader_of
from app.routers.examples import INVITE
from app.routers.limits import limit_guesses
from app.routers.pages import VARY, PageRoute, show_landing
from app.routers.problems import problems
from app.schemas.fields import InviteCode, Page, VisitorToken
from app.schemas.invites import InviteCreate, InviteLanding, InviteMine, InvitePublic
from app.services import invites

router = APIRouter(tags=["invites"])
INVITE_ERRORS = InviteNotFound, InviteExpired, InviteRevoked, InviteUsedUp, RateLimited
"""What whoever comes by a code may be refused with."""
link_router = APIRouter(tags=["invites"], route_class=PageRoute)
VisitorHeader = Annotated[VisitorToken | None, Header(description="The `visitor_token` of an earlier tap 访客令牌")]


@router.post(
    "/v1/invites",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        BadRequest,
        *MEMBER_ERRORS,
        GroupNotFound,
        SaleNotFound,
        CommunityNotFound,
        GroupClosed,
        SaleEnded,
        InvalidTerms,
        InviteLimit,
    ),
    summary="Invite friends 生成邀请",
)
async def create_invite(
    state: StateDep, member_id: MemberDep, body: Annotated[InviteCreate, Body(openapi_examples=INVITE)]
) -> InvitePublic:
    """A short link to a group, a sale or a community. Whoever claims with its `code` was brought by you."""
    return await invites.create_invite(state, member_id, body)


@router.get("/v1/invites", responses=problems(*MEMBER_ERRORS), summary="List my invites 我的邀请")
async def list_invites(
    state: StateDep, member_id: MemberDep, after: InviteCode | None = None, limit: LimitQuery = 20
) -> Page[InviteMine]:
    """Newest first, with how often each was tapped, and whom it brought."""
    return await invites.list_invites(state, member_id, after, limit)


@router.delete(
    "/v1/invites/{code}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*MEMBER_ERRORS, InviteNotFound),
    summary="Withdraw an invite 撤回邀请",
)
async def revoke_invite(state: StateDep, member_id: MemberDep, code: InviteCode) -> None:
    """From now on your invite brings nobody; whom it has brought stays brought. Again changes nothing."""
    await invites.revoke_invite(state, member_id, code)


@router.post(
    "/v1/invites/{code}/touches",
    responses=problems(*MEMBER_ERRORS, *INVITE_ERRORS, SelfReferral),
    dependencies=[Depends(limit_guesses)],
    summary="Say which code brought you 填写邀请码",
)
async def type_code(state: StateDep, member_id: MemberDep, code: InviteCode) -> InvitePublic:
    """For a code that was read or heard: it counts as a tap on its link does."""
    return await invites.type_code(state, member_id, code)


@link_router.get(
    "/i/{code}",
    response_model=InviteLanding,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problems(TokenInvalid, TokenExpired, VisitorInvalid, *INVITE_ERRORS),
    },
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may tap, too
    summary="Tap an invite 打开邀请",
)
async def open_invite(
    state: StateDep, request: Request, viewer_id: ViewerDep, code: InviteCode, visitor_token: VisitorHeader = None
) -> Response:
    """JSON for programs, a page for people, and its title and picture for chats that show links. Only the latter do
    not count as a tap.
    """
    reader = reader_of(request.headers.get("accept"), request.headers.get("user-agent"))
    if reader != Reader.PROGRAM:
        return await show_landing(state, request, code)
    landing = await invites.open_invite(state, code, visitor_token, viewer_id)
    return JSONResponse(landing.model_dump(mode="json"), headers={"cache-control": "no-store", "vary": VARY})
