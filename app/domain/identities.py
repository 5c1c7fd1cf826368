"""Whom members log in with, and what the codes look like that they bring from there."""

import re
from collections.abc import Container, Iterable, Mapping
from enum import StrEnum

MAX_IDENTITIES = 20
"""Names a member may be known by."""
WECHAT_UNION = "wechat_union"
"""The provider of a WeChat user's union id, which is the same in all apps of one owner. It is found by what is
confirmed with `Login.WECHAT`, and goes with that.
"""


class Login(StrEnum):
    """Who can confirm that somebody is who they say, so that one logs in with it. Chats that only know their
    members are no logins.
    """

    DEV = "dev"
    WECHAT = "wechat"
    TELEGRAM = "telegram"


CODES: Mapping[str, re.Pattern[str]] = {
    Login.DEV: re.compile(r"[\w.@\u0080-\U0010ffff-]{1,120}"),
    Login.WECHAT: re.compile(r"[0-9A-Za-z_-]{1,128}"),
    "chat": re.compile(r"[0-9A-Za-z_-]{32}"),
    Login.TELEGRAM: re.compile(r"[!-~]{1,4096}"),
}
"""What the whole of a code looks like."""


def may_be_code(provider: str, code: str) -> bool:
    """Whether a provider may have given out this code; of one that we do not know, it may."""
    pattern = CODES.get(provider)
    return pattern is None or pattern.fullmatch(code) is not None


def may_unlink(provider: str, others: Iterable[str], logins: Container[str]) -> bool:
    """Whether a member who is known by these other providers, too, can do without this one: who may have logged in
    by it needs another one of the `logins` that are set up here. A chat's users may be a login's that is not.
    """
    return any(provider not in set(Login) or other in logins for other in others)
