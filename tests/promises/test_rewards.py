"""Rewards: each order is rewarded once, and once its money goes back so does the reward."""

import asyncio
from uuid import uuid4

import pytest

from app.services import causes, rewards
from app.workers import causes as worker
from tests.promises.money import DAY, PRICE, brought, budget, code, flash, has, later, policy, refund, top_up
from tests.promises.money import rewards as rewards_of
from tests.service import BARGAIN, Member, Service


async def test_an_inviter_earns_once_the_refund_window_is_over(service: Service) -> None:
    sale, inviter = await flash(service), await service.member()
    policy_id = await policy(service, sale_id=sale.id)
    order_id = await brought(service, inviter, sale)
    await service.work()
    assert await has(inviter) == (0, 490, 0, 0)
    assert await budget(service, policy_id) == 99_510
    (reward,) = (await inviter.get("/v1/members/me/rewards")).json()["items"]
    assert (reward["order_id"], reward["amount"], reward["state"]) == (order_id, 490, "pending")

    await later(service, 7 * DAY - 60, inviter)
    assert await has(inviter) == (0, 490, 0, 0)
    await later(service, 61, inviter)
    assert await has(inviter) == (490, 0, 0, 0)
    lines = (await inviter.get("/v1/members/me/statement")).json()["items"]
    assert [(line["kind"], line["amount"], line["balance_after"]) for line in lines] == [("matured", 490, 490)]
    assert await service.violations() == []


async def test_two_levels_earn_and_no_third(service: Service) -> None:
    sale = await flash(service)
    policy_id = await policy(service, sale_id=sale.id, levels=[{"basis_points": 1000}, {"amount": 50}])
    first, second, third, buyer = await service.members(4)
    await brought(service, first, sale, second)
    await service.work()
    await brought(service, second, sale, third)
    await service.work()
    await brought(service, third, sale, buyer)
    await service.work()
    assert [(await has(member))[1] for member in (first, second, third)] == [490 + 50, 490 + 50, 490]
    assert len(await rewards_of(service, policy_id)) == 5
    for levels in ([], [{"amount": 1}] * 3):
        reply = await service.ops(
            "POST",
            "reward-policies",
            {"title": "三级", "sale_id": sale.id, "role": "inviter", "levels": levels},
        )
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert await service.violations() == []


async def test_a_leader_earns_by_the_others_and_a_failed_group_earns_nothing(service: Service) -> None:
    sale = await service.sale(group_size=2)
    community = sale.body["community_id"]
    policy_id = await policy(service, role="leader", community_id=community, levels=[{"amount": 100}])
    leader, friend, lonely, late = await service.members(4)
    claim = (await leader.open(sale)).json()
    joined = (await friend.join(sale, claim["group"]["id"])).json()
    await leader.pay(claim["order"]["id"])
    await friend.pay(joined["order"]["id"])
    await service.work()
    assert (await has(leader))[1] == 100, "for the friend's order, not for their own"

    alone = (await lonely.open(sale)).json()
    await late.join(sale, alone["group"]["id"])
    paid = (await service.group(alone["group"]["id"]))["id"]
    other = (await (third := await service.member()).open(sale)).json()
    await third.pay(other["order"]["id"])
    await service.work()
    assert paid
    await later(service, 3601)
    assert {reward["state"] for reward in await rewards_of(service, policy_id)} == {"pending"}
    assert await budget(service, policy_id) == 99_900
    assert await service.violations() == []


async def test_money_that_waits_for_a_group_goes_back_with_it(service: Service) -> None:
    sale, inviter = await service.sale(group_size=3), await service.member()
    policy_id = await policy(service, sale_id=sale.id)
    buyer = await service.member()
    order = (await buyer.open(sale, invite_code=await code(inviter, sale))).json()["order"]
    await buyer.pay(order["id"])
    await service.work()
    assert (await has(inviter))[1] == 490
    await later(service, 3601)
    assert (await buyer.order(order["id"]))["state"] == "refunded"
    assert await has(inviter) == (0, 0, 0, 0)
    assert await budget(service, policy_id) == 100_000
    assert await service.violations() == []


async def test_orders_by_an_invite_are_rewarded_in_whatever_order_they_are_paid(service: Service) -> None:
    sale, inviter, buyer = await flash(service), await service.member(), await service.member()
    await policy(service, sale_id=sale.id)
    invite = await code(inviter, sale)
    orders = [
        (await buyer.buy(sale)).json()["order"],
        (await buyer.buy(sale, invite_code=invite)).json()["order"],
        (await buyer.buy(sale, invite_code=invite)).json()["order"],
    ]
    earned = []
    for order in reversed(orders):
        await buyer.pay(order["id"])
        await service.work()
        earned.append((await has(inviter))[1])
    assert earned == [490, 980, 980], "the first was ordered before the invite was there"
    assert await service.violations() == []


