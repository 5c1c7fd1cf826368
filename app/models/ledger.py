"""The double-entry book. Transfers and postings are only ever added: triggers refuse anything else."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.ledger import AccountKind, TransferKind
from app.models.columns import ID_LENGTH, big_field, check, id_field, link_field, loose_link_field, state_field

ACCOUNT_ID_LENGTH = 60


class Account(SQLModel, table=True):
    """Money of one owner and kind. `balance` is that of its last posting, of which there are `lines`.

    Its floor is what refuses an overdraft.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        check("floor", "balance >= floor"),
        check("ceiling", "balance <= ceiling"),
        check("lines", "lines >= 0 AND (lines > 0 OR balance = 0)"),
    )

    id: str = Field(primary_key=True, max_length=ACCOUNT_ID_LENGTH)
    kind: AccountKind = state_field(AccountKind)
    member_id: str | None = link_field("members.id", default=None, nullable=True, index=True)
    currency: str = Field(max_length=3)
    balance: int = big_field(default=0)
    floor: int | None = big_field(default=None, nullable=True)
    ceiling: int | None = big_field(default=None, nullable=True)
    lines: int = 0


class Transfer(SQLModel, table=True):
    """Money moved for one cause. The cause is unique, so that it is booked once."""

    __tablename__ = "transfers"
    __table_args__ = (UniqueConstraint("cause"),)

    id: str = id_field("tfr")
    kind: TransferKind = state_field(TransferKind)
    cause: str = Field(max_length=200)
    subject: str = Field(max_length=ID_LENGTH, index=True)
    """The reward, payout, tip or policy it is about."""
    order_id: str | None = loose_link_field(default=None, nullable=True)
    created_at: datetime


class Posting(SQLModel, table=True):
    """What a transfer adds to one account: line 1, 2, … of the account."""

    __tablename__ = "postings"
    __table_args__ = (
        UniqueConstraint("account_id", "line"),
        check("amount", "amount <> 0"),
        check("number", "number >= 1"),
        check("line", "line >= 1"),
    )

    transfer_id: str = link_field("transfers.id", primary_key=True)
    number: int = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.id", max_length=ACCOUNT_ID_LENGTH)
    line: int
    amount: int = big_field()
    balance_after: int = big_field()
