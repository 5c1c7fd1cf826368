from typing import Annotated

from fastapi import APIRouter, Body, Header, Query

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, StateDep
from app.domain.errors import BadRequest, NoticeNotFound
from app.routers.examples import NOTICES_READ
from app.routers.problems import language, problems
from app.schemas.fields import NoticeId
from app.schemas.notices import NoticePage, NoticesRead, UnreadPublic
from app.services import notices

router = APIRouter(prefix="/v1/members/me/notices", tags=["notices"])
UnreadQuery = Annotated[bool, Query(description="Only those not read yet 仅未读")]


@router.get("", responses=problems(*MEMBER_ERRORS), summary="What I was told 我的消息")
async def list_notices(
    state: StateDep,
    member_id: MemberDep,
    unread: UnreadQuery = False,
    after: NoticeId | None = None,
    limit: LimitQuery = 20,
    accept_language: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> NoticePage:
    """Newest first, in your language. Orders and refunds, what others write to you, and what your communities send:
    that three times a day at most, and the rest in a digest.
    """
    zh = language(accept_language) == "zh"
    return await notices.list_notices(state, member_id, unread=unread, zh=zh, after=after, limit=limit)


@router.post(
    "/read", responses=problems(BadRequest, *MEMBER_ERRORS, NoticeNotFound), summary="I have read them 标记已读"
)
async def read_notices(
    state: StateDep, member_id: MemberDep, body: Annotated[NoticesRead, Body(openapi_examples=NOTICES_READ)]
) -> UnreadPublic:
    """Up to and with the one you name."""
    return await notices.read_notices(state, member_id, body.notice_id)
