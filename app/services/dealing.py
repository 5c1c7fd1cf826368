"""Keeping the dealer in step with the rows: load, deal, reap, compare."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.entries import IN_LINE_STATES, EntryState, awaited_group
from app.domain.errors import Busy, DealerUnavailable, GroupClosed, SaleNotFound
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.orders import ACTIVE_ORDER_STATES, PAID_SEAT_STATES, OrderState
from app.domain.sales import SaleState, is_undrawn
from app.gateways.dealer import KEEP_AFTER_SALE, Claim, ClaimRequest, Refused, SaleImage, Unloaded, chunks
from app.models import Entry, Group, Offer, Order, Purchase, Sale, Unit
from app.services.terms import is_over
from app.state import State

log = logging.getLogger(__name__)
Told = TypeVar("Told")
LOAD_ATTEMPTS = 5
LOADS_AT_ONCE = 16
"""Most of them wait for another process; `State.reading` bounds those that read."""
READ_AT_ONCE = 2000
"""Rows of a large sale that are worked on before others get their turn."""
LATE_COMMIT = timedelta(seconds=20)
"""How long a change may take from its moment to its commit: it is looked for that long after the moment."""
COMPARED_AFTER_END = timedelta(hours=1)
"""How long after a sale its orders are still compared: what ends with it is given back then."""
RELOAD_EVERY = timedelta(seconds=10)
"""How often a sale is loaded while a process goes on selling it without Redis."""
LOAD_PATIENCE_SECONDS = 5.0
SELLING = {SaleState.PAUSED: "paused", SaleState.ENDED: "ended", SaleState.DRAFT: "ended"}


async def deal(state: State, request: ClaimRequest, now: datetime) -> tuple[Claim, bool] | None:
    """Deal the places of a claim, loading the sale first when Redis does not have it.

    Returns the claim, and whether the same request had it before; None while Redis is away. Raises `Refused`, and
    `Busy` when the sale cannot be kept loaded.
    """
    try:
        return await when_loaded(state, request.sale_id, partial(_deal, state, request, now))
    except DealerUnavailable:
        return None


async def _deal(state: State, request: ClaimRequest, now: datetime) -> tuple[Claim, bool]:
    try:
        return await state.dealer.deal(request, now)
    except Unloaded:
        # Groups that are over are not loaded any more.
        if request.new_deadline_at is None and await is_over(state, request.group_id):
            raise Refused(GroupClosed(), known=True) from None
        raise


async def when_loaded(state: State, sale_id: str, ask: Callable[[], Awaitable[Told]]) -> Told:
    """What the dealer says of a sale, which is loaded when Redis does not have it, or sold without Redis.

    Raises what `ask` raises but `Unloaded`; `Busy` when the sale cannot be kept loaded, `DealerUnavailable`.
    """
    for _ in range(LOAD_ATTEMPTS):
        if sale_id in state.dealer.sold_without:
            await _load_once(state, sale_id)
        try:
            return await ask()
        except Unloaded:
            await _load_once(state, sale_id)
    raise Busy


async def reload(state: State, sale_id: str) -> None:
    """The dealer was wrong about a sale: load it from the rows, if Redis is there."""
    with suppress(DealerUnavailable):
        await _load_once(state, sale_id)


async def _load_once(state: State, sale_id: str) -> None:
    """Load a sale; whoever asks for the same meanwhile waits for it. Raises `Busy` when that takes long."""
    loading = state.batches(_load_all, size=1, lanes=LOADS_AT_ONCE, crowd=1).ask(sale_id, sale_id)
    try:
        async with asyncio.timeout(LOAD_PATIENCE_SECONDS):
            await loading
    except TimeoutError:  # the loading goes on
        raise Busy from None


async def _load_all(state: State, sale_ids: Sequence[str]) -> list[bool]:
    return [await load(state, sale_id, state.clock()) for sale_id in sale_ids]


async def load(state: State, sale_id: str, now: datetime, *, sure: bool = False) -> bool:
    """Replace what Redis has of a sale by what the rows say. Safe at any time, also while it sells.

    False when the sale changed meanwhile: nothing is dealt from what was read, and whoever needs it loads it again.
    A first load is not `sure`: claims that Redis dealt and lost may be committed just after the rows were read.
    """
    sold_without = state.dealer.sold_without[sale_id]
    async with state.dealer.loading(sale_id, now) as loading:
        if loading is None:
            return True
        async with state.reading, state.database.snapshot() as session:
            image = await read_image(session, sale_id)
            known: set[str] = set()
            for claims in chunks(loading.in_flight):
                ids = [claim.order_id for claim in claims]
                known.update((await session.exec(select(Order.id).where(col(Order.id).in_(ids)))).all())
        # A claim whose order is there is in the image, or has ended; the others may still be on their way.
        on_their_way = [claim for claim in loading.in_flight if claim.order_id not in known]
        loaded = await state.dealer.write(loading, image, on_their_way, now, sure=sure)
    if loaded:
        state.dealer.learnt(sale_id, sold_without)
        log.info("loaded sale %s: %d claims, %d groups", sale_id, len(image.claims), len(image.groups))
    return loaded


async def read_image(session: AsyncSession, sale_id: str) -> SaleImage:
    """A sale as the rows have it. Raises `SaleNotFound`."""
    sale = await session.get(Sale, sale_id)
    if sale is None:
        raise SaleNotFound
    offers = (await session.exec(select(Offer).where(Offer.sale_id == sale_id))).all()
    running = sqlalchemy.select(col(Group.id), col(Group.size), col(Group.deadline_at)).where(
        col(Group.sale_id) == sale_id,
        col(Group.state).not_in(FINAL_GROUP_STATES),
    )
    groups = {id_: (size, deadline_at) async for id_, size, deadline_at in _stream(session, running)}
    units: dict[str, list[int]] = {}
    async for order_id, number in _stream(
        session,
        sqlalchemy.select(col(Unit.order_id), col(Unit.number)).where(
            col(Unit.offer_id).in_([offer.id for offer in offers]),
        ),
    ):
        units.setdefault(order_id, []).append(number)
    held = sqlalchemy.select(
        *(col(Order.id), col(Order.offer_id), col(Order.group_id), col(Order.seat_number)),
        *(col(Order.member_id), col(Order.state), col(Purchase.number)),
    ).join(Purchase, col(Purchase.order_id) == Order.id)
    claims = [
        Claim(
            order_id=order_id,
            offer_id=offer_id,
            units=sorted(units.get(order_id, [])),
            group_id=group_id,
            seat=seat,
            member_id=member_id,
            purchase=purchase,
            paid=order_state in PAID_SEAT_STATES,
        )
        async for order_id, offer_id, group_id, seat, member_id, order_state, purchase in _stream(
            session,
            held.where(col(Order.sale_id) == sale_id, col(Order.state).in_(ACTIVE_ORDER_STATES)),
        )
    ]
    former = (
        sqlalchemy.select(col(Order.member_id))
        .where(col(Order.sale_id) == sale_id, col(Order.state).not_in(ACTIVE_ORDER_STATES))
        .distinct()
    )
    return SaleImage(
        sale_id=sale_id,
        selling=SELLING.get(sale.state, "yes"),
        opens_at=sale.opens_at,
        closes_at=sale.closes_at,
        member_limit=sale.member_limit,
        group_size=sale.group_size,
        stocks={offer.id: offer.stock for offer in offers},
        groups=groups,
        version=sale.changed_at.isoformat(),
        undealt=sale.undealt,
        lines=sorted(await read_lines(session, [sale])),
        former=[member_id async for (member_id,) in _stream(session, former)],
        claims=claims,
    )


async def read_lines(session: AsyncSession, sales: Sequence[Sale]) -> set[str]:
    """The offers and groups of sales that are kept for those who wait for them; all offers where the draw is still
    to come. Also an offer of which units are kept for somebody who was called. What is free and suffices for none
    of those who wait is kept for nobody.
    """
    waiting = (
        sqlalchemy.select(col(Entry.line_id), col(Entry.offer_id), col(Entry.state), func.min(Entry.quantity))
        .where(col(Entry.sale_id).in_([sale.id for sale in sales]), col(Entry.state).in_(IN_LINE_STATES))
        .group_by(col(Entry.line_id), col(Entry.offer_id), col(Entry.state))
    )
    undrawn = select(Offer.id).where(
        col(Offer.sale_id).in_([sale.id for sale in sales if is_undrawn(sale.terms())]),
    )
    lines = set((await session.exec(undrawn)).all())
    rows = (await session.exec(waiting)).all()  # type: ignore[call-overload]
    free = await _count_free(session, sorted({offer_id for _, offer_id, _, _ in rows}))
    for line_id, offer_id, entry_state, smallest_party in rows:
        if entry_state == EntryState.CALLED:
            lines |= {offer_id, line_id}
        elif free[offer_id] <= 0 or smallest_party <= free[offer_id]:
            lines.add(awaited_group(line_id) or offer_id)
    return lines


async def _count_free(session: AsyncSession, offer_ids: list[str]) -> dict[str, int]:
    taken = await count_units(session, offer_ids)
    stocks = await session.exec(select(Offer.id, Offer.stock).where(col(Offer.id).in_(offer_ids)))
    return {offer_id: stock - taken[offer_id] for offer_id, stock in stocks.all()}


async def _stream(session: AsyncSession, statement: Any) -> AsyncIterator[Any]:
    """Rows of which there may be a million; others get their turns while they are read."""
    result = await session.stream(statement, execution_options={"yield_per": READ_AT_ONCE})
    async for rows in result.partitions():
        for row in rows:
            yield row


@dataclass(frozen=True, slots=True)
class ToCompare:
    """A sale that is to be in step: `selling` unless it is over; the rest as in a `SaleImage`."""

    id: str
    selling: bool
    version: str
    undealt: int


async def compared_sales(state: State, now: datetime) -> list[ToCompare]:
    """The sales that are to be in step: all that are published and not long over."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Sale.id, Sale.state, Sale.changed_at, Sale.undealt).where(
                Sale.state != SaleState.DRAFT,
                Sale.closes_at > now - COMPARED_AFTER_END,
            ),
        )
        return [
            ToCompare(id_, sale_state != SaleState.ENDED, changed_at.isoformat(), undealt)
            for id_, sale_state, changed_at, undealt in found.all()
        ]


