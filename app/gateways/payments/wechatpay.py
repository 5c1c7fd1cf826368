"""WeChat Pay, API v3, for mini-programs and pages inside WeChat (JSAPI): orders, refunds, notices, bills.

https://pay.weixin.qq.com/docs/merchant/apis/jsapi-payment/direct-jsons/jsapi-prepay.html and the pages beside it.
What WeChat Pay says is believed when one of its keys vouches for it: answers of success, and notices. A payment is
known there by the 32 digits of its id, because numbers of orders may not be longer.
"""

import gzip
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import httpx
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from app.config import Settings
from app.domain.errors import ProviderRefused, ProviderUnavailable, SignatureInvalid
from app.domain.money import MAX_AMOUNT
from app.domain.reconciliations import Line
from app.gateways.payments import wechatpay_signing as signing
from app.gateways.payments.provider import (
    Charge,
    ChargeRequest,
    ChargeState,
    Notice,
    RefundAnswer,
    RefundNews,
    RefundRequest,
    Refused,
)
from app.gateways.payments.wechatpay_bill import read_lines

MAX_DESCRIPTION = 127
ID = re.compile("[0-9a-f]{32}")
PREFIX = "pay_"
FINAL = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
"""Statuses that will not change by asking again."""
PUBLIC_KEY = "PUB_KEY_ID_"
NO_BILL = "NO_STATEMENT_EXIST"
"""Nothing happened on that day."""
STATES = {
    "SUCCESS": ChargeState.CAPTURED,
    "REFUND": ChargeState.CAPTURED,
    "CLOSED": ChargeState.CLOSED,
    "REVOKED": ChargeState.CLOSED,
    "PAYERROR": ChargeState.FAILED,
}
"""All others are pending. `REFUND`: it was paid, and something of it went back."""
DONE, UNDER_WAY = "SUCCESS", "PROCESSING"
"""States of a refund. The others (`ABNORMAL`, `CLOSED`) are for a person."""
PRINTABLE = r"^[!-~]+$"


class Money(BaseModel):
    """What an order costs. `total` is before WeChat's own coupons."""

    total: int = Field(ge=1, le=MAX_AMOUNT)
    currency: str = Field(default="CNY", pattern="^[A-Z]{3}$")


class Payer(BaseModel):
    openid: str = Field(pattern=PRINTABLE, max_length=128)


class Transaction(BaseModel):
    """An order, as queries answer and notices say."""

    appid: str
    mchid: str
    out_trade_no: str = Field(pattern=PRINTABLE, max_length=32)
    trade_state: str
    transaction_id: str | None = Field(default=None, pattern=PRINTABLE, max_length=32)
    success_time: AwareDatetime | None = None
    payer: Payer | None = None
    amount: Money | None = None


class RefundMoney(BaseModel):
    refund: int = Field(ge=1, le=MAX_AMOUNT)


class Refund(BaseModel):
    """A refund, as WeChat Pay answers."""

    refund_id: str = Field(pattern=PRINTABLE, max_length=32)
    status: str
    create_time: AwareDatetime
    amount: RefundMoney


class RefundNotice(BaseModel):
    mchid: str
    out_refund_no: str = Field(pattern=PRINTABLE, max_length=64)
    refund_status: str


class Resource(BaseModel):
    algorithm: Literal["AEAD_AES_256_GCM"]
    ciphertext: str
    associated_data: str = ""
    nonce: str


class NoticeBody(BaseModel):
    """The JSON of a notification."""

    id: str = Field(pattern=PRINTABLE, max_length=64)
    event_type: str
    resource: Resource


class BillPlace(BaseModel):
    """Where a bill is, and its digest."""

    hash_type: Literal["SHA1"]
    hash_value: str
    download_url: str


class ProviderNotReady(Exception):
    """A payment provider's keys cannot be used; the message says which setting is wrong."""


