"""Paying an order. The money is recorded first, in a transaction of its own; where it goes is decided second.

Whatever arrives late, twice, or in the wrong amount ends in a refund that is created in the transaction
that finds out. A capture that is recorded but not decided (the process died in between) is decided by a worker.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, update
from sqlmodel import col, select

from app.domain.errors import (
    CurrencyNotTaken,
    IdempotencyKeyReused,
    OrderClosed,
    OrderNotFound,
    OrderNotHeld,
    PayerUnknown,
    PaymentNotFound,
    ProviderNotFound,
    TooManyPayments,
)
from app.domain.members import MarkKind
from app.domain.orders import ACTIVE_ORDER_STATES, ORDER_TRANSITIONS, OrderState
from app.domain.payments import (
    MAX_OPEN_PAYMENTS,
    PAYMENT_TRANSITIONS,
    Capture,
    PaymentOutcome,
    PaymentState,
    decide_capture,
)
from app.gateways.payments.provider import (
    Charge,
    ChargeRequest,
    ChargeState,
    Notice,
    PaymentProvider,
    RefundNews,
)
from app.models import Group, Notification, Order, Payment, Refund, Sale
from app.schemas.payments import PaymentPublic
from app.services import causes, groups, identities, refunds
from app.services.locks import lock_order, lock_order_and_group, lock_payment
from app.services.marks import mark
from app.services.places import record_order
from app.services.transactions import Work, transaction
from app.state import State

CHECK_EVERY = timedelta(seconds=15)
"""How often a worker asks the provider about a payment of which nothing was heard."""


def find_provider(state: State, name: str) -> PaymentProvider:
    """The provider of that name. Raises `ProviderNotFound`."""
    provider = state.providers.get(name)
    if provider is None:
        raise ProviderNotFound
    return provider


async def create_payment(
    state: State, member_id: str, order_id: str, provider_name: str, request_key: str
) -> PaymentPublic:
    """Start paying an order; the same key gets the same payment.

    First the payment row is committed, then the provider is asked: its answer may be lost, the row is not.
    Raises `OrderNotFound`, `OrderNotHeld`, `OrderClosed`, `TooManyPayments`, `ProviderNotFound`, `PayerUnknown`,
    `CurrencyNotTaken`, `ProviderRefused`, `ProviderUnavailable`, `IdempotencyKeyReused`.
    """
    provider = find_provider(state, provider_name)
    now = state.clock()
    async with transaction(state, now) as work:
        order = await lock_order(work.session, order_id)
        if order is None or order.member_id != member_id:
            raise OrderNotFound
        payment = await _find_payment(work, order_id, request_key)
        account = None
        if payment is None or not payment.can_be_paid:
            account = await _payer_account(work, provider, order)
        if payment is None:
            payment = await _add_payment(work, order, provider_name, request_key)
        if payment.provider != provider_name:
            raise IdempotencyKeyReused
        if not payment.can_be_paid:
            _check_payable(order, work.now)
        sale = await work.session.get_one(Sale, order.sale_id)
    if not payment.can_be_paid:
        charge = await provider.create(
            ChargeRequest(payment.id, payment.amount, payment.currency, sale.title, payment.expires_at, account),
        )
        async with transaction(state, now) as work:
            opened = await work.session.exec(
                update(Payment)
                .where(col(Payment.id) == payment.id, col(Payment.state) != PaymentState.CLOSED)
                .values(pay_url=charge.pay_url, pay_params=charge.pay_params, handle=charge.handle)
                .returning(col(Payment.id)),
            )
            closed_meanwhile = opened.first() is None
        if closed_meanwhile:
            # The order ended while the provider was asked. Nobody has seen the address to pay at yet.
            await provider.close(payment.id, charge.handle)
            raise OrderClosed(state=order.state)
        payment.pay_url, payment.pay_params = charge.pay_url, charge.pay_params
    return PaymentPublic(
        payment_id=payment.id,
        order_id=order_id,
        provider=payment.provider,
        state=payment.state,
        amount=payment.amount,
        currency=payment.currency,
        pay_url=payment.pay_url,
        pay_params=payment.pay_params,
        expires_at=payment.expires_at,
    )


async def receive_notice(state: State, provider_name: str, headers: Mapping[str, str], body: bytes) -> None:
    """Act on a provider's notification, once however often it comes.

    Raises `ProviderNotFound`, `SignatureInvalid`, `PaymentNotFound`; then nothing has changed.
    """
    provider = find_provider(state, provider_name)
    now = state.clock()
    notice = provider.parse_notice(headers, body, now)
    if notice is None:
        return
    if notice.refund is not None:
        await _hear_of_refund(state, provider_name, notice, notice.refund, now)
    if notice.charge is None:
        return
    async with transaction(state, now) as work:
        payment = await lock_payment(work.session, notice.charge.payment_id)
        if payment is None or payment.provider != provider_name:
            raise PaymentNotFound
        is_new = await _is_new(work, provider_name, notice, payment.id)
        captured = is_new and await _record_charge(state, work, payment, notice.charge)
    if captured:
        await decide(state, notice.charge.payment_id)


async def _hear_of_refund(
    state: State, provider_name: str, notice: Notice, news: RefundNews, now: datetime
) -> None:
    async with transaction(state, now) as work:
        refund = await work.session.get(Refund, news.refund_id)
        payment = None if refund is None else await work.session.get_one(Payment, refund.payment_id)
        if refund is None or payment is None or payment.provider != provider_name:
            raise PaymentNotFound
        if await _is_new(work, provider_name, notice, payment.id):
            await refunds.hear(work, refund, is_lost=news.is_lost)


async def _is_new(work: Work, provider_name: str, notice: Notice, payment_id: str) -> bool:
    """Whether a message comes for the first time; from now on it does not."""
    first = await work.session.exec(
        work.database.insert_unless_there(Notification, ["provider", "id"])
        .values(provider=provider_name, id=notice.notice_id, payment_id=payment_id, received_at=work.now)
        .returning(col(Notification.id)),
    )
    return first.first() is not None


async def check(state: State, payment_id: str, now: datetime) -> bool:
    """Ask the provider what became of a payment, and close it there when its order needs it no more.

    For notifications that were lost. Returns whether this call was the one to ask.
    """
    async with transaction(state, now) as work:
        claimed = await work.session.exec(
            update(Payment)
            .where(
                col(Payment.id) == payment_id,
                col(Payment.state).in_([PaymentState.CREATED, PaymentState.FAILED]),
                col(Payment.check_at) <= now,
            )
            .values(check_at=now + CHECK_EVERY)
            .returning(Payment)
            .execution_options(synchronize_session=False, populate_existing=True),
        )
        payment = claimed.scalar_one_or_none()
        if payment is None:
            return False
        order = await work.session.get_one(Order, payment.order_id)
        provider = find_provider(state, payment.provider)
    if order.state != OrderState.HELD or payment.expires_at <= now:
        charge = await provider.close(payment_id, payment.handle)
    elif not payment.can_be_paid:
        return True
    else:
        charge = await provider.query(payment_id, payment.handle)
    await _learn(state, charge)
    return True


async def ask(state: State, payment_id: str) -> None:
    """Ask the provider what became of a payment, whatever we believe of it. Raises `ProviderUnavailable`."""
    async with state.database.snapshot() as session:
        payment = await session.get_one(Payment, payment_id)
    await _learn(state, await find_provider(state, payment.provider).query(payment_id, payment.handle))


async def _learn(state: State, charge: Charge) -> None:
    """Write down what the provider answered, and decide where money goes that was captured."""
    async with transaction(state, state.clock()) as work:
        payment = await lock_payment(work.session, charge.payment_id)
        captured = payment is not None and await _record_charge(state, work, payment, charge)
    if captured:
        await decide(state, charge.payment_id)


async def decide(state: State, payment_id: str) -> None:
    """Give a captured payment its seat or its refund. Harmless when that was done before."""
    async with transaction(state, state.clock()) as work:
        payment = await work.session.get_one(Payment, payment_id)
        locked = await lock_order_and_group(work.session, payment.order_id)
        if locked is not None:
            await decide_locked(work, locked[1], payment_id)


async def decide_locked(work: Work, group: Group, payment_id: str) -> None:
    """The decision itself, in a transaction that holds the lock of the payment's group.

    The lock makes two last payers count each other, and a payment and a deadline see each other.
    """
    order_id = (await work.session.exec(select(Payment.order_id).where(Payment.id == payment_id))).one()
    order = await lock_order(work.session, order_id)
    payment = await lock_payment(work.session, payment_id)
    if payment is None or payment.state != PaymentState.CAPTURED or payment.outcome is not None:
        return
    if order is None or payment.captured_at is None:
        raise AssertionError("a captured payment has an order and a time")
    kept = await work.session.exec(
        select(Payment.id).where(Payment.order_id == order.id, Payment.outcome == PaymentOutcome.KEPT),
    )
    reason = decide_capture(
        Capture(
            captured_amount=payment.captured_amount or 0,
            captured_currency=payment.captured_currency or "",
            captured_at=payment.captured_at,
            order_amount=order.amount,
            order_currency=order.currency,
            order_state=order.state,
            order_has_kept_payment=kept.first() is not None,
            group_state=group.state,
            group_deadline_at=group.deadline_at,
        )
    )
    if reason is not None:
        await refunds.promise(work, payment, order, reason)
        return
    await work.session.exec(
        update(Payment).where(col(Payment.id) == payment.id).values(outcome=PaymentOutcome.KEPT),
    )
    paid = await work.advance(
        ORDER_TRANSITIONS,
        order,
        OrderState.PAID,
        paid_at=payment.captured_at,
        changed_at=work.now,
    )
    if paid is None:
        raise AssertionError("a held order under the lock of its group can be paid")
    work.amended.append(paid)
    record_order(work, paid, OrderState.HELD)
    await groups.settle(work, group)
    await causes.note(work, paid.id)


async def _record_charge(state: State, work: Work, payment: Payment, charge: Charge) -> bool:
    """Write down what the provider says of a payment. True when money was captured just now."""
    before = payment.state
    match charge.state:
        case ChargeState.CAPTURED:
            moved = await work.advance(
                PAYMENT_TRANSITIONS,
                payment,
                PaymentState.CAPTURED,
                captured_amount=charge.amount,
                captured_currency=charge.currency,
                captured_at=work.now,
                paid_at=charge.paid_at or work.now,
                provider_ref=charge.reference,
            )
            if charge.payer is not None:
                order = await work.session.get_one(Order, payment.order_id)
                await mark(state, work, order.member_id, MarkKind.PAYER, f"{payment.provider} {charge.payer}")
        case ChargeState.FAILED:
            moved = await work.advance(PAYMENT_TRANSITIONS, payment, PaymentState.FAILED)
        case ChargeState.CLOSED:
            moved = await work.advance(PAYMENT_TRANSITIONS, payment, PaymentState.CLOSED)
        case ChargeState.PENDING:
            return False
    if moved is None:
        return False
    await _record(work, moved, before)
    return moved.state == PaymentState.CAPTURED


def _check_payable(order: Order, now: datetime) -> None:
    if order.state not in ACTIVE_ORDER_STATES or (order.state == OrderState.HELD and order.hold_expires_at <= now):
        raise OrderClosed(state=order.state)
    if order.state != OrderState.HELD:
        raise OrderNotHeld(state=order.state)


async def _payer_account(work: Work, provider: PaymentProvider, order: Order) -> str | None:
    """Whom the provider is told to charge; None when it does not want to know. Raises `CurrencyNotTaken`,
    `PayerUnknown`.
    """
    if not provider.takes(order.currency):
        raise CurrencyNotTaken(currency=order.currency)
    if provider.payer_identity is None:
        return None
    account = await identities.find_subject(work, provider.payer_identity, order.member_id)
    if account is None:
        raise PayerUnknown(identity=provider.payer_identity)
    return account


async def _add_payment(work: Work, order: Order, provider_name: str, request_key: str) -> Payment:
    _check_payable(order, work.now)
    running = await work.session.exec(
        select(func.count()).where(
            Payment.order_id == order.id,
            col(Payment.state).in_([PaymentState.CREATED, PaymentState.FAILED]),
        ),
    )
    if running.one() >= MAX_OPEN_PAYMENTS:
        raise TooManyPayments(limit=MAX_OPEN_PAYMENTS)
    payment = Payment(
        order_id=order.id,
        provider=provider_name,
        amount=order.amount,
        currency=order.currency,
        state=PaymentState.CREATED,
        expires_at=order.hold_expires_at,
        check_at=work.now + CHECK_EVERY,
        created_at=work.now,
        request_key=request_key,
    )
    work.session.add(payment)
    await work.session.flush()
    await _record(work, payment, None)
    return payment


async def _record(work: Work, payment: Payment, before: PaymentState | None) -> None:
    order = await work.session.get_one(Order, payment.order_id)
    work.record(
        f"payment.{payment.state}",
        payment.id,
        states=(before, payment.state),
        sale_id=order.sale_id,
        member_id=order.member_id,
        order_id=order.id,
        amount=payment.captured_amount or payment.amount,
    )


async def _find_payment(work: Work, order_id: str, request_key: str) -> Payment | None:
    found = await work.session.exec(
        select(Payment).where(Payment.order_id == order_id, Payment.request_key == request_key),
    )
    return found.one_or_none()
