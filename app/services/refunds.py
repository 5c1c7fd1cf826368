"""Money on its way back: promised in the transaction that finds the reason, pursued until it arrives."""

import logging
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import col, select

from app.domain.errors import ProviderUnavailable
from app.domain.notices import NoticeKind, Wording
from app.domain.orders import ORDER_TRANSITIONS, OrderState
from app.domain.payments import PaymentOutcome, RefundReason
from app.domain.refunds import (
    ATTENTION_ATTEMPTS,
    OVERDUE_ATTEMPTS,
    REFUND_TRANSITIONS,
    RefundState,
    retry_delay,
)
from app.gateways.payments.provider import RefundAnswer, RefundRequest
from app.models import Order, Payment, Refund
from app.services import causes
from app.services.locks import lock_order
from app.services.notices import notify
from app.services.places import record_order
from app.services.transactions import Work, transaction
from app.state import State

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=30)
"""How long a submitted refund is left to the worker that submitted it."""
BEGUN = {RefundReason.GROUP_FAILED: Wording.GROUP_FAILED, RefundReason.GAP: Wording.GAP_BEGUN}
"""What a member is told of a refund, where the reason says more than that there is one."""


async def promise(work: Work, payment: Payment, order: Order, reason: RefundReason) -> None:
    """Create the refund of all of a captured payment, in the transaction at hand."""
    await _promise(work, payment, order, reason, payment.captured_amount or 0, PaymentOutcome.REFUNDED)


async def promise_kept(work: Work, order: Order, reason: RefundReason) -> None:
    """Create the refund of the payment that a paid order keeps: of what has not gone back before."""
    kept = await _kept(work, order)
    amount = (kept.captured_amount or 0) - kept.refunded_amount
    await _promise(work, kept, order, reason, amount, PaymentOutcome.REFUNDED)


async def promise_gap(work: Work, order: Order, amount: int) -> None:
    """Create the refund of the part of its payment that an order turned out not to cost; the rest is kept."""
    await _promise(work, await _kept(work, order), order, RefundReason.GAP, amount, PaymentOutcome.KEPT)


async def _kept(work: Work, order: Order) -> Payment:
    kept = await work.session.exec(
        select(Payment).where(Payment.order_id == order.id, Payment.outcome == PaymentOutcome.KEPT),
    )
    return kept.one()


async def _promise(
    work: Work, payment: Payment, order: Order, reason: RefundReason, amount: int, outcome: PaymentOutcome
) -> None:
    """The payment's CHECK refuses a promise beyond what was captured; the refund's key refuses a second one for
    the same reason.
    """
    await work.session.exec(
        update(Payment)
        .where(col(Payment.id) == payment.id)
        .values(outcome=outcome, refunded_amount=Payment.refunded_amount + amount)
        .execution_options(synchronize_session=False),
    )
    refund = Refund(
        payment_id=payment.id,
        order_id=order.id,
        amount=amount,
        currency=payment.captured_currency or payment.currency,
        reason=reason,
        state=RefundState.CREATED,
        due_at=work.now,
        created_at=work.now,
    )
    work.session.add(refund)
    await work.session.flush()
    _record(work, refund, order, None)
    wording = BEGUN.get(reason, Wording.REFUND_BEGUN)
    notify(work, [order.member_id], NoticeKind.REFUND, wording, subject_id=order.id)
    if order.paid_at is not None:
        await causes.note(work, order.id)


async def submit(state: State, refund_id: str, now: datetime) -> bool:
    """Ask the provider for one due refund. Repeating it is harmless: the provider knows the refund's id.

    Returns whether this call was the one to ask.
    """
    async with transaction(state, now) as work:
        refund = await work.session.get_one(Refund, refund_id)
        order = await work.session.get_one(Order, refund.order_id)
        before = refund.state
        claimed = await work.session.exec(
            update(Refund)
            .where(
                col(Refund.id) == refund_id,
                col(Refund.state) != RefundState.SUCCEEDED,
                col(Refund.due_at) <= now,
            )
            .values(state=RefundState.SUBMITTED, attempts=Refund.attempts + 1, due_at=now + LEASE)
            .returning(Refund)
            .execution_options(synchronize_session=False, populate_existing=True),
        )
        submitted = claimed.scalar_one_or_none()
        if submitted is None:
            return False
        if before != RefundState.SUBMITTED:
            _record(work, submitted, order, before)
        payment = await work.session.get_one(Payment, submitted.payment_id)
    try:
        answer = await state.providers[payment.provider].refund(request_of(submitted, payment))
    except (ProviderUnavailable, KeyError) as error:  # KeyError: the provider is not configured any more
        await _fail(state, submitted, order, str(error.__cause__ or repr(error)).partition("\n")[0])
    else:
        await (_succeed if answer.is_done else _wait)(state, submitted, order, answer)
    return True


