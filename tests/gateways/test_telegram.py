"""Telegram: how it addresses a robot, who it does not carry words of, and how it refuses."""

import json
from typing import Any

import pytest

from app.demo.platforms.telegram import TelegramStandIn
from app.gateways.chat.platform import Button, Card, ChatMoved, ChatRefused, ChatUnavailable, Destination
from app.gateways.chat.telegram import PLATFORM
from tests.gateways.kinds import CARD, KINDS, NOW, answering, entered, heard, reaching

TELEGRAM = KINDS["telegram"]
GROUP = "-1009"


def update(stand_in: TelegramStandIn, text: str = "开团 1") -> dict[str, Any]:
    request = stand_in.say(GROUP, "88", "小满", text, "501", NOW, is_private=True)
    return TELEGRAM.opened(stand_in, request)


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("/join 3", "join 3"),
        ("/join@KaituanBot 3", "join 3"),
        ("/join@kaituanbot\n3", "join 3"),
        ("/kaituan 参团 3", "参团 3"),
        ("/kaituan", "help"),
        ("/start", "help"),
        ("/start K7QX2M9A", "link K7QX2M9A"),
        ("@kaituanbot，参团 3", "参团 3"),
        ("@KaituanBot: 参团", "参团"),
        ("@KaituanBot2 参团", "@KaituanBot2 参团"),
        ("请看 @KaituanBot", "请看 @KaituanBot"),
        ("/join@OtherBot 3", None),
        ("@KaituanBot", None),
        ("  ", None),
    ],
)
def test_what_is_said_to_us_is_said_without_our_name(text: str, understood: str | None) -> None:
    stand_in = TelegramStandIn()
    messages = heard(TELEGRAM, stand_in, stand_in.update(update(stand_in, text))).messages
    assert [message.text for message in messages] == ([understood] if understood else [])


@pytest.mark.parametrize("kind", ["edited_message", "channel_post", "my_chat_member", "inline_query"])
def test_what_is_not_a_new_message_is_left_alone(kind: str) -> None:
    stand_in = TelegramStandIn()
    content = update(stand_in)
    content[kind] = content.pop("message")
    inbound = heard(TELEGRAM, stand_in, stand_in.update(content))
    assert (inbound.reply.status, inbound.messages) == (200, ())


def test_a_robot_and_nobody_are_not_listened_to() -> None:
    stand_in = TelegramStandIn()
    content = update(stand_in)
    content["message"]["from"]["is_bot"] = True
    assert heard(TELEGRAM, stand_in, stand_in.update(content)).messages == ()
    del content["message"]["from"]
    assert heard(TELEGRAM, stand_in, stand_in.update(content)).messages == ()


def test_a_press_is_answered_at_once_so_that_its_button_stops_waiting() -> None:
    stand_in = TelegramStandIn()
    press = stand_in.press(GROUP, "88", "小满", "参团 3", "502", NOW)
    inbound = heard(TELEGRAM, stand_in, press)
    answer = {"method": "answerCallbackQuery", "callback_query_id": "press-502"}
    assert (inbound.reply.content_type, json.loads(inbound.reply.body)) == ("application/json", answer)
    content = TELEGRAM.opened(stand_in, press)
    del content["callback_query"]["message"]
    assert heard(TELEGRAM, stand_in, stand_in.update(content)).messages == ()


def test_a_group_that_became_a_supergroup_is_named_by_both_ids() -> None:
    stand_in = TelegramStandIn()
    content = update(stand_in)
    del content["message"]["text"]
    content["message"]["migrate_to_chat_id"] = -100123
    inbound = heard(TELEGRAM, stand_in, stand_in.update(content))
    assert (inbound.moved, inbound.messages) == ((GROUP, "-100123"), ())


async def test_saying_something_where_the_group_was_tells_where_it_is() -> None:
    stand_in = TelegramStandIn()
    stand_in.moved[GROUP] = "-100123"
    async with reaching(stand_in) as (http, _):
        for say in (
            PLATFORM.send(http, entered(stand_in), Destination(GROUP), CARD),
            PLATFORM.edit(http, entered(stand_in), Destination(GROUP), "1001", CARD),
        ):
            with pytest.raises(ChatMoved) as moved:
                await say
            assert moved.value.chat_id == "-100123"


async def test_saying_the_same_again_is_no_failure() -> None:
    stand_in = TelegramStandIn()
    to = Destination(GROUP)
    async with reaching(stand_in) as (http, _):
        sent = await PLATFORM.send(http, entered(stand_in), to, CARD)
        assert sent is not None
        await PLATFORM.edit(http, entered(stand_in), to, sent, CARD)
        with pytest.raises(ChatRefused, match="not found"):
            await PLATFORM.edit(http, entered(stand_in), to, "1", CARD)
    assert len(stand_in.transcript) == 1


async def test_an_answer_quotes_a_message_and_goes_to_one_where_it_is_for_one() -> None:
    stand_in = TelegramStandIn()
    (message,) = heard(TELEGRAM, stand_in, stand_in.say(GROUP, "88", "小满", "开团", "501", NOW)).messages
    async with reaching(stand_in) as (http, _):
        await PLATFORM.send(http, entered(stand_in), Destination(GROUP, message.reply_token), CARD)
        await PLATFORM.send(http, entered(stand_in), Destination(GROUP, message.reply_token, "88"), CARD)
    assert [said.chat_id for said in stand_in.transcript] == [GROUP, "88"]


async def test_a_command_that_fits_in_no_button_is_a_line() -> None:
    stand_in = TelegramStandIn()
    card = Card("龙井", (), (Button("短", command="参团 3"), Button("长", command="参" * 22)))
    async with reaching(stand_in) as (http, _):
        await PLATFORM.send(http, entered(stand_in), Destination(GROUP), card)
    (said,) = stand_in.transcript
    assert said.buttons == ("短",)
    assert said.text == "龙井\n长: " + "参" * 22


async def test_a_wait_that_is_asked_for_is_told() -> None:
    stand_in = TelegramStandIn()
    stand_in.busy = 1
    async with reaching(stand_in) as (http, _):
        with pytest.raises(ChatUnavailable) as told:
            await PLATFORM.send(http, entered(stand_in), Destination(GROUP), CARD)
    assert told.value.retry_after == 3


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked from the group chat"},
        {"ok": False, "error_code": 400, "description": "Bad Request: chat not found", "parameters": []},
        {"ok": "yes", "result": {"message_id": 1}},
    ],
)
async def test_no_is_no_also_with_http_200(answer: dict[str, Any]) -> None:
    for status in (200, 400, 403):
        async with answering((status, {"json": answer})) as http:
            with pytest.raises(ChatRefused):
                await PLATFORM.send(http, entered(TelegramStandIn()), Destination(GROUP), CARD)
