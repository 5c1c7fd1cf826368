"""What is kept for a time only, and no longer."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import SQLModel, select

from app.domain.endpoints import EndpointState
from app.domain.memberships import LeaveReason, MembershipState
from app.domain.notices import NoticeKind
from app.domain.posts import PostKind
from app.domain.privacy import Kept
from app.gateways.chat.platforms import PLATFORMS
from app.models import (
    Announcement,
    Attempt,
    Comment,
    Delivery,
    Endpoint,
    Event,
    Membership,
    Notice,
    Outgoing,
    Post,
    SandboxCallback,
    Session,
    Touch,
)
from app.services import retention
from app.workers import robots as worker
from app.workers.loop import JOBS
from tests.promises.test_robots import Stage, ask, bound_sale, opened, work
from tests.service import FLASH, Service

MOMENT = timedelta(seconds=60)
(clear,) = [job.run_once for job in JOBS if job.name == "retention"]


async def rows(service: Service, model: type[SQLModel], **key: str) -> list[SQLModel]:
    """The rows of a table with these values."""
    statement = select(model)
    for name, value in key.items():
        statement = statement.where(getattr(model, name) == value)
    async with service.state.database.snapshot() as session:
        return list((await session.exec(statement)).all())


async def add(service: Service, *new: SQLModel) -> None:
    async with service.state.database.transaction() as session:
        session.add_all(new)
        await session.commit()


async def settle(service: Service, kept: Kept, since: datetime) -> None:
    """Clear as it is done a moment before the time is up; then let the time be up. Again changes nothing."""
    await clear(service.state, since + kept.age - MOMENT)


async def over(service: Service, kept: Kept, since: datetime) -> None:
    """Clear as it is done when the time is up, twice: the second finds nothing."""
    assert await clear(service.state, since + kept.age + MOMENT) >= 1
    assert await clear(service.state, since + kept.age + MOMENT) == 0


async def test_a_session_that_has_expired_is_kept_for_a_week(service: Service) -> None:
    member = await service.member()
    (session,) = await rows(service, Session, member_id=member.id)
    assert isinstance(session, Session)
    await settle(service, Kept.SESSIONS, session.expires_at)
    assert len(await rows(service, Session, member_id=member.id)) == 1
    await over(service, Kept.SESSIONS, session.expires_at)
    assert await rows(service, Session, member_id=member.id) == []


async def test_a_tap_of_a_stranger_is_kept_as_long_as_their_token(service: Service) -> None:
    member, friend = await service.members(2)
    closes_at = (service.clock() + timedelta(days=300)).isoformat()
    sale = await service.sale(**FLASH, closes_at=closes_at)
    code = (await member.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    await service.http.get(f"/i/{code}")
    await friend.get(f"/i/{code}")
    now = service.clock()
    await settle(service, Kept.STRANGERS, now)
    assert len(await rows(service, Touch, code=code)) == 2
    await over(service, Kept.STRANGERS, now)
    (left,) = await rows(service, Touch, code=code)
    assert isinstance(left, Touch)
    assert left.member_id == friend.id


async def test_a_notice_is_kept_for_half_a_year(service: Service) -> None:
    member, now = await service.member(), service.clock()
    await add(service, Notice(member_id=member.id, kind=NoticeKind.ORDER, text="已成团", created_at=now))
    await settle(service, Kept.NOTICES, now)
    assert len(await rows(service, Notice, member_id=member.id)) == 1
    await over(service, Kept.NOTICES, now)
    assert await rows(service, Notice, member_id=member.id) == []


@pytest.mark.parametrize("waits", [True, False])
async def test_an_application_is_kept_until_nobody_asks_why(service: Service, waits: bool) -> None:
    (member,), now, community = await service.members(1), service.clock(), await service.community()
    state = MembershipState.APPLIED if waits else MembershipState.DECLINED
    key = {"community_id": community["id"], "member_id": member.id}
    await add(service, Membership(**key, state=state, application="想一起喝茶", applied_at=now))
    await settle(service, Kept.APPLICATIONS, now)
    before = await rows(service, Membership, **key)
    await clear(service.state, now + Kept.APPLICATIONS.age + MOMENT)
    after = await rows(service, Membership, **key)
    for found, words in ((before, "想一起喝茶"), (after, "想一起喝茶" if waits else "")):
        assert [row.application for row in found if isinstance(row, Membership)] == [words]


async def test_a_profile_is_kept_for_who_may_come_back(service: Service) -> None:
    (member, other), now = await service.members(2), service.clock()
    communities = [await service.community() for _ in range(3)]
    left: dict[str, Any] = {
        "state": MembershipState.LEFT,
        "left_at": now,
        "leave_reason": LeaveReason.MOVED_ON,
        "joined_at": now,
    }
    texts: list[dict[str, Any]] = [{"nickname": "小茶"}, {"bio": "爱茶"}, {"shown": {"city": "杭州"}}]
    await add(
        service,
        *(
            Membership(**left, **text, community_id=community["id"], member_id=member.id)
            for community, text in zip(communities, texts, strict=True)
        ),
        Membership(
            community_id=communities[0]["id"],
            member_id=other.id,
            state=MembershipState.ACTIVE,
            joined_at=now,
            nickname="老茶",
        ),
    )
    await settle(service, Kept.PROFILES, now)
    kept = await rows(service, Membership, member_id=member.id)
    await over(service, Kept.PROFILES, now)
    gone = await rows(service, Membership, member_id=member.id)
    for found, words in ((kept, True), (gone, False)):
        profiles = [row for row in found if isinstance(row, Membership)]
        assert [bool(row.nickname or row.bio or row.shown) for row in profiles] == [words] * 3
    (active,) = await rows(service, Membership, member_id=other.id)
    assert isinstance(active, Membership)
    assert active.nickname == "老茶"


async def test_words_that_were_removed_are_kept_until_a_decision_stands(service: Service) -> None:
    member, now, community = await service.member(), service.clock(), await service.community()
    written = {"community_id": community["id"], "author_id": member.id, "created_at": now}
    removed, shown = [
        Post(
            **written, kind=PostKind.TEXT, body="茶", pictures=["https://x"], removed_at=at, request_key=uuid4().hex
        )
        for at in (now, None)
    ]
    await add(service, removed, shown)
    comments = [
        Comment(**written, post_id=shown.id, body="好", removed_at=at, request_key=uuid4().hex)
        for at in (now, None)
    ]
    await add(service, *comments)
    await settle(service, Kept.REMOVED, now)
    assert {row.body for row in await rows(service, Post, author_id=member.id) if isinstance(row, Post)} == {"茶"}
    await over(service, Kept.REMOVED, now)
    posts = {row.id: row for row in await rows(service, Post, author_id=member.id) if isinstance(row, Post)}
    assert [(posts[post.id].body, posts[post.id].pictures) for post in (removed, shown)] == [
        ("", []),
        ("茶", ["https://x"]),
    ]
    said = {row.id: row for row in await rows(service, Comment, author_id=member.id) if isinstance(row, Comment)}
    assert [said[comment.id].body for comment in comments] == ["", "好"]


async def test_deliveries_are_kept_until_it_is_known_what_became_of_them(service: Service) -> None:
    now, made = service.clock(), list[dict[str, Any]]()
    values: dict[str, Any] = {"url": "https://a.example/", "cursor": 0, "secret": "sealed", "created_at": now}
    for state in (EndpointState.ACTIVE, EndpointState.REMOVED):
        event, endpoint = Event(type="order.paid", subject="ord_1", created_at=now), Endpoint(**values, state=state)
        await add(service, event, endpoint)
        made.append({"endpoint_id": endpoint.id, "event_id": event.id})
    arrived, waits = made[0], Event(type="order.paid", subject="ord_1", created_at=now)
    await add(service, waits)
    delivery: dict[str, Any] = {"subject": "ord_1", "attempts": 1, "created_at": now}
    await add(
        service,
        Delivery(**arrived, **delivery, delivered_at=now),
        Delivery(**made[1], **delivery),
        Delivery(**delivery, endpoint_id=arrived["endpoint_id"], event_id=waits.id or 0),
    )
    await add(service, Attempt(**arrived, number=1, status=200, duration_ms=1, attempted_at=now))
    await settle(service, Kept.DELIVERIES, now)
    assert (len(await rows(service, Delivery)), len(await rows(service, Attempt))) == (3, 1)
    await over(service, Kept.DELIVERIES, now)
    (left,) = await rows(service, Delivery)
    assert isinstance(left, Delivery)
    assert left.event_id == waits.id, "what waits is kept as long as it takes"
    assert await rows(service, Attempt) == []


async def test_it_goes_on_while_there_is_more(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    member, now = await service.member(), service.clock()
    await add(
        service,
        *(Notice(member_id=member.id, kind=NoticeKind.ORDER, text="已成团", created_at=now) for _ in range(5)),
    )
    monkeypatch.setattr(retention, "BATCH", 2)
    assert await clear(service.state, now + Kept.NOTICES.age + MOMENT) >= 5
    assert await rows(service, Notice, member_id=member.id) == []


async def test_the_cashier_keeps_no_notification_that_was_delivered(service: Service) -> None:
    member = await service.member()
    order_id = (await member.open(await service.sale())).json()["order"]["id"]
    await member.pay(order_id, payer="bank-of-tea")
    kept = [row.body for row in await rows(service, SandboxCallback) if isinstance(row, SandboxCallback)]
    assert not [body for body in kept if "bank-of-tea" in body]


async def test_what_was_said_in_chats_is_known_for_a_month(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said to whom is gone as soon as it was; what waits stays."""
    played = Stage(service.clock)
    monkeypatch.setitem(PLATFORMS, played.name, played)
    sale, binding_id = await bound_sale(service)
    await opened(service, sale)
    await work(service, 8)
    await ask(service, binding_id, "said")
    await work(service, 2)
    assert len(played.heard) == 2
    at = service.clock()
    await settle(service, Kept.OUTGOING, at)
    await settle(service, Kept.ANNOUNCEMENTS, at)
    assert [len(await rows(service, model)) for model in (Outgoing, Announcement)] == [1, 1]
    await opened(service, sale)
    await worker.run_once(service.state, service.clock())
    await ask(service, binding_id, "waits")
    await over(service, Kept.OUTGOING, at)
    assert [len(await rows(service, model)) for model in (Outgoing, Announcement)] == [1, 1]
