"""What is said in chats: as often as the platform allows, true when it is said, and not at night."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, update
from sqlmodel import col, select

from app.demo.platforms.telegram import TelegramStandIn
from app.domain.groups import GroupState
from app.domain.orders import OrderState
from app.domain.robots import (
    ANSWER_LIFE,
    BURST,
    EDIT_WITHIN,
    GAP,
    LEASE,
    LISTED_GROUPS,
    PACE,
    SETTLE,
    OutgoingState,
)
from app.gateways.chat.platform import (
    Card,
    ChatMoved,
    ChatRefused,
    ChatUnavailable,
    CredentialField,
    Credentials,
    Destination,
    HookRequest,
    Inbound,
)
from app.gateways.chat.platforms import PLATFORMS
from app.models import Announcement, Event, Group, Member, Offer, Order, Outgoing, Robot, Seat, new_id
from app.services import robots
from app.services.announcements import follow
from app.services.robots import answer
from app.services.transactions import event_values, transaction
from app.workers import pushes as pushes_worker
from app.workers import robots as worker
from tests.promises.chat import bind as bind_chat
from tests.promises.chat import playing
from tests.promises.test_pushes import community, earn, push, turn_to
from tests.service import Clock, Sale, Service

CHAT = "room"
KEY = "a-key-that-nobody-may-see"
QUIET = {"quiet_from": "22:00", "quiet_to": "08:00"}
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Heard:
    """Something the platform was asked to say."""

    at: datetime
    to: Destination
    card: Card
    edits: str | None = None

    @property
    def text(self) -> str:
        return "\n".join((self.card.title, *self.card.lines))


@dataclass(slots=True)
class Stage:
    """A platform that does as it is told, and remembers what it was asked."""

    clock: Clock
    heard: list[Heard] = field(default_factory=list)
    outcomes: list[Exception] = field(default_factory=list)
    """What comes of the next calls, one each; then all is well."""
    tried: list[datetime] = field(default_factory=list)
    meanwhile: Callable[[], Any] | None = None
    name: str = "slack"
    credentials: tuple[CredentialField, ...] = (CredentialField("key", "a key"),)
    hosts: frozenset[str] = frozenset({"example.com"})
    per_minute: int = 20
    can_edit: bool = True

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        raise NotImplementedError

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        assert http
        await self._hear(credentials, Heard(self.clock(), to, card))
        return f"message-{len(self.heard)}"

    async def edit(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, message_id: str, card: Card
    ) -> None:
        assert http
        await self._hear(credentials, Heard(self.clock(), to, card, edits=message_id))

    async def _hear(self, credentials: Credentials, heard: Heard) -> None:
        assert credentials == {"key": (KEY,)}
        self.tried.append(heard.at)
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.outcomes:
            raise self.outcomes.pop(0)
        self.heard.append(heard)


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes but what a test lets pass: however slow the machine is, a minute has as many turns."""
    began = datetime.now(UTC)
    monkeypatch.setattr(Clock, "__call__", lambda clock: began + timedelta(seconds=clock.offset_seconds))


@pytest.fixture
async def stage(service: Service, monkeypatch: pytest.MonkeyPatch) -> Stage:
    played = Stage(service.clock)
    monkeypatch.setitem(PLATFORMS, played.name, played)
    return played


async def bind(service: Service, community_id: str, **terms: Any) -> str:
    """A chat bound to a community."""
    body = {"platform": "slack", "community_id": community_id, "credentials": {"key": KEY}, "chat_id": CHAT}
    reply = await service.ops("POST", "bindings", body | terms)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


async def bound_sale(service: Service, **terms: Any) -> tuple[Sale, str]:
    """A sale of a community without quiet hours, and a chat bound to it."""
    made = await service.community()
    binding_id = await bind(service, made["id"])
    return await service.sale(community_id=made["id"], **({"group_size": 8} | terms)), binding_id


async def work(service: Service, seconds: float = 0) -> None:
    """Have what is due said, again and again for so many seconds."""
    for _ in range(round(seconds / 2)):
        await worker.run_once(service.state, service.clock())
        service.clock.advance(2)
    await worker.run_once(service.state, service.clock())


async def ask(service: Service, binding_id: str, *texts: str, to: Destination | None = None) -> None:
    """Queue answers."""
    async with transaction(service.state, service.clock()) as transaction_:
        for text in texts:
            answer(service.state, transaction_, binding_id, to or Destination(CHAT), Card(text, ("yes",)))


