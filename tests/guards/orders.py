"""Guards of orders, groups, deadlines, and the locks they all take."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import SQLModel, select

from app.domain.errors import (
    OrderNotCompletable,
    OrderNotFound,
    OrderNotHeld,
    OrderNotRefundable,
    OrderNotShippable,
)
from app.domain.groups import FailReason, GroupState
from app.domain.orders import OrderState
from app.domain.refunds import REFUND_TRANSITIONS, RefundState
from app.gateways.payments.provider import RefundAnswer
from app.models import Group, Order, Payment, Refund, Sale
from app.services import deadlines, groups, locks, orders, payments, refunds, sales
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.money import ANY_ORDER, wrongly_paid
from tests.guards.world import World

ORDERS, GROUPS, DEADLINES, LOCKS = (f"app.services.{name}" for name in ("orders", "groups", "deadlines", "locks"))
GIVE_BACK = Cut("app.services.places.give_back", "ORDER_TRANSITIONS", ANY_ORDER)
ANY_GROUP = "dict.fromkeys(GroupState, frozenset(GroupState))"


@notices(
    *cuts(f"{ORDERS}.get_order", "order.member_id != member_id"),
    *cuts(f"{ORDERS}.cancel", "locked[0].member_id != member_id"),
)
async def an_order_is_its_own_members(world: World) -> None:
    held = await world.held()
    with pytest.raises(OrderNotFound):
        await orders.get_order(world.state, held.order_id, world.friend.id)
    with pytest.raises(OrderNotFound):
        await orders.cancel(world.state, held.order_id, world.friend.id)


@notices(
    GIVE_BACK,
    *cuts(f"{ORDERS}.cancel", "await give_back(work, order, OrderState.CANCELLED) is None"),
    *cuts(f"{ORDERS}.refund", "order.state not in {OrderState.REFUNDING, OrderState.REFUNDED}"),
    Cut(f"{ORDERS}._advance", "ORDER_TRANSITIONS", ANY_ORDER),
    Cut("app.services.transactions.Work.advance", "model.state.in_(sources(table, target))", "True"),
    Cut("app.domain.machines.sources", "target in targets", "True"),
)
async def an_order_goes_the_way_of_its_table(world: World) -> None:
    (paid, _), held = await world.confirmed(), await world.held()
    with pytest.raises(OrderNotHeld):
        await orders.cancel(world.state, paid.order_id, world.me.id)
    assert await world.count("seats WHERE order_id = :id", id=paid.order_id) == 1
    with pytest.raises(OrderNotRefundable):
        await orders.refund(world.state, held.order_id)
    with pytest.raises(OrderNotShippable):
        await orders.ship(world.state, held.order_id)
    with pytest.raises(OrderNotCompletable):
        await orders.complete(world.state, paid.order_id)


@notices(
    *cuts(f"{GROUPS}.settle", "group.state in FINAL_GROUP_STATES"),
    Cut(f"{GROUPS}.move", "GROUP_TRANSITIONS", ANY_GROUP),
)
async def a_group_that_is_over_stays_as_it_was(world: World) -> None:
    mine, _ = await world.confirmed()
    await orders.refund(world.state, mine.order_id)
    async with world.work() as work:
        group = await work.session.get_one(Group, mine.group_id)
        await groups.end(work, group, GroupState.FAILED, ended_at=work.now, fail_reason=FailReason.DEADLINE)
    group = await world.row(Group, mine.group_id)
    assert (group.state, group.leader_id) == (GroupState.SUCCEEDED, world.me.id)


@notices(
    Cut(
        f"{GROUPS}.confirm",
        "ORDER_TRANSITIONS",
        ANY_ORDER,
        down=(Cut(f"{LOCKS}.lock_orders", "Order.state == state", "True"),),
    ),
)
async def only_paid_orders_are_confirmed(world: World) -> None:
    """Here the group's success picks up all its orders, also one that was refunded before."""
    mine, gone = await world.pair()
    await world.pay(gone)
    await orders.refund(world.state, gone.order_id)
    await world.pay(mine)
    await world.pay(await world.join(mine, world.members[2]))
    assert await world.order_state(mine) == OrderState.CONFIRMED
    assert await world.order_state(gone) == OrderState.REFUNDING


