"""WeChat (微信): what is pushed of an official account or a mini-program, and what is said to who wrote to it.

Specifications, below developers.weixin.qq.com/: doc/offiaccount/Basic_Information/Access_Overview.html (handshake),
doc/offiaccount/Message_Management/Receiving_standard_messages.html, Receiving_event_pushes.html and
Service_Center_messages.html, miniprogram/dev/framework/server-ability/message-push.html,
doc/offiaccount/Basic_Information/getStableAccessToken.html.

Nothing vouches for the body in plain mode: the signature is of token, time and nonce only. It is read only while no
EncodingAESKey was entered, and each signature only once.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx

from app.domain.errors import SignatureInvalid
from app.gateways.chat import errcodes, msgcrypt, pushes, reading, sending
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatPlatform,
    CredentialField,
    Credentials,
    Destination,
    HookReply,
    HookRequest,
    Inbound,
)
from app.gateways.chat.texts import fit, said, unmarked

API = "https://api.weixin.qq.com/cgi-bin"
ECHO = re.compile("[0-9A-Za-z]{1,64}")
BUSY = {-1, 45009, 45011}
"""System busy, called too often in a day, or in a minute."""
BUSY_SECONDS = 60.0
MAX_TEXT_BYTES = 2048


class WeChat(errcodes.Unchanging):
    """Implements `ChatPlatform`. Every conversation is with one person, and is called as they are."""

    name = "wechat"
    credentials: tuple[CredentialField, ...] = (
        CredentialField("token", "服务器配置的 Token / Token of the server configuration", rotates=True),
        CredentialField(
            "encoding_aes_key",
            "消息加解密密钥；留空则为明文模式 / EncodingAESKey; without one, messages come in plain mode",
            required=False,
            rotates=True,
            pattern=msgcrypt.KEY_PATTERN,
        ),
        CredentialField("app_id", "AppID"),
        CredentialField("app_secret", "AppSecret"),
        CredentialField(
            "kind",
            "official（公众号，默认）或 mini（小程序） / official (the default) or mini, for a mini-program",
            required=False,
            pattern="^(official|mini)$",
        ),
    )
    users_of = "app_id"
    hosts = frozenset({"api.weixin.qq.com"})
    per_minute = 300
    """Of what an account may say in a day, 500,000, the share of a minute and a little less."""

    def __init__(self) -> None:
        self._tokens = errcodes.Tokens()

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        query = request.query
        keys = credentials.get("encoding_aes_key", ()) if request.method != "GET" else ()
        if not keys or "signature" in query:
            _verify(credentials, query, "signature", now)
        if request.method == "GET":
            echo = query.get("echostr", "")
            if not ECHO.fullmatch(echo):
                raise SignatureInvalid
            return Inbound(HookReply(body=echo.encode()))
        if not keys:
            return _inbound(*pushes.read_push({}, request.body), query["signature"])
        outside = pushes.read_any(request.body)
        encrypted = outside.pop("Encrypt", "")
        _verify(credentials, query, "msg_signature", now, encrypted)
        message, _ = msgcrypt.decrypt(keys, credentials.get("app_id", ()), encrypted)
        return _inbound(*pushes.read_push(outside, message), query["msg_signature"])

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        app, secret = (sending.first(credentials, name) or "" for name in ("app_id", "app_secret"))
        is_mini = sending.first(credentials, "kind") == "mini"
        message = {"touser": to.only_to or to.chat_id, **(_text(card) if is_mini else _menu(card))}

        async def fetch() -> tuple[str, float]:
            """WeChat's stable token: asking for it takes the one that others use from nobody."""
            wanted = {"grant_type": "client_credential", "appid": app, "secret": secret}
            answer = await sending.call(http, "POST", f"{API}/stable_token", wanted)
            given = errcodes.check(answer, credentials, BUSY, BUSY_SECONDS)
            return errcodes.read_token(given, "access_token", "expires_in")

        async def call(token: str) -> sending.Answer:
            address = f"{API}/message/custom/send?{urlencode({'access_token': token})}"
            return await sending.call(http, "POST", address, message)

        errcodes.check(await self._tokens.use((app, secret), fetch, call), credentials, BUSY, BUSY_SECONDS)
        return None


PLATFORM: ChatPlatform = WeChat()


def _verify(credentials: Credentials, query: Mapping[str, str], name: str, now: datetime, *parts: str) -> None:
    """Raise `SignatureInvalid` unless the signature of this name vouches for time, nonce and the parts."""
    signature, time, nonce = (query.get(key, "") for key in (name, "timestamp", "nonce"))
    msgcrypt.verify(credentials.get("token", ()), signature, time, nonce, now, *parts)


def _inbound(push: pushes.Push, message_id: str, replay_key: str) -> Inbound:
    """What is said, or chosen in the account's menu."""
    text = reading.clean(
        push.content if push.msg_type == "text" else push.event_key if push.event == "CLICK" else ""
    )
    message = ChatMessage(
        message_id=message_id,
        chat_id=push.from_user_name,
        sender_id=push.from_user_name,
        text=text,
        sent_at=push.sent_at,
        is_private=True,
    )
    return Inbound(HookReply(body=b"success"), (message,) if text else (), replay_key)


def _text(card: Card) -> dict[str, Any]:
    tail = [said(button) for button in card.buttons]
    return {"msgtype": "text", "text": {"content": fit(card, tail, MAX_TEXT_BYTES)}}


def _menu(card: Card) -> dict[str, Any]:
    """A menu of commands: who taps one says it. Links stand below it, in the one markup that its text knows."""
    commands = [button.command for button in card.buttons if button.command]
    links = [f'<a href="{button.url}">{unmarked(button.label)}</a>' for button in card.buttons if button.url]
    if not commands:
        return {"msgtype": "text", "text": {"content": fit(card, links, MAX_TEXT_BYTES)}}
    return {
        "msgtype": "msgmenu",
        "msgmenu": {
            "head_content": fit(card, [], MAX_TEXT_BYTES),
            "list": [{"id": str(number), "content": command} for number, command in enumerate(commands, 1)],
            "tail_content": "\n".join(links),
        },
    }
