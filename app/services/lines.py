"""Serving a line: who is next is called, is made an order by the one way of a claim, and has that long to pay it.

1. `call`, under the lock of the sale, keeps free units for those whose turn it is. So nobody overtakes, whichever
   worker makes the orders.
2. `serve` claims for them. The request's key is the entry's: whoever does it again gets the same order.
3. `settle` notes the order on the entry, and later what became of it. A process that dies before that leaves an
   order, which is found by its key.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

import sqlalchemy
from sqlalchemy import and_, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.entries import (
    ENTRY_TRANSITIONS,
    IN_LINE_STATES,
    EntryState,
    Room,
    Waiting,
    awaited_group,
    take_turns,
)
from app.domain.errors import (
    DealerUnavailable,
    GroupClosed,
    GroupFull,
    IdempotencyKeyReused,
    KaituanError,
    SaleNotOpen,
    SalePaused,
    SoldOut,
    UnavailableError,
)
from app.domain.groups import FINAL_GROUP_STATES, GroupState
from app.domain.orders import OrderState
from app.domain.sales import SaleKind, SaleState, serves_line, smallest
from app.models import Entry, Group, Offer, Order, Sale, Seat, new_id
from app.schemas.groups import ClaimCreate
from app.services import claims, dealing
from app.services.entries import record_entry
from app.services.locks import lock_sale
from app.services.transactions import Work, transaction
from app.state import State

KEY = "entry "
"""Before an entry's id in the key of its claim: members cannot send a space, and so not this key."""
ORDER_OF_ENTRY = and_(
    col(Order.sale_id) == Entry.sale_id,
    col(Order.member_id) == Entry.member_id,
    col(Order.request_key) == sqlalchemy.literal(KEY) + col(Entry.id),
)
IN_TURN = (col(Entry.rank).is_(None), col(Entry.rank), col(Entry.id))
LOOKED_AT = 1000
"""How far behind a party that does not fit others are looked for."""
ROOMS = 100
"""Groups that those in line may be called to, nearest to full."""
AT_ONCE = 20
NOT_YET = (SoldOut, GroupFull, GroupClosed, SalePaused, SaleNotOpen)
"""Refusals of a claim that say nothing about its member: the next call looks at the rows again."""


async def call(state: State, sale_id: str, _now: datetime) -> bool:
    """Call those in line for whom there are units. True when anybody was called, or has to wait on."""
    async with transaction(state, state.clock()) as work:
        sale = await lock_sale(work.session, sale_id)
        if sale is None or not serves_line(sale.terms(), work.now):
            return False
        in_line = select(Entry.offer_id).where(Entry.sale_id == sale_id, col(Entry.state).in_(IN_LINE_STATES))
        offers = await work.session.exec(select(Offer).where(col(Offer.id).in_(in_line)).order_by(col(Offer.id)))
        return any([await _call(work, sale, offer) for offer in offers.all()])


async def _call(work: Work, sale: Sale, offer: Offer) -> bool:
    # Before the units are counted: an order that is committed meanwhile counts twice then, and not never.
    called = await _read_called(work.session, offer.id)
    free = offer.stock - (await dealing.count_units(work.session, [offer.id]))[offer.id]
    wanted = {entry.group_id for entry in called if entry.group_id}
    line = await _read_line(work.session, offer.id) if free > 0 or called else []
    wanted |= {group_id for entry in line if (group_id := awaited_group(entry.line_id))}
    rooms = await _read_rooms(work, sale, offer, wanted) if sale.kind == SaleKind.GROUP else {}
    known = await _group_states(work.session, wanted)
    changed = False
    for entry in called:
        room = rooms.get(entry.group_id or "")
        seats = (0 if entry.group_id in known else 1) if room is None else room.seats
        if entry.quantity > free or seats < 1:
            changed |= await _advance(work, entry, EntryState.WAITING, group_id=None)
            continue
        free -= entry.quantity
        if room is not None and entry.group_id:
            rooms[entry.group_id] = Room(seats - 1, [*room.members, entry.member_id])
    over = {group_id for group_id, state in known.items() if state in FINAL_GROUP_STATES}
    waiting = [
        Waiting(row.id, row.member_id, row.quantity, awaited_group(row.line_id), over=row.line_id in over)
        for row in line
    ]
    turns = take_turns(waiting, free, rooms, size=sale.group_size, enough=smallest(sale.terms()))
    by_id = {row.id: row for row in line}
    targets = [(one, group_id) for one, group_id in turns.joins]
    for party in turns.openings:
        group_id = new_id("grp")
        targets += [(one, group_id) for one in party]
    for one, group_id in targets:
        changed |= await _advance(work, by_id[one.id], EntryState.CALLED, group_id=group_id)
    return changed


async def _read_called(session: AsyncSession, offer_id: str) -> Sequence[Entry]:
    """Those who were called and have no order yet."""
    ordered = select(Order.id).where(ORDER_OF_ENTRY).exists()
    found = await session.exec(
        select(Entry)
        .where(Entry.offer_id == offer_id, Entry.state == EntryState.CALLED, ~ordered)
        .order_by(*IN_TURN),
    )
    return found.all()


async def _read_line(session: AsyncSession, offer_id: str) -> Sequence[Entry]:
    found = await session.exec(
        select(Entry)
        .where(Entry.offer_id == offer_id, Entry.state == EntryState.WAITING)
        .order_by(*IN_TURN)
        .limit(LOOKED_AT),
    )
    return found.all()