async def kept_sales(state: State, now: datetime) -> list[str]:
    """Ids of the sales that Redis may have something of."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Sale.id).where(Sale.state != SaleState.DRAFT, Sale.closes_at > now - KEEP_AFTER_SALE),
        )
        return list(found.all())


async def reap(state: State, sale_id: str, now: datetime) -> int:
    """Give back places that were dealt to a claim whose process died before its commit, or whose order has
    ended since.

    Returns how many claims were given back.
    """
    reaped = 0
    while claims := await state.dealer.overdue(sale_id, now):
        reaped += await _reap(state, sale_id, claims)
    return reaped


async def _reap(state: State, sale_id: str, claims: Sequence[Claim]) -> int:
    found = await living_orders(state, [claim.order_id for claim in claims])
    await state.dealer.settle(sale_id, found)
    dead = [claim for claim in claims if claim.order_id not in found]
    for claim in dead:
        await state.dealer.release(sale_id, claim.order_id, claim.offer_id, claim.group_id)
    return len(dead)


async def living_orders(state: State, order_ids: Sequence[str]) -> set[str]:
    """Those of these orders that hold their places, as the rows say."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Order.id).where(col(Order.id).in_(order_ids), col(Order.state).in_(ACTIVE_ORDER_STATES)),
        )
        return set(found.all())


