from fastapi import APIRouter, Depends

from app.deps import OPERATOR_ERRORS, StateDep, require_scope
from app.domain.operators import Scope
from app.routers.problems import problems
from app.schemas.invariants import InvariantsPublic
from app.services import invariants

operator_router = APIRouter(
    prefix="/v1/ops/invariants",
    tags=["operators: invariants"],
    dependencies=[Depends(require_scope(Scope.INVARIANTS))],
)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="Prove the promises 对账")
async def check_invariants(state: StateDep) -> InvariantsPublic:
    """Runs every invariant on one snapshot of the database: no oversell, no lost money, no skipped state."""
    return await invariants.check_invariants(state)
