from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.domain.reminders import MAX_MINUTES_BEFORE
from app.models.columns import ID_LENGTH, check, where


class Reminder(SQLModel, table=True):
    """A member's wish to be told before a sale opens. `told_at` is set once, with the event `reminder.due`."""

    __tablename__ = "reminders"
    __table_args__ = (
        check("minutes_before", f"minutes_before BETWEEN 1 AND {MAX_MINUTES_BEFORE}"),
        check("told_in_time", "told_at IS NULL OR told_at >= remind_at"),
        Index("ix_reminders_due", "remind_at", **where("told_at IS NULL")),
    )

    sale_id: str = Field(foreign_key="sales.id", primary_key=True, max_length=ID_LENGTH)
    member_id: str = Field(foreign_key="members.id", primary_key=True, max_length=ID_LENGTH, index=True)
    minutes_before: int
    remind_at: datetime
    told_at: datetime | None = None
    created_at: datetime
