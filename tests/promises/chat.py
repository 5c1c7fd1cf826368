"""A chat as tests use it: a platform that is played here, a binding of it, and people who speak there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from app.demo.platforms.stand_in import Said, StandIn, StandInRequest
from app.gateways.chat.platforms import PLATFORMS
from app.gateways.chat.transport import ChatHttp
from app.workers import messages, robots
from tests.planted import plant_stand_in
from tests.service import Member, Service

DONE = "✓"
"""What Discord shows of a command whose answer is for everybody."""
TURNS, TURN_SECONDS = 3, 10
"""How often everybody is let work, and how long apart, until all is said: robots keep their distances."""


@dataclass(slots=True)
class Chat:
    """A group chat that is bound to a community."""

    service: Service
    stand_in: StandIn
    binding: dict[str, Any]
    chat_id: str = "-100200300"

    @property
    def said(self) -> list[Said]:
        """Everything that we have said there, oldest first."""
        return self.stand_in.transcript

    async def send(self, request: StandInRequest, **changes: Any) -> httpx.Response:
        """Deliver a webhook, perhaps changed on its way."""
        sent = {
            "url": self.binding["hook_url"],
            "params": dict(request.query),
            "headers": dict(request.headers),
            "content": request.body,
        }
        return await self.service.http.request(request.method, **sent | changes)

    def message(self, who: str, text: str, *, private: bool = False, id_: str | None = None) -> StandInRequest:
        """The webhook for what somebody says, in the chat or to us alone."""
        chat_id, now = who if private else self.chat_id, self.service.clock()
        return self.stand_in.say(chat_id, who, f"user {who}", text, id_ or new_number(), now, is_private=private)

    async def say(self, who: str, text: str, *, private: bool = False, id_: str | None = None) -> None:
        """Have somebody say something."""
        reply = await self.send(self.message(who, text, private=private, id_=id_))
        assert reply.status_code == 200, reply.text

    async def ask(self, who: str, text: str, *, private: bool = False) -> str:
        """The same; returns what is answered, and nothing that was said besides."""
        before = len(self.said)
        await self.say(who, text, private=private)
        await messages.run_once(self.service.state, self.service.clock())
        for _ in range(TURNS):
            await robots.run_once(self.service.state, self.service.clock())
            for said in self.said[before:]:
                if said.text != DONE:
                    return said.text
            self.service.clock.advance(TURN_SECONDS)
        raise AssertionError(f"nothing was answered to {text!r}")

    async def work(self) -> None:
        """Have all that was said worked on, and all that there is to say said."""
        for _ in range(TURNS):
            await self.service.work()
            self.service.clock.advance(TURN_SECONDS)

    async def link(self, member: Member, who: str) -> None:
        """Have somebody who speaks there be a member."""
        made = await member.post("/v1/members/me/link-codes")
        assert made.status_code == 201, made.text
        assert "绑定成功" in await self.ask(who, f"绑定 {made.json()['code']}", private=True)


def new_number() -> str:
    """An id as platforms make them."""
    return str(uuid4().int % 10**9)


@asynccontextmanager
async def playing(service: Service, *stand_ins: StandIn) -> AsyncIterator[None]:
    """Let these platforms be played here, for the time of the context."""
    apps = {host: one.app() for one in stand_ins for host in PLATFORMS[one.name].hosts}

    async def route(scope: Any, receive: Any, send: Any) -> None:
        await apps[scope["path"].split("/")[1]](scope, receive, send)

    for one in stand_ins:
        plant_stand_in(one)
    real = service.state.chat_http
    service.state.chat_http = ChatHttp("http://stand-ins", httpx.ASGITransport(app=route))
    try:
        yield
    finally:
        service.state.chat_http = real


async def bind(service: Service, stand_in: StandIn, community_id: str, **terms: Any) -> dict[str, Any]:
    """A new binding of a platform that is played here."""
    credentials = {name: secrets[0] for name, secrets in stand_in.credentials().items()}
    body = {"platform": stand_in.name, "community_id": community_id, "credentials": credentials} | terms
    reply = await service.ops("POST", "bindings", body)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())
