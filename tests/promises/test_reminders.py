"""Reminders: told once, before the sale opens, to who asked for it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from app.models import Event
from app.services import reminders
from app.workers import reminders as worker
from tests.service import FLASH, Member, Sale, Service


async def coming(service: Service, hours: float = 2, **terms: Any) -> Sale:
    """A flash sale that opens in so many hours."""
    return await service.sale(**FLASH, opens_at=(service.clock() + timedelta(hours=hours)).isoformat(), **terms)


async def remind(member: Member, sale: Sale, **body: Any) -> Any:
    return await member.service.http.put(f"/v1/sales/{sale.id}/reminder", json=body, headers=member.headers)


async def withdraw(member: Member, sale: Sale) -> Any:
    return await member.service.http.delete(f"/v1/sales/{sale.id}/reminder", headers=member.headers)


async def mine(member: Member) -> list[dict[str, Any]]:
    reply = await member.get("/v1/reminders")
    assert reply.status_code == 200, reply.text
    return list(reply.json()["items"])


async def told(service: Service, sale: Sale) -> list[str | None]:
    """Whom the events say was told."""
    async with service.state.database.snapshot() as session:
        query = select(Event.member_id).where(Event.type == "reminder.due", Event.sale_id == sale.id)
        return list((await session.exec(query.order_by(col(Event.id)))).all())


async def test_a_member_is_told_once_and_in_time(service: Service) -> None:
    sale, (member, other) = await coming(service), await service.members(2)
    reply = await remind(member, sale)
    assert reply.status_code == 200, reply.text
    opens_at = datetime.fromisoformat(reply.json()["opens_at"])
    assert datetime.fromisoformat(reply.json()["remind_at"]) == opens_at - timedelta(minutes=5)
    assert (reply.json()["minutes_before"], reply.json()["told_at"]) == (5, None)
    assert (await remind(other, sale, minutes_before=60)).status_code == 200
    service.clock.advance(3000)
    await service.work()
    assert await told(service, sale) == []
    service.clock.advance(700)
    await service.work()
    assert await told(service, sale) == [other.id]
    service.clock.advance(3300)
    await service.work()
    await service.work()
    assert await told(service, sale) == [other.id, member.id]
    (shown,) = await mine(member)
    assert reply.json() | {"told_at": shown["told_at"]} == shown
    assert shown["remind_at"] <= shown["told_at"] <= shown["opens_at"]
    assert await service.violations() == []


async def test_two_workers_tell_everybody_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminders, "BATCH", 3)
    sale, members = await coming(service), await service.members(20)
    await asyncio.gather(*(remind(member, sale) for member in [*members, *members]))
    service.clock.advance(7000)
    await asyncio.gather(*(worker.run_once(service.state, service.clock()) for _ in range(4)))
    assert sorted(await told(service, sale), key=str) == sorted(member.id for member in members)
    assert await service.violations() == []


async def test_the_same_wish_changes_nothing_and_another_is_told_anew(service: Service) -> None:
    sale, member = await coming(service), await service.member()
    for _ in range(2):
        assert (await remind(member, sale, minutes_before=90)).status_code == 200
    service.clock.advance(1801)
    await service.work()
    again = await remind(member, sale, minutes_before=90)
    assert again.json()["told_at"] is not None
    await service.work()
    assert await told(service, sale) == [member.id]
    assert (await remind(member, sale, minutes_before=10)).json()["told_at"] is None
    await service.work()
    assert await told(service, sale) == [member.id]
    service.clock.advance(4800)
    await service.work()
    assert await told(service, sale) == [member.id] * 2
    assert len(await mine(member)) == 1
    assert await service.violations() == []


async def test_a_reminder_whose_time_has_passed_is_due_at_once(service: Service) -> None:
    sale, member = await coming(service, hours=0.1), await service.member()
    assert (await remind(member, sale, minutes_before=1440)).status_code == 200
    await service.work()
    assert await told(service, sale) == [member.id]


async def test_what_was_withdrawn_is_not_told(service: Service) -> None:
    sale, other, (member, friend) = await coming(service), await coming(service), await service.members(2)
    for who, which in ((member, sale), (member, other), (friend, sale)):
        await remind(who, which)
    for _ in range(2):
        assert (await withdraw(member, sale)).status_code == 204
    assert [item["sale_id"] for item in await mine(member)] == [other.id]
    service.clock.advance(7000)
    await service.work()
    assert (await told(service, sale), await told(service, other)) == ([friend.id], [member.id])


async def test_they_are_listed_next_first_until_the_sale_is_over(service: Service) -> None:
    closes_at = (service.clock() + timedelta(hours=4)).isoformat()
    late, early = await coming(service, hours=3, closes_at=closes_at), await coming(service)
    member = await service.member()
    for sale in (late, early):
        await remind(member, sale)
    assert [item["sale_id"] for item in await mine(member)] == [early.id, late.id]
    assert [item["sale_id"] for item in (await member.get("/v1/reminders?limit=1")).json()["items"]] == [early.id]
    assert await mine(await service.member()) == []
    service.clock.advance(3600)
    await service.ops("POST", f"sales/{early.id}/end")
    assert [item["sale_id"] for item in await mine(member)] == [late.id]
    service.clock.advance(3 * 3600)
    assert await mine(member) == [], "the clock ends a sale, not the worker"


async def test_a_sale_that_is_ended_before_it_opens_reminds_nobody(service: Service) -> None:
    sale, member = await coming(service), await service.member()
    await remind(member, sale)
    assert (await service.ops("POST", f"sales/{sale.id}/end")).json()["state"] == "ended"
    service.clock.advance(7000)
    await service.work()
    assert (await told(service, sale), await mine(member)) == ([], [])
    assert await service.violations() == []


async def test_only_a_sale_that_is_to_open_can_be_waited_for(service: Service) -> None:
    member, draft = await service.member(), await service.sale(**FLASH, publish=False)
    open_, ended, soon = await service.sale(**FLASH), await coming(service), await coming(service, hours=0.5)
    await service.ops("POST", f"sales/{ended.id}/end")
    service.clock.advance(1801)
    for sale, status, code in (
        (draft, 404, "sale_not_found"),
        (open_, 409, "sale_already_open"),
        (soon, 409, "sale_already_open"),
        (ended, 410, "sale_ended"),
    ):
        reply = await remind(member, sale)
        assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert (await withdraw(member, draft)).status_code == 404
    for minutes in (0, 1441, "5", True):
        assert (await remind(member, soon, minutes_before=minutes)).status_code == 422