async def test_helpers_share_a_part_or_get_a_fixed_amount_each(service: Service) -> None:
    sale = await service.sale(**BARGAIN)
    shared = await policy(service, role="helper", sale_id=sale.id, levels=[{"basis_points": 1000}])
    fixed = await policy(service, role="helper", sale_id=sale.id, levels=[{"amount": 7}])
    owner, *helpers = await service.members(4)
    bargain_id = (await owner.bargain(sale))["id"]
    for helper in helpers:
        assert (await helper.cut(bargain_id)).is_success
    order = (await owner.buy_at(bargain_id)).json()["order"]
    await owner.pay(order["id"])
    await service.work()
    share = order["amount"] * 1000 // (10_000 * 3)
    assert [(await has(helper))[1] for helper in helpers] == [share + 7] * 3
    assert await budget(service, shared) == 100_000 - 3 * share
    assert await budget(service, fixed) == 100_000 - 21
    await refund(service, order["id"])
    assert [await has(helper) for helper in helpers] == [(0, 0, 0, 0)] * 3
    assert await service.violations() == []


async def test_a_price_that_fell_takes_its_part_of_the_reward_along(service: Service) -> None:
    sale = await service.sale(group_size=4, min_size=2, ladder=[(3, 4000), (4, 3000)])
    inviter = await service.member()
    policy_id = await policy(service, sale_id=sale.id)
    members = await service.members(4)
    invite = await code(inviter, sale)
    first = (await members[0].open(sale, invite_code=invite)).json()
    orders = [first["order"]]
    await members[0].pay(first["order"]["id"])
    await service.work()
    assert (await has(inviter))[1] == first["order"]["amount"] // 10
    for member in members[1:]:
        orders.append((await member.join(sale, first["group"]["id"])).json()["order"])
        await member.pay(orders[-1]["id"])
    await service.work()
    assert (await members[0].order(orders[0]["id"]))["settled_price"] == 3000
    assert (await has(inviter))[1] == 300
    assert await budget(service, policy_id) == 100_000 - 300
    (reward,) = await rewards_of(service, policy_id)
    assert (reward["amount"], reward["state"]) == (300, "pending")
    assert await service.violations() == []


async def test_caps_of_an_order_of_a_day_and_of_the_budget(service: Service) -> None:
    sale, inviter = await flash(service), await service.member()
    by_order = await policy(service, sale_id=sale.id, order_cap=200)
    by_day = await policy(service, sale_id=sale.id, day_cap=700)
    by_budget = await policy(service, 500, sale_id=sale.id)
    for _ in range(3):
        await brought(service, inviter, sale)
        await service.work()
    said = {
        policy_id: [(reward["amount"], reward["limited_by"]) for reward in await rewards_of(service, policy_id)]
        for policy_id in (by_order, by_day, by_budget)
    }
    assert said[by_order] == [(200, "order")] * 3
    assert said[by_day] == [(490, None), (210, "day"), (0, "day")]
    assert said[by_budget] == [(490, None), (10, "budget"), (0, "budget")]
    await top_up(service, by_budget, 1000, "second")
    await later(service, DAY, inviter)
    await brought(service, inviter, sale)
    await service.work()
    for policy_id in (by_day, by_budget):
        assert (await rewards_of(service, policy_id))[-1]["amount"] == 490, "a new day, a new budget"
    assert await service.violations() == []


async def test_a_refund_takes_a_reward_back_wherever_it_is(service: Service) -> None:
    """Before it matured; out of the balance; and when it was paid out: then it is owed, and the next pays that."""
    sale, inviter = await flash(service), await service.member()
    policy_id = await policy(service, sale_id=sale.id, mature_days=1)
    pending = await brought(service, inviter, sale)
    await service.work()
    await refund(service, pending)
    assert await has(inviter) == (0, 0, 0, 0)

    matured, kept = [await brought(service, inviter, sale) for _ in range(2)]
    await later(service, DAY + 1, inviter)
    assert await has(inviter) == (980, 0, 0, 0)
    await refund(service, matured)
    assert await has(inviter) == (490, 0, 0, 0)

    payout = await inviter.post("/v1/payouts", {"amount": 400, "account": "alice"})
    assert payout.status_code == 201, payout.text
    await service.work()
    assert await has(inviter) == (90, 0, 0, 0)
    await refund(service, kept)
    assert await has(inviter) == (0, 0, 0, 400), "the balance first, the rest is owed"
    assert await budget(service, policy_id) == 100_000 - 0

    await brought(service, inviter, sale)
    await later(service, DAY + 1, inviter)
    assert await has(inviter) == (90, 0, 0, 0), "what comes in pays what is owed first"
    assert {reward["state"] for reward in await rewards_of(service, policy_id)} == {"reversed", "matured"}
    assert await service.violations() == []


