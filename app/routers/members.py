from typing import Annotated

from fastapi import APIRouter, Body

from app.deps import MEMBER_ERRORS, MemberDep, StateDep
from app.domain.errors import BadRequest
from app.routers.examples import ME
from app.routers.problems import problems
from app.schemas.members import MemberMe, MemberUpdate
from app.services import members

router = APIRouter(prefix="/v1/members/me", tags=["sessions"])


@router.get("", responses=problems(*MEMBER_ERRORS), summary="Who I am 我的资料")
async def get_me(state: StateDep, member_id: MemberDep) -> MemberMe:
    return await members.get_me(state, member_id)


@router.patch("", responses=problems(BadRequest, *MEMBER_ERRORS), summary="How I am seen 修改资料")
async def update_me(
    state: StateDep, member_id: MemberDep, body: Annotated[MemberUpdate, Body(openapi_examples=ME)]
) -> MemberMe:
    """Choose how people who know you see you in groups and sales. It takes a few seconds to show everywhere."""
    return await members.update_me(state, member_id, body)
