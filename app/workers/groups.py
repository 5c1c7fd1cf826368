"""Fail groups that were not full and paid in time."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.groups import GroupState
from app.models import Group
from app.services.deadlines import expire_group
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many groups failed."""
    due = (
        select(Group.id)
        .where(col(Group.state).in_([GroupState.OPEN, GroupState.FILLED]), Group.deadline_at <= now)
        .order_by(col(Group.deadline_at))
    )
    return await work_through(state, now, due, expire_group)
