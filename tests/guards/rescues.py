"""Guards of groups that do not fill: what may be wished for, and what becomes of it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.domain.errors import ChoiceNotOffered, InvalidTerms
from app.domain.groups import GroupState
from app.domain.orders import OrderState
from app.domain.rescues import NO_RESCUE, OnUnfilled, Outcome, Paid, RescueRules, check_choice, decide
from app.models import Group, Order
from app.schemas.sales import OfferUpdate
from app.services import deadlines, groups, locks, places, rescues
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.sales import put
from tests.guards.world import Held, World
from tests.promises.test_rescues import rescue_sale
from tests.service import Member, Sale

RESCUES, PLACES, DOMAIN = "app.services.rescues", "app.services.places", "app.domain.rescues"


@notices(
    *cuts(
        f"{DOMAIN}.check_choice",
        "not offered[choice]",
        "min_quantity is not None and (not rules.flexible or min_quantity > quantity)",
    ),
)
async def one_wishes_what_is_offered(_world: World) -> None:
    with pytest.raises(ChoiceNotOffered):
        check_choice(NO_RESCUE, OnUnfilled.MERGE, 1, None, None)
    with pytest.raises(ChoiceNotOffered):
        check_choice(RescueRules(flexible=True), OnUnfilled.REFUND, 1, 2, None)


@notices(
    Cut(f"{DOMAIN}.decide", "OnUnfilled.MERGE if room > 0 and (not order.moved)", "OnUnfilled.MERGE"),
    Cut(f"{DOMAIN}.decide", "OnUnfilled.EXTEND if may_extend", "OnUnfilled.EXTEND"),
    Cut(f"{DOMAIN}.decide", "paid and missing", "missing"),
)
async def a_wish_has_its_limits(_world: World) -> None:
    wishes = [
        Paid("full", OnUnfilled.MERGE),
        Paid("moved", OnUnfilled.MERGE, moved=True),
        Paid("late", OnUnfilled.EXTEND),
    ]
    assert decide(wishes, 9, NO_RESCUE).orders(Outcome.REFUND) == ["full", "moved", "late"]
    assert decide(wishes[1:], 9, NO_RESCUE, room=5).orders(Outcome.REFUND) == ["moved", "late"]
    assert decide([], 1, RescueRules(cover_seats=1)).covered == 0


@notices(
    *cuts(
        "app.services.sales._check_solo_price",
        "solo_price is not None and (sale.kind != SaleKind.GROUP or solo_price < price)",
    ),
)
async def buying_alone_is_never_cheaper(world: World) -> None:
    draft = await world.service.sale(publish=False)
    with pytest.raises(InvalidTerms):
        await put(world, draft.id, offers=[OfferUpdate(sku_id=draft.body["offers"][0]["sku_id"], solo_price=4899)])


async def paid_group(world: World, sale: Sale, *wishes: dict[str, Any]) -> list[Held]:
    """A group of new members with these wishes, who have paid."""
    seated: list[Held] = []
    for wish in wishes:
        member: Member = await world.service.member()
        reply = await (member.join(sale, seated[0].group_id, **wish) if seated else member.open(sale, **wish))
        claim = reply.json()
        seated.append(Held(member, claim["order"]["id"], claim["group"]["id"]))
        await world.pay(seated[-1], amount=claim["order"]["amount"])
    return seated


async def pass_deadline(world: World, held: Held) -> bool:
    """Let a group's time be up."""
    group = await world.row(Group, held.group_id)
    world.service.clock.advance((group.deadline_at - world.service.clock()).total_seconds() + 1)
    return await deadlines.expire_group(world.state, held.group_id, world.service.clock())


@notices(*cuts(f"{RESCUES}.close", "plan.orders(Outcome.SEAT)"))
async def a_group_that_is_filled_up_succeeds(world: World) -> None:
    sale = await rescue_sale(world.service, rescue={"cover_seats": 1})
    mine, _ = await paid_group(world, sale, {}, {})
    assert await pass_deadline(world, mine)
    assert (await world.row(Group, mine.group_id)).state == GroupState.SUCCEEDED


@notices(
    *cuts(f"{PLACES}.give_units_back", "keep == order.quantity"),
    Cut(f"{PLACES}.give_units_back", "col(Unit.offer_id) == order.offer_id", "True"),
    Cut(f"{PLACES}.give_units_back", "col(Unit.number).in_(numbers[keep:])", "True"),
)
async def units_that_are_not_needed_come_back_and_no_others(world: World) -> None:
    sale = await rescue_sale(world.service, stocks=[9, 9], order_limit=3, group_size=2)
    other = await world.held(sale)
    beside = (await world.friend.post(f"/v1/groups/{other.group_id}/seats", {"offer_id": sale.offers[1]})).json()
    async with world.unbroken():
        await paid_group(world, sale, {"quantity": 3, "min_quantity": 1}, {})
    taken = "units WHERE offer_id = :id"
    assert await world.count(taken, id=sale.offer) == 3
    assert await world.count("units WHERE order_id = :id", id=beside["order"]["id"]) == 1
    order = await world.row(Order, other.order_id)
    async with world.work() as work:
        await places.give_units_back(work, order, keep=1)
        assert work.amended == []


