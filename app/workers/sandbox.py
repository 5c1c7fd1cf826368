"""Deliver the sandbox cashier's notifications."""

from datetime import datetime

from sqlmodel import col, select

from app.models import SandboxCallback
from app.services.sandbox import deliver
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many notifications were sent."""
    due = (
        select(SandboxCallback.id)
        .where(col(SandboxCallback.due_at) <= now)
        .order_by(col(SandboxCallback.due_at), col(SandboxCallback.id))
    )
    return await work_through(state, now, due, deliver)
