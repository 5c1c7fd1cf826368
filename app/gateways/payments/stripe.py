"""Stripe Checkout: a page of Stripe's to pay on, refunds, webhooks, and the lists that make its bill.

https://docs.stripe.com/api/checkout/sessions, …/api/refunds, https://docs.stripe.com/webhooks/signature. What is
ours there carries our id in its metadata; the rest of the account is no business of ours.
"""

import hmac
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from pydantic import BaseModel, Field, ValidationError

from app.config import Settings
from app.domain.errors import ProviderRefused, ProviderUnavailable, SignatureInvalid
from app.domain.money import MAX_AMOUNT
from app.domain.reconciliations import Line, LineKind, LineState, bounds
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
from app.gateways.signatures import matches, signed_at

SIGNATURE = "stripe-signature"
API_VERSION = "2024-06-20"
OTHER_UNITS = {"ISK", "MGA", "UGX"}
"""Currencies whose minor unit is another one for Stripe than for ISO 4217: https://docs.stripe.com/currencies."""
SESSION, REFUND = "checkout.session.", ("refund.", "charge.refund.")
"""What the types of events begin with."""
FAILED_LATER = "checkout.session.async_payment_failed"
DONE, UNDER_WAY = "succeeded", {"pending", "requires_action"}
REFUND_STATES = {DONE: LineState.DONE, **dict.fromkeys(UNDER_WAY, LineState.PENDING)}
MAX_PAGES = 1000
FINAL = {HTTPStatus.BAD_REQUEST, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
"""Statuses that will not change by asking again."""
PRINTABLE = r"^[!-~]+$"
MOMENT = Field(ge=0, le=2**33)
"""Unix time, in seconds."""


class Ours(BaseModel):
    """Metadata. Both are missing on what is not ours."""

    payment_id: str | None = Field(default=None, pattern=PRINTABLE, max_length=40)
    refund_id: str | None = Field(default=None, pattern=PRINTABLE, max_length=40)


class Session(BaseModel):
    id: str = Field(pattern=PRINTABLE, max_length=120)
    status: str | None = None
    payment_status: str = "unpaid"
    payment_intent: str | None = Field(default=None, pattern=PRINTABLE, max_length=120)
    amount_total: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    currency: str | None = Field(default=None, pattern="^[a-z]{3}$")
    url: str | None = Field(default=None, max_length=2000)
    metadata: Ours = Ours()


class Refund(BaseModel):
    id: str = Field(pattern=PRINTABLE, max_length=120)
    amount: int = Field(ge=1, le=MAX_AMOUNT)
    currency: str
    status: str | None = None
    created: int = MOMENT
    metadata: Ours = Ours()


class Payment(BaseModel):
    """A charge, as the list of a day has it."""

    id: str
    amount: int
    currency: str
    paid: bool
    created: int = MOMENT
    metadata: Ours = Ours()


class EventData(BaseModel):
    object: dict[str, Any]


class Event(BaseModel):
    """The JSON of a webhook."""

    id: str = Field(pattern=PRINTABLE, max_length=120)
    type: str
    created: int = MOMENT
    data: EventData


class Stripe:
    """Implements `PaymentProvider` and `Biller`."""

    name = "stripe"
    payer_identity: str | None = None
    zone = ZoneInfo("UTC")

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._key = settings.stripe_secret_key
        self._secrets = [secret.strip().encode() for secret in settings.stripe_webhook_secrets.split(",")]
        self._url = settings.stripe_url.rstrip("/")
        self._return_url = settings.stripe_return_url
        self._http = http

    def takes(self, currency: str) -> bool:
        return currency not in OTHER_UNITS

    async def create(self, request: ChargeRequest) -> Charge:
        back = self._return_url.replace("{payment_id}", request.payment_id)
        # Without `expires_at`: it would have to be half an hour ahead or more. We close it when the order is over.
        wanted: dict[str, str | int] = {
            "mode": "payment",
            "line_items[0][quantity]": 1,
            "line_items[0][price_data][currency]": request.currency.lower(),
            "line_items[0][price_data][unit_amount]": request.amount,
            "line_items[0][price_data][product_data][name]": request.description,
            "client_reference_id": request.payment_id,
            "metadata[payment_id]": request.payment_id,
            "payment_intent_data[metadata][payment_id]": request.payment_id,
            "success_url": back,
            "cancel_url": back,
        }
        try:
            session = Session.model_validate(
                await self._ask("POST", "/v1/checkout/sessions", wanted, key=request.payment_id)
            )
        except Refused as error:
            raise ProviderRefused(reason=error.code) from error
        except ValidationError as error:
            raise ProviderUnavailable from error
        return Charge(request.payment_id, ChargeState.PENDING, pay_url=session.url, handle=session.id)

    async def query(self, payment_id: str, handle: str | None = None) -> Charge:
        if handle is None:
            return Charge(payment_id, ChargeState.PENDING)
        path = f"/v1/checkout/sessions/{handle}"
        try:
            answer = await self._ask("GET", path, {"expand[]": "payment_intent.latest_charge"})
            intent = answer.get("payment_intent")
            paid = intent.get("latest_charge") if isinstance(intent, dict) else None
            flat = answer | {"payment_intent": intent.get("id") if isinstance(intent, dict) else intent}
            paid_at = _moment(paid["created"]) if isinstance(paid, dict) else None
            return _charge(payment_id, Session.model_validate(flat), paid_at)
        except (Refused, ValueError, KeyError) as error:
            raise ProviderUnavailable from error

    async def close(self, payment_id: str, handle: str | None = None) -> Charge:
        if handle is None:  # nobody has seen the address of its page
            return Charge(payment_id, ChargeState.CLOSED)
        try:
            await self._ask("POST", f"/v1/checkout/sessions/{handle}/expire")
        except Refused as error:
            # Paid or expired before: only a query tells which.
            charge = await self.query(payment_id, handle)
            if charge.state in {ChargeState.CAPTURED, ChargeState.CLOSED}:
                return charge
            raise ProviderUnavailable from error
        return Charge(payment_id, ChargeState.CLOSED)

    async def refund(self, request: RefundRequest) -> RefundAnswer:
        """An idempotency key is forgotten after a day, and a refund may be tried for longer: we look first. One
        that failed is made anew.
        """
        refunds = await self._refunds(request)
        running = [refund for refund in refunds if refund.status in REFUND_STATES]
        if running:
            return _accepted(running[0])
        wanted: dict[str, str | int] = {
            "payment_intent": request.reference or "",
            "amount": request.amount,
            "metadata[refund_id]": request.refund_id,
        }
        try:
            key = f"{request.refund_id}-{len(refunds)}"
            refund = Refund.model_validate(await self._ask("POST", "/v1/refunds", wanted, key=key))
        except (Refused, ValidationError) as error:
            raise ProviderUnavailable from error
        if refund.status not in REFUND_STATES:
            raise ProviderUnavailable from Refused(HTTPStatus.OK, str(refund.status))
        return _accepted(refund)

    async def query_refund(self, request: RefundRequest) -> RefundAnswer | None:
        running = [refund for refund in await self._refunds(request) if refund.status in REFUND_STATES]
        return _accepted(running[0]) if running else None

    async def _refunds(self, request: RefundRequest) -> list[Refund]:
        """Every try of this refund."""
        found = self._list("/v1/refunds", Refund, {"payment_intent": request.reference or ""})
        return [refund async for refund in found if refund.metadata.refund_id == request.refund_id]

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | None:
        self._verify(headers.get(SIGNATURE, ""), body, now)
        try:
            event = Event.model_validate_json(body)
            if event.type.startswith(SESSION):
                session = Session.model_validate(event.data.object)
                payment_id = session.metadata.payment_id
                if payment_id is None:
                    return None
                if event.type == FAILED_LATER:
                    return Notice(event.id, charge=Charge(payment_id, ChargeState.FAILED))
                return Notice(event.id, charge=_charge(payment_id, session, _moment(event.created)))
            if event.type.startswith(REFUND):
                refund = Refund.model_validate(event.data.object)
                refund_id = refund.metadata.refund_id
                if refund_id is None:
                    return None
                is_lost = refund.status not in REFUND_STATES
                return Notice(event.id, refund=RefundNews(refund_id, is_lost=is_lost))
        except ValueError as error:
            raise SignatureInvalid from error
        return None

    def _verify(self, signature: str, body: bytes, now: datetime) -> None:
        """Raise `SignatureInvalid` unless one of our secrets vouches for the body, within five minutes."""
        parts = [part.partition("=") for part in signature.split(",")]
        time = next((value for name, _, value in parts if name == "t"), "")
        signed_at(time, now)
        message = time.encode() + b"." + body
        own = [hmac.new(secret, message, "sha256").hexdigest() for secret in self._secrets]
        if not any([matches(value, own) for name, _, value in parts if name == "v1"]):  # noqa: C419 - all, always
            raise SignatureInvalid

    async def read_bill(self, day: date) -> Sequence[Line]:
        start, end = bounds(day, self.zone)
        within = {"created[gte]": int(start.timestamp()), "created[lt]": int(end.timestamp())}
        charges = [line async for one in self._list("/v1/charges", Payment, within) for line in _charge_lines(one)]
        refunds = [line async for one in self._list("/v1/refunds", Refund, within) for line in _refund_lines(one)]
        return charges + refunds

    async def _list(self, path: str, model: type[Any], query: Mapping[str, str | int]) -> AsyncIterator[Any]:
        """Everything that a list has, page after page. Raises `ProviderUnavailable`."""
        after: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            try:
                answer = await self._ask("GET", path, {**query, "limit": 100, **after})
                rows = [model.model_validate(row) for row in answer["data"]]
                has_more = bool(answer["has_more"])
            except (Refused, ValidationError, KeyError, TypeError) as error:
                raise ProviderUnavailable from error
            for row in rows:
                yield row
            if not (has_more and rows):
                return
            after = {"starting_after": rows[-1].id}
        raise ProviderUnavailable

    async def _ask(
        self, method: str, path: str, content: Mapping[str, str | int] | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Call the API. Raises `Refused`, `ProviderUnavailable`."""
        headers = {"authorization": f"Bearer {self._key}", "stripe-version": API_VERSION}
        if key is not None:
            headers["idempotency-key"] = key
        sent: dict[str, Any] = {"params" if method == "GET" else "data": dict(content or {})}
        try:
            reply = await self._http.request(method, self._url + path, headers=headers, **sent)
            answer = dict(reply.json())
        except (httpx.HTTPError, ValueError, TypeError) as error:
            raise ProviderUnavailable from error
        if reply.is_success:
            return answer
        problem = answer.get("error")
        told = problem if isinstance(problem, dict) else {}
        refused = Refused(reply.status_code, str(told.get("code") or told.get("type"))[:60])
        if reply.status_code in FINAL:
            raise refused
        raise ProviderUnavailable from refused


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _charge(payment_id: str, session: Session, paid_at: datetime | None) -> Charge:
    """Raises `ValueError` for a paid session that does not say how much."""
    if session.payment_status == "paid":
        if session.amount_total is None or session.currency is None:
            raise ValueError("paid, and no amount")
        return Charge(
            payment_id,
            ChargeState.CAPTURED,
            amount=session.amount_total,
            currency=session.currency.upper(),
            reference=session.payment_intent,
            paid_at=paid_at,
        )
    return Charge(payment_id, ChargeState.CLOSED if session.status == "expired" else ChargeState.PENDING)


def _accepted(refund: Refund) -> RefundAnswer:
    return RefundAnswer(refund.id, refund.amount, refund.status == DONE, _moment(refund.created))


def _charge_lines(payment: Payment) -> Iterator[Line]:
    """A charge as a line of the bill; a try that failed took no money and is none."""
    payment_id = payment.metadata.payment_id
    if payment_id is not None and payment.paid:
        at, currency = _moment(payment.created), payment.currency.upper()
        yield Line(LineKind.CHARGE, payment_id, payment.amount, currency, LineState.DONE, at)


def _refund_lines(refund: Refund) -> Iterator[Line]:
    """A refund as a line of the bill; a try that failed gave nothing back and is none."""
    refund_id = refund.metadata.refund_id
    if refund_id is not None and refund.status in REFUND_STATES:
        at, currency = _moment(refund.created), refund.currency.upper()
        yield Line(LineKind.REFUND, refund_id, refund.amount, currency, REFUND_STATES[refund.status or ""], at)
