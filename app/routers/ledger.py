from typing import Annotated

from fastapi import APIRouter, Query

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, StateDep
from app.domain.ledger import AccountKind
from app.routers.problems import problems
from app.schemas.fields import Currency, Page
from app.schemas.ledger import Balances, OwnAccount, StatementLine
from app.services import ledger

router = APIRouter(prefix="/v1/members/me", tags=["money"])


@router.get("/balance", responses=problems(*MEMBER_ERRORS), summary="What I have 我的余额")
async def get_balance(state: StateDep, member_id: MemberDep) -> Balances:
    """By currency; empty for whoever never earned anything."""
    return await ledger.list_balances(state, member_id)


@router.get("/statement", responses=problems(*MEMBER_ERRORS), summary="Where it came from and went 我的账单")
async def get_statement(
    state: StateDep,
    member_id: MemberDep,
    account: OwnAccount = OwnAccount.BALANCE,
    currency: Currency = "CNY",
    after: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: LimitQuery = 20,
) -> Page[StatementLine]:
    """The lines of one account, newest first."""
    return await ledger.read_statement(state, member_id, AccountKind(account), currency, after, limit)
