"""Discord: interactions and webhook events, signed with the application's Ed25519 key.

https://docs.discord.com/developers/interactions/receiving-and-responding says how, and that a first answer of ours
decides who will read the next. What people write in channels is not sent to webhooks; they speak by slash commands
and buttons.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, Field

from app.domain.errors import SignatureInvalid
from app.gateways.chat import texts
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatRefused,
    CredentialField,
    Credentials,
    Destination,
    HookReply,
    HookRequest,
    Inbound,
)
from app.gateways.chat.reading import MAX_NAME, Id, clean, in_json, parse, spoken
from app.gateways.chat.sending import Answer, call, first, reason, shortened
from app.gateways.signatures import matches, signed_at

HOST = "discord.com"
SIGNATURE, TIME = "x-signature-ed25519", "x-signature-timestamp"
PING, COMMAND, COMPONENT = 1, 2, 3
SUBCOMMANDS = {1, 2}
PRIVATE = 1
"""The context of an interaction in the conversation with the robot itself."""
PONG, WAIT, HEARD = 1, 5, 6
"""Answers: I am here; the answer to a command comes later; a button was heard."""
EPHEMERAL = 64
MAX_TITLE, MAX_LINES, MAX_LABEL, MAX_CUSTOM_ID = 256, 4_000, 80, 100
BUTTONS_IN_ROW, ROWS = 5, 5
MARKS = re.compile(r"([\\*_~`|<>\[\]()#:@-])")


class _User(BaseModel):
    id: Id
    username: str = ""
    global_name: str | None = None


class _Member(BaseModel):
    user: _User
    nick: str | None = None


class _Option(BaseModel):
    name: str
    type: int
    value: str | int | float | bool | None = None
    options: list["_Option"] = []


class _Data(BaseModel):
    name: str = ""
    custom_id: str = ""
    options: list[_Option] = []


class _Hook(BaseModel):
    """An interaction, or a webhook event: those have their version beside an `event`, or are of type 0."""

    type: int
    application_id: Id
    event: dict[str, Any] | None = None
    id: Id = "0"
    token: str = Field(default="", pattern=r"^[A-Za-z0-9_.=+/:-]*$", max_length=500)
    context: int | None = None
    channel_id: Id | None = None
    data: _Data | None = None
    member: _Member | None = None
    user: _User | None = None


class Discord:
    """Implements `ChatPlatform`."""

    name = "discord"
    users_of = ""
    hosts = frozenset({HOST})
    per_minute = 50
    can_edit = True
    credentials: tuple[CredentialField, ...] = (
        CredentialField(
            "public_key",
            "应用的 Public Key / Public Key of the application",
            rotates=True,
            pattern="^[0-9a-f]{64}$",
        ),
        CredentialField("application_id", "Application ID", pattern="^[0-9]{1,20}$"),
        CredentialField("bot_token", "机器人的 token / the robot's token", pattern=r"^[A-Za-z0-9_.-]{20,200}$"),
    )

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        signature, time = request.headers.get(SIGNATURE, ""), request.headers.get(TIME, "")
        at = signed_at(time, now)
        signed = time.encode() + request.body
        if not any(_vouches(key, signature, signed) for key in credentials.get("public_key", ())):
            raise SignatureInvalid
        hook = parse(_Hook, request.body)
        if not matches(hook.application_id, credentials.get("application_id", ())):
            raise SignatureInvalid
        if hook.type == 0 or hook.event is not None:
            return Inbound(HookReply(204), replay_key=signature)
        if hook.type == PING:
            return Inbound(in_json({"type": PONG}), replay_key=signature)
        return _asked(hook, at, signature)

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        content = _content(card)
        kind, _, token = (to.reply_token or "").partition(":")
        if to.only_to is not None:
            return await self._tell(http, credentials, token, to.only_to, content)
        if kind == "command":
            # Who asked sees that we think, which a word to them ends. Where that is no longer possible, so be it.
            with suppress(ChatRefused):
                await self._tell(http, credentials, token, "", {"content": "✓"})
        return await self._say(http, credentials, to.chat_id, content)

    async def edit(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, message_id: str, card: Card
    ) -> None:
        path = f"channels/{quote(to.chat_id, safe='')}/messages/{quote(message_id, safe='')}"
        await self._ask(http, credentials, "PATCH", path, _content(card))

    async def _tell(
        self, http: httpx.AsyncClient, credentials: Credentials, token: str, only_to: str, content: dict[str, Any]
    ) -> str | None:
        """Say something to one person: to who asked, by the token of that, otherwise in a conversation of our own.
        Returns an id only there.
        """
        if not token:
            answer = await self._ask(http, credentials, "POST", "users/@me/channels", {"recipient_id": only_to})
            return await self._say(http, credentials, str(answer.content["id"]), content)
        path = f"webhooks/{first(credentials, 'application_id')}/{quote(token, safe='')}"
        await self._ask(http, credentials, "POST", path, content | {"flags": EPHEMERAL})
        return None

    async def _say(
        self, http: httpx.AsyncClient, credentials: Credentials, channel_id: str, content: dict[str, Any]
    ) -> str:
        path = f"channels/{quote(channel_id, safe='')}/messages"
        answer = await self._ask(http, credentials, "POST", path, content)
        return str(answer.content["id"])

    async def _ask(
        self, http: httpx.AsyncClient, credentials: Credentials, method: str, path: str, content: dict[str, Any]
    ) -> Answer:
        headers = {
            "authorization": f"Bot {first(credentials, 'bot_token')}",
            "user-agent": "DiscordBot (kaituan, 1)",
        }
        answer = await call(http, method, f"https://{HOST}/api/v10/{path}", content, headers)
        if not answer.is_ok or "id" not in answer.content:
            error = answer.content
            raise ChatRefused(reason(credentials, answer.status, error.get("code"), error.get("message")))
        return answer


def _vouches(key: str, signature: str, signed: bytes) -> bool:
    """Whether the owner of a key signed it. There is one way to write a signature, so that none comes twice."""
    if not re.fullmatch("[0-9a-f]{128}", signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _asked(hook: _Hook, at: datetime, signature: str) -> Inbound:
    """A slash command or a button. What is answered to a command at once says who will read the rest: nobody else
    does, until we know more.
    """
    person = hook.member.user if hook.member else hook.user
    if hook.data is None or hook.channel_id is None or person is None:
        return Inbound(in_json({"type": HEARD}), replay_key=signature)
    if hook.type == COMMAND:
        reply, kind = {"type": WAIT, "data": {"flags": EPHEMERAL}}, "command"
        text = spoken(hook.data.name, " ".join(_words(hook.data.options)))
    elif hook.type == COMPONENT:
        reply, kind = {"type": HEARD}, "button"
        text = hook.data.custom_id.partition(":")[2]
    else:
        return Inbound(in_json({"type": HEARD}), replay_key=signature)
    name = (hook.member.nick if hook.member else None) or person.global_name or person.username
    message = ChatMessage(
        message_id=hook.id,
        chat_id=hook.channel_id,
        sender_id=person.id,
        text=clean(text),
        sent_at=at,
        sender_name=clean(name, MAX_NAME) or None,
        is_private=hook.context == PRIVATE,
        reply_token=f"{kind}:{hook.token}",
    )
    return Inbound(in_json(reply), (message,), replay_key=signature)


def _words(options: list[_Option]) -> Iterator[str]:
    """What was chosen and typed, in order."""
    for option in options:
        if option.type in SUBCOMMANDS:
            yield option.name
            yield from _words(option.options)
        elif option.value is not None:
            yield str(option.value)


def _content(card: Card) -> dict[str, Any]:
    """A card as an embed with buttons below. A command that is too long for a button is a line."""
    lines = list(card.lines)
    buttons: list[dict[str, Any]] = []
    for number, button in enumerate(card.buttons[: BUTTONS_IN_ROW * ROWS]):
        custom_id = f"{number}:{button.command}"
        element = {"type": 2, "label": shortened(button.label, MAX_LABEL)}
        if button.url is not None:
            buttons.append(element | {"style": 5, "url": button.url})
        elif len(custom_id) <= MAX_CUSTOM_ID:
            buttons.append(element | {"style": 1, "custom_id": custom_id})
        else:
            lines.append(texts.said(button))
    rows = [buttons[at : at + BUTTONS_IN_ROW] for at in range(0, len(buttons), BUTTONS_IN_ROW)]
    embed = {"title": shortened(_escaped(card.title), MAX_TITLE)}
    if lines:
        embed["description"] = shortened(_escaped("\n".join(lines)), MAX_LINES)
    return {
        "embeds": [embed],
        "components": [{"type": 1, "components": row} for row in rows],
        "allowed_mentions": {"parse": []},
    }


def _escaped(text: str) -> str:
    """As it stands: what somebody is called is no link, no heading and no mention."""
    return MARKS.sub(r"\\\1", text)


PLATFORM = Discord()
