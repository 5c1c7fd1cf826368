"""A process that dies in the middle: what it had recorded is finished by somebody else."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select

from app.domain.errors import ProviderUnavailable
from app.domain.payments import PaymentState
from app.gateways.dealer import Dealer
from app.gateways.dealer.dealer import DEAL
from app.gateways.dealer.pipe import Part
from app.gateways.payments.provider import Charge, ChargeRequest, ChargeState
from app.models import Group, Payment
from app.services import commits, payments
from tests.service import Member, Service


async def capture_and_die(service: Service, monkeypatch: pytest.MonkeyPatch, member: Member, order_id: str) -> None:
    """Record a capture, and die before deciding where the money goes."""

    async def die(*_: object) -> None:
        raise OperationalError("killed", None, Exception("killed"))

    with monkeypatch.context() as patch:
        patch.setattr(payments, "decide", die)
        await service.http.post(await member.start_payment(order_id), json={})
        await service.deliver()
    async with service.state.database.snapshot() as session:
        payment = (await session.exec(select(Payment).where(Payment.order_id == order_id))).one()
    assert (payment.state, payment.outcome) == (PaymentState.CAPTURED, None)


async def test_a_capture_that_was_not_decided_is_decided_by_a_worker(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await service.sale(group_size=2)
    member = await service.member()
    opened = (await member.open(sale)).json()
    await capture_and_die(service, monkeypatch, member, opened["order"]["id"])
    await service.tick()
    assert (await member.order(opened["order"]["id"]))["state"] == "paid"
    assert await service.violations() == []


async def test_money_recorded_in_time_saves_the_group_at_its_deadline(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last capture was recorded before the deadline, its process died; the deadline comes first."""
    from app.services.deadlines import expire_group  # noqa: PLC0415

    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    await leader.pay(opened["order"]["id"])
    await capture_and_die(service, monkeypatch, friend, joined["order"]["id"])
    service.clock.advance(3601)
    assert not await expire_group(service.state, opened["group"]["id"], service.clock())
    assert (await service.group(opened["group"]["id"]))["state"] == "succeeded"
    assert await service.violations() == []


