"""Reminders: set by members before a sale opens, told once."""

from datetime import datetime

from sqlalchemy import delete, update
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.errors import TokenInvalid
from app.domain.notices import NoticeKind
from app.domain.reminders import reminder_time
from app.domain.sales import SaleState
from app.models import Member, Reminder, Sale
from app.schemas.fields import Page
from app.schemas.reminders import ReminderPublic
from app.services.locks import lock_sale
from app.services.notices import notify
from app.services.terms import published_sale
from app.services.transactions import Work, transaction
from app.state import State

BATCH = 500


async def set_reminder(state: State, member_id: str, sale_id: str, minutes_before: int) -> ReminderPublic:
    """Have a member told before a sale opens. The same again changes nothing; another time is told anew.

    Raises `SaleNotFound`, `SaleAlreadyOpen`, `SaleEnded`.
    """
    now = state.clock()
    key = {"sale_id": sale_id, "member_id": member_id}
    async with transaction(state, now) as work:
        sale = await published_sale(work.session, sale_id)
        member = await work.session.get(Member, member_id)
        if member is None:
            raise TokenInvalid
        wish = {"minutes_before": minutes_before, "remind_at": reminder_time(sale.terms(), minutes_before, now)}
        made = await work.session.exec(
            state.database.insert_unless_there(Reminder, list(key))
            .values(**key, **wish, created_at=now)
            .returning(col(Reminder.sale_id))
        )
        changed = await work.session.exec(
            update(Reminder)
            .where(
                col(Reminder.sale_id) == sale_id,
                col(Reminder.member_id) == member_id,
                col(Reminder.minutes_before) != minutes_before,
            )
            .values(**wish, told_at=None)
            .returning(col(Reminder.sale_id))
        )
        if made.first() or changed.first():
            work.record(
                "reminder.set", sale_id, sale_id=sale_id, member_id=member_id, minutes_before=minutes_before
            )
        row = await work.session.get_one(Reminder, (sale_id, member_id))
    return _public(row, sale)


async def withdraw_reminder(state: State, member_id: str, sale_id: str) -> None:
    """Forget a member's reminder, if there is one. Raises `SaleNotFound`."""
    async with transaction(state, state.clock()) as work:
        await published_sale(work.session, sale_id)
        gone = await work.session.exec(
            delete(Reminder)
            .where(col(Reminder.sale_id) == sale_id, col(Reminder.member_id) == member_id)
            .returning(col(Reminder.sale_id))
        )
        if gone.first():
            work.record("reminder.withdrawn", sale_id, sale_id=sale_id, member_id=member_id)


async def list_reminders(state: State, member_id: str, limit: int) -> Page[ReminderPublic]:
    """A member's reminders of sales that are not over, next first."""
    async with state.database.snapshot() as session:
        rows = await session.exec(
            select(Reminder, Sale)
            .join(Sale, col(Sale.id) == Reminder.sale_id)
            .where(Reminder.member_id == member_id, Sale.state != SaleState.ENDED, Sale.closes_at > state.clock())
            .order_by(col(Reminder.remind_at), col(Reminder.sale_id))
            .limit(limit),
        )
        return Page[ReminderPublic](items=[_public(*row) for row in rows.all()])


async def tell_due(state: State, sale_id: str, now: datetime) -> bool:
    """Tell whom a sale's reminders are due to, once each. True when this call told somebody."""
    told = 0
    while count := await _tell_some(state, sale_id, now):
        told += count
    return told > 0


async def drop_reminders(work: Work, sale_id: str) -> None:
    """Forget the reminders of a sale that is over, but those that were told."""
    await work.session.exec(
        delete(Reminder).where(col(Reminder.sale_id) == sale_id, col(Reminder.told_at).is_(None))
    )


async def _tell_some(state: State, sale_id: str, now: datetime) -> int:
    """A batch of them. Under the lock of the sale, so that two workers do not wait for each other's rows."""
    async with transaction(state, now) as work:
        sale = await lock_sale(work.session, sale_id)
        if sale is None:
            return 0
        if sale.state == SaleState.ENDED:  # it was set while the sale ended
            await drop_reminders(work, sale_id)
            return 0
        member_ids = (await work.session.exec(_due(sale_id, now))).all()
        found = await work.session.exec(
            update(Reminder)
            .where(
                col(Reminder.sale_id) == sale_id,
                col(Reminder.member_id).in_(member_ids),
                col(Reminder.told_at).is_(None),
                col(Reminder.remind_at) <= now,
            )
            .values(told_at=now)
            .returning(col(Reminder.member_id))
            .execution_options(synchronize_session=False)
        )
        told = found.scalars().all()
        notify(work, told, NoticeKind.REMINDER, sale.title, community_id=sale.community_id, subject_id=sale_id)
        for member_id in told:
            work.record(
                "reminder.due", sale_id, sale_id=sale_id, member_id=member_id, opens_at=sale.opens_at.isoformat()
            )
    return len(told)


def _due(sale_id: str, now: datetime) -> SelectOfScalar[str]:
    return (
        select(Reminder.member_id)
        .where(Reminder.sale_id == sale_id, col(Reminder.told_at).is_(None), Reminder.remind_at <= now)
        .limit(BATCH)
    )


def _public(row: Reminder, sale: Sale) -> ReminderPublic:
    return ReminderPublic(
        **row.model_dump(exclude={"member_id", "created_at"}), title=sale.title, opens_at=sale.opens_at
    )