async def test_parallel_duplicates_of_everything_pay_once_and_reverse_once(service: Service) -> None:
    sale, inviter = await flash(service), await service.member()
    policy_id = await policy(service, 30 * 490 + 245, sale_id=sale.id, mature_days=0)
    buyers, invite = await service.members(40), await code(inviter, sale)
    await later(service, 2 * 3600, inviter, *buyers)  # as many new accounts at once would be suspected

    async def buy(buyer: Member) -> str:
        order_id = str((await buyer.buy(sale, invite_code=invite)).json()["order"]["id"])
        await service.http.post(await buyer.start_payment(order_id), json={"duplicates": 5, "reorder": True})
        return order_id

    async def look(order_id: str) -> None:
        for _ in range(3):
            await causes.handle(service.state, order_id, service.clock())

    orders = await asyncio.gather(*(buy(buyer) for buyer in buyers))
    await asyncio.gather(*(service.deliver() for _ in range(4)))
    await asyncio.gather(*(worker.run_once(service.state, service.clock()) for _ in range(4)))
    await asyncio.gather(*(look(order_id) for order_id in orders for _ in range(2)))
    found = await rewards_of(service, policy_id)
    assert sorted(reward["amount"] for reward in found) == [0] * 9 + [245] + [490] * 30
    assert len({reward["order_id"] for reward in found}) == 40
    assert await budget(service, policy_id) == 0

    due = [reward["id"] for reward in found]
    await asyncio.gather(
        *(rewards.mature(service.state, id_, service.clock()) for id_ in due for _ in range(3)),
        *(service.ops("POST", f"orders/{id_}/refund", **{"idempotency-key": "x"}) for id_ in orders[:20]),
    )
    await service.work()
    await asyncio.gather(*(look(order_id) for order_id in orders))
    await service.work()
    after = {reward["order_id"]: reward for reward in await rewards_of(service, policy_id)}
    assert {after[id_]["state"] for id_ in orders[:20]} == {"reversed"}
    assert {after[id_]["state"] for id_ in orders[20:]} == {"matured"}
    left = sum(after[id_]["amount"] for id_ in orders[20:])
    assert (await has(inviter))[0] == left
    assert await budget(service, policy_id) == 30 * 490 + 245 - left
    assert await service.violations() == []


async def same_phone(service: Service, name: str) -> tuple[Member, str]:
    """A member who has told a phone number, and the number."""
    phone = f"+861{3 + uuid4().int % 7}{uuid4().int % 10**9:09}"
    body = {"provider": "dev", "code": f"{name}-{uuid4().hex}", "phone": phone}
    session = (await service.http.post("/v1/sessions", json=body)).json()
    return Member(service, session["member"]["id"], name, session["access_token"]), phone


async def twin(service: Service, phone: str) -> Member:
    """Another account with this phone number."""
    body = {"provider": "dev", "code": f"twin-{uuid4().hex}", "phone": phone}
    session = (await service.http.post("/v1/sessions", json=body)).json()
    return Member(service, session["member"]["id"], "twin", session["access_token"])


async def test_a_suspect_reward_waits_for_an_operator(service: Service) -> None:
    sale = await flash(service)
    policy_id = await policy(service, 700, sale_id=sale.id, mature_days=1)
    inviter, phone = await same_phone(service, "inviter")
    for _ in range(3):
        await brought(service, inviter, sale, await twin(service, phone))
    await service.work()
    assert await has(inviter) == (0, 0, 0, 0)
    found = await rewards_of(service, policy_id)
    assert [(reward["state"], "phone" in reward["reasons"]) for reward in found] == [("withheld", True)] * 3
    assert await budget(service, policy_id) == 700

    released, declined, gone = (reward["id"] for reward in found)
    reply = await service.ops("POST", f"rewards/{released}/release")
    assert (reply.status_code, reply.json()["state"], reply.json()["amount"]) == (200, "pending", 490)
    assert (await service.ops("POST", f"rewards/{declined}/decline")).json()["state"] == "declined"
    for path in (f"rewards/{released}/release", f"rewards/{declined}/release", f"rewards/{declined}/decline"):
        reply = await service.ops("POST", path)
        assert (reply.status_code, reply.json()["code"]) == (409, "reward_not_withheld")
    await refund(service, found[2]["order_id"])
    assert await has(inviter) == (0, 490, 0, 0)
    await later(service, DAY + 1, inviter)
    assert await has(inviter) == (490, 0, 0, 0), "what an operator let go is not withheld again"
    by_state = (await service.ops("GET", f"rewards?policy_id={policy_id}&state=reversed")).json()["items"]
    assert [reward["id"] for reward in by_state] == [gone]
    assert await service.violations() == []


