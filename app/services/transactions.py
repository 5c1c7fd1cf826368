"""A unit of work: one transaction, the events it caused, and what must be told once it is committed."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import update
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import DealerUnavailable
from app.domain.machines import Table, sources
from app.gateways.database import Database
from app.models import Event, Group, Notice, Order
from app.services.terms import forget_coupon
from app.state import State

log = logging.getLogger(__name__)
Row = TypeVar("Row", bound=SQLModel)


@dataclass(slots=True)
class Work:
    """What a use case does in one transaction."""

    session: AsyncSession
    now: datetime
    database: Database
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    freed: list[Order] = field(default_factory=list)
    amended: list[Order] = field(default_factory=list)
    """Orders that were paid, moved, or left with fewer units."""
    closed: list[Group] = field(default_factory=list)
    extended: list[Group] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)

    def record(
        self,
        type_: str,
        subject: str,
        *,
        states: tuple[StrEnum | None, StrEnum | None] = (None, None),
        sale_id: str | None = None,
        group_id: str | None = None,
        bargain_id: str | None = None,
        member_id: str | None = None,
        community_id: str | None = None,
        **data: Any,
    ) -> None:
        """Write an event in this transaction; the arguments of `event_values`."""
        links = {"sale_id": sale_id, "group_id": group_id, "bargain_id": bargain_id, "member_id": member_id}
        values = event_values(type_, subject, self.now, states=states, **links, **data)
        self.events.append(Event(**values, community_id=community_id))

    async def advance(self, table: Table[Any], row: Row, target: StrEnum, **values: Any) -> Row | None:
        """Compare and set: move a row to `target` if the table allows it from the state it is in now.

        Returns the row as it then is, or None when it was in no such state and nothing changed.
        """
        model: Any = type(row)
        found = await self.session.exec(
            update(model)
            .where(model.id == row.id, model.state.in_(sources(table, target)))  # type: ignore[attr-defined]
            .values(state=target, **values)
            .returning(model)
            .execution_options(synchronize_session=False, populate_existing=True),
        )
        moved: Row | None = found.scalar_one_or_none()
        return moved


def event_values(
    type_: str,
    subject: str,
    now: datetime,
    *,
    states: tuple[StrEnum | None, StrEnum | None] = (None, None),
    sale_id: str | None = None,
    group_id: str | None = None,
    bargain_id: str | None = None,
    member_id: str | None = None,
    **data: Any,
) -> dict[str, Any]:
    """The values of an event's row. `states` are before and after, for a change of state."""
    return {
        "type": type_,
        "subject": subject,
        "from_state": states[0],
        "to_state": states[1],
        "sale_id": sale_id,
        "group_id": group_id,
        "bargain_id": bargain_id,
        "member_id": member_id,
        "data": data,
        "created_at": now,
    }


@asynccontextmanager
async def transaction(state: State, now: datetime) -> AsyncIterator[Work]:
    """Commit what the use case did, with its events and notices; then tell the dealer and the live views.

    What is told may be lost with the process: a worker compares the dealer with the rows, and live views look
    by themselves. So nothing that fails after the commit is an error of the use case.
    """
    async with state.database.transaction() as session:
        work = Work(session, now, state.database)
        yield work
        await session.flush()
        session.add_all([*work.notices, *work.events])
    await _tell(state, work)


async def _tell(state: State, work: Work) -> None:
    for order in work.freed:
        forget_coupon(state, order.coupon_code)
    try:
        for order in work.amended:
            await state.dealer.amend(order.sale_id, order)
        for order in work.freed:
            await state.dealer.release(order.sale_id, order.id, order.offer_id, order.group_id)
        for group in work.extended:
            await state.dealer.extend_group(group.sale_id, group.id, group.deadline_at)
        for group in work.closed:
            await state.dealer.close_group(group.sale_id, group.id)
        for sale_id in work.forgotten:
            await state.dealer.forget(sale_id)
    except DealerUnavailable:
        log.warning("the dealer is away; a worker will bring its counters up to date")
    changed = {id_ for event in work.events for id_ in (event.group_id, event.bargain_id) if id_}
    await state.live.announce(changed | work.forgotten)