class WechatPay:
    """Implements `PaymentProvider` and `Biller`."""

    name = "wechatpay"
    payer_identity: str | None = "wechat"
    zone = ZoneInfo("Asia/Shanghai")

    def __init__(self, settings: Settings, http: httpx.AsyncClient, clock: Callable[[], datetime]) -> None:
        """Raises `OSError`, `ValueError` for files that cannot be used."""
        self._app, self._merchant = settings.wechatpay_app_id, settings.wechatpay_merchant_id
        self._serial = settings.wechatpay_serial
        self._api_key = settings.wechatpay_api_key.encode()
        self._key = signing.load_private_key(Path(settings.wechatpay_private_key))
        self._keys = signing.load_public_keys(settings.wechatpay_public_keys)
        self._url = settings.wechatpay_url.rstrip("/")
        self._notify_url = f"{settings.public_url.rstrip('/')}/hooks/payments/{self.name}"
        self._http = http
        self._clock = clock

    def takes(self, currency: str) -> bool:
        return currency == "CNY"

    async def create(self, request: ChargeRequest) -> Charge:
        wanted = {
            "appid": self._app,
            "mchid": self._merchant,
            "description": _plain(request.description),
            "out_trade_no": _number(request.payment_id),
            "time_expire": request.expires_at.astimezone(self.zone).isoformat(timespec="seconds"),
            "notify_url": self._notify_url,
            "amount": {"total": request.amount, "currency": request.currency},
            "payer": {"openid": request.payer_account},
        }
        try:
            answer = await self._ask("POST", "/v3/pay/transactions/jsapi", wanted)
        except Refused as error:
            raise ProviderRefused(reason=error.code) from error
        try:
            prepaid = f"prepay_id={answer['prepay_id']}"
        except KeyError as error:
            raise ProviderUnavailable from error
        return Charge(request.payment_id, ChargeState.PENDING, pay_params=self._pay_params(prepaid))

    def _pay_params(self, package: str) -> dict[str, str]:
        """What `wx.requestPayment` and `WeixinJSBridge` are called with."""
        time, nonce = str(int(self._clock().timestamp())), token_hex(16)
        return {
            "appId": self._app,
            "timeStamp": time,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": signing.sign(self._key, self._app, time, nonce, package),
        }

    async def query(self, payment_id: str, handle: str | None = None) -> Charge:  # noqa: ARG002 - our id will do
        path = f"/v3/pay/transactions/out-trade-no/{_number(payment_id)}?mchid={self._merchant}"
        try:
            answer = await self._ask("GET", path)
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return Charge(payment_id, ChargeState.PENDING)
            raise ProviderUnavailable from error
        try:
            return self._charge(Transaction.model_validate(answer))
        except (ValidationError, SignatureInvalid) as error:
            raise ProviderUnavailable from error

    async def close(self, payment_id: str, handle: str | None = None) -> Charge:
        path = f"/v3/pay/transactions/out-trade-no/{_number(payment_id)}/close"
        try:
            await self._ask("POST", path, {"mchid": self._merchant})
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return Charge(payment_id, ChargeState.CLOSED)
            # Paid or closed before: only a query tells which.
            charge = await self.query(payment_id, handle)
            if charge.state in {ChargeState.CAPTURED, ChargeState.CLOSED}:
                return charge
            raise ProviderUnavailable from error
        return Charge(payment_id, ChargeState.CLOSED)

    async def refund(self, request: RefundRequest) -> RefundAnswer:
        wanted = {
            "out_trade_no": _number(request.payment_id),
            "out_refund_no": request.refund_id,
            "notify_url": self._notify_url,
            "amount": {"refund": request.amount, "total": request.total, "currency": request.currency},
        }
        try:
            answer = await self._ask("POST", "/v3/refund/domestic/refunds", wanted)
            accepted = _accepted(answer)
        except (Refused, ValidationError) as error:
            raise ProviderUnavailable from error
        if accepted is None:
            raise ProviderUnavailable from Refused(HTTPStatus.OK, str(answer.get("status")))
        return accepted

    async def query_refund(self, request: RefundRequest) -> RefundAnswer | None:
        try:
            return _accepted(await self._ask("GET", f"/v3/refund/domestic/refunds/{quote(request.refund_id)}"))
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise ProviderUnavailable from error
        except ValidationError as error:
            raise ProviderUnavailable from error

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | None:
        signing.verify(self._keys, headers, body, now)
        try:
            notice = NoticeBody.model_validate_json(body)
            sealed = notice.resource
            content = signing.decrypt(self._api_key, sealed.nonce, sealed.associated_data, sealed.ciphertext)
            if notice.event_type.startswith("TRANSACTION."):
                return Notice(notice.id, charge=self._charge(Transaction.model_validate_json(content)))
            if notice.event_type.startswith("REFUND."):
                return Notice(notice.id, refund=self._news(RefundNotice.model_validate_json(content)))
        except ValidationError as error:
            raise SignatureInvalid from error
        return None

    async def read_bill(self, day: date) -> Sequence[Line]:
        query = urlencode({"bill_date": day.isoformat(), "bill_type": "ALL", "tar_type": "GZIP"})
        try:
            place = BillPlace.model_validate(await self._ask("GET", f"/v3/bill/tradebill?{query}"))
            content = await self._download(place)
            return read_lines(content.decode("utf-8-sig"), self._app, self._merchant, _payment_id, self.zone)
        except Refused as error:
            if error.code == NO_BILL:
                return []
            raise ProviderUnavailable from error
        except (ValueError, httpx.InvalidURL, OSError, EOFError, zlib.error) as error:  # of pydantic, gzip, …
            raise ProviderUnavailable from error

    async def _download(self, place: BillPlace) -> bytes:
        """The bill itself. It is not signed: its digest was. Whatever host it names, we ask ours."""
        url = httpx.URL(place.download_url)
        reply = await self._send("GET", url.raw_path.decode())
        content = reply.content
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if not hmac.compare_digest(digest, place.hash_value.lower()):
            raise ProviderUnavailable
        return content

    def _charge(self, transaction: Transaction) -> Charge:
        """Raises `SignatureInvalid` for what is another merchant's, or lacks what it should say."""
        if (transaction.appid, transaction.mchid) != (self._app, self._merchant):
            raise SignatureInvalid
        payment_id = _payment_id(transaction.out_trade_no)
        state = STATES.get(transaction.trade_state, ChargeState.PENDING)
        if state != ChargeState.CAPTURED:
            return Charge(payment_id, state)
        if transaction.amount is None or transaction.transaction_id is None:
            raise SignatureInvalid
        return Charge(
            payment_id,
            state,
            amount=transaction.amount.total,
            currency=transaction.amount.currency,
            reference=transaction.transaction_id,
            payer=None if transaction.payer is None else transaction.payer.openid,
            paid_at=transaction.success_time,
        )

    def _news(self, notice: RefundNotice) -> RefundNews:
        if notice.mchid != self._merchant:
            raise SignatureInvalid
        return RefundNews(notice.out_refund_no, is_lost=notice.refund_status not in {DONE, UNDER_WAY})

    async def _ask(self, method: str, target: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the API. Raises `Refused`, `ProviderUnavailable`; also when nothing vouches for a success."""
        reply = await self._send(method, target, "" if content is None else json.dumps(content))
        try:
            signing.verify(self._keys, reply.headers, reply.content, self._clock())
            return dict(reply.json()) if reply.content else {}
        except (SignatureInvalid, ValueError, TypeError) as error:
            raise ProviderUnavailable from error

    async def _send(self, method: str, target: str, body: str = "") -> httpx.Response:
        headers = {
            "accept": "application/json",
            "content-type": "application/json",
            "authorization": signing.authorization(
                self._key, self._merchant, self._serial, method, target, body, self._clock()
            ),
        }
        if ours := next((serial for serial in self._keys if serial.startswith(PUBLIC_KEY)), None):
            headers["wechatpay-serial"] = ours  # the key that we want the answer signed with
        try:
            reply = await self._http.request(method, self._url + target, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise ProviderUnavailable from error
        if reply.is_success:
            return reply
        refused = Refused(reply.status_code, _code(reply))
        if reply.status_code in FINAL:
            raise refused
        raise ProviderUnavailable from refused


def open_wechatpay(settings: Settings, http: httpx.AsyncClient, clock: Callable[[], datetime]) -> WechatPay:
    """WeChat Pay with the keys in the files that the settings name. Raises `ProviderNotReady`."""
    try:
        return WechatPay(settings, http, clock)
    except (OSError, ValueError) as error:
        raise ProviderNotReady(f"WECHATPAY_PRIVATE_KEY, WECHATPAY_PUBLIC_KEYS: {error}") from error


def _code(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["code"])[:40]
    except (ValueError, KeyError, TypeError):
        return "no code"


def _accepted(answer: dict[str, Any]) -> RefundAnswer | None:
    """A refund that is done or on its way; None for one that was given up there."""
    refund = Refund.model_validate(answer)
    if refund.status not in {DONE, UNDER_WAY}:
        return None
    return RefundAnswer(refund.refund_id, refund.amount.refund, refund.status == DONE, refund.create_time)


def _number(payment_id: str) -> str:
    return payment_id.removeprefix(PREFIX)


def _payment_id(number: str) -> str:
    """Our id of an order's number; the number itself where it is none of ours."""
    return PREFIX + number if ID.fullmatch(number) else number


def _plain(text: str) -> str:
    """A title as a bill can hold it: one line, without the mark that begins a field there."""
    return " ".join(text.replace("`", "'").split())[:MAX_DESCRIPTION]
