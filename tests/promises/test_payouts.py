"""Payouts: reserved once, sent once, and the member's again when they cannot be sent."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.config import Settings
from app.gateways.payments.payer import PayoutAnswer, PayoutRequest
from app.models import Payout, SandboxPayout
from app.services import payouts
from tests.promises.money import account, brought, earn, flash, give, has, policy, refund
from tests.service import Member, Service


async def ask(member: Member, amount: int, to: str = "alice", key: str | None = None) -> dict[str, Any]:
    """A payout that is accepted."""
    reply = await member.post("/v1/payouts", {"amount": amount, "account": to}, key=key)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def own(member: Member) -> list[dict[str, Any]]:
    return list((await member.get("/v1/payouts")).json()["items"])


async def test_a_payout_leaves_the_balance_at_once_and_the_book_when_it_is_paid(service: Service) -> None:
    member, before = await service.member(), await account(service, "paid_out:CNY")
    await earn(service, member, 2000)
    payout = await ask(member, 1500, key="one")
    assert await ask(member, 1500, key="one") == payout, "a key asks once"
    reused = await member.post("/v1/payouts", {"amount": 1400, "account": "alice"}, key="one")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert await has(member) == (500, 0, 1500, 0)
    await service.work()
    assert await has(member) == (500, 0, 0, 0)
    (paid,) = await own(member)
    assert (paid["state"], paid["fee"]) == ("paid", 0)
    assert await account(service, "paid_out:CNY") == before + 1500
    for amount, code in ((99, "payout_too_small"), (501, "balance_too_low")):
        reply = await member.post("/v1/payouts", {"amount": amount, "account": "alice"})
        assert reply.json()["code"] == code
    stranger = await service.member()
    reply = await stranger.post("/v1/payouts", {"amount": 100, "account": "bob"})
    assert (reply.status_code, reply.json()["code"]) == (409, "balance_too_low")
    assert await has(stranger) == (0, 0, 0, 0)
    assert await service.violations() == []


async def test_a_fee_is_kept_and_never_asked_of_a_payout_that_failed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(**service.state.settings.model_dump() | {"payout_fee_basis_points": 150})
    monkeypatch.setattr(service.state, "settings", settings)
    member = await service.member()
    fees, paid_out = await account(service, "fees:CNY"), await account(service, "paid_out:CNY")
    await earn(service, member, 2000)
    await ask(member, 999)
    await ask(member, 1000, "refuse")
    await service.work()
    assert [(payout["state"], payout["fee"]) for payout in await own(member)] == [("failed", 15), ("paid", 14)]
    assert await has(member) == (1001, 0, 0, 0)
    assert await account(service, "fees:CNY") == fees + 14
    assert await account(service, "paid_out:CNY") == paid_out + 985
    async with service.state.database.snapshot() as session:
        sent = await session.get_one(SandboxPayout, (await own(member))[1]["id"])
    assert sent.amount == 985
    assert await service.violations() == []


async def test_a_payout_is_tried_until_it_is_answered(service: Service) -> None:
    member = await service.member()
    await earn(service, member, 1000)
    payout = await ask(member, 1000, "fail-3")
    for state in ("ready", "ready", "ready", "paid"):
        await service.work()
        assert (await own(member))[0]["state"] == state
        service.clock.advance(60)
    reply = await service.ops("GET", "payouts?state=paid")
    found = next(item for item in reply.json()["items"] if item["id"] == payout["id"])
    assert (found["attempts"], found["member_id"]) == (4, member.id)
    assert await has(member) == (0, 0, 0, 0)
    assert await service.violations() == []


async def test_a_large_payout_waits_for_an_operator(service: Service) -> None:
    member = await service.member()
    await earn(service, member, 120_000)
    refused, approved = await ask(member, 50_001), await ask(member, 60_000)
    await service.work()
    assert {payout["state"] for payout in await own(member)} == {"waiting"}
    assert await has(member) == (9_999, 0, 110_001, 0)
    reply = await service.ops("POST", f"payouts/{refused['id']}/reject")
    assert (reply.status_code, reply.json()["state"]) == (200, "rejected")
    reply = await service.ops("POST", f"payouts/{approved['id']}/approve")
    assert (reply.status_code, reply.json()["state"]) == (200, "ready")
    for payout, verb in ((refused, "approve"), (approved, "reject")):
        reply = await service.ops("POST", f"payouts/{payout['id']}/{verb}")
        assert (reply.status_code, reply.json()["code"]) == (409, "payout_not_waiting")
    await service.work()
    assert await has(member) == (60_000, 0, 0, 0)
    missing = await service.ops("POST", f"payouts/pyt_{'0' * 32}/approve")
    assert (missing.status_code, missing.json()["code"]) == (404, "payout_not_found")
    assert await service.violations() == []


async def test_approving_and_rejecting_at_once_ends_in_one(service: Service) -> None:
    member = await service.member()
    await earn(service, member, 240_000)
    for _ in range(4):
        payout = await ask(member, 60_000)
        ticking = asyncio.create_task(service.work())
        replies = await asyncio.gather(
            *(service.ops("POST", f"payouts/{payout['id']}/{verb}") for verb in ["approve", "reject"] * 5)
        )
        await ticking
        assert Counter(reply.status_code for reply in replies) == {200: 1, 409: 9}
    await service.work()
    states = Counter(payout["state"] for payout in await own(member))
    assert states.keys() <= {"paid", "rejected"}
    assert await has(member) == (states["rejected"] * 60_000, 0, 0, 0)
    assert await service.violations() == []


async def test_parallel_payouts_never_pay_more_than_there_is(service: Service) -> None:
    member = await service.member()
    await earn(service, member, 1050)
    replies = await asyncio.gather(
        *(
            member.post("/v1/payouts", {"amount": 100, "account": "alice"}, key=f"key-{number % 15}")
            for number in range(60)
        )
    )
    won = {reply.json()["id"] for reply in replies if reply.status_code == 201}
    assert len(won) == 10
    assert {reply.json()["code"] for reply in replies if reply.status_code != 201} == {"balance_too_low"}
    await asyncio.gather(*(service.work() for _ in range(3)))
    await service.work()
    assert await has(member) == (50, 0, 0, 0)
    async with service.state.database.snapshot() as session:
        for payout_id in won:
            payout = await session.get_one(Payout, payout_id)
            assert (payout.state, (await session.get_one(SandboxPayout, payout_id)).state) == ("paid", "paid")
    assert await service.violations() == []


async def test_a_worker_that_dies_after_the_provider_has_paid_pays_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, before = await service.member(), await account(service, "paid_out:CNY")
    await earn(service, member, 1000)
    payout = await ask(member, 1000)

    async def die(*_: object) -> None:
        raise OperationalError("killed", None, Exception("killed"))

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "_finish", die)
        await service.work()
    assert (await own(member))[0]["state"] == "submitted"
    await service.work()
    assert (await own(member))[0]["state"] == "submitted", "it is left to that worker for a moment"
    service.clock.advance(31)
    await service.work()
    assert (await own(member))[0]["state"] == "paid"
    assert await account(service, "paid_out:CNY") == before + 1000
    async with service.state.database.snapshot() as session:
        assert (await session.get_one(SandboxPayout, payout["id"])).attempts == 2
    assert await service.violations() == []


async def test_a_payout_on_its_way_is_not_approved_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    member = await service.member()
    await give(service, member, 60_000)
    payout = await ask(member, 60_000)
    assert (await service.ops("POST", f"payouts/{payout['id']}/approve")).status_code == 200
    payer, answers = service.state.payer, []
    assert payer is not None
    pay_out = payer.pay_out

    async def pay_slowly(request: PayoutRequest) -> PayoutAnswer:
        answers.append((await service.ops("POST", f"payouts/{payout['id']}/approve")).status_code)
        return await pay_out(request)

    monkeypatch.setattr(payer, "pay_out", pay_slowly)
    await service.work()
    assert answers == [409]
    assert [paid["state"] for paid in await own(member)] == ["paid"]
    assert await service.violations() == []


async def test_two_who_approve_at_once_are_one(service: Service) -> None:
    member = await service.member()
    await give(service, member, 60_000)
    payout = await ask(member, 60_000)
    replies = await asyncio.gather(
        *(service.ops("POST", f"payouts/{payout['id']}/{verb}") for verb in ("approve", "reject") * 5)
    )
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 9
    assert await service.violations() == []


async def test_who_owes_is_not_paid_out(service: Service) -> None:
    member, sale = await service.member(), await flash(service)
    await policy(service, sale_id=sale.id, mature_days=0)
    order_id = await brought(service, member, sale)
    await service.work()
    await give(service, member, 60_000)
    payout = await ask(member, 60_400)
    await refund(service, order_id)
    assert await has(member) == (0, 0, 60_400, 400)
    reply = await service.ops("POST", f"payouts/{payout['id']}/approve")
    assert (reply.status_code, reply.json()["code"], reply.json()["owed"]) == (409, "member_owes", 400)
    assert (await service.ops("POST", f"payouts/{payout['id']}/reject")).status_code == 200
    assert await has(member) == (60_000, 0, 0, 0)
    assert await service.violations() == []
