from typing import Annotated

from fastapi import APIRouter, Body, Request, status

from app.deps import MEMBER_ERRORS, MemberDep, SessionDep, StateDep
from app.domain.errors import (
    BadRequest,
    LoginRefused,
    LoginUnavailable,
    ProviderDisabled,
    ProviderNotFound,
    SessionNotFound,
    TokenExpired,
    TokenInvalid,
    VisitorInvalid,
)
from app.routers.examples import LOGIN
from app.routers.problems import problems
from app.schemas.fields import Page, SessionId
from app.schemas.sessions import SessionCreate, SessionPublic, SessionRefresh, SessionShown
from app.services import sessions

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])
member_router = APIRouter(prefix="/v1/members/me/sessions", tags=["sessions"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        BadRequest, LoginRefused, VisitorInvalid, ProviderNotFound, ProviderDisabled, LoginUnavailable
    ),
    summary="Log in 登录",
)
async def create_session(
    request: Request, state: StateDep, body: Annotated[SessionCreate, Body(openapi_examples=LOGIN)]
) -> SessionPublic:
    """Exchange a provider's code for tokens; the first time makes the member."""
    return await sessions.create_session(state, body, request.headers.get("user-agent", ""))


@router.post(
    "/refresh", responses=problems(BadRequest, TokenInvalid, TokenExpired), summary="Stay logged in 刷新令牌"
)
async def refresh_session(state: StateDep, body: SessionRefresh) -> SessionPublic:
    """Each refresh token works once. Using one again half a minute later ends the session, because somebody has
    copied it; until then the answer is the same, in case it was lost.
    """
    return await sessions.refresh_session(state, body.refresh_token)


@member_router.get("", responses=problems(*MEMBER_ERRORS), summary="Where I am logged in 我的会话")
async def list_sessions(state: StateDep, member_id: MemberDep, session_id: SessionDep) -> Page[SessionShown]:
    """The newest hundred that have not ended."""
    return await sessions.list_sessions(state, member_id, session_id)


@member_router.delete(
    "/{session_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*MEMBER_ERRORS, SessionNotFound),
    summary="Log out 退出登录",
)
async def end_session(state: StateDep, member_id: MemberDep, current_id: SessionDep, session_id: SessionId) -> None:
    """`current`, or another session of yours. Its refresh token is worth nothing from now on, and its access tokens
    within a second.
    """
    await sessions.end_session(state, member_id, session_id, current_id)


@member_router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*MEMBER_ERRORS),
    summary="Log out everywhere 退出全部会话",
)
async def end_all_sessions(state: StateDep, member_id: MemberDep) -> None:
    """Where you ask from, too."""
    await sessions.end_all_sessions(state, member_id)
