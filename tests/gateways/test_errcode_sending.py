"""What WeCom, WeChat and DingTalk are made to say, and how they refuse it."""

import json
import logging
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.demo.platforms.stand_in import Said
from app.gateways.chat.errcodes import Tokens
from app.gateways.chat.platform import Button, Card, ChatRefused, ChatUnavailable, Destination
from app.gateways.chat.sending import Answer
from tests.gateways.errcode_chats import PLAYED, Chat, Reached, open_chat

every_platform = pytest.mark.parametrize("name", PLAYED)
COMMANDS = (Button("参团", command="参团 1"), Button("进度", command="进度 1"))
LINK = Button("支付", url="https://kaituan.example/pay?a=1&b=2")
CARD = Card("土鸡蛋 30 枚", ("小明开团了", "还差 2 人"), COMMANDS)
GROUP = Destination("chat1")
TOKEN = {"accessToken": "token", "access_token": "token", "expireIn": 7200, "expires_in": 7200}


async def say(chat: Chat, to: Destination, card: Card = CARD) -> Said:
    """Send it through the real calls, and return what people read."""
    async with chat.http() as http:
        assert await chat.platform.send(http, chat.credentials, to, card) is None
    said: Said = chat.stand_in.transcript[-1]
    return said


@every_platform
@pytest.mark.parametrize("is_private", [False, True])
async def test_an_answer_reaches_who_asked_with_buttons(name: str, *, is_private: bool) -> None:
    chat = open_chat(name)
    to = chat.asked(is_private=is_private)
    said = await say(chat, to)
    assert (said.chat_id, said.text.split("\n")) == (to.chat_id, [CARD.title, *CARD.lines])
    assert said.buttons == (("参团 1", "进度 1") if name == "wechat" else ("参团", "进度"))


@pytest.mark.parametrize("name", ["wecom", "dingtalk"])
async def test_a_group_hears_what_nobody_asked(name: str) -> None:
    chat = open_chat(name)
    chat.say()
    said = await say(chat, GROUP)
    assert said.chat_id == "chat1"
    assert said.text.startswith("\n".join([CARD.title, *CARD.lines]))
    assert "参团" in said.text + "".join(said.buttons)


@every_platform
async def test_a_link_is_there_to_be_followed(name: str) -> None:
    chat = open_chat(name)
    to = chat.asked(is_private=True)
    for card in (Card("订单", (), (LINK,)), Card("订单", (), (*COMMANDS, LINK))):
        assert "支付" in (await say(chat, to, card)).buttons
    assert str(LINK.url) in json.dumps(chat.stand_in.requests, ensure_ascii=False)


async def test_what_no_card_takes_is_markdown() -> None:
    """A robot's card has no links, and no card is long."""
    chat = open_chat("wecom")
    for card in (
        Card("订单", (), (*COMMANDS, LINK)),
        Card("接龙", ("名" * 120,), COMMANDS),
        Card("名" * 30, (), COMMANDS),
    ):
        said = await say(chat, chat.asked(), card)
        assert said.buttons == ()
        assert "参团: 参团 1" in said.text
    app = await say(chat, chat.asked(is_private=True), Card("接龙", ("名" * 120,), COMMANDS))
    assert (app.buttons, app.only_to) == ((), "u1")
    assert (await say(chat, chat.asked(), Card("没有按钮"))).text == "没有按钮"


async def test_a_mini_program_has_no_menus() -> None:
    chat = open_chat("wechat").having(kind=("mini",))
    said = await say(chat, chat.asked(), replace(CARD, buttons=(*COMMANDS, LINK)))
    assert said.buttons == ()
    assert said.text.split("\n")[3:] == ["参团: 参团 1", "进度: 进度 1", f"支付: {LINK.url}"]


@every_platform
async def test_a_long_list_is_cut_and_its_buttons_stay(name: str) -> None:
    chat = open_chat(name)
    card = Card("接龙", tuple(f"{number}. {'名' * 30}" for number in range(1, 400)), COMMANDS)
    for to in (chat.asked(), chat.asked(is_private=True)):
        said = await say(chat, to, card)
        assert "…" in said.text.split("\n")
        assert "\n1. 名" in said.text
        assert "参团" in said.text + "".join(said.buttons)


@every_platform
async def test_a_name_is_no_markup(name: str) -> None:
    chat = open_chat(name)
    evil = '<@all> [点我](https://evil.example) **粗** `码` <a href="https://evil.example">x</a>'
    for to in (chat.asked(), chat.asked(is_private=True)):
        await say(chat, to, Card("接龙", (evil,)))
        sent = json.dumps(chat.stand_in.requests[-1], ensure_ascii=False)
        assert "＜@all＞ ［点我］(" in sent
        assert not set("<[`") & set(chat.stand_in.transcript[-1].text)


