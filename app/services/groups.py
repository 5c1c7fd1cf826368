"""Groups: who sits in them, what state follows, and how they end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy
from sqlalchemy import Integer, and_, case, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import SaleNotFound
from app.domain.groups import (
    FINAL_GROUP_STATES,
    GROUP_TRANSITIONS,
    FailReason,
    GroupState,
    next_state,
    overdue_reason,
)
from app.domain.ladders import Step, gap, next_step, price_at
from app.domain.members import mask_name
from app.domain.orders import ORDER_TRANSITIONS, PAID_SEAT_STATES, OrderState
from app.domain.payments import RefundReason
from app.domain.sales import SaleState, smallest
from app.models import Group, Member, Offer, Order, Sale, Seat
from app.schemas.groups import GroupList, GroupPublic, GroupSummary, PricePublic, SeatPublic
from app.services import refunds
from app.services.locks import lock_orders
from app.services.places import give_back, record_order
from app.services.transactions import Work
from app.state import State


@dataclass(frozen=True, slots=True)
class Seated:
    """A taken seat with what is shown of it."""

    number: int
    member_id: str
    name: str
    paid: bool


async def list_groups(state: State, sale_id: str, group_state: GroupState, limit: int, now: datetime) -> GroupList:
    """Groups of a sale in one state, nearest to full first. Open groups past their deadline are left out.

    Raises `SaleNotFound`.
    """
    paid = func.sum(case((col(Order.state).in_(PAID_SEAT_STATES), 1), else_=0))
    taken = func.count(col(Seat.number))
    statement = (
        select(Group, Member.name, taken, func.coalesce(func.cast(paid, Integer), 0))
        .join(Member, col(Member.id) == Group.leader_id)
        .join(Seat, col(Seat.group_id) == Group.id, isouter=True)
        .join(Order, col(Order.id) == Seat.order_id, isouter=True)
        .where(Group.sale_id == sale_id, Group.state == group_state)
        .group_by(col(Group.id), col(Member.name))
        .order_by(col(Group.size) - taken, col(Group.deadline_at), col(Group.id))
        .limit(limit)
    )
    if group_state not in FINAL_GROUP_STATES:
        statement = statement.where(Group.deadline_at > now)
    async with state.database.snapshot() as session:
        sale = await session.get(Sale, sale_id)
        if sale is None or sale.state == SaleState.DRAFT:
            raise SaleNotFound
        rows = (await session.exec(statement)).all()
    return GroupList(
        items=[
            GroupSummary(**_counts(group, mask_name(name), seats - paid, paid)) for group, name, seats, paid in rows
        ],
    )


async def read_seats(session: AsyncSession, group_id: str) -> list[Seated]:
    """The taken seats of a group, by number."""
    return (await read_all_seats(session, [group_id]))[group_id]


async def read_all_seats(session: AsyncSession, group_ids: Collection[str]) -> dict[str, list[Seated]]:
    """The taken seats of groups, by group and number."""
    rows = await session.exec(
        sqlalchemy.select(  # type: ignore[call-overload]
            *(col(Seat.group_id), col(Seat.number), col(Seat.member_id), col(Member.name), col(Order.state)),
        )
        .join(Member, col(Member.id) == Seat.member_id)
        .join(Order, col(Order.id) == Seat.order_id)
        .where(col(Seat.group_id).in_(group_ids))
        .order_by(col(Seat.group_id), col(Seat.number)),
    )
    found: dict[str, list[Seated]] = {group_id: [] for group_id in group_ids}
    for group_id, number, member_id, name, order_state in rows.all():
        found[group_id].append(Seated(number, member_id, name, paid=order_state in PAID_SEAT_STATES))
    return found


Ladders = Mapping[str, Sequence[Step]]
"""The prices of offers by head count, by their ids."""


async def read_ladders(session: AsyncSession, group_ids: Collection[str]) -> dict[str, dict[str, list[Step]]]:
    """The price ladders of groups, by group and offer; without groups that have none."""
    rows = await session.exec(
        select(Group.id, Sale, Offer)
        .join(Sale, col(Sale.id) == Group.sale_id)
        .join(Offer, and_(col(Offer.sale_id) == Group.sale_id, col(Offer.product_id) == Group.product_id))
        .where(col(Group.id).in_(group_ids), col(Sale.min_size).is_not(None))
        .order_by(col(Offer.id)),
    )
    found: dict[str, dict[str, list[Step]]] = {}
    for group_id, sale, offer in rows.all():
        if offer.ladder:
            found.setdefault(group_id, {})[offer.id] = offer.steps(sale.terms())
    return found


async def views(session: AsyncSession, group_ids: Collection[str]) -> dict[str, GroupPublic]:
    """Groups as a stranger may see them, by their ids; those there are."""
    found = await session.exec(
        select(Group, Member.name)
        .join(Member, col(Member.id) == Group.leader_id)
        .where(col(Group.id).in_(group_ids)),
    )
    seats, ladders = await read_all_seats(session, group_ids), await read_ladders(session, group_ids)
    return {
        group.id: present(group, seats[group.id], leader_name, ladders.get(group.id, {}), None)
        for group, leader_name in found.all()
    }


def present(
    group: Group, seats: Sequence[Seated], leader_name: str, ladders: Ladders, viewer_id: str | None
) -> GroupPublic:
    """Shape a group for a viewer: its own members see names, strangers see masked ones."""
    inside = any(seat.member_id == viewer_id for seat in seats)
    paid = sum(seat.paid for seat in seats)
    shown = leader_name if inside else mask_name(leader_name)
    return GroupPublic(
        **_counts(group, shown, len(seats) - paid, paid),
        members=[
            SeatPublic(
                number=seat.number,
                name=seat.name if inside else mask_name(seat.name),
                leader=seat.member_id == group.leader_id,
                paid=seat.paid,
                you=seat.member_id == viewer_id,
            )
            for seat in seats
        ],
        prices=[_price(offer_id, steps, paid) for offer_id, steps in ladders.items()],
    )


def _price(offer_id: str, steps: Sequence[Step], heads: int) -> PricePublic:
    following = next_step(steps, heads)
    return PricePublic(
        offer_id=offer_id,
        price=price_at(steps, heads + 1),
        next_price=None if following is None else following.price,
        heads_to_next=None if following is None else following.heads - heads,
    )


async def settle(work: Work, group: Group) -> None:
    """Move a locked group to the state its seats call for, after any of them changed. A final one stays."""
    if group.state in FINAL_GROUP_STATES:
        return
    seats = await read_seats(work.session, group.id)
    paid = sum(seat.paid for seat in seats)
    await _pass_lead(work, group, seats)
    match next_state(group.state, group.size, len(seats) - paid, paid):
        case group.state:
            pass
        case GroupState.SUCCEEDED:
            await _succeed(work, group)
        case GroupState.FAILED:
            await fail(work, group, FailReason.EMPTY)
        case target:
            await _move(work, group, target)


async def fail(work: Work, group: Group, reason: FailReason) -> None:
    """End a locked group without success: unpaid orders expire, paid ones are refunded, all places return."""
    moved = await _move(work, group, GroupState.FAILED, ended_at=work.now, fail_reason=reason)
    if moved is None:
        return
    work.closed.append(moved)
    for order in await lock_orders(work.session, group.id, OrderState.HELD):
        await give_back(work, order, OrderState.EXPIRED)
    for order in await lock_orders(work.session, group.id, OrderState.PAID):
        await give_back(work, order, OrderState.REFUNDING)
        await refunds.promise_kept(work, order, RefundReason.GROUP_FAILED)


async def close(work: Work, group: Group, sale: Sale) -> None:
    """End a locked group whose time is up: with success when enough have paid, which need not be all."""
    seats = await read_seats(work.session, group.id)
    if sum(seat.paid for seat in seats) < smallest(sale.terms()):
        await fail(work, group, overdue_reason(sale.terms(), group.opened_at, group.deadline_at))
        return
    for order in await lock_orders(work.session, group.id, OrderState.HELD):
        await give_back(work, order, OrderState.EXPIRED)
    await _succeed(work, group)


async def _succeed(work: Work, group: Group) -> None:
    orders = await lock_orders(work.session, group.id, OrderState.PAID)
    ended_at = max(order.paid_at for order in orders if order.paid_at is not None)
    moved = await _move(work, group, GroupState.SUCCEEDED, ended_at=ended_at)
    if moved is None:
        return
    work.closed.append(moved)
    ladders = (await read_ladders(work.session, [group.id])).get(group.id, {})
    prices = {offer_id: price_at(steps, len(orders)) for offer_id, steps in ladders.items()}
    for order in orders:
        settled = prices.get(order.offer_id)
        confirmed = await work.advance(
            ORDER_TRANSITIONS,
            order,
            OrderState.CONFIRMED,
            confirmed_at=work.now,
            changed_at=work.now,
            settled_price=None if settled is None else min(settled, order.unit_price),
        )
        if confirmed is None:
            continue
        record_order(work, confirmed, OrderState.PAID)
        if settled is not None and (owed := gap(order.unit_price, settled, order.quantity)):
            await refunds.promise_gap(work, confirmed, owed)


async def _move(work: Work, group: Group, target: GroupState, **values: datetime | FailReason) -> Group | None:
    before = group.state
    moved = await work.advance(GROUP_TRANSITIONS, group, target, **values)
    if moved is not None:
        name = "reopened" if target == GroupState.OPEN else target
        work.record(
            f"group.{name}",
            group.id,
            states=(before, target),
            sale_id=group.sale_id,
            group_id=group.id,
            member_id=moved.leader_id,
        )
    return moved


async def _pass_lead(work: Work, group: Group, seats: list[Seated]) -> None:
    """When the leader has left, the member of the lowest seat leads."""
    if not seats or any(seat.member_id == group.leader_id for seat in seats):
        return
    group.leader_id = seats[0].member_id
    work.session.add(group)
    await work.session.flush()
    work.record(
        "group.leader_changed",
        group.id,
        sale_id=group.sale_id,
        group_id=group.id,
        member_id=group.leader_id,
        seat=seats[0].number,
    )


def _counts(group: Group, leader_name: str, held: int, paid: int) -> dict[str, object]:
    return {
        "id": group.id,
        "sale_id": group.sale_id,
        "product_id": group.product_id,
        "state": group.state,
        "size": group.size,
        "held": held,
        "paid": paid,
        "left": 0 if group.state in FINAL_GROUP_STATES else group.size - held - paid,
        "leader_name": leader_name,
        "opened_at": group.opened_at,
        "deadline_at": group.deadline_at,
        "ended_at": group.ended_at,
        "fail_reason": group.fail_reason,
    }
