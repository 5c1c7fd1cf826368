"""Guards of WeCom, WeChat and DingTalk: what is signed, what is in the envelope, what is answered."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from app.domain.errors import SignatureInvalid
from app.gateways import signatures
from app.gateways.chat import dingtalk, msgcrypt
from app.gateways.chat.platform import Button, Card, ChatRefused, ChatUnavailable, Destination, HookRequest
from app.gateways.chat.xmlfields import read_fields
from tests.gateways.errcode_chats import NOW, Chat, open_chat, put
from tests.gateways.test_errcode_sending import say
from tests.gateways.test_errcode_wire import ABOUT, TEXT, TIME, plain, push
from tests.gateways.test_msgcrypt import KEY, VECTORS, encipher
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

CODEC, XML, PUSHES = (f"app.gateways.chat.{name}" for name in ("msgcrypt", "xmlfields", "pushes"))
SENDING, CODES = (f"app.gateways.chat.{name}" for name in ("sending", "errcodes"))
WECOM, WECHAT, DINGTALK = (f"app.gateways.chat.{name}" for name in ("wecom", "wechat", "dingtalk"))
CARD = Card("土鸡蛋", ("小明开团了",), (Button("参团", command="参团 1"),))


def verify(time: str = TIME, nonce: str = "1", encrypted: str = "AAAA", named: str = "ours") -> None:
    """Check a signature that fits, whatever it is of, unless it is made with another token."""
    signature = msgcrypt.sign("ours", time, nonce, encrypted) if encrypted.isascii() else "0" * 40
    msgcrypt.verify([named], signature, time, nonce, NOW, encrypted)


@notices(
    Cut(f"{CODEC}.verify", "NONCE.fullmatch(nonce)", "True"),
    Cut(f"{CODEC}.verify", "TIME.fullmatch(time)", "True"),
    Cut(f"{CODEC}.verify", "all((part.isascii() for part in parts))", "True"),
    Cut(f"{CODEC}.verify", "signatures.signed_at(time[:SECONDS], now)", "None"),
    *cuts(f"{CODEC}.verify", "True not in fits"),
)
async def what_is_signed_has_a_form_and_a_time(_: World) -> None:
    verify()
    for bad in (
        {"nonce": "1" * 65},
        {"time": f"{TIME}0"},
        {"time": str(int(TIME) - 301)},
        {"encrypted": "\ud800"},
        {"named": "another"},
    ):
        with pytest.raises(SignatureInvalid):
            verify(**bad)


@notices(
    *cuts(
        "app.gateways.signatures.signed_at",
        "not re.fullmatch('[0-9]{1,12}', time)",
        "abs(int(time) - now.timestamp()) > WINDOW_SECONDS",
    )
)
async def a_time_is_in_digits_and_about_now(_: World) -> None:
    for time in ("", f"{int(TIME) + 301}", "１", "1" * 5000):
        with pytest.raises(SignatureInvalid):
            signatures.signed_at(time, NOW)
    assert signatures.signed_at(TIME, NOW)


@notices(
    Cut(f"{CODEC}.decrypt", "signatures.matches(receiver, receive_ids)", "True"),
    Cut(f"{CODEC}._open", "not is_padded", "False"),
    Cut(f"{CODEC}._open", "len(content) < 4 + length", "False"),
)
async def what_is_in_the_envelope_is_whole_and_for_us(_: World) -> None:
    vector = VECTORS["wecom-url"]
    good = b"r" * 16 + (2).to_bytes(4) + b"ab" + b"id"
    beyond = b"r" * 16 + (2**31).to_bytes(4) + bytes([12]) * 12
    for padded, receive_id in ((good + b"\1\2\3\4\5\6\7\10", "id"), (beyond, "")):
        with pytest.raises(SignatureInvalid):
            msgcrypt.decrypt([KEY], [receive_id], encipher(KEY, padded))
    with pytest.raises(SignatureInvalid):
        msgcrypt.decrypt([vector.key], ["another"], vector.encrypted)
    assert msgcrypt.decrypt([KEY], ["id"], encipher(KEY, good + bytes([8]) * 8))[0] == b"ab"


@notices(
    Cut(
        f"{XML}._Reader.__init__",
        "parser.StartDoctypeDeclHandler = parser.ProcessingInstructionHandler = parser.CommentHandler = _refuse",
        "None",
    ),
    Cut(f"{XML}._Reader._start", "attributes or", "False or"),
    *cuts(f"{XML}._Reader._start", "len(self._path) > MAX_DEPTH", "name in self.fields"),
    *cuts(f"{XML}._Reader._text", "not text.isspace()"),
)
async def xml_is_fields_and_nothing_else(_: World) -> None:
    for body in (
        '<!DOCTYPE xml [<!ENTITY a "ha">]><xml><A>&a;</A></xml>',
        "<xml><A a='b'>a</A></xml>",
        "<xml>" + "<A>" * 20 + "</A>" * 20 + "</xml>",
        "<xml><A>a</A><A>b</A></xml>",
        "<xml>a<A>a</A></xml>",
    ):
        with pytest.raises(SignatureInvalid):
            read_fields(body.encode())
    assert read_fields(b"<xml> <A>a</A>\n</xml>") == {"A": "a"}


@notices(
    *cuts(f"{PUSHES}.read_push", "any((fields.get(name, value) != value for name, value in outside.items()))"),
    *cuts(f"{PUSHES}._once", "len(content) < len(pairs)"),
    *cuts(f"{PUSHES}.Push._text_has_an_id", "self.msg_type == 'text' and self.msg_id is None"),
)
async def a_push_says_one_thing_and_has_an_id(_: World) -> None:
    chat = open_chat("wechat")
    assert not chat.is_refused(push(chat, TEXT, **TEXT))
    assert chat.is_refused(push(chat, TEXT, **TEXT | {"FromUserName": "boss"}))
    assert chat.is_refused(push(chat, ABOUT | {"MsgType": "text", "Content": "开团"}))
    twice = json.dumps(TEXT).replace('"MsgType"', '"FromUserName": "boss", "MsgType"')
    assert chat.having(encoding_aes_key=()).is_refused(plain(chat, twice))


@notices(
    Cut(f"{WECHAT}.WeChat.read", "if not keys:", "if 'msg_signature' not in query:"),
    Cut(f"{WECHAT}.WeChat.read", "_verify(credentials, query, 'msg_signature', now, encrypted)", "None"),
    Cut(f"{WECHAT}.WeChat.read", "_verify(credentials, query, 'signature', now)", "None"),
    *cuts(f"{WECHAT}.WeChat.read", "if not ECHO.fullmatch(echo)"),
)
async def wechat_is_believed_in_the_mode_that_was_chosen(_: World) -> None:
    chat = open_chat("wechat")
    body = json.dumps(TEXT)
    assert chat.is_refused(plain(chat, body))
    open_one = chat.having(encoding_aes_key=())
    assert not open_one.is_refused(plain(chat, body))
    assert open_one.is_refused(put(plain(chat, body), "query", "signature", "0" * 40))
    assert chat.is_refused(put(push(chat, TEXT), "query", "msg_signature", "0" * 40))
    assert chat.is_refused(put(chat.stand_in.handshake(NOW), "query", "echostr", "<script>"))


@notices(
    *cuts(f"{WECOM}._echo", "not message.isalnum()"),
    Cut(
        f"{WECOM}._unseal",
        "msgcrypt.verify(credentials.get('token', ()), signature, time, nonce, now, encrypted)",
        "None",
    ),
)
async def wecom_is_believed_and_reads_nobody_a_message(_: World) -> None:
    chat = open_chat("wecom")
    request = chat.say()
    assert chat.is_refused(put(request, "query", "msg_signature", "0" * 40))
    encrypted = json.loads(request.body)["encrypt"]
    assert chat.is_refused(HookRequest("GET", {**request.query, "echostr": encrypted}, {}, b""))


@notices(
    *cuts(
        f"{DINGTALK}._robot_message",
        "not msgcrypt.TIME.fullmatch(milliseconds)",
        "not signatures.matches(signature, [sign(secret, milliseconds) for secret in secrets])",
    ),
    Cut(f"{DINGTALK}._robot_message", "signatures.signed_at(milliseconds[:msgcrypt.SECONDS], now)", "None"),
    *cuts(f"{DINGTALK}.DingTalk.read", "request.method != 'POST'"),
)
async def dingtalk_is_believed_while_its_time_is_about_now(_: World) -> None:
    chat = open_chat("dingtalk")
    request = chat.say()
    assert not chat.is_refused(request)
    assert chat.is_refused(request, NOW + timedelta(seconds=301))
    assert chat.is_refused(replace(request, method="GET"))
    assert chat.is_refused(put(request, "headers", "sign", dingtalk.sign("another", f"{TIME}000")))
    longer = put(request, "headers", "timestamp", f"{TIME}0000")
    assert chat.is_refused(put(longer, "headers", "sign", dingtalk.sign(chat.stand_in.app_secret, f"{TIME}0000")))


async def refused(kind: type[Exception], chat: Chat, to: Destination) -> None:
    """Have something said, and see it not being said."""
    with pytest.raises(kind):
        await say(chat, to, CARD)
    assert chat.stand_in.transcript == []


@notices(Cut(f"{CODES}.answers_here", "if to.only_to is None or to.chat_id.startswith(PRIVATE) else None", ""))
async def what_is_for_one_is_not_said_before_all(_: World) -> None:
    for name in ("wecom", "dingtalk"):
        chat = open_chat(name).having(corp_secret=(), app_key=())
        await refused(ChatRefused, chat, replace(chat.asked(), only_to="u1"))


@notices(
    *cuts(f"{WECOM}.WeCom.send", "not address.startswith(f'{API}/')"),
    *cuts(f"{DINGTALK}.DingTalk.send", "not address.startswith(f'{ROBOT}/sendBySession?')"),
)
async def an_answer_goes_to_the_platform_only(_: World) -> None:
    for name in ("wecom", "dingtalk"):
        await refused(ChatRefused, open_chat(name), Destination("chat1", "https://evil.example/"))


def answering(reply: httpx.Response) -> Callable[[str, Destination], Awaitable[None]]:
    """Say something to a platform that always answers this."""

    async def send(name: str, to: Destination) -> None:
        chat = open_chat(name)
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: reply)) as http:
            await chat.platform.send(http, chat.credentials, to, CARD)

    return send


@notices(
    *cuts(f"{CODES}.check", "code in busy", "if code != 0"),
    *cuts(f"{CODES}.read_token", "not isinstance(content.get(name), str)"),
    *cuts(f"{DINGTALK}._check", "any((word in code.replace('.', '').lower() for word in BUSY_WORDS))"),
    Cut(f"{DINGTALK}._check", "if answer.is_ok", "if True"),
    *cuts(
        f"{DINGTALK}.DingTalk._send_as_app",
        "answer.get('flowControlledStaffIdList')",
        "answer.get('invalidStaffIdList')",
    ),
    *cuts(f"{WECOM}.WeCom.send", "errcodes.check(answer, credentials, BUSY, BUSY_SECONDS).get('invaliduser')"),
    *cuts(
        f"{SENDING}.call",
        "response.status_code == httpx.codes.TOO_MANY_REQUESTS",
        "response.is_server_error",
    ),
)
async def what_was_not_said_is_not_taken_for_said(_: World) -> None:
    group, app = Destination("chat1"), Destination("user:u1")
    for content, kind in (({"errcode": 45009}, ChatUnavailable), ({"errcode": 93000}, ChatRefused)):
        with pytest.raises(kind):
            await answering(httpx.Response(200, json=content))("wecom", group)
    nobody = {"errcode": 0, "access_token": "t", "expires_in": 7200, "invaliduser": "u1"}
    with pytest.raises(ChatRefused):
        await answering(httpx.Response(200, json=nobody))("wecom", app)
    for status, words, kind in (
        (403, {"code": "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"}, ChatUnavailable),
        (403, {"code": "Forbidden"}, ChatRefused),
        (200, {"flowControlledStaffIdList": ["u1"]}, ChatUnavailable),
        (200, {"invalidStaffIdList": ["u1"]}, ChatRefused),
        (200, {"accessToken": None}, ChatRefused),
    ):
        reply = httpx.Response(status, json={"accessToken": "t", "expireIn": 7200, "processQueryKey": "1"} | words)
        with pytest.raises(kind):
            await answering(reply)("dingtalk", Destination("chat1", only_to="u1"))
    for status in (429, 503):
        with pytest.raises(ChatUnavailable):
            await answering(httpx.Response(status, json={"errcode": 0}))("wecom", group)


@notices(
    *cuts(
        f"{WECOM}._card",
        "not 1 <= len(card.buttons) <= MAX_CARD_BUTTONS",
        "len(card.title) > MAX_CARD_TITLE",
        "len(text) > MAX_CARD_TEXT",
        "not (can_link or all((button.command for button in card.buttons)))",
    )
)
async def a_card_of_wecom_has_room_for_so_much(_: World) -> None:
    chat = open_chat("wecom")
    link = Button("支付", url="https://kaituan.example")
    assert (await say(chat, chat.asked(), CARD)).buttons == ("参团",)
    for card in (
        replace(CARD, buttons=()),
        replace(CARD, buttons=CARD.buttons * 7),
        replace(CARD, title="名" * 27),
        replace(CARD, lines=("名" * 113,)),
        replace(CARD, buttons=(link,)),
    ):
        assert (await say(chat, chat.asked(), card)).buttons == ()
