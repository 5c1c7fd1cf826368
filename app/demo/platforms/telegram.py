"""Telegram, played here. Its ids are numbers; who is called something else gets one."""

import json
from datetime import datetime
from secrets import token_urlsafe
from typing import Any
from zlib import crc32

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.demo.platforms.stand_in import Busy, Said, StandInRequest
from app.gateways.chat.platform import HookReply
from app.gateways.chat.telegram import HOST, MAX_COMMAND_BYTES, MAX_TEXT_UNITS, SECRET

USERNAME = "KaituanBot"
RETRY_AFTER_SECONDS = 3
Json = dict[str, Any]


class TelegramStandIn(Busy):
    """Implements `StandIn`."""

    name = "telegram"

    def __init__(self) -> None:
        super().__init__()
        self.moved: dict[str, str] = {}
        """Groups that became supergroups: their ids, and what those are now."""
        self.secret = token_urlsafe(32)
        self.token = f"42:{token_urlsafe(26)}"
        self._names: dict[int, str] = {}
        self._heard: set[int] = set()
        self._sent: dict[int, Json] = {}

    def credentials(self) -> dict[str, list[str]]:
        return {"secret_token": [self.secret], "bot_token": [self.token], "bot_username": [USERNAME]}

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
        number = self._number(message_id)
        self._heard.add(number)
        message = {
            "message_id": number,
            "date": int(now.timestamp()),
            "chat": self._chat(chat_id, is_private=is_private),
            "from": self._person(sender_id, sender_name),
            "text": text if is_private else f"@{USERNAME} {text}",
        }
        return self.update({"update_id": number, "message": message})

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
        card = {
            "message_id": 1,
            "date": int(now.timestamp()),
            "chat": self._chat(chat_id, is_private=is_private),
            "from": {"id": 42, "is_bot": True, "first_name": "开团"},
        }
        press = {
            "id": f"press-{message_id}",
            "from": self._person(sender_id, sender_name),
            "message": card,
            "data": command,
        }
        return self.update({"update_id": self._number(message_id), "callback_query": press})

    def handshake(self, now: datetime) -> StandInRequest:
        """There is none; an update that nobody waits for comes closest."""
        return self.update({"update_id": 1, "my_chat_member": {"date": int(now.timestamp())}})

    def check_handshake(self, reply: HookReply) -> bool:
        return reply.status == httpx.codes.OK

    def update(self, content: Json) -> StandInRequest:
        """A webhook with this update."""
        headers = {"content-type": "application/json", SECRET: self.secret}
        return StandInRequest("POST", {}, headers, json.dumps(content, ensure_ascii=False).encode())

    def app(self) -> Starlette:
        methods = {"sendMessage": self._send, "editMessageText": self._edit}
        return Starlette(
            routes=[
                Route(f"/{HOST}/bot{{token}}/{name}", self._called(method), methods=["POST"])
                for name, method in methods.items()
            ]
        )

    def _number(self, name: str) -> int:
        number = int(name) if name.removeprefix("-").isdigit() else crc32(name.encode())
        self._names[number] = name
        return number

    def _chat(self, chat_id: str, *, is_private: bool) -> Json:
        return {"id": self._number(chat_id), "type": "private" if is_private else "supergroup"}

    def _person(self, sender_id: str, name: str) -> Json:
        return {"id": self._number(sender_id), "is_bot": False, "first_name": name}

    def _called(self, method: Any) -> Any:
        async def call(request: Request) -> JSONResponse:
            if request.path_params["token"] != self.token:
                return _error(401, "Unauthorized")
            if self.is_busy():
                wait = {"retry_after": RETRY_AFTER_SECONDS}
                return _error(429, f"Too Many Requests: retry after {RETRY_AFTER_SECONDS}", wait)
            content = await request.json()
            if (chat := str(content["chat_id"])) in self.moved:
                to = {"migrate_to_chat_id": int(self.moved[chat])}
                return _error(400, "Bad Request: group chat was upgraded to a supergroup chat", to)
            if not 0 < len(content["text"].encode("utf-16-le")) <= MAX_TEXT_UNITS * 2:
                return _error(400, "Bad Request: message is too long")
            for key in _keys(content):
                if len(key.get("callback_data", "").encode()) > MAX_COMMAND_BYTES:
                    return _error(400, "Bad Request: BUTTON_DATA_INVALID")
            response: JSONResponse = method(content)
            return response

        return call

    def _send(self, content: Json) -> JSONResponse:
        quoted = content.get("reply_parameters")
        if quoted and quoted["message_id"] not in self._heard and not quoted.get("allow_sending_without_reply"):
            return _error(400, "Bad Request: message to be replied not found")
        number = len(self._sent) + 1001
        self._sent[number] = content
        self._say(number, content)
        return JSONResponse({"ok": True, "result": {"message_id": number}})

    def _edit(self, content: Json) -> JSONResponse:
        number = content.pop("message_id")
        before = self._sent.get(number)
        if before is None:
            return _error(400, "Bad Request: message to edit not found")
        if all(before.get(name) == value for name, value in content.items()):
            return _error(400, "Bad Request: message is not modified: specified new message content is the same")
        self._sent[number] = content
        self._say(number, content, edited=True)
        return JSONResponse({"ok": True, "result": {"message_id": number}})

    def _say(self, number: int, content: Json, *, edited: bool = False) -> None:
        chat = self._names.get(int(content["chat_id"]), str(content["chat_id"]))
        labels = tuple(key["text"] for key in _keys(content))
        self.transcript.append(Said(chat, content["text"], str(number), labels, edited))


def _keys(content: Json) -> list[Json]:
    return [key for row in content.get("reply_markup", {}).get("inline_keyboard", []) for key in row]


def _error(status: int, text: str, parameters: Json | None = None) -> JSONResponse:
    content = {"ok": False, "error_code": status, "description": text}
    return JSONResponse(content | ({"parameters": parameters} if parameters else {}), status_code=status)
