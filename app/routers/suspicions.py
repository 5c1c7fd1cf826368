from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.operators import Scope
from app.domain.suspicions import WITHHOLD_AT
from app.routers.problems import problems
from app.schemas.fields import Moment
from app.schemas.suspicions import SuspicionsPublic
from app.services import suspicions

operator_router = APIRouter(
    prefix="/v1/ops/suspicions",
    tags=["operators: growth"],
    dependencies=[Depends(require_scope(Scope.GROWTH))],
)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="Suspected inviters 可疑邀请人")
async def list_suspicions(
    state: StateDep,
    min_score: Annotated[
        int, Query(ge=0, le=100, description="Rewards are withheld from 50 on 最低分")
    ] = WITHHOLD_AT,
    before: Annotated[Moment | None, Query(description="Look at referrals up to then; now if none 截止")] = None,
    limit: LimitQuery = 20,
) -> SuspicionsPublic:
    """Inviters of recent referrals, the most suspected first, with the reasons in words. Nobody is punished by a
    score: rewards wait for an operator.
    """
    return await suspicions.list_suspects(state, min_score, before, limit)
