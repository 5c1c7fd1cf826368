from typing import Annotated

from fastapi import APIRouter, Body, status

from app.deps import MEMBER_ERRORS, MemberDep, RequestKeyDep, StateDep
from app.domain.errors import (
    BadRequest,
    BalanceTooLow,
    CommunityNotFound,
    CommunityNotOpen,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidTerms,
    MemberBlocked,
    MemberNotFound,
    NotAllowed,
    SelfTip,
    TipLimit,
)
from app.routers.examples import TIP
from app.routers.problems import problems
from app.schemas.fields import MemberId
from app.schemas.tips import TipCreate, TipPublic
from app.services import tips

router = APIRouter(prefix="/v1/members", tags=["money"])


@router.post(
    "/{member_id}/tips",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *MEMBER_ERRORS,
        BadRequest,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
        SelfTip,
        MemberNotFound,
        TipLimit,
        BalanceTooLow,
        *(CommunityNotFound, CommunityNotOpen, MemberBlocked, NotAllowed, InvalidTerms),
    ),
    summary="Tip a member 打赏",
)
async def give_tip(
    state: StateDep,
    sender_id: MemberDep,
    request_key: RequestKeyDep,
    member_id: MemberId,
    body: Annotated[TipCreate, Body(openapi_examples=TIP)],
) -> TipPublic:
    """From your balance to theirs, twenty times a day at most; perhaps for a post, an answer or a job."""
    return await tips.tip(state, sender_id, member_id, body, request_key)
