"""A stand-in for DingTalk: the robot of an organisation, its events, and a custom robot in one group."""

import json
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from hmac import digest
from secrets import token_hex
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.demo.platforms.errcodes import Errcodes, Wrong, answer, make_key, read_markdown
from app.demo.platforms.stand_in import StandInRequest
from app.domain.errors import SignatureInvalid
from app.gateways.chat import msgcrypt
from app.gateways.chat.platform import HookReply

HOST = "oapi.dingtalk.com"
API = "api.dingtalk.com/v1.0"
BUSY = 130101
HOUR_SECONDS = 3600
PRIVATE = "user:"
"""In the transcript, before the id of a person: the conversation with them."""
SESSION = timedelta(minutes=90)


class DingTalkStandIn(Errcodes):
    """Implements `StandIn`. The custom robot is in the first group that somebody says something in."""

    name = "dingtalk"

    def __init__(self) -> None:
        super().__init__()
        self.token, self.key = token_hex(8), make_key()
        self.app_key, self.app_secret = f"ding{token_hex(8)}", token_hex(32)
        self.robot_token, self.robot_secret = token_hex(32), f"SEC{token_hex(32)}"
        self.access_token = token_hex(16)
        self.group = "group"
        self._sessions: dict[str, str] = {}
        self._checked_at: datetime | None = None

    def credentials(self) -> dict[str, list[str]]:
        return {
            "app_secret": [self.app_secret],
            "token": [self.token],
            "encoding_aes_key": [self.key],
            "app_key": [self.app_key],
            "robot_token": [self.robot_token],
            "robot_secret": [self.robot_secret],
        }

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
        if not is_private and self.group == "group":
            self.group = chat_id
        session, milliseconds = token_hex(16), str(round(now.timestamp() * 1000))
        self._sessions[session] = PRIVATE + sender_id if is_private else chat_id
        message = {
            "conversationId": chat_id,
            "conversationType": "1" if is_private else "2",
            "msgId": message_id,
            "msgtype": "text",
            "text": {"content": text if is_private else f" {text}"},
            "senderId": f"$:LWCP_v1:${sender_id}",
            "senderStaffId": sender_id,
            "senderNick": sender_name,
            "createAt": int(milliseconds),
            "sessionWebhook": f"https://{HOST}/robot/sendBySession?session={session}",
            "sessionWebhookExpiredTime": round((now + SESSION).timestamp() * 1000),
            "isInAtList": not is_private,
        }
        headers = {
            "content-type": "application/json",
            "timestamp": milliseconds,
            "sign": _sign(self.app_secret, milliseconds),
        }
        return StandInRequest("POST", {}, headers, json.dumps(message, ensure_ascii=False).encode())

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
        return self.say(chat_id, sender_id, sender_name, command, message_id, now, is_private=is_private)

    def handshake(self, now: datetime) -> StandInRequest:
        self._checked_at = now
        event = json.dumps({"EventType": "check_url"}).encode()
        encrypted = msgcrypt.encrypt(self.key, self.app_key, event, token_hex(8).encode())
        milliseconds, nonce = str(round(now.timestamp() * 1000)), token_hex(4)
        signature = msgcrypt.sign(self.token, milliseconds, nonce, encrypted)
        query = {"msg_signature": signature, "timestamp": milliseconds, "nonce": nonce}
        body = json.dumps({"encrypt": encrypted}).encode()
        return StandInRequest("POST", query, {"content-type": "application/json"}, body)

    def check_handshake(self, reply: HookReply) -> bool:
        try:
            content = json.loads(reply.body)
            signed = (content["msg_signature"], content["timeStamp"], content["nonce"])
            if self._checked_at is None:
                return False
            msgcrypt.verify([self.token], *signed, self._checked_at, content["encrypt"])
            message, _ = msgcrypt.decrypt([self.key], [self.app_key], content["encrypt"])
        except (ValueError, KeyError, SignatureInvalid):
            return False
        return message == b"success"

    def app(self) -> Starlette:
        robots = {"send": self._send, "sendBySession": self._send_answer}
        apps = {"groupMessages/send": self._send_to_group, "oToMessages/batchSend": self._send_to_one}
        return Starlette(
            routes=[
                Route(f"/{API}/oauth2/accessToken", self._get_token, methods=["POST"]),
                *(
                    Route(f"/{HOST}/robot/{path}", answer(self, BUSY, call), methods=["POST"])
                    for path, call in robots.items()
                ),
                *(
                    Route(f"/{API}/robot/{path}", self._as_app(call), methods=["POST"])
                    for path, call in apps.items()
                ),
            ]
        )

    async def _send(self, request: Request, content: dict[str, Any]) -> None:
        query = request.query_params
        if query.get("access_token") != self.robot_token:
            raise Wrong(300005, "token is not exist")
        milliseconds = query.get("timestamp", "0")
        if abs(time.time() - int(milliseconds) / 1000) > HOUR_SECONDS:
            raise Wrong(310000, "invalid timestamp")
        if query.get("sign") != _sign(self.robot_secret, milliseconds):
            raise Wrong(310000, "sign not match")
        self._note(self.group, content)

    async def _send_answer(self, request: Request, content: dict[str, Any]) -> None:
        chat_id = self._sessions.get(request.query_params.get("session", ""))
        if chat_id is None:
            raise Wrong(300001, "session is not exist")
        self._note(chat_id, content)

    async def _get_token(self, request: Request) -> Response:
        content = await request.json()
        if (content.get("appKey"), content.get("appSecret")) != (self.app_key, self.app_secret):
            return _wrong(400, "invalidClientIdOrSecret")
        return JSONResponse({"accessToken": self.access_token, "expireIn": 7200})

    def _as_app(self, call: Callable[[dict[str, Any]], JSONResponse]) -> Callable[[Request], Awaitable[Response]]:
        """A call of the newer API, whose errors are in the HTTP status and in words."""

        async def respond(request: Request) -> Response:
            content = await request.json()
            self.requests.append(content)
            if self.is_busy():
                return _wrong(403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi")
            if request.headers.get("x-acs-dingtalk-access-token") != self.access_token:
                return _wrong(401, "InvalidAuthentication")
            if content["robotCode"] != self.app_key:
                return _wrong(400, "invalidParameter.robotCode.notExsit")
            return call(content)

        return respond

    def _send_to_group(self, content: dict[str, Any]) -> JSONResponse:
        return self._send_sample(content, content["openConversationId"], None)

    def _send_to_one(self, content: dict[str, Any]) -> JSONResponse:
        (user,) = content["userIds"]
        return self._send_sample(content, PRIVATE + user, user)

    def _send_sample(self, content: dict[str, Any], chat_id: str, only_to: str | None) -> JSONResponse:
        card = json.loads(content["msgParam"])
        count = {"sampleMarkdown": 0, "sampleActionCard": 1} | {f"sampleActionCard{n}": n for n in range(2, 6)}
        buttons = [card[name] for name in sorted(card) if name == "singleTitle" or name.startswith("actionTitle")]
        links = [card[name] for name in card if name == "singleURL" or name.startswith("actionURL")]
        if not len(buttons) == len(links) == count.get(content["msgKey"], -1):
            return _wrong(400, "invalidParameter.msgParam.invalid")
        self.note(chat_id, read_markdown(card["text"]), tuple(buttons), only_to)
        return JSONResponse({"processQueryKey": token_hex(8)})

    def _note(self, chat_id: str, content: dict[str, Any]) -> None:
        match content:
            case {"msgtype": "markdown", "markdown": {"title": _, "text": text}}:
                self.note(chat_id, read_markdown(text))
            case {"msgtype": "actionCard", "actionCard": {"title": _, "text": text, "btns": buttons}}:
                if not all(button["actionURL"] for button in buttons):
                    raise Wrong(400105, "unsupported button")
                self.note(chat_id, read_markdown(text), tuple(button["title"] for button in buttons))
            case _:
                raise Wrong(400105, "unsupported msgtype")


def _sign(secret: str, milliseconds: str) -> str:
    return b64encode(digest(secret.encode(), f"{milliseconds}\n{secret}".encode(), "sha256")).decode()


def _wrong(status: int, code: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": code, "requestid": token_hex(8)}, status)
