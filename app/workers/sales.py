"""Open and close sales when their time comes, and end the groups that were opened while a sale ended."""

from datetime import datetime

from sqlmodel import col, select

from app.domain.groups import FINAL_GROUP_STATES
from app.domain.sales import SaleKind, SaleState
from app.models import Group, Sale
from app.services.sales import close_due, end_groups_due, open_due
from app.state import State
from app.workers.due import work_through

RUNNING = [SaleState.SCHEDULED, SaleState.LIVE, SaleState.PAUSED]


async def run_once(state: State, now: datetime) -> int:
    """Returns how many sales changed their state."""
    opening = select(Sale.id).where(Sale.state == SaleState.SCHEDULED, Sale.opens_at <= now)
    closing = select(Sale.id).where(col(Sale.state).in_(RUNNING), Sale.closes_at <= now)
    outliving = (
        select(Group.sale_id)
        .join(Sale, col(Sale.id) == Group.sale_id)
        .where(
            col(Group.state).not_in(FINAL_GROUP_STATES),
            Group.deadline_at > now,
            Sale.state == SaleState.ENDED,
            Sale.kind == SaleKind.GROUP,
        )
        .distinct()
    )
    return (
        await work_through(state, now, opening, open_due)
        + await work_through(state, now, closing, close_due)
        + await work_through(state, now, outliving, end_groups_due)
    )
