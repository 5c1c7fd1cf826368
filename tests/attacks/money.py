"""Attacks on money: payments, notices, refunds."""

from app.workers import groups, holds, payments, refunds
from app.workers import sandbox as cashier
from tests.attacks.arena import Arena, Outcome, attack, won

PAYMENTS = "payments WHERE order_id = :order"
KEPT = "payments WHERE order_id = :order AND outcome = 'kept'"
REFUNDS = "refunds WHERE order_id = :order"
OF_SALE = "payments JOIN orders ON orders.id = payments.order_id WHERE orders.sale_id = :sale"


async def books(arena: Arena, sale_id: str) -> tuple[int, int, int]:
    """What a sale's orders captured, kept, and gave back at the cashier, in minor units."""
    captured = await arena.sum("captured_amount", OF_SALE, sale=sale_id)
    kept = await arena.sum(
        "captured_amount", f"{OF_SALE} AND outcome = 'kept' AND refunded_amount = 0", sale=sale_id
    )
    back = await arena.sum(
        "sandbox_refunds.amount",
        "sandbox_refunds JOIN payments ON payments.id = sandbox_refunds.charge_id"
        " JOIN orders ON orders.id = payments.order_id WHERE orders.sale_id = :sale",
        sale=sale_id,
    )
    return captured, kept, back


@attack
async def start_a_payment_with_one_key(arena: Arena) -> Outcome:
    """Have two payments, or two addresses to pay at, for one key."""
    (order,) = await arena.seats(await arena.sale(), 1)
    answers = won(await arena.fire(arena.start_payment(one, order["id"], "once") for one in arena.sessions()))
    started = await arena.count(PAYMENTS, order=order["id"])
    urls = {answer.json()["pay_url"] for answer in answers}
    return Outcome(started > 1 or len(urls) > 1, len(answers) == arena.calls)


@attack
async def start_a_hundred_payments(arena: Arena) -> Outcome:
    """Run more payments of one order at once than are allowed; or start one of somebody else's order."""
    (order,) = await arena.seats(await arena.sale(), 1)
    mine = [arena.start_payment(one, order["id"]) for one in arena.sessions(50)]
    theirs = [arena.start_payment(member, order["id"]) for member in arena.others[:50]]
    answers = await arena.fire([call for pair in zip(mine, theirs, strict=True) for call in pair])
    started = await arena.count(PAYMENTS, order=order["id"])
    return Outcome(started > 5 or bool(won(answers[1::2])), started == 5)


@attack
async def pay_one_charge_a_hundred_times(arena: Arena) -> Outcome:
    """Have the cashier take money twice for one charge, or take it once and tell of another amount."""
    sale = await arena.sale()
    (order,) = await arena.seats(sale, 1)
    ((_, url),) = await arena.payments([order])
    answers = won(await arena.fire(arena.pay(url) for _ in range(arena.calls)))
    await arena.work(cashier.run_once)
    captured, kept, _ = await books(arena, sale.id)
    return Outcome(len(answers) > 1 or captured > kept, kept == order["amount"])


@attack
async def pay_one_order_by_five_payments(arena: Arena) -> Outcome:
    """Have the service keep money twice for one order, or give back more than it took twice."""
    sale = await arena.sale()
    (order,) = await arena.seats(sale, 1)
    urls = [url for _, url in await arena.payments([order])]
    more = await arena.fire(arena.start_payment(arena.me, order["id"]) for _ in range(4))
    urls += [answer.json()["pay_url"] for answer in more]
    await arena.fire(
        (arena.pay(urls[number % 5], duplicates=number % 3) for number in range(arena.calls)),
        arena.turn(0, cashier.run_once, payments.run_once, refunds.run_once),
    )
    await arena.work(cashier.run_once, payments.run_once, refunds.run_once)
    captured, kept, back = await books(arena, sale.id)
    return Outcome(
        kept > order["amount"] or kept + back > captured, kept == order["amount"] and kept + back == captured
    )


