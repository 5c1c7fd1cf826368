"""Seven chats of one community, on seven platforms that are played here: somebody opens a group in one of them, one
joins in each of the others, all pay by links they are given in private; and every chat is told. Nothing is done but
what people say there.

The stand-ins listen beside the service, where one that was started by `make run` looks for the platforms.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import httpx
import uvicorn
from rich.table import Table

from app.config import stand_in_port
from app.demo.client import Json, Member
from app.demo.opening import CannotPlay
from app.demo.platforms.dingtalk import DingTalkStandIn
from app.demo.platforms.discord import DiscordStandIn
from app.demo.platforms.feishu import FeishuStandIn
from app.demo.platforms.slack import SlackStandIn
from app.demo.platforms.stand_in import Said, StandIn, StandInRequest
from app.demo.platforms.telegram import TelegramStandIn
from app.demo.platforms.wechat import WeChatStandIn
from app.demo.platforms.wecom import WeComStandIn
from app.demo.scenes.scene import LOOK_SECONDS, Scene, together
from app.gateways.chat.platform import HookReply
from app.gateways.chat.platforms import PLATFORMS

PRICE = 4900
PATIENCE_SECONDS = 60
PAY_LINK = re.compile(r"https?://[\w.:-]+/sandbox/[\w/-]+")
PRIVATE_ONLY = {"wechat"}
"""Where there are no groups to be in: everybody speaks to us alone."""
ADVICE = "The service looks for the platforms beside itself if it was started by `make run`, without PUBLIC_URL."


@dataclass(slots=True)
class Chat:
    """A chat on one platform, its robot, and the member of ours who speaks there."""

    stand_in: StandIn
    member: Member
    binding: Json
    chat_id: str
    sender_id: str
    wire: "Wire"
    answered: int = 0
    """How much was said in it when its member last spoke."""
    told: list[tuple[int, str, str]] = field(default_factory=list)
    """What people said: after how much of what we said, who, and what."""

    @property
    def has_group(self) -> bool:
        return self.stand_in.name not in PRIVATE_ONLY


class Wire:
    """Everything that is sent to one platform, as it comes."""

    def __init__(self, stand_in: StandIn) -> None:
        self.app = stand_in.app()
        self.bodies: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def listening() -> Any:
            message = await receive()
            self.bodies.append(message.get("body", b"").decode(errors="replace"))
            return message

        await self.app(scope, listening, send)


async def play(scene: Scene) -> None:
    """Seven platforms, seven people, one group."""
    stand_ins: list[StandIn] = [
        *(WeComStandIn(), WeChatStandIn(), FeishuStandIn(), DingTalkStandIn()),
        *(TelegramStandIn(), SlackStandIn(), DiscordStandIn()),
    ]
    sale = await scene.sale(
        "明前龙井", group_size=len(stand_ins), group_ttl_seconds=600, hold_ttl_seconds=300, price=PRICE
    )
    never_quiet = {"quiet_from": "00:00", "quiet_to": "00:00"}  # it is played at night, too
    await scene.operate("PATCH", f"communities/{sale['community_id']}", never_quiet)
    members = await scene.members(len(stand_ins))
    wires = {one.name: Wire(one) for one in stand_ins}
    async with _played(scene, wires):
        chats = [
            await _bind(scene, sale, one, member, wires[one.name])
            for one, member in zip(stand_ins, members, strict=True)
        ]
        await together(_link(scene, chat) for chat in chats)
        await _misbehave(scene, chats[0])
        number = await _fill(scene, chats)
        await _pay(scene, chats, number)
        await _hear(scene, chats)
    _show(scene, chats)


async def _bind(scene: Scene, sale: Json, stand_in: StandIn, member: Member, wire: Wire) -> Chat:
    """Make a binding, and have the platform try out its address."""
    credentials = {name: secrets[0] for name, secrets in stand_in.credentials().items()}
    body = {"platform": stand_in.name, "community_id": sale["community_id"], "credentials": credentials}
    binding = await scene.operate("POST", "bindings", body)
    chat = Chat(stand_in, member, binding, _new_id(), _new_id(), wire)
    reply = await _deliver(scene, chat, stand_in.handshake(datetime.now(UTC)))
    ours = HookReply(reply.status_code, reply.content, reply.headers.get("content-type", ""))
    scene.expect(f"{stand_in.name}: the set-up of its webhook", True, stand_in.check_handshake(ours))
    return chat


async def _link(scene: Scene, chat: Chat) -> None:
    """Everybody says who they are, in private."""
    code = (await scene.post(chat.member, "/v1/members/me/link-codes"))["code"]
    answer = await _ask(scene, chat, f"绑定 {code}", private=True)
    scene.expect(f"{chat.stand_in.name}: who is linked", True, "绑定成功" in answer)


async def _misbehave(scene: Scene, chat: Chat) -> None:
    """A webhook that comes again, and one that was changed on its way, are refused."""
    said = chat.stand_in.say(*_who(chat), "帮助", _new_id(), datetime.now(UTC))
    answers = [(await _deliver(scene, chat, said)).status_code for _ in range(2)]
    fresh = chat.stand_in.say(*_who(chat), "帮助", _new_id(), datetime.now(UTC))
    forged = StandInRequest(fresh.method, fresh.query, fresh.headers, fresh.body.replace(b"A", b"B", 1))
    answers.append((await _deliver(scene, chat, forged)).status_code)
    scene.expect("a webhook, the same again, one that was changed", [200, 401, 401], answers)
    await _until_said(chat, "我能听懂这些")


async def _fill(scene: Scene, chats: list[Chat]) -> int:
    """One opens a group in the first chat, the others join from theirs; returns its number."""
    first, *others = chats
    await _ask(scene, first, "活动", wanted="明前龙井")
    opened = await _ask(scene, first, "开团", wanted="开团成功")
    number = int(re.findall(r"接龙 (\d+)", opened)[0])
    scene.note(f"{first.member.name} opens group {number} on {first.stand_in.name} 开团")
    for chat in others:
        answer = await _ask(scene, chat, f"参团 {number}", private=not chat.has_group, wanted="参团成功")
        taken = re.findall(r"(\d+/\d+)", answer)[0]
        scene.note(f"{chat.member.name} joins on {chat.stand_in.name}: {taken} 参团")
    return number


async def _pay(scene: Scene, chats: list[Chat], number: int) -> None:
    """Everybody asks for their link in private, and pays there."""
    for chat in chats:
        before = len(chat.wire.bodies)
        await _ask(scene, chat, f"支付 {number}", private=True, wanted="待付 ¥")
        links = [link for body in chat.wire.bodies[before:] for link in PAY_LINK.findall(body)]
        scene.expect(f"{chat.stand_in.name}: links to pay by", 1, len(set(links)))
        await chat.member.pay(links[0])
    scene.note(f"{len(chats)} people pay by the links they were given 支付")


async def _hear(scene: Scene, chats: list[Chat]) -> None:
    """Every group chat hears how it ended, and what it heard last is true."""
    heard = await together(_until_said(chat, "已成团") for chat in chats if chat.has_group)
    last = [_in_chat(chat)[-1].text for chat in chats if chat.has_group]
    scene.expect("chats that heard of the end, last", len(heard), sum("已成团" in text for text in last))
    said = sum(len(chat.stand_in.transcript) for chat in chats)
    scene.row("platforms", len(chats))
    scene.row("the group", f"{len(chats)} seats, filled from {len(chats)} platforms, paid and announced")
    scene.row("messages sent", said)


async def _ask(scene: Scene, chat: Chat, text: str, *, private: bool = False, wanted: str = "") -> str:
    """Say something, and wait for an answer with these words."""
    chat.answered = len(chat.stand_in.transcript)
    chat_id = _private_id(chat) if private else chat.chat_id
    request = chat.stand_in.say(
        chat_id, chat.sender_id, chat.member.name, text, _new_id(), datetime.now(UTC), is_private=private
    )
    reply = await _deliver(scene, chat, request)
    scene.expect(f"{chat.stand_in.name}: “{text}” was taken", True, reply.is_success)
    chat.told.append((chat.answered, f"{chat.member.name}{' (private)' if private else ''}", text))
    return (await _until_said(chat, wanted)).text


async def _until_said(chat: Chat, words: str) -> Said:
    """Wait until these words were said on a platform. Raises `CannotPlay` when they are not."""
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + PATIENCE_SECONDS
    while clock() < give_up_at:
        for said in reversed(chat.stand_in.transcript[chat.answered :]):
            if words in said.text:
                return said
        await asyncio.sleep(LOOK_SECONDS)
    raise CannotPlay(f"On {chat.stand_in.name} nobody said “{words}”.\n{ADVICE}")


async def _deliver(scene: Scene, chat: Chat, request: StandInRequest) -> httpx.Response:
    """Send a webhook to the address that was pasted into the platform's console."""
    path = httpx.URL(chat.binding["hook_url"]).path
    return await scene.service.http.request(
        request.method, path, params=dict(request.query), headers=dict(request.headers), content=request.body
    )


