"""Pay rewards into balances when the refund window of their order is over."""

from datetime import datetime

from sqlmodel import col, or_, select

from app.domain.rewards import CONFIRMED_STATES, RewardState
from app.models import Order, Reward
from app.services.rewards import mature
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns for how many something changed. One at a time: they wait for each other anyway."""
    due = (
        select(Reward.id)
        .join(Order, col(Order.id) == Reward.order_id)
        .where(
            Reward.state == RewardState.PENDING,
            col(Order.state).in_(CONFIRMED_STATES),
            or_(col(Reward.mature_at).is_(None), col(Reward.mature_at) <= now),
        )
        .order_by(col(Reward.id))
    )
    return await work_through(state, now, due, mature, at_once=1)
