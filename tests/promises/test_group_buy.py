"""The main job: a group fills and everybody has their order, or it does not and everybody has their money."""

from typing import Any

import pytest

from tests.service import Member, Sale, Service, gather_limited

Seated = list[tuple[Member, dict[str, Any]]]


async def take_seats(service: Service, sale: Sale, count: int) -> tuple[str, Seated]:
    """A group with `count` seats taken and unpaid: its id, and who has which order."""
    members = await service.members(count)
    reply = await members[0].open(sale)
    assert reply.status_code == 201, reply.text
    group_id = reply.json()["group"]["id"]
    seated = [(members[0], reply.json()["order"])]
    for member in members[1:]:
        reply = await member.join(sale, group_id)
        assert reply.status_code == 201, reply.text
        seated.append((member, reply.json()["order"]))
    return group_id, seated


async def states(seated: Seated) -> list[str]:
    """The state of everybody's order."""
    return [(await member.order(order["id"]))["state"] for member, order in seated]


async def refunds(seated: Seated) -> list[list[tuple[str, str, int]]]:
    """Reason, state and amount of everybody's refunds."""
    return [
        [(row["reason"], row["state"], row["amount"]) for row in (await member.order(order["id"]))["refunds"]]
        for member, order in seated
    ]


async def test_group_succeeds_when_every_seat_is_paid(service: Service) -> None:
    sale = await service.sale()
    group_id, seated = await take_seats(service, sale, 3)
    group = await service.group(group_id)
    assert (group["state"], group["held"], group["paid"], group["left"]) == ("filled", 3, 0, 0)

    for member, order in seated:
        await member.pay(order["id"])

    group = await service.group(group_id)
    assert (group["state"], group["held"], group["paid"], group["left"]) == ("succeeded", 0, 3, 0)
    assert await states(seated) == ["confirmed"] * 3
    assert await refunds(seated) == [[], [], []]
    assert await service.left(sale) == [97]
    assert await service.violations() == []


async def test_the_last_two_payers_pay_at_the_same_moment(service: Service) -> None:
    sale = await service.sale(group_size=2)
    for _ in range(5):
        group_id, seated = await take_seats(service, sale, 2)
        urls = [await member.start_payment(order["id"]) for member, order in seated]
        await gather_limited(service.http.post(url, json={}) for url in urls)
        await gather_limited([service.deliver(), service.deliver()])
        await service.deliver()
        assert (await service.group(group_id))["state"] == "succeeded"
    assert await service.violations() == []


async def test_a_group_that_is_not_full_in_time_refunds_everybody(service: Service) -> None:
    sale = await service.sale()
    group_id, seated = await take_seats(service, sale, 2)
    for member, order in seated:
        await member.pay(order["id"])
    service.clock.advance(3601)
    await service.tick()
    group = await service.group(group_id)
    assert (group["state"], group["fail_reason"], group["members"]) == ("failed", "deadline", [])
    assert await states(seated) == ["refunded"] * 2
    assert await refunds(seated) == [[("group_failed", "succeeded", 4900)]] * 2
    assert await service.left(sale) == [100]
    assert await service.violations() == []


async def test_third_payment_after_the_deadline_refunds_all_three(service: Service) -> None:
    sale = await service.sale(group_ttl_seconds=3600, hold_ttl_seconds=3600)
    group_id, seated = await take_seats(service, sale, 3)
    for member, order in seated[:2]:
        await member.pay(order["id"])
    late_member, late_order = seated[2]
    await late_member.pay(late_order["id"], delay_seconds=3650)

    service.clock.advance(3700)
    await service.tick()

    assert (await service.group(group_id))["fail_reason"] == "deadline"
    assert await states(seated) == ["refunded", "refunded", "expired"]
    assert await refunds(seated) == [
        [("group_failed", "succeeded", 4900)],
        [("group_failed", "succeeded", 4900)],
        [("late", "succeeded", 4900)],
    ]
    for member, order in seated:
        (payment,) = (await member.order(order["id"]))["payments"]
        assert (payment["captured_amount"], payment["outcome"]) == (4900, "refunded")
    assert await service.left(sale) == [100]
    assert await service.violations() == []


async def test_a_hold_that_is_not_paid_opens_the_group_again(service: Service) -> None:
    sale = await service.sale(group_size=2)
    group_id, seated = await take_seats(service, sale, 2)
    await seated[0][0].pay(seated[0][1]["id"])
    service.clock.advance(601)
    await service.tick()
    group = await service.group(group_id)
    assert (group["state"], group["paid"], group["left"]) == ("open", 1, 1)
    assert await states(seated) == ["paid", "expired"]
    newcomer = await service.member()
    reply = await newcomer.join(sale, group_id)
    assert reply.status_code == 201, reply.text
    await newcomer.pay(reply.json()["order"]["id"])
    assert (await service.group(group_id))["state"] == "succeeded"
    assert await service.violations() == []


