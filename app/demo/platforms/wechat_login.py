"""A stand-in for what WeChat answers to a mini-program's server: who logs in, and their phone number."""

from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HOST = "api.weixin.qq.com"


@dataclass(slots=True)
class WeChatLoginStandIn:
    """A mini-program of which every user exists. Codes are good once, as WeChat's are."""

    app_id: str = field(default_factory=lambda: f"wx{token_hex(8)}")
    app_secret: str = field(default_factory=lambda: token_hex(16))
    fails: list[int] = field(default_factory=list)
    """What is answered next instead: `errcode`s, 0 for none; or HTTP statuses from 500 on below 600."""
    calls: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    session_key: str = field(default_factory=lambda: token_hex(16))
    _codes: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _tokens: list[str] = field(default_factory=list)

    def log_in(self, openid: str, unionid: str | None = None) -> str:
        """What `wx.login` gives this user's client."""
        answer = {"openid": openid, "session_key": self.session_key}
        return self._new_code(answer if unionid is None else answer | {"unionid": unionid})

    def tell_phone(self, number: str, country: str = "86", app_id: str | None = None) -> str:
        """What `getPhoneNumber` gives the client of a user who agrees."""
        full = number if country == "86" else f"+{country}{number}"
        mark = {"timestamp": 1_800_000_000, "appid": app_id or self.app_id}
        info = {"phoneNumber": full, "purePhoneNumber": number, "countryCode": country, "watermark": mark}
        return self._new_code({"phone_info": info})

    def end_tokens(self) -> None:
        """Believe no access token that was given until now."""
        self._tokens.append(token_hex(32))

    def app(self) -> Starlette:
        """Paths begin with the host."""
        return Starlette(
            routes=[
                Route(f"/{HOST}/sns/jscode2session", self._code_to_session, methods=["GET"]),
                Route(f"/{HOST}/cgi-bin/stable_token", self._give_token, methods=["POST"]),
                Route(f"/{HOST}/wxa/business/getuserphonenumber", self._give_phone, methods=["POST"]),
            ]
        )

    def _new_code(self, answer: dict[str, Any]) -> str:
        code = token_hex(16)
        self._codes[code] = answer
        return code

    async def _code_to_session(self, request: Request) -> Response:
        query = request.query_params
        if (failure := self._failure(request)) is not None:
            return failure
        if query.get("appid") != self.app_id:
            return _wrong(40013, "invalid appid")
        if query.get("secret") != self.app_secret:
            return _wrong(40125, "invalid appsecret")
        return self._use(query.get("js_code", ""), "openid")

    async def _give_token(self, request: Request) -> Response:
        """The same to everybody, until it ends: a stable one."""
        content = await request.json()
        if (failure := self._failure(request)) is not None:
            return failure
        if (content.get("appid"), content.get("secret")) != (self.app_id, self.app_secret):
            return _wrong(40001, "invalid credential")
        if not self._tokens:
            self.end_tokens()
        return JSONResponse({"access_token": self._tokens[-1], "expires_in": 7200})

    async def _give_phone(self, request: Request) -> Response:
        content = await request.json()
        if (failure := self._failure(request)) is not None:
            return failure
        if request.query_params.get("access_token") not in self._tokens[-1:]:
            return _wrong(40001, "invalid credential, access_token is invalid or not latest")
        return self._use(content.get("code", ""), "phone_info")

    def _failure(self, request: Request) -> Response | None:
        self.calls.append(request.url.path.removeprefix(f"/{HOST}"))
        if not self.fails:
            return None
        code = self.fails.pop(0)
        if not code:
            return None
        return Response("upstream", code) if code in range(500, 600) else _wrong(code, "as told")

    def _use(self, code: str, kind: str) -> Response:
        if code not in self._codes:
            return _wrong(40029, "invalid code")
        answer = self._codes[code]
        if answer is None:
            return _wrong(40163, "code been used")
        if kind not in answer:
            return _wrong(40029, "invalid code")
        self._codes[code] = None
        return JSONResponse(answer)


def _wrong(code: int, message: str) -> Response:
    return JSONResponse({"errcode": code, "errmsg": f"{message} rid: {token_hex(4)}"})
