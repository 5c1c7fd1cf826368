"""Discord, played here: an application with a robot. People speak to it by the command `/kaituan`."""

import json
import re
from datetime import datetime
from secrets import token_hex
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.demo.platforms.stand_in import Busy, Said, StandInRequest
from app.gateways.chat.discord import COMMAND, COMPONENT, EPHEMERAL, HOST, MAX_CUSTOM_ID, PING, PONG
from app.gateways.chat.platform import HookReply

MAX_EMBED = {"title": 256, "description": 4_096}
MAX_LABEL = 80
Json = dict[str, Any]


class DiscordStandIn(Busy):
    """Implements `StandIn`. The answers to a command are for whoever gave it until the first one is there, as the
    robot's first word on it said.
    """

    name = "discord"

    def __init__(self) -> None:
        super().__init__()
        self.key = Ed25519PrivateKey.generate()
        self.application_id = str(10**17 + int(token_hex(6), 16))
        self.token = f"{token_hex(12)}.{token_hex(3)}.{token_hex(13)}"
        self._waiting: dict[str, tuple[str, str, bool]] = {}
        """By interaction token: chat, who asked, and whether they still see that the robot thinks."""
        self._sent: dict[str, str] = {}

    def credentials(self) -> dict[str, list[str]]:
        public = self.key.public_key().public_bytes_raw().hex()
        return {"public_key": [public], "application_id": [self.application_id], "bot_token": [self.token]}

    def say(
        self,
        chat_id: str,
        sender_id: str,
        sender_name: str,
        text: str,
        message_id: str,
        now: datetime,
        *,
        is_private: bool = False,
    ) -> StandInRequest:
        data = {"id": "1", "name": "kaituan", "type": 1, "options": [{"name": "text", "type": 3, "value": text}]}
        who = chat_id, sender_id, sender_name, is_private
        return self._interaction(COMMAND, data, message_id, who, now)

    def press(
        self,
        chat_id: str,
        sender_id: str,
        sender_name: str,
        command: str,
        message_id: str,
        now: datetime,
        *,
        is_private: bool = False,
    ) -> StandInRequest:
        data = {"custom_id": f"0:{command}", "component_type": 2}
        who = chat_id, sender_id, sender_name, is_private
        return self._interaction(COMPONENT, data, message_id, who, now)

    def handshake(self, now: datetime) -> StandInRequest:
        return self.signed({"type": PING, "application_id": self.application_id, "id": "1", "token": "ping"}, now)

    def check_handshake(self, reply: HookReply) -> bool:
        return (
            reply.status == httpx.codes.OK
            and reply.content_type == "application/json"
            and json.loads(reply.body) == {"type": PONG}
        )

    def signed(self, content: Json, now: datetime) -> StandInRequest:
        """A webhook with this content."""
        body, seconds = json.dumps(content, ensure_ascii=False).encode(), str(int(now.timestamp()))
        headers = {
            "content-type": "application/json",
            "x-signature-timestamp": seconds,
            "x-signature-ed25519": self.key.sign(seconds.encode() + body).hex(),
        }
        return StandInRequest("POST", {}, headers, body)

    def app(self) -> Starlette:
        api = f"/{HOST}/api/v10"
        return Starlette(
            routes=[
                Route(f"{api}/channels/{{channel}}/messages", self._post, methods=["POST"]),
                Route(f"{api}/channels/{{channel}}/messages/{{message}}", self._edit, methods=["PATCH"]),
                Route(f"{api}/users/@me/channels", self._open, methods=["POST"]),
                Route(f"{api}/webhooks/{{application}}/{{token}}", self._follow, methods=["POST"]),
            ]
        )

    def _interaction(
        self, kind: int, data: Json, message_id: str, who: tuple[str, str, str, bool], now: datetime
    ) -> StandInRequest:
        chat_id, sender_id, name, is_private = who
        token = token_hex(40)
        self._waiting[token] = chat_id, sender_id, kind == COMMAND
        user = {"id": sender_id, "username": name, "global_name": None}
        person = {"user": user} if is_private else {"member": {"user": user, "nick": None}, "guild_id": "1"}
        content = {
            "type": kind,
            "version": 1,
            "id": message_id,
            "application_id": self.application_id,
            "token": token,
            "channel_id": chat_id,
            "context": 1 if is_private else 0,
            "data": data,
        }
        return self.signed(content | person, now)

    async def _post(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        channel = request.path_params["channel"]
        id_ = str(2 * 10**17 + len(self._sent))
        self._sent[id_] = channel
        return self._said(channel, id_, await request.json(), only_to=channel.partition("dm-")[2] or None)

    async def _edit(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        channel, id_ = request.path_params["channel"], request.path_params["message"]
        if self._sent.get(id_) != channel:
            return _error(404, 10008, "Unknown Message")
        return self._said(channel, id_, await request.json(), edited=True)

    async def _open(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        return JSONResponse({"id": f"dm-{(await request.json())['recipient_id']}", "type": 1})

    async def _follow(self, request: Request) -> Response:
        if refusal := self._refusal(request, token=False):
            return refusal
        chat, user, thinks = self._waiting[token := request.path_params["token"]]
        self._waiting[token] = chat, user, False
        content = await request.json()
        alone = thinks or content.get("flags") == EPHEMERAL
        return self._said(chat, token_hex(8), content, only_to=user if alone else None)

    def _refusal(self, request: Request, *, token: bool = True) -> Response | None:
        """What is wrong with a request; one with the token of an interaction needs no other."""
        if token and request.headers.get("authorization") != f"Bot {self.token}":
            return _error(401, 0, "401: Unauthorized")
        known = request.path_params.get("token") in self._waiting
        if not token and (request.path_params["application"] != self.application_id or not known):
            return _error(404, 10015, "Unknown Webhook")
        if self.is_busy():
            content = {"message": "You are being rate limited.", "retry_after": 0.5, "global": False}
            return JSONResponse(content, status_code=429)
        return None

    def _said(
        self, channel: str, id_: str, content: Json, *, edited: bool = False, only_to: str | None = None
    ) -> Response:
        buttons = [button for row in content.get("components", []) for button in row["components"]]
        ids = [button["custom_id"] for button in buttons if "custom_id" in button]
        if len(set(ids)) < len(ids) or any(len(id_) > MAX_CUSTOM_ID for id_ in ids):
            return _error(400, 50035, "Invalid Form Body")
        if any(len(button["label"]) > MAX_LABEL for button in buttons):
            return _error(400, 50035, "Invalid Form Body")
        texts = [content["content"]] if "content" in content else []
        for embed in content.get("embeds", []):
            texts += [embed[part] for part in MAX_EMBED if part in embed]
            if any(len(embed.get(part, "")) > limit for part, limit in MAX_EMBED.items()):
                return _error(400, 50035, "Invalid Form Body")
        text = re.sub(r"\\(.)", r"\1", "\n".join(texts))
        labels = tuple(button["label"] for button in buttons)
        self.transcript.append(Said(channel, text, id_, labels, edited, only_to))
        return JSONResponse({"id": id_, "channel_id": channel})


def _error(status: int, code: int, text: str) -> JSONResponse:
    return JSONResponse({"message": text, "code": code}, status_code=status)
