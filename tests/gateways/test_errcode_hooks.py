"""Webhooks of WeCom, WeChat and DingTalk: what is read of honest ones, and that every other one is refused."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.demo.platforms.errcodes import make_key, make_xml
from app.domain.errors import SignatureInvalid
from app.gateways.chat import msgcrypt
from app.gateways.chat.platform import HookRequest, Inbound
from tests.gateways.errcode_chats import NOW, PLAYED, Chat, flip, open_chat, put

Make = Callable[[Chat], HookRequest]
SIGNED = {"signature", "msg_signature", "timestamp", "nonce", "sign"}
REQUESTS: dict[str, tuple[str, Make]] = {
    f"{name} {what}": (name, make)
    for name in PLAYED
    for what, make in {
        "handshake": lambda chat: chat.stand_in.handshake(NOW),
        "said": lambda chat: chat.say(),
        "said alone": lambda chat: chat.say(is_private=True),
        "pressed": lambda chat: chat.press(),
        "pressed alone": lambda chat: chat.press(is_private=True),
    }.items()
}
every_request = pytest.mark.parametrize(("name", "make"), REQUESTS.values(), ids=REQUESTS.keys())
every_platform = pytest.mark.parametrize("name", PLAYED)
names = st.sampled_from(sorted(PLAYED))


@every_platform
def test_a_handshake_is_answered_as_the_platform_wants(name: str) -> None:
    chat = open_chat(name)
    inbound = chat.read(chat.stand_in.handshake(NOW))
    assert inbound.messages == ()
    assert chat.stand_in.check_handshake(inbound.reply)
    assert not chat.stand_in.check_handshake(replace(inbound.reply, body=inbound.reply.body[:-1]))


@every_platform
@pytest.mark.parametrize("is_private", [False, True])
def test_what_is_said_and_what_is_pressed_is_read(name: str, *, is_private: bool) -> None:
    chat = open_chat(name)
    for request in (
        chat.say("开团 1", "m1", is_private=is_private),
        chat.press("开团 1", "m1", is_private=is_private),
    ):
        inbound = chat.read(request)
        (message,) = inbound.messages
        assert (message.sender_id, message.text, message.sent_at) == ("u1", "开团 1", NOW)
        assert message.is_private is (is_private or name == "wechat")
        assert message.chat_id == ("u1" if name == "wechat" else "user:u1" if is_private else "chat1")
        assert message.sender_name == ("小明" if name == "dingtalk" else None)
        assert inbound.reply.status == 200
        assert inbound.replay_key
    assert chat.read(chat.say(message_id="m2")).messages[0].message_id == "m2"


@every_request
def test_a_repetition_has_the_same_ids_and_another_request_another_replay_key(name: str, make: Make) -> None:
    chat = open_chat(name)
    request = make(chat)
    first, again = chat.read(request), chat.read(request)
    assert (first.messages, first.replay_key) == (again.messages, again.replay_key)
    other = chat.stand_in.say("chat1", "u1", "小明", "开团 1", "m1", NOW + timedelta(milliseconds=1))
    assert chat.read(other).replay_key not in {None, first.replay_key}


@every_request
def test_no_bit_of_a_request_may_be_another(name: str, make: Make) -> None:
    """But of what the platform itself does not vouch for: the body of what DingTalk's robots are told, and the word
    that WeChat wants to hear back.
    """
    chat = open_chat(name)
    request = make(chat)
    assert not chat.is_refused(request)
    parts: list[tuple[str, str | None, int]] = [
        (part, entry, len(getattr(request, part)[entry]))
        for part in ("query", "headers")
        for entry in sorted(getattr(request, part))
        if entry in SIGNED or (entry == "echostr" and name == "wecom")
    ]
    if "sign" not in request.headers:
        parts.append(("body", None, len(request.body)))
    taken = [
        (part, entry, place, bit)
        for part, entry, length in parts
        for place in range(length)
        for bit in range(8)
        if not chat.is_refused(flip(request, part, entry, place, bit))
    ]
    assert taken == []


@every_request
def test_every_part_that_is_signed_has_to_be_there(name: str, make: Make) -> None:
    chat = open_chat(name)
    request = make(chat)
    for part in ("query", "headers"):
        for entry in SIGNED & getattr(request, part).keys():
            if name == "wechat" and entry == "signature" and "msg_signature" in request.query:
                continue  # the older one of two: it says nothing about the body
            assert chat.is_refused(put(request, part, entry, None)), entry
    assert request.method == "GET" or chat.is_refused(replace(request, body=b""))


@every_request
def test_time_has_a_window_both_ways(name: str, make: Make) -> None:
    chat = open_chat(name)
    request = make(chat)
    assert not chat.is_refused(request, NOW + timedelta(seconds=300))
    assert not chat.is_refused(request, NOW - timedelta(seconds=300))
    for seconds in (301, 3600):
        assert chat.is_refused(request, NOW + timedelta(seconds=seconds))
        assert chat.is_refused(request, NOW - timedelta(seconds=seconds))


@every_request
def test_while_a_secret_is_rotated_two_are_taken(name: str, make: Make) -> None:
    chat = open_chat(name)
    request = make(chat)
    for field in chat.platform.credentials:
        if field.rotates:
            other = make_key() if field.name == "encoding_aes_key" else token_hex(8)
            mine = chat.credentials[field.name]
            assert not chat.having(**{field.name: (other, *mine)}).is_refused(request)
            assert not chat.having(**{field.name: (*mine, other)}).is_refused(request)
            needed = chat.having(**{field.name: ()}).is_refused(request)
            assert needed is chat.having(**{field.name: (other,)}).is_refused(request)
    assert chat.having(token=(), app_secret=()).is_refused(request)
    assert chat.having(token=("other",), app_secret=("other",)).is_refused(request)


@every_platform
def test_a_handshake_during_rotation_is_answered_with_the_secret_it_was_made_with(name: str) -> None:
    chat = open_chat(name)
    request = chat.stand_in.handshake(NOW)
    token, key = chat.credentials["token"], chat.credentials["encoding_aes_key"]
    inbound = chat.having(token=("other", *token), encoding_aes_key=(make_key(), *key)).read(request)
    assert chat.stand_in.check_handshake(inbound.reply)


@every_platform
def test_what_is_meant_for_another_receiver_is_refused(name: str) -> None:
    chat = open_chat(name)
    for request in (chat.stand_in.handshake(NOW), chat.say(is_private=True)):
        if "msg_signature" in request.query:
            assert chat.having(corp_id=("other",), app_id=("other",), app_key=("other",)).is_refused(request)
            assert chat.having(corp_id=(), app_id=(), app_key=()).is_refused(request)


@every_platform
def test_credentials_take_what_their_patterns_say_and_reading_needs_none(name: str) -> None:
    chat = open_chat(name)
    fields = {field.name: field for field in chat.platform.credentials}
    assert {field.name for field in fields.values() if field.required} <= chat.credentials.keys() <= fields.keys()
    for make in (make for owner, make in REQUESTS.values() if owner == name):
        with pytest.raises(SignatureInvalid):
            chat.platform.read({}, make(chat), NOW)


texts = st.text(max_size=30)
entries = st.dictionaries(
    st.sampled_from([*sorted(SIGNED), "echostr", "encrypt_type", "openid"]) | texts, texts, max_size=6
)


@settings(max_examples=300)
@given(names, st.sampled_from(["GET", "POST", "PUT", ""]), entries, entries, st.binary(max_size=100))
def test_whatever_comes_is_refused(
    name: str, method: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    assert CHATS[name].is_refused(HookRequest(method, query, headers, body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
HONEST: list[dict[str, Any]] = [
    {
        "msgid": "1",
        "msgtype": "text",
        "chattype": "group",
        "chatid": "c1",
        "from": {"userid": "u1"},
        "response_url": "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=1",
        "text": {"content": "@开团 开团 1"},
        "event": {},
    },
    {
        "ToUserName": "gh_1",
        "FromUserName": "u1",
        "CreateTime": 1700000000,
        "MsgType": "text",
        "MsgId": "1",
        "Content": "开团 1",
        "Event": "",
        "EventKey": "",
    },
    {
        "conversationId": "c1",
        "conversationType": "2",
        "msgId": "1",
        "senderId": "$:LWCP_v1:$u1",
        "senderStaffId": "u1",
        "senderNick": "小明",
        "createAt": 1700000000000,
        "msgtype": "text",
        "sessionWebhook": "https://oapi.dingtalk.com/robot/sendBySession?session=1",
        "text": {"content": " 开团 1"},
    },
    {"EventType": "check_url"},
]
FIELDS = sorted({name for message in HONEST for name in message})
WORDS = [
    "text",
    "event",
    "click",
    "CLICK",
    "template_card_event",
    "single",
    "group",
    "1",
    "2",
    "u1",
    "",
    " ",
    "a" * 2000,
]
likely = st.sampled_from([*WORDS, 1, 0, -1, 0.5, 10**30, "\ud800", "\0", {"userid": "\0"}, {"content": "\0 开团"}])
objects = st.builds(
    lambda honest, more, gone: {name: value for name, value in (honest | more).items() if name not in gone},
    st.sampled_from(HONEST),
    st.dictionaries(st.sampled_from(FIELDS), likely | json_values, max_size=3),
    st.sets(st.sampled_from(FIELDS), max_size=1),
)
contents = (
    st.binary(max_size=100)
    | objects.map(lambda content: json.dumps(content).encode())
    | objects.map(lambda content: as_xml(content).encode(errors="surrogatepass"))
)


def as_xml(content: dict[str, Any]) -> str:
    return make_xml({name: value if isinstance(value, int) else str(value) for name, value in content.items()})


@settings(max_examples=600)
@given(names, contents)
def test_whatever_is_signed_is_read_or_refused(name: str, content: bytes) -> None:
    """Who has the secrets, or the platform itself, may say anything."""
    chat = CHATS[name]
    credentials = chat.credentials
    time, nonce = str(int(NOW.timestamp())), "1"
    (token,), (key,) = credentials["token"], credentials["encoding_aes_key"]
    for receive_id in (
        "",
        *credentials.get("corp_id", ()),
        *credentials.get("app_id", ()),
        *credentials.get("app_key", ()),
    ):
        encrypted = msgcrypt.encrypt(key, receive_id, content, b"r" * 16)
        query = {
            "msg_signature": msgcrypt.sign(token, time, nonce, encrypted),
            "signature": msgcrypt.sign(token, time, nonce),
            "timestamp": time,
            "nonce": nonce,
        }
        envelopes = ({"encrypt": encrypted}, {"Encrypt": encrypted})
        for body in (*map(json.dumps, envelopes), make_xml({"Encrypt": encrypted})):
            read_soundly(chat, HookRequest("POST", query, {}, body.encode()))
        read_soundly(chat, HookRequest("GET", query | {"echostr": encrypted}, {}, b""))
    read_soundly(chat.having(encoding_aes_key=()), HookRequest("POST", query, {}, content))
    signed = chat.say()
    read_soundly(chat, replace(signed, body=content))


def read_soundly(chat: Chat, request: HookRequest) -> None:
    """Read something that may be read: then everything in it can be kept."""
    with suppress(SignatureInvalid):
        inbound = chat.read(request)
        assert isinstance(inbound, Inbound)
        for message in inbound.messages:
            texts = (
                message.message_id,
                message.chat_id,
                message.sender_id,
                message.text,
                message.sender_name or "",
            )
            assert "\0" not in "".join(texts)
            assert "".join(texts).encode()
            assert all(0 < len(text) <= 1000 for text in texts[:4])
            assert message.sent_at >= datetime(1970, 1, 1, tzinfo=UTC)


CHATS = {name: open_chat(name) for name in PLAYED}
