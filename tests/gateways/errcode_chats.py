"""A stand-in and the platform that it plays, without a network between them."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from app.demo.platforms.dingtalk import DingTalkStandIn
from app.demo.platforms.stand_in import StandIn
from app.demo.platforms.wechat import WeChatStandIn
from app.demo.platforms.wecom import WeComStandIn
from app.domain.errors import SignatureInvalid
from app.gateways.chat.dingtalk import DingTalk
from app.gateways.chat.platform import ChatPlatform, Credentials, Destination, HookRequest, Inbound
from app.gateways.chat.wechat import WeChat
from app.gateways.chat.wecom import WeCom
from tests.planted import plant_stand_in

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAYED: dict[str, tuple[Callable[[], ChatPlatform], Callable[[], StandIn]]] = {
    "wecom": (WeCom, WeComStandIn),
    "wechat": (WeChat, WeChatStandIn),
    "dingtalk": (DingTalk, DingTalkStandIn),
}


class Reached(httpx.AsyncBaseTransport):
    """What is sent to a platform's hosts arrives at its stand-in; nothing may be sent elsewhere."""

    def __init__(self, platform: ChatPlatform, stand_in: StandIn) -> None:
        self._hosts = platform.hosts
        self._app = httpx.ASGITransport(stand_in.app())
        self.urls: list[httpx.URL] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert (request.url.scheme, request.url.host in self._hosts) == ("https", True), request.url
        self.urls.append(request.url)
        url = request.url.copy_with(raw_path=f"/{request.url.host}".encode() + request.url.raw_path)
        headers, content = request.headers, await request.aread()
        return await self._app.handle_async_request(
            httpx.Request(request.method, url, headers=headers, content=content)
        )


@dataclass(frozen=True)
class Chat:
    """A binding, with both sides of it."""

    platform: ChatPlatform
    stand_in: Any
    credentials: Credentials

    def having(self, **other: tuple[str, ...]) -> "Chat":
        """The binding with some credentials being others."""
        return replace(self, credentials={**self.credentials, **other})

    def read(self, request: HookRequest, now: datetime = NOW) -> Inbound:
        return self.platform.read(self.credentials, request, now)

    def is_refused(self, request: HookRequest, now: datetime = NOW) -> bool:
        try:
            self.read(request, now)
        except SignatureInvalid:
            return True
        return False

    def say(self, text: str = "开团 1", message_id: str = "m1", *, is_private: bool = False) -> HookRequest:
        request: HookRequest = self.stand_in.say(
            "chat1", "u1", "小明", text, message_id, NOW, is_private=is_private
        )
        return request

    def press(self, command: str = "开团 1", message_id: str = "m1", *, is_private: bool = False) -> HookRequest:
        request: HookRequest = self.stand_in.press(
            "chat1", "u1", "小明", command, message_id, NOW, is_private=is_private
        )
        return request

    def asked(self, *, is_private: bool = False) -> Destination:
        """Where the answer to something that was said goes."""
        (message,) = self.read(self.say(is_private=is_private)).messages
        return Destination(message.chat_id, message.reply_token)

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=Reached(self.platform, self.stand_in)) as client:
            yield client


def open_chat(name: str) -> Chat:
    """A new one."""
    make_platform, make_stand_in = PLAYED[name]
    stand_in = make_stand_in()
    plant_stand_in(stand_in)
    return Chat(make_platform(), stand_in, active(stand_in.credentials()))


def active(credentials: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(secrets) for name, secrets in credentials.items()}


def flip(request: HookRequest, part: str, name: str | None, place: int, bit: int) -> HookRequest:
    """The request with one bit of it flipped: of its body, or of one entry of its query or headers."""
    if name is None:
        body = bytearray(request.body)
        body[place] ^= 1 << bit
        return replace(request, body=bytes(body))
    text = getattr(request, part)[name]
    return put(request, part, name, text[:place] + chr(ord(text[place]) ^ 1 << bit) + text[place + 1 :])


def put(request: HookRequest, part: str, name: str, text: str | None) -> HookRequest:
    """The request with another entry in its query or headers, or without this one."""
    entries = {key: value for key, value in getattr(request, part).items() if key != name}
    more: dict[str, Any] = {part: entries if text is None else entries | {name: text}}
    return replace(request, **more)
