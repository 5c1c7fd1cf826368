"""A sale's own life, and what it lets members do in each part of it."""

from datetime import timedelta
from typing import Any

from tests.service import Service


async def test_a_draft_is_hidden_until_it_is_published(service: Service) -> None:
    sale = await service.sale(publish=False)
    member = await service.member()
    assert (await service.http.get(f"/v1/sales/{sale.id}")).status_code == 404
    assert (await service.http.get(f"/v1/sales/{sale.id}/groups")).status_code == 404
    assert (await member.open(sale)).json()["code"] == "sale_not_found"
    listed = (await service.http.get("/v1/sales", params={"limit": 100})).json()["items"]
    assert sale.id not in [item["id"] for item in listed]
    assert (await service.ops("GET", f"sales/{sale.id}")).json()["state"] == "draft"
    assert (await service.ops("POST", f"sales/{sale.id}/pause")).json()["code"] == "sale_transition_refused"
    assert (await service.ops("POST", f"sales/{sale.id}/publish")).json()["state"] == "live"
    assert (await service.ops("POST", f"sales/{sale.id}/publish")).json()["code"] == "sale_transition_refused"
    assert (await member.open(sale)).status_code == 201


async def test_a_sale_opens_and_closes_on_time(service: Service) -> None:
    now = service.clock()
    sale = await service.sale(
        opens_at=(now + timedelta(seconds=100)).isoformat(), closes_at=(now + timedelta(seconds=5000)).isoformat()
    )
    leader, late = await service.members(2)
    early = await leader.open(sale)
    assert (early.status_code, early.json()["code"]) == (409, "sale_not_open")
    service.clock.advance(101)
    opened = await leader.open(sale)
    assert opened.status_code == 201, "the clock opens a sale, not the worker"
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["state"] == "scheduled"
    await service.tick()
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["state"] == "live"
    service.clock.advance(3000)
    second = await late.open(sale)
    assert second.json()["group"]["deadline_at"][:19] == sale.body["closes_at"][:19]
    service.clock.advance(2000)
    refused = await late.open(sale)
    assert (refused.status_code, refused.json()["code"]) == (410, "sale_ended")
    await service.tick()
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["state"] == "ended"
    for reply in (opened, second):
        assert (await service.group(reply.json()["group"]["id"]))["state"] == "failed"
    assert await service.left(sale) == [100]
    assert await service.violations() == []


async def test_a_paused_sale_takes_payments_but_no_claims(service: Service) -> None:
    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    await service.ops("POST", f"sales/{sale.id}/pause")
    refused = await friend.join(sale, opened["group"]["id"])
    assert (refused.status_code, refused.json()["code"]) == (409, "sale_paused")
    await leader.pay(opened["order"]["id"])
    assert (await leader.order(opened["order"]["id"]))["state"] == "paid"
    await service.ops("POST", f"sales/{sale.id}/resume")
    assert (await friend.join(sale, opened["group"]["id"])).status_code == 201


async def test_ending_a_sale_refunds_its_open_groups(service: Service) -> None:
    sale = await service.sale()
    leader = await service.member()
    opened = (await leader.open(sale)).json()
    await leader.pay(opened["order"]["id"])
    assert (await service.ops("POST", f"sales/{sale.id}/end")).json()["state"] == "ended"
    await service.tick()
    found = await leader.order(opened["order"]["id"])
    assert (found["state"], found["refunds"][0]["state"]) == ("refunded", "succeeded")
    assert await service.violations() == []


async def test_a_published_sale_keeps_its_terms_but_may_grow(service: Service) -> None:
    sale = await service.sale(stocks=[2])
    sku = sale.body["offers"][0]["sku_id"]
    members = await service.members(3)
    assert [(await member.open(sale)).status_code for member in members] == [201, 201, 409]
    for change in (
        {"group_size": 4},
        {"member_limit": 9},
        {"closes_at": sale.body["opens_at"]},
        {"offers": [{"sku_id": sku, "price": 1}]},
        {"offers": [{"sku_id": sku, "stock": 1}]},
    ):
        refused = await service.ops("PATCH", f"sales/{sale.id}", change)
        assert (refused.status_code, refused.json()["code"]) == (409, "sale_not_editable"), change
    changed = await service.ops(
        "PATCH", f"sales/{sale.id}", {"title": "更多", "offers": [{"sku_id": sku, "stock": 3}]}
    )
    assert (changed.json()["title"], changed.json()["offers"][0]["left"]) == ("更多", 1)
    assert (await members[2].open(sale)).status_code == 201
    assert await service.left(sale) == [0]
    assert await service.violations() == []


async def test_bad_terms_are_refused(service: Service) -> None:
    now = service.clock()
    draft = (await service.sale(publish=False)).body
    sku = draft["offers"][0]["sku_id"]
    bad: list[dict[str, Any]] = [
        {"closes_at": (now - timedelta(days=1)).isoformat()},
        {"hold_ttl_seconds": 3601},
        {"offers": [{"sku_id": sku, "price": 5, "list_price": 4, "stock": 1}]},
    ]
    for change in bad:
        reply = await service.ops("POST", "sales", draft | change)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms"), change
    twice = [{"sku_id": sku, "price": 5, "stock": 1}] * 2
    assert (await service.ops("POST", "sales", draft | {"offers": twice})).json()["code"] == "sku_already_offered"
    empty = (await service.ops("POST", "sales", draft | {"offers": []})).json()
    assert (await service.ops("POST", f"sales/{empty['id']}/publish")).json()["code"] == "sale_without_offers"


async def test_groups_about_to_fill_are_listed_nearest_first(service: Service) -> None:
    sale = await service.sale(group_size=4)
    leaders = await service.members(3)
    ids = [(await leader.open(sale)).json()["group"]["id"] for leader in leaders]
    for member in await service.members(2):
        await member.join(sale, ids[2])
    await (await service.member()).join(sale, ids[1])
    listed = (await service.http.get(f"/v1/sales/{sale.id}/groups", params={"state": "open"})).json()["items"]
    assert [(item["id"], item["left"]) for item in listed] == [(ids[2], 1), (ids[1], 2), (ids[0], 3)]
    assert all("*" in item["leader_name"] for item in listed)
    await (await service.member()).join(sale, ids[2])
    listed = (await service.http.get(f"/v1/sales/{sale.id}/groups")).json()["items"]
    assert [item["id"] for item in listed] == [ids[1], ids[0]]


async def test_lists_are_read_page_by_page(service: Service) -> None:
    sale = await service.sale(member_limit=5)
    member = await service.member()
    made = [(await member.open(sale)).json()["order"]["id"] for _ in range(5)]
    seen, after = [], None
    while True:
        page = (await member.get("/v1/orders", params={"limit": 2} | ({"after": after} if after else {}))).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == made[::-1]
    found = (await service.ops("GET", f"orders?sale_id={sale.id}&state=held")).json()["items"]
    assert [item["id"] for item in found] == made[::-1]