async def test_an_early_end_is_not_before_what_was_paid(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a sale waited for a lock, or its host's clock is behind: a payment is later than its `now`."""
    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    await capture_and_die(service, monkeypatch, friend, joined["order"]["id"])
    service.clock.offset_seconds = 100
    await leader.pay(opened["order"]["id"])
    service.clock.offset_seconds = 50
    assert (await service.ops("POST", f"sales/{sale.id}/end")).status_code == 200
    service.clock.offset_seconds = 200
    await service.tick()
    assert (await service.group(opened["group"]["id"]))["state"] == "succeeded"
    assert await service.violations() == []


async def test_a_group_opened_while_its_sale_ended_ends_too(own_service: Service) -> None:
    sale = await own_service.sale()
    member = await own_service.member()
    opened = (await member.open(sale)).json()
    await member.pay(opened["order"]["id"])
    await own_service.ops("POST", f"sales/{sale.id}/end")
    # As if the opening had been committed after the end: its deadline is still its own.
    async with own_service.state.database.engine.begin() as connection:
        await connection.execute(
            update(Group)
            .where(col(Group.id) == opened["group"]["id"])
            .values(deadline_at=own_service.clock() + timedelta(hours=1)),
        )
    await own_service.tick()
    await own_service.tick()
    group = await own_service.group(opened["group"]["id"])
    assert (group["state"], group["fail_reason"], group["left"]) == ("failed", "sale_ended", 0)
    assert (await member.order(opened["order"]["id"]))["state"] == "refunded"
    assert await own_service.violations() == []


async def test_a_payment_that_was_closed_cannot_be_paid(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider did not answer, the order ended meanwhile: the same key is told so, and nothing is payable."""
    sale = await service.sale()
    member = await service.member()
    order_id = (await member.open(sale)).json()["order"]["id"]
    provider = service.state.providers["sandbox"]

    async def no_answer(*_: object) -> None:
        raise ProviderUnavailable

    path, body = f"/v1/orders/{order_id}/payments", {"provider": "sandbox"}
    with monkeypatch.context() as patch:
        patch.setattr(provider, "create", no_answer)
        assert (await member.post(path, body, key="mine")).json()["code"] == "provider_unavailable"
    await member.post(f"/v1/orders/{order_id}/cancel")
    service.clock.advance(16)
    await service.tick()
    assert (await member.order(order_id))["payments"][0]["state"] == "closed"
    reply = await member.post(path, body, key="mine")
    assert (reply.status_code, reply.json()["code"]) == (410, "order_closed")


async def test_an_order_that_ends_while_its_payment_is_created_leaves_nothing_to_pay(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await service.sale()
    member = await service.member()
    order_id = (await member.open(sale)).json()["order"]["id"]
    provider = service.state.providers["sandbox"]
    create, made = provider.create, []

    async def slow_create(request: ChargeRequest) -> Charge:
        charge = await create(request)
        made.append(charge)
        await member.post(f"/v1/orders/{order_id}/cancel")
        service.clock.advance(16)
        await service.tick()
        return charge

    with monkeypatch.context() as patch:
        patch.setattr(provider, "create", slow_create)
        reply = await member.post(f"/v1/orders/{order_id}/payments", {"provider": "sandbox"})
    assert (reply.status_code, reply.json()["code"]) == (410, "order_closed")
    assert (await provider.query(made[0].payment_id)).state == ChargeState.CLOSED
    assert made[0].pay_url
    assert (await service.http.post(made[0].pay_url, json={})).status_code == 410


async def test_a_twin_that_meets_a_final_group_leaves_the_places_alone(service: Service) -> None:
    """A join is repeated after its group succeeded: the dealer deals the twin the places that are sold."""
    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    first = await friend.join(sale, opened["group"]["id"], key="mine")
    await leader.pay(opened["order"]["id"])
    await friend.pay(first.json()["order"]["id"])
    assert (await service.group(opened["group"]["id"]))["state"] == "succeeded"
    again = await friend.join(sale, opened["group"]["id"], key="mine")
    assert again.text == first.text
    assert await service.left(sale) == [98]


async def test_a_commit_whose_answer_was_lost_is_answered_by_its_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is in the database, the member heard 503: the same key gets the order, another key is counted."""
    sale = await service.sale(member_limit=1)
    member = await service.member()
    commit = commits._commit

    async def commit_and_lose_the_answer(*arguments: object, **options: object) -> object:
        await commit(*arguments, **options)  # type: ignore[arg-type]
        raise OperationalError("connection lost", None, Exception("connection lost"))

    with monkeypatch.context() as patch:
        patch.setattr(commits, "_commit", commit_and_lose_the_answer)
        lost = await member.open(sale, key="mine")
    assert (lost.status_code, lost.json()["code"]) == (503, "database_unavailable")
    again = await member.open(sale, key="mine")
    assert again.status_code == 201
    assert (await member.open(sale, key="another")).json()["code"] == "member_limit"
    assert await service.left(sale) == [99]
    assert await service.violations() == []


async def test_a_commit_that_never_happened_is_made_by_its_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The places were dealt, the commit failed with an unknown outcome: the same key gets the same places."""
    sale = await service.sale(stocks=[1], member_limit=1)
    member = await service.member()

    async def never(*_: object, **__: object) -> None:
        raise OperationalError("connection lost", None, Exception("connection lost"))

    with monkeypatch.context() as patch:
        patch.setattr(commits, "_commit", never)
        assert (await member.open(sale, key="mine")).status_code == 503
    assert (await (await service.member()).open(sale)).json()["code"] == "sold_out"
    again = await member.open(sale, key="mine")
    assert (again.status_code, again.json()["order"]["quantity"]) == (201, 1)
    assert await service.violations() == []


async def test_a_script_whose_answer_was_lost_is_asked_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await service.sale(stocks=[5])
    member = await service.member()
    dealer: Dealer = service.state.dealer
    call, calls = dealer.pipe.call, 0

    async def answer_lost(*parts: Part) -> object:
        nonlocal calls
        reply = await call(*parts)
        if parts[:2] == ("EVALSHA", DEAL.sha):
            calls += 1
            if calls == 1:
                raise ConnectionError("reset after the server executed")
        return reply

    await member.open(await service.sale())
    with monkeypatch.context() as patch:
        patch.setattr(dealer.pipe, "call", answer_lost)
        reply = await member.open(sale)
    assert reply.status_code == 201
    assert calls >= 2
    assert await service.left(sale) == [4]
