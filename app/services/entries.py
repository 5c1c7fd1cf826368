"""Standing in line: entering a draw, waiting for what is sold out or full, leaving."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.draws import weigh
from app.domain.entries import (
    ENTRY_TRANSITIONS,
    IN_LINE_STATES,
    OPEN_ENTRY_STATES,
    EntryState,
    awaited_group,
)
from app.domain.errors import (
    AlreadyInGroup,
    AlreadyInLine,
    AmountTooLarge,
    Busy,
    DealerUnavailable,
    DrawClosed,
    EntryNotFound,
    EntryNotWaiting,
    GroupClosed,
    GroupNotFound,
    GroupNotFull,
    KaituanError,
    MemberLimit,
    NotSoldOut,
    OfferNotInGroup,
    OrderLimit,
    SaleIsPlan,
    SaleNotFound,
    TokenInvalid,
    WrongKind,
)
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.money import MAX_AMOUNT
from app.domain.sales import SaleKind, check_open, check_quantity, is_undrawn
from app.models import Entry, Group, Member, Offer, Purchase, Sale, Seat
from app.schemas.entries import EntryCreate, EntryPublic
from app.schemas.fields import Page
from app.services import dealing
from app.services.gates import pass_gate
from app.services.locks import lock_sale_shared
from app.services.pages import read_page
from app.services.terms import published_sale, sale_facts
from app.services.transactions import Work, transaction
from app.state import State

ATTEMPTS = 3
AT_ONCE = 200
"""Entries that are made in one transaction: the draw waits for it."""
PAST_DRAWS = 10
"""Earlier draws that are looked at for a weight."""


async def enter(state: State, member_id: str, sale_id: str, body: EntryCreate) -> EntryPublic:
    """Stand in line: for the draw of a sale, or for an offer that is sold out or a group that is full. Who stands
    there already with the same wish is shown that entry.

    Raises `SaleNotFound`, `OfferNotFound`, `WrongKind` in a bargain sale, `SaleIsPlan`, the refusals of
    `check_open` and `pass_gate`, `OrderLimit`, `AmountTooLarge`, `DrawClosed`, `NotSoldOut`, `GroupNotFound`,
    `GroupClosed`, `GroupNotFull`, `OfferNotInGroup`, `AlreadyInGroup`, `MemberLimit`, `AlreadyInLine`,
    `TokenInvalid`, `Busy`.
    """
    # What is beyond doubt costs no transaction: many come before the opening, and many ask again.
    facts = await sale_facts(state, sale_id, body.offer_id)
    offer = facts.offers[body.offer_id]
    if facts.terms.kind == SaleKind.BARGAIN:
        raise WrongKind(kind=SaleKind.BARGAIN)
    if facts.is_plan:
        raise SaleIsPlan
    check_open(facts.terms, state.clock())
    await pass_gate(state, facts.gate, member_id)
    check_quantity(facts.terms, body.quantity)
    if max(offer.price, offer.solo_price or 0) * body.quantity > MAX_AMOUNT:
        raise AmountTooLarge(limit=MAX_AMOUNT)
    async with state.database.snapshot() as session:
        lines = {sale_id, body.group_id or body.offer_id}
        known = await _find_entry(session, lines, member_id, body)
        if known is not None:
            return await _public(session, known)
    asking = _Asking(member_id, sale_id, body)
    entry = await state.batches(_enter_all, size=AT_ONCE).ask((member_id, sale_id, body.model_dump_json()), asking)
    if entry.line_id != sale_id:
        with suppress(DealerUnavailable):  # then a worker says it
            await state.dealer.add_line(sale_id, entry.line_id if body.group_id else entry.offer_id)
    return await get_entry(state, entry.id, member_id)


@dataclass(frozen=True, slots=True)
class _Asking:
    member_id: str
    sale_id: str
    body: EntryCreate


async def _enter_all(state: State, crowd: Sequence[_Asking]) -> list[Entry | Exception]:
    """Let everybody who asks at the same time enter in one transaction. When the database refuses an entry, because
    its member enters at another process at this moment, they enter one by one, and that one asks again.
    """
    if len(crowd) > 1:
        with suppress(IntegrityError):
            return await _enter_together(state, crowd)
    outcomes: list[Entry | Exception] = []
    for one in crowd:
        for _ in range(ATTEMPTS):
            with suppress(IntegrityError):
                outcomes += await _enter_together(state, [one])
                break
        else:
            outcomes.append(Busy())
    return outcomes


async def _enter_together(state: State, crowd: Sequence[_Asking]) -> list[Entry | Exception]:
    outcomes: list[Entry | Exception] = []
    async with transaction(state, state.clock()) as work:
        # Shared with all who enter: only the draw, the end and the calling of a line wait for each other.
        sales = {id_: await lock_sale_shared(work.session, id_) for id_ in sorted({one.sale_id for one in crowd})}
        for one in crowd:
            try:
                outcomes.append(await _enter(state, work, sales[one.sale_id], one))
            except KaituanError as refusal:  # before anything of it was written
                outcomes.append(refusal)
    return outcomes


async def _enter(state: State, work: Work, sale: Sale | None, one: _Asking) -> Entry:
    member_id, body = one.member_id, one.body
    if sale is None:
        raise SaleNotFound
    offer = await work.session.get_one(Offer, body.offer_id)
    if await work.session.get(Member, member_id) is None:
        raise TokenInvalid
    check_open(sale.terms(), work.now)
    if body.quantity > offer.stock:
        raise OrderLimit(limit=offer.stock)
    line_id = await _find_line(work, sale, offer, body)
    entry = await _find_entry(work.session, {line_id}, member_id, body)
    if entry is not None:
        return entry
    await _check_limit(work, sale, member_id)
    if not is_undrawn(sale.terms()):
        await _check_wait(state, work, sale, offer, member_id, body)
    entry = Entry(
        sale_id=sale.id,
        offer_id=offer.id,
        line_id=line_id,
        member_id=member_id,
        quantity=body.quantity,
        weight=await _weigh(work.session, sale, member_id),
        state=EntryState.WAITING,
        created_at=work.now,
        changed_at=work.now,
    )
    work.session.add(entry)
    await work.session.flush()
    record_entry(work, entry, None)
    return entry


async def _find_entry(session: AsyncSession, line_ids: set[str], member_id: str, body: EntryCreate) -> Entry | None:
    """Where a member stands in one of these lines already; raises `AlreadyInLine` when it is with another wish."""
    found = await session.exec(
        select(Entry).where(
            col(Entry.line_id).in_(line_ids),
            Entry.member_id == member_id,
            col(Entry.state).in_(OPEN_ENTRY_STATES),
        ),
    )
    entry = found.first()
    if entry is not None and (entry.offer_id, entry.quantity) != (body.offer_id, body.quantity):
        raise AlreadyInLine
    return entry


async def _find_line(work: Work, sale: Sale, offer: Offer, body: EntryCreate) -> str:
    """The line that a wish belongs to."""
    if is_undrawn(sale.terms()):
        if work.now >= (sale.draws_at or work.now):
            raise DrawClosed
        if body.group_id is not None:
            raise GroupNotFound
        return sale.id
    if body.group_id is None:
        return offer.id
    group = await work.session.get(Group, body.group_id)
    # A group of one has no seat to wait for.
    if group is None or group.sale_id != sale.id or sale.kind != SaleKind.GROUP:
        raise GroupNotFound
    if group.product_id != offer.product_id:
        raise OfferNotInGroup
    if group.state in FINAL_GROUP_STATES or work.now >= group.deadline_at:
        raise GroupClosed
    return group.id


async def _check_limit(work: Work, sale: Sale, member_id: str) -> None:
    bought = await work.session.exec(
        select(func.count()).where(Purchase.sale_id == sale.id, Purchase.member_id == member_id),
    )
    if bought.one() >= sale.member_limit:
        raise MemberLimit(limit=sale.member_limit)


async def _check_wait(
    state: State, work: Work, sale: Sale, offer: Offer, member_id: str, body: EntryCreate
) -> None:
    """Refuse to wait for what one can have now."""
    lines = await dealing.read_lines(work.session, [sale])
    if body.group_id is not None:
        await _check_full(state, work, sale, body.group_id, member_id, lines)
        return
    left = offer.stock - await _count_taken(state, work, sale.id, offer.id)
    if left >= body.quantity and offer.id not in lines:
        raise NotSoldOut(left=left)


async def _check_full(state: State, work: Work, sale: Sale, group_id: str, member_id: str, lines: set[str]) -> None:
    group = await work.session.get_one(Group, group_id)
    seats = await work.session.exec(select(Seat.member_id).where(Seat.group_id == group_id))
    members = list(seats.all())
    if member_id in members:
        raise AlreadyInGroup
    held = 0
    with suppress(DealerUnavailable):
        counts = (await state.dealer.group_counts(sale.id, [group_id])).get(group_id)
        held = 0 if counts is None else counts.held + counts.paid
    if max(held, len(members)) < group.size and group_id not in lines:
        raise GroupNotFull


async def _count_taken(state: State, work: Work, sale_id: str, offer_id: str) -> int:
    """Units taken of an offer: as the rows say, or as Redis does, where claims are on their way to the rows."""
    counted = (await dealing.count_units(work.session, [offer_id]))[offer_id]
    with suppress(DealerUnavailable):
        return max(counted, (await state.dealer.taken(sale_id, [offer_id])).get(offer_id, 0))
    return counted


async def _weigh(session: AsyncSession, sale: Sale, member_id: str) -> int:
    if not is_undrawn(sale.terms()) or sale.max_weight == 1:
        return 1
    past = await session.exec(
        select(Entry.state)
        .join(Sale, col(Sale.id) == Entry.sale_id)
        .where(
            Entry.member_id == member_id,
            Sale.community_id == sale.community_id,
            col(Entry.rank).is_not(None),
            col(Entry.state).not_in({*IN_LINE_STATES, EntryState.LEFT}),
        )
        .order_by(col(Entry.id).desc())
        .limit(PAST_DRAWS),
    )
    return weigh(map(EntryState, past.all()), sale.max_weight)


async def leave(state: State, entry_id: str, member_id: str) -> EntryPublic:
    """Leave the line; asking again changes nothing more. Raises `EntryNotFound`, `EntryNotWaiting`."""
    async with transaction(state, state.clock()) as work:
        entry = await work.session.get(Entry, entry_id)
        if entry is None or entry.member_id != member_id:
            raise EntryNotFound
        await lock_sale_shared(work.session, entry.sale_id)  # a draw that is under way has it, or has it not
        moved = await work.advance(ENTRY_TRANSITIONS, entry, EntryState.LEFT, changed_at=work.now)
        if moved is not None:
            record_entry(work, moved, EntryState.WAITING)
        elif (await _reread(work, entry)).state != EntryState.LEFT:
            raise EntryNotWaiting(state=entry.state)
    return await get_entry(state, entry_id, member_id)


async def _reread(work: Work, entry: Entry) -> Entry:
    await work.session.refresh(entry)
    return entry


async def lose_line(work: Work, sale: Sale) -> None:
    """Tell everybody who waits in a locked sale that ends that they got nothing. Who was called at this moment is
    told by the worker that makes their order.
    """
    lost = await work.session.exec(
        update(Entry)
        .where(col(Entry.sale_id) == sale.id, col(Entry.state) == EntryState.WAITING)
        .values(state=EntryState.LOST, changed_at=work.now)
        .returning(col(Entry.id), col(Entry.member_id)),
    )
    for entry_id, member_id in lost.all():
        states = (EntryState.WAITING, EntryState.LOST)
        work.record("entry.lost", entry_id, states=states, sale_id=sale.id, member_id=member_id)


async def get_entry(state: State, entry_id: str, member_id: str) -> EntryPublic:
    """An entry of this member. Raises `EntryNotFound`, also for somebody else's."""
    async with state.database.snapshot() as session:
        entry = await session.get(Entry, entry_id)
        if entry is None or entry.member_id != member_id:
            raise EntryNotFound
        return await _public(session, entry)


