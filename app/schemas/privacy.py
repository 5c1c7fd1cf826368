from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.schemas.fields import Body


class ErasureCreate(Body):
    """That somebody is to be erased, said twice."""

    confirm: Literal["erase"] = Field(description="The word `erase` 请填写 erase 以确认")
    forfeit_balance: bool = Field(
        default=False, description="Give up what is in the balance and what is still to come 放弃余额与待结算奖励"
    )


class ErasurePublic(BaseModel):
    """A receipt: who was erased, and when."""

    member_id: str
    erased_at: datetime


class ExportPublic(BaseModel):
    """Everything there is of a member, by what it is. Money in minor units, times in UTC."""

    exported_at: datetime
    sections: dict[str, list[dict[str, Any]]]
