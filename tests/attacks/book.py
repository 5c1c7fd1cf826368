"""Attacks on the book: rewards, payouts, tips, budgets."""

from app.workers import causes, payouts, refunds, rewards
from app.workers import sandbox as cashier
from tests.attacks.arena import Arena, Outcome, attack, post, won
from tests.promises.money import account, code, flash, give, has, policy


@attack
async def pay_a_balance_out_a_hundred_times(arena: Arena) -> Outcome:
    """Have more paid out than the balance, by keys of their own and the same keys, from two sessions."""
    member, twin = arena.me, arena.twin
    before = (await has(member))[0]
    await give(arena.service, member, 1000)
    calls = [
        post(
            "/v1/payouts",
            {"amount": 100 + before // 10, "account": "alice"},
            key=f"{member.id}-{arena.service.clock().timestamp()}-{number % 50}",
            **(member, twin)[number % 2].headers,
        )
        for number in range(arena.calls)
    ]
    answers = won(await arena.fire(calls, arena.turn(0, payouts.run_once)))
    await arena.work(payouts.run_once)
    ids = {answer.json()["id"] for answer in answers}
    left = await has(member)
    return Outcome(len(ids) > 10 or left[0] < 0, len(ids) == 10 and left[0] == before % 10)


@attack
async def tip_the_same_money_a_hundred_times(arena: Arena) -> Outcome:
    """Give more tips than a day allows, or the same money twice; or have one key give twice."""
    giver, taker = [await arena.service.member() for _ in range(2)]
    await give(arena.service, giver, 150)
    path = f"/v1/members/{taker.id}/tips"
    calls = [post(path, {"amount": 10}, key=f"tip-{number % 30}", **giver.headers) for number in range(arena.calls)]
    won(await arena.fire(calls))
    got, left = (await has(taker))[0], (await has(giver))[0]
    return Outcome(got > 150 or got + left != 150, got == 150)


@attack
async def have_a_payout_approved_and_rejected(arena: Arena) -> Outcome:
    """Be paid, and get the money back as well, by an approval and a rejection at once."""
    member = await arena.service.member()
    await give(arena.service, member, 60_000)
    paid = await account(arena.service, "paid_out:CNY")
    asked = await arena.ask(post("/v1/payouts", {"amount": 60_000, "account": "alice"}, **member.headers))
    verbs = ["approve", "reject"] * (arena.calls // 2)
    answers = won(
        await arena.fire(
            (arena.ops(f"payouts/{asked['id']}/{verb}") for verb in verbs), arena.turn(0, payouts.run_once)
        )
    )
    await arena.work(payouts.run_once)
    out = await account(arena.service, "paid_out:CNY") - paid
    back = (await has(member))[0]
    return Outcome(out + back > 60_000, len(answers) == 1 and out + back == 60_000)


@attack
async def top_a_budget_up_with_one_key(arena: Arena) -> Outcome:
    """Have a budget filled a hundred times by one request."""
    sale = await flash(arena.service)
    policy_id = await policy(arena.service, 0, sale_id=sale.id)
    headers = {"x-api-key": arena.service.operator_key}
    path = f"/v1/ops/reward-policies/{policy_id}/budget"
    answers = await arena.fire(post(path, {"amount": 100}, key="once", **headers) for _ in range(arena.calls))
    budget = await account(arena.service, f"{policy_id}:budget:CNY")
    return Outcome(budget > 100, budget == 100 and len(won(answers)) == arena.calls)


@attack
async def be_rewarded_again_and_again(arena: Arena) -> Outcome:
    """Have one order rewarded twice, or keep the reward of an order that is refunded, while workers race."""
    service, inviter = arena.service, await arena.service.member()
    sale = await flash(service)
    policy_id = await policy(service, 100_000, sale_id=sale.id, mature_days=0)
    buyer, invite = arena.me, await code(inviter, sale)
    orders = [(await buyer.buy(sale, invite_code=invite)).json()["order"] for _ in range(10)]
    urls = [await buyer.start_payment(order["id"]) for order in orders]
    jobs = (cashier.run_once, causes.run_once, rewards.run_once)
    await arena.fire((arena.pay(url, duplicates=9) for url in urls), arena.turn(0, *jobs), arena.turn(0, *jobs))
    await arena.turn(60, *jobs)  # what did not answer in time is asked again
    earned = (await has(inviter))[0]
    await arena.fire(
        (arena.ops(f"orders/{order['id']}/refund") for order in orders[:5] * 5),
        arena.turn(0, causes.run_once, refunds.run_once),
    )
    await arena.turn(60, *jobs, refunds.run_once)
    left, budget = (await has(inviter))[0], await account(service, f"{policy_id}:budget:CNY")
    return Outcome(
        earned > 10 * 490 or left > 5 * 490 or left + budget != 100_000,
        (earned, left) == (10 * 490, 5 * 490),
        seen=(earned, left, budget),
    )
