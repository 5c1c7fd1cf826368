"""Notice what chats have to hear of, and say what is to be said in them."""

from datetime import datetime

from app.services.announcements import follow
from app.services.robots import speak, with_something_to_say
from app.state import State
from app.workers.due import work_through

AT_ONCE = 20
"""Platforms may take ten seconds to answer."""


async def run_once(state: State, now: datetime) -> int:
    """Returns how many events were looked at, and how many robots said something."""
    return await follow(state, now) + await work_through(state, now, with_something_to_say(now), speak, AT_ONCE)
