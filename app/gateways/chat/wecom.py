"""WeCom (企业微信): callbacks of apps and of intelligent robots, app messages, group robots.

Specifications, below developer.work.weixin.qq.com/document/path/: 90930 and 90968 (callbacks), 90239 and 90240
(messages and events of apps), 100719, 101027 and 101138 (intelligent robots), 90236 (sending as an app), 91770
(group robots), 90313 (error codes).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, Field

from app.domain.errors import SignatureInvalid
from app.gateways import signatures
from app.gateways.chat import errcodes, msgcrypt, pushes, reading, sending
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatPlatform,
    ChatRefused,
    CredentialField,
    Credentials,
    Destination,
    HookReply,
    HookRequest,
    Inbound,
)
from app.gateways.chat.texts import fit, unmarked
from app.gateways.chat.xmlfields import read_fields

API = "https://qyapi.weixin.qq.com/cgi-bin"
MENTION = re.compile(r"@\S+\s*")
PRESSED = {"click", "template_card_event"}
BUSY = {-1, 45009, 45033}
"""System busy, called too often, too many at once."""
BUSY_SECONDS = 60.0
MAX_MARKDOWN_BYTES = 4096
MAX_CARD_TITLE, MAX_CARD_TEXT, MAX_CARD_BUTTONS = 26, 112, 6
"""What a template card shows; a longer one goes out as markdown."""


class Speaker(BaseModel):
    userid: reading.Id


class Text(BaseModel):
    content: str = ""


class Pressed(BaseModel):
    event_key: str = ""


class Event(BaseModel):
    template_card_event: Pressed | None = None


class RobotMessage(BaseModel):
    """What an intelligent robot is told. In a private conversation there is no chat id."""

    msgid: reading.Id
    msgtype: str
    chattype: Literal["single", "group"]
    chatid: reading.Id | None = None
    speaker: Annotated[Speaker, Field(alias="from")]
    response_url: Annotated[str, Field(max_length=1000)] | None = None
    text: Text = Text()
    event: Event = Event()


class Envelope(BaseModel):
    encrypt: str


class WeCom(errcodes.Unchanging):
    """Implements `ChatPlatform`."""

    name = "wecom"
    credentials: tuple[CredentialField, ...] = (
        CredentialField("token", "回调配置的 Token / Token of the callback", required=False, rotates=True),
        CredentialField(
            "encoding_aes_key",
            "回调配置的 EncodingAESKey / EncodingAESKey of the callback",
            required=False,
            rotates=True,
            pattern=msgcrypt.KEY_PATTERN,
        ),
        CredentialField("corp_id", "企业 ID（自建应用） / Corp id, for an app", required=False),
        CredentialField("corp_secret", "应用的 Secret / Secret of the app", required=False),
        CredentialField("agent_id", "应用的 AgentId / AgentId of the app", required=False, pattern="^[0-9]{1,12}$"),
        CredentialField(
            "robot_key", "群机器人地址中的 key / `key` in the address of a group robot", required=False
        ),
    )
    users_of = "corp_id"
    hosts = frozenset({"qyapi.weixin.qq.com"})
    per_minute = 20

    def __init__(self) -> None:
        self._tokens = errcodes.Tokens()

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        apps = credentials.get("corp_id", ())
        if request.method == "GET":
            echo = request.query.get("echostr", "")
            return _echo(_unseal(credentials, request, echo, (*apps, ""), now))
        if request.body.startswith(b"{"):
            encrypted = reading.parse(Envelope, request.body).encrypt
            content = reading.parse(RobotMessage, _unseal(credentials, request, encrypted, ("",), now))
            return _robot_message(content, request.query["msg_signature"], request.query["timestamp"], now)
        outside = read_fields(request.body)
        message = _unseal(credentials, request, outside.pop("Encrypt", ""), apps, now)
        return _app_message(*pushes.read_push(outside, message), request.query["msg_signature"])

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        address, user = errcodes.answers_here(to), errcodes.person(to)
        robot = sending.first(credentials, "robot_key")
        if address is not None:
            if not address.startswith(f"{API}/"):
                raise ChatRefused("the address to answer to is not WeCom's")
            content = _card(card, can_link=False) or _markdown(card)
            answer = await sending.call(http, "POST", address, content)
        elif user is not None and credentials.get("corp_secret"):
            answer = await self._send_as_app(http, credentials, user, card)
        elif user is None and robot is not None:
            answer = await sending.call(http, "POST", _url("webhook/send", key=robot), _markdown(card))
        else:
            raise ChatRefused("one person alone is told by an app, a group by a group robot: that was not entered")
        if errcodes.check(answer, credentials, BUSY, BUSY_SECONDS).get("invaliduser"):
            raise ChatRefused("the app may not write to this person")
        return None

    async def _send_as_app(
        self, http: httpx.AsyncClient, credentials: Credentials, user: str, card: Card
    ) -> sending.Answer:
        corp, secret, agent = (
            sending.first(credentials, name) or "" for name in ("corp_id", "corp_secret", "agent_id")
        )
        content = _card(card, can_link=True) or _markdown(card)
        message = {"touser": user, "agentid": int(agent or 0), **content}

        async def fetch() -> tuple[str, float]:
            answer = await sending.call(http, "GET", _url("gettoken", corpid=corp, corpsecret=secret))
            given = errcodes.check(answer, credentials, BUSY, BUSY_SECONDS)
            return errcodes.read_token(given, "access_token", "expires_in")

        async def call(token: str) -> sending.Answer:
            return await sending.call(http, "POST", _url("message/send", access_token=token), message)

        return await self._tokens.use((corp, secret), fetch, call)


PLATFORM: ChatPlatform = WeCom()


def _url(path: str, **query: str) -> str:
    return f"{API}/{path}?{urlencode(query)}"


def _unseal(
    credentials: Credentials, request: HookRequest, encrypted: str, receive_ids: Sequence[str], now: datetime
) -> bytes:
    """What was encrypted for one of these receivers. Raises `SignatureInvalid`."""
    signature, time, nonce = (request.query.get(name, "") for name in ("msg_signature", "timestamp", "nonce"))
    msgcrypt.verify(credentials.get("token", ()), signature, time, nonce, now, encrypted)
    return msgcrypt.decrypt(credentials.get("encoding_aes_key", ()), receive_ids, encrypted)[0]


def _echo(message: bytes) -> Inbound:
    """Answer the handshake; but not with a message that somebody puts in its place to have it read out."""
    if not message.isalnum():
        raise SignatureInvalid
    return Inbound(HookReply(body=message))


def _app_message(push: pushes.Push, message_id: str, replay_key: str) -> Inbound:
    text = push.content if push.msg_type == "text" else push.event_key if push.event in PRESSED else ""
    return _inbound(
        replay_key,
        ChatMessage(
            message_id=message_id,
            chat_id=errcodes.PRIVATE + push.from_user_name,
            sender_id=push.from_user_name,
            text=reading.clean(text),
            sent_at=push.sent_at,
            is_private=True,
        ),
    )


def _robot_message(message: RobotMessage, replay_key: str, time: str, now: datetime) -> Inbound:
    sender, pressed = message.speaker.userid, message.event.template_card_event
    said = MENTION.sub("", message.text.content.strip(), count=1)
    return _inbound(
        replay_key,
        ChatMessage(
            message_id=message.msgid,
            chat_id=message.chatid or errcodes.PRIVATE + sender,
            sender_id=sender,
            text=reading.clean(pressed.event_key if pressed else said),
            sent_at=signatures.signed_at(time, now),
            is_private=message.chattype == "single",
            reply_token=message.response_url,
        ),
    )


def _inbound(replay_key: str, message: ChatMessage) -> Inbound:
    return Inbound(HookReply(), (message,) if message.text else (), replay_key)


def _card(card: Card, *, can_link: bool) -> dict[str, Any] | None:
    """A template card with buttons, if there are some and it takes what the card says."""
    text = "\n".join(card.lines)
    if (
        not 1 <= len(card.buttons) <= MAX_CARD_BUTTONS
        or len(card.title) > MAX_CARD_TITLE
        or len(text) > MAX_CARD_TEXT
        or not (can_link or all(button.command for button in card.buttons))
    ):
        return None
    return {
        "msgtype": "template_card",
        "template_card": {
            "card_type": "button_interaction",
            "main_title": {"title": card.title},
            "sub_title_text": text,
            "task_id": token_hex(16),
            "button_list": [
                {"text": button.label, "style": 1, "key": button.command}
                if button.command
                else {"text": button.label, "style": 1, "type": 1, "url": button.url}
                for button in card.buttons
            ],
        },
    }


def _markdown(card: Card) -> dict[str, Any]:
    tail = [
        f"[{unmarked(button.label)}]({button.url})"
        if button.url
        else f"{unmarked(button.label)}: `{button.command}`"
        for button in card.buttons
    ]
    return {"msgtype": "markdown", "markdown": {"content": fit(card, tail, MAX_MARKDOWN_BYTES, title="**{}**")}}