@notices(
    *cuts(
        f"{GROUPS}._pass_lead",
        "any((seat.member_id == group.leader_id for seat in seats))",
        "not seats",
    ),
)
async def a_leader_leads_as_long_as_they_sit(world: World) -> None:
    mine, friend = await world.pair()
    await orders.cancel(world.state, mine.order_id, world.me.id)
    mine = await world.join(friend, world.me)
    async with world.work() as work:
        await groups.settle(work, await work.session.get_one(Group, mine.group_id))
    assert (await world.row(Group, mine.group_id)).leader_id == world.friend.id
    for held in (friend, mine):
        await orders.cancel(world.state, held.order_id, held.member.id)
    group = await world.row(Group, mine.group_id)
    assert (group.state, group.leader_id) == (GroupState.FAILED, world.me.id)


@notices(
    *cuts(f"{DEADLINES}.expire_hold", "order.hold_expires_at > now"),
    *cuts(f"{DEADLINES}.expire_hold", "order.state != OrderState.HELD", down=(GIVE_BACK,)),
    *cuts(
        f"{DEADLINES}.expire_hold",
        "await give_back(work, order, OrderState.EXPIRED) is None",
        down=cuts(f"{DEADLINES}.expire_hold", "order.state != OrderState.HELD"),
    ),
    Cut(f"{DEADLINES}.expire_hold", "await _decide_captured(work, group, order_id)", "None"),
)
async def a_hold_expires_when_its_time_is_up(world: World) -> None:
    early, paid, captured = [await world.held() for _ in range(3)]
    await world.pay(paid)
    await world.capture(captured)
    now = world.service.clock()
    assert not await deadlines.expire_hold(world.state, early.order_id, now)
    for held in (paid, captured):
        assert not await deadlines.expire_hold(world.state, held.order_id, now + timedelta(seconds=601))
        assert await world.order_state(held) == OrderState.PAID
    assert await deadlines.expire_hold(world.state, early.order_id, now + timedelta(seconds=601))


@notices(
    *cuts(f"{DEADLINES}.expire_group", "group.state in FINAL_GROUP_STATES", "group.deadline_at > now"),
    Cut(f"{DEADLINES}.expire_group", "await _decide_captured(work, group, None)", "None"),
)
async def a_group_expires_when_its_time_is_up(world: World) -> None:
    (done, _), running, (saved, last) = await world.confirmed(), await world.held(), await world.pair()
    await world.pay(saved)
    await world.capture(last)
    now = world.service.clock()
    assert not await deadlines.expire_group(world.state, running.group_id, now)
    for held in (done, saved):
        assert not await deadlines.expire_group(world.state, held.group_id, now + timedelta(hours=1))
        assert (await world.row(Group, held.group_id)).state == GroupState.SUCCEEDED
    assert await deadlines.expire_group(world.state, running.group_id, now + timedelta(hours=1))


UNLOCKED = "(lambda statement, **_: statement.execution_options(populate_existing=True))("


def unlocked(function: str) -> Cut:
    """A lock that is no more than a read of the newest state."""
    return Cut(f"{LOCKS}.{function}", "_locking(", UNLOCKED)


