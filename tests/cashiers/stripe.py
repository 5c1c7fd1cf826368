"""Stripe, played: Checkout sessions, refunds, lists page by page, idempotency keys and signed webhooks."""

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.config import Settings
from app.gateways.payments.stripe import Stripe
from tests.planted import plant
from tests.service import Service

KEY, SECRET = "sk_test_51Kaituan", "whsec_test_secret"
Fields = dict[str, Any]


class Problem(Exception):
    """What is answered with an error."""

    def __init__(self, status: int, code: str, kind: str = "invalid_request_error") -> None:
        super().__init__(code)
        self.status = status
        self.content = {"error": {"type": kind, "code": code, "message": "no"}}


@dataclass
class Cashier:
    """Its books, and how it misbehaves."""

    clock: Callable[[], datetime]
    sessions: dict[str, Fields] = field(default_factory=dict)
    charges: list[Fields] = field(default_factory=list)
    refunds: list[Fields] = field(default_factory=list)
    refund_status: str = "succeeded"
    troubles: list[Problem] = field(default_factory=list)
    lost: int = 0
    """So many answers get lost after the call was done."""
    keys: dict[str, tuple[Fields, Fields]] = field(default_factory=dict)
    """Idempotency keys, with what was asked and answered. They are forgotten after a day."""

    def settings(self, base: Settings) -> Settings:
        """The service's settings with an account of ours."""
        plant(KEY, SECRET)
        return base.model_copy(
            update={
                "stripe_secret_key": KEY,
                "stripe_webhook_secrets": f"whsec_old, {SECRET}",
                "stripe_return_url": "https://shop.example.com/paid/{payment_id}",
            }
        )

    def provider(self, base: Settings) -> Stripe:
        """The service's side of it."""
        return Stripe(self.settings(base), httpx.AsyncClient(transport=httpx.ASGITransport(self.app())))

    def join(self, service: Service) -> Stripe:
        """Be a provider of a running service."""
        provider = self.provider(service.state.settings)
        service.state.providers[provider.name] = service.state.billers[provider.name] = provider
        return provider

    def session(self, payment_id: str) -> Fields:
        """The session of a payment."""
        return next(one for one in self.sessions.values() if one["metadata"]["payment_id"] == payment_id)

    def pay(self, payment_id: str, amount: int | None = None) -> Fields:
        """The member pays on the page."""
        session, now = self.session(payment_id), int(self.clock().timestamp())
        assert session["status"] == "open"
        intent = f"pi_{secrets.token_hex(8)}"
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": intent}
        session["amount_total"] = amount or session["amount_total"]
        charge = {
            "id": f"ch_{secrets.token_hex(8)}",
            "payment_intent": intent,
            "amount": session["amount_total"],
            "currency": session["currency"],
            "paid": True,
            "created": now,
            "metadata": session["metadata"],
        }
        self.charges.insert(0, charge)
        return charge

    def paid_notice(self, payment_id: str, **changes: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of the news that a session was paid."""
        return self.notice("checkout.session.completed", self.session(payment_id) | changes)

    def notice(self, kind: str, subject: Any, /, **changes: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of an event."""
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "type": kind,
            "created": int(self.clock().timestamp()),
            "data": {"object": subject},
        }
        body = json.dumps(event | changes).encode()
        return self.signature(body), body

    def signature(self, body: bytes, *, seconds: float = 0, secret: str = SECRET) -> dict[str, str]:
        """The header that vouches for a body, made so many seconds from now."""
        time = int((self.clock() + timedelta(seconds=seconds)).timestamp())
        signed = hmac.new(secret.encode(), f"{time}.".encode() + body, "sha256").hexdigest()
        return {"stripe-signature": f"t={time},v1={signed},v0={'0' * 64}"}

    def app(self) -> Starlette:
        """What answers at `api.stripe.com`."""
        return Starlette(
            routes=[
                Route("/v1/checkout/sessions", self._answering(self._create), methods=["POST"]),
                Route("/v1/checkout/sessions/{id}", self._answering(self._get)),
                Route("/v1/checkout/sessions/{id}/expire", self._answering(self._expire), methods=["POST"]),
                Route("/v1/refunds", self._answering(self._refund), methods=["POST"]),
                Route("/v1/refunds", self._answering(lambda request, _: self._list(request, self.refunds))),
                Route("/v1/charges", self._answering(lambda request, _: self._list(request, self.charges))),
            ]
        )

    def _answering(self, act: Callable[[Request, Fields], Fields]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            form = dict(await request.form())
            assert request.headers["authorization"] == f"Bearer {KEY}"
            assert request.headers["stripe-version"]
            try:
                if self.troubles:
                    raise self.troubles.pop(0)
                told = self._once(request, form, act)
            except Problem as problem:
                return JSONResponse(problem.content, problem.status)
            if self.lost:
                self.lost -= 1
                raise httpx.ReadTimeout("the answer got lost")
            return JSONResponse(told)

        return answer

    def _once(self, request: Request, form: Fields, act: Callable[[Request, Fields], Fields]) -> Fields:
        key = request.headers.get("idempotency-key")
        if key is None:
            return act(request, form)
        asked, told = self.keys.get(key) or (form, act(request, form))
        if asked != form:
            raise Problem(400, "", "idempotency_error")
        self.keys[key] = asked, told
        return told

    def _create(self, _: Request, form: Fields) -> Fields:
        price = "line_items[0][price_data]"
        if int(form[f"{price}[unit_amount]"]) < 50 or form["mode"] != "payment":
            raise Problem(400, "amount_too_small")
        id_ = f"cs_test_{secrets.token_hex(16)}"
        self.sessions[id_] = {
            "id": id_,
            "status": "open",
            "payment_status": "unpaid",
            "payment_intent": None,
            "amount_total": int(form[f"{price}[unit_amount]"]),
            "currency": form[f"{price}[currency]"],
            "url": f"https://checkout.stripe.com/c/pay/{id_}#{'x' * 900}",
            "metadata": {"payment_id": form["metadata[payment_id]"]},
            "success_url": form["success_url"],
        }
        assert form["payment_intent_data[metadata][payment_id]"] == form["metadata[payment_id]"]
        return dict(self.sessions[id_])

    def _session(self, request: Request) -> Fields:
        session = self.sessions.get(request.path_params["id"])
        if session is None:
            raise Problem(404, "resource_missing")
        return session

    def _get(self, request: Request, _: Fields) -> Fields:
        session = dict(self._session(request))
        if session["payment_intent"] and request.query_params.get("expand[]") == "payment_intent.latest_charge":
            charge = next(one for one in self.charges if one["payment_intent"] == session["payment_intent"])
            session["payment_intent"] = {"id": session["payment_intent"], "latest_charge": charge}
        return session

    def _expire(self, request: Request, _: Fields) -> Fields:
        session = self._session(request)
        if session["status"] != "open":
            raise Problem(400, "")
        session["status"] = "expired"
        return session

    def _refund(self, _: Request, form: Fields) -> Fields:
        charge = next((one for one in self.charges if one["payment_intent"] == form["payment_intent"]), None)
        if charge is None:
            raise Problem(404, "resource_missing")
        given = [one["amount"] for one in self.refunds if one["payment_intent"] == form["payment_intent"]]
        if sum(given) + int(form["amount"]) > charge["amount"] * 2:  # so that a doubled refund would show
            raise Problem(400, "charge_already_refunded")
        refund = {
            "id": f"re_{secrets.token_hex(8)}",
            "payment_intent": form["payment_intent"],
            "amount": int(form["amount"]),
            "currency": charge["currency"],
            "status": self.refund_status,
            "created": int(self.clock().timestamp()),
            "metadata": {"refund_id": form["metadata[refund_id]"]},
        }
        self.refunds.insert(0, refund)
        return refund

    def _list(self, request: Request, rows: list[Fields]) -> Fields:
        query = request.query_params
        first, last = int(query.get("created[gte]", 0)), int(query.get("created[lt]", 2**33))
        wanted = [
            row
            for row in rows
            if first <= row["created"] < last
            and query.get("payment_intent", row["payment_intent"]) == row["payment_intent"]
        ]
        after = query.get("starting_after")
        start = 0 if after is None else [row["id"] for row in wanted].index(after) + 1
        page = wanted[start : start + int(query["limit"])]
        return {"object": "list", "data": page, "has_more": start + len(page) < len(wanted)}
