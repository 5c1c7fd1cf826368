"""A flash sale: everybody buys alone, in a group of one, by the one way of a claim."""

from datetime import timedelta

from tests.service import FLASH, Sale, Service, gather_limited


async def flash_sale(service: Service, stock: int = 3, **terms: object) -> Sale:
    return await service.sale(stocks=[stock], **FLASH | terms)


async def test_one_buys_alone_and_is_confirmed_when_paid(service: Service) -> None:
    sale = await flash_sale(service)
    member = await service.member()
    reply = await member.buy(sale, key="once")
    assert reply.status_code == 201, reply.text
    assert (await member.buy(sale, key="once")).text == reply.text
    group, order = reply.json()["group"], reply.json()["order"]
    assert (group["state"], group["size"], group["held"], group["left"]) == ("filled", 1, 1, 0)
    assert await service.left(sale) == [2]
    await member.pay(order["id"])
    assert (await member.order(order["id"]))["state"] == "confirmed"
    assert (await service.group(group["id"]))["state"] == "succeeded"
    assert await service.violations() == []


async def test_what_is_not_paid_comes_back(service: Service) -> None:
    sale = await flash_sale(service, stock=1)
    member, next_one = await service.members(2)
    order = (await member.buy(sale)).json()["order"]
    assert (await next_one.buy(sale)).json()["code"] == "sold_out"
    service.clock.advance(301)
    await service.tick()
    assert (await member.order(order["id"]))["state"] == "expired"
    assert (await next_one.buy(sale)).status_code == 201
    assert await service.violations() == []


async def test_all_is_sold_and_nothing_twice(service: Service) -> None:
    sale = await flash_sale(service, stock=10, member_limit=1)
    members = await service.members(25)
    replies = await gather_limited(member.buy(sale) for member in [*members, *members])
    sold = [reply for reply in replies if reply.status_code == 201]
    refused = {reply.json()["code"] for reply in replies if reply.status_code != 201}
    assert len(sold) == 10
    assert refused <= {"sold_out", "member_limit"}
    assert await service.violations() == []


async def test_the_last_moment_leaves_all_the_time_to_pay(service: Service) -> None:
    sale = await flash_sale(service, closes_at=(service.clock() + timedelta(seconds=60)).isoformat())
    early, late = await service.members(2)
    orders = [(await member.buy(sale)).json()["order"] for member in (early, late)]
    service.clock.advance(61)
    await service.tick()
    assert (await early.buy(sale)).json()["code"] == "sale_ended"
    await late.pay(orders[1]["id"])
    assert [
        (await member.order(order["id"]))["state"] for member, order in zip((early, late), orders, strict=True)
    ] == [
        "held",
        "confirmed",
    ]
    service.clock.advance(300)
    await service.tick()
    assert (await early.order(orders[0]["id"]))["state"] == "expired"
    assert await service.violations() == []


async def test_each_kind_sells_in_its_own_way(service: Service) -> None:
    flash, group = await flash_sale(service), await service.sale()
    member = await service.member()
    for reply, kind in ((await member.open(flash), "flash"), (await member.buy(group), "group")):
        assert (reply.status_code, reply.json()["code"], reply.json()["kind"]) == (409, "wrong_kind", kind)
    for terms in ({"group_size": 2}, {"kind": "group", "group_size": 1}):
        wrong = await service.ops("POST", "sales", flash.body | terms)
        assert (wrong.status_code, wrong.json()["code"], wrong.json()["field"]) == (
            422,
            "invalid_terms",
            "group_size",
        )
