"""Guards of what is said in chats: whose turn it is, what is told once, what is not told any more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from app.domain.errors import InvalidTerms
from app.domain.notices import PushState
from app.domain.robots import OutgoingState, earned_at, joined_line
from app.gateways.chat.platform import ChatMoved, ChatRefused, Destination
from app.gateways.chat.platforms import PLATFORMS
from app.gateways.chat.transport import ChatHttp
from app.models import Announcement, Binding, Community, Cursor, Outgoing, Push, Robot
from app.schemas.pushes import PushCreate
from app.services import announcements, pushes, robots
from app.services.announcements import FEED, follow
from app.services.robots import speak
from tests.gateways.test_chat_transport import Spy
from tests.guards.cuts import Cut, cuts
from tests.guards.cuts import notices as noticed
from tests.guards.world import World
from tests.promises.test_pushes import turn_to
from tests.promises.test_robots import Stage, ask, bind
from tests.service import Sale

DOMAIN, NEWS, ROBOTS, PUSHES = (
    *("app.domain.robots", "app.services.announcements"),
    *("app.services.robots", "app.services.pushes"),
)
ANY_STATE = "dict.fromkeys(OutgoingState, frozenset(OutgoingState))"
LATER = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Chat:
    """A chat of a community that is never quiet, on a platform that does as it is told."""

    world: World
    stage: Stage
    community_id: str
    id: str

    async def ask(self, *texts: str) -> None:
        """Have somebody answered in private."""
        for text in texts:
            await ask(self.world.service, self.id, text, to=Destination(text))

    async def speak(self) -> bool:
        return await speak(self.world.state, self.id, self.world.service.clock())

    async def robot(self, **values: Any) -> Robot:
        """The robot as it is now, which has spoken; with these values set past all rules."""
        async with self.world.database.transaction() as session:
            row = await session.get_one(Robot, self.id)
            for name, value in values.items():
                setattr(row, name, value)
            session.add(row)
        return row

    async def outgoing(self) -> list[Outgoing]:
        async with self.world.database.snapshot() as session:
            found = await session.exec(_of(Outgoing, self.id))
            return sorted(found.all(), key=lambda row: row.id)

    async def heard_of(self) -> list[Announcement]:
        async with self.world.database.snapshot() as session:
            return list((await session.exec(_of(Announcement, self.id))).all())

    async def sale(self) -> Sale:
        return await self.world.service.sale(community_id=self.community_id, group_size=8)

    async def failures(self) -> int:
        """How often operators were told that something is wrong."""
        return await self.world.count("events WHERE type = 'binding.failing' AND subject = :id", id=self.id)


def _of(model: Any, binding_id: str) -> Any:
    return select(model).where(model.binding_id == binding_id)


@asynccontextmanager
async def staged(world: World) -> AsyncIterator[Stage]:
    stage = Stage(world.service.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLATFORMS, stage.name, stage)
        yield stage


async def chat(world: World, stage: Stage, **terms: Any) -> Chat:
    made = await world.service.community(None, **terms)
    return Chat(world, stage, made["id"], await bind(world.service, made["id"], chat_id=f"chat-of-{made['id']}"))


async def catch_up(world: World) -> None:
    while await follow(world.state, world.service.clock()):
        pass


async def open_group(chat: Chat) -> None:
    reply = await chat.world.me.open(await chat.sale())
    assert reply.status_code == 201, reply.text


@noticed(*cuts(f"{DOMAIN}.joined_line", "joined == 0"))
async def nobody_who_joined_is_not_counted(_: World) -> None:
    assert joined_line(0, LATER, LATER, zh=True) is None


@noticed(Cut(f"{NEWS}.follow", "col(Cursor.event_id) == after", "True"))
async def two_who_follow_count_everybody_once(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        await catch_up(world)
        await open_group(here)
        async with world.meanwhile("UPDATE cursors", follow(world.state, world.service.clock())):
            await follow(world.state, world.service.clock())
        (heard,) = await here.heard_of()
        assert (heard.joined, heard.version) == (1, 1)


@noticed(Cut(f"{NEWS}.follow", "col(Cursor.name) == FEED", "True"))
async def who_follows_moves_nobody_else_on(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        await catch_up(world)
        at = (await world.row(Cursor, FEED)).event_id
        async with world.database.transaction() as session:
            session.add(Cursor(name=here.id, event_id=at))
        await open_group(here)
        await catch_up(world)
        assert (await world.row(Cursor, here.id)).event_id == at


@noticed(*cuts(f"{NEWS}._note", "not noticed"))
async def what_nobody_hears_of_is_passed_over(world: World) -> None:
    async with staged(world) as stage:
        await chat(world, stage)
        await catch_up(world)
        await world.held()
        await catch_up(world)


@noticed(
    Cut(f"{NEWS}.put_off", "col(Announcement.binding_id) == binding_id", "True"),
    Cut(f"{NEWS}.put_off", "col(Announcement.due_at) < until", "True"),
    Cut(f"{NEWS}.forget_news", "col(Announcement.binding_id) == binding_id", "True"),
)
async def what_is_put_off_or_forgotten_is_one_chats_own(world: World) -> None:
    async with staged(world) as stage:
        here, there = await chat(world, stage), await chat(world, stage)
        for one in (here, there):
            await open_group(one)
        await catch_up(world)
        soon = world.service.clock() + timedelta(hours=1)
        async with world.work() as work:
            await announcements.put_off(work, here.id, LATER)
            await announcements.put_off(work, here.id, soon)
            await announcements.forget_news(work, (await chat(world, stage)).id)
        assert [row.due_at for row in await here.heard_of()] == [LATER]
        assert all(row.due_at is not None and row.due_at < soon for row in await there.heard_of())
        async with world.work() as work:
            await announcements.forget_news(work, there.id)
        assert len(await here.heard_of()) == 1


@noticed(*cuts(f"{ROBOTS}._take_turn", "binding.state != BindingState.ACTIVE"))
async def a_binding_that_was_removed_has_no_turn(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        await here.ask("a", "b")
        assert (await world.service.ops("DELETE", f"bindings/{here.id}")).is_success
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(robots, "BATCH", 1)
            assert not await here.speak()


@noticed(*cuts(f"{ROBOTS}._take_turn", "not due"))
async def who_has_nothing_to_say_takes_no_turn(world: World) -> None:
    async with staged(world) as stage:
        assert not await (await chat(world, stage)).speak()


@noticed(Cut(f"{ROBOTS}._take_turn", "col(Robot.earned_at) == robot.earned_at", "True"))
async def every_message_is_counted(world: World) -> None:
    """Another worker says something between reading how much was said and saying more."""
    async with staged(world) as stage:
        here = await chat(world, stage)
        await here.ask("a", "b", "c")
        began = world.service.clock()
        await here.speak()
        async with world.meanwhile("UPDATE robots", here.speak()):
            await here.speak()
        robot = await here.robot()
        least = began
        for _ in stage.heard:
            least = earned_at(least, began, stage.per_minute)
        assert robot.earned_at >= least


@noticed(
    Cut(f"{ROBOTS}._take_turn", "col(Robot.next_at) <= work.now", "True"),
    Cut(f"{ROBOTS}._take_turn", "or_(col(Robot.busy_until).is_(None), col(Robot.busy_until) <= work.now)", "True"),
    *cuts(f"{ROBOTS}._take_turn", "taken.first() is None"),
)
async def who_has_to_wait_says_nothing(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        await here.ask("a", "b")
        assert await here.speak()
        await here.robot(next_at=LATER)
        assert not await here.speak()
        await here.robot(next_at=world.service.clock(), busy_until=LATER)
        assert not await here.speak()
        await here.robot(busy_until=world.service.clock())
        assert await here.speak()


@noticed(
    Cut(f"{ROBOTS}._take_turn", "col(Robot.binding_id) == binding_id", "True"),
    Cut(f"{ROBOTS}._release", "col(Robot.binding_id) == turn.binding.id", "True"),
)
async def who_speaks_leaves_other_robots_alone(world: World) -> None:
    async with staged(world) as stage:
        here, there = await chat(world, stage), await chat(world, stage)
        for one in (here, there):
            await one.ask("a")
            await one.speak()
        robot = await here.robot()
        await there.robot(earned_at=robot.earned_at, next_at=robot.next_at)
        await here.ask("b")
        until: list[datetime | None] = []

        async def look() -> None:
            until.append((await there.robot()).busy_until)
            await there.robot(busy_until=(await here.robot()).busy_until)

        stage.meanwhile = look
        await here.speak()
        assert until == [None]
        assert (await there.robot()).busy_until is not None


@noticed(Cut(f"{ROBOTS}._release", "col(Robot.busy_until) == turn.until", "True"))
async def who_was_too_slow_does_not_give_back_what_another_has(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        await here.ask("a")

        async def take() -> None:
            await here.robot(busy_until=LATER)

        stage.meanwhile = take
        await here.speak()
        assert (await here.robot()).busy_until == LATER


@noticed(
    Cut(f"{ROBOTS}._keep_quiet", "col(Outgoing.binding_id) == binding.id", "True"),
    Cut(f"{ROBOTS}._keep_quiet", "col(Outgoing.push_id).is_not(None)", "True"),
    Cut(f"{ROBOTS}._keep_quiet", "col(Outgoing.state) == OutgoingState.QUEUED", "True"),
)
async def the_night_puts_off_what_a_chat_was_not_asked(world: World) -> None:
    await turn_to(world.service, "23:00")
    night = world.service.clock()
    async with staged(world) as stage:
        here, there = await chat(world, stage, quiet_from="22:00", quiet_to="08:00"), await chat(world, stage)
        for one in (here, there):
            sent, waits = [await queue_push(world, one) for _ in range(2)]
            async with world.work() as work:
                await robots._drop(work, await work.session.get_one(Outgoing, sent), "sent")
            assert sent < waits
        await here.ask("a", "b")
        await here.speak()
        quiet = [row.due_at > night + timedelta(hours=8) for row in await here.outgoing()]
        assert quiet == [False, True, False, False]
        assert all(row.due_at <= world.service.clock() for row in await there.outgoing())


async def queue_push(world: World, chat: Chat) -> str:
    """A broadcast that waits for its turn."""
    async with world.database.transaction() as session:
        push = Push(
            community_id=chat.community_id,
            sender_id=world.me.id,
            text="龙井",
            state=PushState.SENDING,
            cost=10,
            recipients=10,
            to_chats=True,
            sends_at=world.service.clock(),
            created_at=world.service.clock(),
            request_key=f"{chat.id} {world.service.clock()}",
            request_hash="",
        )
        session.add(push)
        await session.flush()
    async with world.work() as work:
        community = await work.session.get_one(Community, chat.community_id)
        await robots.tell_chats(world.state, work, push, community)
    return next(row.id for row in await chat.outgoing() if row.push_id == push.id)


async def take_back(world: World, chat: Chat) -> None:
    """What waits is withdrawn."""
    async with world.work() as work:
        for row in await chat.outgoing():
            await robots.withdraw(work, row.push_id or "")


@noticed(
    Cut(f"{ROBOTS}._keep_said", "work.advance(OUTGOING_TRANSITIONS", f"work.advance({ANY_STATE}"),
    Cut(f"{ROBOTS}._follow_chat", "col(Outgoing.state) == OutgoingState.QUEUED", "True"),
)
async def what_was_withdrawn_while_it_was_said_stays_so(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        stage.meanwhile = lambda: take_back(world, here)
        for outcome in ([], [ChatMoved("moved", f"new-{here.id}")]):
            await queue_push(world, here)
            stage.outcomes += outcome
            await here.speak()
        assert [row.reason for row in await here.outgoing()] == ["withdrawn"] * 2


@noticed(Cut(f"{ROBOTS}._drop", "work.advance(OUTGOING_TRANSITIONS", f"work.advance({ANY_STATE}"))
async def what_was_said_meanwhile_is_not_withdrawn(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        await queue_push(world, here)
        async with world.meanwhile("UPDATE outgoing", here.speak()):
            await take_back(world, here)
        assert [row.state for row in await here.outgoing()] == [OutgoingState.SENT]


@noticed(
    *cuts(
        f"{ROBOTS}._keep_refusal",
        "isinstance(error, ChatMoved) and await _follow_chat(state, work, turn, error.chat_id)",
        "turn.news is not None and turn.news.edits is not None",
    )
)
async def what_can_be_said_elsewhere_is_not_given_up(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        stage.outcomes.append(ChatMoved("moved", f"new-{here.id}"))
        await here.ask("a")
        await here.speak()
        assert [row.state for row in await here.outgoing()] == [OutgoingState.QUEUED]
        assert (await world.row(Binding, here.id)).chat_id == f"new-{here.id}"
        await here.speak()
        await open_group(here)
        for refused in ([], [ChatRefused("gone")]):
            await catch_up(world)
            world.service.clock.advance(100)
            stage.outcomes += refused
            assert await here.speak()
            assert (await world.me.open(await here.sale())).status_code == 201
            async with world.database.transaction() as session:
                for row in (await session.exec(_of(Announcement, here.id))).all():
                    row.since = row.due_at = world.service.clock()
                    session.add(row)
        assert await here.failures() == 0


@noticed(
    Cut(f"{ROBOTS}._show_failure", "col(Binding.last_error).is_(None)", "True"),
    *cuts(f"{ROBOTS}._show_failure", "begun.first() is not None"),
)
async def operators_are_told_once_that_something_is_wrong(world: World) -> None:
    async with staged(world) as stage:
        here = await chat(world, stage)
        stage.outcomes += [ChatRefused("one"), ChatRefused("two")]
        await here.ask("a", "b")
        assert [await here.speak() for _ in range(2)] == [True, True]
        assert await here.failures() == 1
        assert (await world.row(Binding, here.id)).last_error == "two"


@noticed(*cuts(f"{PUSHES}._check_links", "body.segment_id is not None and body.to_chats"))
async def a_segment_has_no_chat(world: World) -> None:
    body = {"name": "名单", "kind": "static", "member_ids": [world.me.id]}
    segment = (await world.service.ops("POST", "segments", body)).json()
    made = await world.service.community()
    async with world.database.snapshot() as session:
        for to_chats in (False, True):
            wish = PushCreate(text="龙井", segment_id=segment["id"], to_chats=to_chats)
            if to_chats:
                with pytest.raises(InvalidTerms):
                    await pushes._check_links(session, made["id"], wish)
            else:
                await pushes._check_links(session, made["id"], wish)


@noticed(
    *cuts(
        "app.gateways.chat.transport._Limited.handle_async_request",
        "url.scheme != 'https'",
        "url.host not in self._hosts",
        "url.port is not None",
        "url.userinfo",
    )
)
async def nothing_is_sent_anywhere_else(_: World) -> None:
    for address in ("http://a.com/", "https://b.com/", "https://a.com:81/", "https://me@a.com/"):
        spy = Spy()
        with pytest.raises(ChatRefused):
            await ChatHttp(transport=spy).to({"a.com"}).get(address)
        assert spy.asked == []
