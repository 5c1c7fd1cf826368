"""A waiting list: what comes free goes to those who waited for it, in the order in which they came."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from app.models import Entry
from app.services import dealing
from app.workers import lines as worker
from tests.promises.test_draws import entry_of
from tests.service import FLASH, Member, Sale, Service, gather_limited


async def wait(member: Member, sale: Sale, **body: Any) -> dict[str, Any]:
    """Stand in line."""
    reply = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer} | body)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def refusal(member: Member, sale: Sale, **body: Any) -> str:
    reply = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer} | body)
    return str(reply.json()["code"])


async def states(*entries: tuple[Member, dict[str, Any]]) -> list[str]:
    return [(await entry_of(member, entry))["state"] for member, entry in entries]


async def sold_out(service: Service, stock: int = 1, **terms: Any) -> tuple[Sale, list[tuple[Member, str]]]:
    """A flash sale of which every unit is held, and who holds them."""
    sale = await service.sale(stocks=[stock], **FLASH | terms)
    holders = await service.members(stock)
    orders = [(await member.buy(sale)).json()["order"]["id"] for member in holders]
    return sale, list(zip(holders, orders, strict=True))


async def cancel(holder: tuple[Member, str]) -> None:
    assert (await holder[0].post(f"/v1/orders/{holder[1]}/cancel")).status_code == 200


async def test_what_comes_free_goes_to_the_next_in_line(service: Service) -> None:
    sale, holders = await sold_out(service, stock=2)
    first, second, passer_by = await service.members(3)
    waiting = [(member, await wait(member, sale)) for member in (first, second)]
    assert [entry["position"] for _, entry in waiting] == [1, 2]
    await cancel(holders[0])
    assert (await passer_by.buy(sale)).json()["code"] == "sold_out", "it is kept for the line"
    await service.tick()
    assert await states(*waiting) == ["offered", "waiting"]
    assert (await entry_of(*waiting[1]))["position"] == 1
    order = await first.order((await entry_of(*waiting[0]))["order_id"])
    assert (order["state"], order["quantity"]) == ("held", 1)
    service.clock.advance(301)
    await service.tick()
    assert await states(*waiting) == ["lapsed", "offered"], "what was offered lapsed, and went on"
    await second.pay((await entry_of(*waiting[1]))["order_id"])
    await service.tick()
    assert await states(*waiting) == ["lapsed", "taken"]
    await service.tick()
    assert (await passer_by.buy(sale)).status_code == 201, "nobody waits any more"
    assert await service.violations() == []


async def test_one_waits_for_what_is_not_to_be_had_now(service: Service) -> None:
    sale = await service.sale(stocks=[2], **FLASH, member_limit=1)
    holder, member = await service.members(2)
    assert await refusal(member, sale) == "not_sold_out"
    await holder.buy(sale)
    assert await refusal(member, sale, quantity=1) == "not_sold_out"
    party = await wait(member, sale, quantity=2)
    assert (party["state"], party["quantity"], party["weight"], party["rank"]) == ("waiting", 2, 1, None)
    assert await refusal(holder, sale, quantity=2) == "member_limit"
    assert await refusal(member, sale, quantity=6) == "order_limit"
    assert await refusal(member, sale, quantity=1) == "already_in_line"
    await service.ops("POST", f"sales/{sale.id}/pause")
    assert await refusal(member, sale) == "sale_paused"
    assert await service.violations() == []


async def test_a_party_is_served_whole_and_keeps_its_place(service: Service) -> None:
    sale, holders = await sold_out(service, stock=3)
    party, single = await service.members(2)
    waiting = [(party, await wait(party, sale, quantity=2)), (single, await wait(single, sale))]
    await cancel(holders[0])
    await service.tick()
    assert await states(*waiting) == ["waiting", "offered"], "one unit is no use for two; the next one has it"
    assert (await entry_of(*waiting[0]))["position"] == 1
    await cancel(holders[1])
    await service.tick()
    assert await states(*waiting) == ["waiting", "offered"]
    await cancel(holders[2])
    await service.tick()
    assert await states(*waiting) == ["offered", "offered"]
    order = await party.order((await entry_of(*waiting[0]))["order_id"])
    assert order["quantity"] == 2
    assert await service.left(sale) == [0]
    assert await service.violations() == []


async def test_one_member_waits_once_in_a_line(service: Service) -> None:
    sale, holders = await sold_out(service)
    member = await service.member()
    entries = await gather_limited(wait(member, sale) for _ in range(20))
    assert len({entry["id"] for entry in entries}) == 1
    await cancel(holders[0])
    await service.tick()
    assert await states((member, entries[0])) == ["offered"]
    assert (await wait(member, sale))["id"] == entries[0]["id"]
    assert await service.violations() == []


async def test_who_leaves_gives_their_place_to_the_next(service: Service) -> None:
    sale, holders = await sold_out(service)
    first, second = await service.members(2)
    waiting = [(member, await wait(member, sale)) for member in (first, second)]
    for _ in range(2):
        assert (await first.post(f"/v1/entries/{waiting[0][1]['id']}/leave")).json()["state"] == "left"
    assert (await second.post(f"/v1/entries/{waiting[0][1]['id']}/leave")).json()["code"] == "entry_not_found"
    await cancel(holders[0])
    await service.tick()
    assert await states(*waiting) == ["left", "offered"]
    refused = (await second.post(f"/v1/entries/{waiting[1][1]['id']}/leave")).json()
    assert (refused["code"], refused["state"]) == ("entry_not_waiting", "offered")
    assert await service.violations() == []


async def test_when_the_last_has_left_everybody_may_buy(service: Service) -> None:
    sale, holders = await sold_out(service)
    member, passer_by = await service.members(2)
    entry = await wait(member, sale)
    await cancel(holders[0])
    await member.post(f"/v1/entries/{entry['id']}/leave")
    await service.tick()
    assert (await passer_by.buy(sale)).status_code == 201
    assert await service.violations() == []


async def test_more_stock_serves_the_line(service: Service) -> None:
    sale, _ = await sold_out(service)
    members = await service.members(3)
    waiting = [(member, await wait(member, sale)) for member in members]
    sku_id = sale.body["offers"][0]["sku_id"]
    reply = await service.ops("PATCH", f"sales/{sale.id}", {"offers": [{"sku_id": sku_id, "stock": 3}]})
    assert reply.status_code == 200
    assert (await (await service.member()).buy(sale)).json()["code"] == "sold_out"
    await service.tick()
    assert await states(*waiting) == ["offered", "offered", "waiting"]
    assert await service.violations() == []


async def test_waiting_ends_with_the_sale(service: Service) -> None:
    closes_at = (service.clock() + timedelta(hours=1)).isoformat()
    sale, holders = await sold_out(service, closes_at=closes_at)
    members = await service.members(2)
    waiting = [(member, await wait(member, sale)) for member in members]
    await cancel(holders[0])
    await service.tick()
    service.clock.advance(3600)
    await service.tick()
    assert await states(*waiting) == ["lapsed", "lost"]
    assert await service.violations() == []


async def test_redis_may_lose_the_line_and_be_away(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sale, holders = await sold_out(service)
    member, passer_by = await service.members(2)

    async def nothing(*_: object) -> None:
        pass

    with monkeypatch.context() as patch:  # the word is lost
        patch.setattr(service.state.dealer, "add_line", nothing)
        entry = await wait(member, sale)
    await service.tick()
    await service.state.dealer.pipe.call("FLUSHALL")
    await cancel(holders[0])
    assert (await passer_by.buy(sale)).json()["code"] == "sold_out"

    async def away(*_: object) -> None:
        return None

    with monkeypatch.context() as patch:  # the places are found in the rows
        patch.setattr(dealing, "deal", away)
        assert (await passer_by.buy(sale)).json()["code"] == "sold_out"
        await service.tick()
    assert await states((member, entry)) == ["offered"]
    assert await service.violations() == []


async def test_nobody_overtakes_while_everybody_wants_what_comes_free(service: Service) -> None:
    sale, holders = await sold_out(service, stock=5)
    members = await service.members(8)
    waiting = [(member, await wait(member, sale)) for member in members]
    crowd = await service.members(10)

    async def hammer(member: Member) -> list[int]:
        replies = []
        for _ in range(5):
            replies.append((await member.buy(sale)).status_code)
            await asyncio.sleep(0.01)
        return replies

    async def serve() -> None:
        for holder in holders:
            await cancel(holder)
            await asyncio.gather(*(worker.run_once(service.state, service.clock()) for _ in range(2)))

    told, _ = await asyncio.gather(asyncio.gather(*map(hammer, crowd)), serve())
    await service.tick()
    assert {status for replies in told for status in replies} == {409}
    assert await states(*waiting) == ["offered"] * 5 + ["waiting"] * 3
    assert await service.violations() == []


async def full_group(service: Service, **terms: Any) -> tuple[Sale, str, list[tuple[Member, str]]]:
    """A group of which every seat is held, with much stock besides."""
    sale = await service.sale(**terms)
    holders = await service.members(int(sale.body["group_size"]))
    opened = (await holders[0].open(sale)).json()
    group_id, orders = opened["group"]["id"], [opened["order"]["id"]]
    orders += [(await member.join(sale, group_id)).json()["order"]["id"] for member in holders[1:]]
    return sale, group_id, list(zip(holders, orders, strict=True))


async def test_a_seat_that_comes_free_is_for_those_who_wait_for_the_group(service: Service) -> None:
    sale, group_id, holders = await full_group(service)
    member, passer_by = await service.members(2)
    assert await refusal(holders[0][0], sale, group_id=group_id) == "already_in_group"
    entry = await wait(member, sale, group_id=group_id)
    assert (entry["group_id"], entry["position"]) == (group_id, 1)
    await cancel(holders[1])
    assert (await passer_by.join(sale, group_id)).json()["code"] == "group_full"
    assert (await passer_by.open(sale)).status_code == 201, "nothing else is kept"
    await service.tick()
    now = await entry_of(member, entry)
    assert (now["state"], now["group_id"]) == ("offered", group_id)
    assert (await member.order(now["order_id"]))["group_id"] == group_id
    assert (await service.group(group_id))["state"] == "filled"
    open_group = (await (await service.member()).open(sale)).json()["group"]["id"]
    assert await refusal(passer_by, sale, group_id=open_group) == "group_not_full"
    assert await service.violations() == []


async def test_enough_who_wait_open_a_group_of_their_own(service: Service) -> None:
    sale, group_id, _ = await full_group(service)
    members = await service.members(4)
    waiting = [(member, await wait(member, sale, group_id=group_id)) for member in members[:2]]
    await service.tick()
    assert await states(*waiting) == ["waiting", "waiting"], "two are not enough"
    waiting += [(member, await wait(member, sale, group_id=group_id)) for member in members[2:]]
    await service.tick()
    assert await states(*waiting) == ["offered"] * 3 + ["waiting"]
    found = [await entry_of(*one) for one in waiting[:3]]
    (opened,) = {entry["group_id"] for entry in found}
    assert opened != group_id
    group = (await members[0].get(f"/v1/groups/{opened}")).json()
    assert (group["state"], group["held"]) == ("filled", 3)
    assert [seat["you"] for seat in group["members"] if seat["leader"]] == [True], "the first of them leads"
    for (member, _), entry in zip(waiting, found, strict=False):
        await member.pay(entry["order_id"])
    await service.tick()
    assert (await service.group(opened))["state"] == "succeeded"
    assert await states(*waiting) == ["taken"] * 3 + ["waiting"]
    assert await service.violations() == []


async def test_no_group_opens_without_stock_for_all(service: Service) -> None:
    sale, group_id, _ = await full_group(service, stocks=[5], min_size=2)
    members = await service.members(3)
    waiting = [(member, await wait(member, sale, group_id=group_id, quantity=2)) for member in members[:2]]
    await service.tick()
    assert await states(*waiting) == ["waiting", "waiting"], "two units for parties of two and two"
    waiting.append((members[2], await wait(members[2], sale, group_id=group_id)))
    sku_id = sale.body["offers"][0]["sku_id"]
    await service.ops("PATCH", f"sales/{sale.id}", {"offers": [{"sku_id": sku_id, "stock": 7}]})
    await service.tick()
    assert await states(*waiting) == ["offered", "offered", "waiting"], "min_size of them are enough"
    assert await service.violations() == []


async def test_who_waits_for_a_sold_out_offer_helps_a_group_to_fill(service: Service) -> None:
    sale, group_id, holders = await full_group(service, stocks=[3])
    member = await service.member()
    entry = await wait(member, sale)
    assert (await service.ops("PATCH", f"sales/{sale.id}", {"title": "更多"})).status_code == 200
    await holders[0][0].pay(holders[0][1])
    await cancel(holders[2])
    await service.tick()
    now = await entry_of(member, entry)
    assert (now["state"], now["group_id"]) == ("offered", group_id)
    assert (await service.group(group_id))["state"] == "filled"
    assert await service.violations() == []


async def test_a_group_that_ends_leaves_its_line_waiting_for_another(service: Service) -> None:
    sale, group_id, holders = await full_group(service)
    members = await service.members(3)
    waiting = [(member, await wait(member, sale, group_id=group_id)) for member in members[:2]]
    for member, order_id in holders:
        await member.pay(order_id)
    await service.tick()
    assert await states(*waiting) == ["waiting", "waiting"]
    assert await refusal(members[2], sale, group_id=group_id) == "group_closed"
    async with service.state.database.snapshot() as session:
        assert len((await session.exec(select(Entry).where(Entry.sale_id == sale.id))).all()) == 2
    assert await service.violations() == []
