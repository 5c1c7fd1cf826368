from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.reminders import MAX_MINUTES_BEFORE
from app.schemas.fields import Body


class ReminderSet(Body):
    minutes_before: Annotated[
        int,
        Field(ge=1, le=MAX_MINUTES_BEFORE, description="Minutes before the sale opens 提前分钟数", examples=[5]),
    ] = 5


class ReminderPublic(BaseModel):
    sale_id: str
    title: str
    opens_at: datetime
    minutes_before: int
    remind_at: datetime
    told_at: datetime | None = Field(description="When it was due and told; null until then 已提醒时间")
