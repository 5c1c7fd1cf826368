"""Telegram (https://core.telegram.org/bots/api).

A webhook proves itself by the secret it was set up with, in a header; nothing of its body is signed.
"""

import re
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import BaseModel, Field

from app.domain.errors import SignatureInvalid
from app.gateways.chat import texts
from app.gateways.chat.platform import (
    Card,
    ChatMessage,
    ChatMoved,
    ChatRefused,
    CredentialField,
    Credentials,
    Destination,
    HookReply,
    HookRequest,
    Inbound,
)
from app.gateways.chat.reading import ADDRESS, MAX_NAME, Id, clean, in_json, parse, spoken
from app.gateways.chat.sending import call, first, reason, shortened
from app.gateways.signatures import matches

HOST = "api.telegram.org"
SECRET = "x-telegram-bot-api-secret-token"  # noqa: S105 - the name of a header
MAX_TEXT_UNITS = 4_096
"""UTF-16 code units, as Telegram counts."""
MAX_COMMAND_BYTES = 64
MAX_LABEL = 60
COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{1,32}))?(?:\s+|$)")


class _User(BaseModel):
    id: int = Field(ge=1, lt=2**63)
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""


class _Chat(BaseModel):
    id: int = Field(ge=-(2**63), lt=2**63)
    type: str


class _Said(BaseModel):
    message_id: int = Field(ge=0, lt=2**63)
    date: int = Field(ge=0, lt=10**11)
    chat: _Chat
    sender: _User | None = Field(default=None, alias="from")
    text: str | None = None
    migrate_to_chat_id: int | None = Field(default=None, ge=-(2**63), lt=2**63)


class _Press(BaseModel):
    id: Id
    sender: _User = Field(alias="from")
    message: _Said | None = None
    data: str | None = None


class _Update(BaseModel):
    """https://core.telegram.org/bots/api#update; whatever else there is, edited messages too, is left alone."""

    update_id: int = Field(ge=0, lt=2**63)
    message: _Said | None = None
    callback_query: _Press | None = None


class Telegram:
    """Implements `ChatPlatform`."""

    name = "telegram"
    users_of = ""
    hosts = frozenset({HOST})
    per_minute = 20
    can_edit = True
    credentials: tuple[CredentialField, ...] = (
        CredentialField(
            "secret_token",
            "setWebhook 时填的 secret_token / the secret_token given to setWebhook",
            rotates=True,
            pattern="^[A-Za-z0-9_-]{16,256}$",
        ),
        CredentialField(
            "bot_token",
            "BotFather 给的 token / the token from BotFather",
            pattern="^[0-9]{1,20}:[A-Za-z0-9_-]{20,100}$",
        ),
        CredentialField(
            "bot_username", "机器人的用户名 / the robot's username, without @", pattern="^[A-Za-z0-9_]{4,32}$"
        ),
    )

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        if not matches(request.headers.get(SECRET, ""), credentials.get("secret_token", ())):
            raise SignatureInvalid
        update = parse(_Update, request.body)
        if update.callback_query is not None:
            return _pressed(update.callback_query, update.update_id, now)
        said = update.message
        if said is None or said.sender is None:
            return Inbound(HookReply())
        if said.migrate_to_chat_id is not None:
            return Inbound(HookReply(), moved=(str(said.chat.id), str(said.migrate_to_chat_id)))
        text = _addressed(clean(said.text or ""), first(credentials, "bot_username") or "")
        if said.sender.is_bot or not text:
            return Inbound(HookReply())
        message = _message(
            update.update_id,
            said.chat,
            said.sender,
            text,
            datetime.fromtimestamp(said.date, UTC),
            reply_token=str(said.message_id),
        )
        return Inbound(HookReply(), (message,))

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        content = _content(card) | {"chat_id": to.only_to or to.chat_id}
        if to.reply_token is not None and content["chat_id"] == to.chat_id:
            quoted = {"message_id": int(to.reply_token), "allow_sending_without_reply": True}
            content["reply_parameters"] = quoted
        result = await self._ask(http, credentials, "sendMessage", content)
        return str(result.get("message_id"))

    async def edit(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, message_id: str, card: Card
    ) -> None:
        content = _content(card) | {"chat_id": to.chat_id, "message_id": int(message_id)}
        try:
            await self._ask(http, credentials, "editMessageText", content)
        except ChatRefused as error:
            if "message is not modified" not in str(error):
                raise

    async def _ask(
        self, http: httpx.AsyncClient, credentials: Credentials, method: str, content: dict[str, Any]
    ) -> dict[str, Any]:
        token = first(credentials, "bot_token")
        answer = await call(http, "POST", f"https://{HOST}/bot{token}/{method}", content)
        result = answer.content.get("result")
        if answer.content.get("ok") is True and isinstance(result, dict):
            return result
        parameters = answer.content.get("parameters")
        said = reason(credentials, answer.status, answer.content.get("description"))
        if isinstance(parameters, dict) and "migrate_to_chat_id" in parameters:
            raise ChatMoved(said, str(parameters["migrate_to_chat_id"]))
        raise ChatRefused(said)


