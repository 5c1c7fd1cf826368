"""The inbox: what becomes of one's orders and money, in one's language, until it is read."""

from datetime import timedelta
from typing import Any

from tests.service import FLASH, Member, Service


async def inbox(member: Member, tongue: str = "en", **params: Any) -> dict[str, Any]:
    headers = member.headers | {"accept-language": tongue}
    reply = await member.service.http.get("/v1/members/me/notices", params=params, headers=headers)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def texts(member: Member, tongue: str = "en") -> list[str]:
    """Oldest first."""
    return [item["text"] for item in (await inbox(member, tongue))["items"]][::-1]


async def test_whoever_buys_is_told_what_becomes_of_it(service: Service) -> None:
    leader, friend, late = await service.members(3)
    sale = await service.sale(group_size=2)
    group = (await leader.open(sale)).json()
    joined = (await friend.join(sale, group["group"]["id"])).json()
    await leader.pay(group["order"]["id"])
    assert await texts(leader) == [], "nothing is certain yet"
    await friend.pay(joined["order"]["id"])
    assert [await texts(who) for who in (leader, friend)] == [["Your order is confirmed"]] * 2
    await service.ops("POST", f"orders/{group['order']['id']}/ship")
    await service.ops("POST", f"orders/{group['order']['id']}/complete")
    assert await texts(leader, "zh-CN") == ["订单已确认，等待发货", "订单已发货"]
    assert (await inbox(leader))["items"][0]["subject_id"] == group["order"]["id"]

    alone = (await late.open(sale)).json()["order"]["id"]
    await late.pay(alone)
    service.clock.advance(4000)
    await service.work()
    assert await texts(late) == [
        "Your group did not fill; your money is on its way back",
        "Your refund has arrived",
    ]
    assert [item["kind"] for item in (await inbox(late))["items"]] == ["refund"] * 2


async def test_who_is_given_back_a_part_is_told_so(service: Service) -> None:
    first, *others = await service.members(3)
    sale = await service.sale(min_size=2, ladder=[(3, 3900)])
    group = (await first.open(sale)).json()
    await first.pay(group["order"]["id"])
    for member in others:
        await member.pay((await member.join(sale, group["group"]["id"])).json()["order"]["id"])
    await service.work()
    assert await texts(first) == [
        "Your order is confirmed",
        "It cost less than you paid; the difference is on its way back",
        "Your refund has arrived",
    ]


async def test_a_reminder_is_told_in_the_inbox(service: Service) -> None:
    member = await service.member()
    opens_at = (service.clock() + timedelta(hours=2)).isoformat()
    sale = await service.sale(**FLASH, opens_at=opens_at, title="明前龙井")
    reply = await service.http.put(f"/v1/sales/{sale.id}/reminder", json={}, headers=member.headers)
    assert reply.status_code == 200
    service.clock.advance(7000)
    await service.work()
    await service.work()
    assert (await texts(member), await texts(member, "zh-CN")) == (["Opens soon: 明前龙井"], ["即将开始：明前龙井"])
    assert (await inbox(member))["items"][0]["subject_id"] == sale.id


async def test_what_was_read_is_read_and_nobody_elses(service: Service) -> None:
    member, other = await service.members(2)
    sale = await service.sale(**FLASH)
    for who in (member, member, member, other):
        await who.pay((await who.buy(sale)).json()["order"]["id"])
    first = await inbox(member, limit=2)
    assert (len(first["items"]), first["unread"]) == (2, 3)
    rest = await inbox(member, after=first["next"])
    assert (len(rest["items"]), rest["next"]) == (1, None)
    for _ in range(2):
        reply = await member.post("/v1/members/me/notices/read", {"notice_id": first["items"][1]["id"]})
        assert (reply.status_code, reply.json()) == (200, {"unread": 1})
    assert [item["id"] for item in (await inbox(member, unread=True))["items"]] == [first["items"][0]["id"]]
    assert [item["read_at"] is None for item in (await inbox(member))["items"]] == [True, False, False]
    assert (await inbox(other))["unread"] == 1
    refused = await other.post("/v1/members/me/notices/read", {"notice_id": first["items"][0]["id"]})
    assert (refused.status_code, refused.json()["code"]) == (404, "notice_not_found")
