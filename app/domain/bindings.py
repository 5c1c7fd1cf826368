"""Bindings: a chat on a platform that speaks with one of our communities."""

import hashlib
from enum import StrEnum

from app.domain.machines import Table


class PlatformName(StrEnum):
    WECOM = "wecom"
    WECHAT = "wechat"
    FEISHU = "feishu"
    DINGTALK = "dingtalk"
    TELEGRAM = "telegram"
    SLACK = "slack"
    DISCORD = "discord"


class Language(StrEnum):
    """What is spoken in a chat."""

    ZH = "zh"
    EN = "en"


DIGITS = 24
"""Hexadecimal digits by which we tell apart whose users somebody is."""


class BindingState(StrEnum):
    ACTIVE = "active"
    REMOVED = "removed"


BINDING_TRANSITIONS: Table[BindingState] = {
    BindingState.ACTIVE: frozenset({BindingState.REMOVED}),
    BindingState.REMOVED: frozenset(),
}


def sender_provider(platform: PlatformName, whose: str) -> str:
    """The provider by which senders of a chat are known: their platform, and whose users they are there, which may
    be long or nobody's business.
    """
    return f"{platform}:{hashlib.sha256(whose.encode()).hexdigest()[:DIGITS]}" if whose else platform.value


def shown_provider(provider: str) -> str:
    """A provider as members know it."""
    return provider.partition(":")[0]