async def test_the_next_member_leads_when_the_leader_leaves(service: Service) -> None:
    sale = await service.sale()
    group_id, seated = await take_seats(service, sale, 3)
    leader, order = seated[0]
    reply = await leader.post(f"/v1/orders/{order['id']}/cancel")
    assert (reply.status_code, reply.json()["state"]) == (200, "cancelled")
    group = (await seated[1][0].get(f"/v1/groups/{group_id}")).json()
    assert group["leader_name"] == seated[1][0].name
    assert [(seat["number"], seat["leader"]) for seat in group["members"]] == [(2, True), (3, False)]
    assert (await leader.post(f"/v1/orders/{order['id']}/cancel")).json()["code"] == "order_not_held"
    assert (await leader.join(sale, group_id)).status_code == 201
    assert await service.violations() == []


async def test_a_group_that_everybody_left_is_over(service: Service) -> None:
    sale = await service.sale()
    group_id, seated = await take_seats(service, sale, 1)
    await seated[0][0].post(f"/v1/orders/{seated[0][1]['id']}/cancel")
    assert (await service.group(group_id))["fail_reason"] == "empty"
    newcomer = await service.member()
    reply = await newcomer.join(sale, group_id)
    assert (reply.status_code, reply.json()["code"]) == (409, "group_closed")
    assert await service.left(sale) == [100]
    assert await service.violations() == []


async def test_a_paid_member_cannot_leave_and_an_ended_order_cannot_be_paid(service: Service) -> None:
    sale = await service.sale()
    _, seated = await take_seats(service, sale, 2)
    (payer, paid), (leaver, left) = seated
    await payer.pay(paid["id"])
    reply = await payer.post(f"/v1/orders/{paid['id']}/cancel")
    assert (reply.status_code, reply.json()["code"]) == (409, "order_not_held")
    reply = await payer.post(f"/v1/orders/{paid['id']}/payments", {"provider": "sandbox"})
    assert (reply.status_code, reply.json()["code"]) == (409, "order_not_held")
    await leaver.post(f"/v1/orders/{left['id']}/cancel")
    reply = await leaver.post(f"/v1/orders/{left['id']}/payments", {"provider": "sandbox"})
    assert (reply.status_code, reply.json()["code"]) == (410, "order_closed")


@pytest.mark.parametrize(
    "wish",
    [
        {"duplicates": 5},
        {"reorder": True},
        {"duplicates": 3, "reorder": True},
        {"drop": True},
    ],
    ids=["duplicated", "reordered", "duplicated and reordered", "dropped"],
)
async def test_whatever_becomes_of_the_notifications_the_money_counts_once(
    service: Service, wish: dict[str, Any]
) -> None:
    sale = await service.sale(group_size=2)
    group_id, seated = await take_seats(service, sale, 2)
    for member, order in seated:
        await member.pay(order["id"], **wish)
    service.clock.advance(20)
    await service.tick()
    assert (await service.group(group_id))["state"] == "succeeded"
    for member, order in seated:
        found = await member.order(order["id"])
        assert [payment["outcome"] for payment in found["payments"]] == ["kept"]
        assert found["refunds"] == []
    assert await service.violations() == []


async def test_a_wrong_amount_is_refunded_and_the_seat_still_waits(service: Service) -> None:
    sale = await service.sale(group_size=2)
    group_id, seated = await take_seats(service, sale, 2)
    (member, order), (friend, other) = seated
    await member.pay(order["id"], amount=1)
    await friend.pay(other["id"])
    await service.tick()
    found = await member.order(order["id"])
    assert (found["state"], found["payments"][0]["captured_amount"]) == ("held", 1)
    assert [(row["reason"], row["state"], row["amount"]) for row in found["refunds"]] == [
        ("wrong_amount", "succeeded", 1)
    ]
    await member.pay(order["id"])
    assert (await service.group(group_id))["state"] == "succeeded"
    assert await service.violations() == []


async def test_an_order_paid_twice_keeps_one_payment(service: Service) -> None:
    sale = await service.sale(group_size=2)
    _, seated = await take_seats(service, sale, 1)
    member, order = seated[0]
    urls = [await member.start_payment(order["id"]) for _ in range(3)]
    await gather_limited(service.http.post(url, json={}) for url in urls)
    await service.tick()
    found = await member.order(order["id"])
    assert sorted(payment["outcome"] for payment in found["payments"]) == ["kept", "refunded", "refunded"]
    assert [(row["reason"], row["state"]) for row in found["refunds"]] == [("duplicate", "succeeded")] * 2
    assert found["state"] == "paid"
    assert await service.violations() == []


async def test_a_refused_payment_can_be_tried_again(service: Service) -> None:
    sale = await service.sale(group_size=2)
    _, seated = await take_seats(service, sale, 1)
    member, order = seated[0]
    url = await member.start_payment(order["id"])
    await service.http.post(url, json={"refuse": True})
    await service.deliver()
    assert (await member.order(order["id"]))["payments"][0]["state"] == "failed"
    await service.http.post(url, json={})
    await service.deliver()
    found = await member.order(order["id"])
    assert (found["state"], found["payments"][0]["state"]) == ("paid", "captured")


