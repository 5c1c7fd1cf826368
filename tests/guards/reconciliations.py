"""Guards of what real providers bring: payers, refunds under way, and days compared with bills."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from sqlmodel import select

from app.domain.errors import BillNotReady, CurrencyNotTaken, PayerUnknown, PaymentNotFound
from app.domain.reconciliations import Difference, DifferenceKind, Line, LineKind, LineState, newest_day
from app.domain.refunds import REFUND_TRANSITIONS, RefundState
from app.gateways.payments.provider import RefundAnswer
from app.models import Difference as DifferenceRow
from app.models import Identity, Reconciliation, Refund
from app.schemas.reconciliations import ReconciliationCreate
from app.services import orders, payments, reconciliations, refunds
from tests.cashiers.wechatpay import BEIJING, Cashier
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.money import start, wrongly_paid
from tests.guards.world import Held, World
from tests.service import FLASH

PAYMENTS, REFUNDS, HERE = "app.services.payments", "app.services.refunds", "app.services.reconciliations"
ANY_STATE = "dict.fromkeys(ReconciliationState, frozenset(ReconciliationState))"


@asynccontextmanager
async def wechat_pay(world: World) -> AsyncIterator[Cashier]:
    """WeChat Pay beside the sandbox, and me known there."""
    cashier = Cashier(world.service.clock)
    with TemporaryDirectory() as folder:
        name = cashier.join(world.service, Path(folder)).name
    async with world.work() as work:
        subject = f"o{uuid4().hex[:27]}"
        work.session.add(Identity(provider="wechat", subject=subject, member_id=world.me.id, created_at=work.now))
    try:
        yield cashier
    finally:
        del world.state.providers[name], world.state.billers[name]


@notices(
    *cuts(f"{PAYMENTS}._payer_account", "not provider.takes(order.currency)", "provider.payer_identity is None")
)
async def a_payer_is_known_to_who_wants_to_know(world: World) -> None:
    async with wechat_pay(world):
        dollars = await world.service.sale(**FLASH, currency="USD")
        claim = (await world.me.buy(dollars)).json()
        with pytest.raises(CurrencyNotTaken):
            await start(world, Held(world.me, claim["order"]["id"], ""), None, "wechatpay")
        stranger = await world.service.member()
        claim = (await stranger.open(world.sale)).json()
        of_stranger = Held(stranger, claim["order"]["id"], "")
        with pytest.raises(PayerUnknown):
            await start(world, of_stranger, None, "wechatpay")
        await start(world, of_stranger)
        await start(world, await world.held(), None, "wechatpay")


@notices(
    *cuts(f"{PAYMENTS}.receive_notice", "notice.charge is None"),
    *cuts(f"{PAYMENTS}._hear_of_refund", "payment.provider != provider_name"),
)
async def a_refund_is_told_of_by_its_own_provider(world: World) -> None:
    async with wechat_pay(world) as cashier:
        held = await world.held()
        payment_id = await start(world, held, None, "wechatpay")
        cashier.pay(payment_id)
        await payments.receive_notice(world.state, "wechatpay", *cashier.paid_notice(payment_id))
        await orders.refund(world.state, held.order_id)
        async with world.database.snapshot() as session:
            refund = (await session.exec(select(Refund).where(Refund.payment_id == payment_id))).one()
        assert await refunds.submit(world.state, refund.id, world.service.clock())
        await payments.receive_notice(world.state, "wechatpay", *cashier.refund_notice(refund.id))
        _, of_sandbox, _ = await wrongly_paid(world)
        assert await refunds.submit(world.state, of_sandbox.id, world.service.clock())
        told = cashier.refund_notice(refund.id, out_refund_no=of_sandbox.id)
        with pytest.raises(PaymentNotFound):
            await payments.receive_notice(world.state, "wechatpay", *told)


@notices(
    Cut(f"{REFUNDS}.hear", "col(Refund.state) != RefundState.SUCCEEDED", "True"),
    Cut(f"{REFUNDS}._wait", "col(Refund.state) == RefundState.SUBMITTED", "True"),
)
async def a_refund_that_is_done_waits_for_nothing(world: World) -> None:
    _, refund, order = await wrongly_paid(world)
    assert await refunds.submit(world.state, refund.id, world.service.clock())
    before = await world.row(Refund, refund.id)
    world.service.clock.advance(60)
    async with world.work() as work:
        await refunds.hear(work, await work.session.get_one(Refund, refund.id), is_lost=False)
    await refunds._wait(world.state, before, order, RefundAnswer("late", refund.amount, is_done=False))
    after = await world.row(Refund, refund.id)
    assert (after.due_at, after.provider_ref) == (before.due_at, before.provider_ref)


@notices(Cut(f"{REFUNDS}._wait", "col(Refund.due_at) == refund.due_at", "True"))
async def what_is_told_while_we_ask_is_asked_about_at_once(world: World) -> None:
    _, refund, order = await wrongly_paid(world)
    async with world.work() as work:
        row = await work.session.get_one(Refund, refund.id)
        asked = await work.advance(REFUND_TRANSITIONS, row, RefundState.SUBMITTED)
    assert asked is not None
    world.service.clock.advance(60)
    async with world.work() as work:
        await refunds.hear(work, await work.session.get_one(Refund, refund.id), is_lost=False)
    told = await world.row(Refund, refund.id)
    await refunds._wait(world.state, asked, order, RefundAnswer("late", refund.amount, is_done=False))
    assert (await world.row(Refund, refund.id)).due_at == told.due_at


async def asked(world: World, back: int = 0) -> Reconciliation:
    """A day of a merchant's that waits to be compared; another one for each `back`."""
    day = newest_day(world.service.clock(), BEIJING) - timedelta(days=back)
    made = await reconciliations.ask_for(world.state, ReconciliationCreate(provider="wechatpay", day=day))
    return await world.row(Reconciliation, made.id)


