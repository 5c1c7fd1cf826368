"""Submit payouts until the provider has said its last word."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.payouts import PayoutState
from app.models import Payout
from app.services.payouts import submit
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many payouts were tried."""
    due = (
        select(Payout.id)
        .where(col(Payout.state).in_([PayoutState.READY, PayoutState.SUBMITTED]), Payout.due_at <= now)
        .order_by(col(Payout.due_at))
    )
    return await work_through(state, now, due, submit)
