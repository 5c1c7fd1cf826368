from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from app.domain.ledger import TransferKind


class OwnAccount(StrEnum):
    """A member's accounts."""

    BALANCE = "balance"
    PENDING = "pending"
    PAYOUTS = "payouts"
    OWED = "owed"


class Balance(BaseModel):
    """What a member has in one currency, in minor units."""

    currency: str
    balance: int = Field(description="To tip with, or to have paid out 可用余额")
    pending: int = Field(description="Earned, until the refund window of the order is over 待结算")
    payouts: int = Field(description="Being paid out 提现中")
    owed: int = Field(description="Taken back after it was spent; what comes in pays this first 待扣回")


class Balances(BaseModel):
    items: list[Balance]


class StatementLine(BaseModel):
    """A line of an account. `balance_after` of one is `amount` away from that of the line before."""

    line: int
    kind: TransferKind
    amount: int = Field(description="Minor units; below zero it went out")
    balance_after: int
    subject: str = Field(description="The reward, payout or tip it is about")
    order_id: str | None
    created_at: datetime
