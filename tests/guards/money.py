"""Guards of money: payments, refunds, the sandbox cashier."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlmodel import select

from app.domain.errors import (
    IdempotencyKeyReused,
    OrderClosed,
    OrderNotFound,
    OrderNotHeld,
    PaymentClosed,
    PaymentNotFound,
    ProviderUnavailable,
    TooManyPayments,
)
from app.domain.groups import GroupState
from app.domain.orders import OrderState
from app.domain.payments import Capture, PaymentState, RefundReason, decide_capture
from app.domain.refunds import RefundState
from app.gateways.payments.provider import Charge, ChargeRequest, ChargeState, RefundAnswer
from app.models import Order, Payment, Refund, SandboxCallback, SandboxCharge, SandboxRefund
from app.schemas.sandbox import Pay, RefundCreate
from app.services import orders, payments, refunds, sandbox
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import Held, World

PAYMENTS, REFUNDS, CASHIER = "app.services.payments", "app.services.refunds", "app.services.sandbox"
ANY_ORDER, ANY_PAYMENT, ANY_REFUND = (
    f"dict.fromkeys({states}, frozenset({states}))" for states in ("OrderState", "PaymentState", "RefundState")
)
"""A table in place of a machine's own: from every state to every state."""


def recording(state: str) -> Cut:
    """Let a payment become this from any state."""
    moves = "payment, PaymentState." + state
    return Cut(f"{PAYMENTS}._record_charge", f"PAYMENT_TRANSITIONS, {moves}", f"{ANY_PAYMENT}, {moves}")


async def start(world: World, held: Held, key: str | None = None, provider: str = "sandbox") -> str:
    """Start a payment; returns its id."""
    made = await payments.create_payment(world.state, held.member.id, held.order_id, provider, key or uuid4().hex)
    return made.payment_id


@notices(
    *cuts(f"{PAYMENTS}.create_payment", "order.member_id != member_id", "payment.provider != provider_name"),
    *cuts(f"{PAYMENTS}.receive_notice", "payment.provider != provider_name"),
)
async def payments_belong_to_their_order_and_provider(world: World) -> None:
    held = await world.held()
    with pytest.raises(OrderNotFound):
        await start(world, Held(world.friend, held.order_id, held.group_id))
    payment = await world.payment(held)
    world.state.providers["other"] = world.state.providers["sandbox"]
    try:
        key = uuid4().hex
        await start(world, held, key)
        with pytest.raises(IdempotencyKeyReused):
            await start(world, held, key, "other")
        body = payment.notice()
        headers = {name: str(value) for name, value in payment.signature(body).items()}
        with pytest.raises(PaymentNotFound):
            await payments.receive_notice(world.state, "other", headers, body)
    finally:
        del world.state.providers["other"]


@notices(*cuts(f"{PAYMENTS}._add_payment", "running.one() >= MAX_OPEN_PAYMENTS"))
async def five_payments_run_at_once(world: World) -> None:
    held = await world.held()
    for _ in range(5):
        await start(world, held)
    with pytest.raises(TooManyPayments):
        await start(world, held)


@notices(
    *cuts(
        f"{PAYMENTS}._check_payable",
        "order.state not in ACTIVE_ORDER_STATES",
        "order.state == OrderState.HELD and order.hold_expires_at <= now",
        "if order.state != OrderState.HELD",
    ),
    Cut(
        f"{PAYMENTS}._add_payment",
        "_check_payable(order, work.now)",
        "None",
        down=(Cut(f"{PAYMENTS}.create_payment", "_check_payable(order, work.now)", "None"),),
    ),
)
async def only_an_unpaid_order_in_time_is_paid(world: World) -> None:
    cancelled, paid, late = [await world.held() for _ in range(3)]
    await orders.cancel(world.state, cancelled.order_id, world.me.id)
    with pytest.raises(OrderClosed):
        await start(world, cancelled)
    await world.pay(paid)
    with pytest.raises(OrderNotHeld):
        await start(world, paid)
    world.service.clock.advance(601)
    with pytest.raises(OrderClosed):
        await start(world, late)


