"""Give back the places of orders that were not paid in time."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.orders import OrderState
from app.models import Order
from app.services.deadlines import expire_hold
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many orders expired."""
    due = (
        select(Order.id)
        .where(Order.state == OrderState.HELD, Order.hold_expires_at <= now)
        .order_by(col(Order.hold_expires_at))
    )
    return await work_through(state, now, due, expire_hold)
