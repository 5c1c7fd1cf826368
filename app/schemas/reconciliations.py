from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.reconciliations import DifferenceKind, LineKind, ReconciliationState
from app.schemas.fields import Body, Day


class ReconciliationCreate(Body):
    """Compare a day, perhaps again."""

    provider: Annotated[str, Field(pattern="^[a-z_]{1,20}$", examples=["wechatpay"])]
    day: Day


class ReconciliationPublic(BaseModel):
    id: str
    provider: str
    day: date = Field(description="On the provider's calendar 账单日")
    state: ReconciliationState
    lines: int | None = Field(description="Charges and refunds on the bill 账单笔数")
    found: int | None = Field(description="Differences 差异笔数")
    attempts: int
    last_error: str | None
    created_at: datetime
    done_at: datetime | None


class DifferencePublic(BaseModel):
    """What the two sides say of one charge or refund; null where a side does not have it."""

    line: LineKind
    subject: str = Field(description="Our id of the payment or refund, or the provider's where it is none of ours")
    kind: DifferenceKind
    amount_here: int | None
    currency_here: str | None
    state_here: str | None
    amount_there: int | None
    currency_there: str | None
    state_there: str | None
    at: datetime


class ReconciliationDetail(ReconciliationPublic):
    differences: list[DifferencePublic] = Field(description="The first hundred 前一百条差异")