@notices(
    Cut(f"{PAYMENTS}.create_payment", "_check_payable(order, work.now)", "None"),
    Cut(f"{PAYMENTS}.create_payment", "col(Payment.state) != PaymentState.CLOSED", "True"),
    *cuts(f"{PAYMENTS}.create_payment", "if closed_meanwhile"),
    *cuts(f"{PAYMENTS}.check", "order.state != OrderState.HELD"),
)
async def nothing_is_payable_once_the_order_has_ended(world: World) -> None:
    """The provider is slow, and the order ends meanwhile; or it did not answer, and the order ended before the
    request is repeated.
    """
    provider = world.state.providers["sandbox"]
    slow, silent = await world.held(), await world.held()
    create = provider.create

    async def slow_create(request: ChargeRequest) -> Charge:
        charge = await create(request)
        await orders.cancel(world.state, slow.order_id, world.me.id)
        world.service.clock.advance(16)
        assert await payments.check(world.state, request.payment_id, world.service.clock())
        assert (await provider.query(request.payment_id)).state == ChargeState.CLOSED
        return charge

    async def silent_create(_: ChargeRequest) -> Charge:
        raise ProviderUnavailable

    key = uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provider, "create", slow_create)
        with pytest.raises(OrderClosed):
            await start(world, slow)
        patch.setattr(provider, "create", silent_create)
        with pytest.raises(ProviderUnavailable):
            await start(world, silent, key)
    await orders.cancel(world.state, silent.order_id, world.me.id)
    with pytest.raises(OrderClosed):
        await start(world, silent, key)


@notices(
    Cut(f"{PAYMENTS}.check", "col(Payment.state).in_([PaymentState.CREATED, PaymentState.FAILED])", "True"),
    Cut(f"{PAYMENTS}.check", "col(Payment.check_at) <= now", "True"),
)
async def a_silent_payment_is_asked_about_by_one_worker(world: World) -> None:
    waiting, captured = await world.payment(await world.held()), await world.pay(await world.held())
    world.service.clock.advance(16)
    now = world.service.clock()
    assert not await payments.check(world.state, captured.id, now)
    assert await payments.check(world.state, waiting.id, now)
    assert not await payments.check(world.state, waiting.id, now)


@notices(recording("CAPTURED"), recording("FAILED"), recording("CLOSED"))
async def captured_money_stays_captured(world: World) -> None:
    payment = await world.payment(await world.held())
    await world.tell(payment)
    for state in ("failed", "closed", "captured"):
        said = {} if state == "captured" else {"amount": None, "currency": None}
        await world.tell(payment, state=state, **said)
        assert (await world.row(Payment, payment.id)).state == PaymentState.CAPTURED
    assert await world.count("events WHERE subject = :id AND type = 'payment.captured'", id=payment.id) == 1


@notices(Cut(f"{PAYMENTS}._is_new", "first.first() is not None", "True", down=(recording("CAPTURED"),)))
async def a_message_acts_once(world: World) -> None:
    """Here a payment could be captured twice; the message's key alone stands against it."""
    payment = await world.payment(await world.held())
    for _ in range(2):
        await world.tell(payment, id=f"ntf_{payment.id}")
    assert await world.count("events WHERE subject = :id AND type = 'payment.captured'", id=payment.id) == 1


@notices(
    *cuts(
        f"{PAYMENTS}.decide_locked",
        "payment.outcome is not None",
        "payment.state != PaymentState.CAPTURED",
        "reason is not None",
    ),
)
async def money_is_decided_once_and_only_when_it_is_there(world: World) -> None:
    payment = await world.payment(held := await world.held())
    await payments.decide(world.state, payment.id)
    assert await world.order_state(held) == OrderState.HELD
    await world.tell(payment)
    await payments.decide(world.state, payment.id)
    assert await world.count("refunds WHERE payment_id = :id", id=payment.id) == 0
    cancelled = await world.held()
    late = await world.payment(cancelled)
    await orders.cancel(world.state, cancelled.order_id, world.me.id)
    await world.tell(late)
    assert await world.count("refunds WHERE payment_id = :id", id=late.id) == 1


CAPTURE = "app.domain.payments.decide_capture"