@notices(
    *map(unlocked, ("lock_sale", "lock_group", "lock_running_groups", "lock_order", "lock_orders", "lock_payment")),
    Cut(f"{LOCKS}._locking", "statement.with_for_update(key_share=True, skip_locked=skip_locked)", "statement"),
    Cut(
        f"{LOCKS}.lock_order_and_group", "await lock_order(session, order_id)", "await session.get(Order, order_id)"
    ),
)
async def what_is_locked_cannot_be_locked_again(world: World) -> None:
    held = await world.held()
    payment = await world.payment(held)
    group, order = (Group, held.group_id), (Order, held.order_id)
    taken: list[tuple[Any, tuple[Any, ...], tuple[type[SQLModel], str]]] = [
        (locks.lock_sale, (world.sale.id,), (Sale, world.sale.id)),
        (locks.lock_group, (held.group_id,), group),
        (locks.lock_running_groups, (world.sale.id,), group),
        (locks.lock_order, (held.order_id,), order),
        (locks.lock_order_and_group, (held.order_id,), order),
        (locks.lock_orders, (held.group_id, OrderState.HELD), order),
        (locks.lock_payment, (payment.id,), (Payment, payment.id)),
    ]
    for lock, arguments, row in taken:
        async with world.database.transaction() as session:
            assert await lock(session, *arguments)
            assert await world.is_locked(*row), lock


@notices(
    Cut(f"{LOCKS}._locking", "skip_locked=skip_locked", ""),
    Cut(f"{LOCKS}._locking", "populate_existing=True", "populate_existing=False"),
)
async def a_lock_reads_anew_and_a_worker_does_not_wait_for_it(world: World) -> None:
    held = await world.held()
    async with world.database.transaction() as session:
        known = await session.get_one(Order, held.order_id)
        await orders.cancel(world.state, held.order_id, world.me.id)
        assert await locks.lock_order(session, held.order_id) is known
        assert known.state == OrderState.CANCELLED
    running = await world.held()
    async with world.database.transaction() as session, world.database.transaction() as worker:
        await locks.lock_group(session, running.group_id)
        skipping = asyncio.create_task(locks.lock_group(worker, running.group_id, skip_locked=True))
        finished = await world.finishes(skipping)
        await session.rollback()
        assert (finished, await skipping) == (True, None)


@notices(unlocked("lock_group"))
async def two_last_payers_see_each_other(world: World) -> None:
    mine, friend = await world.pair()
    first, last = [await world.capture(held) for held in (mine, friend)]
    async with world.unbroken(), world.meanwhile("flush", payments.decide(world.state, last.id)):
        await payments.decide(world.state, first.id)
    assert (await world.row(Group, mine.group_id)).state == GroupState.SUCCEEDED


@notices(
    Cut(
        f"{LOCKS}.lock_order_and_group",
        "await lock_group(session, group_id, skip_locked=skip_locked)",
        "await session.get(Group, group_id)",
    ),
)
async def two_last_leavers_see_each_other(world: World) -> None:
    mine, friend = await world.pair()
    leaving = orders.cancel(world.state, friend.order_id, world.friend.id)
    async with world.unbroken(), world.meanwhile("flush", leaving):
        await orders.cancel(world.state, mine.order_id, world.me.id)
    assert (await world.row(Group, mine.group_id)).state == GroupState.FAILED


@notices(unlocked("lock_order"))
async def two_last_refunds_see_each_other(world: World) -> None:
    held, _, order = await wrongly_paid(world)
    await world.pay(held)
    await orders.refund(world.state, held.order_id)
    async with world.work() as work:
        found = await work.session.exec(select(Refund).where(Refund.order_id == order.id))
        first, last = [await work.advance(REFUND_TRANSITIONS, row, RefundState.SUBMITTED) for row in found.all()]
    assert first
    assert last
    async with world.meanwhile(
        "flush", refunds._succeed(world.state, last, order, RefundAnswer("last", last.amount))
    ):
        await refunds._succeed(world.state, first, order, RefundAnswer("first", first.amount))
    assert await world.order_state(held) == OrderState.REFUNDED


@notices(unlocked("lock_running_groups"))
async def nobody_pays_after_the_end_that_a_sale_was_given(world: World) -> None:
    sale = await world.service.sale(group_size=2)
    held = await world.held(sale)
    last = await world.join(held, world.friend, sale)
    await world.pay(held)
    payment = await world.payment(last)

    async def pay_late() -> None:
        world.service.clock.advance(1)
        await world.tell(payment)

    async with world.unbroken(), world.meanwhile("flush", pay_late()):
        await sales.end_sale(world.state, sale.id)
