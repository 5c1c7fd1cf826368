"""Feishu, which is Lark outside China.

Events and callbacks come encrypted and signed: the page on the encrypt key under
https://open.feishu.cn/document/server-docs/event-subscription-guide/ says how. An app speaks through
`im/v1/messages`, a group's custom robot through its own address.
"""

import hashlib
import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from pydantic import BaseModel, Field

from app.domain.errors import SignatureInvalid
from app.gateways.chat import errcodes, texts
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatRefused,
    ChatUnavailable,
    CredentialField,
    Credentials,
    Destination,
    HookRequest,
    Inbound,
)
from app.gateways.chat.reading import Challenge, Id, clean, in_json, parse
from app.gateways.chat.sending import Answer, call, first, plain, reason, shortened
from app.gateways.signatures import matches, signed_at

CHINA = "open.feishu.cn"
SIGNATURE, TIME, NONCE = "x-lark-signature", "x-lark-request-timestamp", "x-lark-request-nonce"
BLOCK_BYTES = 16
BUSY = {9499, 11232, 230020, 230049, 99991400}
"""Codes that mean: later. https://open.feishu.cn/document/server-docs/api-call-guide/generic-error-code"""
MAX_TITLE, MAX_LINES, MAX_LABEL = 200, 5_000, 60


class _Envelope(BaseModel):
    encrypt: str | None = None


class _Header(BaseModel):
    event_id: Id
    event_type: Id
    token: str


class _Callback(BaseModel):
    """An event of version 2.0, a callback, or the trial of an address."""

    type: str | None = None
    token: str | None = None
    challenge: Challenge | None = None
    header: _Header | None = None


class _Person(BaseModel):
    open_id: Id
    user_id: str | None = None


class _Sender(BaseModel):
    sender_id: _Person
    sender_type: str


class _Mention(BaseModel):
    key: str = Field(min_length=1)
    name: str
    id: dict[str, Any] | None = None


class _Said(BaseModel):
    message_id: Id
    create_time: int = Field(ge=0, le=10**14)
    chat_id: Id
    chat_type: str
    message_type: str
    content: str
    mentions: list[_Mention] = []


class _MessageEvent(BaseModel):
    sender: _Sender
    message: _Said


class _Message(BaseModel):
    event: _MessageEvent


class _Text(BaseModel):
    text: str


class _Action(BaseModel):
    value: Any = None


class _Context(BaseModel):
    open_chat_id: Id | None = None


class _PressEvent(BaseModel):
    operator: _Person
    action: _Action
    context: _Context


class _Press(BaseModel):
    event: _PressEvent


