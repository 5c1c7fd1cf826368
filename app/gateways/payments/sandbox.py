"""The sandbox provider as the service sees it: a cashier reached over HTTP, with signatures both ways."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

import httpx
from pydantic import BaseModel, Field, ValidationError, model_validator

from app.config import Settings
from app.domain.errors import ProviderUnavailable, SignatureInvalid
from app.domain.money import MAX_AMOUNT
from app.gateways.payments import signing
from app.gateways.payments.payer import PayoutAnswer, PayoutRequest
from app.gateways.payments.provider import (
    Charge,
    ChargeRequest,
    ChargeState,
    Notice,
    RefundAnswer,
    RefundRequest,
)

PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


class NoticeBody(BaseModel):
    """The JSON of a notification. One of captured money says how much."""

    id: str = Field(pattern=PRINTABLE, max_length=120)
    payment_id: str = Field(pattern=PRINTABLE, max_length=40)
    state: ChargeState
    amount: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    reference: str | None = Field(default=None, pattern=PRINTABLE, max_length=120)
    payer: str | None = Field(default=None, pattern=PRINTABLE, max_length=64)

    @model_validator(mode="after")
    def _captured_money_is_counted(self) -> Self:
        if self.state == ChargeState.CAPTURED and (self.amount is None or self.currency is None):
            raise ValueError("captured without amount or currency")
        return self


class SandboxProvider:
    """Implements `PaymentProvider` and `PayoutProvider` against the cashier of `app/routers/sandbox.py`."""

    name = "sandbox"
    payer_identity: str | None = None

    def __init__(self, settings: Settings, http: httpx.AsyncClient, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._key = signing.merchant_key(settings)
        self._cashier = signing.cashier_key(settings).public_key()

    def takes(self, _currency: str) -> bool:
        return True

    async def create(self, request: ChargeRequest) -> Charge:
        return _charge(
            await self._call(
                "charges",
                {
                    "id": request.payment_id,
                    "amount": request.amount,
                    "currency": request.currency,
                    "description": request.description,
                    "notify_url": f"{self._settings.cashier_url}/hooks/payments/sandbox",
                    "expires_at": request.expires_at.isoformat(),
                },
            )
        )

    async def query(self, payment_id: str, _handle: str | None = None) -> Charge:
        return _charge(await self._call("charges/query", {"id": payment_id}))

    async def close(self, payment_id: str, _handle: str | None = None) -> Charge:
        try:
            return _charge(await self._call("charges/close", {"id": payment_id}))
        except ProviderUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code == httpx.codes.NOT_FOUND:
                return Charge(payment_id, ChargeState.CLOSED)
            raise

    async def refund(self, request: RefundRequest) -> RefundAnswer:
        answer = await self._call(
            "refunds",
            {"id": request.refund_id, "charge_id": request.payment_id, "amount": request.amount},
        )
        return RefundAnswer(str(answer["reference"]), request.amount)

    async def query_refund(self, request: RefundRequest) -> RefundAnswer | None:
        reference = (await self._call("refunds/query", {"id": request.refund_id}))["reference"]
        return None if reference is None else RefundAnswer(str(reference), request.amount)

    async def pay_out(self, request: PayoutRequest) -> PayoutAnswer:
        answer = await self._call(
            "payouts",
            {
                "id": request.payout_id,
                "account": request.account,
                "amount": request.amount,
                "currency": request.currency,
            },
        )
        return PayoutAnswer(None if answer["reference"] is None else str(answer["reference"]))

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        signing.verify(self._cashier, headers, body, now)
        try:
            notice = NoticeBody.model_validate_json(body)
        except ValidationError as error:
            raise SignatureInvalid from error
        return Notice(
            notice_id=notice.id,
            charge=Charge(
                payment_id=notice.payment_id,
                state=notice.state,
                amount=notice.amount,
                currency=notice.currency,
                reference=notice.reference,
                payer=notice.payer,
            ),
        )

    async def _call(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(content).encode()
        headers = signing.sign(self._key, body, self._clock()) | {"content-type": "application/json"}
        try:
            reply = await self._http.post(
                f"{self._settings.cashier_url}/sandbox/{path}",
                content=body,
                headers=headers,
            )
            reply.raise_for_status()
            return dict(reply.json())
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnavailable from error


def _charge(answer: dict[str, Any]) -> Charge:
    return Charge(
        payment_id=answer["id"],
        state=ChargeState(answer["state"]),
        pay_url=answer["pay_url"],
        amount=answer["amount"],
        currency=answer["currency"],
        reference=answer["reference"],
        payer=answer.get("payer"),
    )
