"""Open and close sales when their time comes."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.sales import SaleState
from app.models import Sale
from app.services.sales import close_due, open_due
from app.state import State
from app.workers.due import work_through

RUNNING = [SaleState.SCHEDULED, SaleState.LIVE, SaleState.PAUSED]


async def run_once(state: State, now: datetime) -> int:
    """Returns how many sales changed their state."""
    opening = select(Sale.id).where(Sale.state == SaleState.SCHEDULED, Sale.opens_at <= now)
    closing = select(Sale.id).where(col(Sale.state).in_(RUNNING), Sale.closes_at <= now)
    return await work_through(state, now, opening, open_due) + await work_through(state, now, closing, close_due)
