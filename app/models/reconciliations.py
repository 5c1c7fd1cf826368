"""Days that were compared with the providers' bills, and what differed."""

from datetime import date, datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.reconciliations import DifferenceKind, LineKind, ReconciliationState
from app.models.columns import big_field, check, id_field, link_field, state_field, where


class Reconciliation(SQLModel, table=True):
    """A day at a provider beside the same day here. One for each; doing it again replaces what it found."""

    __tablename__ = "reconciliations"
    __table_args__ = (
        UniqueConstraint("provider", "day"),
        check("done_at", "(done_at IS NOT NULL) = (state = 'done')"),
        check("lines", "(lines IS NOT NULL) = (state = 'done')"),
        check("found", "(found IS NOT NULL) = (state = 'done')"),
        Index("ix_reconciliations_due", "due_at", **where("state = 'waiting'")),
    )

    id: str = id_field("rcn")
    provider: str = Field(max_length=20)
    day: date
    """On the provider's calendar."""
    state: ReconciliationState = state_field(ReconciliationState)
    attempts: int = 0
    due_at: datetime
    lines: int | None = None
    """Charges and refunds on the bill."""
    found: int | None = None
    """Differences."""
    last_error: str | None = Field(default=None, max_length=200)
    created_at: datetime
    done_at: datetime | None = None


class Difference(SQLModel, table=True):
    """A charge or refund that the two sides do not say the same of; None where a side does not have it."""

    __tablename__ = "differences"
    __table_args__ = (
        check("missing_here", "(kind = 'missing_here') = (amount_here IS NULL)"),
        check("missing_there", "(kind = 'missing_there') = (amount_there IS NULL)"),
    )

    reconciliation_id: str = link_field("reconciliations.id", primary_key=True)
    line: LineKind = state_field(LineKind, primary_key=True)
    subject: str = Field(primary_key=True, max_length=120)
    """The id of our payment or refund; or what the provider calls it, where it is none of ours."""
    kind: DifferenceKind = state_field(DifferenceKind)
    amount_here: int | None = big_field(default=None, nullable=True)
    currency_here: str | None = Field(default=None, max_length=3)
    state_here: str | None = Field(default=None, max_length=20)
    amount_there: int | None = big_field(default=None, nullable=True)
    currency_there: str | None = Field(default=None, max_length=3)
    state_there: str | None = Field(default=None, max_length=20)
    at: datetime
    """When it was, by the provider's clock as far as it is known."""
