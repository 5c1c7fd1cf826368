from typing import Annotated

from fastapi import APIRouter, Body, status

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, StateDep
from app.domain.errors import BadRequest, SaleAlreadyOpen, SaleEnded, SaleNotFound
from app.routers.examples import REMINDER
from app.routers.problems import problems
from app.schemas.fields import Page, SaleId
from app.schemas.reminders import ReminderPublic, ReminderSet
from app.services import reminders

router = APIRouter(prefix="/v1", tags=["reminders"])


@router.put(
    "/sales/{sale_id}/reminder",
    responses=problems(BadRequest, *MEMBER_ERRORS, SaleNotFound, SaleAlreadyOpen, SaleEnded),
    summary="Remind me 开抢提醒",
)
async def set_reminder(
    state: StateDep,
    member_id: MemberDep,
    sale_id: SaleId,
    body: Annotated[ReminderSet, Body(openapi_examples=REMINDER)],
) -> ReminderPublic:
    """Before the sale opens. The same again changes nothing; with other minutes you are told anew."""
    return await reminders.set_reminder(state, member_id, sale_id, body.minutes_before)


@router.delete(
    "/sales/{sale_id}/reminder",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*MEMBER_ERRORS, SaleNotFound),
    summary="Do not remind me 取消提醒",
)
async def withdraw_reminder(state: StateDep, member_id: MemberDep, sale_id: SaleId) -> None:
    """Also when there is none."""
    await reminders.withdraw_reminder(state, member_id, sale_id)


@router.get("/reminders", responses=problems(*MEMBER_ERRORS), summary="List my reminders 我的提醒")
async def list_reminders(state: StateDep, member_id: MemberDep, limit: LimitQuery = 20) -> Page[ReminderPublic]:
    """Of sales that are not over, next first. `told_at` says that it was due."""
    return await reminders.list_reminders(state, member_id, limit)