async def sync(state: State, sale_id: str, now: datetime) -> int:
    """Tell the dealer again what became of orders that changed since it was compared with the rows last, in case
    the first word was lost. When nobody knows when that was, the sale is loaded.

    Returns how many counters had to be mended.
    """
    compared_at = await state.dealer.compared_at(sale_id)
    if compared_at is None:
        await load(state, sale_id, now)
        return 0
    mended = 0
    for order in await _changed_orders(state, sale_id, compared_at):
        if order.state in ACTIVE_ORDER_STATES:
            mended += await state.dealer.amend(sale_id, order)
        else:
            mended += await state.dealer.release(sale_id, order.id, order.offer_id, order.group_id)
    for group_id, deadline_at in await _extended_groups(state, sale_id, compared_at):
        await state.dealer.extend_group(sale_id, group_id, deadline_at)
    await state.dealer.note_compared(sale_id, now)
    return mended


async def _changed_orders(state: State, sale_id: str, since: datetime) -> Sequence[Any]:
    statement: Any = sqlalchemy.select(
        *(col(Order.id), col(Order.offer_id), col(Order.state), col(Order.quantity), col(Order.settled_quantity)),
        *(col(Order.group_id), col(Order.seat_number), col(Order.moved_from)),
    ).where(
        col(Order.sale_id) == sale_id,
        col(Order.changed_at) >= since - LATE_COMMIT,
        col(Order.state) != OrderState.HELD,
    )
    async with state.database.snapshot() as session:
        return (await (await session.connection()).execute(statement)).all()


async def _extended_groups(state: State, sale_id: str, since: datetime) -> Sequence[Any]:
    statement: Any = sqlalchemy.select(col(Group.id), col(Group.deadline_at)).where(
        col(Group.sale_id) == sale_id,
        col(Group.state).not_in(FINAL_GROUP_STATES),
        col(Group.extended_at) >= since - LATE_COMMIT,
    )
    async with state.database.snapshot() as session:
        return (await (await session.connection()).execute(statement)).all()


async def count_units(session: AsyncSession, offer_ids: list[str]) -> dict[str, int]:
    """Units taken of each offer, from the rows."""
    counted = await session.exec(
        select(Unit.offer_id, func.count()).where(col(Unit.offer_id).in_(offer_ids)).group_by(Unit.offer_id),
    )
    return dict.fromkeys(offer_ids, 0) | dict(counted.all())
