"""Coupons: locked by an order, released with it, never redeemed more often than they may be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.services import commits, redemptions
from tests.promises.test_ladders import LADDER
from tests.races.test_places import insist, outcomes
from tests.service import FLASH, Member, Service, gather_limited, running_service

NOBODY = f"mem_{'0' * 32}"


async def counts(service: Service, coupon: dict[str, Any]) -> tuple[int, int, int]:
    """How many redemptions of a coupon are locked, used and left."""
    shown = (await service.ops("GET", f"coupons/{coupon['id']}")).json()
    return shown["locked"], shown["used"], shown["left"]


@asynccontextmanager
async def second_service(service: Service, valkey: str, data: Path) -> AsyncIterator[Service]:
    """Another process on the same rows."""
    async with running_service(service.state.database.url, valkey, data) as other:
        yield other


async def test_a_coupon_is_locked_by_an_order_and_used_when_it_is_paid(service: Service) -> None:
    sale, coupon = await service.sale(**FLASH), await service.coupon()
    member = await service.member()
    reply = await member.buy(sale, key="once", coupon_code=coupon["code"].lower())
    assert reply.status_code == 201, reply.text
    order = reply.json()["order"]
    assert (order["unit_price"], order["discount"], order["amount"]) == (4900, 2000, 2900)
    assert order["coupon_code"] == coupon["code"]
    assert await counts(service, coupon) == (1, 0, 9)
    again = await member.buy(sale, key="once", coupon_code=coupon["code"])
    assert again.text == reply.text
    await member.pay(order["id"])
    paid = await member.order(order["id"])
    assert (paid["state"], paid["payments"][0]["captured_amount"]) == ("confirmed", 2900)
    assert await counts(service, coupon) == (0, 1, 9)
    assert await service.violations() == []


async def test_a_coupon_returns_with_its_order(service: Service) -> None:
    sale, coupon = await service.sale(group_size=2), await service.coupon(total=1)
    first, second, third, fourth = await service.members(4)
    left = (await first.open(sale, coupon_code=coupon["code"])).json()["order"]
    assert (await second.open(sale, coupon_code=coupon["code"])).json()["code"] == "coupon_used_up"
    assert (await first.post(f"/v1/orders/{left['id']}/cancel")).status_code == 200

    expired = (await second.open(sale, coupon_code=coupon["code"])).json()["order"]
    service.clock.advance(601)
    await service.tick()
    assert (await second.order(expired["id"]))["state"] == "expired"

    failed = (await third.open(sale, coupon_code=coupon["code"])).json()["order"]
    await third.pay(failed["id"])
    assert await counts(service, coupon) == (0, 1, 0)
    service.clock.advance(3601)
    await service.tick()
    refunded = await third.order(failed["id"])
    assert (refunded["state"], refunded["refunds"][0]["amount"]) == ("refunded", 2900)

    confirmed = (await fourth.open(sale, coupon_code=coupon["code"])).json()["order"]
    await fourth.pay(confirmed["id"])
    headers = {"idempotency-key": confirmed["id"]}
    assert (await service.ops("POST", f"orders/{confirmed['id']}/refund", None, **headers)).status_code == 200
    assert await counts(service, coupon) == (0, 0, 1)
    await service.tick()
    assert await service.violations() == []


async def test_a_hundred_at_two_processes_redeem_ten(service: Service, valkey: str, tmp_path: Path) -> None:
    sale, coupon = await service.sale(stocks=[200], **FLASH), await service.coupon()
    members = await service.members(100)
    async with second_service(service, valkey, tmp_path) as other:
        buyers = [replace(member, service=(service, other)[at % 2]) for at, member in enumerate(members)]
        replies = await gather_limited(
            insist(member.buy, sale, key="race", coupon_code=coupon["code"]) for member in buyers
        )
    assert outcomes(replies) == {"taken": 10, "coupon_used_up": 90}
    assert await counts(service, coupon) == (10, 0, 0)
    await service.tick()
    assert await service.left(sale) == [190]
    assert await service.violations() == []


async def test_all_of_a_large_coupon_can_be_redeemed(
    service: Service, valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both processes look for free numbers from the same place on, and few ranges at a time."""
    monkeypatch.setattr(redemptions, "randbelow", lambda total: total // 2)
    sale, coupon = await service.sale(stocks=[200], **FLASH), await service.coupon(total=60)
    members = await service.members(80)
    async with second_service(service, valkey, tmp_path) as other:
        buyers = [replace(member, service=(service, other)[at % 2]) for at, member in enumerate(members)]
        replies = await gather_limited(
            insist(member.buy, sale, key="race", coupon_code=coupon["code"]) for member in buyers
        )
    assert outcomes(replies) == {"taken": 60, "coupon_used_up": 20}
    freed = [reply.json()["order"]["id"] for reply in replies if reply.status_code == 201][:20]
    by_order = {
        reply.json()["order"]["id"]: member
        for member, reply in zip(members, replies, strict=True)
        if reply.status_code == 201
    }
    await gather_limited(by_order[order_id].post(f"/v1/orders/{order_id}/cancel") for order_id in freed)
    replies = await gather_limited(
        member.buy(sale, key="again", coupon_code=coupon["code"]) for member in await service.members(25)
    )
    assert outcomes(replies) == {"taken": 20, "coupon_used_up": 5}
    assert await service.violations() == []


async def test_a_number_that_somebody_has_is_looked_for_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale, coupon = await service.sale(**FLASH), await service.coupon()
    members = await service.members(10)
    find, tries = redemptions._free_numbers, []

    async def stale(bulk: Any, coupon_id: str, total: int, most: int) -> list[int]:
        """What was free when nobody had redeemed it."""
        tries.append(most)
        return list(range(1, most + 1)) if len(tries) in {1, 2} else await find(bulk, coupon_id, total, most)

    monkeypatch.setattr(redemptions, "_free_numbers", stale)
    replies = [await member.buy(sale, coupon_code=coupon["code"]) for member in members]
    assert [reply.status_code for reply in replies] == [201] * 10
    assert len(tries) == 11, "the second found what the first had taken"
    assert await service.violations() == []


async def test_one_member_races_past_the_limit_of_a_coupon(service: Service) -> None:
    sale = await service.sale(stocks=[100], member_limit=50, **FLASH)
    coupon = await service.coupon(member_limit=2)
    member = await service.member()
    replies = await gather_limited(
        insist(member.buy, sale, key=f"k{k}", coupon_code=coupon["code"]) for k in range(30)
    )
    assert outcomes(replies) == {"taken": 2, "coupon_limit": 28}
    await service.tick()
    assert await service.left(sale) == [98]
    assert await service.violations() == []


async def test_a_refused_coupon_takes_nothing(service: Service) -> None:
    """Neither a unit nor a seat, nor the key: without the coupon the same member may buy at once."""
    sale, coupon = await service.sale(stocks=[1], **FLASH), await service.coupon(total=1)
    first, second = await service.members(2)
    other = await service.sale(**FLASH)
    assert (await first.buy(other, coupon_code=coupon["code"])).status_code == 201
    refused = await second.buy(sale, key="mine", coupon_code=coupon["code"])
    assert (refused.status_code, refused.json()["code"]) == (409, "coupon_used_up")
    assert (await second.buy(sale, key="mine")).status_code == 201
    assert await service.violations() == []


async def test_a_key_is_for_one_coupon(service: Service) -> None:
    sale, coupon = await service.sale(**FLASH), await service.coupon()
    member = await service.member()
    assert (await member.buy(sale, key="mine")).status_code == 201
    reply = await member.buy(sale, key="mine", coupon_code=coupon["code"])
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert await counts(service, coupon) == (0, 0, 10)


@pytest.mark.parametrize(
    ("terms", "refusal"),
    [
        ({"min_spend": 4901}, {"code": "coupon_min_spend", "min_spend": 4901}),
        ({"opens_at": "2150-01-01T00:00:00Z", "closes_at": "2150-01-02T00:00:00Z"}, {"code": "coupon_not_open"}),
        ({"opens_at": "2020-01-01T00:00:00Z", "closes_at": "2020-01-02T00:00:00Z"}, {"code": "coupon_ended"}),
        ({"currency": "EUR"}, {"code": "coupon_mismatch", "field": "currency"}),
        ({"granted": True}, {"code": "coupon_not_found"}),
    ],
)
async def test_a_coupon_is_for_what_it_says(
    service: Service, terms: dict[str, Any], refusal: dict[str, Any]
) -> None:
    sale, coupon = await service.sale(**FLASH), await service.coupon(**terms)
    member = await service.member()
    claimed = (await member.buy(sale, coupon_code=coupon["code"])).json()
    asked = (await member.get(f"/v1/coupons/{coupon['code']}?offer_id={sale.offer}")).json()
    for reply in (claimed, asked):
        assert {name: reply.get(name) for name in refusal} == refusal
    assert await counts(service, coupon) == (0, 0, 10)


async def test_a_coupon_has_a_scope(service: Service) -> None:
    sale, other = await service.sale(**FLASH), await service.sale(**FLASH)
    product_id = (await service.http.get(f"/v1/sales/{sale.id}")).json()["offers"][0]["product_id"]
    member = await service.member()
    for scope in (
        {"sale_id": sale.id},
        {"community_id": sale.body["community_id"]},
        {"product_id": product_id},
        {"sale_id": sale.id, "product_id": product_id},
    ):
        coupon = await service.coupon(**scope)
        refused = (await member.buy(other, coupon_code=coupon["code"])).json()
        assert (refused["code"], refused["field"]) == ("coupon_mismatch", next(iter(scope)))
        reply = await (await service.member()).buy(sale, coupon_code=coupon["code"])
        assert reply.status_code == 201, reply.text
    assert await service.violations() == []


async def test_an_ended_coupon_is_refused_and_what_was_locked_stays(service: Service) -> None:
    sale, coupon = await service.sale(**FLASH), await service.coupon()
    member, late = await service.members(2)
    order = (await member.buy(sale, coupon_code=coupon["code"])).json()["order"]
    for _ in range(2):
        assert (await service.ops("POST", f"coupons/{coupon['id']}/end")).status_code == 200
    assert (await late.buy(sale, coupon_code=coupon["code"])).json()["code"] == "coupon_ended"
    await member.pay(order["id"])
    assert (await member.order(order["id"]))["state"] == "confirmed"
    assert await service.violations() == []


async def test_a_granted_coupon_is_for_those_who_have_it(service: Service) -> None:
    sale = await service.sale(member_limit=5, **FLASH)
    coupon = await service.coupon(granted=True, kind="percent", value=15, max_discount=500, member_limit=2)
    member, stranger = await service.members(2)
    grant = {"member_ids": [member.id]}
    for new in (1, 0):
        reply = await service.ops("POST", f"coupons/{coupon['id']}/grants", grant)
        assert reply.json() == {"granted": new}
    unknown = await service.ops("POST", f"coupons/{coupon['id']}/grants", {"member_ids": [stranger.id, NOBODY]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "member_not_found")

    async def shown(who: Member) -> list[tuple[str, int]]:
        return [(item["code"], item["left"]) for item in (await who.get("/v1/coupons")).json()["items"]]

    assert await shown(member) == [(coupon["code"], 2)]
    assert await shown(stranger) == []
    assert (await stranger.buy(sale, coupon_code=coupon["code"])).json()["code"] == "coupon_not_found"
    order = (await member.buy(sale, coupon_code=coupon["code"])).json()["order"]
    assert (order["discount"], order["amount"]) == (500, 4400)
    assert await shown(member) == [(coupon["code"], 1)]
    await service.ops("POST", f"coupons/{coupon['id']}/end")
    assert await shown(member) == []
    assert await service.violations() == []


async def test_a_quote_says_what_a_claim_then_does(service: Service) -> None:
    sale = await service.sale(**LADDER)
    coupon = await service.coupon(kind="percent", value=10)
    member = await service.member()
    quote = (await member.get(f"/v1/coupons/{coupon['code']}?offer_id={sale.offer}&quantity=2")).json()
    assert (quote["at_least"], quote["discount"], quote["left"]) == (7800, 780, 1)
    bare = (await member.get(f"/v1/coupons/{coupon['code']}")).json()
    assert (bare["id"], bare["discount"]) == (coupon["id"], None)
    assert await counts(service, coupon) == (0, 0, 10)
    order = (await member.open(sale, quantity=2, coupon_code=coupon["code"])).json()["order"]
    assert (order["unit_price"], order["discount"], order["amount"]) == (4900, 780, 9020)


async def test_with_a_ladder_everybody_who_has_the_coupon_pays_the_same_in_the_end(service: Service) -> None:
    sale = await service.sale(**LADDER)
    coupon = await service.coupon(value=3000)
    cheap = await service.coupon(value=10**9)
    members = await service.members(6)
    group_id, kept = "", []
    for at, member in enumerate(members):
        code = {"coupon_code": (coupon, cheap)[at % 2]["code"]}
        reply = await (member.join(sale, group_id, **code) if group_id else member.open(sale, **code))
        group_id, order = reply.json()["group"]["id"], reply.json()["order"]
        await member.pay(order["id"])
    await service.tick()
    for member in members:
        (order,) = (await member.get("/v1/orders")).json()["items"]
        detail = await member.order(order["id"])
        assert detail["state"] == "confirmed"
        kept.append(detail["amount"] - sum(refund["amount"] for refund in detail["refunds"]))
    assert kept == [900, 1] * 3
    assert await service.violations() == []


async def test_units_that_are_not_needed_leave_something_paid(service: Service) -> None:
    """Who would take more for the group to fill redeems a coupon for what they take in any case."""
    sale = await service.sale(group_size=2, rescue={"flexible": True})
    coupon, (member, friend) = await service.coupon(value=10**9), await service.members(2)
    flexible = {"quantity": 3, "min_quantity": 1, "coupon_code": coupon["code"]}
    opened = (await member.open(sale, **flexible)).json()
    assert (opened["order"]["discount"], opened["order"]["amount"]) == (4899, 3 * 4900 - 4899)
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    for who, answer in ((member, opened), (friend, joined)):
        await who.pay(answer["order"]["id"])
    await service.tick()
    order = await member.order(opened["order"]["id"])
    back = sum(refund["amount"] for refund in order["refunds"])
    assert (order["state"], order["settled_quantity"], order["amount"] - back) == ("confirmed", 1, 1)
    assert await service.violations() == []


async def test_a_claim_without_a_coupon_knows_nothing_of_them(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs no statement more: it neither asks for one nor looks for its places."""

    async def never(*_about: Any) -> None:
        raise AssertionError("a claim without a coupon asked for one")

    monkeypatch.setattr(redemptions, "check", never)
    monkeypatch.setattr(commits, "find_places", never)
    sale, member = await service.sale(**FLASH), await service.member()
    order = (await member.buy(sale)).json()["order"]
    assert (order["discount"], order["coupon_code"]) == (0, None)
    assert (await member.post(f"/v1/orders/{order['id']}/cancel")).status_code == 200


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"closes_at": "2020-01-01T00:00:00Z"}, "closes_at"),
        ({"kind": "percent", "value": 100}, "value"),
        ({"max_discount": 5}, "max_discount"),
    ],
)
async def test_terms_that_could_not_work(service: Service, terms: dict[str, Any], field: str) -> None:
    body = {
        "title": "满减",
        "kind": "fixed",
        "value": 2000,
        "opens_at": "2026-01-01T00:00:00Z",
        "closes_at": "2099-01-01T00:00:00Z",
        "total": 10,
    }
    reply = await service.ops("POST", "coupons", body | terms)
    assert (reply.status_code, reply.json()["code"], reply.json()["field"]) == (422, "invalid_terms", field)


async def test_a_code_is_there_once(service: Service) -> None:
    coupon = await service.coupon()
    body = {name: coupon[name] for name in ("title", "kind", "value", "opens_at", "closes_at", "total")}
    taken = await service.ops("POST", "coupons", body | {"code": coupon["code"].lower()})
    assert (taken.status_code, taken.json()["code"]) == (409, "coupon_code_taken")
    made = [(await service.ops("POST", "coupons", body)).json()["code"] for _ in range(2)]
    assert len(set(made)) == 2
    listed = (await service.ops("GET", "coupons?limit=3")).json()["items"]
    assert [item["code"] for item in listed] == [*reversed(made), coupon["code"]]