class Feishu:
    """Implements `ChatPlatform`."""

    name = "feishu"
    users_of = "app_id"
    hosts = frozenset({CHINA, "open.larksuite.com"})
    per_minute = 100
    can_edit = True
    credentials: tuple[CredentialField, ...] = (
        CredentialField("encrypt_key", "应用的 Encrypt Key / Encrypt Key of the app", required=False, rotates=True),
        CredentialField(
            "verification_token",
            "应用的 Verification Token / Verification Token of the app",
            required=False,
            rotates=True,
        ),
        CredentialField("app_id", "应用的 App ID / App ID", required=False, pattern="^[A-Za-z0-9_]{1,60}$"),
        CredentialField("app_secret", "应用的 App Secret / App Secret", required=False, rotates=True),
        CredentialField(
            "robot_token",
            "没有应用时: 自定义机器人 webhook 地址的最后一段 / last part of a custom robot's address",
            required=False,
            pattern="^[A-Za-z0-9_-]{1,100}$",
        ),
        CredentialField(
            "robot_secret",
            "自定义机器人的签名密钥 / the custom robot's signing secret",
            required=False,
            rotates=True,
        ),
        CredentialField(
            "host",
            "Lark 填 open.larksuite.com / open.larksuite.com for Lark",
            required=False,
            pattern=r"^open\.(feishu\.cn|larksuite\.com)$",
        ),
    )

    def __init__(self) -> None:
        self._tokens = errcodes.Tokens()

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        keys = credentials.get("encrypt_key", ())
        signature, signed = request.headers.get(SIGNATURE, ""), request.headers.get(TIME, "")
        nonce = request.headers.get(NONCE, "")
        signing = tuple(key for key in keys if matches(signature, [_signature(key, signed, nonce, request.body)]))
        opened = _opened(signing or keys, request.body)
        callback = parse(_Callback, opened)
        token = callback.header.token if callback.header else callback.token
        if not matches(token or "", credentials.get("verification_token", ())):
            raise SignatureInvalid
        if callback.type == "url_verification" and callback.challenge:
            # Sent before the operator's key may be known, and then not signed; it changes nothing.
            return Inbound(in_json({"challenge": callback.challenge}))
        if not signing:
            raise SignatureInvalid
        at = signed_at(signed, now)
        messages = _messages(callback.header, opened, at) if callback.header else ()
        return Inbound(in_json({}), messages, replay_key=signature)

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        if first(credentials, "app_id") is None:
            if to.only_to is not None:
                raise ChatRefused("without app_id nobody is written to alone")
            await self._send_by_robot(http, credentials, card)
            return None
        content = {"msg_type": "interactive", "content": json.dumps(_card(card), ensure_ascii=False)}
        if to.only_to is not None:
            path, content["receive_id"] = "im/v1/messages?receive_id_type=open_id", to.only_to
        elif to.reply_token is not None:
            path = f"im/v1/messages/{quote(to.reply_token, safe='')}/reply"
        else:
            path, content["receive_id"] = "im/v1/messages?receive_id_type=chat_id", to.chat_id
        answer = await self._ask(http, credentials, "POST", path, content)
        data = answer.content.get("data")
        return str(data["message_id"]) if isinstance(data, dict) and "message_id" in data else None

    async def edit(
        self,
        http: httpx.AsyncClient,
        credentials: Credentials,
        to: Destination,  # noqa: ARG002 - the message says where it is
        message_id: str,
        card: Card,
    ) -> None:
        content = {"content": json.dumps(_card(card), ensure_ascii=False)}
        await self._ask(http, credentials, "PATCH", f"im/v1/messages/{quote(message_id, safe='')}", content)

    async def _ask(
        self, http: httpx.AsyncClient, credentials: Credentials, method: str, path: str, content: dict[str, Any]
    ) -> Answer:
        """What the API answers to the app."""
        app = {name: first(credentials, name) or "" for name in ("app_id", "app_secret")}

        async def fetch() -> tuple[str, float]:
            given = await _post(http, credentials, "auth/v3/tenant_access_token/internal", app)
            return errcodes.read_token(given.content, "tenant_access_token", "expire")

        async def ask(token: str) -> Answer:
            headers = {"authorization": f"Bearer {token}"}
            return await call(http, method, _url(credentials, path), content, headers)

        return _checked(credentials, await self._tokens.use(tuple(app.values()), fetch, ask))

    async def _send_by_robot(self, http: httpx.AsyncClient, credentials: Credentials, card: Card) -> None:
        token, secret = first(credentials, "robot_token"), first(credentials, "robot_secret")
        if token is None:
            raise ChatRefused("neither app_id nor robot_token is set")
        content: dict[str, Any] = {"msg_type": "interactive", "card": _card(card, answers=False)}
        if secret is not None:
            signed = str(int(time.time()))
            content |= {"timestamp": signed, "sign": robot_signature(secret, signed)}
        await _post(http, credentials, f"bot/v2/hook/{token}", content)


async def _post(http: httpx.AsyncClient, credentials: Credentials, path: str, content: dict[str, Any]) -> Answer:
    return _checked(credentials, await call(http, "POST", _url(credentials, path), content))


def _url(credentials: Credentials, path: str) -> str:
    return f"https://{first(credentials, 'host') or CHINA}/open-apis/{path}"


def _checked(credentials: Credentials, answer: Answer) -> Answer:
    """An answer that says that all is well. Raises `ChatRefused`, `ChatUnavailable`; with HTTP 200, too."""
    code = answer.content.get("code", answer.content.get("StatusCode"))
    if code in BUSY:
        raise ChatUnavailable(f"too many messages ({code})")
    if code != 0:
        raise ChatRefused(reason(credentials, code or answer.status, answer.content.get("msg")))
    return answer


