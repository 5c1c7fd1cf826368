"""Slack, played here: an app in one workspace."""

import json
from datetime import datetime
from html import escape
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.demo.platforms.stand_in import Busy, Said, StandInRequest
from app.gateways.chat.platform import HookReply
from app.gateways.chat.slack import API, RESPONSES, signed

ROBOT = "UROBOT"
MAX_RESPONSES = 5
MAX_TEXT = {"header": 150, "section": 3_000, "button": 75}
MAX_VALUE = 2_000
Json = dict[str, Any]


class SlackStandIn(Busy):
    """Implements `StandIn`. A conversation with the robot alone has an id that begins with D, any other with C."""

    name = "slack"

    def __init__(self) -> None:
        super().__init__()
        self.secret = token_hex(16)
        self.token = f"xoxb-{token_hex(16)}"
        self._challenge = ""
        self._names: dict[str, str] = {}
        self._fractions: dict[str, int] = {}
        self._responses: dict[str, tuple[str, str, int]] = {}
        self._sent: dict[str, str] = {}

    def credentials(self) -> dict[str, list[str]]:
        return {"signing_secret": [self.secret], "bot_token": [self.token]}

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
        words = escape(text, quote=False)
        event = {
            "type": "message" if is_private else "app_mention",
            "user": sender_id,
            "channel": self._channel(chat_id, is_private=is_private),
            "text": words if is_private else f"<@{ROBOT}> {words}",
            "ts": f"{int(now.timestamp())}.{self._fraction(message_id)}",
        }
        return self.event(event, now, event_id=f"Ev{message_id}")

    def event(self, event: Json, now: datetime, event_id: str = "Ev0") -> StandInRequest:
        """The webhook for something that happened."""
        content = {
            "type": "event_callback",
            "team_id": "T0",
            "event_id": event_id,
            "event_time": int(now.timestamp()),
            "event": event,
            "authorizations": [{"team_id": "T0", "user_id": ROBOT, "is_bot": True}],
        }
        return self.signed(json.dumps(content, ensure_ascii=False).encode(), "application/json", now)

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
        channel = self._channel(chat_id, is_private=is_private)
        content = {
            "type": "block_actions",
            "user": {"id": sender_id, "name": sender_name},
            "channel": {"id": channel},
            "trigger_id": message_id,
            "response_url": self._response_url("actions", channel, sender_id),
            "actions": [
                {
                    "type": "button",
                    "action_id": "say-0",
                    "value": command,
                    "action_ts": f"{int(now.timestamp())}.{self._fraction(message_id)}",
                }
            ],
        }
        return self._form({"payload": json.dumps(content, ensure_ascii=False)}, now)

    def slash(
        self,
        chat_id: str,
        sender_id: str,
        sender_name: str,
        command: str,
        text: str,
        message_id: str,
        now: datetime,
    ) -> StandInRequest:
        """The webhook for a slash command."""
        channel = self._channel(chat_id, is_private=False)
        fields = {
            "team_id": "T0",
            "channel_id": channel,
            "user_id": sender_id,
            "user_name": sender_name,
            "command": command,
            "text": escape(text, quote=False),
            "trigger_id": message_id,
            "response_url": self._response_url("commands", channel, sender_id),
        }
        return self._form(fields, now)

    def handshake(self, now: datetime) -> StandInRequest:
        self._challenge = token_hex(16)
        content = {"type": "url_verification", "token": "obsolete", "challenge": self._challenge}
        return self.signed(json.dumps(content).encode(), "application/json", now)

    def check_handshake(self, reply: HookReply) -> bool:
        return reply.status == httpx.codes.OK and reply.body.decode() == self._challenge

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"/{API}/api/chat.postMessage", self._post, methods=["POST"]),
                Route(f"/{API}/api/chat.postEphemeral", self._post, methods=["POST"]),
                Route(f"/{API}/api/chat.update", self._update, methods=["POST"]),
                Route(f"/{RESPONSES}/{{kind}}/T0/{{key}}", self._respond, methods=["POST"]),
            ]
        )

    def _channel(self, chat_id: str, *, is_private: bool) -> str:
        letter = "D" if is_private else "C"
        channel = chat_id if chat_id.startswith(letter) else letter + chat_id
        self._names[channel] = chat_id
        return channel

    def _fraction(self, message_id: str) -> str:
        """What makes the time of a message its id."""
        return f"{self._fractions.setdefault(message_id, len(self._fractions)):06}"

    def _response_url(self, kind: str, channel: str, user: str) -> str:
        key = token_hex(12)
        self._responses[key] = channel, user, MAX_RESPONSES
        return f"https://{RESPONSES}/{kind}/T0/{key}"

    def _form(self, fields: dict[str, str], now: datetime) -> StandInRequest:
        return self.signed(urlencode(fields).encode(), "application/x-www-form-urlencoded", now)

    def signed(self, body: bytes, content_type: str, now: datetime) -> StandInRequest:
        """A webhook with this body."""
        seconds = str(int(now.timestamp()))
        headers = {
            "content-type": content_type,
            "x-slack-request-timestamp": seconds,
            "x-slack-signature": signed(self.secret, seconds, body),
        }
        return StandInRequest("POST", {}, headers, body)

    async def _post(self, request: Request) -> Response:
        content = await request.json()
        if refusal := self._refusal(request, content):
            return refusal
        ts = f"{1_700_000_000 + len(self._sent)}.000100"
        alone = request.url.path.endswith("Ephemeral")
        if not alone:
            self._sent[ts] = content["channel"]
        self._say(content["channel"], ts, content, only_to=content["user"] if alone else None)
        return JSONResponse({"ok": True, "channel": content["channel"], "message_ts" if alone else "ts": ts})

    async def _update(self, request: Request) -> Response:
        content = await request.json()
        if refusal := self._refusal(request, content):
            return refusal
        if self._sent.get(content["ts"]) != content["channel"]:
            return _error("message_not_found")
        self._say(content["channel"], content["ts"], content, edited=True)
        return JSONResponse({"ok": True, "channel": content["channel"], "ts": content["ts"]})

    async def _respond(self, request: Request) -> Response:
        key, content = request.path_params["key"], await request.json()
        channel, user, left = self._responses.get(key, ("", "", 0))
        if left == 0:
            return JSONResponse({"ok": False, "error": "used_url"}, status_code=404)
        if busy := self._busy():
            return busy
        self._responses[key] = channel, user, left - 1
        only_to = user if content.get("response_type") == "ephemeral" else None
        self._say(channel, token_hex(4), content, only_to=only_to)
        return PlainTextResponse("ok")

    def _refusal(self, request: Request, content: Json) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _error("invalid_auth")
        if not str(content.get("channel", "")).startswith(("C", "D")):
            return _error("channel_not_found")
        if not content.get("text"):
            return _error("no_text")
        if not _are_valid(content["blocks"]):
            return _error("invalid_blocks")
        return self._busy()

    def _busy(self) -> Response | None:
        if not self.is_busy():
            return None
        return JSONResponse({"ok": False, "error": "ratelimited"}, status_code=429, headers={"retry-after": "2"})

    def _say(
        self, channel: str, ts: str, content: Json, *, edited: bool = False, only_to: str | None = None
    ) -> None:
        blocks = content["blocks"]
        text = "\n".join(block["text"]["text"] for block in blocks if "text" in block)
        buttons = tuple(button["text"]["text"] for button in _buttons(blocks))
        chat = self._names.get(channel, channel)
        self.transcript.append(Said(chat, text, ts, buttons, edited, only_to))


def _buttons(blocks: list[Json]) -> list[Json]:
    return [button for block in blocks for button in block.get("elements", [])]


def _are_valid(blocks: list[Json]) -> bool:
    """Whether nothing in them is longer than Slack takes."""
    texts = [(block["text"]["text"], MAX_TEXT[block["type"]]) for block in blocks if "text" in block]
    for button in _buttons(blocks):
        texts += [(button["text"]["text"], MAX_TEXT["button"]), (button.get("value", "-"), MAX_VALUE)]
    return all(0 < len(text) <= limit for text, limit in texts)


def _error(code: str) -> JSONResponse:
    return JSONResponse({"ok": False, "error": code})