@attack
async def pay_less_than_the_price(arena: Arena) -> Outcome:
    """Get a seat for less than its price, by parts that add up to it or by a single small amount."""
    sale = await arena.sale()
    (order,) = await arena.seats(sale, 1)
    (first, *_), *_ = started = await arena.payments([order])
    more = await arena.fire(arena.start_payment(arena.me, order["id"]) for _ in range(4))
    urls = [started[0][1], *(answer.json()["pay_url"] for answer in more)]
    part = order["amount"] // 5
    await arena.fire(arena.pay(urls[number % 5], amount=part) for number in range(arena.calls))
    await arena.work(cashier.run_once)
    await arena.fire([arena.notice(first, amount=order["amount"])])
    await arena.work(refunds.run_once)
    captured, kept, back = await books(arena, sale.id)
    paid = await arena.count("orders WHERE id = :order AND paid_at IS NOT NULL", order=order["id"])
    return Outcome(paid > 0 or kept > 0, captured == back == 5 * part)


@attack
async def send_one_notice_a_hundred_times(arena: Arena) -> Outcome:
    """Have one capture count more than once, by repeating its notice with its id, at once and once more."""
    (order,) = await arena.seats(await arena.sale(group_size=2), 1)
    ((payment, _),) = await arena.payments([order])
    answers = await arena.fire(arena.notice(payment, id=f"ntf_{payment.id}") for _ in range(arena.calls))
    captures = await arena.count("events WHERE subject = :id AND type = 'payment.captured'", id=payment.id)
    given_back = await arena.count(REFUNDS, order=order["id"])
    return Outcome(captures > 1 or given_back > 0, captures == 1 and len(won(answers)) == arena.calls)


@attack
async def send_a_hundred_notices_of_one_capture(arena: Arena) -> Outcome:
    """Have one capture count more than once, or for more money, by notices with ids and amounts of their own."""
    (order,) = await arena.seats(await arena.sale(), 1)
    ((payment, _),) = await arena.payments([order])
    answers = await arena.fire(
        [
            arena.notice(payment),
            *(arena.notice(payment, amount=4900 + number % 3) for number in range(arena.calls - 1)),
        ]
    )
    captures = await arena.count("events WHERE subject = :id AND type = 'payment.captured'", id=payment.id)
    money = await arena.sum("amount", REFUNDS, order=order["id"]) + await arena.sum(
        "captured_amount", KEPT, order=order["id"]
    )
    captured = await arena.sum("captured_amount", PAYMENTS, order=order["id"])
    return Outcome(captures > 1 or money > captured, captures == 1 and len(won(answers)) == arena.calls)


@attack
async def send_notices_out_of_order(arena: Arena) -> Outcome:
    """Undo a payment that was captured, by notices that it failed, was closed or waits, before and after."""
    (order,) = await arena.seats(await arena.sale(), 1)
    ((payment, _),) = await arena.payments([order])
    states = ["failed", "closed", "pending", "captured"]
    calls = [
        arena.notice(payment, state=state, **({} if state == "captured" else {"amount": None, "currency": None}))
        for state in (states[number % 4] for number in range(arena.calls))
    ]
    answers = await arena.fire(calls)
    kept = await arena.count(KEPT, order=order["id"])
    refunded = await arena.count(REFUNDS, order=order["id"])
    return Outcome(kept > 1 or refunded > 0, kept == 1 and len(won(answers)) == arena.calls)


@attack
async def cancel_and_pay_at_once(arena: Arena) -> Outcome:
    """Keep a seat that was cancelled, or have the money of a paid seat back as well."""
    sale = await arena.sale(group_size=20)
    orders = await arena.seats(sale, 5)
    started = await arena.payments(orders)
    calls = []
    for member, order, (payment, url) in zip(arena.members, orders, started, strict=False):
        calls += [
            arena.cancel(member, order["id"]),
            arena.pay(url),
            arena.notice(payment, id=f"ntf_{payment.id}"),
        ] * 6
        calls += [arena.cancel(member, order["id"])] * 2
    await arena.fire(calls[:50] + calls[:49:-1])
    await arena.work(cashier.run_once, refunds.run_once)
    captured, kept, back = await books(arena, sale.id)
    both = await arena.count(
        f"{OF_SALE} AND orders.state IN ('cancelled', 'expired') AND outcome = 'kept'", sale=sale.id
    )
    stolen = both > 0 or kept + back > captured
    return Outcome(stolen, kept + back == captured and await arena.surplus(sale) == 0)