async def test_a_reward_that_has_become_suspect_is_withheld_before_it_matures(service: Service) -> None:
    sale, (inviter, phone) = await flash(service), await same_phone(service, "inviter")
    policy_id = await policy(service, sale_id=sale.id, mature_days=1)
    name = f"buyer-{uuid4().hex}"
    session = (await service.http.post("/v1/sessions", json={"provider": "dev", "code": name})).json()
    buyer = Member(service, session["member"]["id"], name, session["access_token"])
    await brought(service, inviter, sale, buyer)
    await service.work()
    assert await has(inviter) == (0, 490, 0, 0)
    await service.http.post("/v1/sessions", json={"provider": "dev", "code": name, "phone": phone})
    await later(service, DAY + 1, inviter)
    (reward,) = await rewards_of(service, policy_id)
    assert (reward["state"], reward["reasons"]) == ("withheld", ["phone"])
    assert await has(inviter) == (0, 0, 0, 0)
    assert await budget(service, policy_id) == 100_000
    assert (await service.ops("POST", f"rewards/{reward['id']}/release")).is_success
    await service.work()
    assert await has(inviter) == (490, 0, 0, 0)
    assert await service.violations() == []


async def test_a_policy_rewards_what_is_paid_while_it_holds(service: Service) -> None:
    sale, other, inviter = await flash(service), await flash(service), await service.member()
    await brought(service, inviter, sale)
    policy_id = await policy(service, 0, sale_id=sale.id)
    await top_up(service, policy_id, 5000)
    await top_up(service, policy_id, 5000)
    assert await budget(service, policy_id) == 5000, "a key tops up once"
    path = f"reward-policies/{policy_id}/budget"
    reply = await service.ops("POST", path, {"amount": 4000}, **{"idempotency-key": "first"})
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    await brought(service, inviter, sale)
    await brought(service, inviter, other)
    await service.work()
    assert len(await rewards_of(service, policy_id)) == 1
    ended = await service.ops("POST", f"reward-policies/{policy_id}/end")
    again = await service.ops("POST", f"reward-policies/{policy_id}/end")
    assert ended.json()["ended_at"] == again.json()["ended_at"] is not None
    reply = await service.ops("POST", path, {"amount": 4000}, **{"idempotency-key": "second"})
    assert (reply.status_code, reply.json()["code"]) == (409, "policy_ended")
    await top_up(service, policy_id, 5000)
    await brought(service, inviter, sale)
    await service.work()
    assert len(await rewards_of(service, policy_id)) == 1
    assert policy_id in {item["id"] for item in (await service.ops("GET", "reward-policies")).json()["items"]}
    assert await service.violations() == []


@pytest.mark.parametrize(
    ("changes", "code_"),
    [
        ({"sale_id": "sal_" + "0" * 32}, "sale_not_found"),
        ({"sale_id": None, "community_id": "com_" + "0" * 32}, "community_not_found"),
        ({"community_id": "com_" + "0" * 32}, "invalid_request"),
        ({"sale_id": None}, "invalid_request"),
        ({"currency": "USD"}, "invalid_terms"),
        ({"levels": [{"basis_points": 6000}, {"basis_points": 4001}]}, "invalid_terms"),
        ({"levels": [{"basis_points": 1, "amount": 1}]}, "invalid_request"),
        ({"role": "leader", "levels": [{"amount": 1}, {"amount": 1}]}, "invalid_terms"),
        ({"mature_days": 366}, "invalid_request"),
    ],
)
async def test_a_policy_that_cannot_work(service: Service, changes: dict[str, object], code_: str) -> None:
    sale = await flash(service)
    body = {"title": "规则", "sale_id": sale.id, "role": "inviter", "levels": [{"amount": 1}]} | changes
    reply = await service.ops("POST", "reward-policies", body)
    assert reply.json()["code"] == code_, reply.text


def test_prices_are_what_these_stories_expect() -> None:
    assert PRICE * 1000 // 10_000 == 490
