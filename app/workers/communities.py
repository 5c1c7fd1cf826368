"""Dissolve flash communities whose time has come, and wind up those that dissolved."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.communities import CommunityState
from app.models import Community
from app.services.dissolving import dissolve_due, wind_up
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns for how many something was done."""
    due = (
        select(Community.id)
        .where(
            col(Community.closes_at).is_not(None),
            col(Community.closes_at) <= now,
            Community.state != CommunityState.DISSOLVED,
        )
        .order_by(col(Community.closes_at))
    )
    winding_up = (
        select(Community.id)
        .where(Community.state == CommunityState.DISSOLVED, col(Community.wound_up_at).is_(None))
        .order_by(col(Community.id))
    )
    return await work_through(state, now, due, dissolve_due) + await work_through(state, now, winding_up, wind_up)
