from typing import Annotated

from fastapi import APIRouter, Body, Depends, status

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, MemberDep, StateDep, require_scope
from app.domain.errors import BadRequest, ConsentMissing, MemberNotFound
from app.domain.operators import Scope
from app.routers.examples import FACTS, TAGS
from app.routers.problems import problems
from app.schemas.facts import FactsKept, FactsUpdate, TagsPublic, TagsPut
from app.schemas.fields import MemberId
from app.services import facts, tags

router = APIRouter(prefix="/v1/members/me/facts", tags=["communities"])
operator_router = APIRouter(
    prefix="/v1/ops/members/{member_id}/tags",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
)


@router.get("", responses=problems(*MEMBER_ERRORS), summary="What is known of me 系统了解的我")
async def get_facts(state: StateDep, member_id: MemberDep) -> FactsKept:
    """Which facts are kept of you and what for, and what you have agreed to."""
    return await facts.get_kept(state, member_id)


@router.put(
    "", responses=problems(BadRequest, *MEMBER_ERRORS, ConsentMissing), summary="Agree, and tell 授权并填写信息"
)
async def put_facts(
    state: StateDep, member_id: MemberDep, body: Annotated[FactsUpdate, Body(openapi_examples=FACTS)]
) -> FactsKept:
    """Say what may be kept of you, and what you are like. What you no longer agree to is forgotten at once. With
    consent for `device`, we also keep what your browser says when you log in.
    """
    return await facts.update_kept(state, member_id, body)


@router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*MEMBER_ERRORS),
    summary="Agree to nothing 撤回全部授权",
)
async def delete_facts(state: StateDep, member_id: MemberDep) -> None:
    """Withdraw every consent; what was kept by it is forgotten. What your orders and check-ins tell stays."""
    await facts.forget_kept(state, member_id)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS, MemberNotFound), summary="Words on a member 成员标签")
async def get_tags(state: StateDep, member_id: MemberId) -> TagsPublic:
    return await tags.get_tags(state, member_id)


@operator_router.put(
    "",
    responses=problems(*OPERATOR_ERRORS, BadRequest, MemberNotFound, ConsentMissing),
    summary="Put words on a member 设置成员标签",
)
async def put_tags(
    state: StateDep, member_id: MemberId, body: Annotated[TagsPut, Body(openapi_examples=TAGS)]
) -> TagsPublic:
    """All of the operators' words, for rules about `tag`. Only on members who have agreed to `tags`; each sees
    their own.
    """
    return await tags.put_tags(state, member_id, body.tags)
