"""What is done with a group whose time is up. What becomes of whom is decided by `app/domain/rescues.py`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count

from sqlalchemy import delete, func, or_
from sqlmodel import col, select

from app.domain.entries import IN_LINE_STATES
from app.domain.groups import GroupState, overdue_reason
from app.domain.orders import OrderState
from app.domain.payments import RefundReason
from app.domain.rescues import OnUnfilled, Outcome, Paid, decide, extended_deadline
from app.domain.sales import smallest
from app.models import Entry, Group, Order, Sale, Seat
from app.services import groups, refunds
from app.services.groups import Seated
from app.services.locks import lock_group, lock_orders
from app.services.places import give_back
from app.services.transactions import Work


class SiblingLocked(Exception):
    """Somebody else is changing the group that members would move to."""


async def close(work: Work, group: Group, sale: Sale) -> None:
    """End a locked group whose time is up, or give it more, as its sale and its members want it.

    Raises `SiblingLocked` when that has to wait a moment; then nothing has changed.
    """
    terms = sale.terms()
    paid = sorted(await lock_orders(work.session, group.id, OrderState.PAID), key=lambda order: order.seat_number)
    merges = any(order.on_unfilled == OnUnfilled.MERGE for order in paid)
    sibling = await _lock_sibling(work, group) if merges else None
    there = [] if sibling is None else await groups.read_seats(work.session, sibling.id)
    later = extended_deadline(terms.rescue, group.deadline_at, sale.closes_at, work.now)
    plan = decide(
        [_as_paid(order, there) for order in paid],
        smallest(terms),
        terms.rescue,
        room=0 if sibling is None else sibling.size - len(there),
        may_extend=later is not None and group.extended_at is None,
    )
    for order in await lock_orders(work.session, group.id, OrderState.HELD):
        await give_back(work, order, OrderState.EXPIRED)
    if plan.orders(Outcome.SEAT):
        await groups.succeed(work, group, plan)
        return
    numbers = _free_numbers(there)
    for order in paid:
        match plan.outcomes[order.id]:
            case Outcome.MOVE if sibling is not None:
                await _move_seat(work, order, sibling, next(numbers))
            case Outcome.SOLO:
                await _seat_alone(work, order)
            case Outcome.REFUND:
                await give_back(work, order, OrderState.REFUNDING)
                await refunds.promise_kept(work, order, RefundReason.GROUP_FAILED)
    moved = plan.orders(Outcome.MOVE)
    if plan.orders(Outcome.WAIT) and later is not None:
        await _extend(work, group, later)
    elif sibling is not None and moved:
        await groups.end(work, group, GroupState.MERGED, ended_at=work.now, merged_into=sibling.id)
    else:
        reason = overdue_reason(terms, group.opened_at, group.deadline_at)
        await groups.end(work, group, GroupState.FAILED, ended_at=work.now, fail_reason=reason)
    if sibling is not None and moved:
        await groups.settle(work, sibling)


async def _lock_sibling(work: Work, group: Group) -> Group | None:
    """The running group of the same product that is nearest to full, locked; None when there is none. One whose
    free seats are for others who wait for them does not count.

    A group is nobody's sibling any more when its own time is up: so two of them never wait for each other.
    """
    taken = select(func.count()).where(Seat.group_id == Group.id).scalar_subquery()
    kept = (
        select(Entry.id)
        .where(
            or_(col(Entry.line_id) == Group.id, col(Entry.group_id) == Group.id),
            col(Entry.state).in_(IN_LINE_STATES),
        )
        .exists()
    )
    found = await work.session.exec(
        select(Group.id)
        .where(
            Group.sale_id == group.sale_id,
            Group.product_id == group.product_id,
            Group.state == GroupState.OPEN,
            Group.deadline_at > work.now,
            ~kept,
        )
        .order_by(col(Group.size) - taken, col(Group.deadline_at), col(Group.id))
        .limit(1),
    )
    sibling_id = found.first()
    if sibling_id is None:
        return None
    sibling = await lock_group(work.session, sibling_id, skip_locked=True)
    if sibling is None or sibling.state != GroupState.OPEN or sibling.deadline_at <= work.now:
        raise SiblingLocked
    return sibling


def _as_paid(order: Order, there: Sequence[Seated]) -> Paid:
    """An order as the rules see it; whoever has a seat in the other group cannot move there."""
    return Paid(
        order.id,
        order.on_unfilled,
        spare=order.quantity - (order.min_quantity or order.quantity),
        moved=order.moved_from is not None or any(seat.member_id == order.member_id for seat in there),
    )


def _free_numbers(seats: Sequence[Seated]) -> Iterator[int]:
    taken = {seat.number for seat in seats}
    return (number for number in count(1) if number not in taken)


async def _move_seat(work: Work, order: Order, target: Group, number: int) -> None:
    """Give a paid order a seat in another locked group instead of its own."""
    await work.session.exec(
        delete(Seat).where(col(Seat.group_id) == order.group_id, col(Seat.order_id) == order.id),
    )
    order.moved_from, order.group_id, order.seat_number = order.group_id, target.id, number
    order.changed_at = work.now
    work.session.add(order)
    work.session.add(
        Seat(group_id=target.id, number=number, size=target.size, member_id=order.member_id, order_id=order.id)
    )
    await work.session.flush()
    work.amended.append(order)
    work.record(
        "order.moved",
        order.id,
        sale_id=order.sale_id,
        group_id=target.id,
        member_id=order.member_id,
        seat=number,
        moved_from=order.moved_from,
    )


async def _seat_alone(work: Work, order: Order) -> None:
    """Let a paid order go through alone, in a group of one, at the price for that."""
    alone = Group(
        sale_id=order.sale_id,
        product_id=(await work.session.get_one(Group, order.group_id)).product_id,
        state=GroupState.OPEN,
        size=1,
        leader_id=order.member_id,
        opened_at=order.paid_at or work.now,
        deadline_at=work.now,
    )
    work.session.add(alone)
    await work.session.flush()
    groups.record_group(work, alone, None)
    await _move_seat(work, order, alone, 1)
    await groups.end(work, alone, GroupState.SUCCEEDED, ended_at=order.paid_at)
    await groups.confirm(work, order, order.unit_price, 0)


async def _extend(work: Work, group: Group, later: datetime) -> None:
    """Give a locked group more time, with the seats it still has."""
    group.deadline_at, group.extended_at = later, work.now
    work.session.add(group)
    await work.session.flush()
    work.extended.append(group)
    work.record("group.extended", group.id, sale_id=group.sale_id, group_id=group.id, member_id=group.leader_id)
    await groups.settle(work, group)
