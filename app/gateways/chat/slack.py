"""Slack: events, slash commands and pressed buttons, all signed in one way.

https://docs.slack.dev/authentication/verifying-requests-from-slack says which.
"""

import hmac
import json
import re
from datetime import UTC, datetime
from html import unescape
from typing import Annotated, Any
from urllib.parse import parse_qsl

import httpx
from pydantic import BaseModel, Field

from app.domain.errors import SignatureInvalid
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatRefused,
    ChatUnavailable,
    CredentialField,
    Credentials,
    Destination,
    HookReply,
    HookRequest,
    Inbound,
)
from app.gateways.chat.reading import MAX_NAME, Id, clean, parse, spoken
from app.gateways.chat.sending import Answer, call, first, plain, reason, shortened
from app.gateways.signatures import matches, signed_at

API, RESPONSES = "slack.com", "hooks.slack.com"
SIGNATURE, TIME = "x-slack-signature", "x-slack-request-timestamp"
BUSY = {"fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout", "service_unavailable"}
"""Errors that mean: later. https://docs.slack.dev/reference/methods/chat.postMessage"""
MESSAGES = ("app_mention", "message")
MAX_FIELDS = 50
MAX_TITLE, MAX_LINES, MAX_LABEL, MAX_BUTTONS = 150, 3_000, 75, 25
MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^>]*)?>\s*")
Address = Annotated[str, Field(pattern=rf"^https://{re.escape(RESPONSES)}/[\x21-\x7e]+$", max_length=500)]
Moment = Annotated[str, Field(pattern=r"^[0-9]{1,11}\.[0-9]{1,6}$")]


class _Authorization(BaseModel):
    user_id: str | None = None


class _Message(BaseModel):
    user: Id
    text: str
    ts: Moment
    thread_ts: Moment | None = None
    channel: Id


class _Callback(BaseModel):
    """Any event (https://docs.slack.dev/apis/events-api); only messages matter."""

    type: str
    challenge: str | None = None
    event: dict[str, Any] = {}
    authorizations: list[_Authorization] = []


class _Slash(BaseModel):
    """A slash command (https://docs.slack.dev/interactivity/implementing-slash-commands)."""

    command: str = Field(pattern="^/", max_length=100)
    text: str = ""
    channel_id: Id
    user_id: Id
    user_name: str = ""
    trigger_id: Id
    response_url: Address


class _User(BaseModel):
    id: Id
    name: str = ""


class _Channel(BaseModel):
    id: Id


class _Action(BaseModel):
    type: str
    value: str | None = None
    action_ts: Moment


class _Interaction(BaseModel):
    """A pressed button (https://docs.slack.dev/reference/interaction-payloads/block_actions-payload)."""

    type: str
    user: _User | None = None
    channel: _Channel | None = None
    actions: list[_Action] = []
    response_url: Address | None = None


class Slack:
    """Implements `ChatPlatform`."""

    name = "slack"
    users_of = "team_id"
    hosts = frozenset({API, RESPONSES})
    per_minute = 50
    can_edit = True
    credentials: tuple[CredentialField, ...] = (
        CredentialField("signing_secret", "应用的 Signing Secret / Signing Secret of the app", rotates=True),
        CredentialField("bot_token", "Bot User OAuth Token (xoxb-…)", pattern="^xoxb-[A-Za-z0-9-]{1,300}$"),
        CredentialField(
            "team_id",
            "工作区 ID，各频道共用绑定 / Workspace id: who is linked in one channel is known in the others",
            required=False,
            pattern="^[TE][A-Z0-9]{1,30}$",
        ),
    )

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        signature, time = request.headers.get(SIGNATURE, ""), request.headers.get(TIME, "")
        at = signed_at(time, now)
        secrets = credentials.get("signing_secret", ())
        if not matches(signature, [signed(secret, time, request.body) for secret in secrets]):
            raise SignatureInvalid
        if request.body.startswith(b"{"):
            callback = parse(_Callback, request.body)
            if callback.type == "url_verification":
                return Inbound(HookReply(body=(callback.challenge or "").encode()), replay_key=signature)
            return Inbound(HookReply(), _said(callback), replay_key=signature)
        form = _form(request.body)
        if "payload" in form:
            return Inbound(HookReply(), _pressed(parse(_Interaction, form["payload"]), at), replay_key=signature)
        if "ssl_check" in form:
            return Inbound(HookReply(), replay_key=signature)
        return Inbound(HookReply(), (_slash(parse(_Slash, json.dumps(form)), at),), replay_key=signature)

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        content: dict[str, Any] = _content(card)
        alone = to.only_to is not None and not _is_private(to.chat_id)
        if to.reply_token is not None and to.reply_token.startswith("https:"):
            kind = "ephemeral" if alone else "in_channel"
            await self._respond(http, credentials, to.reply_token, content | {"response_type": kind})
            return None
        content["channel"] = to.chat_id
        if to.reply_token is not None:
            content["thread_ts"] = to.reply_token
        if alone:
            await self._ask(http, credentials, "chat.postEphemeral", content | {"user": to.only_to})
            return None
        answer = await self._ask(http, credentials, "chat.postMessage", content)
        return str(answer.content.get("ts"))

    async def edit(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, message_id: str, card: Card
    ) -> None:
        content = _content(card) | {"channel": to.chat_id, "ts": message_id}
        await self._ask(http, credentials, "chat.update", content)

    async def _ask(
        self, http: httpx.AsyncClient, credentials: Credentials, method: str, content: dict[str, Any]
    ) -> Answer:
        headers = {"authorization": f"Bearer {first(credentials, 'bot_token')}"}
        answer = await call(http, "POST", f"https://{API}/api/{method}", content, headers)
        return _judged(credentials, answer, ok=answer.content.get("ok") is True)

    async def _respond(
        self, http: httpx.AsyncClient, credentials: Credentials, address: str, content: dict[str, Any]
    ) -> None:
        if not address.startswith(f"https://{RESPONSES}/"):
            raise ChatRefused("the address for the answer is not Slack's")
        answer = await call(http, "POST", address, content)
        _judged(credentials, answer, ok=answer.is_ok and answer.content.get("ok") is not False)


