"""Guards of broadcasts and the inbox: what a push may cost, whom it reaches how often, and when."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app.domain.errors import (
    CommunityNotFound,
    IdempotencyKeyReused,
    InvalidTerms,
    NoticeNotFound,
    PostNotFound,
    PushBudgetTooLow,
    PushNotFound,
    PushReachesNobody,
    SaleNotFound,
    SegmentNotFound,
)
from app.domain.notices import NoticeKind, PushWish
from app.domain.posts import PostKind
from app.models import Notice, Overflow, Post, Push
from app.schemas.pushes import PushCreate, PushPublic
from app.services import digests, notices, pushes
from tests.guards.cuts import Cut, cuts
from tests.guards.cuts import notices as noticed
from tests.guards.world import World
from tests.promises.test_pushes import community, earn, turn_to, wish
from tests.service import FLASH, Member

DOMAIN, PUSHES, DIGESTS, NOTICES = (
    *("app.domain.pushes", "app.services.pushes"),
    *("app.services.digests", "app.services.notices"),
)
ANY_PUSH = "dict.fromkeys(PushState, frozenset(PushState))"
NOTHING = "0" * 32
UNLOCKED = Cut("app.services.locks.lock_community", "_locking(", "(lambda statement, **_: statement)(")


async def led(world: World, value: int = 1000, members: tuple[Member, ...] = ()) -> str:
    """A new community of mine, with my friend unless others are named; it may speak a few times. We two have heard
    nothing yet today, whatever probes ran before.
    """
    async with world.database.engine.begin() as connection:
        heard = text("DELETE FROM notices WHERE member_id IN (:me, :friend)")
        await connection.execute(heard, {"me": world.me.id, "friend": world.friend.id})
    made = await community(world.service, world.me, list(members or (world.friend,)))
    await earn(world.service, made, value)
    return str(made["id"])


async def send(world: World, community_id: str, key: str | None = None, **body: Any) -> PushPublic:
    return await pushes.send_push(
        world.state, world.me.id, community_id, PushCreate(text="龙井", **body), key or uuid4().hex
    )


async def set_(world: World, table: str, id_: str, values: str) -> None:
    """Change a row past all rules."""
    async with world.database.engine.begin() as connection:
        await connection.execute(text(f"UPDATE {table} SET {values} WHERE id = :id"), {"id": id_})


async def told(world: World, push_id: str) -> int:
    return await world.count("notices WHERE push_id = :id", id=push_id)


async def deliver(world: World, push: PushPublic) -> bool:
    return await pushes.deliver(world.state, push.id, world.service.clock())


async def one_batch(world: World, push: PushPublic) -> bool:
    """Tell one member."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushes, "BATCH", 1)
        return await pushes._deliver_some(world.state, push.id)


@noticed(
    *cuts(f"{DOMAIN}.start_time", "wished < now", "wished > now + MAX_AHEAD"),
    *cuts(
        f"{PUSHES}._check_links",
        "post.community_id != community_id",
        "post.hidden_at",
        "post.removed_at",
        "found.first() is None",
        "body.segment_id is not None and await session.get(Segment, body.segment_id) is None",
    ),
    *cuts(f"{PUSHES}.send_push", "recipients == 0"),
)
async def a_push_is_of_what_there_is(world: World) -> None:
    made, other = await led(world), await led(world)
    now = world.service.clock()
    posts = [
        Post(
            community_id=where,
            author_id=world.me.id,
            kind=PostKind.TEXT,
            body="龙井",
            hidden_at=hidden_at,
            removed_at=removed_at,
            created_at=now,
            request_key=uuid4().hex,
        )
        for where, hidden_at, removed_at in (
            *((other, None, None), (made, now, None)),
            *((made, None, now), (made, None, None)),
        )
    ]
    ids = [post.id for post in posts]
    async with world.work() as work:
        work.session.add_all(posts)
    sale = await world.service.sale(**FLASH)
    draft = await world.service.sale(**FLASH, community_id=made, publish=False)
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        *(({"post_id": id_}, PostNotFound) for id_ in ids[:3]),
        *(({"sale_id": which.id}, SaleNotFound) for which in (sale, draft)),
        ({"segment_id": f"seg_{NOTHING}"}, SegmentNotFound),
        ({"sends_at": now - timedelta(seconds=1)}, InvalidTerms),
        ({"sends_at": now + timedelta(days=8)}, InvalidTerms),
    ]
    for body, refusal in wrong:
        with pytest.raises(refusal):
            await send(world, made, **body)
    assert await world.count("pushes WHERE community_id = :id", id=made) == 0
    await send(world, made, post_id=ids[3])
    async with world.database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE memberships SET push_wish = 'none' WHERE community_id = :id"), {"id": other}
        )
    with pytest.raises(PushReachesNobody):
        await send(world, other)


