from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, status

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import BadRequest, BillNotReady, ProviderNotFound, ReconciliationNotFound
from app.domain.operators import Scope
from app.routers.examples import RECONCILIATION
from app.routers.problems import problems
from app.schemas.fields import Page, ReconciliationId
from app.schemas.reconciliations import ReconciliationCreate, ReconciliationDetail, ReconciliationPublic
from app.services import reconciliations

operator_router = APIRouter(
    prefix="/v1/ops/reconciliations",
    tags=["operators: orders"],
    dependencies=[Depends(require_scope(Scope.ORDERS))],
)


@operator_router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*OPERATOR_ERRORS, BadRequest, ProviderNotFound, BillNotReady),
    summary="Compare a day with the provider's bill 对账",
)
async def create_reconciliation(
    state: StateDep, body: Annotated[ReconciliationCreate, Body(openapi_examples=RECONCILIATION)]
) -> ReconciliationPublic:
    """A worker does it within seconds, and for every day by itself; asking again compares again, and replaces what
    was found.
    """
    return await reconciliations.ask_for(state, body)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="Days that were compared 对账列表")
async def list_reconciliations(
    state: StateDep,
    provider: Annotated[str | None, Query(pattern="^[a-z_]{1,20}$", examples=["wechatpay"])] = None,
    after: ReconciliationId | None = None,
    limit: LimitQuery = 20,
) -> Page[ReconciliationPublic]:
    """Newest first."""
    return await reconciliations.list_reconciliations(state, provider, after, limit)


@operator_router.get(
    "/{reconciliation_id}",
    responses=problems(*OPERATOR_ERRORS, ReconciliationNotFound),
    summary="What differed on a day 对账差异",
)
async def get_reconciliation(state: StateDep, reconciliation_id: ReconciliationId) -> ReconciliationDetail:
    """Every charge and refund that is missing on one side, or of another amount or state."""
    return await reconciliations.get_reconciliation(state, reconciliation_id)
