"""Attacks on what is scarce: groups, seats, units, purchases."""

from itertools import cycle
from typing import Any

from app.workers import groups, holds
from app.workers import sales as sales_worker
from tests.attacks.arena import Arena, Outcome, attack, won

ORDERS = "orders WHERE sale_id = :sale"
ACTIVE = "orders WHERE sale_id = :sale AND state IN ('held', 'paid', 'confirmed', 'fulfilled', 'completed')"


@attack
async def open_with_one_key(arena: Arena) -> Outcome:
    """Have two groups, or two answers, for one key that is sent a hundred times from two sessions."""
    sale = await arena.sale()
    answers = won(await arena.fire(arena.open(session, sale, "once") for session in arena.sessions()))
    orders = await arena.count(ORDERS, sale=sale.id)
    return Outcome(
        orders > 1 or len({answer.text for answer in answers}) > 1, orders == 1 and len(answers) == arena.calls
    )


@attack
async def open_with_a_hundred_keys(arena: Arena) -> Outcome:
    """Buy more often than the sale allows a member, with a key for each try, from two sessions."""
    sale = await arena.sale(member_limit=2)
    answers = won(await arena.fire(arena.open(session, sale) for session in arena.sessions()))
    orders = await arena.count(ORDERS, sale=sale.id)
    return Outcome(max(orders, len(answers)) > 2, orders == 2)