async def list_entries(
    state: State, member_id: str, sale_id: str, after: str | None, limit: int
) -> Page[EntryPublic]:
    """A member's entries in a sale, newest first. Raises `SaleNotFound`."""
    statement = select(Entry).where(Entry.member_id == member_id, Entry.sale_id == sale_id)
    async with state.database.snapshot() as session:
        await published_sale(session, sale_id)
        rows, following = await read_page(session, Entry, statement, after, limit)
        return Page[EntryPublic](items=[await _public(session, row) for row in rows], next=following)


def record_entry(work: Work, entry: Entry, before: EntryState | None, reason: str | None = None) -> None:
    """Write the event of an entry's new state."""
    more = {"order_id": entry.order_id, "reason": reason}
    work.record(
        f"entry.{entry.state}",
        entry.id,
        states=(before, entry.state),
        sale_id=entry.sale_id,
        member_id=entry.member_id,
        offer_id=entry.offer_id,
        quantity=entry.quantity,
        weight=entry.weight,
        **{name: value for name, value in more.items() if value is not None},
    )


async def _public(session: AsyncSession, entry: Entry) -> EntryPublic:
    return EntryPublic(
        **entry.model_dump(include=set(EntryPublic.model_fields) - {"group_id"}),
        group_id=entry.group_id or awaited_group(entry.line_id),
        position=await _position(session, entry),
    )


async def _position(session: AsyncSession, entry: Entry) -> int | None:
    """How many are to be served before a waiting entry, plus one; None where nobody knows or it waits no more."""
    if entry.state != EntryState.WAITING or (entry.line_id == entry.sale_id and entry.rank is None):
        return None
    before = (
        or_(col(Entry.rank).is_not(None), col(Entry.id) < entry.id)
        if entry.rank is None
        else col(Entry.rank) < entry.rank
    )
    line = [entry.line_id] if awaited_group(entry.line_id) else [entry.sale_id, entry.offer_id]
    ahead = await session.exec(
        select(func.count()).where(
            Entry.sale_id == entry.sale_id,
            Entry.offer_id == entry.offer_id,
            col(Entry.line_id).in_(line),
            col(Entry.state).in_(IN_LINE_STATES),
            before,
        ),
    )
    return ahead.one() + 1
