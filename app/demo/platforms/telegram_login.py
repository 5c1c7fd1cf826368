"""A stand-in for the Telegram client that opens a Mini App."""

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode


def sign_init_data(bot_token: str, fields: Mapping[str, str]) -> str:
    """These fields, as Telegram signs them for the bot's Mini App."""
    key = hmac.digest(b"WebAppData", bot_token.encode(), "sha256")
    lines = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    return urlencode({**fields, "hash": hmac.digest(key, lines.encode(), "sha256").hex()})


def open_mini_app(bot_token: str, user_id: int, first_name: str, now: datetime) -> str:
    """The `initData` with which a user opens it."""
    user = json.dumps({"id": user_id, "first_name": first_name, "language_code": "zh-hans"}, ensure_ascii=False)
    fields = {"query_id": "AAHdF6IQAAAAAN0XohDhrOrc", "user": user, "auth_date": str(int(now.timestamp()))}
    return sign_init_data(bot_token, fields)
