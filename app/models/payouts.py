from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.payouts import PayoutState
from app.models.columns import big_field, check, id_field, link_field, state_field, where


class Payout(SQLModel, table=True):
    """Money that leaves the book: `amount` of the balance, of which the member gets all but the fee."""

    __tablename__ = "payouts"
    __table_args__ = (
        UniqueConstraint("member_id", "request_key"),
        check("fee", "fee >= 0 AND fee < amount"),
        check("paid_at", "(paid_at IS NOT NULL) = (state = 'paid')"),
        Index("ix_payouts_due", "due_at", **where("state IN ('ready', 'submitted')")),
        Index(None, "member_id", "id"),
        Index(None, "state", "id"),
    )

    id: str = id_field("pyt")
    member_id: str = link_field("members.id")
    amount: int = big_field()
    fee: int = big_field()
    currency: str = Field(max_length=3)
    account: str = Field(max_length=120)
    """Where the provider sends it."""
    state: PayoutState = state_field(PayoutState)
    attempts: int = 0
    due_at: datetime
    provider_ref: str | None = Field(default=None, max_length=120)
    last_error: str | None = Field(default=None, max_length=200)
    created_at: datetime
    paid_at: datetime | None = None
    request_key: str = Field(max_length=128)
