"""What each of WeCom, WeChat and DingTalk has for itself: modes, events, and what must not be mixed up."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.demo.platforms.errcodes import make_xml
from app.gateways.chat import msgcrypt
from app.gateways.chat.dingtalk import sign
from app.gateways.chat.platform import HookRequest
from tests.gateways.errcode_chats import NOW, Chat, open_chat

TIME = str(int(NOW.timestamp()))
ABOUT: dict[str, str | int] = {"ToUserName": "gh_1", "FromUserName": "u1", "CreateTime": int(TIME)}
TEXT: dict[str, str | int] = ABOUT | {"MsgType": "text", "Content": "开团 1", "MsgId": "24"}


def seal(chat: Chat, message: str, receive_id: str) -> tuple[str, dict[str, str]]:
    """A message in the envelope of the binding, and the query for it."""
    (token,), (key,) = chat.credentials["token"], chat.credentials["encoding_aes_key"]
    encrypted = msgcrypt.encrypt(key, receive_id, message.encode(), b"r" * 16)
    signature = msgcrypt.sign(token, TIME, "nonce", encrypted)
    return encrypted, {"msg_signature": signature, "timestamp": TIME, "nonce": "nonce"}


def push(chat: Chat, fields: dict[str, str | int], **outside: str | int) -> HookRequest:
    """Something that WeCom or WeChat says of an app, with this beside the ciphertext."""
    (receive_id,) = chat.credentials.get("corp_id") or chat.credentials["app_id"]
    encrypted, query = seal(chat, make_xml(fields), receive_id)
    return HookRequest("POST", query, {}, make_xml({**outside, "Encrypt": encrypted}).encode())


def plain(chat: Chat, body: str) -> HookRequest:
    """Something that WeChat says in plain mode."""
    (token,) = chat.credentials["token"]
    query = {"signature": msgcrypt.sign(token, TIME, "nonce"), "timestamp": TIME, "nonce": "nonce"}
    return HookRequest("POST", query, {}, body.encode())


@pytest.mark.parametrize("body", [make_xml(TEXT), json.dumps(TEXT | {"MsgId": 24})], ids=["xml", "json"])
def test_plain_mode_is_for_who_entered_no_key(body: str) -> None:
    chat = open_chat("wechat")
    inbound = chat.having(encoding_aes_key=()).read(plain(chat, body))
    (message,) = inbound.messages
    assert (message.message_id, message.chat_id, message.text, message.is_private) == ("24", "u1", "开团 1", True)
    assert (inbound.reply.body, inbound.replay_key) == (b"success", plain(chat, body).query["signature"])
    assert chat.is_refused(plain(chat, body)), "who took the signature of one message would choose the next"


def test_safe_mode_is_read_in_xml_and_json_and_with_the_plain_message_beside_it() -> None:
    chat = open_chat("wechat")
    for outside in ({}, {"ToUserName": "gh_1"}, TEXT):
        assert chat.read(push(chat, TEXT, **outside)).messages[0].text == "开团 1"
        encrypted, query = seal(chat, json.dumps(TEXT | {"MsgId": 24}), chat.credentials["app_id"][0])
        body = json.dumps({**outside, "Encrypt": encrypted}).encode()
        assert chat.read(HookRequest("POST", query, {}, body)).messages[0].message_id == "24"


@pytest.mark.parametrize("name", ["wecom", "wechat"])
@pytest.mark.parametrize(
    "lie", [{"FromUserName": "boss"}, {"Content": "取消"}, {"ToUserName": ""}, {"CreateTime": 1}]
)
def test_what_stands_beside_the_ciphertext_says_nothing_else(name: str, lie: dict[str, Any]) -> None:
    chat = open_chat(name)
    assert not chat.is_refused(push(chat, TEXT, **TEXT))
    assert chat.is_refused(push(chat, TEXT, **TEXT | lie))


@pytest.mark.parametrize(
    "body", ['{"Encrypt": "AAAA", "Encrypt": "%s"}', '{"a": {"b": 1, "b": 2}, "Encrypt": "%s"}']
)
def test_a_name_is_there_once_in_json_too(body: str) -> None:
    chat = open_chat("wechat")
    request = push(chat, TEXT)
    encrypted = request.body.decode().split("CDATA[")[1].split("]")[0]
    assert not chat.is_refused(replace(request, body=(b'{"Encrypt": "%s"}' % encrypted.encode())))
    assert chat.is_refused(replace(request, body=(body % encrypted).encode()))


@pytest.mark.parametrize("name", ["wecom", "wechat"])
def test_what_is_chosen_in_a_menu_is_said_once(name: str) -> None:
    chat = open_chat(name)
    click = {"wecom": "click", "wechat": "CLICK"}[name]
    chosen = ABOUT | {"MsgType": "event", "Event": click, "EventKey": "进度 1"}
    (first,), (again,) = (chat.read(push(chat, chosen)).messages for _ in range(2))
    assert (first.text, first.message_id) == ("进度 1", again.message_id)
    (later,) = chat.read(push(chat, chosen | {"CreateTime": int(TIME) + 1})).messages
    assert later.message_id != first.message_id


@pytest.mark.parametrize("name", ["wecom", "wechat"])
@pytest.mark.parametrize(
    "fields",
    [
        ABOUT | {"MsgType": "event", "Event": "subscribe", "EventKey": "qrscene_1"},
        ABOUT | {"MsgType": "event", "Event": "VIEW", "EventKey": "https://kaituan.example"},
        ABOUT | {"MsgType": "image", "MsgId": "1", "PicUrl": "https://kaituan.example"},
        ABOUT | {"MsgType": "text", "MsgId": "1", "Content": " \n"},
    ],
)
def test_what_says_nothing_is_answered_all_the_same(name: str, fields: dict[str, Any]) -> None:
    chat = open_chat(name)
    inbound = chat.read(push(chat, fields))
    assert (inbound.messages, inbound.reply.status) == ((), 200)


@pytest.mark.parametrize("name", ["wecom", "wechat"])
@pytest.mark.parametrize(
    "lie",
    [
        {"MsgId": ""},
        {"MsgId": "a b"},
        {"MsgId": "1" * 121},
        {"FromUserName": ""},
        {"FromUserName": "\u00a0"},
        {"CreateTime": "x"},
        {"CreateTime": -1},
        {"CreateTime": 10**10},
    ],
)
def test_a_message_without_ids_and_time_is_none(name: str, lie: dict[str, Any]) -> None:
    chat = open_chat(name)
    fields = TEXT | lie
    assert chat.is_refused(push(chat, fields))
    assert chat.is_refused(push(chat, {key: value for key, value in TEXT.items() if key not in lie}))


def test_the_handshake_of_wecom_reads_nobody_a_message() -> None:
    """Who saw a message pass could have it said back in plain, with the signature that it came with."""
    chat = open_chat("wecom")
    for request in (chat.say(), chat.say(is_private=True)):
        body = request.body.decode()
        encrypted = (
            json.loads(body)["encrypt"]
            if body.startswith("{")
            else body.split("Encrypt><![CDATA[")[1].split("]")[0]
        )
        query = {**request.query, "echostr": encrypted}
        assert chat.is_refused(HookRequest("GET", query, {}, b""))


@pytest.mark.parametrize("echo", ["", "<script>", "a b", "1" * 65, "１", "1\n"])
def test_the_handshake_of_wechat_says_no_markup(echo: str) -> None:
    chat = open_chat("wechat")
    request = chat.stand_in.handshake(NOW)
    assert chat.is_refused(replace(request, query=request.query | {"echostr": echo}))


def test_robots_and_apps_of_wecom_are_not_mixed_up() -> None:
    """A robot's message is encrypted for nobody in particular, and an app's for its corporation."""
    chat = open_chat("wecom")
    robot = {"msgid": "1", "msgtype": "text", "chattype": "group", "chatid": "c", "from": {"userid": "u"}}
    for receive_id, is_taken in (("", True), (chat.stand_in.corp_id, False)):
        encrypted, query = seal(chat, json.dumps(robot), receive_id)
        request = HookRequest("POST", query, {}, json.dumps({"encrypt": encrypted}).encode())
        assert chat.is_refused(request) is not is_taken
    encrypted, query = seal(chat, make_xml(TEXT), "")
    assert chat.is_refused(HookRequest("POST", query, {}, make_xml({"Encrypt": encrypted}).encode()))


@pytest.mark.parametrize(
    ("text", "read"),
    [("@开团 参团 1", "参团 1"), ("参团 1", "参团 1"), ("@开团", ""), ("@开团\u2005参团 1 @小明", "参团 1 @小明")],
)
def test_who_is_addressed_is_no_part_of_what_is_said(text: str, read: str) -> None:
    chat = open_chat("wecom")
    robot = {
        "msgid": "1",
        "msgtype": "text",
        "chattype": "single",
        "from": {"userid": "u"},
        "text": {"content": text},
    }
    encrypted, query = seal(chat, json.dumps(robot), "")
    messages = chat.read(HookRequest("POST", query, {}, json.dumps({"encrypt": encrypted}).encode())).messages
    assert [message.text for message in messages] == ([read] if read else [])
    assert [(message.chat_id, message.is_private) for message in messages] == ([("user:u", True)] if read else [])


@pytest.mark.parametrize("name", ["msg_signature", "signature"])
def test_an_event_of_dingtalk_is_answered_with_an_encrypted_success(name: str) -> None:
    chat = open_chat("dingtalk")
    request = chat.stand_in.handshake(NOW)
    signature = request.query["msg_signature"]
    rest = {key: value for key, value in request.query.items() if key != "msg_signature"}
    inbound = chat.read(replace(request, query=rest | {name: signature}))
    assert chat.stand_in.check_handshake(inbound.reply)
    assert inbound.reply.content_type == "application/json"
    assert inbound.replay_key == signature


def test_a_signature_of_dingtalk_vouches_for_one_message() -> None:
    """Its robots sign the time alone; so whatever body comes with a signature that was seen has its replay key."""
    chat = open_chat("dingtalk")
    request = chat.say("进度 1", "m1")
    forged = replace(request, body=chat.say("砍一刀 1", "m2").body)
    assert chat.read(forged).replay_key == chat.read(request).replay_key


@pytest.mark.parametrize("milliseconds", [TIME, f"{TIME}000"])
def test_dingtalk_signs_seconds_or_milliseconds(milliseconds: str) -> None:
    chat = open_chat("dingtalk")
    headers = {"timestamp": milliseconds, "sign": sign(chat.stand_in.app_secret, milliseconds)}
    assert not chat.is_refused(replace(chat.say(), headers=headers))
    assert chat.is_refused(replace(chat.say(), headers=headers, method="GET"))
    assert chat.is_refused(replace(chat.say(), headers=headers | {"timestamp": milliseconds + "0"}))


def test_somebody_from_outside_the_organisation_is_called_as_dingtalk_calls_them() -> None:
    chat = open_chat("dingtalk")
    request = chat.say()
    content = json.loads(request.body)
    del content["senderStaffId"]
    assert chat.read(replace(request, body=json.dumps(content).encode())).messages[0].sender_id == "$:LWCP_v1:$u1"
