"""A flash sale in daily time slots: a series of sales with windows of their own, laid out and published together.

From then on each is a sale like any other, with its own stock, counts, limits and end.
"""

from collections.abc import Sequence
from datetime import time

from sqlmodel import col, select

from app.domain.errors import InvalidTerms, SaleEnded, SaleNotEditable, SaleNotFound, SaleWithoutSlots
from app.domain.sales import Allocation, SaleKind, SaleState, check_kind
from app.domain.slots import MAX_SLOTS, Window, find_missing, find_zone, lay_out
from app.models import Offer, Sale, SaleCommunity, SaleSegment
from app.schemas.fields import Page
from app.schemas.sales import SalePublic
from app.schemas.slots import SlotsCreate
from app.services.locks import lock_sale
from app.services.sales import list_sales, lock_community_of, publish_locked, record_sale
from app.services.terms import read_gates
from app.services.transactions import Work, transaction
from app.state import State

OF_ITS_OWN = {"id", "state", "opens_at", "closes_at", "undealt", "created_at", "changed_at"}
"""What a slot does not have from the first of its series."""


async def lay_out_slots(state: State, sale_id: str, body: SlotsCreate) -> Page[SalePublic]:
    """Turn a draft into the first slot of a series; or add to the series of a first slot what it lacks. The others
    are drafts with the terms and offers that the first one has now. Returns all of the series.

    Raises `SaleNotFound`, `WrongKind`, `SaleNotEditable`, `SaleWithoutSlots`, `InvalidTerms`.
    """
    times = [time.fromisoformat(text) for text in body.times]
    wanted = lay_out(body.first_day, body.last_day, times, body.minutes, find_zone(body.timezone))
    async with transaction(state, state.clock()) as work:
        first = await lock_sale(work.session, sale_id)
        if first is None:
            raise SaleNotFound
        check_kind(first.terms(), SaleKind.FLASH)
        if first.allocation == Allocation.DRAW:
            raise InvalidTerms(field="allocation", reason="a draw has one window of its own, and no slots")
        if first.series_id not in {None, first.id}:
            raise SaleWithoutSlots
        if first.series_id is None and first.state != SaleState.DRAFT:
            raise SaleNotEditable(field="opens_at")
        slots = await _read_slots(work, first.id)
        # A slot that was ended early has another end than it was laid out with.
        over = {slot.opens_at for slot in slots if slot.state == SaleState.ENDED}
        there = {Window(slot.opens_at, slot.closes_at) for slot in slots}
        missing = find_missing(there, [window for window in wanted if window.opens_at not in over])
        if first.series_id is None:
            _begin(work, first, missing.pop(0))
        await _add_slots(work, first, missing)
    return await _list(state, sale_id)


async def publish_slots(state: State, sale_id: str) -> Page[SalePublic]:
    """Publish the drafts of a series whose windows have not passed. Returns all of the series.

    Raises `SaleNotFound`, `SaleWithoutSlots`, `SaleWithoutOffers`, `CommunityNotOpen`, `SaleEnded` when the windows
    of all have passed.
    """
    async with transaction(state, state.clock()) as work:
        await lock_community_of(work, sale_id)
        first = await lock_sale(work.session, sale_id)
        if first is None:
            raise SaleNotFound
        if first.series_id != first.id:
            raise SaleWithoutSlots
        for slot in await _read_slots(work, first.id):
            locked = await lock_sale(work.session, slot.id)
            if locked is not None and locked.state == SaleState.DRAFT and locked.closes_at > work.now:
                await publish_locked(work, locked)
        if not await _has_published(work, first.id):
            raise SaleEnded
    return await _list(state, sale_id)


def _begin(work: Work, first: Sale, window: Window) -> None:
    first.sqlmodel_update({"series_id": first.id, "changed_at": work.now, **window._asdict()})
    work.session.add(first)
    work.record("sale.changed", first.id, sale_id=first.id, fields=["closes_at", "opens_at", "series_id"])
    work.forgotten.add(first.id)


async def _add_slots(work: Work, first: Sale, windows: Sequence[Window]) -> None:
    terms = first.model_dump(exclude=OF_ITS_OWN) | {"state": SaleState.DRAFT}
    offers = (await work.session.exec(select(Offer).where(Offer.sale_id == first.id).order_by(col(Offer.id)))).all()
    slots = [Sale(**terms, **window._asdict(), created_at=work.now, changed_at=work.now) for window in windows]
    work.session.add_all(slots)
    await work.session.flush()
    gate = (await read_gates(work.session, [first]))[first.id]
    for slot in slots:
        work.session.add_all(
            SaleCommunity(sale_id=slot.id, community_id=entrance.community_id) for entrance in gate.entrances[1:]
        )
        work.session.add_all(SaleSegment(sale_id=slot.id, segment_id=id_) for id_ in gate.segment_ids)
        work.session.add_all(
            Offer(**offer.model_dump(exclude={"id", "sale_id"}), sale_id=slot.id) for offer in offers
        )
        record_sale(work, slot, None)


async def _read_slots(work: Work, series_id: str) -> Sequence[Sale]:
    """The sales of a series, the first one first, in the order they are locked in."""
    return (await work.session.exec(select(Sale).where(Sale.series_id == series_id).order_by(col(Sale.id)))).all()


async def _has_published(work: Work, series_id: str) -> bool:
    found = select(Sale.id).where(Sale.series_id == series_id, Sale.state != SaleState.DRAFT).limit(1)
    return (await work.session.exec(found)).first() is not None


async def _list(state: State, series_id: str) -> Page[SalePublic]:
    return await list_sales(
        state, sale_state=None, community_id=None, series_id=series_id, after=None, limit=MAX_SLOTS, drafts=True
    )
