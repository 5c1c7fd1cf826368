"""Keeping the dealer in step with the rows: load, deal, reap, compare."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlalchemy.orm import defer
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import Busy, DealerUnavailable, GroupClosed, SaleNotFound
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.orders import ACTIVE_ORDER_STATES, PAID_SEAT_STATES, OrderState
from app.domain.sales import SaleState
from app.gateways.dealer import Claim, ClaimRequest, Refused, SaleImage, Unloaded
from app.models import Group, Offer, Order, Purchase, Sale, Unit
from app.services.terms import is_over
from app.state import State

log = logging.getLogger(__name__)
LOAD_ATTEMPTS = 5
SYNC_WINDOW = timedelta(seconds=20)
"""How far back changes are compared; several times the pause between two comparisons."""
SELLING = {SaleState.PAUSED: "paused", SaleState.ENDED: "ended", SaleState.DRAFT: "ended"}


async def deal(state: State, request: ClaimRequest, now: datetime) -> tuple[Claim, bool] | None:
    """Deal the places of a claim, loading the sale first when Redis does not have it.

    Returns the claim, and whether the same request had it before; None while Redis is away. Raises `Refused`, and
    `Busy` when the sale cannot be kept loaded.
    """
    try:
        for _ in range(LOAD_ATTEMPTS):
            if request.sale_id in state.dealer.behind:
                await _load_once(state, request.sale_id)
            try:
                return await state.dealer.deal(request, now)
            except Unloaded:
                # Groups that are over are not loaded any more.
                if request.new_deadline_at is None and await is_over(state, request.group_id):
                    raise Refused(GroupClosed(), known=True) from None
                await _load_once(state, request.sale_id)
    except DealerUnavailable:
        return None
    raise Busy


async def reload(state: State, sale_id: str) -> None:
    """The dealer was wrong about a sale: load it from the rows, if Redis is there."""
    with suppress(DealerUnavailable):
        await _load_once(state, sale_id)


async def _load_once(state: State, sale_id: str) -> None:
    """Load a sale; whoever asks for the same while it is being done waits for it."""
    if await state.batches(_load_all).ask(sale_id, sale_id):
        state.dealer.vouch(sale_id)


async def _load_all(state: State, sale_ids: Sequence[str]) -> list[bool]:
    return [await load(state, sale_id, state.clock()) for sale_id in sale_ids]


async def load(state: State, sale_id: str, now: datetime, *, sure: bool = False) -> bool:
    """Replace what Redis has of a sale by what the rows say. Safe at any time, also while it sells.

    False when the sale changed meanwhile: nothing is dealt from what was read, and whoever needs it loads it again.
    A first load is not `sure`: claims that Redis dealt and lost may be committed just after the rows were read.
    """
    async with state.dealer.loading(sale_id, now) as begun:
        if begun is None:
            return True
        token, in_flight = begun
        async with state.database.snapshot() as session:
            image = await read_image(session, sale_id)
            ids = [claim.order_id for claim in in_flight]
            known = set((await session.exec(select(Order.id).where(col(Order.id).in_(ids)))).all())
        # A claim whose order is there is in the image, or has ended; the others may still be on their way.
        on_their_way = [claim for claim in in_flight if claim.order_id not in known]
        loaded = await state.dealer.write(token, image, on_their_way, now, sure=sure)
    if loaded:
        log.info("loaded sale %s: %d claims, %d groups", sale_id, len(image.claims), len(image.groups))
    return loaded


async def read_image(session: AsyncSession, sale_id: str) -> SaleImage:
    """A sale as the rows have it. Raises `SaleNotFound`."""
    sale = await session.get(Sale, sale_id)
    if sale is None:
        raise SaleNotFound
    offers = (await session.exec(select(Offer).where(Offer.sale_id == sale_id))).all()
    running = await session.exec(
        select(Group).where(Group.sale_id == sale_id, col(Group.state).not_in(FINAL_GROUP_STATES)),
    )
    units: dict[str, list[int]] = {}
    taken = select(Unit.order_id, Unit.number).where(col(Unit.offer_id).in_([offer.id for offer in offers]))
    for order_id, number in await session.exec(taken):
        units.setdefault(order_id, []).append(number)
    held = await session.exec(
        select(Order, Purchase.number)
        .join(Purchase, col(Purchase.order_id) == Order.id)
        .where(Order.sale_id == sale_id, col(Order.state).in_(ACTIVE_ORDER_STATES))
        .options(defer(col(Order.answer))),  # type: ignore[arg-type]
    )
    former = await session.exec(
        select(Order.member_id)
        .where(Order.sale_id == sale_id, col(Order.state).not_in(ACTIVE_ORDER_STATES))
        .distinct(),
    )
    return SaleImage(
        sale_id=sale_id,
        selling=SELLING.get(sale.state, "yes"),
        opens_at=sale.opens_at,
        closes_at=sale.closes_at,
        member_limit=sale.member_limit,
        group_size=sale.group_size,
        stocks={offer.id: offer.stock for offer in offers},
        groups={group.id: (group.size, group.deadline_at) for group in running},
        former=list(former.all()),
        claims=[
            Claim(
                order_id=order.id,
                offer_id=order.offer_id,
                units=sorted(units.get(order.id, [])),
                group_id=order.group_id,
                seat=order.seat_number,
                member_id=order.member_id,
                purchase=purchase,
                paid=order.state in PAID_SEAT_STATES,
            )
            for order, purchase in held
        ],
    )


async def selling_sales(state: State) -> list[str]:
    """Ids of the sales that have places in Redis: all that are published and not over."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Sale.id).where(col(Sale.state).in_([SaleState.SCHEDULED, SaleState.LIVE, SaleState.PAUSED])),
        )
        return list(found.all())


async def reap(state: State, sale_id: str, now: datetime) -> int:
    """Give back places that were dealt to a claim whose process died before its commit, or whose order has
    ended since.

    Returns how many claims were given back.
    """
    claims = await state.dealer.overdue(sale_id, now)
    if not claims:
        return 0
    async with state.database.snapshot() as session:
        living = select(Order.id).where(
            col(Order.id).in_([claim.order_id for claim in claims]),
            col(Order.state).in_(ACTIVE_ORDER_STATES),
        )
        found = set((await session.exec(living)).all())
    await state.dealer.settle(sale_id, found)
    dead = [claim for claim in claims if claim.order_id not in found]
    for claim in dead:
        await state.dealer.release(sale_id, claim.order_id, claim.offer_id, claim.group_id)
    return len(dead)


async def sync(state: State, sale_id: str, now: datetime) -> int:
    """Tell the dealer again what became of recently changed orders, in case the first word was lost.

    Returns how many counters had to be mended.
    """
    async with state.database.snapshot() as session:
        changed = (
            await session.exec(
                select(Order).where(
                    Order.sale_id == sale_id,
                    Order.changed_at >= now - SYNC_WINDOW,
                    Order.state != OrderState.HELD,
                ),
            )
        ).all()
    mended = 0
    for order in changed:
        if order.state in ACTIVE_ORDER_STATES:
            mended += await state.dealer.mark_paid(sale_id, order.id, order.group_id)
        else:
            mended += await state.dealer.release(sale_id, order.id, order.offer_id, order.group_id)
    return mended


async def count_units(session: AsyncSession, offer_ids: list[str]) -> dict[str, int]:
    """Units taken of each offer, from the rows."""
    counted = await session.exec(
        select(Unit.offer_id, func.count()).where(col(Unit.offer_id).in_(offer_ids)).group_by(Unit.offer_id),
    )
    return dict.fromkeys(offer_ids, 0) | dict(counted.all())
