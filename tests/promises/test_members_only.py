"""Sales for members only, and for segments: who may buy in them, wherever one buys, and who sees them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select, update

from app.domain.gates import refusal
from app.domain.memberships import LeaveReason, MembershipState
from app.models import Entry, Membership
from tests.promises.money import flash, refund
from tests.promises.test_segments import NEW, check_in, put, segment
from tests.service import BARGAIN, FLASH, Member, Sale, Service

VIP = {"fact": "spent", "is": "at_least", "value": 4900}


def code_of(reply: Any) -> str:
    """The code of a refusal; what was given has none."""
    return str(reply.json().get("code")) if reply.status_code >= 400 else ""


async def leave(service: Service, community: dict[str, Any], member: Member) -> None:
    """Be a member no more."""
    async with service.state.database.transaction() as session:
        await session.exec(
            update(Membership)
            .where(col(Membership.community_id) == community["id"], col(Membership.member_id) == member.id)
            .values(state=MembershipState.LEFT, left_at=service.clock(), leave_reason=LeaveReason.OTHER)
        )


async def bought(service: Service, member: Member, **terms: Any) -> str:
    """An order that a member has paid in a sale of its own, and that was counted."""
    order_id = str((await member.buy(await flash(service, **terms))).json()["order"]["id"])
    await member.pay(order_id)
    await service.work()
    return order_id


async def in_sale(service: Service, sale: Sale) -> dict[str, Any]:
    return dict((await service.http.get(f"/v1/sales/{sale.id}")).json())


async def listed(member: Member | None, service: Service, community: dict[str, Any]) -> list[str]:
    headers = {} if member is None else member.headers
    reply = await service.http.get(f"/v1/sales?community_id={community['id']}", headers=headers)
    return [item["id"] for item in reply.json()["items"]]


async def test_members_alone_buy_whatever_the_way(service: Service) -> None:
    community = await service.community()
    only: dict[str, Any] = {"community_id": community["id"], "members_only": True}
    draws_at = (service.clock() + timedelta(hours=1)).isoformat()
    group, sale, bargains = (
        await service.sale(**only, group_size=2),
        await service.sale(**FLASH, **only),
        await service.sale(**BARGAIN, **only),
    )
    drawn = await service.sale(**FLASH, **only, allocation="draw", draws_at=draws_at)
    member, friend, stranger = await service.members(3)
    await member.enrol(community)

    async def tried(who: Member, group_id: str) -> list[str]:
        return [
            code_of(await who.open(group)),
            code_of(await who.join(group, group_id)),
            code_of(await who.buy(sale)),
            code_of(await who.enter(sale)),
            code_of(await who.post(f"/v1/sales/{bargains.id}/bargains", {"offer_id": bargains.offer})),
            code_of(await who.post(f"/v1/sales/{drawn.id}/entries", {"offer_id": drawn.offer})),
            code_of(await who.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer})),
        ]

    opened = (await member.open(group)).json()
    assert await tried(stranger, opened["group"]["id"]) == ["members_only"] * 7
    assert (await service.left(group), await service.left(sale)) == ([99], [100])
    await friend.enrol(community)
    assert await tried(friend, opened["group"]["id"]) == [*[""] * 6, "not_sold_out"]
    bargain = await member.bargain(bargains)
    assert code_of(await stranger.cut(bargain["id"])) == "", "whoever helps does not buy"
    reminded = await service.http.get(f"/v1/sales/{sale.id}", headers=stranger.headers)
    assert (reminded.status_code, reminded.json()["members_only"]) == (200, True)
    await leave(service, community, member)
    assert code_of(await member.buy_at(bargain["id"])) == "members_only"


async def test_who_leaves_keeps_the_order_and_its_answer(service: Service) -> None:
    community, (member, other) = await service.community(), await service.members(2)
    sale = await flash(service, community_id=community["id"], members_only=True)
    for one in (member, other):
        await one.enrol(community)
    ticket = member.ticket(sale)
    claim = await member.buy(sale, key="mine", ticket=ticket)
    assert claim.status_code == 201
    await leave(service, community, member)
    again = await member.buy(sale, key="mine", ticket=ticket)
    assert (again.status_code, again.json()) == (201, claim.json())
    assert code_of(await member.buy(sale, key="new")) == "members_only"
    await member.pay(claim.json()["order"]["id"])
    assert (await member.order(claim.json()["order"]["id"]))["state"] == "confirmed"
    assert code_of(await other.buy(sale)) == ""


async def test_who_has_left_when_their_turn_comes_gets_nothing(service: Service) -> None:
    community, (stays, leaves) = await service.community(), await service.members(2)
    draws_at = (service.clock() + timedelta(seconds=60)).isoformat()
    terms: dict[str, Any] = {"community_id": community["id"], "members_only": True}
    sale = await service.sale(stocks=[2], **FLASH, **terms, allocation="draw", draws_at=draws_at)
    for member in (stays, leaves):
        await member.enrol(community)
        entered = await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer})
        assert entered.status_code == 201
    await leave(service, community, leaves)
    service.clock.advance(61)
    await service.work()
    async with service.state.database.snapshot() as session:
        rows = await session.exec(select(Entry.member_id, Entry.state).where(Entry.sale_id == sale.id))
        assert dict(rows.all()) == {stays.id: "offered", leaves.id: "lost"}


async def test_a_sale_of_two_communities_sells_to_the_members_of_either(service: Service) -> None:
    first, second = await service.community(), await service.community()
    sale = await flash(
        service, community_id=first["id"], community_ids=[second["id"], first["id"]], members_only=True
    )
    one, two, neither = await service.members(3)
    await one.enrol(first)
    await two.enrol(second)
    assert [code_of(await member.buy(sale)) for member in (one, two, neither)] == ["", "", "members_only"]
    shown = await in_sale(service, sale)
    assert (shown["community_id"], shown["community_ids"]) == (first["id"], [second["id"]])
    assert await listed(None, service, second) == [sale.id] == await listed(None, service, first)


async def test_four_communities_sell_to_whom_their_segment_fits(service: Service) -> None:
    """As facts change, by real orders, check-ins, consents and refunds."""
    rules: dict[str, dict[str, Any]] = {
        "new": NEW,
        "vip": VIP,
        "phone": {"fact": "device", "is": "one_of", "value": ["phone"]},
        "night": {"fact": "night_check_ins", "is": "at_least", "value": 1},
    }
    sales = {}
    for name, rule in rules.items():
        community = await service.community(name=name, buy_segment_id=await segment(service, rule))
        sales[name] = await flash(service, community_id=community["id"])
    member = await service.member()

    async def lets_in() -> set[str]:
        """Where they may get in line: it asks the same, and takes nothing."""
        found = {name: code_of(await member.enter(sale)) for name, sale in sales.items()}
        assert set(found.values()) <= {"", "not_in_segment"}
        return {name for name, refusal in found.items() if not refusal}

    assert await lets_in() == {"new"}
    order_id = await bought(service, member)
    assert await lets_in() == {"vip"}
    await put(member, {"consents": ["device"], "device": "phone"})
    await check_in(service, member, night=True)
    assert await lets_in() == {"vip", "phone", "night"}
    assert [code_of(await member.buy(sales[name])) for name in ("new", "vip", "phone", "night")] == [
        *("not_in_segment", "", "", "")
    ]
    await refund(service, order_id)
    await put(member, {"consents": []})
    assert await lets_in() == {"new", "night"}
    shown = (await in_sale(service, sales["vip"]))["segments"]
    assert [(one["en"], one["zh"]) for one in shown] == [("spent at least 49.00 yuan", "累计消费不少于49.00元")]
    assert shown[0]["community_id"] == sales["vip"].body["community_id"]


async def test_a_sale_for_segments_is_for_who_fits_one_of_them(service: Service) -> None:
    vip, never = await segment(service, VIP), await segment(service, {"all": [NEW, VIP]})
    listed_member, buyer, nobody = await service.members(3)
    named = await segment(service, kind="static", member_ids=[listed_member.id])
    only_new = await service.community(buy_segment_id=await segment(service, NEW))
    sale = await flash(service, segment_ids=[vip, named])
    both = await flash(service, community_id=only_new["id"], segment_ids=[vip, named])
    closed = await flash(service, segment_ids=[never])
    await bought(service, buyer)
    members = (listed_member, buyer, nobody)
    assert [code_of(await member.buy(sale)) for member in members] == ["", "", "not_in_segment"]
    assert [code_of(await member.buy(both)) for member in members] == ["", "not_in_segment", "not_in_segment"]
    assert [code_of(await member.buy(closed)) for member in members] == ["not_in_segment"] * 3
    words = {one["en"]: one["community_id"] for one in (await in_sale(service, both))["segments"]}
    assert words == {
        "spent at least 49.00 yuan": None,
        "those on a list": None,
        "orders exactly 0": only_new["id"],
    }


async def test_one_buys_by_way_of_the_community_that_lets_one_in(service: Service) -> None:
    strict = await service.community(buy_segment_id=await segment(service, VIP))
    lenient = await service.community()
    terms: dict[str, Any] = {"community_id": strict["id"], "community_ids": [lenient["id"]]}
    sale, only = await flash(service, **terms), await flash(service, **terms, members_only=True)
    in_strict, in_lenient, stranger = await service.members(3)
    await in_strict.enrol(strict)
    await in_lenient.enrol(lenient)
    members = (in_strict, in_lenient, stranger)
    assert [code_of(await member.buy(sale)) for member in members] == ["", "", ""]
    assert [code_of(await member.buy(only)) for member in members] == ["not_in_segment", "", "members_only"]


async def test_new_customers_buy_once_however_often_they_ask_at_once(service: Service) -> None:
    sale = await service.sale(**FLASH | {"member_limit": 1}, segment_ids=[await segment(service, NEW)])
    member = await service.member()
    replies = await asyncio.gather(*(member.buy(sale) for _ in range(10)))
    assert sorted(map(code_of, replies)) == ["", *["member_limit"] * 9]
    won = next(reply for reply in replies if reply.status_code == 201)
    await member.pay(won.json()["order"]["id"])
    await service.work()
    assert code_of(await member.buy(sale)) == "not_in_segment"


async def test_a_crowd_is_told_apart(service: Service) -> None:
    """Those who ask together are asked about together, each for themselves."""
    community = await service.community()
    vip = await segment(service, VIP)
    sales = [
        await flash(service, community_id=community["id"], members_only=True),
        await flash(service, segment_ids=[vip]),
        await flash(service),
    ]
    crowd = await service.members(12)
    for member in crowd[::2]:
        await member.enrol(community)
    for member in crowd[::3]:
        await member.pay((await member.buy(sales[2])).json()["order"]["id"])
    await service.work()
    replies = await asyncio.gather(*(member.buy(sale) for member in crowd for sale in sales))
    for number in range(len(crowd)):
        refusals = [code_of(reply) for reply in replies[3 * number : 3 * number + 3]]
        assert refusals == [
            "" if number % 2 == 0 else "members_only",
            "" if number % 3 == 0 else "not_in_segment",
            "",
        ]


async def test_who_may_not_see_a_community_does_not_see_its_sales_for_members(service: Service) -> None:
    vip = await segment(service, VIP)
    secret, known = await service.community(see_segment_id=vip), await service.community()
    hidden = await flash(service, community_id=secret["id"], members_only=True)
    shared = await flash(service, community_id=secret["id"], community_ids=[known["id"]], members_only=True)
    for_all = await flash(service, community_id=secret["id"])
    stranger, member, vip_ = await service.members(3)
    await service.ops("PUT", f"communities/{secret['id']}/owner", {"member_id": member.id})
    await bought(service, vip_)
    everything = [for_all.id, shared.id, hidden.id]
    assert await listed(None, service, secret) == [for_all.id, shared.id]
    assert await listed(stranger, service, secret) == [for_all.id, shared.id]
    assert await listed(member, service, secret) == everything
    assert await listed(vip_, service, secret) == everything
    assert await listed(stranger, service, known) == [shared.id]
    by_operator = await service.ops("GET", f"sales?community_id={secret['id']}")
    assert [item["id"] for item in by_operator.json()["items"]] == everything


async def test_for_whom_a_sale_is_changes_only_in_a_draft(service: Service) -> None:
    vip, new = await segment(service, VIP), await segment(service, NEW)
    community = await service.community()
    draft = await service.sale(**FLASH, publish=False, segment_ids=[vip])
    path = f"sales/{draft.id}"
    changed = await service.ops(
        "PATCH", path, {"segment_ids": [new], "community_ids": [community["id"]], "members_only": True}
    )
    assert (changed.json()["members_only"], changed.json()["community_ids"]) == (True, [community["id"]])
    assert [one["en"] for one in changed.json()["segments"]] == ["orders exactly 0"]
    for body, code in (
        ({"segment_ids": [f"seg_{'0' * 32}"]}, "segment_not_found"),
        ({"community_ids": [f"com_{'0' * 32}"]}, "community_not_found"),
    ):
        assert code_of(await service.ops("PATCH", path, body)) == code
        assert code_of(await service.ops("POST", "sales", draft.body | body)) == code
    assert code_of(await service.ops("POST", f"{path}/publish")) == ""
    changes: list[dict[str, Any]] = [{"segment_ids": []}, {"community_ids": []}, {"members_only": False}]
    for change in changes:
        assert code_of(await service.ops("PATCH", path, change)) == "sale_not_editable"


async def test_slots_are_for_whom_the_first_one_is(service: Service) -> None:
    vip, community = await segment(service, VIP), await service.community()
    draft = await service.sale(
        **FLASH, publish=False, segment_ids=[vip], community_ids=[community["id"]], members_only=True
    )
    day = (service.clock() + timedelta(days=1)).date().isoformat()
    body = {"first_day": day, "last_day": day, "times": ["10:00", "14:00"], "minutes": 60, "timezone": "UTC"}
    slots = (await service.ops("POST", f"sales/{draft.id}/slots", body)).json()["items"]
    assert [slot["community_ids"] for slot in slots] == [[community["id"]]] * 2
    assert all(slot["members_only"] and slot["segments"] == slots[0]["segments"] for slot in slots)


@pytest.mark.parametrize("limited", [False, True])
async def test_a_sale_for_everybody_asks_nothing(service: Service, *, limited: bool) -> None:
    """The gate costs a sale that has none not even a look at the rows."""
    sale, member = await flash(service, members_only=limited), await service.member()
    asked: list[bool] = []

    def judge(*given: Any) -> Any:
        asked.append(True)
        return refusal(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.services.gates.refusal", judge)
        assert code_of(await member.buy(sale)) == ("members_only" if limited else "")
    assert bool(asked) is limited
