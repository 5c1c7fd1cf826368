"""The sandbox cashier's side: a little payment provider with its own books and its own misbehaviour.

It answers the service only over HTTP and tells it what happened only by signed notifications.
"""

import json
import logging
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Any

import httpx
from sqlalchemy import delete, func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import PaymentClosed, PaymentNotFound, ProviderUnavailable
from app.gateways.payments import signing
from app.gateways.payments.provider import ChargeState
from app.models import SandboxCallback, SandboxCharge, SandboxPayout, SandboxRefund, new_id
from app.schemas.sandbox import (
    ChargeAnswer,
    ChargeCreate,
    Pay,
    PayoutAnswer,
    PayoutCreate,
    RefundAnswer,
    RefundCreate,
)
from app.state import State

log = logging.getLogger(__name__)
GIVE_UP_ATTEMPTS = 10
REFUSE = "refuse"
"""The account that payouts are refused to."""
PENDING, PAID, CLOSED, REFUSED = "pending", "paid", "closed", "refused"


async def create_charge(state: State, body: ChargeCreate) -> ChargeAnswer:
    """Open a charge, or answer with the one of that id."""
    async with state.database.transaction() as session:
        await session.exec(
            state.database.insert_unless_there(SandboxCharge, ["id"]).values(
                **body.model_dump(),
                token=token_urlsafe(18),
                state=PENDING,
                refund_failures=0,
                created_at=state.clock(),
            ),
        )
        return _answer(state, await _get(session, body.id))


async def query_charge(state: State, charge_id: str) -> ChargeAnswer:
    """Raises `PaymentNotFound`."""
    async with state.database.snapshot() as session:
        return _answer(state, await _get(session, charge_id))


async def close_charge(state: State, charge_id: str) -> ChargeAnswer:
    """Let nobody pay a charge any more; a paid one stays paid. Raises `PaymentNotFound`."""
    async with state.database.transaction() as session:
        await session.exec(
            update(SandboxCharge)
            .where(col(SandboxCharge.id) == charge_id, col(SandboxCharge.state) == PENDING)
            .values(state=CLOSED),
        )
        charge = await _get(session, charge_id)
        await session.refresh(charge)
    return _answer(state, charge)


async def find_by_token(state: State, token: str) -> SandboxCharge:
    """The charge of a page to pay on. Raises `PaymentNotFound`."""
    async with state.database.snapshot() as session:
        found = await session.exec(select(SandboxCharge).where(SandboxCharge.token == token))
        charge = found.one_or_none()
    if charge is None:
        raise PaymentNotFound
    return charge


async def pay(state: State, token: str, wish: Pay) -> ChargeAnswer:
    """Pay a charge, behaving as the payer wishes. Raises `PaymentNotFound`, and `PaymentClosed` for a charge
    that was paid, closed or has expired.
    """
    now = state.clock()
    charge = await find_by_token(state, token)
    settles_at = now + timedelta(seconds=wish.delay_seconds)
    async with state.database.transaction() as session:
        if wish.refuse:
            _notify(session, charge, ChargeState.FAILED, due_at=settles_at)
            return _answer(state, charge)
        paid = await session.exec(
            update(SandboxCharge)
            .where(
                col(SandboxCharge.id) == charge.id,
                col(SandboxCharge.state) == PENDING,
                col(SandboxCharge.expires_at) > now,
            )
            .values(
                state=PAID,
                paid_amount=wish.amount or charge.amount,
                settles_at=settles_at,
                payer=wish.payer,
                refund_failures=wish.refund_failures,
            )
            .returning(SandboxCharge)
            .execution_options(populate_existing=True, synchronize_session=False),
        )
        row = paid.scalar_one_or_none()
        if row is None:
            raise PaymentClosed
        if not wish.drop:
            for copy in range(1 + wish.duplicates):
                # Every second copy pretends to be another message.
                notice_id = f"ntf_{row.id}_{copy % 2 and copy}"
                _notify(session, row, ChargeState.CAPTURED, due_at=settles_at, notice_id=notice_id)
        if wish.reorder:
            # A first try that failed, told only after the second one that succeeded.
            _notify(session, row, ChargeState.FAILED, due_at=settles_at + timedelta(seconds=1))
    return _answer(state, row)


async def refund(state: State, body: RefundCreate) -> RefundAnswer:
    """Give money of a paid charge back; the same id once. Raises `PaymentNotFound`, `PaymentClosed` when there
    is not that much left, `ProviderUnavailable` while the charge is set to fail its refunds.
    """
    async with state.database.transaction() as session:
        charge = await _get(session, body.charge_id)
        if await session.get(SandboxRefund, body.id) is not None:
            return RefundAnswer(id=body.id, reference=f"sandbox-{body.id}")
        failing = await session.exec(
            update(SandboxCharge)
            .where(col(SandboxCharge.id) == charge.id, col(SandboxCharge.refund_failures) > 0)
            .values(refund_failures=SandboxCharge.refund_failures - 1)
            .returning(col(SandboxCharge.id)),
        )
        fails = failing.first() is not None
        if not fails:
            given = await session.exec(
                select(func.coalesce(func.sum(SandboxRefund.amount), 0)).where(
                    SandboxRefund.charge_id == charge.id,
                ),
            )
            if _state(state, charge) != ChargeState.CAPTURED or given.one() + body.amount > (
                charge.paid_amount or 0
            ):
                raise PaymentClosed
            session.add(
                SandboxRefund(id=body.id, charge_id=charge.id, amount=body.amount, created_at=state.clock()),
            )
    if fails:
        raise ProviderUnavailable
    return RefundAnswer(id=body.id, reference=f"sandbox-{body.id}")


