"""Tell members before a sale opens, as they wished."""

from datetime import datetime

from sqlmodel import col, select

from app.models import Reminder
from app.services.reminders import tell_due
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns of how many sales somebody was told."""
    due = select(Reminder.sale_id).where(col(Reminder.told_at).is_(None), Reminder.remind_at <= now).distinct()
    return await work_through(state, now, due, tell_due)