def signed(secret: str, time: str, body: bytes) -> str:
    """The signature of a webhook: HMAC-SHA256 of version, time and body."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{time}:".encode() + body, "sha256").hexdigest()


def _judged(credentials: Credentials, answer: Answer, *, ok: bool) -> Answer:
    """An answer that is good. HTTP 200 alone does not make it so."""
    error = answer.content.get("error")
    if error in BUSY:
        raise ChatUnavailable(f"too many messages ({error})")
    if not ok:
        raise ChatRefused(reason(credentials, error or answer.status))
    return answer


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise SignatureInvalid from error


def _said(callback: _Callback) -> tuple[ChatMessage, ...]:
    """Somebody's message, whether it comes as one or as a mention of us: both have the same id."""
    event = callback.event
    if event.get("type") not in MESSAGES or event.get("subtype") or event.get("bot_id"):
        return ()
    message = parse(_Message, json.dumps(event))
    ours = {authorization.user_id for authorization in callback.authorizations}
    text = message.text.strip()
    if (mention := MENTION.match(text)) and mention[1] in ours:
        text = text[mention.end() :]
    return (
        ChatMessage(
            message_id=f"{message.channel}:{message.ts}",
            chat_id=message.channel,
            sender_id=message.user,
            text=clean(unescape(text)),
            sent_at=datetime.fromtimestamp(float(message.ts), UTC),
            is_private=_is_private(message.channel),
            reply_token=message.thread_ts,
        ),
    )


def _slash(slash: _Slash, at: datetime) -> ChatMessage:
    return ChatMessage(
        message_id=slash.trigger_id,
        chat_id=slash.channel_id,
        sender_id=slash.user_id,
        text=clean(spoken(slash.command, unescape(slash.text))),
        sent_at=at,
        sender_name=clean(slash.user_name, MAX_NAME) or None,
        is_private=_is_private(slash.channel_id),
        reply_token=slash.response_url,
    )


def _pressed(press: _Interaction, at: datetime) -> tuple[ChatMessage, ...]:
    if press.type != "block_actions" or press.user is None or press.channel is None:
        return ()
    return tuple(
        ChatMessage(
            message_id=f"{press.channel.id}:{action.action_ts}",
            chat_id=press.channel.id,
            sender_id=press.user.id,
            text=clean(action.value),
            sent_at=at,
            sender_name=clean(press.user.name, MAX_NAME) or None,
            is_private=_is_private(press.channel.id),
            reply_token=press.response_url,
        )
        for action in press.actions[:1]
        if action.type == "button" and action.value
    )


def _is_private(channel_id: str) -> bool:
    return channel_id.startswith("D")


def _content(card: Card) -> dict[str, Any]:
    """A card as blocks (https://docs.slack.dev/reference/block-kit), in plain text: nothing that somebody is called
    becomes a link, or calls the whole channel.
    """
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(card.title, MAX_TITLE)}]
    if card.lines:
        blocks.append({"type": "section", "text": _plain("\n".join(card.lines), MAX_LINES)})
    buttons: list[dict[str, Any]] = []
    for number, button in enumerate(card.buttons[:MAX_BUTTONS]):
        element = {"type": "button", "action_id": f"say-{number}", "text": _plain(button.label, MAX_LABEL)}
        buttons.append(element | ({"url": button.url} if button.url is not None else {"value": button.command}))
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return {"text": _escaped(plain(card, MAX_LINES)), "blocks": blocks, "unfurl_links": False}


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": shortened(text, limit), "emoji": True}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


PLATFORM = Slack()
