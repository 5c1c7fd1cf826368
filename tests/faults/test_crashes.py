"""A process that dies in the middle: what it had recorded is finished by somebody else."""

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from app.domain.payments import PaymentState
from app.gateways.dealer import Dealer
from app.models import Payment
from app.services import claims, payments
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


async def test_a_commit_whose_answer_was_lost_is_answered_by_its_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is in the database, the member heard 503: the same key gets the order, another key is counted."""
    sale = await service.sale(member_limit=1)
    member = await service.member()
    commit = claims._commit

    async def commit_and_lose_the_answer(*arguments: object) -> object:
        await commit(*arguments)  # type: ignore[arg-type]
        raise OperationalError("connection lost", None, Exception("connection lost"))

    with monkeypatch.context() as patch:
        patch.setattr(claims, "_commit", commit_and_lose_the_answer)
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

    async def never(*_: object) -> None:
        raise OperationalError("connection lost", None, Exception("connection lost"))

    with monkeypatch.context() as patch:
        patch.setattr(claims, "_commit", never)
        assert (await member.open(sale, key="mine")).status_code == 503
    assert (await (await service.member()).open(sale)).json()["code"] == "sold_out"
    again = await member.open(sale, key="mine")
    assert (again.status_code, again.json()["order"]["quantity"]) == (201, 1)
    assert await service.violations() == []


async def test_a_script_whose_answer_was_lost_is_asked_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415

    sale = await service.sale(stocks=[5])
    member = await service.member()
    dealer: Dealer = service.state.dealer
    script, calls = dealer._deal, 0

    async def answer_lost(**arguments: object) -> object:
        nonlocal calls
        calls += 1
        reply = await script(**arguments)  # type: ignore[arg-type]
        if calls == 1:
            raise RedisConnectionError("reset after the server executed")
        return reply

    await member.open(await service.sale())
    with monkeypatch.context() as patch:
        patch.setattr(dealer, "_deal", answer_lost)
        await service.state.dealer.client.ping()
        reply = await member.open(sale)
    assert reply.status_code == 201
    assert calls >= 2
    assert await service.left(sale) == [4]
