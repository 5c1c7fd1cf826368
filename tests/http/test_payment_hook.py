"""The hook that payment providers call: only what the cashier itself signed a moment ago is believed, once."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.gateways.payments import signing
from app.main import create_app
from tests.http.refusals import check_refusal, unchanged
from tests.http.routes import ROUTES
from tests.service import Member, Service

HOOK = "/hooks/payments/sandbox"
ROUTE = next(route for route in ROUTES if route.name == "receive_notice")
Headers = dict[str, str | bytes]


@dataclass(slots=True)
class Payment:
    """A payment that was started and of which the cashier has a notice to send."""

    service: Service
    member: Member
    order_id: str
    id: str

    def notice(self, **changes: Any) -> bytes:
        """What the cashier says when it was paid, with changes."""
        return json.dumps(
            {
                "id": f"ntf_{uuid4().hex}",
                "payment_id": self.id,
                "state": "captured",
                "amount": 4900,
                "currency": "CNY",
                "reference": f"sandbox-{self.id}",
            }
            | changes
        ).encode()

    def signature(self, body: bytes, *, key: Ed25519PrivateKey | None = None, seconds: float = 0) -> Headers:
        """The headers of a notice signed so many seconds from now; with the cashier's key unless told otherwise."""
        now = self.service.clock() + timedelta(seconds=seconds)
        return {**signing.sign(key or signing.cashier_key(self.service.state.settings), body, now)}

    async def send(self, body: bytes, headers: Headers) -> httpx.Response:
        """Call the hook."""
        raw = [(name, value if isinstance(value, bytes) else value.encode()) for name, value in headers.items()]
        return await self.service.http.post(
            HOOK, content=body, headers=[(b"content-type", b"application/json"), *((n.encode(), v) for n, v in raw)]
        )

    async def refused(self, body: bytes, headers: Headers, code: str = "signature_invalid") -> None:
        """Assert that the hook refuses this and that nothing changed, also not for the order."""
        async with unchanged(self.service):
            check_refusal(await self.send(body, headers), code, route=ROUTE)
        assert (await self.member.order(self.order_id))["state"] == "held"

    async def states(self) -> tuple[str, list[tuple[str, str | None, int | None]]]:
        """The order's state, and each payment's state, outcome and captured amount."""
        order = await self.member.order(self.order_id)
        return order["state"], [
            (payment["state"], payment["outcome"], payment["captured_amount"]) for payment in order["payments"]
        ]


async def start(service: Service) -> Payment:
    """A new order of a new member, with a payment waiting."""
    sale = await service.sale()
    member = await service.member()
    order_id = (await member.open(sale)).json()["order"]["id"]
    await member.start_payment(order_id)
    payment = (await member.order(order_id))["payments"][0]
    return Payment(service, member, order_id, payment["id"])


@pytest.fixture(scope="module")
async def waiting_payment(shared_service: Service) -> Payment:
    """A payment that no test of this module pays."""
    shared_service.clock.offset_seconds = 0
    return await start(shared_service)


@pytest.fixture
def waiting(service: Service, waiting_payment: Payment) -> Payment:
    """The same, with a clock that is right."""
    assert waiting_payment.service is service
    return waiting_payment


def flipped(value: bytes, bit: int) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


async def test_every_flipped_bit_of_the_body_is_noticed(waiting: Payment) -> None:
    body = waiting.notice()
    headers = waiting.signature(body)
    async with unchanged(waiting.service):
        for bit in range(0, len(body) * 8, 7):
            check_refusal(await waiting.send(flipped(body, bit), headers), "signature_invalid", route=ROUTE)
        for other in (body[:-1], body + b" ", b" " + body, body[1:], b"", body * 2, body.replace(b"4900", b"4901")):
            check_refusal(await waiting.send(other, headers), "signature_invalid", route=ROUTE)


@pytest.mark.parametrize("name", [signing.TIME, signing.NONCE])
async def test_every_changed_letter_of_time_and_nonce_is_noticed(waiting: Payment, name: str) -> None:
    body = waiting.notice()
    headers = waiting.signature(body)
    own = str(headers[name])
    async with unchanged(waiting.service):
        for place, letter in enumerate(own):
            other = "1" if letter != "1" else "2"
            changed = headers | {name: f"{own[:place]}{other}{own[place + 1 :]}"}
            check_refusal(await waiting.send(body, changed), "signature_invalid", route=ROUTE)


