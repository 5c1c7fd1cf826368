"""Guards of dry runs: they try what could be published, of a sale there is."""

from typing import Any

import pytest

from app.domain.errors import AmountTooLarge, InvalidTerms, OfferNotFound, OrderLimit, SaleWithoutOffers
from app.domain.money import MAX_AMOUNT
from app.schemas.forecasts import ForecastCreate
from app.services import forecasts
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

FORECASTS = "app.services.forecasts"


@notices(
    *cuts(
        f"{FORECASTS}.simulate", "not rows", "max((offer.value for offer in offers)) * step.quantity > MAX_AMOUNT"
    ),
    Cut(f"{FORECASTS}.simulate", "check_quantity(terms, step.quantity)", "None"),
    Cut(f"{FORECASTS}._terms", "check_terms(terms)", "None"),
    *cuts(f"{FORECASTS}._offers", "if trials"),
    *cuts(f"{FORECASTS}._offers", "named - {offer.id for offer in offers}"),
    Cut(f"{FORECASTS}._offer", "check_ladder(steps, terms.group_size)", "None"),
    *cuts(f"{FORECASTS}._offer", "tried.list_price is not None and tried.list_price < tried.price"),
)
async def a_dry_run_tries_what_could_be_published(world: World) -> None:
    empty, own = await world.service.sale(publish=False, offers=[]), {"offer_id": world.sale.offer}
    nothing = f"off_{'0' * 32}"

    async def run(sale_id: str = world.sale.id, **body: Any) -> None:
        wanted = ForecastCreate.model_validate({"curve": [{"members": 1}]} | body)
        await forecasts.simulate(world.state, sale_id, wanted)

    await run()
    with pytest.raises(SaleWithoutOffers):
        await run(empty.id)
    dear = {"offers": [own | {"price": MAX_AMOUNT}], "curve": [{"members": 1, "quantity": 2}]}
    for body, refusal in (
        (dear, AmountTooLarge),
        ({"curve": [{"members": 1, "quantity": 6}]}, OrderLimit),
        ({"group_size": 1}, InvalidTerms),
        ({"offers": [{"offer_id": nothing}]}, OfferNotFound),
        ({"curve": [{"members": 1, "shares": [{"offer_id": nothing, "weight": 1}]}]}, OfferNotFound),
        ({"offers": [own | {"ladder": [{"heads": 9, "price": 1}]}]}, InvalidTerms),
        ({"offers": [own | {"list_price": 1}]}, InvalidTerms),
    ):
        with pytest.raises(refusal):
            await run(**body)
