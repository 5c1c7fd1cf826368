from datetime import datetime

from pydantic import BaseModel, Field


class LinkCodePublic(BaseModel):
    """Say `绑定 CODE` or `link CODE` in a chat, and whoever said it there is you."""

    code: str = Field(description="Good once 仅可使用一次", examples=["7YPKQXWN"])
    expires_at: datetime