def decrypt(key: str, encrypted: str) -> bytes:
    """What was encrypted with an encrypt key: AES-256-CBC under its SHA-256, the first block is the vector. Raises
    `SignatureInvalid`.
    """
    try:
        sealed = b64decode(encrypted, validate=True)
        mode = modes.CBC(sealed[:BLOCK_BYTES])
        decryptor = Cipher(algorithms.AES256(hashlib.sha256(key.encode()).digest()), mode).decryptor()
        unpadder = PKCS7(BLOCK_BYTES * 8).unpadder()
        padded = decryptor.update(sealed[BLOCK_BYTES:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise SignatureInvalid from error


def robot_signature(secret: str, time: str) -> str:
    """How a custom robot wants to be asked: HMAC-SHA256 of nothing, under time and secret
    (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot).
    """
    return b64encode(hmac.digest(f"{time}\n{secret}".encode(), b"", "sha256")).decode()


def _signature(key: str, time: str, nonce: str, body: bytes) -> str:
    return hashlib.sha256(f"{time}{nonce}{key}".encode(errors="surrogatepass") + body).hexdigest()


def _opened(keys: tuple[str, ...], body: bytes) -> bytes:
    """The JSON of a webhook, under whichever key it opens. Raises `SignatureInvalid`."""
    encrypted = parse(_Envelope, body).encrypt
    if encrypted is None:
        return body
    for key in keys:
        try:
            opened = decrypt(key, encrypted)
            parse(_Callback, opened)
        except SignatureInvalid:
            continue
        return opened
    raise SignatureInvalid


def _messages(header: _Header, opened: bytes, at: datetime) -> tuple[ChatMessage, ...]:
    match header.event_type:
        case "im.message.receive_v1":
            event = parse(_Message, opened).event
            said = event.message
            if said.message_type != "text" or event.sender.sender_type != "user":
                return ()
            return (
                ChatMessage(
                    message_id=said.message_id,
                    chat_id=said.chat_id,
                    sender_id=event.sender.sender_id.open_id,
                    text=clean(_text(said)),
                    sent_at=datetime.fromtimestamp(said.create_time / 1000, UTC),
                    is_private=said.chat_type == "p2p",
                    reply_token=said.message_id,
                ),
            )
        case "card.action.trigger":
            press = parse(_Press, opened).event
            value = press.action.value
            command = value.get("command") if isinstance(value, dict) else None
            if not isinstance(command, str) or press.context.open_chat_id is None:
                return ()
            return (
                ChatMessage(
                    message_id=header.event_id,
                    chat_id=press.context.open_chat_id,
                    sender_id=press.operator.open_id,
                    text=clean(command),
                    sent_at=at,
                ),
            )
    return ()


def _text(said: _Said) -> str:
    """What was said, with people's names for mentions of them. One at the beginning is of us, unless it is of
    somebody with a user id: robots have none, and hear only what mentions them.
    """
    text = parse(_Text, said.content).text
    for mention in said.mentions:
        key = re.compile(re.escape(mention.key) + r"(?!\d)")
        if key.match(text.lstrip()) and not (mention.id or {}).get("user_id"):
            text = key.sub("", text, count=1)
        text = key.sub(f"@{mention.name}".replace("\\", r"\\"), text)
    return text


def _card(card: Card, *, answers: bool = True) -> dict[str, Any]:
    """A card as Feishu draws it. Only an app hears of a button; elsewhere it is a line with its command."""
    lines = list(card.lines)
    buttons: list[dict[str, Any]] = []
    for button in card.buttons:
        label = {"tag": "plain_text", "content": shortened(button.label, MAX_LABEL)}
        if button.url is not None:
            buttons.append({"tag": "button", "text": label, "type": "default", "url": button.url})
        elif answers:
            value = {"command": button.command}
            buttons.append({"tag": "button", "text": label, "type": "primary", "value": value})
        else:
            lines.append(texts.said(button))
    text = plain(Card(lines[0], tuple(lines[1:])), MAX_LINES) if lines else ""
    elements: list[dict[str, Any]] = (
        [{"tag": "div", "text": {"tag": "plain_text", "content": text}}] if text else []
    )
    if buttons:
        elements.append({"tag": "action", "actions": buttons})
    title = {"tag": "plain_text", "content": shortened(card.title, MAX_TITLE)}
    return {"config": {"update_multi": True}, "header": {"title": title, "template": "blue"}, "elements": elements}


PLATFORM = Feishu()
