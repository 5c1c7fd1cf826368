"""Paying with Stripe: a page, a webhook, a refund; and a bill on whose midnight two clocks do not agree."""

from collections.abc import AsyncIterator
from datetime import UTC, time, timedelta
from typing import Any

import httpx
import pytest

from tests.cashiers.bills import compare, turn_to
from tests.cashiers.stripe import Cashier
from tests.http.refusals import check_refusal, unchanged
from tests.service import FLASH, Member, Service

HOOK = "/hooks/payments/stripe"


@pytest.fixture
async def cashier(service: Service) -> AsyncIterator[Cashier]:
    """Stripe beside the sandbox."""
    cashier = Cashier(service.clock)
    name = cashier.join(service).name
    yield cashier
    del service.state.providers[name], service.state.billers[name]


async def tell(service: Service, notice: tuple[dict[str, str], bytes]) -> httpx.Response:
    headers, body = notice
    return await service.http.post(HOOK, content=body, headers=headers | {"content-type": "application/json"})


async def ordered(service: Service) -> tuple[Member, str]:
    """A member with an order in dollars, unpaid."""
    sale, member = await service.sale(**FLASH, currency="USD"), await service.member()
    claim = await member.buy(sale)
    assert claim.status_code == 201, claim.text
    return member, str(claim.json()["order"]["id"])


async def started(member: Member, order_id: str) -> dict[str, Any]:
    reply = await member.post(f"/v1/orders/{order_id}/payments", {"provider": "stripe"}, key="key")
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def test_from_the_page_to_the_refund(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment = await started(member, order_id)
    assert payment == await started(member, order_id)
    assert payment["pay_params"] is None
    assert payment["pay_url"].startswith("https://checkout.stripe.com/")
    assert len(payment["pay_url"]) > 900
    cashier.pay(payment["payment_id"])
    headers, body = cashier.paid_notice(payment["payment_id"])
    async with unchanged(service):
        check_refusal(await tell(service, (headers, body + b" ")), "signature_invalid")
        check_refusal(
            await tell(service, (cashier.signature(body, secret="whsec_other"), body)), "signature_invalid"
        )
        assert (await tell(service, cashier.notice("invoice.paid", {}))).json() == {"code": "SUCCESS"}
    for _ in range(2):
        assert (await tell(service, (headers, body))).json() == {"code": "SUCCESS"}
    assert (await member.order(order_id))["state"] == "confirmed"

    cashier.refund_status = "pending"
    reply = await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    assert reply.status_code == 200
    await service.work()
    (refund,) = cashier.refunds
    assert (await member.order(order_id))["state"] == "refunding"
    refund["status"] = "succeeded"
    assert (await tell(service, cashier.notice("refund.updated", refund))).status_code == 200
    await service.work()
    assert (await member.order(order_id))["state"] == "refunded"
    assert len(cashier.refunds) == 1
    assert await service.violations() == []


async def test_a_session_is_asked_about_and_closed_by_its_own_name(service: Service, cashier: Cashier) -> None:
    paid, over = await ordered(service), await ordered(service)
    first, second = await started(*paid), await started(*over)
    cashier.pay(first["payment_id"])
    await over[0].post(f"/v1/orders/{over[1]}/cancel")
    service.clock.advance(16)
    await service.work()
    assert (await paid[0].order(paid[1]))["state"] == "confirmed"
    assert cashier.session(second["payment_id"])["status"] == "expired"
    assert await service.violations() == []


async def test_nothing_is_invented_where_two_clocks_disagree_on_the_day(service: Service, cashier: Cashier) -> None:
    """Paid before midnight, as the list of charges says; the event that tells us is of the day after."""
    evening = turn_to(service, time(23, 59, 55), UTC)
    member, order_id = await ordered(service)
    payment_id = (await started(member, order_id))["payment_id"]
    real, paid_at = cashier.clock, evening + timedelta(seconds=2)
    cashier.clock = lambda: paid_at
    cashier.pay(payment_id)
    cashier.clock = real
    service.clock.advance(60)
    assert (await tell(service, cashier.paid_notice(payment_id))).status_code == 200
    reply = await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    assert reply.status_code == 200
    await service.work()
    service.clock.advance(2 * 86_400)
    for day, lines in ((evening, 1), (evening + timedelta(days=1), 1)):
        found = await compare(service, "stripe", day)
        assert (found["lines"], found["found"]) == (lines, 0), found
    # A charge that Stripe cannot say the moment of is a difference; a refund of another day is none.
    cashier.charges = []
    cashier.session(payment_id)["payment_intent"] = None
    cashier.refunds[0]["created"] += 86_400
    missing = await compare(service, "stripe", evening + timedelta(days=1))
    assert [(one["kind"], one["line"], one["subject"]) for one in missing["differences"]] == [
        ("missing_there", "charge", payment_id)
    ]
    assert await service.violations() == []
