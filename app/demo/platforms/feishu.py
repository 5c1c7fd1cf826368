"""Feishu, played here: an app with an encrypt key, and the robot of a group."""

import hashlib
import json
import time
from base64 import b64encode
from datetime import datetime
from secrets import token_bytes, token_hex
from typing import Any

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.demo.platforms.stand_in import Busy, Said, StandInRequest
from app.gateways.chat.feishu import BLOCK_BYTES, CHINA, robot_signature
from app.gateways.chat.platform import HookReply

HOUR_SECONDS = 3600
MAX_CARD_BYTES = 30_000
ROBOT = {"key": "@_user_1", "name": "开团", "id": {"open_id": "ou_robot", "union_id": "on_robot", "user_id": None}}
OK, BAD_PARAMETER, NO_CHAT, NO_MESSAGE = 0, 230001, 230002, 230011
BAD_APP, BAD_TOKEN, TOO_MANY, BAD_SIGN = 10003, 99991663, 99991400, 19021
Json = dict[str, Any]


class FeishuStandIn(Busy):
    """Implements `StandIn`."""

    name = "feishu"

    def __init__(self) -> None:
        super().__init__()
        self.encrypt_key, self.verification_token = token_hex(16), token_hex(16)
        self.app_id, self.app_secret = f"cli_{token_hex(8)}", token_hex(16)
        self.robot_token, self.robot_secret = token_hex(16), token_hex(11)
        self._token = f"t-{token_hex(16)}"
        self._challenge = ""
        self._heard: dict[str, str] = {}
        self._sent: dict[str, str] = {}

    def credentials(self) -> dict[str, list[str]]:
        return {
            "encrypt_key": [self.encrypt_key],
            "verification_token": [self.verification_token],
            "app_id": [self.app_id],
            "app_secret": [self.app_secret],
        }

    def robot_credentials(self) -> dict[str, list[str]]:
        """Of a group's custom robot, which only speaks."""
        return {"robot_token": [self.robot_token], "robot_secret": [self.robot_secret]}

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
        self._heard[message_id] = chat_id
        message = {
            "message_id": message_id,
            "create_time": str(int(now.timestamp() * 1000)),
            "chat_id": chat_id,
            "chat_type": "p2p" if is_private else "group",
            "message_type": "text",
            "content": json.dumps({"text": text if is_private else f"@_user_1 {text}"}, ensure_ascii=False),
        }
        sender = {"sender_id": {"open_id": sender_id, "user_id": None}, "sender_type": "user"}
        event = {"sender": sender, "message": message if is_private else message | {"mentions": [ROBOT]}}
        return self._event("im.message.receive_v1", f"ev-{message_id}", event, now)

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
        event = {
            "operator": {"open_id": sender_id, "user_id": None},
            "action": {"tag": "button", "value": {"command": command}},
            "context": {"open_chat_id": chat_id, "open_message_id": "om_card"},
        }
        return self._event("card.action.trigger", message_id, event, now)

    def handshake(self, now: datetime) -> StandInRequest:
        self._challenge = token_hex(16)
        content = {"challenge": self._challenge, "token": self.verification_token, "type": "url_verification"}
        return StandInRequest("POST", {}, {"content-type": "application/json"}, self.encrypted(content))

    def check_handshake(self, reply: HookReply) -> bool:
        return reply.status == httpx.codes.OK and json.loads(reply.body) == {"challenge": self._challenge}

    def app(self) -> Starlette:
        api = f"/{CHINA}/open-apis"
        return Starlette(
            routes=[
                Route(f"{api}/auth/v3/tenant_access_token/internal", self._give_token, methods=["POST"]),
                Route(f"{api}/im/v1/messages", self._send, methods=["POST"]),
                Route(f"{api}/im/v1/messages/{{message_id}}/reply", self._send, methods=["POST"]),
                Route(f"{api}/im/v1/messages/{{message_id}}", self._edit, methods=["PATCH"]),
                Route(f"{api}/bot/v2/hook/{{token}}", self._hear_robot, methods=["POST"]),
            ]
        )

    def _event(self, kind: str, event_id: str, event: Json, now: datetime) -> StandInRequest:
        header = {
            "event_id": event_id,
            "event_type": kind,
            "token": self.verification_token,
            "create_time": str(int(now.timestamp() * 1000)),
            "app_id": self.app_id,
            "tenant_key": "tenant",
        }
        return self.signed(self.encrypted({"schema": "2.0", "header": header, "event": event}), now)

    def signed(self, body: bytes, now: datetime) -> StandInRequest:
        """A webhook with this body."""
        seconds, nonce = str(int(now.timestamp())), str(int.from_bytes(token_bytes(4)))
        signature = hashlib.sha256(f"{seconds}{nonce}{self.encrypt_key}".encode() + body).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-lark-request-timestamp": seconds,
            "x-lark-request-nonce": nonce,
            "x-lark-signature": signature,
        }
        return StandInRequest("POST", {}, headers, body)

    def encrypted(self, content: Json) -> bytes:
        """What a webhook with this content has as its body."""
        padder = PKCS7(BLOCK_BYTES * 8).padder()
        padded = padder.update(json.dumps(content, ensure_ascii=False).encode()) + padder.finalize()
        key, vector = hashlib.sha256(self.encrypt_key.encode()).digest(), token_bytes(BLOCK_BYTES)
        encryptor = Cipher(algorithms.AES256(key), modes.CBC(vector)).encryptor()
        sealed = vector + encryptor.update(padded) + encryptor.finalize()
        return json.dumps({"encrypt": b64encode(sealed).decode()}).encode()

    async def _give_token(self, request: Request) -> JSONResponse:
        asked = await request.json()
        if asked != {"app_id": self.app_id, "app_secret": self.app_secret}:
            return _answer(BAD_APP, "invalid app_id or app_secret")
        return JSONResponse({"code": OK, "msg": "ok", "tenant_access_token": self._token, "expire": 7200})

    async def _send(self, request: Request) -> JSONResponse:
        if refusal := self._refusal(request):
            return refusal
        content = await request.json()
        answered = request.path_params.get("message_id")
        kind = request.query_params.get("receive_id_type")
        if answered is not None and answered not in self._heard:
            return _answer(NO_MESSAGE, "The message was withdrawn")
        if answered is None and kind not in {"chat_id", "open_id"}:
            return _answer(BAD_PARAMETER, "invalid receive_id_type")
        if content.get("msg_type") != "interactive" or len(content["content"].encode()) > MAX_CARD_BYTES:
            return _answer(BAD_PARAMETER, "invalid msg_type")
        receiver = str(content.get("receive_id", ""))
        message_id = f"om_{token_hex(8)}"
        self._sent[message_id] = chat = self._heard[answered] if answered else receiver
        only_to = receiver if kind == "open_id" else None
        self._say(chat, message_id, json.loads(content["content"]), only_to=only_to)
        return _answer(OK, "success", {"message_id": message_id})

    async def _edit(self, request: Request) -> JSONResponse:
        if refusal := self._refusal(request):
            return refusal
        message_id = request.path_params["message_id"]
        if message_id not in self._sent:
            return _answer(NO_MESSAGE, "The message was withdrawn")
        card = json.loads((await request.json())["content"])
        if not card["config"].get("update_multi"):
            return _answer(BAD_PARAMETER, "the card is not shared")
        self._say(self._sent[message_id], message_id, card, edited=True)
        return _answer(OK, "success", {})

    async def _hear_robot(self, request: Request) -> JSONResponse:
        content = await request.json()
        signed = str(content.get("timestamp", ""))
        if request.path_params["token"] != self.robot_token:
            return _answer(BAD_PARAMETER, "param invalid: incoming webhook access token invalid")
        if self.is_busy():
            return _answer(11232, "frequency limited psm[lark.oapi.app_platform_runtime]")
        if (
            not signed.isdigit()
            or abs(int(signed) - time.time()) > HOUR_SECONDS
            or content.get("sign") != robot_signature(self.robot_secret, signed)
        ):
            return _answer(BAD_SIGN, "sign match fail or timestamp is not within one hour from current time")
        self._say("robot", f"om_{token_hex(8)}", content["card"])
        return _answer(OK, "success", {})

    def _refusal(self, request: Request) -> JSONResponse | None:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            return _answer(BAD_TOKEN, "Invalid access token for authorization. Please make a test attempt.")
        return _answer(TOO_MANY, "request trigger frequency limit") if self.is_busy() else None

    def _say(
        self, chat_id: str, message_id: str, card: Json, *, edited: bool = False, only_to: str | None = None
    ) -> None:
        lines, buttons = [card["header"]["title"]["content"]], []
        for element in card["elements"]:
            if element["tag"] == "action":
                buttons += [button["text"]["content"] for button in element["actions"]]
            else:
                lines.append(element["text"]["content"])
        self.transcript.append(Said(chat_id, "\n".join(lines), message_id, tuple(buttons), edited, only_to))


def _answer(code: int, text: str, data: Json | None = None) -> JSONResponse:
    content = {"code": code, "msg": text} | ({} if data is None else {"data": data})
    return JSONResponse(content, status_code=200 if code == OK else 400)
