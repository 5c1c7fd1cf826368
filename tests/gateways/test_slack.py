"""Slack: its published vector, its three kinds of webhooks, and its HTTP 200 that is none."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from app.demo.platforms.slack import ROBOT, SlackStandIn
from app.gateways.chat.platform import ChatRefused, ChatUnavailable, Destination, HookRequest
from app.gateways.chat.slack import BUSY, MAX_FIELDS, PLATFORM
from tests.gateways.kinds import CARD, KINDS, NOW, answering, entered, heard, reaching, refuses

SLACK = KINDS["slack"]
FORM = "application/x-www-form-urlencoded"


def test_the_published_vector_is_believed() -> None:
    """From docs.slack.dev/authentication/verifying-requests-from-slack."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    credentials = {"signing_secret": ("8f742231b10e8888abcd99yyyzzz85a5",)}
    now = datetime.fromtimestamp(1531420618, UTC)
    request = HookRequest("POST", {}, headers, body)
    (message,) = PLATFORM.read(credentials, request, now).messages
    assert (message.chat_id, message.sender_id, message.text) == ("G8PSS9T3V", "U2CERLKJA", "webhook-collect")
    for at in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[at] ^= 1 << bit
            assert refuses(SLACK, credentials, HookRequest("POST", {}, headers, bytes(changed)), now)


@pytest.mark.parametrize(
    ("command", "text", "understood"),
    [
        ("/kaituan", "参团 3", "参团 3"),
        ("/kaituan", "", "help"),
        ("/Kaituan", " 进度 ", "进度"),
        ("/join", "3", "join 3"),
        ("/join", "", "join"),
        ("/kaituan", "C++ & <b>", "C++ & <b>"),
    ],
)
def test_a_slash_command_is_said(command: str, text: str, understood: str) -> None:
    stand_in = SlackStandIn()
    request = stand_in.slash("1", "U1", "rose", command, text, "t1", NOW)
    inbound = heard(SLACK, stand_in, request)
    (message,) = inbound.messages
    assert (message.text, message.sender_name, message.chat_id) == (understood, "rose", "C1")
    assert inbound.reply.body == b""


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        (f"<@{ROBOT}> 参团 3", "参团 3"),
        (f"<@{ROBOT}|kaituan>参团", "参团"),
        ("<@U7> 参团 3", "<@U7> 参团 3"),
        (f"参团 <@{ROBOT}>", f"参团 <@{ROBOT}>"),
        ("a &amp;amp; &lt;b&gt;", "a &amp; <b>"),
    ],
)
def test_a_mention_of_us_is_no_part_of_what_was_said(text: str, understood: str) -> None:
    stand_in = SlackStandIn()
    event = {"type": "message", "user": "U1", "channel": "C1", "text": text, "ts": "1.000001"}
    (message,) = heard(SLACK, stand_in, stand_in.event(event, NOW)).messages
    assert message.text == understood


def test_a_mention_and_the_message_it_is_in_are_one() -> None:
    stand_in = SlackStandIn()
    event = {"user": "U1", "channel": "C1", "text": f"<@{ROBOT}> 参团", "ts": "1.000001", "thread_ts": "0.000001"}
    both = [
        heard(SLACK, stand_in, stand_in.event(event | {"type": kind}, NOW)).messages[0]
        for kind in ("message", "app_mention")
    ]
    assert both[0] == both[1]
    assert both[0].reply_token == "0.000001"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message", "subtype": "message_changed", "message": {}, "channel": "C1"},
        {"type": "message", "bot_id": "B1", "text": "开团", "channel": "C1", "ts": "1.1"},
        {"type": "user_change", "user": {"id": "U1"}},
        {"type": "channel_rename", "channel": {"id": "C1"}},
        {},
    ],
)
def test_what_nobody_said_is_acknowledged(event: dict[str, Any]) -> None:
    stand_in = SlackStandIn()
    inbound = heard(SLACK, stand_in, stand_in.event(event, NOW))
    assert (inbound.reply.status, inbound.messages) == (200, ())


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "view_submission", "user": {"id": "U1"}},
        {"type": "block_actions", "user": {"id": "U1"}, "channel": {"id": "C1"}, "actions": []},
        {
            "type": "block_actions",
            "user": {"id": "U1"},
            "channel": {"id": "C1"},
            "actions": [{"type": "button", "action_ts": "1.1"}],
        },
        {"type": "block_actions", "user": {"id": "U1"}, "actions": []},
    ],
)
def test_a_press_that_says_nothing_is_acknowledged(payload: dict[str, Any]) -> None:
    stand_in = SlackStandIn()
    body = urlencode({"payload": json.dumps(payload)}).encode()
    assert heard(SLACK, stand_in, stand_in.signed(body, FORM, NOW)).messages == ()