async def query_refund(state: State, refund_id: str) -> RefundAnswer:
    """Whether a refund was made."""
    async with state.database.snapshot() as session:
        found = await session.get(SandboxRefund, refund_id)
    return RefundAnswer(id=refund_id, reference=None if found is None else f"sandbox-{refund_id}")


async def pay_out(state: State, body: PayoutCreate) -> PayoutAnswer:
    """Send money, once for an id; the account `refuse` gets none. Raises `ProviderUnavailable`, for the account
    `fail-3` the first three times.
    """
    async with state.database.transaction() as session:
        await session.exec(
            state.database.insert_unless_there(SandboxPayout, ["id"]).values(
                **body.model_dump(), state=PENDING, attempts=0, created_at=state.clock()
            ),
        )
        tried = await session.exec(
            update(SandboxPayout)
            .where(col(SandboxPayout.id) == body.id)
            .values(attempts=SandboxPayout.attempts + 1)
            .returning(col(SandboxPayout.attempts), col(SandboxPayout.account)),
        )
        attempts, account = tried.one()
        failures = account.partition("fail-")[2]
        fails = failures.isdecimal() and attempts <= int(failures)
        outcome = PENDING if fails else REFUSED if account == REFUSE else PAID
        await session.exec(
            update(SandboxPayout).where(col(SandboxPayout.id) == body.id).values(state=outcome),
        )
    if fails:
        raise ProviderUnavailable
    return PayoutAnswer(id=body.id, reference=None if outcome == REFUSED else f"sandbox-{body.id}")


async def deliver(state: State, callback_id: int, now: datetime) -> bool:
    """Send one due notification, signed, over HTTP; again later when it is not accepted.

    Returns whether this call was the one to send it.
    """
    async with state.database.transaction() as session:
        claimed = await session.exec(
            update(SandboxCallback)
            .where(col(SandboxCallback.id) == callback_id, col(SandboxCallback.due_at) <= now)
            .values(attempts=SandboxCallback.attempts + 1, due_at=now + timedelta(seconds=30))
            .returning(SandboxCallback)
            .execution_options(populate_existing=True, synchronize_session=False),
        )
        callback = claimed.scalar_one_or_none()
    if callback is None:
        return False
    body = callback.body.encode()
    headers = signing.sign(signing.cashier_key(state.settings), body, state.clock())
    try:
        reply = await state.http.post(
            callback.url,
            content=body,
            headers=headers | {"content-type": "application/json"},
        )
        accepted = reply.is_success
    except httpx.HTTPError as error:
        log.info("sandbox: notification %s not delivered: %r", callback_id, error)
        accepted = False
    again = now + timedelta(seconds=min(2**callback.attempts, 60))
    async with state.database.transaction() as session:
        if accepted or callback.attempts >= GIVE_UP_ATTEMPTS:  # it is not kept: it names the payer
            await session.exec(delete(SandboxCallback).where(col(SandboxCallback.id) == callback_id))
        else:
            await session.exec(
                update(SandboxCallback).where(col(SandboxCallback.id) == callback_id).values(due_at=again),
            )
    return True


def _notify(
    session: AsyncSession,
    charge: SandboxCharge,
    charge_state: ChargeState,
    *,
    due_at: datetime,
    notice_id: str | None = None,
) -> None:
    captured = charge_state == ChargeState.CAPTURED
    body: dict[str, Any] = {
        "id": notice_id or new_id("ntf"),
        "payment_id": charge.id,
        "state": charge_state,
        "amount": charge.paid_amount if captured else None,
        "currency": charge.currency if captured else None,
        "reference": f"sandbox-{charge.id}" if captured else None,
        "payer": charge.payer if captured else None,
    }
    session.add(SandboxCallback(url=charge.notify_url, body=json.dumps(body), due_at=due_at))


async def _get(session: AsyncSession, charge_id: str) -> SandboxCharge:
    charge = await session.get(SandboxCharge, charge_id)
    if charge is None:
        raise PaymentNotFound
    return charge


def _state(state: State, charge: SandboxCharge) -> ChargeState:
    if charge.state == PAID:
        settled = charge.settles_at is not None and charge.settles_at <= state.clock()
        return ChargeState.CAPTURED if settled else ChargeState.PENDING
    return ChargeState.CLOSED if charge.state == CLOSED else ChargeState.PENDING


def _answer(state: State, charge: SandboxCharge) -> ChargeAnswer:
    shown = _state(state, charge)
    captured = shown == ChargeState.CAPTURED
    return ChargeAnswer(
        id=charge.id,
        state=shown,
        pay_url=f"{state.settings.public_url.rstrip('/')}/sandbox/pay/{charge.token}",
        amount=charge.paid_amount if captured else None,
        currency=charge.currency if captured else None,
        reference=f"sandbox-{charge.id}" if captured else None,
        payer=charge.payer if captured else None,
    )
