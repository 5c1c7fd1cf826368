"""A stand-in for WeChat: an official account in safe mode, to which people write one by one."""

import re
from datetime import datetime
from secrets import token_hex
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.demo.platforms.errcodes import Errcodes, Wrong, answer, make_key, make_xml
from app.demo.platforms.stand_in import StandInRequest
from app.gateways.chat import msgcrypt
from app.gateways.chat.platform import HookReply

HOST = "api.weixin.qq.com"
BUSY = 45011
MAX_TEXT_BYTES = 2048


class WeChatStandIn(Errcodes):
    """Implements `StandIn`. A conversation has the id of who it is with; only who wrote before is written to."""

    name = "wechat"

    def __init__(self) -> None:
        super().__init__()
        self.token, self.key = token_hex(8), make_key()
        self.app_id, self.app_secret, self.account = f"wx{token_hex(8)}", token_hex(16), f"gh_{token_hex(6)}"
        self.access_token = token_hex(32)
        self._known: set[str] = set()
        self._echo = ""

    def credentials(self) -> dict[str, list[str]]:
        return {
            "token": [self.token],
            "encoding_aes_key": [self.key],
            "app_id": [self.app_id],
            "app_secret": [self.app_secret],
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
        is_private: bool = True,
    ) -> StandInRequest:
        self._known.add(sender_id)
        message = make_xml(
            {
                "ToUserName": self.account,
                "FromUserName": sender_id,
                "CreateTime": int(now.timestamp()),
                "MsgType": "text",
                "Content": text,
                "MsgId": message_id,
            }
        )
        encrypted = msgcrypt.encrypt(self.key, self.app_id, message.encode(), token_hex(8).encode())
        query = self._query(now)
        query |= {
            "openid": sender_id,
            "encrypt_type": "aes",
            "msg_signature": msgcrypt.sign(self.token, query["timestamp"], query["nonce"], encrypted),
        }
        body = make_xml({"ToUserName": self.account, "Encrypt": encrypted}).encode()
        return StandInRequest("POST", query, {"content-type": "text/xml"}, body)

    def press(
        self,
        chat_id: str,
        sender_id: str,
        sender_name: str,
        command: str,
        message_id: str,
        now: datetime,
        *,
        is_private: bool = True,
    ) -> StandInRequest:
        return self.say(chat_id, sender_id, sender_name, command, message_id, now, is_private=is_private)

    def handshake(self, now: datetime) -> StandInRequest:
        self._echo = str(int(token_hex(8), 16))
        return StandInRequest("GET", self._query(now) | {"echostr": self._echo}, {}, b"")

    def check_handshake(self, reply: HookReply) -> bool:
        return reply.status == 200 and reply.body == self._echo.encode()  # noqa: PLR2004

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"/{HOST}/cgi-bin/stable_token", self._get_token, methods=["POST"]),
                Route(f"/{HOST}/cgi-bin/message/custom/send", answer(self, BUSY, self._send), methods=["POST"]),
            ]
        )

    def _query(self, now: datetime) -> dict[str, str]:
        time, nonce = str(int(now.timestamp())), str(int(token_hex(4), 16))
        return {"signature": msgcrypt.sign(self.token, time, nonce), "timestamp": time, "nonce": nonce}

    async def _get_token(self, request: Request) -> Response:
        """Answered without an `errcode` when all is well."""
        content = await request.json()
        if (content.get("appid"), content.get("secret")) != (self.app_id, self.app_secret):
            return JSONResponse({"errcode": 40125, "errmsg": "invalid appsecret"})
        return JSONResponse({"access_token": self.access_token, "expires_in": 7200})

    async def _send(self, request: Request, content: dict[str, Any]) -> None:
        if request.query_params.get("access_token") != self.access_token:
            raise Wrong(40001, "invalid credential, access_token is invalid or not latest")
        user = content["touser"]
        if user not in self._known:
            raise Wrong(45015, "response out of time limit or subscription is canceled")
        match content:
            case {"msgtype": "text", "text": {"content": text}}:
                buttons: tuple[str, ...] = ()
            case {"msgtype": "msgmenu", "msgmenu": {"head_content": head, "list": items, "tail_content": tail}}:
                text, buttons = f"{head}\n{tail}", tuple(item["content"] for item in items)
            case _:
                raise Wrong(40008, "invalid message type")
        if len(text.encode()) > MAX_TEXT_BYTES + 1:
            raise Wrong(45002, "content size out of limit")
        links = tuple(re.findall(r'<a href="[^"]*">([^<]*)</a>', text))
        self.note(user, re.sub(r'\n?<a href="[^"]*">[^<]*</a>', "", text).strip(), buttons + links)