@notices(
    *cuts(
        CAPTURE,
        "capture.order_has_kept_payment",
        "(capture.captured_amount, capture.captured_currency) != (capture.order_amount, capture.order_currency)",
        "capture.order_state != OrderState.HELD",
        "capture.group_state in FINAL_GROUP_STATES",
        "capture.captured_at > capture.group_deadline_at",
    ),
)
async def money_buys_a_seat_only_in_time_in_full_and_once(world: World) -> None:
    now = world.service.clock()
    good = Capture(
        captured_amount=1,
        captured_currency="CNY",
        captured_at=now,
        order_amount=1,
        order_currency="CNY",
        order_state=OrderState.HELD,
        order_has_kept_payment=False,
        group_state=GroupState.OPEN,
        group_deadline_at=now,
    )
    assert decide_capture(good) is None
    assert decide_capture(replace(good, order_has_kept_payment=True)) == RefundReason.DUPLICATE
    for wrong in ({"captured_amount": 2}, {"captured_currency": "USD"}):
        assert decide_capture(replace(good, **wrong)) == RefundReason.WRONG_AMOUNT
    for late in (
        replace(good, order_state=OrderState.CANCELLED),
        replace(good, group_state=GroupState.FAILED),
        replace(good, captured_at=now + timedelta(microseconds=1)),
    ):
        assert decide_capture(late) == RefundReason.LATE


@notices(
    Cut(
        f"{PAYMENTS}.decide_locked",
        "ORDER_TRANSITIONS",
        ANY_ORDER,
        down=cuts(CAPTURE, "capture.order_state != OrderState.HELD"),
    ),
)
async def an_order_that_ended_is_never_paid(world: World) -> None:
    """Here the decision forgets to look at the order's state."""
    payment = await world.payment(held := await world.held())
    await world.friend.join(world.sale, held.group_id)
    await orders.cancel(world.state, held.order_id, world.me.id)
    with pytest.raises(AssertionError):
        await world.tell(payment)
    assert await world.order_state(held) == OrderState.CANCELLED


async def wrongly_paid(world: World) -> tuple[Held, Refund, Order]:
    """An unpaid order of which too little was captured, and the refund of that."""
    held = await world.held()
    payment = await world.pay(held, amount=1)
    async with world.database.snapshot() as session:
        (refund,) = (await session.exec(select(Refund).where(Refund.payment_id == payment.id))).all()
        return held, refund, await session.get_one(Order, held.order_id)


@notices(
    Cut(f"{REFUNDS}.submit", "col(Refund.state) != RefundState.SUCCEEDED", "True"),
    Cut(f"{REFUNDS}.submit", "col(Refund.due_at) <= now", "True"),
    Cut(f"{REFUNDS}._succeed", "REFUND_TRANSITIONS", ANY_REFUND),
    Cut(f"{REFUNDS}._succeed", "ORDER_TRANSITIONS", ANY_ORDER),
    Cut(f"{REFUNDS}._fail", "REFUND_TRANSITIONS", ANY_REFUND),
)
async def a_refund_succeeds_once(world: World) -> None:
    held, refund, order = await wrongly_paid(world)
    now = world.service.clock()
    assert not await refunds.submit(world.state, refund.id, now - timedelta(seconds=60))
    assert await refunds.submit(world.state, refund.id, now)
    await refunds._succeed(world.state, refund, order, RefundAnswer("again", refund.amount))
    await refunds._fail(world.state, refund, order, "too late")
    world.service.clock.advance(3600)
    assert not await refunds.submit(world.state, refund.id, world.service.clock())
    assert await world.count("events WHERE subject = :id AND type = 'refund.succeeded'", id=refund.id) == 1
    assert (await world.row(Refund, refund.id)).state == RefundState.SUCCEEDED
    assert await world.order_state(held) == OrderState.HELD, "only a refunding order is refunded"


