from typing import Annotated

from fastapi import APIRouter, Body, Depends
from starlette.responses import StreamingResponse

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, LeaverDep, MemberDep, StateDep, require_scope
from app.domain.errors import BadRequest, ErasureRefused, MemberNotFound, RateLimited
from app.domain.operators import Scope
from app.routers.examples import ERASURE, ME
from app.routers.limits import limit_exports
from app.routers.problems import problems
from app.schemas.fields import MemberId
from app.schemas.members import MemberMe, MemberUpdate
from app.schemas.privacy import ErasureCreate, ErasurePublic, ExportPublic
from app.services import erasure, exports, members

router = APIRouter(prefix="/v1/members/me", tags=["sessions"])
operator_router = APIRouter(
    prefix="/v1/ops/members",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
    responses=problems(*OPERATOR_ERRORS),
)


@router.get("", responses=problems(*MEMBER_ERRORS), summary="Who I am 我的资料")
async def get_me(state: StateDep, member_id: MemberDep) -> MemberMe:
    return await members.get_me(state, member_id)


@router.patch("", responses=problems(BadRequest, *MEMBER_ERRORS), summary="How I am seen 修改资料")
async def update_me(
    state: StateDep, member_id: MemberDep, body: Annotated[MemberUpdate, Body(openapi_examples=ME)]
) -> MemberMe:
    """Choose how people who know you see you in groups and sales. It takes a few seconds to show everywhere."""
    return await members.update_me(state, member_id, body)


@router.get(
    "/export",
    response_model=ExportPublic,
    responses=problems(RateLimited, *MEMBER_ERRORS),
    dependencies=[Depends(limit_exports)],
    summary="Everything there is of me 导出我的数据",
)
async def export_me(state: StateDep, member_id: MemberDep) -> StreamingResponse:
    """All you have done, bought, earned and written, by what it is. What others wrote is theirs and not in it."""
    parts = await exports.export(state, member_id)
    disposition = {"content-disposition": 'attachment; filename="kaituan.json"', "cache-control": "no-store"}
    return StreamingResponse(parts, media_type="application/json", headers=disposition)


@router.delete("", responses=problems(BadRequest, ErasureRefused, *MEMBER_ERRORS), summary="Erase me 注销账号")
async def erase_me(
    state: StateDep, member_id: LeaverDep, body: Annotated[ErasureCreate, Body(openapi_examples=ERASURE)]
) -> ErasurePublic:
    """Your name and logins go at once, what you wrote within moments. Orders and accounts stay as the law wants
    them, without you in them. Not while something is still open; it cannot be undone. Again answers the same.
    """
    return await erasure.erase_me(state, member_id, forfeit_balance=body.forfeit_balance)


@operator_router.post(
    "/{member_id}/erase",
    responses=problems(BadRequest, MemberNotFound, ErasureRefused),
    summary="Erase a member who asked by letter 代为注销",
)
async def erase_member(
    state: StateDep, member_id: MemberId, body: Annotated[ErasureCreate, Body(openapi_examples=ERASURE)]
) -> ErasurePublic:
    """By the same rules as they would themselves. Give up a balance only if they have said so."""
    return await erasure.erase(state, member_id, forfeit_balance=body.forfeit_balance)
