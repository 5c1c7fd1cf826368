"""Forget what chats remember no longer, and what was written in communities that are dissolved and keep nothing."""

from datetime import datetime

from app.services.memories import forget_due
from app.state import State


async def run_once(state: State, now: datetime) -> int:
    """Returns how many posts and comments were forgotten."""
    return await forget_due(state, now)
