"""A price ladder: everybody pays the price of joining, and is given back the gap to what the group closes on."""

from typing import Any

import pytest

from tests.promises.test_group_buy import Seated, refunds, states
from tests.service import Service, gather_limited

LADDER: dict[str, Any] = {"group_size": 6, "min_size": 2, "ladder": [(3, 4500), (5, 3900)]}


async def pay_one_after_the_other(service: Service, count: int, **terms: Any) -> tuple[str, Seated]:
    """A group whose members join and pay one after the other."""
    sale = await service.sale(**LADDER | terms)
    members = await service.members(count)
    group_id, seated = "", []
    for member in members:
        reply = await (member.join(sale, group_id) if group_id else member.open(sale))
        assert reply.status_code == 201, reply.text
        group_id = reply.json()["group"]["id"]
        seated.append((member, reply.json()["order"]))
        await member.pay(reply.json()["order"]["id"])
    return group_id, seated


async def refunded(service: Service, order: dict[str, Any]) -> bool:
    """Have an operator refund an order."""
    headers = {"idempotency-key": order["id"]}
    return (await service.ops("POST", f"orders/{order['id']}/refund", None, **headers)).status_code == 200


async def test_everybody_gets_the_gap_when_the_group_is_full(service: Service) -> None:
    group_id, seated = await pay_one_after_the_other(service, 6)
    assert [order["unit_price"] for _, order in seated] == [4900, 4900, 4500, 4500, 3900, 3900]
    assert (await service.group(group_id))["state"] == "succeeded"
    await service.tick()
    assert await refunds(seated) == [
        *[[("gap", "succeeded", 1000)]] * 2,
        *[[("gap", "succeeded", 600)]] * 2,
        *[[]] * 2,
    ]
    for member, order in seated:
        now = await member.order(order["id"])
        assert (now["state"], now["settled_price"], now["amount"]) == ("confirmed", 3900, order["amount"])
        assert now["payments"][0]["outcome"] == "kept"
    assert await service.violations() == []


@pytest.mark.parametrize(("count", "price"), [(2, 4900), (4, 4500), (5, 3900)])
async def test_a_group_closes_on_the_step_it_has_reached(service: Service, count: int, price: int) -> None:
    group_id, seated = await pay_one_after_the_other(service, count)
    waiting = await service.member()
    reply = await waiting.post(f"/v1/groups/{group_id}/seats", {"offer_id": seated[0][1]["offer_id"]})
    seated.append((waiting, reply.json()["order"]))
    service.clock.advance(3601)
    await service.tick()
    group = await service.group(group_id)
    assert (group["state"], group["paid"], group["left"]) == ("succeeded", count, 0)
    assert await states(seated) == [*["confirmed"] * count, "expired"], "who has not paid is not in it"
    for member, order in seated[:count]:
        now = await member.order(order["id"])
        back = sum(refund["amount"] for refund in now["refunds"])
        assert (now["settled_price"], order["amount"] - back) == (price, price)
    assert await service.violations() == []


async def test_a_group_of_too_few_fails(service: Service) -> None:
    group_id, seated = await pay_one_after_the_other(service, 1)
    service.clock.advance(3601)
    await service.tick()
    assert (await service.group(group_id))["state"] == "failed"
    assert await refunds(seated) == [[("group_failed", "succeeded", 4900)]]
    assert await service.violations() == []


async def test_it_is_shown_what_is_missing(service: Service) -> None:
    group_id, seated = await pay_one_after_the_other(service, 1)
    offer_id = seated[0][1]["offer_id"]
    (price,) = (await service.group(group_id))["prices"]
    assert price == {"offer_id": offer_id, "price": 4900, "next_price": 4500, "heads_to_next": 2}
    group_id, seated = await pay_one_after_the_other(service, 4)
    (price,) = (await service.group(group_id))["prices"]
    assert (price["price"], price["next_price"], price["heads_to_next"]) == (3900, 3900, 1)
    group_id, seated = await pay_one_after_the_other(service, 5)
    (price,) = (await service.group(group_id))["prices"]
    assert (price["price"], price["next_price"], price["heads_to_next"]) == (3900, None, None)


async def test_holds_move_no_price(service: Service) -> None:
    """Members who only hold a seat are not heads: who joins after them pays what those who paid have reached."""
    sale = await service.sale(**LADDER)
    members = await service.members(5)
    group_id = (await members[0].open(sale)).json()["group"]["id"]
    joined = await gather_limited(member.join(sale, group_id) for member in members[1:])
    assert [reply.json()["order"]["unit_price"] for reply in joined] == [4900] * 4


async def test_an_operator_refunds_what_is_left(service: Service) -> None:
    """The gap has been given back; the rest follows, and the payment is refunded in full."""
    _, seated = await pay_one_after_the_other(service, 6)
    member, order = seated[0]
    assert await refunded(service, order)
    await service.tick()
    now = await member.order(order["id"])
    assert (now["state"], now["payments"][0]["outcome"]) == ("refunded", "refunded")
    assert sorted((refund["reason"], refund["amount"]) for refund in now["refunds"]) == [
        ("gap", 1000),
        ("operator", 3900),
    ]
    assert await service.violations() == []


async def test_the_price_one_joined_on_stays_when_somebody_is_refunded(service: Service) -> None:
    """Three had paid when the fourth joined; one of them is refunded, and the group closes with three."""
    group_id, seated = await pay_one_after_the_other(service, 4)
    for _, order in seated[:2]:
        assert await refunded(service, order)
    service.clock.advance(3601)
    await service.tick()
    assert (await service.group(group_id))["state"] == "succeeded"
    for member, order in seated[2:]:
        now = await member.order(order["id"])
        assert (now["unit_price"], now["settled_price"], now["refunds"]) == (4500, 4500, [])
    assert await service.violations() == []


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"group_size": 3, "min_size": 4}, "min_size"),
        ({"group_size": 3, "min_size": 2, "ladder": [(4, 4500)]}, "ladder"),
        ({"group_size": 3, "min_size": 2, "ladder": [(2, 4500)]}, "ladder"),
        ({"group_size": 3, "min_size": 2, "ladder": [(3, 4900)]}, "ladder"),
        ({"group_size": 3, "ladder": [(3, 4500)]}, "ladder"),
    ],
)
async def test_terms_that_could_not_work(service: Service, terms: dict[str, Any], field: str) -> None:
    good = await service.sale(publish=False)
    body = good.body | {name: value for name, value in terms.items() if name != "ladder"}
    steps = [{"heads": heads, "price": price} for heads, price in terms.get("ladder", [])]
    body["offers"] = [offer | {"ladder": steps} for offer in body["offers"]]
    reply = await service.ops("POST", "sales", body)
    assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (422, "invalid_terms", field)


async def test_a_published_ladder_does_not_change(service: Service) -> None:
    sale = await service.sale(**LADDER)
    offer = {"sku_id": sale.body["offers"][0]["sku_id"], "ladder": [{"heads": 3, "price": 4600}]}
    reply = await service.ops("PATCH", f"sales/{sale.id}", {"offers": [offer]})
    assert reply.json()["code"] == "sale_not_editable"
