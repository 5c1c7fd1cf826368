from datetime import datetime

from pydantic import BaseModel, Field

from app.schemas.fields import Body, Name, Prose


class CommunityCreate(Body):
    name: Name = Field(examples=["西湖茶友"])
    purpose: Prose = Field(default="", description="The one clear value it is about 社群宗旨")
    audience: Prose = Field(default="", description="Who it is for 面向人群")


class CommunityUpdate(Body):
    name: Name | None = None
    purpose: Prose | None = None
    audience: Prose | None = None


class CommunityPublic(BaseModel):
    id: str
    name: str
    purpose: str
    audience: str
    created_at: datetime