@noticed(*cuts(f"{PUSHES}._find", "push.community_id != community_id"))
async def a_push_is_of_its_community(world: World) -> None:
    push, other = await send(world, await led(world)), await led(world)
    for ask in (pushes.get_push, pushes.cancel_push):
        with pytest.raises(PushNotFound):
            await ask(world.state, world.me.id, other, push.id)


@noticed(*cuts(f"{PUSHES}._check_reader", "await session.get(Community, community_id) is None"))
async def operators_look_at_communities_there_are(world: World) -> None:
    with pytest.raises(CommunityNotFound):
        await pushes.list_pushes(world.state, None, f"com_{NOTHING}", None, 20)


@noticed(*cuts(f"{PUSHES}.send_push", "quote.cost > quote.budget"))
async def what_was_not_earned_is_not_spent(world: World) -> None:
    made = await led(world, 0)
    await send(world, made)
    with pytest.raises(PushBudgetTooLow):
        await send(world, made)
    assert await world.count("pushes WHERE community_id = :id", id=made) == 1


@noticed(UNLOCKED)
async def two_who_send_at_once_spend_it_once(world: World) -> None:
    made = await led(world, 0)
    rival = send(world, made)
    with pytest.raises(PushBudgetTooLow):
        async with world.meanwhile("INSERT INTO pushes", rival):
            await send(world, made)
    assert await world.count("pushes WHERE community_id = :id", id=made) == 1


@noticed(
    *cuts(f"{PUSHES}.send_push", "earlier.request_hash != request_hash", "made.first() is None"),
)
async def one_key_is_one_push(world: World) -> None:
    made, other, key = await led(world), await led(world), uuid4().hex
    push = await send(world, made, key)
    assert (await send(world, made, key)).id == push.id
    later = world.service.clock() + timedelta(hours=1)
    for where, body in ((other, {}), (made, {"sends_at": later})):
        with pytest.raises(IdempotencyKeyReused):
            await send(world, where, key, **body)
    again = uuid4().hex
    with pytest.raises(IdempotencyKeyReused):
        async with world.meanwhile("INSERT INTO pushes", send(world, other, again)):
            await send(world, made, again)
    assert await world.count("pushes WHERE request_key = :key", key=again) == 1


@noticed(
    *cuts(
        f"{PUSHES}._deliver_batch",
        "push.state not in DUE_STATES",
        down=(Cut(f"{PUSHES}._move_on", "col(Push.state) == PushState.SENDING", "True"),),
    )
)
async def what_was_sent_is_sent_no_more(world: World) -> None:
    push = await send(world, await led(world))
    assert await one_batch(world, push)
    await pushes.cancel_push(world.state, None, push.community_id, push.id)
    assert not await one_batch(world, push)
    assert await told(world, push.id) == 1


@noticed(*cuts(f"{PUSHES}._deliver_batch", "push.sends_at > work.now", "community.state != CommunityState.OPEN"))
async def nothing_is_sent_before_its_time_or_after_the_end(world: World) -> None:
    made = await led(world)
    push = await send(world, made, sends_at=world.service.clock() + timedelta(hours=1))
    await deliver(world, push)
    assert await told(world, push.id) == 0
    world.service.clock.advance(3601)
    await set_(world, "communities", made, "state = 'dissolved', dissolved_at = created_at")
    await deliver(world, push)
    assert await told(world, push.id) == 0
    assert (await world.row(Push, push.id)).state == "cancelled"


