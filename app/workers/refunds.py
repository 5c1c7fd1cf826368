"""Pursue refunds until they succeed."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.refunds import RefundState
from app.models import Refund
from app.services.refunds import submit
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many refunds were tried."""
    due = (
        select(Refund.id)
        .where(Refund.state != RefundState.SUCCEEDED, Refund.due_at <= now)
        .order_by(col(Refund.due_at))
    )
    return await work_through(state, now, due, submit)
