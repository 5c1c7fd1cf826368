"""What the parts of a community owe each other: erasure, dissolving, plans and segments meet what members write."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from app.domain.notices import PushWish
from app.models import CommunityDay, Facts, Job, Membership, Mention, Notice, Post, SegmentMember
from app.routers.pages import SESSION
from app.services import dissolving, pushes
from app.workers import days as day_worker
from app.workers import erasure as sweeper
from tests.promises.community import enrol, post, raise_to, react, say, see
from tests.promises.money import flash, refund
from tests.promises.test_memberships import PAID, buy_period, decide, join, log_in_again
from tests.promises.test_privacy import erase
from tests.promises.test_pushes import community as quiet_never
from tests.promises.test_pushes import earn, inbox, push, turn_to, wish
from tests.service import Service


async def rows_of(service: Service, statement: Any) -> list[Any]:
    async with service.state.database.snapshot() as session:
        return list((await session.exec(statement)).all())


async def test_what_an_erased_member_wrote_is_counted_no_more_and_names_nobody(service: Service) -> None:
    owner, gone, other = await service.members(3)
    made = await service.community(owner)
    await enrol(made, gone, other)
    await raise_to(service, made, gone, 1)
    theirs = await post(gone, made, mentions=[other.id])
    await owner.post(f"/v1/posts/{theirs['id']}/pin")
    offered = await post(gone, made, kind="job")
    kept = await post(other, made)
    await say(gone, kept["id"], mentions=[other.id])
    await say(owner, kept["id"])
    assert (await erase(gone)).status_code == 200
    await service.work()
    assert await service.violations() == []
    assert (await see(other, kept["id"]))["comment_count"] == 1
    assert await rows_of(service, select(Mention)) == []
    assert [row.pinned_at for row in await rows_of(service, select(Post).where(Post.author_id == gone.id))] == [
        None
    ] * 2
    assert [job.state for job in await rows_of(service, select(Job).where(Job.id == offered["id"]))] == [
        "withdrawn"
    ]


async def test_a_push_stops_with_its_sender(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "BATCH", 2)
    owner, leader, *members = await service.members(8)
    made = await quiet_never(service, owner, [leader, *members])
    await service.http.put(
        f"/v1/communities/{made['id']}/members/{leader.id}/role", json={"role": "leader"}, headers=owner.headers
    )
    await earn(service, made, 100)
    sent = (await push(leader, made)).json()
    assert await pushes._deliver_some(service.state, sent["id"])
    assert (await erase(leader)).status_code == 200
    await sweeper.run_once(service.state, service.clock())
    await service.work()
    told = await rows_of(service, select(Notice).where(Notice.push_id == sent["id"]))
    assert len(told) <= 2, [row.text for row in told]


async def test_digests_do_not_keep_what_an_erased_member_sent(service: Service) -> None:
    await turn_to(service, "10:00")
    owner, leader, member = await service.members(3)
    made = await quiet_never(service, owner, [leader, member])
    await service.http.put(
        f"/v1/communities/{made['id']}/members/{leader.id}/role", json={"role": "leader"}, headers=owner.headers
    )
    await wish(service, member, made, PushWish.DIGEST)
    await earn(service, made, 100)
    await push(leader, made, text="欧阳娜娜甲请大家喝茶")
    await service.work()
    await turn_to(service, "18:30")
    owner, leader, member = [await log_in_again(one) for one in (owner, leader, member)]
    await service.work()
    (digest,) = await inbox(member, "digest")
    assert "欧阳娜娜甲" in digest["text"]
    assert (await erase(leader)).status_code == 200
    await service.work()
    assert "欧阳娜娜甲" not in "".join(row.text for row in await rows_of(service, select(Notice)))


async def test_nothing_is_known_anew_of_who_was_erased(service: Service) -> None:
    (gone,) = await service.members(1)
    sale = await flash(service)
    bought = (await gone.buy(sale)).json()["order"]["id"]
    await gone.pay(bought)
    await service.work()
    assert (await erase(gone)).status_code == 200
    await service.work()
    assert await rows_of(service, select(Facts)) == []
    await refund(service, bought)
    await service.work()
    assert await rows_of(service, select(Facts)) == []


async def test_a_new_list_names_nobody_who_was_erased(service: Service) -> None:
    gone, here = await service.members(2)
    assert (await erase(gone)).status_code == 200
    await service.work()
    rule = {"fact": "orders", "is": "exactly", "value": 0}
    reply = await service.ops("POST", "segments", {"name": "新客", "kind": "static", "rule": rule})
    assert reply.status_code == 201, reply.text
    assert {row.member_id for row in await rows_of(service, select(SegmentMember))} == {here.id}


async def test_who_was_erased_is_not_let_in(service: Service) -> None:
    owner, gone = await service.members(2)
    made = await service.community(owner, join_mode="approve")
    await join(gone, made)
    await decide(owner, made, gone, "decline")
    assert (await erase(gone)).status_code == 200
    await service.work()
    assert (await decide(owner, made, gone, "approve")).status_code == 404
    (row,) = await rows_of(service, select(Membership).where(Membership.member_id == gone.id))
    assert row.state == "declined"


async def test_a_segment_of_buyers_does_not_keep_the_plan_from_members(service: Service) -> None:
    owner, member = await service.members(2)
    rule = {"fact": "orders", "is": "at_least", "value": 5}
    vip = (await service.ops("POST", "segments", {"name": "常客", "kind": "dynamic", "rule": rule})).json()
    made = await service.community(owner, **PAID, buy_segment_id=vip["id"])
    reply = await join(member, made)
    assert reply.status_code == 201, reply.text


async def test_what_is_erased_with_its_community_names_nobody_and_its_leaves_are_counted(service: Service) -> None:
    """It dissolves before midnight, and no worker gets to its members and posts until the day after is over."""
    owner, one, two = await service.members(3)
    closes_at = await turn_to(service, "23:00") + timedelta(minutes=50)
    owner, one, two = [await log_in_again(each) for each in (owner, one, two)]
    terms = {"lifespan": "flash", "closes_at": closes_at.isoformat(), "on_dissolve": "erase"}
    made = await service.community(owner, **terms)
    await enrol(made, one, two)
    await raise_to(service, made, one, 1)
    lesson = await post(one, made, mentions=[two.id])
    await say(one, lesson["id"], mentions=[two.id])
    assert (await owner.post(f"/v1/posts/{lesson['id']}/pin")).status_code == 200
    service.clock.advance(50 * 60)
    assert await dissolving.dissolve_due(service.state, made["id"], service.clock())
    await turn_to(service, "00:30")
    await day_worker.run_once(service.state, service.clock())
    while await dissolving.wind_up(service.state, made["id"], service.clock()):
        pass
    assert await rows_of(service, select(Mention)) == []
    assert [row.pinned_at for row in await rows_of(service, select(Post))] == [None]
    assert await service.violations() == []
    service.clock.advance(24 * 3600)
    await service.work()
    days = await rows_of(service, select(CommunityDay).where(CommunityDay.community_id == made["id"]))
    assert sum(day.figures.get("left_dissolved", 0) for day in days) == 3


async def test_exclusive_posts_earn_by_whom_they_are_of_use_to(service: Service) -> None:
    owner, *readers = await service.members(3)
    made = await service.community(owner, **PAID)
    lessons = [await post(owner, made, f"第 {number} 课", exclusive=True) for number in range(5)]
    assert await earned(service, made) == 0, "a leader alone earns nothing"
    for reader in readers:
        await buy_period(reader, made)
        await react(reader, lessons[0])
    assert await earned(service, made) == 4 + 4


async def earned(service: Service, made: dict[str, Any]) -> int:
    """The points of value of a community."""
    service.clock.advance(61)
    await service.work()
    days = await rows_of(service, select(CommunityDay).where(CommunityDay.community_id == made["id"]))
    return int(sum(day.value for day in days))


async def test_an_invite_to_a_community_leads_to_every_sale_of_it(service: Service) -> None:
    owner, guest = await service.members(2)
    made, other = await service.community(owner), await service.community(owner)
    sale = await service.sale(community_id=other["id"], community_ids=[made["id"]])
    code = (await owner.post("/v1/invites", {"community_id": made["id"]})).json()["code"]
    listed = (await service.http.get(f"/v1/sales?community_id={made['id']}")).json()["items"]
    assert [item["id"] for item in listed] == [sale.id]
    page = await service.http.get(f"/i/{code}?sale_id={sale.id}", headers={"Accept": "text/html"})
    assert page.status_code == 200, page.text
    bought = await guest.open(sale, invite_code=code)
    assert bought.status_code == 201, bought.text


async def test_an_invite_shows_the_sales_of_a_community_to_whom_it_shows_itself(service: Service) -> None:
    owner, guest = await service.members(2)
    listed = {"name": "名单", "kind": "static", "member_ids": [guest.id]}
    segment = (await service.ops("POST", "segments", listed)).json()
    made = await service.community(owner, see_segment_id=segment["id"])
    sale = await service.sale(community_id=made["id"], members_only=True)
    seen = (await guest.get(f"/v1/sales?community_id={made['id']}")).json()["items"]
    assert [item["id"] for item in seen] == [sale.id]
    code = (await owner.post("/v1/invites", {"community_id": made["id"]})).json()["code"]
    page = await service.http.get(
        f"/i/{code}", headers={"cookie": f"{SESSION}={guest.token}", "accept": "text/html"}
    )
    assert page.status_code == 200, page.text
    assert sale.body["title"] in page.text
