"""Do and answer what was said in chats."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.messages import MessageState
from app.models import Message
from app.services.conversations import work_on
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns in how many chats something was answered."""
    due = (
        select(Message.binding_id)
        .where(Message.state == MessageState.RECEIVED)
        .group_by(col(Message.binding_id))
        .order_by(col(Message.binding_id))
    )
    return await work_through(state, now, due, work_on)
