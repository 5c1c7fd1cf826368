from typing import Annotated

from fastapi import APIRouter, Body, status

from app.deps import StateDep
from app.domain.errors import (
    BadRequest,
    ProviderDisabled,
    ProviderNotFound,
    TokenExpired,
    TokenInvalid,
    VisitorInvalid,
)
from app.routers.examples import LOGIN
from app.routers.problems import problems
from app.schemas.sessions import SessionCreate, SessionPublic, SessionRefresh
from app.services import sessions

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(BadRequest, VisitorInvalid, ProviderNotFound, ProviderDisabled),
    summary="Log in 登录",
)
async def create_session(
    state: StateDep, body: Annotated[SessionCreate, Body(openapi_examples=LOGIN)]
) -> SessionPublic:
    """Exchange a provider's code for tokens; the first time makes the member."""
    return await sessions.create_session(state, body)


@router.post(
    "/refresh", responses=problems(BadRequest, TokenInvalid, TokenExpired), summary="Stay logged in 刷新令牌"
)
async def refresh_session(state: StateDep, body: SessionRefresh) -> SessionPublic:
    """Each refresh token works once. Using one again ends the session, because somebody has copied it."""
    return await sessions.refresh_session(state, body.refresh_token)
