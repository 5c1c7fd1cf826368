"""DingTalk (钉钉): event callbacks, robots that are spoken to, robots that only speak.

Specifications, below open.dingtalk.com/document/: development/http-callback-overview (events),
orgapp/receive-message and orgapp/robot-message-types-and-data-format (robots of an organisation), and
robots/custom-robot-access, robots/customize-robot-security-settings (custom robots),
orgapp/the-robot-sends-a-group-message, orgapp/chatbots-send-one-on-one-chat-messages-in-batches and
orgapp/types-of-messages-sent-by-robots (app messages).

A robot's callback vouches for its time only, not for its body: so its signature is taken once, and the platform's
hour is cut to our window.
"""

import hmac
import json
import time
from base64 import b64encode
from datetime import UTC, datetime
from secrets import token_bytes, token_hex
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.domain.errors import SignatureInvalid
from app.gateways import signatures
from app.gateways.chat import errcodes, msgcrypt, reading, sending
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatPlatform,
    ChatRefused,
    ChatUnavailable,
    CredentialField,
    Credentials,
    Destination,
    HookReply,
    HookRequest,
    Inbound,
)
from app.gateways.chat.texts import fit, unmarked

ROBOT = "https://oapi.dingtalk.com/robot"
API = "https://api.dingtalk.com/v1.0"
SAY = "dtmd://dingtalkclient/sendMessage?content="
"""A link that has who follows it say something."""
BUSY = {-1, 130101, 410100}
"""System busy, too many messages in a minute."""
BUSY_WORDS = ("toofast", "toomany", "qpslimit", "throttling")
"""In the codes of the newer API, which are words: `send.too.fast`, `Forbidden.AccessDenied.QpsLimitForApi`."""
MAX_BUTTONS = 5
BUSY_SECONDS = 600.0
"""A robot that said too much is silent for ten minutes."""
MAX_MARKDOWN_BYTES = 15_000
MAX_SAMPLE_BYTES = 10_000
"""All of a message has 15,000, escapes and buttons included."""
Milliseconds = Annotated[int, Field(ge=0, le=9_999_999_999_999)]


class Text(BaseModel):
    content: str = ""


class RobotMessage(BaseModel):
    """What a robot is told."""

    model_config = ConfigDict(alias_generator=to_camel)

    msg_id: reading.Id
    msgtype: str
    conversation_id: reading.Id
    conversation_type: Literal["1", "2"]
    """1 is a private conversation."""
    sender_id: reading.Id
    sender_staff_id: reading.Id | None = None
    """Of a member of the organisation."""
    sender_nick: str | None = None
    create_at: Milliseconds
    session_webhook: Annotated[str, Field(max_length=1000)] | None = None
    text: Text = Text()


class Envelope(BaseModel):
    encrypt: str


class Event(BaseModel):
    event_type: Annotated[str, Field(alias="EventType")]


