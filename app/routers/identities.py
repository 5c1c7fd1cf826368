from typing import Annotated

from fastapi import APIRouter, Body, status

from app.deps import MEMBER_ERRORS, MemberDep, StateDep
from app.domain.errors import (
    BadRequest,
    IdentityLast,
    IdentityLimit,
    IdentityNotFound,
    IdentityTaken,
    LinkNotFound,
    LoginRefused,
    LoginUnavailable,
    ProviderDisabled,
)
from app.routers.examples import IDENTITY
from app.routers.problems import problems
from app.schemas.fields import IdentityId, Page
from app.schemas.identities import IdentityCreate, IdentityPublic
from app.services import identities, links

router = APIRouter(prefix="/v1/members/me/identities", tags=["sessions"])


@router.get("", responses=problems(*MEMBER_ERRORS), summary="How I log in 我的登录方式")
async def list_identities(state: StateDep, member_id: MemberDep) -> Page[IdentityPublic]:
    """Everything you are known by, oldest first."""
    return await identities.list_identities(state, member_id)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        BadRequest,
        *MEMBER_ERRORS,
        LoginRefused,
        ProviderDisabled,
        IdentityTaken,
        IdentityLimit,
        LinkNotFound,
        LoginUnavailable,
    ),
    summary="Log in with something else, too 关联登录方式",
)
async def link_identity(
    state: StateDep, member_id: MemberDep, body: Annotated[IdentityCreate, Body(openapi_examples=IDENTITY)]
) -> IdentityPublic:
    """Whoever it logs in from now on is you; or whoever was given the link in a chat. Linking it again changes
    nothing. What another member is known by stays theirs.
    """
    if body.provider == "chat":
        return await links.use_token(state, member_id, body.code)
    return await identities.link_identity(state, member_id, body.provider, body.code)


@router.delete(
    "/{identity_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*MEMBER_ERRORS, IdentityNotFound, IdentityLast),
    summary="Log in with it no more 解除关联",
)
async def unlink_identity(state: StateDep, member_id: MemberDep, identity_id: IdentityId) -> None:
    """Who logs in with it later is somebody new. Sessions that began with this provider end. Never the last one."""
    await identities.unlink_identity(state, member_id, identity_id)
