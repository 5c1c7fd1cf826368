"""A sale can be tried out before it is published: it says what would become of it, and changes nothing."""

from typing import Any

import pytest

from app.schemas.forecasts import ForecastPublic
from tests.http.refusals import unchanged
from tests.promises.test_ladders import LADDER, pay_one_after_the_other
from tests.service import BARGAIN, FLASH, Sale, Service


async def simulate(service: Service, sale: Sale, *curve: dict[str, Any], **body: Any) -> dict[str, Any]:
    async with unchanged(service):
        reply = await service.ops("POST", f"sales/{sale.id}/simulate", {"curve": list(curve)} | body)
    assert reply.status_code == 200, reply.text
    ForecastPublic.model_validate(reply.json())
    return dict(reply.json())


async def test_a_dry_run_says_what_then_happens(service: Service) -> None:
    """Four of six come to a ladder: the same orders, gaps and money as when they really do."""
    draft = await service.sale(publish=False, **LADDER)
    (level,) = (await simulate(service, draft, {"members": 4}))["levels"]
    group_id, seated = await pay_one_after_the_other(service, 4)
    service.clock.advance(3601)
    await service.tick()
    assert (await service.group(group_id))["state"] == "succeeded"
    orders = [await member.order(order["id"]) for member, order in seated]
    gaps = sum(refund["amount"] for order in orders for refund in order["refunds"])
    paid = sum(order["amount"] for order in orders)
    assert (level["orders_confirmed"], level["groups_closing"], level["groups_failing"]) == (4, 1, 0)
    assert level["money"]["gaps"] == gaps > 0
    assert level["money"]["net"] == paid - gaps
    assert level["money"]["gross"] - level["money"]["discount"] == paid
    assert level["offers"][0] | {"offer_id": None} == {"offer_id": None, "sold": 4, "left": 96, "unmet": 0}
    assert await service.violations() == []


async def test_a_flash_sale_sells_out(service: Service) -> None:
    sale = await service.sale(stocks=[10], **FLASH)
    shown = await simulate(service, sale, {"members": 5, "paying_percent": 60}, {"members": 20})
    first, last = shown["levels"]
    assert (first["paying"], first["orders_confirmed"], first["offers"][0]["left"]) == (3, 3, 7)
    assert (last["orders_confirmed"], last["turned_away"], last["offers"][0]["unmet"]) == (10, 13, 13)
    assert shown["offers"][0]["sold_out_after"] == 13
    assert last["money"]["net"] == 49_000
    assert last["at_floor"] is None


async def test_other_terms_can_be_tried(service: Service) -> None:
    sale = await service.sale(stocks=[100, 100])
    trial = {
        "offer_id": sale.offer,
        "stock": 9,
        "price": 6000,
        "list_price": 7000,
        "ladder": [{"heads": 4, "price": 5000}],
    }
    shares = [{"offer_id": sale.offer, "weight": 1}]
    shown = await simulate(
        service,
        sale,
        {"members": 5, "shares": shares},
        {"members": 5, "shares": shares},
        group_size=5,
        min_size=2,
        offers=[trial],
        coupon_percent=100,
        coupon_discount=1000,
        reward_percent=10,
    )
    full, short = shown["levels"]
    assert full["money"] == {
        "gross": 35_000,
        "discount": 3000 + 4000,  # three join at 6000, two at 5000
        "coupons": 5000,
        "gaps": 3000,
        "rewards": 5 * 400,
        "net": 5 * 3600,
    }
    assert (short["groups_filled"], short["groups_closing"], short["offers"][0]["unmet"]) == (1, 1, 1)
    assert [step["group_net"] for step in shown["offers"][0]["steps"]] == [12_000, 20_000]
    assert shown["first_group_after"] == 5
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["offers"][0]["price"] == 4900


async def test_seats_that_the_merchant_covers(service: Service) -> None:
    sale = await service.sale(group_size=3)
    fails = await simulate(service, sale, {"members": 2})
    covered = await simulate(service, sale, {"members": 2}, cover_seats=1)
    assert (fails["needed"], fails["levels"][0]["orders_refunded"]) == (3, 2)
    assert (covered["needed"], covered["levels"][0]["orders_confirmed"]) == (2, 2)


async def test_a_bargain_is_a_range(service: Service) -> None:
    """Nobody knows who will be helped how far: it says the most and the least."""
    bargain = await service.sale(publish=False, **BARGAIN)
    (level,) = (await simulate(service, bargain, {"members": 10}))["levels"]
    assert (level["money"]["net"], level["at_floor"]["net"]) == (99_000, 49_000)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"curve": [{"members": 30_000}, {"members": 30_000}]}, "invalid_request"),
        ({"curve": [{"members": 1, "quantity": 6}]}, "order_limit"),
        ({"offers": [{"offer_id": f"off_{'0' * 32}"}]}, "offer_not_found"),
        ({"curve": [{"members": 1, "shares": [{"offer_id": f"off_{'0' * 32}", "weight": 1}]}]}, "offer_not_found"),
        ({"group_size": 1}, "invalid_terms"),
        ({"min_size": 4}, "invalid_terms"),
        ({"offers": [{"offer_id": "own", "ladder": [{"heads": 9, "price": 1}]}]}, "invalid_terms"),
        ({"offers": [{"offer_id": "own", "list_price": 1}]}, "invalid_terms"),
        (
            {"curve": [{"members": 1, "quantity": 2}], "offers": [{"offer_id": "own", "price": 10**12}]},
            "amount_too_large",
        ),
    ],
)
async def test_terms_that_could_not_work(service: Service, body: dict[str, Any], code: str) -> None:
    sale = await service.sale()
    offers = [
        offer | ({"offer_id": sale.offer} if offer["offer_id"] == "own" else {}) for offer in body.get("offers", [])
    ]
    body = {"curve": [{"members": 1}]} | body | {"offers": offers}
    reply = await service.ops("POST", f"sales/{sale.id}/simulate", body)
    assert reply.json()["code"] == code


async def test_a_sale_without_offers_has_nothing_to_try(service: Service) -> None:
    sale = await service.sale(publish=False, offers=[])
    reply = await service.ops("POST", f"sales/{sale.id}/simulate", {"curve": [{"members": 1}]})
    assert (reply.status_code, reply.json()["code"]) == (409, "sale_without_offers")