async def _read_rooms(work: Work, sale: Sale, offer: Offer, wanted: set[str]) -> dict[str, Room]:
    """The running groups that buy an offer's product and have free seats: those that are wanted, and others."""
    taken = select(func.count()).where(Seat.group_id == Group.id).scalar_subquery()
    running = select(Group.id, Group.size - taken).where(
        Group.sale_id == sale.id,
        Group.product_id == offer.product_id,
        Group.state == GroupState.OPEN,
        Group.deadline_at > work.now,
    )
    # Who waits for no group in particular is not sent to one that leaves them no time to pay.
    in_time = running.where(
        Group.deadline_at >= min(work.now + timedelta(seconds=sale.hold_ttl_seconds), sale.closes_at)
    )
    nearest = await work.session.exec(in_time.order_by(Group.size - taken, col(Group.id)).limit(ROOMS))
    named = await work.session.exec(running.where(col(Group.id).in_(wanted)))
    free = dict([*nearest.all(), *named.all()])
    seats = await work.session.exec(select(Seat.group_id, Seat.member_id).where(col(Seat.group_id).in_(free)))
    members: dict[str, list[str]] = {group_id: [] for group_id in free}
    for group_id, member_id in seats.all():
        members[group_id].append(member_id)
    return {group_id: Room(left, members[group_id]) for group_id, left in free.items() if left > 0}


async def _group_states(session: AsyncSession, group_ids: set[str]) -> dict[str, GroupState]:
    """The states of these groups, without those that are still to be opened."""
    found = await session.exec(select(Group.id, Group.state).where(col(Group.id).in_(group_ids)))
    return {group_id: GroupState(state) for group_id, state in found.all()}


async def _advance(
    work: Work, entry: Entry, target: EntryState, reason: str | None = None, **values: str | None
) -> bool:
    before = entry.state
    moved = await work.advance(ENTRY_TRANSITIONS, entry, target, changed_at=work.now, **values)
    if moved is not None:
        record_entry(work, moved, before, reason)
    return moved is not None


async def serve(state: State, sale_id: str, now: datetime) -> bool:
    """Make the orders of those who were called. True when anybody got one, or never will."""
    async with state.database.snapshot() as session:
        sale = await session.get_one(Sale, sale_id)
        found = await session.exec(
            select(Entry)
            .where(Entry.sale_id == sale_id, Entry.state == EntryState.CALLED)
            .order_by(*IN_TURN)
            .limit(LOOKED_AT),
        )
        called = found.all()
    group_of = attrgetter("group_id")
    parties = [list(party) for _, party in groupby(sorted(called, key=group_of), group_of)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def serve_in_turn(party: list[Entry]) -> bool:
        async with gate:
            return any([await _serve(state, sale, entry, now) for entry in party])

    return any(await asyncio.gather(*map(serve_in_turn, parties)))


async def _serve(state: State, sale: Sale, entry: Entry, now: datetime) -> bool:
    """Claim for one entry. The first of a new group opens it, the others join."""
    body = ClaimCreate(offer_id=entry.offer_id, quantity=entry.quantity)
    key, group_id = f"{KEY}{entry.id}", entry.group_id or new_id("grp")
    try:
        await claims.award(state, sale.kind, entry.member_id, entry.sale_id, body, group_id, key)
    except IdempotencyKeyReused:
        pass  # its order was made when it was called before, to another group
    except UnavailableError:
        return False
    except KaituanError as refusal:
        if isinstance(refusal, NOT_YET) and sale.state != SaleState.ENDED:
            return False
        async with transaction(state, state.clock()) as work:
            return await _advance(work, entry, EntryState.LOST, refusal.code, group_id=None)
    return await settle(state, entry.id, now)


async def settle(state: State, entry_id: str, _now: datetime) -> bool:
    """Note the order of an entry, and what became of it: paid, or lapsed. True when anything changed."""
    async with transaction(state, state.clock()) as work:
        found = await work.session.exec(
            select(Entry, Order).join(Order, ORDER_OF_ENTRY).where(Entry.id == entry_id)
        )
        both = found.one_or_none()
        if both is None:
            return False
        entry, order = both
        changed = False
        if entry.state == EntryState.WAITING:  # it was called, and has to wait on; but the order had been made
            changed |= await _advance(work, entry, EntryState.CALLED, group_id=order.group_id)
        if entry.state == EntryState.CALLED:
            values = {"group_id": order.group_id, "order_id": order.id}
            changed |= await _advance(work, entry, EntryState.OFFERED, **values)
        if entry.state == EntryState.OFFERED and order.state != OrderState.HELD:
            outcome = EntryState.TAKEN if order.paid_at else EntryState.LAPSED
            changed |= await _advance(work, entry, outcome)
        return changed


async def tell(state: State, sale_id: str, _now: datetime) -> bool:
    """Tell the dealer what people wait for in a sale, as the rows have it. It was told of everybody who began to
    wait, but perhaps that was lost; that nobody waits any more, only this tells. False: there is nothing more to
    do.
    """
    try:
        async with transaction(state, state.clock()) as work:
            # Who stands in line meanwhile waits for the lock, and tells of it after.
            sale = await lock_sale(work.session, sale_id)
            if sale is not None:
                await state.dealer.set_lines(sale_id, sorted(await dealing.read_lines(work.session, [sale])))
    except DealerUnavailable:
        pass
    return False
