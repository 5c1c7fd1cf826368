"""What the service asks of a chat platform, whichever it is.

Two halves. `read` checks and reads a webhook: pure, on raw bytes, without clock, network or database. `send` and
`edit` call the platform's API. A platform keeps nothing: the credentials of the binding come with every call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import httpx

MAX_BODY_BYTES = 256 * 1024
"""Of a webhook; a longer one is refused before it is read."""

Credentials = Mapping[str, tuple[str, ...]]
"""The secrets of a binding by name, as `ChatPlatform.credentials` names them. Each is a tuple of what is active,
newest first: while a secret is rotated, two verify; the first one signs."""


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A webhook as it came. Names of headers are in lower case."""

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HookReply:
    """What the platform wants to hear at once."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """Something that somebody said to us, or the button they pressed: then `text` is the button's command."""

    message_id: str
    """The same in every repetition."""
    chat_id: str
    """Where it was said, as the platform calls it; of a private conversation, its own id."""
    sender_id: str
    """Who said it, as the platform calls them: the subject of their identity."""
    text: str
    """Without the mention that addressed it to us, and trimmed."""
    sent_at: datetime
    sender_name: str | None = None
    is_private: bool = False
    """Only the sender sees what is answered."""
    reply_token: str | None = None
    """What an answer must be sent with, where the platform says so: a response URL, an interaction's token."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A webhook whose signature was checked."""

    reply: HookReply
    messages: tuple[ChatMessage, ...] = ()
    replay_key: str | None = None
    """What no honest repetition shares: the signature, or nonce and time. A second one inside the window is
    refused. None where the platform signs no time, and repetitions are told by `message_id` alone.
    """
    moved: tuple[str, str] | None = None
    """A chat that goes on under another id: what it was, and what it is from now on."""


@dataclass(frozen=True, slots=True)
class Button:
    """One to press: it says `command` to us, or opens `url`."""

    label: str
    command: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What we say. Where there are no cards it is text, with the buttons' commands in it."""

    title: str
    lines: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where something is said: a chat, or the answer to a message."""

    chat_id: str
    reply_token: str | None = None
    only_to: str | None = None
    """A sender whom alone it is for. Refused where nobody can be told alone."""


class ChatError(Exception):
    """Nothing was said. The text has no secret in it."""


class ChatRefused(ChatError):
    """The platform will not take it: also HTTP 200 with an error code. Trying again does not help."""


class ChatMoved(ChatRefused):
    """The chat goes on under another id: say it there."""

    def __init__(self, reason: str, chat_id: str) -> None:
        super().__init__(reason)
        self.chat_id = chat_id


class ChatUnavailable(ChatError):
    """The platform did not answer, or asked to be left alone for `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One entry of a binding's credentials."""

    name: str
    meaning: str
    """For operators, zh and en."""
    required: bool = True
    rotates: bool = False
    """Whether two may be active at a time."""
    pattern: str = field(default=r"^[\x21-\x7e]{1,500}$")


class ChatPlatform(Protocol):
    """One of the platforms."""

    name: str
    credentials: tuple[CredentialField, ...]
    users_of: str
    """The credential that says whose users these are, where each has its own and the same name may be somebody
    else's elsewhere; empty where a name is one person's everywhere.
    """
    hosts: frozenset[str]
    """The only hosts that anything is ever sent to."""
    per_minute: int
    """Messages that one robot may send in any minute."""
    can_edit: bool
    """Whether a message may be changed after it was sent."""

    def read(self, credentials: Credentials, request: HookRequest, now: datetime) -> Inbound:
        """Check and read a webhook, its set-up handshake included.

        Raises `SignatureInvalid` for anything that is not in order, and nothing else, whatever the bytes are.
        """

    async def send(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, card: Card
    ) -> str | None:
        """Say something; returns the id to edit it by, if any. Raises `ChatRefused`, `ChatUnavailable`."""

    async def edit(
        self, http: httpx.AsyncClient, credentials: Credentials, to: Destination, message_id: str, card: Card
    ) -> None:
        """Say it differently, in the same place. Only where `can_edit`. Raises `ChatRefused`, `ChatUnavailable`."""
