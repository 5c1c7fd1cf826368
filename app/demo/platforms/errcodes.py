"""What the stand-ins of WeCom, WeChat and DingTalk have in common: keys, XML, answers with an `errcode`."""

import re
import string
from collections.abc import Awaitable, Callable, Mapping
from json import JSONDecodeError
from secrets import choice
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.demo.platforms.stand_in import Busy, Said

ALPHABET = string.ascii_letters + string.digits
Answer = Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any] | None]]


class Wrong(Exception):
    """A call that the platform refuses: its code, and its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def make_key() -> str:
    """An EncodingAESKey."""
    return "".join(choice(ALPHABET) for _ in range(43))


def make_xml(fields: Mapping[str, str | int]) -> str:
    """A message in XML, as Tencent writes it."""
    return f"<xml>{''.join(f'<{name}>{_xml(value)}</{name}>' for name, value in fields.items())}</xml>"


def read_markdown(text: str) -> str:
    """Markdown as it is read: without marks and empty lines."""
    return re.sub(r"\*\*|^#+ |`|\n(?=\n)", "", text, flags=re.MULTILINE)


def answer(stand_in: "Errcodes", busy_code: int, endpoint: Answer) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers with an `errcode`, whatever happens, and HTTP 200."""

    async def respond(request: Request) -> Response:
        try:
            stand_in.check_busy(busy_code)
            content = await request.json() if request.method == "POST" else {}
            stand_in.requests.append(content)
            more = await endpoint(request, content) or {}
        except Wrong as wrong:
            return JSONResponse({"errcode": wrong.code, "errmsg": str(wrong)})
        except (JSONDecodeError, KeyError, TypeError):
            return JSONResponse({"errcode": 47001, "errmsg": "data format error"})
        return JSONResponse({"errcode": 0, "errmsg": "ok"} | more)

    return respond


class Errcodes(Busy):
    """What every one of the three keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[dict[str, Any]] = []
        """The bodies of all calls, as they came."""

    def check_busy(self, code: int) -> None:
        """Refuse one call less."""
        if self.is_busy():
            raise Wrong(code, "api freq out of limit")

    def note(self, chat_id: str, text: str, buttons: tuple[str, ...] = (), only_to: str | None = None) -> None:
        """Remember what is said."""
        number = str(len(self.transcript) + 1)
        self.transcript.append(Said(chat_id, text, number, buttons, only_to=only_to))


def _xml(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"
