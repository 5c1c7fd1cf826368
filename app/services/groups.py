"""Groups: who sits in them, what state follows, and how they end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Integer, and_, case, func, literal, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.groups import (
    FINAL_GROUP_STATES,
    GROUP_TRANSITIONS,
    FailReason,
    GroupState,
    next_state,
)
from app.domain.ladders import Step, gap, next_step, price_at
from app.domain.members import SeenBy, mask_name
from app.domain.notices import NoticeKind, Wording
from app.domain.orders import ORDER_TRANSITIONS, PAID_SEAT_STATES, OrderState
from app.domain.rescues import Plan
from app.models import Group, Member, Offer, Order, Sale, Seat
from app.schemas.groups import GroupList, GroupPublic, GroupSummary, PricePublic, SeatPublic
from app.schemas.trust import FriendsIn
from app.services import bargains, refunds, trust
from app.services.locks import lock_orders
from app.services.notices import notify
from app.services.places import give_units_back, record_order
from app.services.terms import published_sale
from app.services.transactions import Work
from app.state import State


@dataclass(frozen=True, slots=True)
class Seated:
    """A taken seat with what is shown of it."""

    number: int
    member_id: str
    name: str
    paid: bool
    seen_by_friends: SeenBy = SeenBy.NAMED


async def list_groups(
    state: State,
    sale_id: str,
    group_state: GroupState,
    limit: int,
    now: datetime,
    viewer_id: str | None = None,
) -> GroupList:
    """Groups of a sale in one state: those with friends of the viewer first, then nearest to full first. Open
    groups past their deadline are left out.

    Raises `SaleNotFound`.
    """
    known = await trust.known_to(state, viewer_id)
    paid = func.sum(case((col(Order.state).in_(PAID_SEAT_STATES), 1), else_=0))
    taken = func.count(col(Seat.number))
    statement = (
        select(Group, Member.name, taken, func.coalesce(func.cast(paid, Integer), 0))
        .join(Member, col(Member.id) == Group.leader_id)
        .join(Seat, col(Seat.group_id) == Group.id, isouter=True)
        .join(Order, col(Order.id) == Seat.order_id, isouter=True)
        .where(Group.sale_id == sale_id, Group.state == group_state)
        .group_by(col(Group.id), col(Member.name))
        .limit(limit)
    )
    nearest = (col(Group.size) - taken, col(Group.deadline_at), col(Group.id))
    if group_state not in FINAL_GROUP_STATES:
        statement = statement.where(Group.deadline_at > now)
    async with state.database.snapshot() as session:
        await published_sale(session, sale_id)
        friends = await trust.find_groups(session, known, sale_id)
        with_friends = case((col(Group.id).in_(friends), 0), else_=1) if friends else literal(0)
        rows = (await session.exec(statement.order_by(with_friends, *nearest))).all()
    return GroupList(
        items=[
            GroupSummary(**_counts(group, mask_name(name), seats - paid, paid), friends_in=friends.get(group.id))
            for group, name, seats, paid in rows
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
            col(Member.seen_by_friends),
        )
        .join(Member, col(Member.id) == Seat.member_id)
        .join(Order, col(Order.id) == Seat.order_id)
        .where(col(Seat.group_id).in_(group_ids))
        .order_by(col(Seat.group_id), col(Seat.number)),
    )
    found: dict[str, list[Seated]] = {group_id: [] for group_id in group_ids}
    for group_id, number, member_id, name, order_state, seen_by in rows.all():
        paid = order_state in PAID_SEAT_STATES
        found[group_id].append(Seated(number, member_id, name, paid=paid, seen_by_friends=seen_by))
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
    group: Group,
    seats: Sequence[Seated],
    leader_name: str,
    ladders: Ladders,
    viewer_id: str | None,
    friends_in: FriendsIn | None = None,
) -> GroupPublic:
    """Shape a group for a viewer: its own members see names, strangers see masked ones."""
    inside = any(seat.member_id == viewer_id for seat in seats)
    paid = sum(seat.paid for seat in seats)
    shown = leader_name if inside else mask_name(leader_name)
    return GroupPublic(
        **_counts(group, shown, len(seats) - paid, paid),
        friends_in=friends_in,
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
            await succeed(work, group, Plan())
        case GroupState.FAILED as target:
            await end(work, group, target, ended_at=work.now, fail_reason=FailReason.EMPTY)
        case target:
            await move(work, group, target)


async def end(work: Work, group: Group, target: GroupState, **values: Any) -> None:
    """End a locked group, unless it has ended. Its places have their own way."""
    moved = await move(work, group, target, **values)
    if moved is not None:
        work.closed.append(moved)


async def succeed(work: Work, group: Group, plan: Plan) -> None:
    """End a locked group with success for everybody who has paid; `plan` says how it was filled up."""
    orders = await lock_orders(work.session, group.id, OrderState.PAID)
    ended_at = max(order.paid_at for order in orders if order.paid_at is not None)
    extra = sum(plan.extra.values())
    await end(work, group, GroupState.SUCCEEDED, ended_at=ended_at, covered=plan.covered, extra=extra)
    prices = await _final_prices(work.session, group.id, len(orders) + extra)
    for order in orders:
        await confirm(work, order, prices.get(order.offer_id), plan.extra.get(order.id, 0))


async def confirm(work: Work, order: Order, price: int | None, extra: int) -> None:
    """Let a paid order go through. It comes to `price` for a unit, never to more than was paid; None leaves that
    as it is. Of spare units it keeps so many; what was paid for more is given back.
    """
    quantity = order.quantity if order.min_quantity is None else order.min_quantity + extra
    settled = min(order.unit_price if price is None else price, order.unit_price)
    confirmed = await work.advance(
        ORDER_TRANSITIONS,
        order,
        OrderState.CONFIRMED,
        confirmed_at=work.now,
        changed_at=work.now,
        settled_price=None if price is None and order.min_quantity is None else settled,
        settled_quantity=None if order.min_quantity is None else quantity,
    )
    if confirmed is None:
        return
    await give_units_back(work, confirmed, keep=quantity)
    record_order(work, confirmed, OrderState.PAID)
    notify(work, [order.member_id], NoticeKind.ORDER, Wording.ORDER_CONFIRMED, subject_id=order.id)
    if confirmed.bargain_id is not None:
        await bargains.conclude(work, confirmed.bargain_id)
    if owed := gap(order.unit_price, settled, quantity) + order.unit_price * (order.quantity - quantity):
        await refunds.promise_gap(work, confirmed, owed)


async def _final_prices(session: AsyncSession, group_id: str, heads: int) -> dict[str, int]:
    """What a unit of each offer comes to with so many heads; without offers that had one price for everybody."""
    rows = await session.exec(
        select(Sale, Offer)
        .join(Group, col(Group.sale_id) == Sale.id)
        .join(Offer, and_(col(Offer.sale_id) == Sale.id, col(Offer.product_id) == Group.product_id))
        .where(Group.id == group_id, or_(col(Sale.min_size).is_not(None), col(Offer.solo_price).is_not(None))),
    )
    return {
        offer.id: price_at(offer.steps(sale.terms()), heads)
        for sale, offer in rows.all()
        if offer.ladder or offer.solo_price is not None
    }


async def move(work: Work, group: Group, target: GroupState, **values: Any) -> Group | None:
    """Move a locked group to a state, and write the event of it; None when it may not go there."""
    before = group.state
    moved = await work.advance(GROUP_TRANSITIONS, group, target, **values)
    if moved is not None:
        record_group(work, moved, before)
    return moved


def record_group(work: Work, group: Group, before: GroupState | None) -> None:
    """Write the event of a group's new state."""
    name = group.state if group.state != GroupState.OPEN else "opened" if before is None else "reopened"
    work.record(
        f"group.{name}",
        group.id,
        states=(before, group.state),
        sale_id=group.sale_id,
        group_id=group.id,
        member_id=group.leader_id,
    )


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
        "covered": group.covered,
        "extra": group.extra,
        "extended_at": group.extended_at,
        "merged_into": group.merged_into,
    }
