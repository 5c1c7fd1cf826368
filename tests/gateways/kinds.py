"""Chat platforms and their stand-ins, without a service between them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from app.demo.platforms.discord import DiscordStandIn
from app.demo.platforms.feishu import FeishuStandIn
from app.demo.platforms.slack import SlackStandIn
from app.demo.platforms.stand_in import StandIn
from app.demo.platforms.telegram import TelegramStandIn
from app.domain.errors import SignatureInvalid
from app.gateways.chat import discord, feishu, slack, telegram
from app.gateways.chat.platform import Button, Card, ChatPlatform, Credentials, HookRequest, Inbound
from tests.planted import plant_stand_in

Json = dict[str, Any]
NOW = datetime(2026, 11, 26, 4, 5, 6, tzinfo=UTC)
CARD = Card(
    "龙井 开团了",
    ("2 / 5 人 · ¥68.00", "1. 小满 <@everyone> *a* [b](c)", "2. C++ & co."),
    (Button("参团", command="参团 3"), Button("打开", url="https://kaituan.example/i/abc")),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A platform, who plays it, and what proves a webhook of it."""

    platform: ChatPlatform
    stand_in: Callable[[], StandIn]
    proof: tuple[str, ...]
    """The headers."""
    secrets: tuple[str, ...]
    """The credentials that each have to be there for a webhook to be believed."""
    opened: Callable[[Any, HookRequest], Json]
    """What a webhook of a stand-in says."""
    sealed: Callable[[Any, Json], HookRequest]
    """A webhook of a stand-in that says something."""
    signs_body: bool = True


KINDS = {
    "feishu": Kind(
        feishu.PLATFORM,
        FeishuStandIn,
        ("x-lark-signature", "x-lark-request-timestamp", "x-lark-request-nonce"),
        ("encrypt_key", "verification_token"),
        lambda stand_in, request: dict(
            json.loads(feishu.decrypt(stand_in.encrypt_key, json.loads(request.body)["encrypt"]))
        ),
        lambda stand_in, content: stand_in.signed(stand_in.encrypted(content), NOW),
    ),
    "telegram": Kind(
        telegram.PLATFORM,
        TelegramStandIn,
        (telegram.SECRET,),
        ("secret_token",),
        lambda _, request: dict(json.loads(request.body)),
        lambda stand_in, content: stand_in.update(content),
        signs_body=False,
    ),
    "slack": Kind(
        slack.PLATFORM,
        SlackStandIn,
        (slack.SIGNATURE, slack.TIME),
        ("signing_secret",),
        lambda _, request: dict(json.loads(request.body)),
        lambda stand_in, content: stand_in.signed(json.dumps(content).encode(), "application/json", NOW),
    ),
    "discord": Kind(
        discord.PLATFORM,
        DiscordStandIn,
        (discord.SIGNATURE, discord.TIME),
        ("public_key", "application_id"),
        lambda _, request: dict(json.loads(request.body)),
        lambda stand_in, content: stand_in.signed(content, NOW),
    ),
}


def entered(stand_in: StandIn) -> dict[str, tuple[str, ...]]:
    """The credentials of a binding, as a platform gets them."""
    plant_stand_in(stand_in)
    return {name: tuple(active) for name, active in stand_in.credentials().items()}


def refuses(kind: Kind, credentials: Credentials, request: HookRequest, now: datetime = NOW) -> bool:
    """Whether a webhook is not believed."""
    try:
        kind.platform.read(credentials, request, now)
    except SignatureInvalid:
        return True
    return False


def heard(kind: Kind, stand_in: StandIn, request: HookRequest, now: datetime = NOW) -> Inbound:
    return kind.platform.read(entered(stand_in), request, now)


def with_header(request: HookRequest, name: str, value: str) -> HookRequest:
    return replace(request, headers={**request.headers, name: value})


class Reaching(httpx.AsyncBaseTransport):
    """Every request goes to the stand-in, under the name of the host that it is for."""

    def __init__(self, stand_in: StandIn) -> None:
        self.hosts: list[str] = []
        self._inner = httpx.ASGITransport(app=stand_in.app())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.scheme == "https"
        self.hosts.append(request.url.host)
        raw = f"/{request.url.host}".encode() + request.url.raw_path
        request.url = request.url.copy_with(scheme="http", host="stand-in", raw_path=raw)
        return await self._inner.handle_async_request(request)


@asynccontextmanager
async def reaching(stand_in: StandIn) -> AsyncIterator[tuple[httpx.AsyncClient, Reaching]]:
    transport = Reaching(stand_in)
    async with httpx.AsyncClient(transport=transport) as http:
        yield http, transport


@asynccontextmanager
async def answering(answer: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client to whom everybody answers the same: a response, or an error to raise."""

    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        return httpx.Response(status, **content)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        yield http
