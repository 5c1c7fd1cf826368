"""Payments and refunds, and the provider notifications that were seen."""

from datetime import datetime

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.payments import PaymentOutcome, PaymentState, RefundReason
from app.domain.refunds import RefundState
from app.models.columns import big_field, check, id_field, link_field, state_field, where


class Payment(SQLModel, table=True):
    """One attempt to pay an order at a provider.

    A captured payment without an outcome is money whose place is still to be decided; a worker does it if
    the process that recorded it could not. `refunded_amount` counts what refunds have been promised.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("order_id", "request_key"),
        check("amount", "amount > 0"),
        check("refunded_amount", "refunded_amount BETWEEN 0 AND coalesce(captured_amount, 0)"),
        check("captured", "(state = 'captured') = (captured_amount IS NOT NULL)"),
        check("captured_at", "(state = 'captured') = (captured_at IS NOT NULL)"),
        check("outcome", "outcome IS NULL OR state = 'captured'"),
        check(
            "kept_in_full",
            "outcome IS NULL OR outcome <> 'kept' OR (captured_amount = amount AND captured_currency = currency)",
        ),
        Index(
            "uq_payments_kept",
            "order_id",
            unique=True,
            **where("outcome = 'kept'"),
        ),
        Index(
            "ix_payments_undecided",
            "captured_at",
            **where("state = 'captured' AND outcome IS NULL"),
        ),
        Index(None, "state", "check_at"),
        Index("ix_payments_paid", "provider", "paid_at", **where("paid_at IS NOT NULL")),
    )

    id: str = id_field("pay")
    order_id: str = link_field("orders.id")
    provider: str = Field(max_length=20)
    amount: int = big_field()
    currency: str = Field(max_length=3)
    state: PaymentState = state_field(PaymentState)
    outcome: PaymentOutcome | None = state_field(PaymentOutcome, default=None, nullable=True)
    pay_url: str | None = Field(default=None, max_length=2000)
    pay_params: dict[str, str] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    """What the front end hands to the provider's own cashier, where there is no page to pay on."""
    handle: str | None = Field(default=None, max_length=120)
    """What the provider calls the charge, where it cannot be asked about by our id."""
    provider_ref: str | None = Field(default=None, max_length=120)
    captured_amount: int | None = big_field(default=None, nullable=True)
    captured_currency: str | None = Field(default=None, max_length=3)
    captured_at: datetime | None = None
    paid_at: datetime | None = None
    """When it was paid, as the provider says, or else when we heard of it: on the bill of that day it should be.
    Nothing else is decided by it.
    """
    refunded_amount: int = big_field(default=0)
    expires_at: datetime
    check_at: datetime
    """When a worker asks the provider next, in case a notification was lost."""
    created_at: datetime
    request_key: str = Field(max_length=128)

    @property
    def can_be_paid(self) -> bool:
        """Whether the provider has said where, or with what, to pay."""
        return self.pay_url is not None or self.pay_params is not None


class Refund(SQLModel, table=True):
    """Money on its way back. One per payment and reason; the worker pursues it until it succeeds."""

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("payment_id", "reason"),
        check("amount", "amount > 0"),
        check("succeeded_at", "(succeeded_at IS NOT NULL) = (state = 'succeeded')"),
        Index(None, "state", "due_at"),
        Index("ix_refunds_accepted", "accepted_at", **where("accepted_at IS NOT NULL")),
    )

    id: str = id_field("ref")
    payment_id: str = link_field("payments.id")
    order_id: str = link_field("orders.id", index=True)
    amount: int = big_field()
    currency: str = Field(max_length=3)
    reason: RefundReason = state_field(RefundReason)
    state: RefundState = state_field(RefundState)
    attempts: int = 0
    due_at: datetime
    provider_ref: str | None = Field(default=None, max_length=120)
    last_error: str | None = Field(default=None, max_length=200)
    created_at: datetime
    succeeded_at: datetime | None = None
    accepted_at: datetime | None = None
    """When the provider accepted it, as it says, or else when it succeeded: on the bill of that day it is."""


class Notification(SQLModel, table=True):
    """A provider's message that was accepted once. The key refuses its repetition."""

    __tablename__ = "notifications"

    provider: str = Field(primary_key=True, max_length=20)
    id: str = Field(primary_key=True, max_length=120)
    payment_id: str = Field(max_length=40)
    received_at: datetime = Field(index=True)
