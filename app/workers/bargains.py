"""End bargains that were not bought in time."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.bargains import BUYABLE_STATES
from app.models import Bargain
from app.services.bargains import expire
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many bargains expired."""
    due = (
        select(Bargain.id)
        .where(col(Bargain.state).in_(BUYABLE_STATES), Bargain.deadline_at <= now)
        .order_by(col(Bargain.deadline_at))
    )
    return await work_through(state, now, due, expire)