@notices(*cuts(f"{REFUNDS}._succeed", "open_refunds.first() is None"))
async def an_order_is_refunded_when_all_its_refunds_are(world: World) -> None:
    held = await world.held()
    twice = [await world.payment(held) for _ in range(2)]
    for payment in twice:
        charge = await world.row(SandboxCharge, payment.id)
        await sandbox.pay(world.state, charge.token, Pay(drop=True))
        await world.tell(payment)
    await orders.refund(world.state, held.order_id)
    async with world.database.snapshot() as session:
        ids = (await session.exec(select(Refund.id).where(Refund.order_id == held.order_id))).all()
    for id_, state in zip(ids, (OrderState.REFUNDING, OrderState.REFUNDED), strict=True):
        assert await refunds.submit(world.state, id_, world.service.clock())
        assert await world.order_state(held) == state


@notices(
    Cut(f"{CASHIER}.pay", "col(SandboxCharge.state) == PENDING", "True"),
    Cut(f"{CASHIER}.pay", "col(SandboxCharge.expires_at) > now", "True"),
    Cut(f"{CASHIER}.close_charge", "col(SandboxCharge.state) == PENDING", "True"),
)
async def the_cashier_takes_money_once_and_in_time(world: World) -> None:
    paid, late = [await world.payment(await world.held()) for _ in range(2)]
    charge = await world.row(SandboxCharge, paid.id)
    await sandbox.pay(world.state, charge.token, Pay(drop=True))
    with pytest.raises(PaymentClosed):
        await sandbox.pay(world.state, charge.token, Pay(drop=True))
    assert (await sandbox.close_charge(world.state, paid.id)).state == ChargeState.CAPTURED
    world.service.clock.advance(601)
    with pytest.raises(PaymentClosed):
        await sandbox.pay(world.state, (await world.row(SandboxCharge, late.id)).token, Pay(drop=True))


@notices(
    *cuts(
        f"{CASHIER}.refund",
        "await session.get(SandboxRefund, body.id) is not None",
        "_state(state, charge) != ChargeState.CAPTURED",
        "given.one() + body.amount > (charge.paid_amount or 0)",
        "if fails",
    ),
    Cut(f"{CASHIER}.refund", "col(SandboxCharge.refund_failures) > 0", "True"),
)
async def the_cashier_gives_back_what_it_took(world: World) -> None:
    slow, paid, failing = [await world.payment(await world.held()) for _ in range(3)]

    def wish(payment_id: str, amount: int) -> RefundCreate:
        return RefundCreate(id=f"ref_{uuid4().hex}", charge_id=payment_id, amount=amount)

    for payment, delay_seconds, failures in ((slow, 60, 0), (paid, 0, 0), (failing, 0, 1)):
        charge = await world.row(SandboxCharge, payment.id)
        how = Pay(drop=True, delay_seconds=delay_seconds, refund_failures=failures)
        await sandbox.pay(world.state, charge.token, how)
    with pytest.raises(PaymentClosed):
        await sandbox.refund(world.state, wish(slow.id, 1))
    part = wish(paid.id, 4000)
    for _ in range(2):
        await sandbox.refund(world.state, part)
    with pytest.raises(PaymentClosed):
        await sandbox.refund(world.state, wish(paid.id, 901))
    late = wish(failing.id, 4900)
    with pytest.raises(ProviderUnavailable):
        await sandbox.refund(world.state, late)
    assert await world.count("sandbox_refunds WHERE id = :id", id=late.id) == 0
    await sandbox.refund(world.state, late)
    assert (await world.row(SandboxRefund, late.id)).amount == 4900


@notices(Cut(f"{CASHIER}.deliver", "col(SandboxCallback.due_at) <= now", "True"))
async def a_notification_is_sent_by_one_worker(world: World) -> None:
    payment = await world.payment(await world.held())
    charge = await world.row(SandboxCharge, payment.id)
    await sandbox.pay(world.state, charge.token, Pay(delay_seconds=60))
    async with world.database.snapshot() as session:
        sent = select(SandboxCallback).where(SandboxCallback.body.contains(payment.id))  # type: ignore[attr-defined]
        (callback,) = (await session.exec(sent)).all()
    now = world.service.clock()
    assert not await sandbox.deliver(world.state, callback.id or 0, now)
    world.service.clock.advance(61)
    assert await sandbox.deliver(world.state, callback.id or 0, world.service.clock())
    assert await world.count("sandbox_callbacks WHERE id = :id", id=callback.id) == 0
