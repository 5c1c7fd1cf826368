from typing import Annotated

from fastapi import APIRouter, Body, Depends

from app.deps import OPERATOR_ERRORS, StateDep, require_scope
from app.domain.errors import (
    AmountTooLarge,
    BadRequest,
    InvalidTerms,
    OfferNotFound,
    OrderLimit,
    SaleNotFound,
    SaleWithoutOffers,
)
from app.domain.operators import Scope
from app.routers.examples import FORECAST
from app.routers.problems import problems
from app.schemas.fields import SaleId
from app.schemas.forecasts import ForecastCreate, ForecastPublic
from app.services import forecasts

operator_router = APIRouter(
    prefix="/v1/ops/sales",
    tags=["operators: sales"],
    dependencies=[Depends(require_scope(Scope.SALES))],
)


@operator_router.post(
    "/{sale_id}/simulate",
    responses=problems(
        *OPERATOR_ERRORS,
        BadRequest,
        SaleNotFound,
        OfferNotFound,
        SaleWithoutOffers,
        InvalidTerms,
        OrderLimit,
        AmountTooLarge,
    ),
    summary="Try a sale out 活动试算",
)
async def simulate_sale(
    state: StateDep, sale_id: SaleId, body: Annotated[ForecastCreate, Body(openapi_examples=FORECAST)]
) -> ForecastPublic:
    """What a sale or a draft would bring if so many came: money, stock and groups after each step of the demand,
    from an empty sale on. Other prices, ladders, stocks and group sizes can be tried; nothing is changed.
    """
    return await forecasts.simulate(state, sale_id, body)
