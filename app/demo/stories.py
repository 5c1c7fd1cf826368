"""The stories: what the members of each cast do, and how their orders must end."""

import asyncio
from collections.abc import Coroutine, Iterable
from secrets import token_hex
from typing import Any

import httpx

from app.demo.books import BookedOrder
from app.demo.client import Refused
from app.demo.plan import Cast, Story
from app.demo.stage import CHANNELS, Stage, TooSlow, Unexpected

FAILED_REFUND_CALLS = 2
Move = Coroutine[Any, Any, Any]


async def tell(stage: Stage, cast: Cast) -> None:
    """Play a cast's story up to where only deadlines are left to wait for."""
    try:
        await _tell(stage, cast)
    except TooSlow:
        stage.books.too_slow += 1
    except (Refused, Unexpected, httpx.TransportError) as error:
        stage.books.breach(f"“{cast.story}” broke off: {str(error) or repr(error)}")
    else:
        return
    for group in stage.books.groups:
        group.abandoned = group.abandoned or group.cast is cast


async def _tell(stage: Stage, cast: Cast) -> None:
    orders = await _gather(stage, cast)
    match cast.story:
        case Story.TOGETHER | Story.SHORT:
            await _all(stage.pay(order) for order in orders)
        case Story.UNPAID:
            await _leave_one_unpaid(stage, orders)
        case Story.STRANGER:
            await _let_a_stranger_in(stage, cast, orders)
        case Story.MISCHIEF:
            await _all(_misbehave(stage, order, cast.number + place) for place, order in enumerate(orders))
        case Story.REFUSALS:
            await _ask_too_much(stage, cast, orders)
        case Story.LATE:
            await _all([*map(stage.pay, orders[:-1]), stage.pay_too_late(orders[-1])])
        case Story.STUBBORN:
            await _all(stage.pay(order, refund_failures=FAILED_REFUND_CALLS) for order in orders)


async def _gather(stage: Stage, cast: Cast) -> list[BookedOrder]:
    """The leader opens a group and shares an invite; the friends who have a part join by it, all at once."""
    leader, *friends = cast.members
    first = await stage.open(cast, 1 + cast.number % 2)
    invite = await leader.invite(first.group.id, CHANNELS[cast.number % len(CHANNELS)])
    free = first.group.size - 1
    joined = await _all(
        stage.join_by_invite(friend, first.group, invite, 1 + place % 2)
        for place, friend in enumerate(friends[:free])
    )
    return [first, *joined]


async def _leave_one_unpaid(stage: Stage, orders: list[BookedOrder]) -> None:
    """One goes as far as the cashier and walks away; the hold lapses."""
    idle = orders[-1]
    idle.expected_state, idle.expected_refunds = "expired", []
    await _all([*map(stage.pay, orders[:-1]), stage.start_payment(idle)])


async def _let_a_stranger_in(stage: Stage, cast: Cast, orders: list[BookedOrder]) -> None:
    *staying, leaving = orders
    await stage.cancel(leaving)
    stranger = await stage.join_from_list(cast.members[-1], leaving.group)
    await _all(stage.pay(order) for order in [*staying, stranger])


async def _misbehave(stage: Stage, order: BookedOrder, way: int) -> None:
    """One of four ways to pay badly; each order is confirmed all the same, and no money is lost."""
    match way % 4:
        case 0:
            await stage.pay(order, duplicates=3)
        case 1:
            await stage.pay(order, reorder=True)
        case 2:
            order.expected_refunds = ["wrong_amount"]
            payment = await stage.start_payment(order)
            await stage.pay_at_cashier(order, payment, amount=payment["amount"] + 1)
            await stage.pay(order)
        case _:
            order.expected_refunds = ["duplicate"]
            payments = [await stage.start_payment(order), await stage.start_payment(order)]
            await _all(stage.pay_at_cashier(order, payment) for payment in payments)


async def _ask_too_much(stage: Stage, cast: Cast, orders: list[BookedOrder]) -> None:
    """Members and an outsider ask a full group, then an ended one, for what they cannot have."""
    leader, friend, outsider, group = orders[0].member, orders[1].member, cast.members[-1], orders[0].group
    old_key, new_key, claim = orders[1].receipt.key, token_hex(8), {"offer_id": stage.offer_id}
    expect = stage.expect_refusal
    await stage.expect_same_answer(orders[1])
    await expect("a new wish by an old key", "422 idempotency_key_reused", friend.join(group.id, claim, old_key))
    await expect("a second seat", "409 already_in_group", friend.join(group.id, claim, new_key))
    await expect("a seat in a full group", "409 group_full", outsider.join(group.id, claim, new_key))
    await _all(stage.pay(order) for order in orders)
    await stage.wait_final(group)
    await expect("a seat in an ended group", "409 group_closed", outsider.join(group.id, claim, new_key))
    await expect("to cancel what is paid", "409 order_not_held", leader.cancel(orders[0].id))


async def _all(moves: Iterable[Move]) -> list[Any]:
    """Make all moves at once; when some fail, let the others end before the first failure is raised."""
    ended = await asyncio.gather(*moves, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome
    return ended
