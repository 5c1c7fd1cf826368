"""Broadcasts: paid for with value given, three a day at most for a member, the rest in a digest, never at night."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, text, update
from sqlmodel import col, select

from app.domain.notices import DAILY_CAP, NoticeKind, PushWish
from app.domain.segments import SegmentKind
from app.models import CommunityDay, Membership, Notice, Overflow, Push, Segment, SegmentMember
from app.services import pushes
from app.workers import pushes as worker
from tests.promises.test_memberships import leave, log_in_again
from tests.service import FLASH, Member, Service

SHANGHAI = ZoneInfo("Asia/Shanghai")
TEXT = {"text": "明前龙井今晚八点开抢"}


async def turn_to(service: Service, clock: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    """Turn the clock on to the next time the clocks there show this."""
    now = service.clock()
    wanted = datetime.fromisoformat(f"{now.astimezone(zone).date()} {clock}").replace(tzinfo=zone)
    while wanted <= now:
        wanted += timedelta(days=1)
    service.clock.advance((wanted - now).total_seconds())
    return wanted.astimezone(UTC)


async def community(service: Service, owner: Member, members: list[Member], **terms: Any) -> dict[str, Any]:
    """An open community with members, without quiet hours unless told otherwise."""
    made = await service.community(owner, **terms)
    for member in members:
        await member.enrol(made)
    return made


async def earn(service: Service, made: dict[str, Any], value: int) -> None:
    """Let a community have given so much value yesterday: today is counted again from what happens."""
    yesterday = service.clock().astimezone(ZoneInfo(made["timezone"])).date() - timedelta(days=1)
    day = yesterday.isoformat()
    async with service.state.database.transaction() as session:
        key = {"community_id": made["id"], "day": day}
        await session.exec(delete(CommunityDay).where(*(getattr(CommunityDay, name) == key[name] for name in key)))
        session.add(CommunityDay(**key, value=value, counted=1))


async def push(sender: Member, made: dict[str, Any], *, key: str | None = None, **body: Any) -> Any:
    return await sender.post(f"/v1/communities/{made['id']}/pushes", TEXT | body, key=key)


async def preview(sender: Member, made: dict[str, Any], **body: Any) -> dict[str, Any]:
    reply = await sender.post(f"/v1/communities/{made['id']}/push-preview", TEXT | body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def shown(sender: Member, sent: dict[str, Any]) -> dict[str, Any]:
    """A push as its leader sees it now."""
    reply = await sender.get(f"/v1/communities/{sent['community_id']}/pushes/{sent['id']}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def inbox(member: Member, *kinds: str) -> list[dict[str, Any]]:
    reply = await member.get("/v1/members/me/notices?limit=100")
    assert reply.status_code == 200, reply.text
    return [item for item in reply.json()["items"] if item["kind"] in (kinds or ("push",))]


async def wish(service: Service, member: Member, made: dict[str, Any], wished: PushWish) -> None:
    async with service.state.database.transaction() as session:
        await session.exec(
            update(Membership)
            .where(col(Membership.community_id) == made["id"], col(Membership.member_id) == member.id)
            .values(push_wish=wished),
        )


async def test_a_push_reaches_its_members_and_costs_what_was_said_before(service: Service) -> None:
    owner, member, gone, stranger = await service.members(4)
    made = await community(service, owner, [member, gone])
    await wish(service, gone, made, PushWish.NONE)
    before = await preview(owner, made)
    assert (before["recipients"], before["cost"], before["budget"]) == (2, 10, 20)
    assert (before["budget_after"], before["quiet"]) == (10, False)
    reply = await push(owner, made)
    assert reply.status_code == 201, reply.text
    assert (reply.json()["state"], reply.json()["cost"], reply.json()["recipients"]) == ("scheduled", 10, 2)
    await service.work()
    (notice,) = await inbox(member)
    assert (notice["text"], notice["community_id"]) == (TEXT["text"], made["id"])
    assert [await inbox(who) for who in (gone, stranger)] == [[], []]
    await member.post("/v1/members/me/notices/read", {"notice_id": notice["id"]})
    sent = await shown(owner, reply.json())
    assert (sent["state"], sent["delivered"], sent["digested"], sent["reads"]) == ("sent", 2, 0, 1)
    listed = (await owner.get(f"/v1/communities/{made['id']}/pushes")).json()["items"]
    assert [item["id"] for item in listed] == [sent["id"]]
    assert await service.violations() == []


async def test_a_refused_push_changes_nothing_and_costs_nothing(service: Service) -> None:
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    assert (await push(owner, made)).status_code == 201
    before = await preview(owner, made)
    refused = await push(owner, made)
    assert (refused.status_code, refused.json()["code"]) == (409, "push_budget_too_low")
    assert (refused.json()["price"], refused.json()["budget"]) == (20, 10)
    assert (before["cost"], before["budget"], before["budget_after"]) == (20, 10, -10)
    after = await preview(owner, made)
    assert after == before | {"sends_at": after["sends_at"]}
    await service.work()
    assert len(await inbox(member)) == 1
    async with service.state.database.transaction() as session:
        week_ago = service.clock() - timedelta(days=7, seconds=1)
        await session.exec(update(Push).where(col(Push.community_id) == made["id"]).values(created_at=week_ago))
    again = await push(owner, made)
    assert (again.status_code, again.json()["cost"]) == (201, 10), "another week, and the price is the first again"


async def test_fifty_sends_at_once_spend_the_budget_and_no_more(service: Service) -> None:
    """Five cost 10 + 20 + 30 + 40 + 50: what was earned and the allowance of 20."""
    owner, leader, member = await service.members(3)
    made = await community(service, owner, [leader, member])
    await earn(service, made, 130)
    replies = await asyncio.gather(*(push(owner, made) for _ in range(50)))
    taken = [reply.json()["cost"] for reply in replies if reply.status_code == 201]
    assert sorted(taken) == [10, 20, 30, 40, 50]
    assert {reply.json()["code"] for reply in replies if reply.status_code != 201} == {"push_budget_too_low"}
    assert (await preview(owner, made))["budget"] == 0
    await service.work()
    assert len(await inbox(member)) == DAILY_CAP
    assert await service.violations() == []


async def in_parallel(service: Service, count: int, members: int) -> tuple[list[Member], list[str]]:
    """Many pushes of as many communities to the same members, delivered by several workers at once."""
    people = await service.members(members)
    owners = await service.members(count)
    ids = []
    for owner in owners:
        made = await community(service, owner, people)
        reply = await push(owner, made)
        assert reply.status_code == 201, reply.text
        ids.append(reply.json()["id"])
    return people, ids


async def told(service: Service, people: list[Member]) -> Counter[tuple[str, str | None]]:
    """How many pushes reached each of them on each day."""
    async with service.state.database.snapshot() as session:
        found = await session.exec(
            select(Notice.member_id, Notice.day).where(
                Notice.kind == NoticeKind.PUSH, col(Notice.member_id).in_([member.id for member in people])
            ),
        )
        return Counter(found.all())


async def test_nobody_gets_more_than_the_cap_under_fifty_parallel_pushes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "BATCH", 3)
    people, ids = await in_parallel(service, 50, 4)
    now = service.clock()
    await asyncio.gather(*(pushes.deliver(service.state, id_, now) for id_ in ids for _ in range(2)))
    while await worker.run_once(service.state, service.clock()):
        pass
    assert await told(service, people) == dict.fromkeys(await told(service, people), DAILY_CAP)
    assert {member_id for member_id, _ in await told(service, people)} == {member.id for member in people}
    async with service.state.database.snapshot() as session:
        left = Counter((await session.exec(select(Overflow.member_id))).all())
        sent = (await session.exec(select(Push).where(col(Push.id).in_(ids)))).all()
    assert [left[member.id] for member in people] == [50 - DAILY_CAP] * len(people), "and nothing is lost"
    assert {row.state for row in sent} == {"sent"}
    assert sum(row.delivered + row.digested for row in sent) == sum(row.recipients for row in sent)
    assert await service.violations() == []


async def test_a_push_goes_on_where_it_was_cut_off(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "BATCH", 2)
    owner, *members = await service.members(7)
    made = await community(service, owner, members)
    sent = (await push(owner, made)).json()

    class Killed(BaseException):
        pass

    real, calls = pushes._move_on, iter(range(100))

    async def dying(*arguments: Any) -> bool:
        moved = await real(*arguments)
        if next(calls) == 2:
            raise Killed
        return moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushes, "_move_on", dying)
        with pytest.raises(Killed):
            await pushes.deliver(service.state, sent["id"], service.clock())
    half = await shown(owner, sent)
    assert (half["state"], half["delivered"]) == ("sending", 4)
    await asyncio.gather(*(pushes.deliver(service.state, sent["id"], service.clock()) for _ in range(4)))
    assert [len(await inbox(member)) for member in [owner, *members]] == [1] * 7
    assert (await shown(owner, sent))["delivered"] == 7
    assert await service.violations() == []


async def test_quiet_hours_across_midnight_in_shanghai(service: Service) -> None:
    """From 22:00 to 08:00: what is sent at half past eleven waits, past midnight, for the morning."""
    await turn_to(service, "21:00")
    owner, member = await service.members(2)
    made = await community(service, owner, [member], quiet_from="22:00", quiet_to="08:00")
    await turn_to(service, "23:30")
    morning = (service.clock() + timedelta(hours=8, minutes=30)).replace(second=0, microsecond=0)
    before = await preview(owner, made)
    assert (before["quiet"], datetime.fromisoformat(before["sends_at"])) == (True, morning)
    sent = (await push(owner, made)).json()
    assert datetime.fromisoformat(sent["sends_at"]) == morning
    for hours in (0, 0.75, 6, 1.7):  # 23:30, 00:15, 06:15, 07:57
        service.clock.advance(hours * 3600)
        await service.work()
        assert await inbox(member) == []
    await turn_to(service, "08:00:30")
    await service.work()
    (notice,) = await inbox(member)
    assert datetime.fromisoformat(notice["created_at"]).astimezone(SHANGHAI).hour == 8
    assert (await shown(owner, sent))["state"] == "sent"


async def test_what_becomes_due_in_quiet_hours_waits_and_goes_on_in_the_morning(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "BATCH", 2)
    await turn_to(service, "21:00")
    owner, *members = await service.members(5)
    made = await community(service, owner, members, quiet_from="22:00", quiet_to="08:00")
    await turn_to(service, "21:59")
    sent = (await push(owner, made)).json()
    real = pushes._move_on

    async def slowly(*arguments: Any) -> bool:
        service.clock.advance(40)
        return await real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushes, "_move_on", slowly)
        await service.work()
    half = await shown(owner, sent)
    assert (half["state"], half["delivered"]) == ("sending", 4), "two batches before ten, none after"
    service.clock.advance(5 * 3600)
    await service.work()
    assert (await shown(owner, sent))["delivered"] == 4
    await turn_to(service, "08:00:30")
    await service.work()
    assert [len(await inbox(member)) for member in [owner, *members]] == [1] * 5


async def test_order_notices_keep_neither_quiet_hours_nor_the_cap(service: Service) -> None:
    await turn_to(service, "12:00:00")
    owner, buyer = await service.members(2)
    for _ in range(2):
        made = await community(service, owner, [buyer], quiet_from="00:00", quiet_to="23:59")
        await push(owner, made)
    sale = await service.sale(**FLASH)
    order_id = (await buyer.buy(sale)).json()["order"]["id"]
    await buyer.pay(order_id)
    await service.work()
    (notice,) = await inbox(buyer, "push", "order")
    assert (notice["kind"], notice["subject_id"]) == ("order", order_id)


async def test_the_rest_of_a_day_comes_in_one_digest(service: Service) -> None:
    await turn_to(service, "10:00")
    member, reader, gone = await service.members(3)
    names, belonged = [f"社群{number}" for number in range(DAILY_CAP + 3)], []
    for name in names:
        owner = await service.member()
        made = await community(service, owner, [member, reader, gone], name=name)
        belonged.append(made)
        await wish(service, reader, made, PushWish.DIGEST)
        assert (await push(owner, made)).status_code == 201
        await service.work()
    assert (len(await inbox(member)), await inbox(reader)) == (DAILY_CAP, [])
    assert (await preview(owner, made))["digested"] == {"wish": 1, "cap": 2}
    for made in belonged:  # who left hears no more of it
        assert (await leave(gone, made)).status_code == 200
    await service.work()
    assert await inbox(member, "digest") == []
    await turn_to(service, "18:00:30")
    await asyncio.gather(*(worker.run_once(service.state, service.clock()) for _ in range(3)))
    await service.work()
    (digest,), (all_,) = await inbox(member, "digest"), await inbox(reader, "digest")
    assert digest["text"].splitlines()[1:] == [f"{name}: {TEXT['text']}" for name in names[DAILY_CAP:]]
    assert all_["text"].splitlines()[1:] == [f"{name}: {TEXT['text']}" for name in names]
    assert await inbox(gone, "digest") == []
    assert len(await inbox(member)) == DAILY_CAP, "a digest takes no place"
    assert await service.violations() == []


async def test_there_is_one_digest_a_day(service: Service) -> None:
    await turn_to(service, "10:00")
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    await earn(service, made, 1000)
    await wish(service, member, made, PushWish.DIGEST)
    await push(owner, made, text="一")
    await service.work()
    await turn_to(service, "18:00:30")
    await service.work()
    await push(owner, made, text="二")
    await service.work()
    async with service.state.database.transaction() as session:
        await session.exec(
            update(Overflow).where(col(Overflow.member_id) == member.id).values(due_at=service.clock())
        )
    await service.work()
    assert len(await inbox(member, "digest")) == 1
    await turn_to(service, "18:00:30")
    await service.work()
    member = await log_in_again(member)
    assert [item["text"].splitlines()[1:] for item in await inbox(member, "digest")] == [["茶友: 二"], ["茶友: 一"]]


async def test_a_digest_keeps_quiet_hours(service: Service) -> None:
    await turn_to(service, "11:00")
    owner, member = await service.members(2)
    made = await community(service, owner, [member], quiet_from="17:00", quiet_to="20:30")
    await wish(service, member, made, PushWish.DIGEST)
    await turn_to(service, "12:00")
    await push(owner, made)
    await service.work()
    await turn_to(service, "19:00")
    await service.work()
    assert await inbox(member, "digest") == []
    await turn_to(service, "20:00")
    async with service.state.database.transaction() as session:
        await session.exec(
            update(Overflow).where(col(Overflow.member_id) == member.id).values(due_at=service.clock())
        )
    await service.work()
    assert await inbox(member, "digest") == [], "it looks at the clock again"
    await turn_to(service, "20:31")
    await service.work()
    assert len(await inbox(member, "digest")) == 1


async def test_a_scheduled_push_can_be_taken_back_with_its_cost(service: Service) -> None:
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    later = (service.clock() + timedelta(hours=2)).isoformat()
    sent = (await push(owner, made, sends_at=later)).json()
    assert (await preview(owner, made))["budget"] == 10
    path = f"/v1/communities/{made['id']}/pushes/{sent['id']}"
    for _ in range(2):
        gone = await service.http.delete(path, headers=owner.headers)
        assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")
    assert (await preview(owner, made))["budget"] == 20
    assert (await preview(owner, made))["cost"] == 10
    service.clock.advance(3 * 3600)
    await service.work()
    assert await inbox(member) == []
    assert await service.violations() == []


async def test_an_operator_stops_one_that_is_under_way(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "BATCH", 1)
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    sent = (await push(owner, made)).json()
    assert await pushes._deliver_some(service.state, sent["id"])
    stopped = await service.ops("POST", f"communities/{made['id']}/pushes/{sent['id']}/cancel")
    assert (stopped.json()["state"], stopped.json()["delivered"]) == ("sent", 1)
    await service.work()
    assert sum([len(await inbox(who)) for who in (owner, member)]) == 1
    assert (await preview(owner, made))["budget"] == 10, "what has begun stays paid"
    listed = (await service.ops("GET", f"communities/{made['id']}/pushes")).json()["items"]
    assert [item["id"] for item in listed] == [sent["id"]]
    assert (await service.ops("GET", f"communities/com_{'0' * 32}/pushes")).status_code == 404
    assert await service.violations() == []


async def test_a_community_that_is_gone_pushes_no_more(service: Service) -> None:
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    sent = (await push(owner, made)).json()
    async with service.state.database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE communities SET state = 'dissolved', dissolved_at = created_at WHERE id = :id"),
            {"id": made["id"]},
        )
    await service.work()
    assert await inbox(member) == []
    assert (await shown(owner, sent))["state"] == "cancelled"
    assert (await push(owner, made)).json()["code"] == "community_not_open"


async def test_who_comes_later_is_not_told_of_what_was_paid_for_before(service: Service) -> None:
    owner, member, late = await service.members(3)
    made = await community(service, owner, [member])
    sent = (await push(owner, made)).json()
    await late.enrol(made)
    await service.work()
    assert [len(await inbox(who)) for who in (member, late)] == [1, 0]
    assert (await shown(owner, sent))["recipients"] == 2


async def test_one_key_sends_once(service: Service) -> None:
    owner, member = await service.members(2)
    made, other = [await community(service, owner, [member]) for _ in range(2)]
    key = uuid4().hex
    replies = await asyncio.gather(*(push(owner, made, key=key) for _ in range(10)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["id"] for reply in replies}) == 1
    for where, body in ((made, {"text": "别的"}), (other, {})):
        reply = await push(owner, where, key=key, **body)
        assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    twice = uuid4().hex
    both = await asyncio.gather(*(push(owner, where, key=twice) for where in (made, other) for _ in range(5)))
    assert {reply.status_code for reply in both} <= {201, 409, 422}
    assert len({reply.json()["id"] for reply in both if reply.status_code == 201}) <= 1


async def test_a_push_goes_to_a_segment_and_names_what_is_of_its_community(service: Service) -> None:
    owner, member, other = await service.members(3)
    made = await community(service, owner, [member, other])
    async with service.state.database.transaction() as session:
        segment = Segment(name="老客", kind=SegmentKind.STATIC, rule={}, created_at=service.clock())
        session.add(segment)
        await session.flush()
        session.add(SegmentMember(segment_id=segment.id, member_id=member.id))
    sale, foreign = await service.sale(community_id=made["id"]), await service.sale()
    assert (await preview(owner, made, segment_id=segment.id))["recipients"] == 1
    sent = await push(owner, made, segment_id=segment.id, sale_id=sale.id)
    assert sent.status_code == 201, sent.text
    await service.work()
    assert [[item["subject_id"] for item in await inbox(who)] for who in (member, other)] == [[sale.id], []]
    for wrong, code in (
        ({"sale_id": foreign.id}, "sale_not_found"),
        ({"post_id": f"pst_{'0' * 32}"}, "post_not_found"),
        ({"segment_id": f"seg_{'0' * 32}"}, "segment_not_found"),
        ({"sends_at": "2020-01-01T00:00:00Z"}, "invalid_terms"),
        ({"sends_at": "2090-01-01T00:00:00Z"}, "invalid_terms"),
    ):
        for path in ("pushes", "push-preview"):
            reply = await owner.post(f"/v1/communities/{made['id']}/{path}", TEXT | wrong)
            assert reply.json()["code"] == code, reply.text
    async with service.state.database.transaction() as session:
        await session.exec(delete(SegmentMember).where(col(SegmentMember.segment_id) == segment.id))
    assert (await push(owner, made, segment_id=segment.id)).json()["code"] == "push_reaches_nobody"


async def test_only_those_who_lead_may_push(service: Service) -> None:
    owner, member, stranger = await service.members(3)
    made = await community(service, owner, [member])
    sent = (await push(owner, made)).json()
    for who in (member, stranger):
        path = f"/v1/communities/{made['id']}/pushes"
        replies = [
            await push(who, made),
            await who.post(f"/v1/communities/{made['id']}/push-preview", TEXT),
            await who.get(path),
            await who.get(f"{path}/{sent['id']}"),
            await service.http.delete(f"{path}/{sent['id']}", headers=who.headers),
        ]
        assert [reply.json()["code"] for reply in replies] == ["not_allowed"] * 5
    other = await community(service, owner, [])
    reply = await owner.get(f"/v1/communities/{other['id']}/pushes/{sent['id']}")
    assert reply.json()["code"] == "push_not_found"