@attack
async def pay_while_the_group_expires(arena: Arena) -> Outcome:
    """Keep a seat in a group that failed, or have the money back twice, by paying at the last moment."""
    sale = await arena.sale(group_size=6, group_ttl_seconds=60, hold_ttl_seconds=60)
    orders = await arena.seats(sale, 6)
    started = await arena.payments(orders)
    await arena.fire(arena.pay(url, drop=True) for _, url in started)
    await arena.fire(
        [arena.notice(payment) for payment, _ in started for _ in range(16)],
        arena.turn(61, holds.run_once, groups.run_once, payments.run_once, after=0.2),
    )
    await arena.work(holds.run_once, groups.run_once, payments.run_once, refunds.run_once)
    captured, kept, back = await books(arena, sale.id)
    state = "groups WHERE sale_id = :sale AND state = 'succeeded'"
    fair = 6 * orders[0]["amount"] if await arena.count(state, sale=sale.id) else 0
    return Outcome(kept > fair or kept + back > captured, kept == fair and kept + back == captured)


@attack
async def refund_one_order_a_hundred_times(arena: Arena) -> Outcome:
    """Have the money of an order back twice, by an operator's refund with one key and with many."""
    sale, orders = await arena.paid_group(2)
    path = f"orders/{orders[0]['id']}/refund"
    calls = [arena.ops(path) for _ in range(arena.calls)]
    for call in calls[::2]:
        call.headers["idempotency-key"] = "once"
    answers = await arena.fire(calls, arena.turn(0, refunds.run_once, after=0.3))
    await arena.work(refunds.run_once)
    captured, kept, back = await books(arena, sale.id)
    promised = await arena.count(REFUNDS, order=orders[0]["id"])
    return Outcome(
        promised > 1 or kept + back > captured, len(won(answers)) == arena.calls and back == orders[0]["amount"]
    )


@attack
async def pursue_one_refund_by_many_workers(arena: Arena) -> Outcome:
    """Have the money back twice, while the cashier refuses at first and twenty workers pursue the refund."""
    sale = await arena.sale()
    orders = await arena.seats(sale, 2)
    started = await arena.payments(orders)
    await arena.fire(arena.pay(url, refund_failures=3) for _, url in started)
    await arena.work(cashier.run_once)
    await arena.fire(arena.ops(f"orders/{order['id']}/refund") for order in orders)
    for _ in range(5):
        await arena.work(*[refunds.run_once] * 10)
        arena.service.clock.advance(60)
    captured, kept, back = await books(arena, sale.id)
    return Outcome(kept + back > captured, back == captured == 2 * orders[0]["amount"])


@attack
async def ship_and_refund_at_once(arena: Arena) -> Outcome:
    """Have both the goods and the money, by a refund in the moment the order is shipped."""
    sale, orders = await arena.paid_group(5)
    verbs = ["ship", "refund", "complete", "refund", "ship"]
    calls = [arena.ops(f"orders/{order['id']}/{verb}") for verb in verbs * 4 for order in orders]
    await arena.fire(calls)
    await arena.work(refunds.run_once)
    shipped = "events WHERE sale_id = :sale AND type = 'order.fulfilled'"
    both = await arena.count(
        f"refunds JOIN orders ON orders.id = refunds.order_id WHERE orders.id IN (SELECT subject FROM {shipped})",
        sale=sale.id,
    )
    captured, kept, back = await books(arena, sale.id)
    return Outcome(both > 0 or kept + back > captured, kept + back == captured)
