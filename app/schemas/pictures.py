from datetime import datetime

from pydantic import BaseModel, Field


class PicturePublic(BaseModel):
    """A product's picture as it is kept."""

    product_id: str
    picture_url: str
    width: int
    height: int
    size_bytes: int = Field(description="Of the JPEG that the service has written 字节数")
    changed_at: datetime