@every_platform
async def test_who_is_alone_meant_hears_it_alone_where_that_is_possible(name: str) -> None:
    chat = open_chat(name)
    chat.say()
    said = await say(chat, Destination("chat1", only_to="u1"))
    assert (said.chat_id, said.only_to) == {
        "wecom": ("user:u1", "u1"),
        "wechat": ("u1", None),
        "dingtalk": ("user:u1", "u1"),
    }[name]
    assert (await say(chat, replace(chat.asked(), only_to="u1"))).chat_id == said.chat_id
    private = chat.asked(is_private=True)
    assert await say(chat, replace(private, only_to="u1")) == replace(
        await say(chat, private), message_id=str(len(chat.stand_in.transcript) - 1)
    )


@pytest.mark.parametrize("name", ["wecom", "dingtalk"])
async def test_nobody_is_told_before_all_what_is_for_one(name: str) -> None:
    chat = open_chat(name).having(corp_secret=(), app_key=())
    for to in (replace(chat.asked(), only_to="u1"), Destination("chat1", only_to="u1"), Destination("user:u1")):
        with pytest.raises(ChatRefused):
            await say(chat, to)
    assert chat.stand_in.transcript == []


@pytest.mark.parametrize("count", range(8))
async def test_an_app_of_dingtalk_needs_no_custom_robot(count: int) -> None:
    chat = open_chat("dingtalk").having(robot_token=())
    buttons = tuple(Button(f"参团 {number}", command=f"参团 {number}") for number in range(count))
    said = await say(chat, GROUP, replace(CARD, buttons=buttons))
    assert (said.chat_id, said.text.split("\n")) == ("chat1", [CARD.title, *CARD.lines])
    assert said.buttons == tuple(button.label for button in buttons[:5])


@pytest.mark.parametrize(
    ("kind", "status", "content"),
    [
        (ChatUnavailable, 403, {"code": "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"}),
        (ChatUnavailable, 400, {"code": "send.too.fast"}),
        (ChatUnavailable, 200, {"processQueryKey": "1", "flowControlledStaffIdList": ["u1"]}),
        (ChatRefused, 200, {"processQueryKey": "1", "invalidStaffIdList": ["u1"]}),
        (ChatRefused, 400, {"code": "invalidParameter.robotCode.notExsit"}),
        (ChatRefused, 404, {}),
    ],
)
async def test_the_newer_api_of_dingtalk_refuses_in_words(
    kind: type[Exception], status: int, content: dict[str, Any]
) -> None:
    chat = open_chat("dingtalk")

    def respond(request: httpx.Request) -> httpx.Response:
        is_token = request.url.path.endswith("accessToken")
        return httpx.Response(200, json=TOKEN) if is_token else httpx.Response(status, json=content)

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        with pytest.raises(kind):
            await chat.platform.send(http, chat.credentials, Destination("chat1", only_to="u1"), CARD)


@every_platform
async def test_too_much_at_once_is_tried_again_later(name: str) -> None:
    chat = open_chat(name)
    to = chat.asked(is_private=True)
    chat.stand_in.busy = 1
    with pytest.raises(ChatUnavailable) as unavailable:
        await say(chat, to)
    assert unavailable.value.retry_after == (600 if name == "dingtalk" else 60)
    assert chat.stand_in.transcript == []
    await say(chat, to)


WRONG = {
    "wecom robot": ("wecom", GROUP, "robot_key"),
    "wecom app": ("wecom", Destination("user:u1"), "corp_secret"),
    "wecom agent": ("wecom", Destination("user:u1"), "agent_id"),
    "wechat": ("wechat", Destination("u1"), "app_secret"),
    "dingtalk robot": ("dingtalk", GROUP, "robot_token"),
    "dingtalk signature": ("dingtalk", GROUP, "robot_secret"),
}


@pytest.mark.parametrize(("name", "to", "secret"), WRONG.values(), ids=WRONG.keys())
async def test_http_200_with_an_error_code_is_a_refusal(name: str, to: Destination, secret: str) -> None:
    chat = open_chat(name)
    chat.say(is_private=True)
    with pytest.raises(ChatRefused, match=r"^\d{5,} "):
        await say(chat.having(**{secret: ("1234567",)}), to)
    assert chat.stand_in.transcript == []


@pytest.mark.parametrize("secret", ["app_secret", "app_key"])
async def test_an_app_of_dingtalk_that_is_not_known_says_nothing(secret: str) -> None:
    chat = open_chat("dingtalk")
    with pytest.raises(ChatRefused, match="invalidClientIdOrSecret"):
        await say(chat.having(robot_token=(), **{secret: ("1234567",)}), GROUP)
    assert chat.stand_in.transcript == []


@pytest.mark.parametrize("name", ["wecom", "wechat", "dingtalk"])
@pytest.mark.parametrize("given", [{}, {"access_token": 1, "accessToken": None}])
async def test_a_platform_that_gives_no_token_is_asked_for_nothing(name: str, given: dict[str, Any]) -> None:
    chat = open_chat(name)
    called = []

    def respond(request: httpx.Request) -> httpx.Response:
        called.append(request.url.path)
        return httpx.Response(200, json=given | {"errcode": 0})

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        with pytest.raises(ChatRefused):
            await chat.platform.send(http, chat.credentials, Destination("chat1", only_to="u1"), CARD)
    assert len(called) == 1