@notices(
    *cuts(f"{RESCUES}._lock_sibling", "sibling.state != GroupState.OPEN", "sibling.deadline_at <= work.now"),
    Cut(f"{RESCUES}._lock_sibling", "skip_locked=True", ""),
)
async def nobody_moves_to_a_group_that_ends_at_this_moment(world: World) -> None:
    sale = await rescue_sale(world.service)
    (mine,) = await paid_group(world, sale, {"on_unfilled": "merge"})
    world.service.clock.advance(60)
    (other,) = await paid_group(world, sale, {})
    world.service.clock.advance(3541)
    for change in ({"state": GroupState.FILLED}, {"deadline_at": world.service.clock()}):
        async with world.work() as work:
            group = await work.session.get_one(Group, mine.group_id)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(rescues, "lock_group", _changed_meanwhile(change))
                with pytest.raises(rescues.SiblingLocked):
                    await rescues._lock_sibling(work, group)
    async with world.database.transaction() as session:
        await locks.lock_group(session, other.group_id)
        closing = asyncio.create_task(deadlines.expire_group(world.state, mine.group_id, world.service.clock()))
        finished = await world.finishes(closing)
        await session.rollback()
        assert (finished, await closing) == (True, False)
    assert await deadlines.expire_group(world.state, mine.group_id, world.service.clock())
    assert (await world.row(Order, mine.order_id)).group_id == other.group_id


def _changed_meanwhile(change: dict[str, Any]) -> Any:
    async def lock(*arguments: Any, **options: Any) -> Group | None:
        group = await locks.lock_group(*arguments, **options)
        return None if group is None else Group(**group.model_dump() | change)

    return lock


@notices(
    Cut("app.services.locks.lock_order_and_group", "order.group_id == group.id", "True"),
    Cut(f"{RESCUES}._as_paid", "order.moved_from is not None", "False"),
    Cut(f"{RESCUES}._as_paid", "any((seat.member_id == order.member_id for seat in there))", "False"),
)
async def one_is_found_where_one_has_moved(world: World) -> None:
    sale = await rescue_sale(world.service)
    (mine,) = await paid_group(world, sale, {"on_unfilled": "merge"})
    world.service.clock.advance(60)
    (other,) = await paid_group(world, sale, {})
    await pass_deadline(world, mine)
    async with world.database.transaction() as session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(locks, "lock_group", _late_word(mine.group_id))
            found = await locks.lock_order_and_group(session, mine.order_id)
    assert found is not None
    assert found[1].id == found[0].group_id == other.group_id
    order = await world.row(Order, mine.order_id)
    assert rescues._as_paid(order, []).moved
    order.moved_from = None
    there = [groups.Seated(1, order.member_id, "me", paid=True)]
    assert rescues._as_paid(order, there).moved
    assert order.state == OrderState.PAID


def _late_word(former_group_id: str) -> Any:
    """The first time, the group is locked that the order was in when one looked."""
    asked: list[str] = []

    async def lock(session: Any, group_id: str, **options: Any) -> Group | None:
        asked.append(group_id)
        return await lock_group(session, former_group_id if len(asked) == 1 else group_id, **options)

    lock_group = locks.lock_group
    return lock


@notices(
    Cut(f"{RESCUES}.close", "group.extended_at is None", "True"),
    Cut(f"{DOMAIN}.extended_deadline", "min(", "max("),
    Cut(f"{DOMAIN}.extended_deadline", "later > max(deadline_at, now)", "True"),
)
async def a_group_is_given_more_time_once_and_within_its_sale(world: World) -> None:
    now = world.service.clock()
    sale = await rescue_sale(world.service, closes_at=(now + timedelta(seconds=3900)).isoformat())
    (mine,) = await paid_group(world, sale, {"on_unfilled": "extend"})
    await pass_deadline(world, mine)
    group = await world.row(Group, mine.group_id)
    assert (group.state, group.deadline_at) == (GroupState.OPEN, now + timedelta(seconds=3900))
    longer = await rescue_sale(world.service)
    (other,) = await paid_group(world, longer, {"on_unfilled": "extend"})
    await pass_deadline(world, other)
    await pass_deadline(world, other)
    assert (await world.row(Group, other.group_id)).state == GroupState.FAILED
    ended = await rescue_sale(world.service, closes_at=(world.service.clock() + timedelta(seconds=60)).isoformat())
    (last,) = await paid_group(world, ended, {"on_unfilled": "extend"})
    await pass_deadline(world, last)
    assert (await world.row(Group, last.group_id)).state == GroupState.FAILED