async def test_every_flipped_bit_of_the_signature_is_noticed(waiting: Payment) -> None:
    body = waiting.notice()
    headers = waiting.signature(body)
    own = base64.b64decode(headers[signing.SIGNATURE])
    async with unchanged(waiting.service):
        for bit in range(0, len(own) * 8, 3):
            changed = headers | {signing.SIGNATURE: base64.b64encode(flipped(own, bit))}
            check_refusal(await waiting.send(body, changed), "signature_invalid", route=ROUTE)
        for other in (own[:-1], own + b"\x00", own * 2, bytes(64), b"\xff" * 64, b""):
            changed = headers | {signing.SIGNATURE: base64.b64encode(other)}
            check_refusal(await waiting.send(body, changed), "signature_invalid", route=ROUTE)


GARBAGE: list[bytes] = [
    *(b"0", b"-1", b"1e9", b"1.5", b"0x10", b"nan", b"inf", b"now", b"9" * 19, b"9" * 200, b"9" * 201, b"1" * 5000),
    *(b"==", b"%%%", b"a", b"AA==", b"A" * 10_000, b"\xff\xfe", "１２３".encode(), "²".encode(), b"a,b", b"null"),
]


@pytest.mark.parametrize("name", [signing.TIME, signing.NONCE, signing.SIGNATURE])
async def test_header_that_is_garbage_or_missing(waiting: Payment, name: str) -> None:
    body = waiting.notice()
    headers = waiting.signature(body)
    await waiting.refused(body, {other: value for other, value in headers.items() if other != name})
    async with unchanged(waiting.service):
        for value in GARBAGE:
            check_refusal(await waiting.send(body, headers | {name: value}), "signature_invalid", route=ROUTE)


async def test_no_headers_at_all(waiting: Payment) -> None:
    await waiting.refused(waiting.notice(), {})
    await waiting.refused(b"", {})
    await waiting.refused(b"{", {})


@pytest.mark.parametrize("seconds", [-86_400, -302, 302, 86_400])
async def test_signature_of_another_time(waiting: Payment, seconds: int) -> None:
    body = waiting.notice()
    await waiting.refused(body, waiting.signature(body, seconds=seconds))


async def test_notice_kept_back_too_long(service: Service) -> None:
    payment = await start(service)
    body = payment.notice()
    headers = payment.signature(body)
    service.clock.advance(302)
    await payment.refused(body, headers)


@pytest.mark.parametrize("seconds", [-295, 295])
async def test_signature_within_five_minutes(service: Service, seconds: int) -> None:
    payment = await start(service)
    body = payment.notice()
    assert (await payment.send(body, payment.signature(body, seconds=seconds))).status_code == 200
    assert await payment.states() == ("paid", [("captured", "kept", 4900)])


async def test_signature_with_another_key(waiting: Payment) -> None:
    body = waiting.notice()
    for key in (signing.merchant_key(waiting.service.state.settings), Ed25519PrivateKey.generate()):
        await waiting.refused(body, waiting.signature(body, key=key))


async def test_signature_of_another_notice(waiting: Payment) -> None:
    await waiting.refused(waiting.notice(), waiting.signature(waiting.notice()))