async def outgoing(service: Service) -> list[Outgoing]:
    async with service.state.database.snapshot() as session:
        return list((await session.exec(select(Outgoing).order_by(col(Outgoing.id)))).all())


async def shown(service: Service, binding_id: str) -> dict[str, Any]:
    reply = await service.ops("GET", f"bindings/{binding_id}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def events(service: Service, type_: str) -> list[Event]:
    async with service.state.database.snapshot() as session:
        return list((await session.exec(select(Event).where(Event.type == type_))).all())


async def opened(service: Service, sale: Sale, joiners: int = 0) -> str:
    """A group with so many besides its leader."""
    reply = await (await service.member("leader")).open(sale)
    assert reply.status_code == 201, reply.text
    group_id = str(reply.json()["group"]["id"])
    await join(service, sale, group_id, joiners)
    return group_id


async def join(service: Service, sale: Sale, group_id: str, count: int = 1) -> list[str]:
    """Have so many join; their orders."""
    orders = []
    for _ in range(count):
        reply = await (await service.member("joiner")).join(sale, group_id)
        assert reply.status_code == 201, reply.text
        orders.append(str(reply.json()["order"]["id"]))
    return orders


async def test_a_chat_hears_how_a_group_grows_in_one_message(service: Service, stage: Stage) -> None:
    sale, _ = await bound_sale(service)
    group_id = await opened(service, sale, 2)
    await work(service)
    assert stage.heard == []  # more may come
    await work(service, 6)
    (first,) = stage.heard
    assert first.to == Destination(CHAT)
    assert "过去 1 分钟 3 人参团" in first.text
    assert "3/8" in first.text
    await join(service, sale, group_id, 2)
    await work(service, PACE.total_seconds() - 10)
    assert len(stage.heard) == 1
    await work(service, 15)
    second = stage.heard[1]
    assert (len(stage.heard), second.edits) == (2, "message-1")
    assert "2 人参团" in second.text
    assert "5/8" in second.text
    await work(service, 200)
    assert len(stage.heard) == 2


async def test_what_is_said_is_true_when_it_is_said(service: Service, stage: Stage) -> None:
    """Somebody joins after the news was due, and while it is being sent."""
    sale, _ = await bound_sale(service)
    group_id = await opened(service, sale)
    await worker.run_once(service.state, service.clock())
    service.clock.advance(SETTLE.total_seconds())
    await join(service, sale, group_id)

    async def join_meanwhile() -> None:
        stage.meanwhile = None
        await join(service, sale, group_id)
        await announce()

    async def announce() -> None:
        await follow(service.state, service.clock())

    stage.meanwhile = join_meanwhile
    await worker.run_once(service.state, service.clock())
    assert "2/8" in stage.heard[-1].text
    await work(service, PACE.total_seconds() + 5)
    assert "3/8" in stage.heard[-1].text
    assert "1 人参团" in stage.heard[-1].text


async def test_what_matters_is_told_at_once_and_anew(service: Service, stage: Stage) -> None:
    sale, _ = await bound_sale(service, group_size=2)
    leader = await service.member()
    order = (await leader.open(sale)).json()
    group_id = order["group"]["id"]
    await work(service, 10)
    await join(service, sale, group_id)
    await work(service, 8)
    assert stage.heard[-1].edits is None
    assert "已满" in stage.heard[-1].text
    assert len(stage.heard) == 2
    await leader.pay(order["order"]["id"])
    await work(service, PACE.total_seconds() + 10)
    assert stage.heard[-1].edits == "message-2"


async def test_a_group_that_fails_is_told_once_whatever_is_refunded_later(service: Service, stage: Stage) -> None:
    sale, _ = await bound_sale(service)
    leader = await service.member()
    order = (await leader.open(sale)).json()
    await leader.pay(order["order"]["id"])
    await work(service, 10)
    service.clock.advance(3700)
    for _ in range(3):
        await service.work()
        service.clock.advance(20)
    await work(service, 120)
    assert (await leader.order(order["order"]["id"]))["state"] == OrderState.REFUNDED
    assert ["未成团" in heard.text for heard in stage.heard] == [False, True]


async def test_a_message_that_is_old_or_gone_is_not_changed(service: Service, stage: Stage) -> None:
    sale, _ = await bound_sale(service)
    group_id = await opened(service, sale)
    await work(service, 10)
    stage.outcomes.append(ChatRefused("message not found"))
    await join(service, sale, group_id)
    await work(service, PACE.total_seconds() + 10)
    assert [heard.edits for heard in stage.heard] == [None, None]
    assert "2/8" in stage.heard[-1].text
    assert await events(service, "binding.failing") == []
    service.clock.advance(EDIT_WITHIN.total_seconds())
    await join(service, sale, group_id)
    await work(service, 10)
    assert [heard.edits for heard in stage.heard] == [None, None, None]


async def test_many_groups_are_one_message(service: Service, stage: Stage) -> None:
    sale, _ = await bound_sale(service)
    for _ in range(LISTED_GROUPS + 2):
        await opened(service, sale)
    await work(service, SETTLE.total_seconds() + 120)
    (heard,) = stage.heard
    assert heard.card.title == f"{LISTED_GROUPS + 2} 个团有新进展"
    assert heard.text.count("1/8") == LISTED_GROUPS
    assert heard.card.lines[-1] == "+2"
    assert "12 人参团" in heard.text


async def test_a_few_groups_are_told_one_after_the_other(service: Service, stage: Stage) -> None:
    sale, _ = await bound_sale(service)
    for _ in range(3):
        await opened(service, sale)
    await work(service, SETTLE.total_seconds() + 120)
    assert len({heard.card.title for heard in stage.heard}) == 3
    assert [heard.edits for heard in stage.heard] == [None] * 3
    between = [late.at - early.at for early, late in zip(stage.heard, stage.heard[1:], strict=False)]
    assert all(pause >= GAP for pause in between)


async def test_a_chat_hears_only_of_what_is_its_own(service: Service, stage: Stage) -> None:
    """Not of other communities, of what was before it was bound, nor of who buys alone."""
    made = await service.community()
    sale = await service.sale(community_id=made["id"], group_size=8)
    before = await opened(service, sale)
    service.clock.advance(1)
    await bind(service, made["id"])
    await opened(service, await service.sale(group_size=8))
    alone = await service.sale(community_id=made["id"], kind="flash", group_size=1, group_ttl_seconds=None)
    assert (await (await service.member()).buy(alone)).status_code == 201
    await work(service, 30)
    assert stage.heard == []
    await join(service, sale, before)
    await work(service, 30)
    assert len(stage.heard) == 1
    assert "2/8" in stage.heard[0].text
    assert "1 人参团" in stage.heard[0].text


async def test_a_sale_of_several_communities_is_told_in_each(service: Service, stage: Stage) -> None:
    other = await service.community()
    sale, _ = await bound_sale(service, community_ids=[other["id"]])
    await bind(service, other["id"], chat_id="other", language="en")
    await opened(service, sale)
    await work(service, 20)
    assert {heard.to.chat_id for heard in stage.heard} == {CHAT, "other"}
    assert any("1 joined in the last minute" in heard.text for heard in stage.heard)


async def test_the_night_is_quiet_and_the_morning_has_it_in_one(service: Service, stage: Stage) -> None:
    await turn_to(service, "21:30")
    made = await service.community(None, **QUIET)
    binding_id = await bind(service, made["id"])
    sale = await service.sale(community_id=made["id"], group_size=8, group_ttl_seconds=80_000)
    first = await opened(service, sale)
    await work(service, 10)
    assert len(stage.heard) == 1
    await turn_to(service, "23:00")
    await join(service, sale, first)
    await opened(service, sale)
    await work(service, 30)
    assert len(stage.heard) == 1
    await ask(service, binding_id, "awake")
    await work(service)
    assert stage.heard[-1].card.title == "awake"
    await turn_to(service, "07:58")
    await work(service, 60)
    assert len(stage.heard) == 2
    await turn_to(service, "08:00")
    await work(service, 100)
    assert len(stage.heard) == 3
    assert stage.heard[-1].card.title == "2 个团有新进展"
    assert "2/8" in stage.heard[-1].text
    assert "新加入 2 人" in stage.heard[-1].text


async def test_an_answer_goes_to_who_asked_and_nothing_of_it_is_kept(service: Service, stage: Stage) -> None:
    made = await service.community(None, **QUIET)
    binding_id = await bind(service, made["id"])
    to = Destination("somebody", reply_token="token-7", only_to="them")
    await ask(service, binding_id, "a link for you", to=to)
    (row,) = await outgoing(service)
    assert not {"link", "token", "somebody"} & set(row.content.split())
    assert all(word not in row.content for word in ("link", "token-7", "somebody"))
    await work(service)
    (heard,) = stage.heard
    assert (heard.to, heard.card) == (to, Card("a link for you", ("yes",)))
    (row,) = await outgoing(service)
    assert (row.state, row.content) == (OutgoingState.SENT, "")


async def test_answers_go_before_news_but_not_for_ever(service: Service, stage: Stage) -> None:
    sale, binding_id = await bound_sale(service)
    stage.per_minute = 4  # one in a row
    await opened(service, sale)
    await worker.run_once(service.state, service.clock())
    service.clock.advance(SETTLE.total_seconds())
    for number in range(30):
        await ask(service, binding_id, f"answer {number}", to=Destination(f"private {number}"))
        await work(service, 5)
    heard = [(one.at, one.card.title.startswith("answer")) for one in stage.heard]
    news = [number for number, (_, is_answer) in enumerate(heard) if not is_answer]
    assert news == [4]  # each has its turn after 17.5 seconds, and news waits for a minute


async def test_where_many_ask_they_get_one_answer(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    for number in range(BURST + 1):
        await ask(service, binding_id, f"{number}", to=Destination(CHAT, reply_token=f"token {number}"))
    alone = Destination(CHAT, only_to="one")
    await ask(service, binding_id, "private", to=alone)
    await ask(service, binding_id, "elsewhere", to=Destination("elsewhere"))
    await work(service)
    assert stage.heard[0].card.title == f"{BURST + 1} 条回复"
    assert stage.heard[0].card.lines[0] == "0: yes"
    assert stage.heard[0].to == Destination(CHAT, reply_token=f"token {BURST}")
    await work(service, 20)
    assert [heard.to for heard in stage.heard[1:]] == [alone, Destination("elsewhere")]
    assert {row.state for row in await outgoing(service)} == {OutgoingState.SENT}


async def test_an_answer_that_is_late_is_not_given(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    await ask(service, binding_id, "late")
    service.clock.advance(ANSWER_LIFE.total_seconds())
    await work(service)
    assert stage.heard == []
    (row,) = await outgoing(service)
    assert (row.state, row.reason, row.content) == (OutgoingState.DROPPED, "too late", "")


async def test_what_a_platform_refuses_is_dropped_and_shown_to_operators(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    stage.outcomes += [ChatRefused("the robot is not in the chat"), ChatRefused("the robot was stopped")]
    await ask(service, binding_id, "one", to=Destination("a"))
    await ask(service, binding_id, "two", to=Destination("b"))
    await work(service, 5)
    assert stage.heard == []
    assert [row.reason for row in await outgoing(service)] == [
        "the robot is not in the chat",
        "the robot was stopped",
    ]
    assert (await shown(service, binding_id))["last_error"] == "the robot was stopped"
    (event,) = await events(service, "binding.failing")
    assert (event.subject, event.data) == (binding_id, {"reason": "the robot is not in the chat"})
    await ask(service, binding_id, "three")
    await work(service, 10)
    assert [heard.card.title for heard in stage.heard] == ["three"]
    assert (await shown(service, binding_id))["last_error"] is None
    stage.outcomes.append(ChatRefused("again"))
    await ask(service, binding_id, "four")
    await work(service, 10)
    assert len(await events(service, "binding.failing")) == 2


async def test_a_platform_that_is_away_is_asked_again_later_and_later(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    stage.outcomes += [ChatUnavailable("timed out")] * 4
    await ask(service, binding_id, "at last")
    await work(service, 60)
    assert [heard.card.title for heard in stage.heard] == ["at last"]
    waits = [late - early for early, late in zip(stage.tried, stage.tried[1:], strict=False)]
    for wait, least in zip(waits, (2, 4, 8, 16), strict=True):
        assert timedelta(seconds=least) <= wait <= timedelta(seconds=least + 3)
    assert [event.data["reason"] for event in await events(service, "binding.failing")] == ["timed out"]
    assert (await shown(service, binding_id))["last_error"] is None


async def test_a_platform_that_wants_to_be_left_alone_is(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    stage.outcomes.append(ChatUnavailable("too many", retry_after=90))
    await ask(service, binding_id, "one")
    await work(service, 85)
    assert (len(stage.tried), stage.heard) == (1, [])
    await work(service, 10)
    assert [heard.card.title for heard in stage.heard] == ["one"]
    assert await events(service, "binding.failing") == []


async def test_what_goes_wrong_in_ways_unknown_says_nothing_of_it(
    service: Service, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await service.community()
    binding_id = await bind(service, made["id"])
    stage.outcomes.append(RuntimeError(f"https://example.com/send?key={KEY}"))
    await ask(service, binding_id, "one")
    await ask(service, binding_id, "two")
    await work(service, 5)
    assert [heard.card.title for heard in stage.heard] == ["two"]
    assert "RuntimeError" in caplog.text
    assert KEY not in caplog.text
    (event,) = await events(service, "binding.failing")
    assert KEY not in json.dumps(event.data)


async def test_a_chat_that_moves_hears_it_where_it_goes_on(service: Service, stage: Stage) -> None:
    sale, binding_id = await bound_sale(service)
    stage.outcomes.append(ChatMoved("moved", "room-2"))
    await ask(service, binding_id, "one")
    await work(service, 5)
    assert [heard.to.chat_id for heard in stage.heard] == ["room-2"]
    stage.outcomes.append(ChatMoved("moved", "room-3"))
    await opened(service, sale)
    await work(service, 30)
    assert [heard.to.chat_id for heard in stage.heard] == ["room-2", "room-3"]
    assert (await shown(service, binding_id))["chat_id"] == "room-3"
    assert await events(service, "binding.failing") == []


async def test_a_chat_that_moves_where_another_binding_speaks_hears_nothing(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    await bind(service, made["id"], chat_id="taken")
    stage.outcomes.append(ChatMoved("moved", "taken"))
    await ask(service, binding_id, "one")
    await work(service, 5)
    assert [row.reason for row in await outgoing(service)] == ["moved"]
    assert (await shown(service, binding_id))["chat_id"] == CHAT


async def test_a_binding_that_is_removed_says_nothing_more(service: Service, stage: Stage) -> None:
    sale, binding_id = await bound_sale(service)
    await opened(service, sale)
    await worker.run_once(service.state, service.clock())
    await ask(service, binding_id, "one")
    assert (await service.ops("DELETE", f"bindings/{binding_id}")).is_success
    await work(service, 20)
    assert stage.heard == []
    assert [(row.state, row.reason) for row in await outgoing(service)] == [
        (OutgoingState.DROPPED, "the binding was removed")
    ]


async def test_a_community_that_is_gone_has_no_news(service: Service, stage: Stage) -> None:
    sale, binding_id = await bound_sale(service)
    await opened(service, sale)
    await worker.run_once(service.state, service.clock())
    reply = await service.ops("POST", f"communities/{sale.body['community_id']}/dissolve")
    assert reply.is_success, reply.text
    await ask(service, binding_id, "it is gone")
    await work(service, 30)
    assert [heard.card.title for heard in stage.heard] == ["it is gone"]


async def test_who_dies_in_the_middle_leaves_it_to_the_next(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    await ask(service, binding_id, "one")
    assert await robots._take_turn(service.state, binding_id) is not None
    await work(service, LEASE.total_seconds() - 5)
    assert stage.heard == []
    await work(service, 10)
    assert [heard.card.title for heard in stage.heard] == ["one"]


async def test_workers_do_not_speak_at_once(service: Service, stage: Stage) -> None:
    made = await service.community()
    binding_id = await bind(service, made["id"])
    await ask(service, binding_id, "one", to=Destination("a"))
    await ask(service, binding_id, "two", to=Destination("b"))
    await asyncio.gather(*(robots.speak(service.state, binding_id, service.clock()) for _ in range(8)))
    await work(service, 3)
    assert sorted(heard.card.title for heard in stage.heard) == ["one", "two"]
    async with service.state.database.snapshot() as session:
        robot = await session.get_one(Robot, binding_id)
    assert robot.busy_until is None


async def test_a_push_goes_to_the_chats_of_its_community_once(service: Service, stage: Stage) -> None:
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    await earn(service, made, 1000)
    await bind(service, made["id"])
    await bind(service, made["id"], chat_id="second", language="en")
    sale = await service.sale(community_id=made["id"])
    sent = await push(owner, made, text="今晚八点\n明前龙井", to_chats=True, sale_id=sale.id)
    assert sent.status_code == 201, sent.text
    assert sent.json()["to_chats"] is True
    for _ in range(3):
        await pushes_worker.run_once(service.state, service.clock())
        await work(service, 3)
    assert {heard.to.chat_id for heard in stage.heard} == {CHAT, "second"}
    assert len(stage.heard) == 2
    first = next(heard for heard in stage.heard if heard.to.chat_id == CHAT)
    assert (first.card.title, first.card.lines) == (made["name"], ("今晚八点", "明前龙井"))
    assert [button.command for button in first.card.buttons] == ["活动"]
    await push(owner, made, text="not there")
    await pushes_worker.run_once(service.state, service.clock())
    await work(service, 3)
    assert len(stage.heard) == 2


async def test_a_push_for_a_segment_is_not_for_chats(service: Service) -> None:
    owner, member = await service.members(2)
    made = await community(service, owner, [member])
    body = {"name": "VIP", "kind": "static", "member_ids": [member.id]}
    segment = await service.ops("POST", "segments", body)
    assert segment.is_success, segment.text
    reply = await push(owner, made, to_chats=True, segment_id=segment.json()["id"])
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms"), reply.text


async def test_a_push_keeps_quiet_in_chats_too_and_can_be_taken_back(service: Service, stage: Stage) -> None:
    await turn_to(service, "21:45")
    owner, member = await service.members(2)
    made = await community(service, owner, [member], **QUIET)
    await earn(service, made, 10_000)
    binding_id = await bind(service, made["id"])
    first, second = [(await push(owner, made, text=text, to_chats=True)).json() for text in ("stays", "goes")]
    await pushes_worker.run_once(service.state, service.clock())
    assert [row.state for row in await outgoing(service)] == [OutgoingState.QUEUED] * 2
    await turn_to(service, "22:30")
    await ask(service, binding_id, "awake")
    await work(service, 60)
    assert [heard.card.title for heard in stage.heard] == ["awake"]
    path = f"communities/{made['id']}/pushes/{second['id']}/cancel"
    assert (await service.ops("POST", path)).is_success
    await turn_to(service, "08:00")
    await work(service, 30)
    assert [heard.card.lines for heard in stage.heard[1:]] == [("stays",)]
    assert {row.push_id: row.reason for row in await outgoing(service) if row.push_id} == {
        first["id"]: None,
        second["id"]: "withdrawn",
    }


GROUPS, SIZE = 20, 500


class Timed(TelegramStandIn):
    """Telegram, and when it was called."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.called: list[datetime] = []

    def app(self) -> Any:
        inner = super().app()

        async def timed(scope: Any, receive: Any, send: Any) -> None:
            self.called.append(self.clock())
            await inner(scope, receive, send)

        return timed


class Crowd:
    """Members who join groups by the thousand: the rows and events that claims write, written in bulk."""

    def __init__(self, service: Service, sale: Sale) -> None:
        self.service, self.sale = service, sale
        self.members = [new_id("mem") for _ in range(SIZE)]
        self.groups = [new_id("grp") for _ in range(GROUPS)]
        self.joined = 0

    async def arrive(self) -> None:
        now = self.service.clock()
        group = {"sale_id": self.sale.id, "state": GroupState.OPEN, "size": SIZE, "leader_id": self.members[0]}
        async with self.service.state.database.transaction() as session:
            offer = await session.get_one(Offer, self.sale.offer)
            group |= {"product_id": offer.product_id, "opened_at": now, "deadline_at": now + timedelta(days=1)}
            members = [{"id": id_, "name": "路人", "created_at": now} for id_ in self.members]
            await session.exec(insert(Member), params=members)
            await session.exec(insert(Group), params=[group | {"id": id_} for id_ in self.groups])

    async def join(self, count: int) -> None:
        """The next so many, each in the group whose turn it is."""
        now = self.service.clock()
        orders, seats = [], []
        happened: list[tuple[str, str, tuple[StrEnum | None, StrEnum], str]] = []
        for place in range(self.joined, self.joined + count):
            number, group_id = place // GROUPS + 1, self.groups[place % GROUPS]
            of = {"group_id": group_id, "member_id": self.members[number - 1]}
            order_id = new_id("ord")
            orders.append(self._order(now) | of | {"id": order_id, "seat_number": number, "request_key": group_id})
            seats.append(of | {"number": number, "size": SIZE, "order_id": order_id})
            happened.append(("order.held", order_id, (None, OrderState.HELD), group_id))
            if number == SIZE:
                happened.append(("group.filled", group_id, (GroupState.OPEN, GroupState.FILLED), group_id))
        self.joined += count
        filled = [group_id for type_, *_, group_id in happened if type_ == "group.filled"]
        async with self.service.state.database.transaction() as session:
            await session.exec(insert(Order), params=orders)
            await session.exec(insert(Seat), params=seats)
            await session.exec(update(Group).where(col(Group.id).in_(filled)).values(state=GroupState.FILLED))
            rows = [
                event_values(type_, subject, now, states=states, sale_id=self.sale.id, group_id=group_id)
                for type_, subject, states, group_id in happened
            ]
            await session.exec(insert(Event), params=rows)

    def _order(self, now: datetime) -> dict[str, Any]:
        return {
            "sale_id": self.sale.id,
            "offer_id": self.sale.offer,
            "quantity": 1,
            "unit_price": 4900,
            "amount": 4900,
            "currency": "CNY",
            "state": OrderState.HELD,
            "hold_expires_at": now + timedelta(days=1),
            "created_at": now,
            "changed_at": now,
            "request_hash": "",
            "answer": "",
        }


async def test_ten_thousand_join_in_a_minute_and_the_chat_hears_what_is_true(service: Service) -> None:
    """Hundreds ask for something, too. No minute has more than the platform allows; the last news is true."""
    made = await service.community()
    sale = await service.sale(community_id=made["id"], group_size=SIZE, stocks=[100_000])
    telegram, crowd = Timed(service.clock), Crowd(service, sale)
    async with playing(service, telegram):
        binding_id = (await bind_chat(service, telegram, made["id"], chat_id="-1001"))["id"]
        await crowd.arrive()
        for second in range(60):
            await crowd.join(GROUPS * SIZE * (second + 1) // 60 - crowd.joined)
            if second >= 20:
                await ask(service, binding_id, *"0123456789ABCDE", to=Destination("-1001", reply_token="7"))
            await worker.run_once(service.state, service.clock())
            service.clock.advance(1)
        assert crowd.joined == GROUPS * SIZE
        for _ in range(100):
            await worker.run_once(service.state, service.clock())
            service.clock.advance(4)
    allowed = PLATFORMS["telegram"].per_minute
    busiest = max(sum(first <= at < first + MINUTE for at in telegram.called) for first in telegram.called)
    assert allowed // 2 < busiest <= allowed
    assert len(telegram.called) == len(telegram.transcript)
    news = [said for said in telegram.transcript if "个团有新进展" in said.text or "接龙" in said.text]
    assert 2 <= len(news) < len(telegram.transcript)
    told = [line for line in news[-1].text.splitlines() if "/500" in line]
    assert told
    assert all("500/500" in line for line in told), news[-1].text
    async with service.state.database.snapshot() as session:
        heard = (await session.exec(select(Announcement))).all()
        newest = select(Event.group_id, func.max(col(Event.created_at))).group_by(col(Event.group_id))
        changed = dict((await session.exec(newest.where(col(Event.group_id).is_not(None)))).all())
        waiting = await session.exec(select(func.count()).where(Outgoing.state == OutgoingState.QUEUED))
        assert waiting.one() == 0
    assert {row.group_id for row in heard} == set(crowd.groups)
    assert all(row.due_at is None and row.said_at and row.said_at >= changed[row.group_id] for row in heard)


async def test_without_the_rate_there_would_be_more(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a robot that may always speak says more than the platform allows."""
    made = await service.community()
    telegram = Timed(service.clock)
    monkeypatch.setattr(robots, "may_speak_at", lambda *_: service.clock())
    async with playing(service, telegram):
        binding_id = (await bind_chat(service, telegram, made["id"], chat_id="-1001"))["id"]
        await ask(service, binding_id, *"abcdefghijklmnopqrstuvwxyz", to=Destination("1", only_to="1"))
        await work(service, 50)
    assert len(telegram.called) > PLATFORMS["telegram"].per_minute