@asynccontextmanager
async def _played(scene: Scene, wires: dict[str, Wire]) -> AsyncIterator[None]:
    """Let the stand-ins listen where the service looks for the platforms."""
    by_host = {host: wire for name, wire in wires.items() for host in PLATFORMS[name].hosts}

    async def route(scope: Any, receive: Any, send: Any) -> None:
        await by_host[scope["path"].split("/")[1]](scope, receive, send)

    port = stand_in_port(scene.service.http.base_url.port or 80)
    server = uvicorn.Server(uvicorn.Config(route, port=port, log_level="error", lifespan="off", access_log=False))
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - `serve` would take the signals for itself
    while not server.started:
        if serving.done():
            raise CannotPlay(f"Somebody else listens on port {port}, where the stand-ins are looked for.")
        await asyncio.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _show(scene: Scene, chats: list[Chat]) -> None:
    """What was said, chat by chat."""
    for chat in chats:
        table = Table(title=chat.stand_in.name, title_justify="left", show_header=False, show_lines=True)
        for place, said in enumerate([*chat.stand_in.transcript, None]):
            for _, who, text in (one for one in chat.told if one[0] == place):
                table.add_row(who, text)
            if said is not None:
                notes = [
                    *(["edited"] if said.edited else []),
                    *([] if said.chat_id == chat.chat_id else ["private"]),
                ]
                table.add_row(f"开团 ({', '.join(notes)})" if notes else "开团", said.text)
        scene.console.print(table)


def _in_chat(chat: Chat) -> list[Said]:
    return [said for said in chat.stand_in.transcript if said.chat_id == chat.chat_id]


def _who(chat: Chat) -> tuple[str, str, str]:
    return chat.chat_id, chat.sender_id, chat.member.name


def _private_id(chat: Chat) -> str:
    """What a platform calls the conversation with somebody alone."""
    return chat.sender_id


def _new_id() -> str:
    """An id that is a number where a platform wants one."""
    return str(int(token_hex(4), 16) + 1)
