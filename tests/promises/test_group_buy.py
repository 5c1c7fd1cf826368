"""The main job: a group fills and everybody has their order, or it does not and everybody has their money."""

from typing import Any

from tests.service import Member, Sale, Service


async def take_seats(service: Service, sale: Sale, count: int) -> tuple[str, list[tuple[Member, dict[str, Any]]]]:
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


async def test_group_succeeds_when_every_seat_is_paid(service: Service) -> None:
    sale = await service.sale()
    group_id, seated = await take_seats(service, sale, 3)
    group = await service.group(group_id)
    assert (group["state"], group["held"], group["paid"], group["left"]) == ("filled", 3, 0, 0)

    for member, order in seated:
        await member.pay(order["id"])

    group = await service.group(group_id)
    assert (group["state"], group["held"], group["paid"], group["left"]) == ("succeeded", 0, 3, 0)
    for member, order in seated:
        found = await member.order(order["id"])
        assert found["state"] == "confirmed"
        assert [payment["outcome"] for payment in found["payments"]] == ["kept"]
    assert await service.left(sale) == [97]
    assert await service.violations() == []


async def test_third_payment_after_the_deadline_refunds_all_three(service: Service) -> None:
    sale = await service.sale(group_ttl_seconds=3600, hold_ttl_seconds=3600)
    group_id, seated = await take_seats(service, sale, 3)
    for member, order in seated[:2]:
        await member.pay(order["id"])
    late_member, late_order = seated[2]
    await late_member.pay(late_order["id"], delay_seconds=3600)

    service.clock.advance(3700)
    await service.tick()
    await service.deliver()
    await service.tick()

    group = await service.group(group_id)
    assert (group["state"], group["fail_reason"], group["left"]) == ("failed", "deadline", 3)
    for member, order in seated:
        found = await member.order(order["id"])
        assert [payment["captured_amount"] for payment in found["payments"]] == [4900]
        assert [(refund["state"], refund["amount"]) for refund in found["refunds"]] == [("succeeded", 4900)]
    reasons = [(await member.order(order["id"]))["refunds"][0]["reason"] for member, order in seated]
    assert reasons == ["group_failed", "group_failed", "late"]
    assert await service.left(sale) == [100]
    assert await service.violations() == []
