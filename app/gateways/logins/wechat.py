"""WeChat mini-programs: whose `wx.login` a code is from, and the phone number a member agreed to tell.

https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session.html
https://developers.weixin.qq.com/miniprogram/dev/server/API/user-info/phone-number/api_getphonenumber.html
https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-access-token/api_getstableaccesstoken.html
"""

import logging
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

from app.domain.errors import LoginRefused, LoginUnavailable
from app.domain.phones import normalise
from app.gateways.logins.provider import Confirmed

log = logging.getLogger(__name__)
HOST = "api.weixin.qq.com"
CODE_REFUSED = {40029, 40163, 40226, 41008}
"""Not WeChat's, used already, of a user it has blocked, missing."""
TOKEN_REFUSED = {40001, 40014, 42001}
"""Ours: not the newest one, none, too old."""
EARLY = timedelta(minutes=5)
"""So much before its end a token of ours is replaced."""
Answer = TypeVar("Answer", bound=BaseModel)
Subject = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,120}$")]


class Failure(BaseModel):
    """What every answer may be, with status 200."""

    errcode: int = 0


class SessionAnswer(BaseModel):
    """WeChat's session key is not read: we decrypt nothing with it."""

    openid: Subject
    unionid: Subject | None = None


class TokenAnswer(BaseModel):
    access_token: Annotated[str, Field(min_length=1, max_length=1000)]
    expires_in: int


class Watermark(BaseModel):
    appid: str


class PhoneInfo(BaseModel):
    pure_phone_number: Annotated[str, Field(alias="purePhoneNumber")]
    country_code: Annotated[str, Field(alias="countryCode", pattern="^[0-9]{1,4}$", coerce_numbers_to_str=True)]
    watermark: Watermark


class PhoneAnswer(BaseModel):
    phone_info: PhoneInfo


class _TokenRefused(Exception):
    """Our access token is not valid any more."""


class WeChatLogins:
    """Implements `LoginProvider` and `PhoneProvider` for one mini-program."""

    def __init__(self, app_id: str, secret: str, http: httpx.AsyncClient) -> None:
        self._app_id, self._secret, self._http = app_id, secret, http
        self._token: tuple[str, datetime] | None = None

    async def confirm(self, code: str, now: datetime) -> Confirmed:  # noqa: ARG002 - WeChat looks at its own clock
        params = {
            "appid": self._app_id,
            "secret": self._secret,
            "js_code": code,
            "grant_type": "authorization_code",
        }
        session = await self._ask(SessionAnswer, "GET", "/sns/jscode2session", params=params)
        return Confirmed(subject=session.openid, union=session.unionid)

    async def confirm_phone(self, code: str, now: datetime) -> str:
        try:
            return await self._phone(code, now)
        except _TokenRefused:
            self._token = None
        try:
            return await self._phone(code, now)
        except _TokenRefused:
            raise LoginUnavailable from None

    async def _phone(self, code: str, now: datetime) -> str:
        params, body = {"access_token": await self._access_token(now)}, {"code": code}
        answer = await self._ask(PhoneAnswer, "POST", "/wxa/business/getuserphonenumber", params=params, json=body)
        info = answer.phone_info
        if info.watermark.appid != self._app_id:
            raise LoginRefused
        number = normalise(f"+{info.country_code}{info.pure_phone_number}")
        if number is None:
            raise LoginRefused
        return number

    async def _access_token(self, now: datetime) -> str:
        """A token that is valid: of the kind that all processes get the same one of."""
        if self._token is not None and now < self._token[1]:
            return self._token[0]
        body = {"grant_type": "client_credential", "appid": self._app_id, "secret": self._secret}
        answer = await self._ask(TokenAnswer, "POST", "/cgi-bin/stable_token", json=body)
        self._token = answer.access_token, now + timedelta(seconds=answer.expires_in) - EARLY
        return answer.access_token

    async def _ask(self, kind: type[Answer], method: str, path: str, **content: Any) -> Answer:
        """WeChat's answer. Its addresses have our secrets in them: no exception that names one is kept."""
        try:
            reply = await self._http.request(method, f"https://{HOST}{path}", **content)
            reply.raise_for_status()
            failure = Failure.model_validate_json(reply.content)
        except (httpx.HTTPError, ValidationError) as error:
            log.warning("WeChat's %s: %s", path, type(error).__name__)
            raise LoginUnavailable from None
        if failure.errcode in CODE_REFUSED:
            raise LoginRefused
        if failure.errcode in TOKEN_REFUSED and "access_token" in content.get("params", {}):
            raise _TokenRefused
        if failure.errcode:
            log.warning("WeChat's %s: error %d", path, failure.errcode)
            raise LoginUnavailable
        try:
            return kind.model_validate_json(reply.content)
        except ValidationError:
            log.warning("WeChat's %s: an answer of another form", path)
            raise LoginUnavailable from None
