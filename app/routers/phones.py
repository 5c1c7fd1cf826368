from typing import Annotated

from fastapi import APIRouter, Body, Depends, status

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, MemberDep, StateDep, require_scope
from app.domain.errors import BadRequest, LoginRefused, LoginUnavailable, ProviderDisabled
from app.domain.operators import Scope
from app.routers.examples import PHONE, PHONE_SEARCH
from app.routers.problems import problems
from app.schemas.fields import Page
from app.schemas.phones import MemberFound, PhonePublic, PhonePut, PhoneSearch
from app.services import phones

router = APIRouter(prefix="/v1/members/me/phone", tags=["sessions"])
operator_router = APIRouter(
    prefix="/v1/ops/members",
    tags=["operators: orders"],
    dependencies=[Depends(require_scope(Scope.ORDERS))],
    responses=problems(*OPERATOR_ERRORS),
)


@router.put(
    "",
    responses=problems(BadRequest, *MEMBER_ERRORS, LoginRefused, ProviderDisabled, LoginUnavailable),
    summary="Tell my phone number 绑定手机号",
)
async def set_phone(
    state: StateDep, member_id: MemberDep, body: Annotated[PhonePut, Body(openapi_examples=PHONE)]
) -> PhonePublic:
    """The only one that is kept of you: encrypted, and shown masked."""
    return await phones.set_phone(state, member_id, body.provider, body.code)


@router.delete(
    "", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*MEMBER_ERRORS), summary="Forget it 删除手机号"
)
async def forget_phone(state: StateDep, member_id: MemberDep) -> None:
    """Also when there is none."""
    await phones.forget_phone(state, member_id)


@operator_router.post("/search", responses=problems(BadRequest), summary="Whose number is this 按手机号查找成员")
async def find_members(
    state: StateDep, body: Annotated[PhoneSearch, Body(openapi_examples=PHONE_SEARCH)]
) -> Page[MemberFound]:
    """By the whole number. In the body, because addresses are logged."""
    return await phones.find_members(state, body.phone)
