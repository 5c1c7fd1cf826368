"""WeChat Pay, played: API v3 for JSAPI orders, refunds and bills, with keys of its own."""

import base64
import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.config import Settings
from app.gateways.payments.wechatpay import WechatPay
from tests.planted import plant
from tests.service import Service

APP, MERCHANT, API_KEY = "wx8888888888888888", "1900000109", "0123456789abcdefghijklmnopqrstuv"
SERIAL, KEY_ID = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", "PUB_KEY_ID_0119000001092026112600000001"
BEIJING = ZoneInfo("Asia/Shanghai")
NAMES = (  # noqa: SIM905 - as a bill has them
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
).split(",")
SUMS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
Row = dict[str, str]


@cache
def key(_name: str) -> rsa.RSAPrivateKey:
    """A key pair for each name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Problem(Exception):
    """What is answered with an error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class Order:
    body: dict[str, Any]
    prepay_id: str
    state: str = "NOTPAY"
    total: int = 0
    transaction_id: str | None = None
    paid_at: datetime | None = None


@dataclass
class Refund:
    body: dict[str, Any]
    refund_id: str
    accepted_at: datetime
    status: str


@dataclass
class Cashier:
    """Its books, and how it misbehaves."""

    clock: Callable[[], datetime]
    orders: dict[str, Order] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    refund_status: str = "SUCCESS"
    """What becomes of a refund at first."""
    troubles: list[Problem] = field(default_factory=list)
    """What the next calls are answered with instead."""
    lost: int = 0
    """So many answers get lost after the call was done."""
    unsigned: bool = False
    """Whether answers are vouched for by somebody else's key."""
    planted: Callable[[list[Row]], None] = lambda _: None
    """What is done to the rows of a bill before it is written."""
    broken_bill: bool = False
    """Whether a bill is not what its digest says."""
    torn: Callable[[bytes], bytes] = bytes
    """What arrives of a bill's file."""
    calls: list[str] = field(default_factory=list)
    _nonces: set[str] = field(default_factory=set)

    def settings(self, base: Settings, folder: Path) -> Settings:
        """The service's settings with a merchant of ours, whose keys lie in a folder."""
        private, public = folder / "apiclient_key.pem", folder / "pub_key.pem"
        pem = key("merchant").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        plant(API_KEY, *pem.decode().splitlines()[1:-2])
        private.write_bytes(pem)
        public.write_bytes(
            key("platform").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )
        return base.model_copy(
            update={
                "wechatpay_app_id": APP,
                "wechatpay_merchant_id": MERCHANT,
                "wechatpay_api_key": API_KEY,
                "wechatpay_private_key": str(private),
                "wechatpay_serial": SERIAL,
                "wechatpay_public_keys": f"{KEY_ID}={public}",
            }
        )

    def provider(self, base: Settings, folder: Path) -> WechatPay:
        """The service's side of it."""
        transport = httpx.ASGITransport(self.app())
        return WechatPay(self.settings(base, folder), httpx.AsyncClient(transport=transport), self.clock)

    def join(self, service: Service, folder: Path) -> WechatPay:
        """Be a provider of a running service."""
        provider = self.provider(service.state.settings, folder)
        service.state.providers[provider.name] = service.state.billers[provider.name] = provider
        return provider

    # What the payer, the bank and time do

    def pay(self, payment_id: str, total: int | None = None, at: datetime | None = None) -> None:
        """The member pays in the app."""
        order = self.orders[payment_id.removeprefix("pay_")]
        assert order.state == "NOTPAY"
        order.state, order.paid_at = "SUCCESS", at or self.clock()
        order.total = total or order.body["amount"]["total"]
        order.transaction_id = f"4200{len(self.orders):024}"

    def settle(self, refund_id: str, status: str = "SUCCESS") -> None:
        """The bank is done with a refund."""
        self.refunds[refund_id].status = status

    # What it tells us

    def paid_notice(self, payment_id: str, **changes: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of the news that an order was paid."""
        number = payment_id.removeprefix("pay_")
        return self.notice("TRANSACTION.SUCCESS", self._transaction(number) | changes)

    def refund_notice(self, refund_id: str, **changes: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of the news of a refund."""
        refund = self.refunds[refund_id]
        content = {
            "mchid": MERCHANT,
            "out_trade_no": refund.body["out_trade_no"],
            "out_refund_no": refund_id,
            "refund_id": refund.refund_id,
            "refund_status": refund.status,
            "amount": {"total": refund.body["amount"]["total"], "refund": refund.body["amount"]["refund"]},
        }
        return self.notice(f"REFUND.{refund.status}", content | changes)

    def notice(
        self,
        event_type: str,
        content: Any,
        /,
        *,
        notice_id: str | None = None,
        api_key: str = API_KEY,
        **changes: Any,
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of anything, encrypted and signed."""
        nonce, kind = secrets.token_hex(6), event_type.partition(".")[0].lower()
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        sealed = AESGCM(api_key.encode()).encrypt(nonce.encode(), text, kind.encode())
        body = {
            "id": notice_id or secrets.token_hex(16),
            "create_time": self.clock().astimezone(BEIJING).isoformat(timespec="seconds"),
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "支付成功",
            "resource": {
                "original_type": kind,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": base64.b64encode(sealed).decode(),
                "associated_data": kind,
                "nonce": nonce,
            },
        }
        told = json.dumps(body | changes, ensure_ascii=False).encode()
        return self.signature(told), told

    def signature(self, body: bytes, *, seconds: float = 0, name: str = "platform") -> dict[str, str]:
        """The headers that vouch for a body, made so many seconds from now."""
        time = str(int((self.clock() + timedelta(seconds=seconds)).timestamp()))
        nonce = secrets.token_hex(16)
        message = f"{time}\n{nonce}\n".encode() + body + b"\n"
        signature = key(name).sign(message, padding.PKCS1v15(), SHA256())
        return {
            "wechatpay-timestamp": time,
            "wechatpay-nonce": nonce,
            "wechatpay-signature": base64.b64encode(signature).decode(),
            "wechatpay-serial": KEY_ID,
            "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
        }

    # Its API

    def app(self) -> Starlette:
        """What answers at `api.mch.weixin.qq.com`."""
        by_number = "/v3/pay/transactions/out-trade-no/{number}"
        return Starlette(
            routes=[
                Route("/v3/pay/transactions/jsapi", self._answering(self._prepay), methods=["POST"]),
                Route(by_number, self._answering(self._query)),
                Route(f"{by_number}/close", self._answering(self._close), methods=["POST"]),
                Route("/v3/refund/domestic/refunds", self._answering(self._refund), methods=["POST"]),
                Route("/v3/refund/domestic/refunds/{number}", self._answering(self._query_refund)),
                Route("/v3/bill/tradebill", self._answering(self._tradebill)),
                Route("/v3/billdownload/file", self._answering(self._file)),
            ]
        )

    def _answering(self, act: Callable[[Request, dict[str, Any]], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            self.calls.append(f"{request.method} {request.url.path}")
            try:
                self._check(request, body)
                if self.troubles:
                    raise self.troubles.pop(0)
                told = act(request, json.loads(body) if body else {})
            except Problem as problem:
                content = json.dumps({"code": problem.code, "message": "错误"}).encode()
                return Response(content, problem.status, media_type="application/json")
            if self.lost:
                self.lost -= 1
                raise httpx.ReadTimeout("the answer got lost")
            if isinstance(told, bytes):
                return Response(told, media_type="application/x-gzip")
            content = b"" if told is None else json.dumps(told).encode()
            headers = self.signature(content, name="somebody" if self.unsigned else "platform")
            return Response(content, 204 if told is None else 200, headers, "application/json")

        return answer

    def _check(self, request: Request, body: bytes) -> None:
        """Whether the merchant signed this, just now and once."""
        scheme, _, rest = request.headers["authorization"].partition(" ")
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        lines = [request.method, target, said["timestamp"], said["nonce_str"], body.decode()]
        message = "".join(f"{line}\n" for line in lines).encode()
        try:
            key("merchant").public_key().verify(
                base64.b64decode(said["signature"]), message, padding.PKCS1v15(), SHA256()
            )
        except InvalidSignature:
            raise Problem(401, "SIGN_ERROR") from None
        is_late = abs(int(said["timestamp"]) - self.clock().timestamp()) > 300
        known = (scheme, said["mchid"], said["serial_no"]) == ("WECHATPAY2-SHA256-RSA2048", MERCHANT, SERIAL)
        if is_late or not known or said["nonce_str"] in self._nonces:
            raise Problem(401, "SIGN_ERROR")
        self._nonces.add(said["nonce_str"])
        if request.headers["wechatpay-serial"] != KEY_ID:
            raise Problem(400, "PARAM_ERROR")

    def _prepay(self, _: Request, body: dict[str, Any]) -> dict[str, str]:
        number, payer = body["out_trade_no"], body["payer"]["openid"]
        fits = re.fullmatch(r"[0-9a-zA-Z_|*-]{6,32}", number) and len(body["description"]) <= 127
        ours = (body["appid"], body["mchid"], body["amount"]["currency"]) == (APP, MERCHANT, "CNY")
        late = datetime.fromisoformat(body["time_expire"]) <= self.clock()
        if not fits or not ours or late or not payer.startswith("o"):
            raise Problem(400, "PARAM_ERROR")
        order = self.orders.setdefault(number, Order(body, f"wx{secrets.token_hex(17)}"))
        if order.state != "NOTPAY":
            raise Problem(400, {"SUCCESS": "ORDERPAID"}.get(order.state, "ORDER_CLOSED"))
        if order.body != body:
            raise Problem(400, "INVALID_REQUEST")
        return {"prepay_id": order.prepay_id}

    def _order(self, request: Request) -> Order:
        order = self.orders.get(request.path_params["number"])
        if order is None:
            raise Problem(404, "ORDER_NOT_EXIST")
        return order

    def _query(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        self._order(request)
        if request.query_params["mchid"] != MERCHANT:
            raise Problem(400, "MCH_NOT_EXISTS")
        return self._transaction(request.path_params["number"])

    def _transaction(self, number: str) -> dict[str, Any]:
        order = self.orders[number]
        told: dict[str, Any] = {
            "appid": APP,
            "mchid": MERCHANT,
            "out_trade_no": number,
            "trade_state": order.state,
            "trade_state_desc": "",
            "amount": {"total": order.body["amount"]["total"], "currency": "CNY"},
        }
        if order.paid_at is not None:
            told |= {
                "transaction_id": order.transaction_id,
                "trade_type": "JSAPI",
                "bank_type": "OTHERS",
                "success_time": order.paid_at.astimezone(BEIJING).isoformat(timespec="seconds"),
                "payer": order.body["payer"],
                "amount": {
                    "total": order.total,
                    "payer_total": order.total,
                    "currency": "CNY",
                    "payer_currency": "CNY",
                },
            }
        return told

    def _close(self, request: Request, body: dict[str, Any]) -> None:
        order = self._order(request)
        if body["mchid"] != MERCHANT:
            raise Problem(400, "MCH_NOT_EXISTS")
        if order.state != "NOTPAY":
            raise Problem(400, "ORDER_CLOSED" if order.state == "CLOSED" else "ORDERPAID")
        order.state = "CLOSED"

    def _refund(self, _: Request, body: dict[str, Any]) -> dict[str, Any]:
        order = self.orders.get(body["out_trade_no"])
        if order is None or order.paid_at is None:
            raise Problem(404, "RESOURCE_NOT_EXISTS")
        known = self.refunds.get(body["out_refund_no"])
        if known is not None and known.body != body:
            raise Problem(400, "INVALID_REQUEST")
        if known is None:
            others = [one for one in self.refunds.values() if one.body["out_trade_no"] == body["out_trade_no"]]
            given = sum(one.body["amount"]["refund"] for one in others) + body["amount"]["refund"]
            if body["amount"]["total"] != order.total or given > order.total:
                raise Problem(400, "PARAM_ERROR")
            number = f"5030{len(self.refunds):024}"
            known = Refund(body, number, self.clock(), self.refund_status)
            self.refunds[body["out_refund_no"]] = known
            order.state = "REFUND"
        return self._told(known)

    def _query_refund(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        refund = self.refunds.get(request.path_params["number"])
        if refund is None:
            raise Problem(404, "RESOURCE_NOT_EXISTS")
        return self._told(refund)

    def _told(self, refund: Refund) -> dict[str, Any]:
        return {
            "refund_id": refund.refund_id,
            "out_refund_no": refund.body["out_refund_no"],
            "out_trade_no": refund.body["out_trade_no"],
            "status": refund.status,
            "create_time": refund.accepted_at.astimezone(BEIJING).isoformat(timespec="seconds"),
            "amount": {"total": refund.body["amount"]["total"], "refund": refund.body["amount"]["refund"]},
        }

    # Its bills

    def _tradebill(self, request: Request, _: dict[str, Any]) -> dict[str, str]:
        query = request.query_params
        if (query["bill_type"], query["tar_type"]) != ("ALL", "GZIP"):
            raise Problem(400, "PARAM_ERROR")
        day = date.fromisoformat(query["bill_date"])
        if day >= self.clock().astimezone(BEIJING).date():
            raise Problem(400, "INVALID_REQUEST")
        if not self._rows(day):
            raise Problem(400, "NO_STATEMENT_EXIST")
        digest = hashlib.sha1(self.bill(day)).hexdigest()  # noqa: S324 - as they do
        if self.broken_bill:
            digest = "0" * 40
        url = f"https://api.mch.weixin.qq.com/v3/billdownload/file?token={day.isoformat()}&tartype=gzip"
        return {"hash_type": "SHA1", "hash_value": digest, "download_url": url}

    def _file(self, request: Request, _: dict[str, Any]) -> bytes:
        return self.torn(gzip.compress(self.bill(date.fromisoformat(request.query_params["token"]))))

    def bill(self, day: date) -> bytes:
        """The bill of a day, as its file has it."""
        rows = self._rows(day)
        self.planted(rows)
        lines = [",".join(NAMES), *(",".join(f"`{row[name]}" for name in NAMES) for row in rows)]
        return "\r\n".join(["\ufeff" + lines[0], *lines[1:], SUMS, f"`{len(rows)},`0.00", ""]).encode()

    def _rows(self, day: date) -> list[Row]:
        charges = [
            (order.paid_at, self.charge_row(number)) for number, order in self.orders.items() if order.paid_at
        ]
        refunds = [(refund.accepted_at, self._refund_row(number)) for number, refund in self.refunds.items()]
        return [row for at, row in (*charges, *refunds) if at and at.astimezone(BEIJING).date() == day]

    def charge_row(self, number: str) -> Row:
        """A charge as a row of a bill."""
        order = self.orders[number.removeprefix("pay_")]
        assert order.paid_at is not None
        return dict.fromkeys(NAMES, "0") | {
            "交易时间": f"{order.paid_at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}",
            "公众账号ID": APP,
            "商户号": MERCHANT,
            "微信订单号": order.transaction_id or "",
            "商户订单号": number.removeprefix("pay_"),
            "用户标识": order.body["payer"]["openid"],
            "交易状态": "SUCCESS",
            "货币种类": "CNY",
            "商品名称": order.body["description"],
            "订单金额": _yuan(order.total),
            "申请退款金额": "0.00",
            "退款状态": "",
        }

    def _refund_row(self, number: str) -> Row:
        refund = self.refunds[number]
        return self.charge_row(refund.body["out_trade_no"]) | {
            "交易时间": f"{refund.accepted_at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}",
            "交易状态": "REFUND",
            "微信退款单号": refund.refund_id,
            "商户退款单号": number,
            "退款状态": {"CLOSED": "FAIL", "ABNORMAL": "CHANGE"}.get(refund.status, refund.status),
            "订单金额": "0.00",
            "申请退款金额": _yuan(refund.body["amount"]["refund"]),
        }


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02}"