def _pressed(press: _Press, update_id: int, now: datetime) -> Inbound:
    """A button that was pressed. The answer ends its waiting."""
    reply = in_json({"method": "answerCallbackQuery", "callback_query_id": press.id})
    if press.message is None or press.data is None:
        return Inbound(reply)
    return Inbound(reply, (_message(update_id, press.message.chat, press.sender, clean(press.data), now),))


def _message(
    update_id: int, chat: _Chat, sender: _User, text: str, at: datetime, reply_token: str | None = None
) -> ChatMessage:
    return ChatMessage(
        message_id=str(update_id),
        chat_id=str(chat.id),
        sender_id=str(sender.id),
        text=text,
        sent_at=at,
        sender_name=clean(f"{sender.first_name} {sender.last_name}", MAX_NAME) or None,
        is_private=chat.type == "private",
        reply_token=reply_token,
    )


def _addressed(text: str, username: str) -> str:
    """What is said to us: without the slash of a command and without our name. Nothing, when it is a command for
    another robot.
    """
    if command := COMMAND.match(text):
        name, rest = command[1], text[command.end() :]
        if command[2] is not None and command[2].casefold() != username.casefold():
            return ""
        # What somebody says by opening a conversation with us; a link to it may carry a code.
        return spoken("link" if rest else ADDRESS, rest) if name == "start" else spoken(name, rest)
    return re.sub(rf"^@{re.escape(username)}\b[\s,，:：]*", "", text, flags=re.IGNORECASE)


def _content(card: Card) -> dict[str, Any]:
    """A card as a message: a bold title, its lines, and buttons below. A command that is too long for a button is
    a line.
    """
    lines = [card.title, *card.lines]
    keys: list[dict[str, str]] = []
    for button in card.buttons:
        label = shortened(button.label, MAX_LABEL)
        if button.url is not None:
            keys.append({"text": label, "url": button.url})
        elif button.command is not None and len(button.command.encode()) <= MAX_COMMAND_BYTES:
            keys.append({"text": label, "callback_data": button.command})
        else:
            lines.append(texts.said(button))
    text = _units("\n".join(lines))[: MAX_TEXT_UNITS * 2].decode("utf-16-le", errors="ignore")
    title = min(len(_units(card.title)) // 2, MAX_TEXT_UNITS)
    content: dict[str, Any] = {
        "text": text,
        "entities": [{"type": "bold", "offset": 0, "length": title}],
        "link_preview_options": {"is_disabled": True},
    }
    if keys:
        content["reply_markup"] = {"inline_keyboard": [[key] for key in keys]}
    return content


def _units(text: str) -> bytes:
    return text.encode("utf-16-le", errors="ignore")


PLATFORM = Telegram()
