"""Draw sales when their time comes, and serve the lines: call, make orders, see what became of them."""

from datetime import datetime

from sqlmodel import and_, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.entries import IN_LINE_STATES, EntryState
from app.domain.orders import OrderState
from app.domain.sales import Allocation, SaleState
from app.models import Entry, Order, Sale
from app.services.draws import draw_due
from app.services.lines import ORDER_OF_ENTRY, call, serve, settle, tell
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns how many sales were drawn, entries settled, and lines served."""
    drawing = select(Sale.id).where(
        Sale.allocation == Allocation.DRAW,
        col(Sale.drawn_at).is_(None),
        col(Sale.draws_at) <= now,
        col(Sale.state).not_in([SaleState.DRAFT, SaleState.ENDED]),
    )
    ordered = (
        select(Entry.id)
        .join(Order, ORDER_OF_ENTRY)
        .where(
            or_(
                col(Entry.state) == EntryState.CALLED,
                # Who was called and has to wait on: their order may have been under way.
                and_(col(Entry.state) == EntryState.WAITING, col(Entry.changed_at) > col(Entry.created_at)),
                and_(col(Entry.state) == EntryState.OFFERED, col(Order.state) != OrderState.HELD),
            )
        )
        .order_by(col(Entry.id))
    )
    waiting = _sales_with(*IN_LINE_STATES).where(
        Sale.state != SaleState.ENDED,
        or_(Sale.allocation == Allocation.FASTEST, col(Sale.drawn_at).is_not(None)),
    )
    done = await work_through(state, now, drawing, draw_due)
    done += await work_through(state, now, ordered, settle)
    done += await work_through(state, now, waiting, call)
    done += await work_through(state, now, _sales_with(EntryState.CALLED), serve)
    await work_through(state, now, waiting, tell)
    return done


def _sales_with(*states: EntryState) -> SelectOfScalar[str]:
    there = select(Entry.id).where(Entry.sale_id == Sale.id, col(Entry.state).in_(states)).exists()
    return select(Sale.id).where(there)
