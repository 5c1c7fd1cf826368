"""Tell members what their communities send, and in the evening what there was no place for."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.pushes import DUE_STATES
from app.models import Push
from app.services.digests import send_digests
from app.services.pushes import deliver
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many pushes were told, and to how many members a digest was due."""
    due = select(Push.id).where(col(Push.state).in_(DUE_STATES), Push.sends_at <= now).order_by(col(Push.sends_at))
    return await work_through(state, now, due, deliver) + await send_digests(state, now)
