from typing import Annotated

from fastapi import APIRouter, Body, Depends

from app.deps import OPERATOR_ERRORS, StateDep, require_scope
from app.domain.errors import (
    BadRequest,
    CommunityNotOpen,
    InvalidTerms,
    SaleEnded,
    SaleNotEditable,
    SaleNotFound,
    SaleWithoutOffers,
    SaleWithoutSlots,
    WrongKind,
)
from app.domain.operators import Scope
from app.routers.examples import SLOTS
from app.routers.problems import problems
from app.schemas.fields import Page, SaleId
from app.schemas.sales import SalePublic
from app.schemas.slots import SlotsCreate
from app.services import slots

operator_router = APIRouter(
    prefix="/v1/ops/sales/{sale_id}/slots",
    tags=["operators: sales"],
    dependencies=[Depends(require_scope(Scope.SALES))],
)


@operator_router.post(
    "",
    responses=problems(
        *OPERATOR_ERRORS, BadRequest, SaleNotFound, WrongKind, SaleNotEditable, SaleWithoutSlots, InvalidTerms
    ),
    summary="Lay out daily slots 设置场次",
)
async def lay_out_slots(
    state: StateDep, sale_id: SaleId, body: Annotated[SlotsCreate, Body(openapi_examples=SLOTS)]
) -> Page[SalePublic]:
    """A flash sale's draft becomes the first of a series: a sale for each slot, with its own stock and window, and
    the terms and offers of the first. The same again adds nothing; more days or times add what is missing.
    """
    return await slots.lay_out_slots(state, sale_id, body)


@operator_router.post(
    "/publish",
    responses=problems(
        *OPERATOR_ERRORS, SaleNotFound, SaleEnded, SaleWithoutOffers, SaleWithoutSlots, CommunityNotOpen
    ),
    summary="Publish all slots 发布全部场次",
)
async def publish_slots(state: StateDep, sale_id: SaleId) -> Page[SalePublic]:
    """Every draft of the series, but those whose time has passed."""
    return await slots.publish_slots(state, sale_id)
