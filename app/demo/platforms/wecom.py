"""A stand-in for WeCom: an intelligent robot and a group robot in groups, an app for private conversations."""

import json
from datetime import datetime
from secrets import token_hex
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from app.demo.platforms.errcodes import Errcodes, Wrong, answer, make_key, make_xml, read_markdown
from app.demo.platforms.stand_in import StandInRequest
from app.gateways.chat import msgcrypt
from app.gateways.chat.platform import HookReply

HOST = "qyapi.weixin.qq.com"
PRIVATE = "user:"
BUSY = 45009
MAX_MARKDOWN_BYTES, MAX_BUTTONS = 4096, 6


class WeComStandIn(Errcodes):
    """Implements `StandIn`. The group robot is in the first group that somebody says something in."""

    name = "wecom"

    def __init__(self) -> None:
        super().__init__()
        self.token, self.key = token_hex(8), make_key()
        self.corp_id, self.corp_secret, self.agent_id = f"ww{token_hex(8)}", token_hex(20), 1000002
        self.robot_key = token_hex(16)
        self.access_token = token_hex(32)
        self.group = "group"
        self._answers: dict[str, str] = {}
        self._echo = ""

    def credentials(self) -> dict[str, list[str]]:
        return {
            "token": [self.token],
            "encoding_aes_key": [self.key],
            "corp_id": [self.corp_id],
            "corp_secret": [self.corp_secret],
            "agent_id": [str(self.agent_id)],
            "robot_key": [self.robot_key],
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
        if is_private:
            return self._to_app(sender_id, now, MsgType="text", Content=text, MsgId=message_id)
        content = {"msgtype": "text", "text": {"content": f"@开团 {text}"}}
        return self._to_robot(chat_id, sender_id, message_id, now, content)

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
        if is_private:
            return self._to_app(
                sender_id, now, MsgType="event", Event="template_card_event", EventKey=command, TaskId=message_id
            )
        pressed = {"card_type": "button_interaction", "event_key": command, "task_id": token_hex(8)}
        content = {
            "msgtype": "event",
            "event": {"eventtype": "template_card_event", "template_card_event": pressed},
        }
        return self._to_robot(chat_id, sender_id, message_id, now, content)

    def handshake(self, now: datetime) -> StandInRequest:
        self._echo = str(int(token_hex(8), 16))
        encrypted = self._encrypt(self._echo, self.corp_id)
        return StandInRequest("GET", self._query(encrypted, now) | {"echostr": encrypted}, {}, b"")

    def check_handshake(self, reply: HookReply) -> bool:
        return reply.status == 200 and reply.body == self._echo.encode()  # noqa: PLR2004

    def app(self) -> Starlette:
        calls = {
            "gettoken": self._get_token,
            "message/send": self._send_as_app,
            "webhook/send": self._send_to_group,
            "aibot/response": self._send_answer,
        }
        return Starlette(
            routes=[
                Route(f"/{HOST}/cgi-bin/{path}", answer(self, BUSY, call), methods=["GET", "POST"])
                for path, call in calls.items()
            ]
        )

    def _to_robot(
        self, chat_id: str, sender_id: str, message_id: str, now: datetime, content: dict[str, Any]
    ) -> StandInRequest:
        self.group = chat_id if self.group == "group" else self.group
        code = token_hex(16)
        self._answers[code] = chat_id
        message = {
            "msgid": message_id,
            "create_time": int(now.timestamp()),
            "aibotid": "AIBOT",
            "chatid": chat_id,
            "chattype": "group",
            "from": {"userid": sender_id},
            "response_url": f"https://{HOST}/cgi-bin/aibot/response?response_code={code}",
        }
        encrypted = self._encrypt(json.dumps(message | content, ensure_ascii=False), "")
        body = json.dumps({"encrypt": encrypted}).encode()
        return StandInRequest("POST", self._query(encrypted, now), {"content-type": "application/json"}, body)

    def _to_app(self, sender_id: str, now: datetime, **fields: str) -> StandInRequest:
        about: dict[str, str | int] = {"ToUserName": self.corp_id, "AgentID": self.agent_id}
        message = about | {"FromUserName": sender_id, "CreateTime": int(now.timestamp())} | fields
        encrypted = self._encrypt(make_xml(message), self.corp_id)
        body = make_xml(about | {"Encrypt": encrypted})
        return StandInRequest("POST", self._query(encrypted, now), {"content-type": "text/xml"}, body.encode())

    def _encrypt(self, message: str, receive_id: str) -> str:
        return msgcrypt.encrypt(self.key, receive_id, message.encode(), token_hex(8).encode())

    def _query(self, encrypted: str, now: datetime) -> dict[str, str]:
        time, nonce = str(int(now.timestamp())), token_hex(5)
        signature = msgcrypt.sign(self.token, time, nonce, encrypted)
        return {"msg_signature": signature, "timestamp": time, "nonce": nonce}

    async def _get_token(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        query = request.query_params
        if (query.get("corpid"), query.get("corpsecret")) != (self.corp_id, self.corp_secret):
            raise Wrong(40001, "invalid credential")
        return {"access_token": self.access_token, "expires_in": 7200}

    async def _send_as_app(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        if request.query_params.get("access_token") != self.access_token:
            raise Wrong(40014, "invalid access_token")
        if content["agentid"] != self.agent_id:
            raise Wrong(40056, "invalid agentid")
        self._note(PRIVATE + content["touser"], content, only_to=content["touser"])
        return {"msgid": token_hex(8)}

    async def _send_to_group(self, request: Request, content: dict[str, Any]) -> None:
        if request.query_params.get("key") != self.robot_key:
            raise Wrong(93000, "invalid webhook url")
        if content["msgtype"] != "markdown":
            raise Wrong(40008, "invalid message type")
        self._note(self.group, content)

    async def _send_answer(self, request: Request, content: dict[str, Any]) -> None:
        chat_id = self._answers.pop(request.query_params.get("response_code", ""), None)
        if chat_id is None:
            raise Wrong(40058, "invalid response_code")
        self._note(chat_id, content)

    def _note(self, chat_id: str, content: dict[str, Any], only_to: str | None = None) -> None:
        match content:
            case {"msgtype": "markdown", "markdown": {"content": text}}:
                if len(text.encode()) > MAX_MARKDOWN_BYTES:
                    raise Wrong(45002, "content size out of limit")
                self.note(chat_id, read_markdown(text), only_to=only_to)
            case {"msgtype": "template_card", "template_card": {"task_id": _, "button_list": buttons} as card}:
                if not 1 <= len(buttons) <= MAX_BUTTONS or not all(one.get("key") or one["url"] for one in buttons):
                    raise Wrong(40058, "invalid button_list")
                text = f"{card['main_title']['title']}\n{card['sub_title_text']}".strip()
                self.note(chat_id, text, tuple(one["text"] for one in buttons), only_to)
            case _:
                raise Wrong(40008, "invalid message type")
