"""Sweep what erased members left behind."""

from datetime import datetime

from sqlmodel import col, select

from app.models import Member
from app.services.erased import learn
from app.services.erasure import sweep
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many were swept."""
    await learn(state)
    due = select(Member.id).where(col(Member.sweep_at) <= now).order_by(col(Member.sweep_at))
    return await work_through(state, now, due, sweep, at_once=1)
