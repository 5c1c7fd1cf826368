"""Compare every day that is over with the providers' bills."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.reconciliations import ReconciliationState
from app.models import Reconciliation
from app.services.reconciliations import find_missing, reconcile
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many days were compared, or tried."""
    await find_missing(state, now)
    due = (
        select(Reconciliation.id)
        .where(Reconciliation.state == ReconciliationState.WAITING, Reconciliation.due_at <= now)
        .order_by(col(Reconciliation.due_at))
    )
    return await work_through(state, now, due, reconcile, at_once=1)
