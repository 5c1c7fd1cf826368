"""How webhooks are read, whichever the platform: bytes that nobody has vouched for yet."""

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from app.domain.errors import SignatureInvalid
from app.gateways.chat.platform import HookReply

MAX_TEXT = 1_000
MAX_NAME = 60
ADDRESS = "kaituan"
"""The slash command that only says whom it is for: `/kaituan join 1` is `join 1`, and so is `/join 1`."""

Content = TypeVar("Content", bound=BaseModel)
Id = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=120)]
"""Of a chat, a person, a message, as their platform calls them."""
Challenge = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.=+/-]+$", max_length=200)]
"""What is to be said back when an address is tried out. It is not free text: else it could be used to have anything
that was encrypted read out, a block at a time.
"""


def parse(model: type[Content], body: str | bytes) -> Content:
    """What JSON says. Raises `SignatureInvalid` when it is not of this shape."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise SignatureInvalid from error


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """What people wrote, trimmed and of a bearable length, without what no database keeps."""
    return text.encode(errors="surrogatepass").decode(errors="ignore").replace("\0", "").strip()[:limit]


def in_json(content: dict[str, Any]) -> HookReply:
    """What a platform wants to hear, as JSON."""
    return HookReply(200, json.dumps(content).encode(), "application/json")


def spoken(command: str, rest: str) -> str:
    """A slash command as it would be said."""
    name = command.removeprefix("/")
    return (rest.strip() or "help") if name.casefold() == ADDRESS else f"{name} {rest}".strip()
