"""Count what is known of members whose orders were paid or refunded."""

from datetime import datetime

from app.services.facts import count_orders, fill_buckets
from app.state import State


async def run_once(state: State, now: datetime) -> int:
    """Returns how many orders were counted, and how many rows got their bucket."""
    return await count_orders(state, now) + await fill_buckets(state, now)
