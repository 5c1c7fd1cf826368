"""Paying with WeChat Pay, from the order to the bill: late, twice, forged, in another amount, and given back."""

from collections.abc import AsyncIterator
from datetime import time, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlmodel import col, select

from app.domain.refunds import ATTENTION_ATTEMPTS, OVERDUE_ATTEMPTS
from app.models import Event, Identity
from app.services.transactions import transaction
from app.workers import refunds
from tests.cashiers.bills import compare, turn_to
from tests.cashiers.wechatpay import BEIJING, Cashier, Problem
from tests.http.refusals import check_refusal, unchanged
from tests.service import FLASH, Member, Sale, Service

HOOK = "/hooks/payments/wechatpay"


@pytest.fixture
async def cashier(service: Service, tmp_path: Path) -> AsyncIterator[Cashier]:
    """WeChat Pay beside the sandbox."""
    cashier = Cashier(service.clock)
    name = cashier.join(service, tmp_path).name
    yield cashier
    del service.state.providers[name], service.state.billers[name]


async def payer(service: Service) -> Member:
    """A member whom WeChat knows."""
    member = await service.member()
    async with transaction(service.state, service.clock()) as work:
        subject = f"o{uuid4().hex[:27]}"
        work.session.add(
            Identity(provider="wechat", subject=subject, member_id=member.id, created_at=work.now),
        )
    return member


async def ordered(service: Service, **terms: Any) -> tuple[Member, str]:
    """A member with an order of a flash sale, unpaid."""
    sale = await service.sale(**FLASH, **terms)
    member = await payer(service)
    return member, await order(member, sale)


async def order(member: Member, sale: Sale) -> str:
    claim = await member.buy(sale)
    assert claim.status_code == 201, claim.text
    return str(claim.json()["order"]["id"])


async def start(member: Member, order_id: str, key: str | None = None) -> httpx.Response:
    return await member.post(f"/v1/orders/{order_id}/payments", {"provider": "wechatpay"}, key=key)


async def started(member: Member, order_id: str) -> str:
    """A payment that waits for the member to confirm it in WeChat."""
    reply = await start(member, order_id)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["payment_id"])


async def tell(service: Service, notice: tuple[dict[str, str], bytes]) -> httpx.Response:
    headers, body = notice
    return await service.http.post(HOOK, content=body, headers=headers | {"content-type": "application/json"})


async def paid(service: Service, cashier: Cashier, member: Member, order_id: str) -> str:
    """A payment that was made and told of."""
    payment_id = await started(member, order_id)
    cashier.pay(payment_id)
    assert (await tell(service, cashier.paid_notice(payment_id))).json() == {"code": "SUCCESS"}
    return payment_id


async def refund(service: Service, order_id: str) -> str:
    """Have an order refunded; the id of the refund, which nobody has asked for yet."""
    reply = await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["refunds"][0]["id"])


async def refund_states(member: Member, order_id: str) -> list[tuple[str, str]]:
    return [(one["state"], one["reason"]) for one in (await member.order(order_id))["refunds"]]


async def told(service: Service, kind: str) -> list[Event]:
    """Events of a type, in their order."""
    async with service.state.database.snapshot() as session:
        return list((await session.exec(select(Event).where(Event.type == kind).order_by(col(Event.id)))).all())


async def test_the_front_end_gets_what_it_calls_wechat_with(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    first, again = await start(member, order_id, "key"), await start(member, order_id, "key")
    assert first.status_code == 201
    assert first.json() == again.json()
    assert cashier.calls == ["POST /v3/pay/transactions/jsapi"]
    body = first.json()
    assert (body["pay_url"], body["amount"], body["currency"]) == (None, 4900, "CNY")
    assert set(body["pay_params"]) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}


async def test_who_is_not_known_to_wechat_is_told_so(service: Service, cashier: Cashier) -> None:
    sale, stranger = await service.sale(**FLASH), await service.member()
    order_id = await order(stranger, sale)
    async with unchanged(service):
        reply = await start(stranger, order_id)
        check_refusal(reply, "payer_unknown")
        assert reply.json()["identity"] == "wechat"
    assert cashier.calls == []


async def test_money_of_another_currency_is_not_taken(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service, currency="USD")
    async with unchanged(service):
        check_refusal(await start(member, order_id), "currency_not_taken")
    assert cashier.calls == []