def request_of(refund: Refund, payment: Payment) -> RefundRequest:
    """What the provider is asked for, or about."""
    return RefundRequest(
        refund.id,
        refund.payment_id,
        refund.amount,
        refund.currency,
        total=payment.captured_amount or payment.amount,
        reference=payment.provider_ref,
    )


async def hear(work: Work, refund: Refund, *, is_lost: bool) -> None:
    """Something became of a refund, the provider says: a worker asks at once what. Operators are told of money
    that came back after it had arrived.
    """
    if refund.state == RefundState.SUCCEEDED and is_lost:
        work.record("refund.needs_attention", refund.id, payment_id=refund.payment_id, amount=refund.amount)
    await work.session.exec(
        update(Refund)
        .where(col(Refund.id) == refund.id, col(Refund.state) != RefundState.SUCCEEDED)
        .values(due_at=work.now)
        .execution_options(synchronize_session=False),
    )


async def _wait(state: State, refund: Refund, order: Order, answer: RefundAnswer) -> None:
    """The money is on its way: ask again later, unless the provider tells us before. Operators are told when it
    takes too long.
    """
    now = state.clock()
    async with transaction(state, now) as work:
        await work.session.exec(
            update(Refund)
            .where(
                col(Refund.id) == refund.id,
                col(Refund.state) == RefundState.SUBMITTED,
                col(Refund.due_at) == refund.due_at,  # otherwise we were told meanwhile
            )
            .values(due_at=now + retry_delay(refund.attempts), provider_ref=answer.reference, last_error=None)
            .execution_options(synchronize_session=False),
        )
        if refund.attempts == OVERDUE_ATTEMPTS:
            _ask_for_attention(work, refund, order)


async def _succeed(state: State, refund: Refund, order: Order, answer: RefundAnswer) -> None:
    now = state.clock()
    async with transaction(state, now) as work:
        # Two refunds of one order that succeed at once must see each other: the later one ends the order.
        await lock_order(work.session, order.id)
        moved = await work.advance(
            REFUND_TRANSITIONS,
            refund,
            RefundState.SUCCEEDED,
            succeeded_at=now,
            accepted_at=answer.accepted_at or now,
            provider_ref=answer.reference,
            last_error=None,
        )
        if moved is None:
            return
        _record(work, moved, order, RefundState.SUBMITTED)
        notify(work, [order.member_id], NoticeKind.REFUND, Wording.REFUNDED, subject_id=order.id)
        open_refunds = await work.session.exec(
            select(Refund.id).where(Refund.order_id == order.id, Refund.state != RefundState.SUCCEEDED),
        )
        if open_refunds.first() is None:
            refunded = await work.advance(ORDER_TRANSITIONS, order, OrderState.REFUNDED, changed_at=now)
            if refunded is not None:
                record_order(work, refunded, OrderState.REFUNDING)


async def _fail(state: State, refund: Refund, order: Order, error: str) -> None:
    now = state.clock()
    log.warning("refund %s: attempt %d failed: %s", refund.id, refund.attempts, error)
    async with transaction(state, now) as work:
        moved = await work.advance(
            REFUND_TRANSITIONS,
            refund,
            RefundState.FAILED,
            due_at=now + retry_delay(refund.attempts),
            last_error=error[:200],
        )
        if moved is None:
            return
        _record(work, moved, order, RefundState.SUBMITTED)
        # One that was on its way for so long has failed after all.
        late = moved.attempts > ATTENTION_ATTEMPTS and refund.last_error is None
        if late or moved.attempts == ATTENTION_ATTEMPTS:
            _ask_for_attention(work, moved, order)


def _ask_for_attention(work: Work, refund: Refund, order: Order) -> None:
    work.record("refund.needs_attention", refund.id, sale_id=order.sale_id, attempts=refund.attempts)


def _record(work: Work, refund: Refund, order: Order, before: RefundState | None) -> None:
    work.record(
        f"refund.{refund.state}",
        refund.id,
        states=(before, refund.state),
        sale_id=order.sale_id,
        member_id=order.member_id,
        order_id=order.id,
        payment_id=refund.payment_id,
        amount=refund.amount,
        reason=refund.reason,
    )
