from datetime import datetime

from sqlmodel import Field, SQLModel

from app.models.columns import check, link_field


class Picture(SQLModel, table=True):
    """What a product looks like: a JPEG that the service has written itself."""

    __tablename__ = "pictures"
    __table_args__ = (check("jpeg", f"length(jpeg) BETWEEN 1 AND {4 * 1024 * 1024}"),)

    product_id: str = link_field("products.id", primary_key=True)
    jpeg: bytes
    tag: str = Field(max_length=64)
    """A digest of the picture, by which caches know it."""
    changed_at: datetime
