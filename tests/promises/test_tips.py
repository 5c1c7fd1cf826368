"""Tips: from balance to balance, within limits, in both statements."""

import asyncio

from app.domain.tips import DAILY_TIPS, MAX_TIP
from tests.promises.money import DAY, earn, has, later
from tests.service import Service


async def test_a_tip_is_in_both_statements(service: Service) -> None:
    giver, taker = await service.members(2)
    await earn(service, giver, 1000)
    body = {"amount": 300, "note": "谢谢团长"}
    tip = await giver.post(f"/v1/members/{taker.id}/tips", body, key="one")
    again = await giver.post(f"/v1/members/{taker.id}/tips", body, key="one")
    assert (tip.status_code, tip.json()) == (201, again.json())
    assert ((await has(giver))[0], (await has(taker))[0]) == (700, 300)
    for member, amount, left in ((giver, -300, 700), (taker, 300, 300)):
        line = (await member.get("/v1/members/me/statement")).json()["items"][0]
        assert (line["kind"], line["subject"]) == ("tip", tip.json()["id"])
        assert (line["amount"], line["balance_after"]) == (amount, left)
    for to, changed in ((taker, {"amount": 301}), (taker, {"note": ""}), (await service.member(), {})):
        reply = await giver.post(f"/v1/members/{to.id}/tips", body | changed, key="one")
        assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert await service.violations() == []


async def test_what_cannot_be_tipped(service: Service) -> None:
    giver, taker = await service.members(2)
    await earn(service, giver, 2 * MAX_TIP)
    for to, amount, code in (
        (giver.id, 1, "self_tip"),
        ("mem_" + "0" * 32, 1, "member_not_found"),
        (taker.id, MAX_TIP + 1, "invalid_request"),
        (taker.id, 0, "invalid_request"),
    ):
        reply = await giver.post(f"/v1/members/{to}/tips", {"amount": amount})
        assert reply.json()["code"] == code, reply.text
    for sender, receiver, body in ((taker, giver, {"amount": 1}), (giver, taker, {"amount": 1, "currency": "USD"})):
        reply = await sender.post(f"/v1/members/{receiver.id}/tips", body)
        assert (reply.status_code, reply.json()["code"]) == (409, "balance_too_low")
    assert await has(taker) == await has(taker, "USD") == (0, 0, 0, 0)
    assert await service.violations() == []


async def test_twenty_tips_a_day_however_many_at_once(service: Service) -> None:
    giver, *takers = await service.members(4)
    await earn(service, giver, 1000)
    replies = await asyncio.gather(
        *(giver.post(f"/v1/members/{takers[number % 3].id}/tips", {"amount": 10}) for number in range(50))
    )
    assert sum(reply.status_code == 201 for reply in replies) == DAILY_TIPS
    assert {reply.json()["code"] for reply in replies if reply.status_code != 201} == {"tip_limit"}
    assert (await has(giver))[0] == 1000 - DAILY_TIPS * 10
    await later(service, DAY, giver, *takers)
    assert (await giver.post(f"/v1/members/{takers[0].id}/tips", {"amount": 10})).status_code == 201
    assert await service.violations() == []


async def test_money_goes_round_without_a_deadlock_and_none_is_lost(service: Service) -> None:
    members = await service.members(4)
    for member in members:
        await earn(service, member, 500)
    replies = await asyncio.gather(
        *(
            members[number % 4].post(f"/v1/members/{members[(number + step) % 4].id}/tips", {"amount": 90})
            for number in range(20)
            for step in (1, 2, 3)
        )
    )
    assert {reply.status_code for reply in replies} <= {201, 409}
    assert sum([(await has(member))[0] for member in members]) == 2000
    assert await service.violations() == []