@noticed(*cuts(f"{PUSHES}._deliver_batch", "allowed > work.now"))
async def what_is_due_in_quiet_hours_waits(world: World) -> None:
    made = await led(world)
    await turn_to(world.service, "23:30")
    push = await send(world, made)
    await set_(world, "communities", made, "quiet_from = 1320, quiet_to = 480")
    world.service.clock.advance(3600)
    await deliver(world, push)
    assert await told(world, push.id) == 0
    await turn_to(world.service, "08:00:01")
    await deliver(world, push)
    assert await told(world, push.id) == 2


@noticed(
    Cut(f"{PUSHES}._begin", "work.advance(PUSH_TRANSITIONS", f"work.advance({ANY_PUSH}"),
    *cuts(f"{PUSHES}._begin", "await work.advance(PUSH_TRANSITIONS, push, PushState.SENDING) is None"),
    Cut(
        f"{PUSHES}._deliver_batch",
        "not await _begin(state, work, push, community)",
        "None is await _begin(state, work, push, community)",
        down=(Cut(f"{PUSHES}._move_on", "col(Push.state) == PushState.SENDING", "True"),),
    ),
)
async def a_push_that_is_taken_back_as_it_begins_is_not_sent(world: World) -> None:
    push = await send(world, await led(world))
    async with world.unbroken():
        rival = pushes.cancel_push(world.state, world.me.id, push.community_id, push.id)
        async with world.meanwhile("UPDATE pushes", rival):
            await deliver(world, push)
    assert (await told(world, push.id), (await world.row(Push, push.id)).state) == (0, "cancelled")


@noticed(
    Cut(f"{PUSHES}._move_on", "col(Push.sent_to) == push.sent_to", "True"),
    Cut(f"{PUSHES}._deliver_batch", "not await _move_on(", "None is await _move_on("),
)
async def two_workers_tell_a_member_once(world: World) -> None:
    push = await send(world, await led(world))
    await one_batch(world, push)
    async with world.meanwhile("UPDATE pushes", one_batch(world, push)):
        assert not await one_batch(world, push)
    await deliver(world, push)
    row = await world.row(Push, push.id)
    assert (await told(world, push.id), row.delivered, row.state) == (2, 2, "sent")


@noticed(Cut(f"{PUSHES}._move_on", "col(Push.state) == PushState.SENDING", "True"))
async def a_push_that_is_stopped_goes_no_further(world: World) -> None:
    push = await send(world, await led(world))
    await one_batch(world, push)
    rival = pushes.cancel_push(world.state, None, push.community_id, push.id)
    async with world.meanwhile("UPDATE pushes", rival):
        await one_batch(world, push)
    assert await told(world, push.id) == 1


@noticed(
    Cut(f"{PUSHES}._end", "PUSH_TRANSITIONS", ANY_PUSH),
    *cuts(f"{PUSHES}._end", "moved is not None"),
)
async def what_has_ended_stays_as_it_is(world: World) -> None:
    async with world.unbroken():
        push = await send(world, await led(world))
        await deliver(world, push)
        for _ in range(2):
            await pushes.cancel_push(world.state, world.me.id, push.community_id, push.id)
    assert (await world.row(Push, push.id)).state == "sent"


@noticed(
    *cuts(f"{PUSHES}._take_places", "len(told.all()) < len(places)"),
)
async def a_place_that_was_taken_meanwhile_is_not_the_members(world: World) -> None:
    reader = await world.service.member()
    first, second = [await send(world, await led(world, members=(reader,))) for _ in range(2)]
    async with world.meanwhile("INSERT INTO notices", deliver(world, first)):
        await deliver(world, second)
    assert await world.count("notices WHERE member_id = :id AND kind = 'push'", id=reader.id) == 2


@noticed(Cut(f"{PUSHES}._deliver_batch", "and number < DAILY_CAP", "and True"))
async def nobody_is_told_more_than_the_cap(world: World) -> None:
    reader = await world.service.member()
    sent = [await send(world, await led(world, members=(reader,))) for _ in range(5)]
    await asyncio.gather(*(deliver(world, push) for push in sent))
    assert await world.count("notices WHERE member_id = :id", id=reader.id) == 3
    assert await world.count("overflows WHERE member_id = :id", id=reader.id) == 2


