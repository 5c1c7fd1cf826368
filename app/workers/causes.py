"""Look at orders that were paid or refunded: who brought the buyer, and what follows."""

from datetime import datetime

from sqlmodel import col, select

from app.models import Cause
from app.services.causes import dismiss, handle
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many were looked at. One at a time: they wait for each other anyway."""
    dismissed = await dismiss(state, now)
    due = select(Cause.order_id).where(col(Cause.handled) < Cause.version).order_by(col(Cause.order_id))
    return dismissed + await work_through(state, now, due, handle, at_once=1)