BROKEN: dict[str, Callable[[Payment], bytes]] = {
    "nothing": lambda _: b"",
    "no JSON": lambda _: b"{",
    "invalid UTF-8": lambda _: b'{"id": "\xff"}',
    "a list": lambda payment: b"[" + payment.notice() + b"]",
    "deep": lambda _: b"[" * 60_000,
    "no id": lambda payment: payment.notice(id=None),
    "NUL in the id": lambda payment: payment.notice(id="a\0b"),
    "captured nothing": lambda payment: payment.notice(amount=None),
    "captured in no currency": lambda payment: payment.notice(currency=None),
    "empty id": lambda payment: payment.notice(id=""),
    "long id": lambda payment: payment.notice(id="n" * 121),
    "no payment": lambda payment: payment.notice(payment_id=None),
    "payment of a wrong type": lambda payment: payment.notice(payment_id=[]),
    "unknown state": lambda payment: payment.notice(state="paid"),
    "no amount of money": lambda payment: payment.notice(amount="much"),
    "nothing paid": lambda payment: payment.notice(amount=0),
    "negative": lambda payment: payment.notice(amount=-4900),
    "huge": lambda payment: payment.notice(amount=10**30),
    "not a number": lambda payment: payment.notice(amount=float("nan")),
    "no currency": lambda payment: payment.notice(currency="yuan"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_rightly_signed_nonsense(waiting: Payment, broken: Callable[[Payment], bytes]) -> None:
    body = broken(waiting)
    await waiting.refused(body, waiting.signature(body))


@pytest.mark.parametrize("payment_id", ["pay_" + "0" * 32, "x", "' OR 1=1 --", "😀"])
async def test_rightly_signed_notice_of_an_unknown_payment(waiting: Payment, payment_id: str) -> None:
    body = waiting.notice(payment_id=payment_id)
    await waiting.refused(body, waiting.signature(body), "payment_not_found")


@pytest.mark.parametrize("provider", ["dev", "sandbo", "_"])
async def test_another_provider(waiting: Payment, provider: str) -> None:
    body = waiting.notice()
    headers = {name: str(value) for name, value in waiting.signature(body).items()}
    async with unchanged(waiting.service):
        reply = await waiting.service.http.post(f"/hooks/payments/{provider}", content=body, headers=headers)
        check_refusal(reply, "provider_not_found", route=ROUTE)


async def test_refused_notices_do_not_stand_in_the_way_of_the_true_one(service: Service) -> None:
    payment = await start(service)
    body = payment.notice()
    headers = payment.signature(body)
    await payment.refused(body + b" ", headers)
    await payment.refused(body, payment.signature(body, key=Ed25519PrivateKey.generate()))
    assert (await payment.send(body, headers)).json() == {"code": "SUCCESS"}
    assert await payment.states() == ("paid", [("captured", "kept", 4900)])
    assert await service.violations() == []


async def test_replay_acts_once(service: Service) -> None:
    payment = await start(service)
    body = payment.notice()
    headers = payment.signature(body)
    assert (await payment.send(body, headers)).status_code == 200
    async with unchanged(service):
        for again in (headers, payment.signature(body), payment.signature(body, seconds=200)):
            assert (await payment.send(body, again)).status_code == 200
    assert await payment.states() == ("paid", [("captured", "kept", 4900)])
    assert await service.violations() == []


async def test_same_news_in_many_messages_at_once_acts_once(service: Service) -> None:
    payment = await start(service)
    bodies = [payment.notice() for _ in range(5)] + [payment.notice(id="ntf_same") for _ in range(5)]
    replies = await asyncio.gather(*(payment.send(body, payment.signature(body)) for body in bodies))
    assert [reply.status_code for reply in replies] == [200] * 10
    assert await payment.states() == ("paid", [("captured", "kept", 4900)])
    assert (await payment.member.order(payment.order_id))["refunds"] == []
    assert await service.violations() == []


async def test_failure_told_after_the_success_changes_nothing(service: Service) -> None:
    payment = await start(service)
    for state in ("captured", "failed", "closed", "pending"):
        body = payment.notice(state=state, **({} if state == "captured" else {"amount": None, "currency": None}))
        assert (await payment.send(body, payment.signature(body))).status_code == 200
    assert await payment.states() == ("paid", [("captured", "kept", 4900)])


@pytest.mark.parametrize("changes", [{"amount": 4899}, {"amount": 4901}, {"currency": "USD"}])
async def test_money_of_another_amount_goes_back(service: Service, changes: dict[str, Any]) -> None:
    payment = await start(service)
    body = payment.notice(**changes)
    assert (await payment.send(body, payment.signature(body))).status_code == 200
    amount = changes.get("amount", 4900)
    assert await payment.states() == ("held", [("captured", "refunded", amount)])
    refunds = (await payment.member.order(payment.order_id))["refunds"]
    assert [(refund["amount"], refund["reason"]) for refund in refunds] == [(amount, "wrong_amount")]
    assert await service.violations() == []


@pytest.mark.parametrize("path", ["charges", "charges/query", "charges/close", "refunds", "refunds/query"])
async def test_cashier_believes_the_merchant_alone(waiting: Payment, path: str) -> None:
    body = json.dumps({"id": waiting.id}).encode()
    key = signing.merchant_key(waiting.service.state.settings)
    good = waiting.signature(body, key=key)
    wrong: list[tuple[bytes, Headers]] = [
        (body, {}),
        (body, waiting.signature(body)),
        (body, waiting.signature(body, key=key, seconds=-302)),
        (body + b" ", good),
        (b"{", waiting.signature(b"{", key=key)),
        (b'{"id": "A"}', waiting.signature(b'{"id": "A"}', key=key)),
    ]
    async with unchanged(waiting.service):
        for content, headers in wrong:
            reply = await waiting.service.http.post(
                f"/sandbox/{path}", content=content, headers={name: str(value) for name, value in headers.items()}
            )
            check_refusal(reply, "signature_invalid")


@pytest.mark.parametrize("address", [HOOK, "/hooks/chat/telegram/bnd_0"])
async def test_who_hangs_up_is_no_fault_of_ours(service: Service, address: str) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": address, "query_string": b"", "headers": []}
    scope["state"] = {"kaituan": service.state}
    await create_app(service.state.settings, service.state)(scope, receive, send)
    assert sent[0]["status"] == 400
