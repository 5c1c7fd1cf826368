"""Dry runs: what a sale would bring, as it is or with other terms. Nothing is written."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from sqlmodel import col, select

from app.domain import forecasts
from app.domain.errors import (
    AmountTooLarge,
    InvalidTerms,
    OfferNotFound,
    SaleNotFound,
    SaleWithoutOffers,
)
from app.domain.forecasts import Assumptions, Demand, Forecast, Money, Offered
from app.domain.ladders import check_ladder
from app.domain.money import MAX_AMOUNT
from app.domain.sales import SaleKind, SaleTerms, check_quantity, check_terms, smallest
from app.models import Offer, Sale
from app.schemas.forecasts import (
    ForecastCreate,
    ForecastPublic,
    LevelForecast,
    MoneyForecast,
    OfferForecast,
    OfferLevel,
    OfferTrial,
    StepForecast,
)
from app.state import State


async def simulate(state: State, sale_id: str, body: ForecastCreate) -> ForecastPublic:
    """What a sale, or a draft, would bring if so many came. Raises `SaleNotFound`, `SaleWithoutOffers`,
    `OfferNotFound`, `InvalidTerms`, `OrderLimit`, `AmountTooLarge`.
    """
    async with state.database.snapshot() as session:
        sale = await session.get(Sale, sale_id)
        if sale is None:
            raise SaleNotFound
        found = await session.exec(select(Offer).where(Offer.sale_id == sale_id).order_by(col(Offer.id)))
        rows = found.all()
    if not rows:
        raise SaleWithoutOffers
    terms = _terms(sale, body)
    offers = _offers(rows, terms, body)
    for step in body.curve:
        check_quantity(terms, step.quantity)
        if max(offer.value for offer in offers) * step.quantity > MAX_AMOUNT:
            raise AmountTooLarge(limit=MAX_AMOUNT)
    async with state.forecasting:
        return await asyncio.to_thread(_forecast, sale, terms, offers, body)


def _terms(sale: Sale, body: ForecastCreate) -> SaleTerms:
    terms = sale.terms()
    tried = body.model_dump(include={"group_size", "min_size"}, exclude_none=True)
    if body.cover_seats is not None:
        tried["rescue"] = replace(terms.rescue, cover_seats=body.cover_seats)
    terms = replace(terms, **tried)
    if tried:
        check_terms(terms)
    return terms


def _offers(rows: Iterable[Offer], terms: SaleTerms, body: ForecastCreate) -> list[Offered]:
    trials = {trial.offer_id: trial for trial in body.offers}
    offers = [_offer(row, trials.pop(row.id, None), terms) for row in rows]
    named = {share.offer_id for step in body.curve for share in step.shares}
    if trials or named - {offer.id for offer in offers}:
        raise OfferNotFound
    return offers


def _offer(row: Offer, trial: OfferTrial | None, terms: SaleTerms) -> Offered:
    tried = Offer(**row.model_dump() | (trial.model_dump(exclude_none=True, exclude={"offer_id"}) if trial else {}))
    steps = tried.steps(terms)
    check_ladder(steps, terms.group_size)
    if tried.list_price is not None and tried.list_price < tried.price:
        raise InvalidTerms(field="list_price", reason="must not be below price")
    value, least = tried.list_price or tried.price, min(step.price for step in steps)
    return Offered(tried.id, tried.product_id, tried.stock, steps, value, least)


def _forecast(sale: Sale, terms: SaleTerms, offers: list[Offered], body: ForecastCreate) -> ForecastPublic:
    needed = max(smallest(terms) - terms.rescue.cover_seats, 1)
    curve = [
        Demand(
            step.members,
            step.paying_percent,
            step.quantity,
            {share.offer_id: share.weight for share in step.shares},
        )
        for step in body.curve
    ]
    assumed = Assumptions(body.coupon_percent, body.coupon_discount, body.reward_percent)

    def run(tried: list[Offered]) -> Forecast:
        return forecasts.forecast(tried, curve, assumed, size=terms.group_size, needed=needed)

    is_bargain = terms.kind == SaleKind.BARGAIN
    at_floor = run(offers)
    forecast = run(forecasts.at_start(offers)) if is_bargain else at_floor
    return ForecastPublic(
        sale_id=sale.id,
        kind=terms.kind,
        currency=sale.currency,
        group_size=terms.group_size,
        needed=needed,
        first_group_after=forecast.first_group_after,
        offers=[
            OfferForecast(
                offer_id=offer.id,
                stock=offer.stock,
                sold_out_after=forecast.sold_out_after.get(offer.id),
                steps=[
                    StepForecast(heads=step.heads, price=step.price, group_net=step.heads * step.price)
                    for step in offer.steps
                ],
            )
            for offer in offers
        ],
        levels=[
            _level(level, offers, low.money if is_bargain else None)
            for level, low in zip(forecast.levels, at_floor.levels, strict=True)
        ],
    )


def _level(level: forecasts.Level, offers: list[Offered], low: Money | None) -> LevelForecast:
    return LevelForecast(
        **{
            name: getattr(level, name)
            for name in LevelForecast.model_fields
            if name.startswith(("groups", "orders"))
        },
        members=level.members,
        paying=level.paying,
        turned_away=level.turned_away,
        offers=[
            OfferLevel(
                offer_id=offer.id,
                sold=level.sold[offer.id],
                left=offer.stock - level.sold[offer.id],
                unmet=level.unmet[offer.id],
            )
            for offer in offers
        ],
        money=_money(level.money),
        at_floor=None if low is None else _money(low),
    )


def _money(money: Money) -> MoneyForecast:
    return MoneyForecast.model_validate(money, from_attributes=True)
