"""End bargains that were not bought in time, and those of sales that have ended."""

from datetime import datetime

from sqlalchemy import or_
from sqlmodel import col, select

from app.domain.bargains import BUYABLE_STATES
from app.domain.sales import SaleState
from app.models import Bargain, Sale
from app.services.bargains import expire
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many bargains expired."""
    due = (
        select(Bargain.id)
        .join(Sale, col(Sale.id) == Bargain.sale_id)
        .where(
            col(Bargain.state).in_(BUYABLE_STATES),
            or_(col(Bargain.deadline_at) <= now, col(Sale.state) == SaleState.ENDED),
        )
        .order_by(col(Bargain.deadline_at))
    )
    return await work_through(state, now, due, expire)