class DingTalk(errcodes.Unchanging):
    """Implements `ChatPlatform`."""

    name = "dingtalk"
    credentials: tuple[CredentialField, ...] = (
        CredentialField(
            "app_secret",
            "机器人应用的 AppSecret（Client Secret） / AppSecret of the robot's app",
            required=False,
            rotates=True,
        ),
        CredentialField(
            "token", "事件订阅的签名 token / Token of the event subscription", required=False, rotates=True
        ),
        CredentialField(
            "encoding_aes_key",
            "事件订阅的 aes_key / aes_key of the event subscription",
            required=False,
            rotates=True,
            pattern=msgcrypt.KEY_PATTERN,
        ),
        CredentialField("app_key", "应用的 AppKey（Client ID） / AppKey, for events", required=False),
        CredentialField(
            "robot_token",
            "自定义机器人地址中的 access_token / `access_token` in the address of a custom robot",
            required=False,
        ),
        CredentialField(
            "robot_secret", "自定义机器人的加签密钥 / Signing secret of the custom robot", required=False
        ),
    )
    users_of = "app_key"
    hosts = frozenset({"oapi.dingtalk.com", "api.dingtalk.com"})
    per_minute = 20

    def __init__(self) -> None:
        self._tokens = errcodes.Tokens()

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        if request.method != "POST":
            raise SignatureInvalid
        if "sign" in request.headers:
            return _robot_message(credentials, request, now)
        return _event(credentials, request, now)

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        address, user = errcodes.answers_here(to), errcodes.person(to)
        robot = sending.first(credentials, "robot_token")
        if address is not None:
            if not address.startswith(f"{ROBOT}/sendBySession?"):
                raise ChatRefused("the address to answer to is not DingTalk's")
        elif user is None and robot is not None:
            address = _robot_address(robot, sending.first(credentials, "robot_secret"))
        else:
            await self._send_as_app(http, credentials, to, card)
            return None
        answer = await sending.call(http, "POST", address, _card(card))
        errcodes.check(answer, credentials, BUSY, BUSY_SECONDS)
        return None

    async def _send_as_app(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> None:
        """Into a group that the app's robot is in, or to one member of the organisation."""
        app, secret = (sending.first(credentials, name) for name in ("app_key", "app_secret"))
        if app is None or secret is None:
            raise ChatRefused("one person alone is told by an app, a group by a custom robot too: none was entered")
        user = errcodes.person(to)
        path = "groupMessages/send" if user is None else "oToMessages/batchSend"
        whom = {"openConversationId": to.chat_id} if user is None else {"userIds": [user]}
        content = {"robotCode": app, **whom, **_sample(card)}

        async def fetch() -> tuple[str, float]:
            wanted = {"appKey": app, "appSecret": secret}
            given = _check(await sending.call(http, "POST", f"{API}/oauth2/accessToken", wanted), credentials)
            return errcodes.read_token(given, "accessToken", "expireIn")

        async def call(token: str) -> sending.Answer:
            headers = {"x-acs-dingtalk-access-token": token}
            return await sending.call(http, "POST", f"{API}/robot/{path}", content, headers)

        answer = _check(await self._tokens.use((app, secret), fetch, call), credentials)
        if answer.get("flowControlledStaffIdList"):
            raise ChatUnavailable("too much was said to this person", BUSY_SECONDS)
        if answer.get("invalidStaffIdList"):
            raise ChatRefused("the robot may not write to this person")


PLATFORM: ChatPlatform = DingTalk()


def sign(secret: str, milliseconds: str) -> str:
    """The signature of a time, both ways between a robot and us."""
    message = f"{milliseconds}\n{secret}".encode()
    return b64encode(hmac.new(secret.encode(), message, "sha256").digest()).decode()


def _robot_address(robot: str, secret: str | None) -> str:
    """Where the custom robot's words are taken, signed for this moment."""
    milliseconds = str(round(time.time() * 1000))
    signature = {} if secret is None else {"timestamp": milliseconds, "sign": sign(secret, milliseconds)}
    return f"{ROBOT}/send?{urlencode({'access_token': robot} | signature)}"


def _robot_message(credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
    signature, milliseconds = (request.headers.get(name, "") for name in ("sign", "timestamp"))
    if not msgcrypt.TIME.fullmatch(milliseconds):
        raise SignatureInvalid
    signatures.signed_at(milliseconds[: msgcrypt.SECONDS], now)
    secrets = credentials.get("app_secret", ())
    if not signatures.matches(signature, [sign(secret, milliseconds) for secret in secrets]):
        raise SignatureInvalid
    message = reading.parse(RobotMessage, request.body)
    text, sender = reading.clean(message.text.content), message.sender_staff_id or message.sender_id
    is_private = message.conversation_type == "1"
    said = ChatMessage(
        message_id=message.msg_id,
        chat_id=errcodes.PRIVATE + sender if is_private else message.conversation_id,
        sender_id=sender,
        text=text,
        sent_at=datetime.fromtimestamp(message.create_at / 1000, UTC),
        sender_name=reading.clean(message.sender_nick or "", reading.MAX_NAME) or None,
        is_private=is_private,
        reply_token=message.session_webhook,
    )
    return Inbound(HookReply(), (said,) if text else (), signature)


def _event(credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
    """An event of the organisation, or the handshake: nobody says anything, and all want to hear success."""
    query = request.query
    signature = query.get("msg_signature", query.get("signature", ""))
    encrypted = reading.parse(Envelope, request.body).encrypt
    tokens, receivers = credentials.get("token", ()), credentials.get("app_key", ())
    time, nonce = query.get("timestamp", ""), query.get("nonce", "")
    token = msgcrypt.verify(tokens, signature, time, nonce, now, encrypted)
    message, key = msgcrypt.decrypt(credentials.get("encoding_aes_key", ()), receivers, encrypted)
    reading.parse(Event, message)
    answer = msgcrypt.encrypt(key, receivers[0], b"success", token_bytes(msgcrypt.PREFIX))
    time, nonce = str(round(now.timestamp() * 1000)), token_hex(8)
    content = {
        "msg_signature": msgcrypt.sign(token, time, nonce, answer),
        "timeStamp": time,
        "nonce": nonce,
        "encrypt": answer,
    }
    return Inbound(HookReply(body=json.dumps(content).encode(), content_type="application/json"), (), signature)


def _check(answer: sending.Answer, credentials: Credentials) -> dict[str, Any]:
    """The content of what the newer API answers when all is well. Raises `ChatUnavailable`, `ChatRefused`."""
    if answer.is_ok:
        return answer.content
    code = str(answer.content.get("code", answer.status))
    reason = sending.reason(credentials, code, answer.content.get("message"))
    if any(word in code.replace(".", "").lower() for word in BUSY_WORDS):
        raise ChatUnavailable(reason, BUSY_SECONDS)
    raise ChatRefused(reason)


def _card(card: Card) -> dict[str, Any]:
    text = fit(card, [], MAX_MARKDOWN_BYTES, title="#### {}", end="\n\n")
    if not card.buttons:
        return {"msgtype": "markdown", "markdown": {"title": card.title, "text": text}}
    buttons = [{"title": label, "actionURL": url} for label, url in _links(card)]
    return {
        "msgtype": "actionCard",
        "actionCard": {"title": card.title, "text": text, "btnOrientation": "0", "btns": buttons},
    }


def _sample(card: Card) -> dict[str, str]:
    """The same for the newer API, which has a template for each number of buttons, up to five."""
    content = {"title": card.title, "text": fit(card, [], MAX_SAMPLE_BYTES, title="#### {}", end="\n\n")}
    match _links(card)[:MAX_BUTTONS]:
        case []:
            key = "sampleMarkdown"
        case [(label, url)]:
            key = "sampleActionCard"
            content |= {"singleTitle": label, "singleURL": url}
        case links:
            key = f"sampleActionCard{len(links)}"
            for number, (label, url) in enumerate(links, 1):
                content |= {f"actionTitle{number}": label, f"actionURL{number}": url}
    return {"msgKey": key, "msgParam": json.dumps(content, ensure_ascii=False)}


def _links(card: Card) -> list[tuple[str, str]]:
    """Label and address of each button; the address of one that says something has who follows it say that."""
    return [
        (unmarked(button.label), button.url or SAY + quote(button.command or "", safe=""))
        for button in card.buttons
    ]