@attack
async def open_with_one_key_and_two_bodies(arena: Arena) -> Outcome:
    """Have two orders for one key, by changing the body; or have one body answered with the order of the other."""
    sale = await arena.sale(stocks=[100, 100])
    bodies: list[dict[str, Any]] = [{"quantity": 1}, {"quantity": 2}, {"offer_id": sale.offers[1]}, {"quantity": 3}]
    wanted = [bodies[number % 4] for number in range(arena.calls)]
    answers = await arena.fire(
        arena.open(session, sale, "once", **body) for session, body in zip(arena.sessions(), wanted, strict=True)
    )
    given = {str(body) for answer, body in zip(answers, wanted, strict=True) if answer.is_success}
    orders = await arena.count(ORDERS, sale=sale.id)
    return Outcome(orders > 1 or len(given) > 1, orders == 1 and len(won(answers)) == arena.calls // 4)


@attack
async def open_with_one_key_in_two_sales(arena: Arena) -> Outcome:
    """Have an order of one sale answer for another sale, or two orders of one sale, by using a key in both."""
    sales = [await arena.sale(), await arena.sale()]
    asked = [sales[number % 2] for number in range(arena.calls)]
    answers = await arena.fire(arena.open(arena.me, sale, "both") for sale in asked)
    mixed = [
        answer for answer, sale in zip(answers, asked, strict=True) if answer.json()["order"]["sale_id"] != sale.id
    ]
    orders = [await arena.count(ORDERS, sale=sale.id) for sale in sales]
    return Outcome(bool(mixed) or max(orders) > 1, orders == [1, 1])


@attack
async def open_with_the_key_of_another_member(arena: Arena) -> Outcome:
    """See or share the order of another member, by using the same key as everybody."""
    sale = await arena.sale()
    answers = await arena.fire(arena.open(member, sale, "everybody's") for member in arena.members)
    seen = [answer.json()["order"]["id"] for answer in answers]
    strangers = 0
    for member, order_id in list(zip(arena.members, seen, strict=True))[::10]:
        strangers += (await member.get(f"/v1/orders/{order_id}")).status_code != 200
    return Outcome(
        len(set(seen)) < arena.calls or strangers > 0, await arena.count(ORDERS, sale=sale.id) == arena.calls
    )


@attack
async def open_with_impossible_quantities(arena: Arena) -> Outcome:
    """Have more units in one order than the sale allows, or none, or less than none."""
    sale = await arena.sale(order_limit=2, member_limit=100)
    quantities = cycle([0, -1, 3, 100, 101, 2**31, 2**63, True, 1.5, "2", None, [2], -(2**63), 1e9, 2.0, 5])
    answers = await arena.fire(
        arena.open(arena.me, sale, quantity=quantity)
        for quantity, _ in zip(quantities, range(arena.calls), strict=False)
    )
    wrong = await arena.count("orders WHERE sale_id = :sale AND quantity NOT BETWEEN 1 AND 2", sale=sale.id)
    served = all(answer.status_code == 422 for answer in answers if not answer.is_success)
    return Outcome(wrong > 0, served and await arena.surplus(sale) == 0)


@attack
async def join_with_one_key(arena: Arena) -> Outcome:
    """Have two seats, or two answers, for one key that is sent a hundred times from two sessions."""
    sale = await arena.sale(group_size=10)
    group_id = (await arena.ask(arena.open(arena.others[0], sale)))["group"]["id"]
    joins = [arena.join(session, sale, group_id, "once") for session in arena.sessions()]
    answers = won(await arena.fire(joins))
    seats = await arena.count("seats WHERE group_id = :group", group=group_id)
    return Outcome(
        seats > 2 or len({answer.text for answer in answers}) > 1, seats == 2 and len(answers) == arena.calls
    )


@attack
async def join_with_a_hundred_keys(arena: Arena) -> Outcome:
    """Sit twice in one group, with a key for each try, from two sessions, with changing quantities."""
    sale = await arena.sale(group_size=50, member_limit=100)
    group_id = (await arena.ask(arena.open(arena.others[0], sale)))["group"]["id"]
    await arena.fire(
        arena.join(session, sale, group_id, quantity=1 + number % 5)
        for number, session in enumerate(arena.sessions())
    )
    seats = await arena.count("seats WHERE group_id = :group AND member_id = :me", group=group_id, me=arena.me.id)
    return Outcome(seats > 1, seats == 1)


@attack
async def join_for_the_last_seat(arena: Arena) -> Outcome:
    """Be more in a group than it has seats: a hundred members for the last one."""
    sale = await arena.sale(group_size=2)
    (order,) = await arena.seats(sale, 1)
    joins = [arena.join(member, sale, order["group_id"]) for member in arena.others]
    answers = won(await arena.fire(joins))
    seats = await arena.count("seats WHERE group_id = :group", group=order["group_id"])
    return Outcome(seats > 2 or len(answers) > 1, seats == 2)


@attack
async def buy_the_last_units(arena: Arena) -> Outcome:
    """Buy more units than there are, of two offers at once, in orders of one and of two."""
    sale = await arena.sale(stocks=[7, 7])
    wishes = [(sale.offers[number % 2], 1 + number // 2 % 2) for number in range(arena.calls)]
    answers = await arena.fire(
        arena.open(member, sale, offer_id=offer, quantity=quantity)
        for member, (offer, quantity) in zip(arena.members, wishes, strict=False)
    )
    promised = sum(answer.json()["order"]["quantity"] for answer in won(answers))
    units = [await arena.count("units WHERE offer_id = :offer", offer=offer) for offer in sale.offers]
    return Outcome(max(*units, promised - 7) > 7, units == [7, 7] and promised == 14)


@attack
async def take_a_seat_that_is_given_back(arena: Arena) -> Outcome:
    """Have a place that nobody counts: the leader leaves a hundred times while others take the seat."""
    sale = await arena.sale(group_size=2, stocks=[20])
    first, second = await arena.seats(sale, 2)
    calls = [
        arena.cancel(arena.members[number % 2], (first, second)[number % 2]["id"]) for number in range(arena.calls)
    ]
    calls[::2] = [arena.join(member, sale, first["group_id"]) for member in arena.members[50:]]
    await arena.fire(calls)
    seats = await arena.count("seats WHERE group_id = :group", group=first["group_id"])
    surplus = await arena.surplus(sale)
    return Outcome(seats > 2 or surplus > 0, surplus == 0)


@attack
async def cancel_one_order_a_hundred_times(arena: Arena) -> Outcome:
    """Free the last unit more than once, so that it is sold to two."""
    sale = await arena.sale(stocks=[1])
    (order,) = await arena.seats(sale, 1)
    opens = [arena.open(member, sale, "mine") for member in arena.others[:40]]
    cancels = [arena.cancel(session, order["id"]) for session in arena.sessions(60)]
    await arena.fire([*cancels[:30], *opens, *cancels[30:]])
    await arena.fire(opens)
    sold = await arena.count(ACTIVE, sale=sale.id)
    ends = await arena.count("events WHERE subject = :order AND type = 'order.cancelled'", order=order["id"])
    return Outcome(sold > 1 or ends > 1 or await arena.surplus(sale) > 0, sold == 1 and ends == 1)


@attack
async def cancel_the_order_of_somebody_else(arena: Arena) -> Outcome:
    """Throw another member out of a group, or learn of their order."""
    sale = await arena.sale()
    (order,) = await arena.seats(sale, 1)
    answers = await arena.fire(arena.cancel(member, order["id"]) for member in arena.others)
    held = await arena.count("orders WHERE id = :order AND state = 'held'", order=order["id"])
    return Outcome(held == 0 or bool(won(answers)), {answer.status_code for answer in answers} == {404})


@attack
async def join_while_the_group_expires(arena: Arena) -> Outcome:
    """Keep a seat in a group whose time is up, by joining while it expires."""
    sale = await arena.sale(group_size=arena.calls, group_ttl_seconds=60, hold_ttl_seconds=60)
    opened = await arena.ask(arena.open(arena.me, sale))
    joins = [arena.join(member, sale, opened["group"]["id"]) for member in arena.others]
    answers = await arena.fire(joins, arena.turn(61, groups.run_once, holds.run_once, after=0.3))
    await arena.work(groups.run_once, holds.run_once)
    kept = await arena.count(ACTIVE, sale=sale.id)
    served = all(answer.is_success or answer.json()["code"] == "group_closed" for answer in answers)
    return Outcome(kept > 0, served and await arena.surplus(sale) == 0)


@attack
async def join_while_the_sale_ends(arena: Arena) -> Outcome:
    """Have a group that runs on after its sale was ended: open and join while the operator ends it."""
    sale = await arena.sale(group_size=50)
    opened = await arena.ask(arena.open(arena.me, sale))
    calls = [arena.join(member, sale, opened["group"]["id"]) for member in arena.others]
    calls[::5] = [arena.open(member, sale) for member in arena.others[::5]]
    calls.insert(30, arena.ops(f"sales/{sale.id}/end"))
    answers = await arena.fire(calls)
    late = await arena.fire([arena.open(arena.me, sale), arena.join(arena.others[0], sale, opened["group"]["id"])])
    await arena.work(sales_worker.run_once, groups.run_once)
    running = await arena.count("groups WHERE sale_id = :sale AND state IN ('open', 'filled')", sale=sale.id)
    kept = await arena.count(ACTIVE, sale=sale.id)
    return Outcome(bool(won(late)) or running > 0 or kept > 0, answers[30].is_success)


@attack
async def join_a_paused_sale(arena: Arena) -> Outcome:
    """Buy in a sale after its pause was answered."""
    sale = await arena.sale()
    early = [arena.open(member, sale) for member in arena.members[:25]]
    await arena.fire([*early, arena.ops(f"sales/{sale.id}/pause")])
    before = await arena.count(ORDERS, sale=sale.id)
    answers = await arena.fire(arena.open(member, sale) for member in arena.members[25:])
    after = await arena.count(ORDERS, sale=sale.id)
    return Outcome(
        after > before or bool(won(answers)), {answer.json()["code"] for answer in answers} == {"sale_paused"}
    )