async def a_place_of_the_day_is_had_once(world: World) -> None:
    """For `test_last_lines`: nobody looks at what was taken, and whoever finds it taken goes on."""
    reader = await world.service.member()
    first, second = [await send(world, await led(world, members=(reader,))) for _ in range(2)]
    for push in (first, second):
        await deliver(world, push)
    assert await world.count("notices WHERE member_id = :id AND number = 1", id=reader.id) == 1


async def a_push_is_told_to_a_member_once(world: World) -> None:
    """For `test_last_lines`: the push begins anew."""
    push = await send(world, await led(world))
    await deliver(world, push)
    await set_(world, "pushes", push.id, "state = 'sending', sent_at = NULL, sent_to = ''")
    with pytest.raises(Exception, match="uq_notices_push"):
        await deliver(world, push)
    assert await told(world, push.id) == 2


@noticed(
    *cuts(f"{NOTICES}.read_notices", "newest.member_id != member_id"),
    Cut(f"{NOTICES}.read_notices", "col(Notice.member_id) == member_id", "True"),
    Cut(f"{NOTICES}.read_notices", "col(Notice.id) <= notice_id", "True"),
    Cut(f"{NOTICES}.read_notices", "col(Notice.read_at).is_(None)", "True"),
)
async def one_reads_ones_own_notices(world: World) -> None:
    async with world.work() as work:
        for member in (world.friend, world.me, world.me, world.me):
            notices.notify(work, [member.id], NoticeKind.ANSWER, "龙井")
        others, first, second, third = (row.id for row in work.notices)
    await notices.read_notices(world.state, world.me.id, first)
    read_at = (await world.row(Notice, first)).read_at
    await notices.read_notices(world.state, world.me.id, second)
    rows = [await world.row(Notice, id_) for id_ in (first, second, third, others)]
    assert [row.read_at is None for row in rows] == [False, False, True, True]
    assert rows[0].read_at == read_at
    with pytest.raises(NoticeNotFound):
        await notices.read_notices(world.state, world.me.id, others)


async def left_over(world: World) -> tuple[list[Member], PushPublic]:
    """Two members whose digest a push has gone to."""
    readers = await world.service.members(2)
    made = await world.service.community(world.me)
    for reader in readers:
        await reader.enrol(made)
        await wish(world.service, reader, made, PushWish.DIGEST)
    push = await send(world, made["id"])
    await deliver(world, push)
    return readers, push


async def digest(world: World, *members: Member) -> None:
    async with world.work() as work:
        await digests._send(work, [member.id for member in members])


@noticed(
    Cut(f"{DIGESTS}._send", "col(Overflow.member_id).in_(member_ids)", "True"),
    Cut(f"{DIGESTS}._send", "col(Overflow.due_at) <= work.now", "True"),
)
async def a_digest_is_of_what_is_due_to_its_member(world: World) -> None:
    (reader, other), push = await left_over(world)
    await digest(world, reader)
    assert await world.count("overflows WHERE push_id = :id", id=push.id) == 2
    world.service.clock.advance(86_400)
    await digest(world, reader)
    assert await world.count("overflows WHERE push_id = :id", id=push.id) == 1
    await digest(world, other)
    digests_ = "notices WHERE kind = 'digest' AND member_id IN (:one, :two)"
    assert await world.count(digests_, one=reader.id, two=other.id) == 2


async def a_day_has_one_digest(world: World) -> None:
    """For `test_last_lines`: what is left over after the digest waits for the next day."""
    (reader, _), push = await left_over(world)
    world.service.clock.advance(86_400)
    await digest(world, reader)
    now = world.service.clock()
    async with world.work() as work:
        work.session.add(Overflow(member_id=reader.id, push_id=push.id, created_at=now, due_at=now))
    await digest(world, reader)
    assert await world.count("notices WHERE kind = 'digest' AND member_id = :id", id=reader.id) == 1
    waiting = await world.row(Overflow, (reader.id, push.id))
    assert waiting.due_at.astimezone(ZoneInfo("Asia/Shanghai")).hour == 18
