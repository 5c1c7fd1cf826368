"""What WeCom and WeChat push: the same fields in XML or JSON, in the envelope or as they are."""

import json
from datetime import UTC, datetime
from hashlib import blake2s
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_pascal

from app.domain.errors import SignatureInvalid
from app.gateways.chat.reading import Id
from app.gateways.chat.xmlfields import read_fields

Fields = dict[str, str]
LAST_SECOND = 9_999_999_999


class Push(BaseModel):
    """A message, or something that was pressed."""

    model_config = ConfigDict(alias_generator=to_pascal)

    from_user_name: Id
    create_time: Annotated[int, Field(ge=0, le=LAST_SECOND)]
    msg_type: str
    msg_id: Id | None = None
    content: str = ""
    event: str = ""
    event_key: str = ""

    @model_validator(mode="after")
    def _text_has_an_id(self) -> Self:
        if self.msg_type == "text" and self.msg_id is None:
            raise ValueError("a message without an id")
        return self

    @property
    def sent_at(self) -> datetime:
        return datetime.fromtimestamp(self.create_time, UTC)


def read_any(body: bytes) -> Fields:
    """The fields of an object in JSON or XML that are text or numbers. Raises `SignatureInvalid`."""
    if not body.startswith(b"{"):
        return read_fields(body)
    try:
        content = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SignatureInvalid from error
    return {
        name: str(value)
        for name, value in content.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }


def read_push(outside: Fields, message: bytes) -> tuple[Push, str]:
    """The message in an envelope, and an id for it: its own, or, where it has none, one that repetitions share.

    Raises `SignatureInvalid`, also when the envelope says of the message what is not so: nobody signed that.
    """
    fields = read_any(message)
    if any(fields.get(name, value) != value for name, value in outside.items()):
        raise SignatureInvalid
    try:
        push = Push.model_validate(fields)
    except ValidationError as error:
        raise SignatureInvalid from error
    return push, push.msg_id or blake2s(message, digest_size=16).hexdigest()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object in which no name is there twice. Raises `ValueError`."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name that is there twice")
    return content