@every_platform
async def test_without_the_secrets_for_it_nothing_is_said(name: str) -> None:
    chat = open_chat(name)
    for to in (GROUP, Destination("user:u1"), Destination("chat1", only_to="u1")):
        async with chat.http() as http:
            with pytest.raises(ChatRefused):
                await chat.platform.send(http, {}, to, CARD)


@every_platform
async def test_an_answer_goes_to_nobody_elses_address(name: str) -> None:
    chat = open_chat(name)
    host = next(iter(chat.platform.hosts))
    for address in (
        "https://evil.example/cgi-bin/aibot/response?response_code=1",
        f"http://{host}/cgi-bin/aibot/response?response_code=1",
        f"https://{host}.evil.example/robot/sendBySession?session=1",
        f"https://{host}@evil.example/robot/sendBySession?session=1",
        f"https://{host}:8443/robot/sendBySession?session=1",
        "file:///etc/passwd",
        "",
        "\n",
    ):
        if name != "wechat":
            with pytest.raises(ChatRefused):
                await say(chat, Destination("chat1", address))
    assert chat.stand_in.transcript == []


async def test_an_answer_is_given_once_in_a_group_of_wecom() -> None:
    chat = open_chat("wecom")
    to = chat.asked()
    await say(chat, to)
    with pytest.raises(ChatRefused):
        await say(chat, to)


@every_platform
async def test_nothing_is_changed_once_it_is_said(name: str) -> None:
    chat = open_chat(name)
    assert not chat.platform.can_edit
    async with chat.http() as http:
        with pytest.raises(ChatRefused):
            await chat.platform.edit(http, chat.credentials, GROUP, "1", CARD)


@pytest.mark.parametrize(
    ("name", "path"), [("wecom", "gettoken"), ("wechat", "stable_token"), ("dingtalk", "accessToken")]
)
async def test_a_token_is_fetched_once_and_again_when_it_is_not_known_any_more(name: str, path: str) -> None:
    chat = open_chat(name)
    to = Destination("chat1", only_to=chat.read(chat.say(is_private=True)).messages[0].sender_id)
    reached = Reached(chat.platform, chat.stand_in)
    async with httpx.AsyncClient(transport=reached) as http:
        for times, token in ((1, chat.stand_in.access_token), (1, chat.stand_in.access_token), (2, "another")):
            chat.stand_in.access_token = token
            await chat.platform.send(http, chat.credentials, to, CARD)
            assert sum(url.path.endswith(path) for url in reached.urls) == times


async def test_a_token_that_is_about_to_expire_is_not_used() -> None:
    tokens = Tokens()
    used: list[str] = []
    fetched: list[str] = []

    async def fetch() -> tuple[str, float]:
        fetched.append(f"token{len(fetched)}")
        return fetched[-1], 300

    async def call(token: str) -> Answer:
        used.append(token)
        return Answer(200)

    for _ in range(2):
        await tokens.use(("key",), fetch, call)
    assert used == fetched == ["token0", "token1"]


TROUBLE: dict[str, tuple[type[Exception], Any]] = {
    "nobody there": (ChatUnavailable, httpx.ConnectError("https://key.example/?key=SECRET")),
    "too slow": (ChatUnavailable, httpx.ReadTimeout("SECRET")),
    "out of order": (ChatUnavailable, httpx.Response(502, text="<html>SECRET")),
    "429": (ChatUnavailable, httpx.Response(429, headers={"retry-after": "7"})),
    "elsewhere": (ChatRefused, httpx.Response(302, headers={"location": "http://127.0.0.1/"})),
    "not found": (ChatRefused, httpx.Response(404, text="SECRET")),
    "no JSON": (ChatRefused, httpx.Response(200, text="ok")),
    "no object": (ChatRefused, httpx.Response(200, json=["ok"])),
    "no code": (ChatRefused, httpx.Response(200, json={})),
    "a word for a code": (ChatRefused, httpx.Response(200, json={"errcode": "ok"})),
    "a secret in it": (ChatRefused, httpx.Response(200, json={"errcode": 40001, "errmsg": "SECRET is wrong"})),
}


@every_platform
@pytest.mark.parametrize(("kind", "answer"), TROUBLE.values(), ids=TROUBLE.keys())
async def test_trouble_is_told_without_secrets(
    name: str, kind: type[Exception], answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of ours logs them either; httpx logs addresses at INFO, and is kept from it where it is opened."""
    called = []

    def respond(request: httpx.Request) -> httpx.Response:
        called.append(request.url)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    chat = open_chat(name)
    chat = chat.having(**{key: ("SECRET",) for key in chat.credentials if key != "agent_id"})
    caplog.set_level(logging.DEBUG, "app")
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        with pytest.raises(kind) as raised:
            await chat.platform.send(http, chat.credentials, GROUP, CARD)
    assert len(called) == 1
    assert "SECRET" not in f"{raised.value!r} {caplog.text}"
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