async def test_a_payment_started_twice_with_one_key_is_one_payment(service: Service) -> None:
    sale = await service.sale()
    _, seated = await take_seats(service, sale, 1)
    member, order = seated[0]
    urls = await gather_limited(member.start_payment(order["id"], key="pay-once") for _ in range(8))
    assert len(set(urls)) == 1
    for _ in range(4):
        await member.start_payment(order["id"])
    reply = await member.post(f"/v1/orders/{order['id']}/payments", {"provider": "sandbox"})
    assert (reply.status_code, reply.json()["code"]) == (409, "too_many_payments")


async def test_a_refund_is_tried_until_it_succeeds(service: Service) -> None:
    sale = await service.sale()
    _, seated = await take_seats(service, sale, 2)
    await seated[0][0].pay(seated[0][1]["id"], refund_failures=4)
    await seated[1][0].pay(seated[1][1]["id"])
    service.clock.advance(3601)
    await service.tick()
    assert await states(seated) == ["refunding", "refunded"], "one member's trouble is not the other's"
    for _ in range(5):
        service.clock.advance(120)
        await service.tick()
    assert await states(seated) == ["refunded", "refunded"]
    assert await refunds(seated) == [[("group_failed", "succeeded", 4900)]] * 2
    assert await service.violations() == []


async def test_an_operator_ships_completes_and_refunds(service: Service) -> None:
    sale = await service.sale(group_size=2)
    group_id, seated = await take_seats(service, sale, 2)
    (first, shipped), (second, returned) = seated
    reply = await service.ops("POST", f"orders/{shipped['id']}/ship")
    assert (reply.status_code, reply.json()["code"]) == (409, "order_not_shippable")
    for member, order in seated:
        await member.pay(order["id"])

    assert (await service.ops("POST", f"orders/{shipped['id']}/ship")).json()["state"] == "fulfilled"
    keyed = {"idempotency-key": "refund-1"}
    reply = await service.ops("POST", f"orders/{shipped['id']}/refund", **keyed)
    assert (reply.status_code, reply.json()["code"]) == (409, "order_not_refundable")
    assert (await service.ops("POST", f"orders/{shipped['id']}/complete")).json()["state"] == "completed"
    assert (await service.ops("POST", f"orders/{shipped['id']}/complete")).status_code == 409

    replies = await gather_limited(
        service.ops("POST", f"orders/{returned['id']}/refund", **keyed) for _ in range(10)
    )
    assert {reply.status_code for reply in replies} == {200}
    await service.tick()
    assert await states(seated) == ["completed", "refunded"]
    assert await refunds(seated) == [[], [("operator", "succeeded", 4900)]]
    assert (await service.group(group_id))["state"] == "succeeded"
    assert await service.left(sale) == [99]
    assert await service.violations() == []
    _ = first, second


async def test_members_of_one_group_choose_different_offers(service: Service) -> None:
    sale = await service.sale(group_size=2, stocks=[3, 3])
    leader, friend = await service.members(2)
    group_id = (await leader.open(sale, quantity=2)).json()["group"]["id"]
    reply = await friend.join(sale, group_id, offer_id=sale.offers[1])
    assert reply.status_code == 201, reply.text
    assert reply.json()["order"]["amount"] == 5900
    assert await service.left(sale) == [1, 2]
    other_sale = await service.sale()
    stranger = await service.member()
    reply = await stranger.join(other_sale, group_id)
    assert (reply.status_code, reply.json()["code"]) == (404, "offer_not_found")


async def test_an_offer_of_another_product_does_not_fit_the_group(service: Service) -> None:
    sale = await service.sale(publish=False)
    other = (await service.ops("POST", "products", {"title": "茶杯", "skus": ["一只"]})).json()
    offers = [{"sku_id": other["skus"][0]["id"], "price": 100, "stock": 5}]
    await service.ops("PATCH", f"sales/{sale.id}", {"offers": offers})
    published = (await service.ops("POST", f"sales/{sale.id}/publish")).json()
    leader, friend = await service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    cup = next(offer["id"] for offer in published["offers"] if offer["sku_id"] == other["skus"][0]["id"])
    reply = await friend.join(sale, group_id, offer_id=cup)
    assert (reply.status_code, reply.json()["code"]) == (409, "offer_not_in_group")


async def test_the_same_key_gets_the_same_answer_whatever_happened_since(service: Service) -> None:
    sale = await service.sale(group_size=2)
    member, friend = await service.members(2)
    first = await member.open(sale, key="mine")
    group_id = first.json()["group"]["id"]
    await friend.join(sale, group_id)
    assert (await member.open(sale, key="mine")).text == first.text
    await member.post(f"/v1/orders/{first.json()['order']['id']}/cancel")
    assert (await member.open(sale, key="mine")).text == first.text
    await service.ops("POST", f"sales/{sale.id}/end")
    assert (await member.open(sale, key="mine")).text == first.text
    assert (await member.open(sale, key="another")).json()["code"] == "sale_ended"
    unknown = f"off_{'0' * 32}"
    for change in ({"quantity": 2}, {"offer_id": unknown}, {"invite_code": "nobodysCode"}):
        assert (await member.open(sale, key="mine", **change)).json()["code"] == "idempotency_key_reused"
    assert await service.violations() == []
