from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.tips import MAX_TIP
from app.schemas.fields import Body, CommunityId, Currency, Prose, SubjectId


class TipCreate(Body):
    amount: Annotated[int, Field(ge=1, le=MAX_TIP, description="Minor units, e.g. fen 分", examples=[100])]
    currency: Currency = "CNY"
    community_id: CommunityId | None = Field(default=None, description="Where it is given 所在社群")
    subject_id: SubjectId | None = Field(
        default=None, description="The post or comment there it is for, theirs or a job that they did 打赏的内容"
    )
    note: Prose = Field(default="", examples=["谢谢团长"])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.subject_id is not None and self.community_id is None:
            raise ValueError("subject_id needs its community_id")
        return self


class TipPublic(BaseModel):
    id: str
    receiver_id: str
    amount: int
    currency: str
    community_id: str | None
    subject_id: str | None
    note: str
    created_at: datetime
