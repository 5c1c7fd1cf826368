from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.members import SeenBy
from app.schemas.fields import Body


class MemberUpdate(Body):
    """What to change of yourself."""

    seen_by_friends: Annotated[
        SeenBy,
        Field(
            strict=False,
            description="How people who know you see you where you have bought: by your masked name, as one of at"
            " least three, or not at all 好友可见范围",
        ),
    ]


class MemberMe(BaseModel):
    """You, as you are kept."""

    id: str
    name: str
    seen_by_friends: SeenBy
    phone: str | None = Field(default=None, description="Masked; null when we know none 脱敏手机号")
    created_at: datetime
