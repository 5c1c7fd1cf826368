"""The sandbox cashier's own books. Only the cashier reads them: to the service it is a third party."""

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from app.models.columns import big_field


class SandboxCharge(SQLModel, table=True):
    __tablename__ = "sandbox_charges"

    id: str = Field(primary_key=True, max_length=40)
    """The merchant's payment id."""
    token: str = Field(max_length=40, unique=True)
    """The secret in the address of the page to pay on."""
    description: str = Field(max_length=200)
    amount: int = big_field()
    currency: str = Field(max_length=3)
    state: str = Field(max_length=20)
    paid_amount: int | None = big_field(default=None, nullable=True)
    settles_at: datetime | None = None
    """When a paid charge counts as captured; later than now while the bank is slow."""
    payer: str | None = Field(default=None, max_length=64)
    """The account it was paid from."""
    refund_failures: int = 0
    notify_url: str = Field(max_length=500)
    expires_at: datetime
    created_at: datetime


class SandboxRefund(SQLModel, table=True):
    __tablename__ = "sandbox_refunds"

    id: str = Field(primary_key=True, max_length=40)
    charge_id: str = Field(foreign_key="sandbox_charges.id", index=True, max_length=40)
    amount: int = big_field()
    created_at: datetime


class SandboxPayout(SQLModel, table=True):
    __tablename__ = "sandbox_payouts"

    id: str = Field(primary_key=True, max_length=40)
    """The merchant's payout id."""
    account: str = Field(max_length=120)
    amount: int = big_field()
    currency: str = Field(max_length=3)
    state: str = Field(max_length=20)
    attempts: int = 0
    created_at: datetime


class SandboxCallback(SQLModel, table=True):
    """A notification the cashier has to deliver; it is gone when that is done, or given up."""

    __tablename__ = "sandbox_callbacks"

    id: int | None = big_field(default=None, primary_key=True)
    url: str = Field(max_length=500)
    body: str = Field(sa_type=Text)
    attempts: int = 0
    due_at: datetime | None = Field(default=None, index=True)
    """When to send it next."""
