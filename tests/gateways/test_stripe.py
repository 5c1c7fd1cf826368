"""Stripe's side of a payment: a page to pay on, refunds that are made once, and webhooks that are believed."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.config import Settings
from app.domain.errors import ProviderRefused, ProviderUnavailable, SignatureInvalid
from app.domain.reconciliations import LineKind, LineState
from app.gateways.payments.provider import ChargeRequest, ChargeState, RefundRequest
from app.gateways.payments.stripe import SIGNATURE, Stripe
from tests.cashiers.stripe import Cashier, Problem
from tests.http.test_payment_hook import flipped

NOW = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)
PAYMENT, REFUND = f"pay_{'0' * 31}1", f"ref_{'0' * 31}2"
WISH = ChargeRequest(PAYMENT, 4900, "USD", "Tea for three", NOW + timedelta(minutes=10))


@pytest.fixture
def cashier() -> Cashier:
    return Cashier(lambda: NOW)


@pytest.fixture
def provider(cashier: Cashier) -> Stripe:
    return cashier.provider(Settings())


async def opened(cashier: Cashier, provider: Stripe) -> str:
    """A paid session; its handle."""
    charge = await provider.create(WISH)
    cashier.pay(PAYMENT)
    return charge.handle or ""


def back(charge: dict[str, Any]) -> RefundRequest:
    """All of a charge, to be given back."""
    return RefundRequest(REFUND, PAYMENT, 4900, "USD", total=4900, reference=charge["payment_intent"])


async def test_a_session_is_made_once(cashier: Cashier, provider: Stripe) -> None:
    cashier.lost = 1
    with pytest.raises(ProviderUnavailable):
        await provider.create(WISH)
    first, second = await provider.create(WISH), await provider.create(WISH)
    assert first == second
    assert first.handle in cashier.sessions
    assert len(cashier.sessions) == 1
    assert (first.state, first.pay_params) == (ChargeState.PENDING, None)
    assert (first.pay_url or "").startswith("https://checkout.stripe.com/")
    session = cashier.session(PAYMENT)
    assert session["success_url"] == f"https://shop.example.com/paid/{PAYMENT}"
    with pytest.raises(ProviderRefused) as refusal:
        await provider.create(ChargeRequest("pay_small", 1, "USD", "Tea", WISH.expires_at))
    assert refusal.value.reason == "amount_too_small"


def test_currencies_of_another_minor_unit_are_not_taken(provider: Stripe) -> None:
    assert all(map(provider.takes, ("USD", "EUR", "JPY", "CNY", "KWD")))
    assert not any(map(provider.takes, ("ISK", "UGX", "MGA")))


@pytest.mark.parametrize("status", [401, 409, 429, 500])
async def test_trouble_that_passes_is_no_refusal(cashier: Cashier, provider: Stripe, status: int) -> None:
    handle = await opened(cashier, provider)
    wanted = back(cashier.charges[0])
    calls: list[Any] = [
        lambda: provider.create(WISH),
        lambda: provider.query(PAYMENT, handle),
        lambda: provider.close(PAYMENT, handle),
        lambda: provider.refund(wanted),
        lambda: provider.query_refund(wanted),
        lambda: provider.read_bill(date(2026, 11, 25)),
    ]
    for call in calls:
        cashier.troubles.append(Problem(status, "lock_timeout"))
        with pytest.raises(ProviderUnavailable):
            await call()


async def test_what_became_of_a_session(cashier: Cashier, provider: Stripe) -> None:
    assert (await provider.query(PAYMENT)).state == ChargeState.PENDING
    assert (await provider.close(PAYMENT)).state == ChargeState.CLOSED
    handle = (await provider.create(WISH)).handle
    assert (await provider.query(PAYMENT, handle)).state == ChargeState.PENDING
    charge = cashier.pay(PAYMENT)
    paid = await provider.query(PAYMENT, handle)
    assert (paid.state, paid.amount, paid.currency) == (ChargeState.CAPTURED, 4900, "USD")
    assert (paid.reference, paid.paid_at) == (charge["payment_intent"], NOW)
    assert await provider.close(PAYMENT, handle) == paid
    other = ChargeRequest("pay_other", 100, "USD", "Tea", WISH.expires_at)
    handle = (await provider.create(other)).handle
    for _ in range(2):
        assert (await provider.close("pay_other", handle)).state == ChargeState.CLOSED
    cashier.session("pay_other")["status"] = "open"
    cashier.troubles.append(Problem(400, ""))
    with pytest.raises(ProviderUnavailable):
        await provider.close("pay_other", handle)
    cashier.session("pay_other").update(payment_status="paid", amount_total=None)
    with pytest.raises(ProviderUnavailable):
        await provider.query("pay_other", handle)


async def test_a_refund_is_made_once_also_days_later(cashier: Cashier, provider: Stripe) -> None:
    await opened(cashier, provider)
    wanted = back(cashier.charges[0])
    assert await provider.query_refund(wanted) is None
    cashier.refund_status = "pending"
    # The refund is made, the answer lost, and the key of idempotency forgotten.
    lost, cashier._once = cashier._once, losing(cashier)  # type: ignore[method-assign]
    with pytest.raises(ProviderUnavailable):
        await provider.refund(wanted)
    cashier._once = lost  # type: ignore[method-assign]
    cashier.keys.clear()
    under_way = await provider.refund(wanted)
    assert (under_way.is_done, under_way.amount, under_way.accepted_at) == (False, 4900, NOW)
    assert len(cashier.refunds) == 1
    cashier.refunds[0]["status"] = "succeeded"
    assert (await provider.refund(wanted)).is_done
    cashier.refunds[0]["status"] = "failed"
    assert await provider.query_refund(wanted) is None
    cashier.refund_status = "failed"
    with pytest.raises(ProviderUnavailable):
        await provider.refund(wanted)
    assert len(cashier.refunds) == 2, "one that failed is tried anew"


def losing(cashier: Cashier) -> Any:
    """Answer lists, and lose the answer to whatever has a key."""
    once = cashier._once

    def answer(request: Any, form: Any, act: Any) -> Any:
        told = once(request, form, act)
        cashier.lost = int("idempotency-key" in request.headers)
        return told

    return answer


async def test_an_event_of_a_session(cashier: Cashier, provider: Stripe) -> None:
    handle = await opened(cashier, provider)
    headers, body = cashier.paid_notice(PAYMENT)
    notice = provider.parse_notice(headers, body, NOW)
    assert notice is not None
    assert notice.charge == await provider.query(PAYMENT, handle)
    assert notice.notice_id == json.loads(body)["id"]
    for kind, changes, state in (
        ("checkout.session.completed", {"payment_status": "unpaid"}, "pending"),
        ("checkout.session.async_payment_succeeded", {}, "captured"),
        ("checkout.session.async_payment_failed", {"payment_status": "unpaid"}, "failed"),
        ("checkout.session.expired", {"payment_status": "unpaid", "status": "expired"}, "closed"),
    ):
        told = provider.parse_notice(*cashier.notice(kind, cashier.session(PAYMENT) | changes), NOW)
        assert told is not None
        assert told.charge is not None
        assert told.charge.state == state
    for subject in (
        cashier.session(PAYMENT) | {"metadata": {}},
        cashier.session(PAYMENT) | {"metadata": {"a": "b"}},
    ):
        assert provider.parse_notice(*cashier.notice("checkout.session.completed", subject), NOW) is None
    assert provider.parse_notice(*cashier.notice("charge.refunded", {"id": "ch_1"}), NOW) is None


async def test_an_event_of_a_refund(cashier: Cashier, provider: Stripe) -> None:
    await opened(cashier, provider)
    await provider.refund(back(cashier.charges[0]))
    refund = cashier.refunds[0]
    for kind, status, is_lost in (
        ("refund.updated", "succeeded", False),
        ("charge.refund.updated", "pending", False),
        ("refund.failed", "failed", True),
    ):
        told = provider.parse_notice(*cashier.notice(kind, refund | {"status": status}), NOW)
        assert told is not None
        assert told.refund is not None
        assert (told.refund.refund_id, told.refund.is_lost) == (REFUND, is_lost)
    assert provider.parse_notice(*cashier.notice("refund.updated", refund | {"metadata": {}}), NOW) is None


def refused(provider: Stripe, headers: dict[str, str], body: bytes, seconds: float = 0) -> None:
    with pytest.raises(SignatureInvalid):
        provider.parse_notice(headers, body, NOW + timedelta(seconds=seconds))


async def test_every_flipped_bit_of_an_event_is_noticed(cashier: Cashier, provider: Stripe) -> None:
    await opened(cashier, provider)
    headers, body = cashier.paid_notice(PAYMENT)
    for bit in range(len(body) * 8):
        refused(provider, headers, flipped(body, bit))
    time, v1, v0 = headers[SIGNATURE].split(",")
    for part in (time, v1):
        for place in range(2 if part is time else 3, len(part)):
            other = "1" if part[place] != "1" else "2"
            changed = f"{part[:place]}{other}{part[place + 1 :]}"
            refused(provider, {SIGNATURE: headers[SIGNATURE].replace(part, changed)}, body)
    for header in ("", time, v1, f"{time},{v0}", f"{time},v0={v1[3:]}", f"{time};{v1}", f"t=,{v1}", f"t=²,{v1}"):
        refused(provider, {SIGNATURE: header}, body)
    refused(provider, {}, body)
    refused(provider, {SIGNATURE: f"t={'9' * 400},{v1}"}, body)
    for seconds in (-302, 302, 86_400):
        refused(provider, headers, body, seconds)
    assert provider.parse_notice({SIGNATURE: f"{time},v1=bad,{v1}"}, body, NOW + timedelta(seconds=299))
    assert provider.parse_notice(cashier.signature(body, secret="whsec_old"), body, NOW)
    refused(provider, cashier.signature(body, secret="whsec_other"), body)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_total": None},
        {"amount_total": 0},
        {"amount_total": 10**30},
        {"currency": "dollars"},
        {"currency": None},
        {"id": None},
        {"metadata": {"payment_id": "a\0b"}},
        {"metadata": {"payment_id": "x" * 41}},
    ],
)
async def test_rightly_signed_nonsense(cashier: Cashier, provider: Stripe, changes: dict[str, Any]) -> None:
    await opened(cashier, provider)
    refused(provider, *cashier.paid_notice(PAYMENT, **changes))
    for wrong in ({"id": None}, {"type": None}, {"created": -1}, {"created": 10**30}, {"data": None}):
        refused(provider, *cashier.notice("checkout.session.completed", cashier.session(PAYMENT), **wrong))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), header=st.text(max_size=200) | st.text("tv01=,9", max_size=60))
def test_nothing_crashes_the_parser(cashier: Cashier, provider: Stripe, body: bytes, header: str) -> None:
    refused(provider, {SIGNATURE: header}, body)
    refused(provider, cashier.signature(body), body)


async def test_a_bill_has_what_is_ours_of_its_day(cashier: Cashier, provider: Stripe) -> None:
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    for number in range(250):
        cashier.clock = lambda number=number: midnight - timedelta(seconds=1 - number)  # type: ignore[misc]
        await provider.create(ChargeRequest(f"pay_{number}", 100, "USD", "Tea", WISH.expires_at))
        cashier.pay(f"pay_{number}")
    cashier.charges[5] = cashier.charges[5] | {"metadata": {}}
    cashier.charges[6] = cashier.charges[6] | {"paid": False}
    request = RefundRequest(REFUND, "pay_7", 40, "USD", total=100, reference=cashier.charges[7]["payment_intent"])
    for status in ("failed", "pending"):
        cashier.refund_status = status
        if status == "failed":
            with pytest.raises(ProviderUnavailable):
                await provider.refund(request)
        else:
            await provider.refund(request)
    lines = await provider.read_bill(date(2026, 11, 26))
    charges = [line for line in lines if line.kind == LineKind.CHARGE]
    assert len(charges) == 247
    assert {line.state for line in charges} == {LineState.DONE}
    assert min(line.at for line in charges) == midnight
    assert [(line.subject, line.amount, line.state) for line in lines if line.kind == LineKind.REFUND] == [
        (REFUND, 40, LineState.PENDING)
    ]
    cashier.troubles.append(Problem(400, "no"))
    with pytest.raises(ProviderUnavailable):
        await provider.read_bill(date(2026, 11, 26))
