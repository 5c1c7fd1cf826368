from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.schemas.fields import Body, LongProse, Name, Title


class ProductCreate(Body):
    title: Title = Field(examples=["明前龙井"])
    description: LongProse = ""
    skus: Annotated[list[Name], Field(min_length=1, max_length=50, description="Its variants 规格")] = Field(
        examples=[["50 g", "100 g"]],
    )


class ProductUpdate(Body):
    title: Title | None = None
    description: LongProse | None = None


class SkuPublic(BaseModel):
    id: str
    name: str


class ProductPublic(BaseModel):
    id: str
    title: str
    description: str
    picture_url: str = Field(description="Uploaded, or made of its first characters 商品图片")
    skus: list[SkuPublic]
    created_at: datetime
