"""Go along the feed for every endpoint, and line up what it is to be sent."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.endpoints import EndpointState
from app.models import Endpoint
from app.services.deliveries import line_up
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns for how many endpoints there was something to look at."""
    active = select(Endpoint.id).where(Endpoint.state == EndpointState.ACTIVE).order_by(col(Endpoint.cursor))
    return await work_through(state, now, active, line_up)
