"""Telegram Mini Apps: the `initData` with which Telegram opens one says who opened it.

https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app
"""

import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, ValidationError

from app.domain.errors import LoginRefused
from app.gateways.logins.provider import Confirmed

MAX_FIELDS = 20
CLOCKS_APART = timedelta(minutes=1)
"""How far ahead of ours Telegram's clock may be."""
MAX_ID = 2**53
SECONDS = re.compile("[0-9]{1,11}")


class User(BaseModel):
    """The part of `user` that matters."""

    id: Annotated[int, Field(gt=0, lt=MAX_ID, strict=True)]
    first_name: str = ""
    last_name: str = ""
    is_bot: bool = False


class TelegramLogins:
    """Implements `LoginProvider` for the bot with this token. What was signed is believed for `window`: it may be
    shown again meanwhile, by an app that is loaded anew or did not hear our answer.
    """

    def __init__(self, bot_token: str, window: timedelta) -> None:
        self._key = hmac.digest(b"WebAppData", bot_token.encode(), "sha256")
        self._window = window

    async def confirm(self, code: str, now: datetime) -> Confirmed:
        fields = _fields(code)
        signature = fields.pop("hash", "")
        # A line feed in a value would be read as the end of it.
        signed = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
        if signed.count("\n") != len(fields) - 1:
            raise LoginRefused
        right = hmac.digest(self._key, signed.encode(), "sha256").hex()
        if not hmac.compare_digest(right.encode(), signature.encode()):
            raise LoginRefused
        age = now - _moment(fields.get("auth_date", ""))
        if age > self._window or age < -CLOCKS_APART:
            raise LoginRefused
        user = _user(fields.get("user", ""))
        return Confirmed(subject=str(user.id), name=f"{user.first_name} {user.last_name}")


def _fields(init_data: str) -> dict[str, str]:
    """The fields by name, of which none comes twice."""
    try:
        pairs = parse_qsl(
            init_data, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise LoginRefused from error
    fields = dict(pairs)
    if len(fields) != len(pairs) or any("=" in name for name in fields):
        raise LoginRefused
    return fields


def _moment(auth_date: str) -> datetime:
    """When it was signed."""
    if not SECONDS.fullmatch(auth_date):
        raise LoginRefused
    return datetime.fromtimestamp(int(auth_date), UTC)


def _user(text: str) -> User:
    try:
        user = User.model_validate_json(text)
    except ValidationError as error:
        raise LoginRefused from error
    if user.is_bot:
        raise LoginRefused
    return user
