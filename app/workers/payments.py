"""Decide captures that were left undecided, and ask providers about payments nothing was heard of."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.payments import PaymentState
from app.models import Payment
from app.services.payments import check, decide
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many payments were decided or asked about."""
    undecided = (
        select(Payment.id)
        .where(Payment.state == PaymentState.CAPTURED, col(Payment.outcome).is_(None))
        .order_by(col(Payment.captured_at))
    )
    silent = (
        select(Payment.id)
        .where(col(Payment.state).in_([PaymentState.CREATED, PaymentState.FAILED]), Payment.check_at <= now)
        .order_by(col(Payment.check_at))
    )
    return await work_through(state, now, undecided, _decide) + await work_through(state, now, silent, check)


async def _decide(state: State, payment_id: str, _now: datetime) -> bool:
    await decide(state, payment_id)
    return True
