"""Platforms that answer every call with an `errcode`: WeCom, WeChat, DingTalk. Their refusals, and access tokens,
which Feishu has as well.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from app.gateways.chat import sending
from app.gateways.chat.platform import ChatRefused, ChatUnavailable, Credentials, Destination

SPARE_SECONDS = 300
"""A token is not used in its last minutes: the call takes a while, and clocks differ."""
GONE = {40001, 40014, 42001, "InvalidAuthentication", 99991663}
"""Codes for a token that the platform does not know, or not any more."""

PRIVATE = "user:"
"""Before the id of a person, the conversation with them, where it has no id that could be written to."""


def person(to: Destination) -> str | None:
    """Whom alone it is for: who a conversation is with, or the one in a group who is meant."""
    return to.chat_id.removeprefix(PRIVATE) if to.chat_id.startswith(PRIVATE) else to.only_to


def answers_here(to: Destination) -> str | None:
    """The address to answer to, unless more people would read it than it is for."""
    return to.reply_token if to.only_to is None or to.chat_id.startswith(PRIVATE) else None


class Unchanging:
    """A platform that changes no message once it is sent."""

    can_edit = False

    async def edit(self, *_: Any, **__: Any) -> None:
        raise ChatRefused("this platform changes no message")


class Tokens:
    """Access tokens by what they were got with, in memory, until shortly before they expire."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[str, float]] = {}

    async def use(
        self,
        key: tuple[str, ...],
        fetch: Callable[[], Awaitable[tuple[str, float]]],
        call: Callable[[str], Awaitable[sending.Answer]],
    ) -> sending.Answer:
        """What a call with the token answers; with a new one, if the platform does not know the kept one.

        `fetch` returns a new token, and how many seconds it lives.
        """
        token, until = self._kept.get(key, ("", 0.0))
        if time.monotonic() < until:
            answer = await call(token)
            if GONE.isdisjoint({answer.content.get("errcode"), answer.content.get("code")}):
                return answer
        token, seconds = await fetch()
        self._kept[key] = (token, time.monotonic() + seconds - SPARE_SECONDS)
        return await call(token)


def read_token(content: Mapping[str, Any], name: str, life: str) -> tuple[str, float]:
    """The token of this name in an answer, and the seconds it lives. Raises `ChatRefused` when there is none."""
    if not isinstance(content.get(name), str):
        raise ChatRefused("the platform gave no access token")
    return content[name], sending.seconds(content.get(life)) or 0.0


def check(
    answer: sending.Answer, credentials: Credentials, busy: Collection[int], wait: float | None = None
) -> dict[str, Any]:
    """The content of an answer that says that all is well: `errcode` 0, or a token.

    Raises `ChatUnavailable` for a code that means too much at once, `ChatRefused` for any other; with HTTP 200.
    """
    content = answer.content
    code = content.get("errcode", 0 if "access_token" in content else None)
    reason = sending.reason(credentials, code, content.get("errmsg"))
    if code in busy:
        raise ChatUnavailable(reason, wait)
    if code != 0:
        raise ChatRefused(reason)
    return content