async def test_a_payment_that_wechat_refuses(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    cashier.troubles += [Problem(400, "PARAM_ERROR"), Problem(500, "SYSTEM_ERROR")]
    reply = await start(member, order_id, "key")
    check_refusal(reply, "provider_refused")
    assert reply.json()["reason"] == "PARAM_ERROR"
    unavailable = await start(member, order_id, "key")
    assert (unavailable.status_code, unavailable.json()["code"]) == (503, "provider_unavailable")
    assert (await start(member, order_id, "key")).status_code == 201


async def test_a_notice_pays_the_order_once(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    cashier.pay(payment_id)
    notice = cashier.paid_notice(payment_id)
    assert (await tell(service, notice)).status_code == 200
    assert (await member.order(order_id))["state"] == "confirmed"
    async with unchanged(service):
        assert (await tell(service, notice)).status_code == 200
    # The same news under another number: it acts no second time either.
    assert (await tell(service, cashier.paid_notice(payment_id))).status_code == 200
    assert len(await told(service, "payment.captured")) == 1
    assert await service.violations() == []


async def test_a_forged_notice_changes_nothing(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    cashier.pay(payment_id)
    headers, body = cashier.paid_notice(payment_id)
    service.clock.advance(-400)
    early = cashier.paid_notice(payment_id)
    service.clock.advance(400)
    forged = [
        (headers, body.replace(b"TRANSACTION", b"TRANSACTI0N")),
        (cashier.signature(body, name="somebody"), body),
        ({**headers, "wechatpay-serial": "PUB_KEY_ID_0"}, body),
        ({}, body),
        early,
        cashier.paid_notice(payment_id, mchid="1900000110"),
        cashier.paid_notice(payment_id, appid="wx0"),
    ]
    async with unchanged(service):
        for notice in forged:
            check_refusal(await tell(service, notice), "signature_invalid")
        check_refusal(await tell(service, cashier.paid_notice(payment_id, out_trade_no="1")), "payment_not_found")
    assert (await member.order(order_id))["state"] == "held"
    assert (await tell(service, (headers, body))).status_code == 200
    assert (await member.order(order_id))["state"] == "confirmed"


async def test_money_of_another_amount_goes_back(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    cashier.pay(payment_id, total=4899)
    assert (await tell(service, cashier.paid_notice(payment_id))).status_code == 200
    await service.work()
    assert (await member.order(order_id))["state"] == "held"
    assert await refund_states(member, order_id) == [("succeeded", "wrong_amount")]
    (given,) = cashier.refunds.values()
    assert given.body["amount"] == {"refund": 4899, "total": 4899, "currency": "CNY"}
    assert await service.violations() == []


async def test_money_that_comes_too_late_goes_back(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    cashier.pay(payment_id)
    service.clock.advance(601)
    notice = cashier.paid_notice(payment_id)
    cashier.troubles += [Problem(500, "SYSTEM_ERROR")] * 2  # nor can the worker that ends the order hear of it
    await service.work()
    assert (await member.order(order_id))["state"] == "expired"
    assert (await tell(service, notice)).status_code == 200
    await service.work()
    assert await refund_states(member, order_id) == [("succeeded", "late")]
    assert await service.violations() == []


async def test_a_notice_that_is_lost_is_asked_for(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    cashier.pay(payment_id)
    service.clock.advance(16)
    await service.work()
    assert (await member.order(order_id))["state"] == "confirmed"
    assert (await tell(service, cashier.paid_notice(payment_id))).status_code == 200
    assert len(await told(service, "payment.captured")) == 1


async def test_what_is_over_is_closed_there(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    await member.post(f"/v1/orders/{order_id}/cancel")
    service.clock.advance(16)
    await service.work()
    assert cashier.orders[payment_id.removeprefix("pay_")].state == "CLOSED"
    assert [one["state"] for one in (await member.order(order_id))["payments"]] == ["closed"]


async def test_a_refund_is_done_when_wechat_says_so(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    await paid(service, cashier, member, order_id)
    cashier.refund_status = "PROCESSING"
    refund_id = await refund(service, order_id)
    await service.work()
    assert await refund_states(member, order_id) == [("submitted", "operator")]
    async with unchanged(service):
        headers, body = cashier.refund_notice(refund_id)
        check_refusal(await tell(service, (headers, body + b" ")), "signature_invalid")
        unknown = cashier.refund_notice(refund_id, out_refund_no="ref_0")
        check_refusal(await tell(service, unknown), "payment_not_found")
    cashier.settle(refund_id)
    await service.work()
    assert await refund_states(member, order_id) == [("submitted", "operator")], "it is not asked all the time"
    notice = cashier.refund_notice(refund_id)
    assert (await tell(service, notice)).json() == {"code": "SUCCESS"}
    await service.work()
    assert (await member.order(order_id))["state"] == "refunded"
    assert await refund_states(member, order_id) == [("succeeded", "operator")]
    async with unchanged(service):
        assert (await tell(service, notice)).status_code == 200
    assert len(await told(service, "refund.succeeded")) == 1
    assert len(cashier.refunds) == 1
    assert await service.violations() == []


async def test_a_refund_of_which_nothing_is_heard_is_asked_about(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    await paid(service, cashier, member, order_id)
    cashier.refund_status = "PROCESSING"
    refund_id = await refund(service, order_id)
    await service.work()
    cashier.settle(refund_id)
    service.clock.advance(3)
    await service.work()
    assert await refund_states(member, order_id) == [("succeeded", "operator")]


async def test_a_refund_that_cannot_arrive_is_for_a_person(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    await paid(service, cashier, member, order_id)
    cashier.refund_status = "ABNORMAL"
    refund_id = await refund(service, order_id)
    for _ in range(ATTENTION_ATTEMPTS):
        await service.work()
        service.clock.advance(3600)
    assert await refund_states(member, order_id) == [("failed", "operator")]
    assert [event.subject for event in await told(service, "refund.needs_attention")] == [refund_id]
    cashier.settle(refund_id)  # a person has mended it in the merchant's console
    await service.work()
    assert await refund_states(member, order_id) == [("succeeded", "operator")]
    cashier.settle(refund_id, "ABNORMAL")
    assert (await tell(service, cashier.refund_notice(refund_id))).status_code == 200
    assert len(await told(service, "refund.needs_attention")) == 2, "it had arrived, and came back"


async def test_a_refund_that_is_on_its_way_for_a_week_is_for_a_person(service: Service, cashier: Cashier) -> None:
    member, order_id = await ordered(service)
    await paid(service, cashier, member, order_id)
    cashier.refund_status = "PROCESSING"
    refund_id = await refund(service, order_id)
    for attempt in range(OVERDUE_ATTEMPTS + 2):
        assert len(await told(service, "refund.needs_attention")) == (attempt >= OVERDUE_ATTEMPTS)
        assert await refunds.run_once(service.state, service.clock()) == 1
        service.clock.advance(3600)
    assert [event.subject for event in await told(service, "refund.needs_attention")] == [refund_id]


async def test_a_refund_that_was_on_its_way_and_fails_late_is_for_a_person(
    service: Service, cashier: Cashier
) -> None:
    member, order_id = await ordered(service)
    await paid(service, cashier, member, order_id)
    cashier.refund_status = "PROCESSING"
    refund_id = await refund(service, order_id)
    for _ in range(ATTENTION_ATTEMPTS + 2):
        await service.work()
        service.clock.advance(3600)
    assert await told(service, "refund.needs_attention") == []
    cashier.settle(refund_id, "ABNORMAL")
    for _ in range(3):
        await service.work()
        service.clock.advance(3600)
    assert await refund_states(member, order_id) == [("failed", "operator")]
    assert [event.subject for event in await told(service, "refund.needs_attention")] == [refund_id]


async def test_from_the_order_to_the_bill(service: Service, cashier: Cashier) -> None:
    """Around midnight: what is paid before and heard of after, refunds under way, and three differences that were
    planted; all of them are found, and nothing else.
    """
    evening = turn_to(service, time(23, 30), BEIJING)
    sale = await service.sale(**FLASH | {"hold_ttl_seconds": 3600})
    members = [await payer(service) for _ in range(7)]
    orders = [await order(member, sale) for member in members]
    buyers = list(zip(members, orders, strict=True))

    # Paid and told; two of them are refunded, of which one is slow.
    payments = [await paid(service, cashier, *buyer) for buyer in buyers[:5]]
    refunds = [await refund(service, orders[0])]
    await service.work()
    cashier.refund_status = "PROCESSING"
    refunds.append(await refund(service, orders[1]))
    await service.work()
    # Paid before midnight by their clock; we hear of it after it.
    late = await started(*buyers[5])
    cashier.pay(late, at=evening.replace(hour=23, minute=59, second=59))
    service.clock.advance(31 * 60)
    await paid(service, cashier, *buyers[6])
    assert (await tell(service, cashier.paid_notice(late))).status_code == 200
    cashier.settle(refunds[1])
    assert (await tell(service, cashier.refund_notice(refunds[1]))).status_code == 200
    await service.work()

    reply = await service.ops(
        "POST", "reconciliations", {"provider": "wechatpay", "day": evening.date().isoformat()}
    )
    check_refusal(reply, "bill_not_ready")
    service.clock.advance(10 * 3600)
    await service.work()
    listed = (await service.ops("GET", "reconciliations?provider=wechatpay")).json()["items"]
    assert {one["state"] for one in listed} == {"done"}
    (own,) = [one for one in listed if one["day"] == evening.date().isoformat()]
    assert (own["lines"], own["found"]) == (8, 0), "five, one late, two refunds, and no difference"

    unknown = cashier.charge_row(payments[2]) | {"商户订单号": "f" * 32}

    def plant(rows: list[dict[str, str]]) -> None:
        if not any(row["商户订单号"] == payments[3].removeprefix("pay_") for row in rows):
            return
        rows.append(unknown)  # missing here
        rows[:] = [row for row in rows if row["商户订单号"] != payments[3].removeprefix("pay_")]  # missing there
        changed = next(row for row in rows if row["商户退款单号"] == refunds[0])
        changed["申请退款金额"] = "48.99"  # another amount

    cashier.planted = plant
    found = await compare(service, "wechatpay", evening)
    assert (found["lines"], found["found"]) == (8, 3)
    assert sorted((one["kind"], one["line"], one["subject"]) for one in found["differences"]) == [
        ("amount", "refund", refunds[0]),
        ("missing_here", "charge", f"pay_{'f' * 32}"),
        ("missing_there", "charge", payments[3]),
    ]
    amount = next(one for one in found["differences"] if one["kind"] == "amount")
    assert (amount["amount_here"], amount["amount_there"], amount["state_here"]) == (4900, 4899, "done")
    assert [event.data["found"] for event in await told(service, "reconciliation.done")][-1] == 3
    cashier.planted = lambda _: None
    assert (await compare(service, "wechatpay", evening))["found"] == 0, "comparing again replaces what was found"

    service.clock.advance(86_400)
    next_day = await compare(service, "wechatpay", evening + timedelta(days=1))
    assert (next_day["lines"], next_day["found"]) == (1, 0), "what was paid after midnight"
    assert await service.violations() == []


async def test_money_that_nobody_told_us_of_is_found_on_the_bill(service: Service, cashier: Cashier) -> None:
    """The order was over, closing it there failed as it seemed, and it was paid after all."""
    turn_to(service, time(12), BEIJING)
    noon = service.clock().astimezone(BEIJING)
    member, order_id = await ordered(service)
    payment_id = await started(member, order_id)
    await member.post(f"/v1/orders/{order_id}/cancel")
    service.clock.advance(16)
    await service.work()
    order_there = cashier.orders[payment_id.removeprefix("pay_")]
    assert order_there.state == "CLOSED"
    order_there.state = "NOTPAY"
    cashier.pay(payment_id, at=noon)
    service.clock.advance(86_400)
    found = await compare(service, "wechatpay", noon)
    assert [(one["kind"], one["subject"], one["state_here"]) for one in found["differences"]] == [
        ("state", payment_id, "pending")
    ]
    await service.work()
    given = [(event.data["payment_id"], event.data["reason"]) for event in await told(service, "refund.succeeded")]
    assert given == [(payment_id, "late")]
    assert (await compare(service, "wechatpay", noon))["found"] == 0
    assert await service.violations() == []


async def test_a_bill_that_cannot_be_had_is_tried_again(service: Service, cashier: Cashier) -> None:
    turn_to(service, time(12), BEIJING)
    noon = service.clock().astimezone(BEIJING)
    await paid(service, cashier, *(await ordered(service)))
    service.clock.advance(86_400)
    cashier.broken_bill = True
    body = {"provider": "wechatpay", "day": noon.date().isoformat()}
    row = (await service.ops("POST", "reconciliations", body)).json()
    for _ in range(ATTENTION_ATTEMPTS):
        await service.work()
        service.clock.advance(3600)
    waiting = (await service.ops("GET", f"reconciliations/{row['id']}")).json()
    assert (waiting["state"], waiting["attempts"], waiting["found"]) == ("waiting", ATTENTION_ATTEMPTS, None)
    assert [event.subject for event in await told(service, "reconciliation.needs_attention")] == [row["id"]]
    cashier.broken_bill = False
    assert (await compare(service, "wechatpay", noon))["found"] == 0
    assert await service.violations() == []


async def test_days_without_a_bill_are_compared_too(service: Service, cashier: Cashier) -> None:
    turn_to(service, time(9, 59), BEIJING)
    await service.work()
    before = (await service.ops("GET", "reconciliations")).json()["items"]
    assert [(one["lines"], one["found"]) for one in before] == [(0, 0)] * 7
    service.clock.advance(60)
    await service.work()
    after = (await service.ops("GET", "reconciliations")).json()["items"]
    assert len(after) == 8
    assert len({one["day"] for one in after}) == 8
    assert cashier.calls == ["GET /v3/bill/tradebill"] * 8


async def test_who_may_ask_for_what(service: Service, cashier: Cashier) -> None:
    assert cashier
    tomorrow = (service.clock().astimezone(BEIJING) + timedelta(days=1)).date().isoformat()
    for body, code in (
        ({"provider": "sandbox", "day": "2026-01-31"}, "provider_not_found"),
        ({"provider": "wechatpay", "day": tomorrow}, "bill_not_ready"),
        ({"provider": "wechatpay", "day": "yesterday"}, "invalid_request"),
    ):
        check_refusal(await service.ops("POST", "reconciliations", body), code)
    missing = await service.ops("GET", f"reconciliations/rcn_{'0' * 32}")
    check_refusal(missing, "reconciliation_not_found")