@pytest.mark.parametrize(
    "body",
    [
        urlencode({"payload": "{"}),
        urlencode({"payload": json.dumps({"type": "block_actions", "response_url": "https://evil.example/"})}),
        urlencode({"command": "/join", "text": "3"}),
        "&".join(f"f{number}=1" for number in range(MAX_FIELDS + 1)),
        "\udcff",
        "[]",
        "",
    ],
)
def test_what_is_signed_and_makes_no_sense_is_refused(body: str) -> None:
    stand_in = SlackStandIn()
    raw = body.encode(errors="surrogateescape")
    assert refuses(SLACK, entered(stand_in), stand_in.signed(raw, FORM, NOW))


def test_a_check_of_our_certificate_is_acknowledged() -> None:
    stand_in = SlackStandIn()
    inbound = heard(SLACK, stand_in, stand_in.signed(b"ssl_check=1&token=x", FORM, NOW))
    assert (inbound.reply.status, inbound.messages) == (200, ())


async def test_an_answer_by_its_address_is_for_all_or_for_one() -> None:
    stand_in = SlackStandIn()
    (message,) = heard(SLACK, stand_in, stand_in.slash("1", "U1", "rose", "/join", "3", "t1", NOW)).messages
    async with reaching(stand_in) as (http, transport):
        for only_to in (None, "U1", None, None, None):
            to = Destination(message.chat_id, message.reply_token, only_to)
            assert await PLATFORM.send(http, entered(stand_in), to, CARD) is None
        with pytest.raises(ChatRefused, match="used_url"):
            await PLATFORM.send(http, entered(stand_in), to, CARD)
    assert [said.only_to for said in stand_in.transcript] == [None, "U1", None, None, None]
    assert set(transport.hosts) == {"hooks.slack.com"}


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/commands/T0/x",
        "https://hooks.slack.com.evil.example/x",
        "https://hooks.slack.com@evil.example/x",
        "https://hooks.slack.com:8443/x",
        "https:\\\\hooks.slack.com/x",
        "https:hooks.slack.com/x",
    ],
)
async def test_an_answer_goes_to_slack_only(address: str) -> None:
    stand_in = SlackStandIn()
    async with reaching(stand_in) as (http, transport):
        with pytest.raises(ChatRefused):
            await PLATFORM.send(http, entered(stand_in), Destination("C1", address), CARD)
    assert transport.hosts == []


async def test_who_alone_is_meant_alone_sees_it() -> None:
    stand_in = SlackStandIn()
    async with reaching(stand_in) as (http, _):
        assert await PLATFORM.send(http, entered(stand_in), Destination("C1", None, "U1"), CARD) is None
        assert await PLATFORM.send(http, entered(stand_in), Destination("D1", None, "U1"), CARD)
    assert [said.only_to for said in stand_in.transcript] == ["U1", None]


@pytest.mark.parametrize("error", sorted(BUSY))
async def test_too_much_at_once_is_told_by_a_word(error: str) -> None:
    async with answering((200, {"json": {"ok": False, "error": error}})) as http:
        with pytest.raises(ChatUnavailable):
            await PLATFORM.send(http, entered(SlackStandIn()), Destination("C1"), CARD)


async def test_http_200_that_is_not_ok_is_a_refusal() -> None:
    for to in (Destination("C1"), Destination("C1", "https://hooks.slack.com/x")):
        async with answering((200, {"json": {"ok": False, "error": "not_in_channel"}})) as http:
            with pytest.raises(ChatRefused, match="not_in_channel"):
                await PLATFORM.send(http, entered(SlackStandIn()), to, CARD)
