from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.tips import MAX_TIP
from app.schemas.fields import Body, Currency, Prose


class TipCreate(Body):
    amount: Annotated[int, Field(ge=1, le=MAX_TIP, description="Minor units, e.g. fen 分", examples=[100])]
    currency: Currency = "CNY"
    note: Prose = Field(default="", examples=["谢谢团长"])


class TipPublic(BaseModel):
    id: str
    receiver_id: str
    amount: int
    currency: str
    note: str
    created_at: datetime
