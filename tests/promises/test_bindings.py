"""Bindings: what operators make, what platforms are answered, and that no secret is ever shown."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlmodel import SQLModel, func, select, text

from app.demo.platforms.dingtalk import DingTalkStandIn
from app.demo.platforms.discord import DiscordStandIn
from app.demo.platforms.feishu import FeishuStandIn
from app.demo.platforms.slack import SlackStandIn
from app.demo.platforms.stand_in import StandIn, StandInRequest
from app.demo.platforms.telegram import TelegramStandIn
from app.demo.platforms.wechat import WeChatStandIn
from app.demo.platforms.wecom import WeComStandIn
from app.domain.robots import PERIOD
from app.gateways.chat.platform import (
    MAX_BODY_BYTES,
    Card,
    ChatMessage,
    ChatRefused,
    Credentials,
    Destination,
    HookReply,
    Inbound,
)
from app.gateways.chat.platforms import PLATFORMS
from app.limiting import Limiter
from app.models import Message, Nonce
from app.schemas.bindings import BindingUpdate
from app.services import bindings
from app.state import CHAT_MESSAGES_IN_A_ROW, CHAT_MESSAGES_PER_SECOND
from tests.promises.chat import Chat, bind, new_number, playing
from tests.service import Service

STAND_INS: list[type[Any]] = [
    *(WeComStandIn, WeChatStandIn, FeishuStandIn, DingTalkStandIn),
    *(TelegramStandIn, SlackStandIn, DiscordStandIn),
]
REPEATABLE = {"telegram"}
"""Where a webhook has neither time nor nonce: a repetition is told by the message alone, and answered."""


@pytest.fixture(params=STAND_INS, ids=lambda one: one.name)
async def chat(service: Service, request: pytest.FixtureRequest) -> AsyncIterator[Chat]:
    """A chat on each platform."""
    stand_in: StandIn = request.param()
    async with playing(service, stand_in):
        binding = await bind(service, stand_in, (await service.community())["id"])
        yield Chat(service, stand_in, binding, new_number())


@pytest.fixture
async def telegram(service: Service) -> AsyncIterator[Chat]:
    stand_in = TelegramStandIn()
    async with playing(service, stand_in):
        yield Chat(service, stand_in, await bind(service, stand_in, (await service.community())["id"]))


async def count(service: Service, model: type[SQLModel]) -> int:
    async with service.state.database.snapshot() as session:
        return int((await session.exec(select(func.count()).select_from(model))).one())


async def test_a_platform_accepts_our_set_up(service: Service, chat: Chat) -> None:
    reply = await chat.send(chat.stand_in.handshake(service.clock()))
    ours = HookReply(reply.status_code, reply.content, reply.headers.get("content-type", ""))
    assert chat.stand_in.check_handshake(ours), reply.text


async def test_what_is_said_is_answered_where_it_was_said(chat: Chat) -> None:
    private = chat.stand_in.name == "wechat"
    assert "我能听懂这些" in await chat.ask(new_number(), "帮助", private=private)
    assert "我还不知道你是谁" in await chat.ask(new_number(), "开团", private=True)


async def test_a_webhook_that_comes_again_changes_nothing(service: Service, chat: Chat) -> None:
    said = chat.message(new_number(), "帮助", private=True)
    statuses = [(await chat.send(said)).status_code for _ in range(3)]
    again = 200 if chat.stand_in.name in REPEATABLE else 401
    assert statuses == [200, again, again]
    assert await count(service, Message) == 1


async def test_webhooks_at_the_same_moment_act_once(service: Service, chat: Chat) -> None:
    said = chat.message(new_number(), "帮助", private=True)
    statuses = [reply.status_code for reply in await asyncio.gather(*(chat.send(said) for _ in range(8)))]
    assert statuses.count(200) == (8 if chat.stand_in.name in REPEATABLE else 1)
    assert await count(service, Message) == 1


async def test_what_was_changed_on_its_way_is_refused_and_changes_nothing(service: Service, chat: Chat) -> None:
    said = chat.message(new_number(), "帮助", private=True)
    if chat.stand_in.name == "telegram":
        wrong: list[dict[str, Any]] = [{"headers": {name: f"{value}x" for name, value in said.headers.items()}}]
    else:
        body = bytes([*said.body[:-9], said.body[-9] ^ 1, *said.body[-8:]])
        wrong = [{"content": body}, {"content": b""}, {"headers": {}, "params": {}}]
    for changes in wrong:
        assert (await chat.send(said, **changes)).status_code == 401, changes
    service.clock.advance(3700)
    if chat.stand_in.name != "telegram":
        assert (await chat.send(said)).status_code == 401
    assert await count(service, Message) == await count(service, Nonce) == 0


async def test_a_binding_hears_only_what_is_said_to_it(service: Service, chat: Chat) -> None:
    said = chat.message(new_number(), "帮助", private=True)
    url, platform = chat.binding["hook_url"], chat.stand_in.name
    other = "slack" if platform != "slack" else "feishu"
    for wrong in (
        url.replace(f"/{platform}/", f"/{other}/"),
        url.replace(f"/{platform}/", "/nothing/"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.rsplit("/", 1)[0] + "/bnd_%00",
        url.rsplit("/", 1)[0] + "/x' OR 1",
    ):
        for method in ("GET", "POST"):
            reply = await service.http.request(
                method, wrong, params=dict(said.query), headers=dict(said.headers), content=said.body
            )
            assert (reply.status_code, reply.json()["code"]) == (401, "signature_invalid"), wrong
    assert await count(service, Message) == 0


async def test_old_and_new_secret_are_good_until_the_old_one_is_retired(service: Service, chat: Chat) -> None:
    fresh = type(chat.stand_in)()
    rotates = {one.name for one in PLATFORMS[chat.stand_in.name].credentials if one.rotates}
    now = {name: secrets[0] for name, secrets in fresh.credentials().items()}
    path, body = f"bindings/{chat.binding['id']}", {"credentials": now}
    changed = await service.ops("PATCH", path, body)
    assert changed.status_code == 200, changed.text
    assert {name for name, number in changed.json()["secrets"].items() if number == 2} == rotates & set(now)
    old, new = (Chat(service, one, chat.binding, chat.chat_id) for one in (chat.stand_in, fresh))
    assert (await new.send(new.message(new_number(), "帮助", private=True))).status_code == 200
    if chat.stand_in.name in {"telegram", "slack"}:  # elsewhere the id of the app has changed with them
        assert (await old.send(old.message(new_number(), "帮助", private=True))).status_code == 200
    retired = await service.ops("PATCH", path, {"retire": sorted(rotates & set(now))})
    assert set(retired.json()["secrets"].values()) == {1}
    assert (await old.send(old.message(new_number(), "帮助", private=True))).status_code == 401
    assert (await new.send(new.message(new_number(), "帮助", private=True))).status_code == 200


async def test_an_answer_for_one_is_not_said_to_all(chat: Chat) -> None:
    await chat.ask(new_number(), "开团", private=True)
    assert [said.chat_id for said in chat.said if said.chat_id == chat.chat_id] == []


ROBOT_ONLY = {
    "wecom": {"robot_key": ("k" * 32,)},
    "feishu": {"robot_token": ("t" * 32,)},
    "dingtalk": {"robot_token": ("t" * 64,)},
}


@pytest.mark.parametrize("name", ROBOT_ONLY)
async def test_the_robot_of_a_group_says_nothing_to_one_alone(service: Service, name: str) -> None:
    platform, credentials = PLATFORMS[name], ROBOT_ONLY[name]
    async with playing(service, TelegramStandIn()):
        http = service.state.chat_http.to(platform.hosts)
        with pytest.raises(ChatRefused, match="alone"):
            await platform.send(http, credentials, Destination("chat", only_to="somebody"), Card("secret"))


async def test_a_test_is_said_in_the_chat_and_its_result_is_kept(service: Service, telegram: Chat) -> None:
    path = f"bindings/{telegram.binding['id']}"
    unknown = await service.ops("POST", f"{path}/test")
    assert unknown.json()["code"] == "chat_unknown"
    await service.ops("PATCH", path, {"chat_id": telegram.chat_id})
    tested = await service.ops("POST", f"{path}/test")
    assert tested.json()["sent"] is True
    assert telegram.said[-1].text.startswith("开团测试")
    wrong = {"credentials": {"bot_token": "42:AAAAAAAAAAAAAAAAAAAAAAAAAA"}}
    await service.ops("PATCH", path, wrong)
    refused = (await service.ops("POST", f"{path}/test")).json()
    assert (refused["sent"], "Unauthorized" in refused["result"]) == (False, True)
    shown = (await service.ops("GET", path)).json()
    assert (shown["test_result"], shown["tested_at"] is not None) == (refused["result"], True)
    assert "AAAA" not in str(shown) + str(refused)


async def test_tests_are_not_sent_without_end(service: Service, telegram: Chat) -> None:
    path, limiter = f"bindings/{telegram.binding['id']}", service.state.binding_tests
    await service.ops("PATCH", path, {"chat_id": telegram.chat_id})
    limiter.rate = 1 / 6
    try:
        statuses = [(await service.ops("POST", f"{path}/test")).status_code for _ in range(4)]
    finally:
        limiter.rate = 0
    assert statuses == [200, 200, 200, 429]


async def test_secrets_are_sealed_and_never_shown(service: Service, chat: Chat) -> None:
    path = f"bindings/{chat.binding['id']}"
    listed = await service.ops("GET", f"bindings?community_id={chat.binding['community_id']}")
    assert [one["id"] for one in listed.json()["items"]] == [chat.binding["id"]]
    shown = str(chat.binding) + (await service.ops("GET", path)).text + listed.text
    async with service.state.database.snapshot() as session:
        row = (await (await session.connection()).execute(text("SELECT * FROM bindings"))).one()
        events = (await (await session.connection()).execute(text("SELECT * FROM events"))).all()
    secrets = [secret for secrets in chat.stand_in.credentials().values() for secret in secrets if len(secret) > 12]
    assert secrets
    for secret in secrets:
        assert secret not in shown + str(row) + str(events)


async def test_credentials_are_those_of_the_platform(service: Service) -> None:
    community = (await service.community())["id"]
    good = {name: secrets[0] for name, secrets in TelegramStandIn().credentials().items()}
    wrong: list[dict[str, Any]] = [
        good | {"corp_id": "ww1"},
        {name: secret for name, secret in good.items() if name != "bot_token"},
        good | {"bot_token": "secret with spaces"},
        {},
    ]
    for credentials in wrong:
        body = {"platform": "telegram", "community_id": community, "credentials": credentials}
        reply = await service.ops("POST", "bindings", body)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms"), reply.text
        assert not any(secret in reply.text for secret in credentials.values())
    nowhere = {"platform": "telegram", "community_id": f"com_{'0' * 32}", "credentials": good}
    assert (await service.ops("POST", "bindings", nowhere)).json()["code"] == "community_not_found"


async def test_a_chat_is_bound_once(service: Service) -> None:
    community, chat_id = (await service.community())["id"], "-5"
    first = await bind(service, TelegramStandIn(), community, chat_id=chat_id)
    credentials = {name: secrets[0] for name, secrets in TelegramStandIn().credentials().items()}
    body = {"platform": "telegram", "community_id": community, "credentials": credentials}
    taken = await service.ops("POST", "bindings", body | {"chat_id": chat_id})
    assert taken.json()["code"] == "chat_taken"
    second = await bind(service, TelegramStandIn(), community)
    moved = await service.ops("PATCH", f"bindings/{second['id']}", {"chat_id": chat_id})
    assert moved.json()["code"] == "chat_taken"
    assert (await service.ops("DELETE", f"bindings/{first['id']}")).status_code == 204
    assert (await service.ops("DELETE", f"bindings/{first['id']}")).status_code == 404
    assert (await service.ops("GET", f"bindings/{first['id']}")).status_code == 404
    moved = await service.ops("PATCH", f"bindings/{second['id']}", {"chat_id": chat_id})
    assert moved.json()["chat_id"] == chat_id
    assert await service.violations() == []


async def test_two_secrets_are_active_at_most(service: Service, telegram: Chat) -> None:
    path = f"bindings/{telegram.binding['id']}"
    for number in range(3):
        reply = await service.ops("PATCH", path, {"credentials": {"secret_token": f"{number}" * 32}})
    assert reply.json()["secrets"] == {"secret_token": 2, "bot_token": 1, "bot_username": 1}
    unknown = await service.ops("PATCH", path, {"retire": ["nothing"]})
    assert unknown.json()["code"] == "invalid_terms"


async def test_a_chat_that_moves_is_followed(service: Service, telegram: Chat) -> None:
    stand_in = telegram.stand_in
    assert isinstance(stand_in, TelegramStandIn)
    await telegram.ask("7", "帮助")
    moved: dict[str, Any] = {
        "message_id": 9,
        "date": int(service.clock().timestamp()),
        "chat": {"id": -100200300, "type": "group"},
    }
    moved["from"] = {"id": 7}
    reply = await telegram.send(stand_in.update({"update_id": 9, "message": moved | {"migrate_to_chat_id": -77}}))
    assert reply.status_code == 200
    assert (await service.ops("GET", f"bindings/{telegram.binding['id']}")).json()["chat_id"] == "-77"


async def test_a_long_body_is_refused_before_it_is_read(telegram: Chat) -> None:
    said = telegram.message("7", "帮助")
    long = await telegram.send(said, content=b" " * (MAX_BODY_BYTES + 1))
    assert long.status_code == 413
    padded = said.body[:-1] + b" " * 200_000 + b"}"
    assert (await telegram.send(said, content=padded)).status_code == 200


@pytest.mark.parametrize("name", ["\x00", "a\x00b", "\ud800", "", "x" * 300])
async def test_names_that_cannot_be_kept_are_no_names(service: Service, telegram: Chat, name: str) -> None:
    now = service.clock()
    for fields in ({"sender_id": name}, {"chat_id": name}, {"message_id": name}, {"reply_token": name}):
        values: dict[str, Any] = {"message_id": "1", "chat_id": "c", "sender_id": "s", "text": name} | fields
        message = ChatMessage(**values, sent_at=now, is_private=True)

        class Saying:
            def read(self, *_: Any) -> Inbound:
                return Inbound(HookReply(), (message,), replay_key=name + str(fields))  # noqa: B023

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PLATFORMS, "telegram", Saying())
            reply = await telegram.send(StandInRequest("POST", {}, {}, b"{}"))
        assert reply.status_code == 200, reply.text


async def test_who_speaks_without_end_is_not_heard(service: Service, telegram: Chat) -> None:
    limiter = service.state.chat_senders
    limiter.rate = 1 / 3600
    try:
        for _ in range(15):
            await telegram.say("7", "帮助")
        await telegram.say("8", "帮助")
    finally:
        limiter.rate = 0
    assert await count(service, Message) == CHAT_MESSAGES_IN_A_ROW + 1


def test_nobody_alone_takes_all_the_answers_of_a_robot() -> None:
    limiter = Limiter(CHAT_MESSAGES_PER_SECOND, CHAT_MESSAGES_IN_A_ROW)
    heard = 0
    for second in range(600):
        allowance = limiter.ask("7", float(second))
        assert allowance is not None
        heard += not allowance.retry_seconds
    slowest = min(platform.per_minute for platform in PLATFORMS.values())
    assert heard < 600 / PERIOD.total_seconds() * slowest / 2


def test_a_rotated_secret_comes_first() -> None:
    now: Credentials = {"secret_token": ("b" * 32, "a" * 32)}
    body = BindingUpdate(credentials={"secret_token": "b" * 32})
    full: dict[str, tuple[str, ...]] = {**now, "bot_token": ("42:" + "x" * 26,), "bot_username": ("KaituanBot",)}
    assert bindings._rotated(PLATFORMS["telegram"], full, body)["secret_token"] == ("b" * 32, "a" * 32)
