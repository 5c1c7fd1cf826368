"""Clear what was kept for a time only."""

from datetime import datetime

from app.services.retention import clear
from app.state import State


async def run_once(state: State, now: datetime) -> int:
    """Returns how many rows were deleted or blanked."""
    return await clear(state, now)
