from typing import Annotated

from fastapi import APIRouter, Body, Header, Request, status
from fastapi.responses import JSONResponse, Response

from app.deps import MEMBER_ERRORS, MemberDep, StateDep, ViewerDep
from app.domain.errors import (
    BadRequest,
    CommunityNotFound,
    GroupClosed,
    GroupNotFound,
    InviteExpired,
    InviteNotFound,
    SaleEnded,
    SaleNotFound,
    TokenExpired,
    TokenInvalid,
    VisitorInvalid,
)
from app.domain.readers import Reader, reader_of
from app.routers.examples import INVITE
from app.routers.pages import VARY, PageRoute, show_landing
from app.routers.problems import problems
from app.schemas.fields import InviteCode, VisitorToken
from app.schemas.invites import InviteCreate, InviteLanding, InvitePublic
from app.services import invites

router = APIRouter(tags=["invites"])
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
    ),
    summary="Invite friends 生成邀请",
)
async def create_invite(
    state: StateDep, member_id: MemberDep, body: Annotated[InviteCreate, Body(openapi_examples=INVITE)]
) -> InvitePublic:
    """A short link to a group, a sale or a community. Whoever claims with its `code` was brought by you."""
    return await invites.create_invite(state, member_id, body)


@link_router.get(
    "/i/{code}",
    response_model=InviteLanding,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problems(TokenInvalid, TokenExpired, VisitorInvalid, InviteNotFound, InviteExpired),
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