async def compared(world: World, row: Reconciliation) -> bool:
    return await reconciliations.reconcile(world.state, row.id, world.service.clock())


def planted(row: Reconciliation) -> Difference:
    """A charge that is missing here."""
    line = Line(LineKind.CHARGE, f"pay_{uuid4().hex}", 1, "CNY", LineState.DONE, row.created_at)
    return Difference(DifferenceKind.MISSING_HERE, None, line)


@notices(*cuts(f"{HERE}.ask_for", "body.day > newest"))
async def a_day_is_compared_when_it_is_over(world: World) -> None:
    async with wechat_pay(world):
        with pytest.raises(BillNotReady):
            await asked(world, back=-1)


@notices(
    Cut(f"{HERE}.reconcile", "col(Reconciliation.state) == ReconciliationState.WAITING", "True"),
    Cut(f"{HERE}.reconcile", "col(Reconciliation.due_at) <= now", "True"),
    Cut(f"{HERE}._finish", "RECONCILIATION_TRANSITIONS", ANY_STATE),
    Cut(f"{HERE}._fail", "col(Reconciliation.state) == ReconciliationState.WAITING", "True"),
    Cut(f"{HERE}.ask_for", "RECONCILIATION_TRANSITIONS", ANY_STATE),
)
async def a_day_is_compared_once_for_each_time_it_is_asked_for(world: World) -> None:
    async with wechat_pay(world):
        for _ in range(2):
            row = await asked(world)
        waited = "events WHERE subject = :id AND type = 'reconciliation.waiting'"
        done = "events WHERE subject = :id AND type = 'reconciliation.done'"
        first = await world.count(waited, id=row.id)
        before = await world.count(done, id=row.id)
        assert await world.count(f"{waited} AND from_state = 'done'", id=row.id) == before
        now = world.service.clock()
        assert not await reconciliations.reconcile(world.state, row.id, now - timedelta(days=1))
        assert await compared(world, row)
        assert await world.count(done, id=row.id) == before + 1
        world.service.clock.advance(3600)
        assert not await compared(world, row)
        await reconciliations._finish(world.state, row, 1, [planted(row)])
        await reconciliations._fail(world.state, row, "late")
        after = await world.row(Reconciliation, row.id)
        assert (after.state, after.found, after.last_error) == ("done", 0, None)
        assert await world.count(waited, id=row.id) == first


@notices(Cut(f"{HERE}.ask_for", "col(DifferenceRow.reconciliation_id) == row.id", "True"))
async def what_was_found_is_replaced_of_the_day_alone(world: World) -> None:
    async with wechat_pay(world):
        rows = [await asked(world, back) for back in (1, 2)]
        for row in rows:
            await reconciliations._finish(world.state, row, 1, [planted(row)])
        await asked(world, 1)
        async with world.database.snapshot() as session:
            found = (await session.exec(select(DifferenceRow.reconciliation_id))).all()
        assert rows[0].id not in found
        assert rows[1].id in found


@notices(*cuts(f"{HERE}._learn_of", "there.kind != LineKind.CHARGE", "here.state == LineState.DONE"))
async def only_of_money_that_we_do_not_know_is_asked(world: World) -> None:
    async with wechat_pay(world) as cashier:
        payment_id = await start(world, await world.held(), None, "wechatpay")
        there = Line(LineKind.CHARGE, payment_id, 4900, "CNY", LineState.DONE, world.service.clock())
        here = replace(there, state=LineState.PENDING)
        cashier.calls.clear()
        for kind, own in ((LineKind.REFUND, here), (LineKind.CHARGE, there)):
            line = replace(there, kind=kind)
            await reconciliations._learn_of(world.state, Difference(DifferenceKind.STATE, own, line))
        assert cashier.calls == []
        await reconciliations._learn_of(world.state, Difference(DifferenceKind.STATE, here, there))
        assert len(cashier.calls) == 1
