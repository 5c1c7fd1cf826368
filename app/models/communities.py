from datetime import datetime

from sqlmodel import Field, SQLModel

from app.models.columns import id_field


class Community(SQLModel, table=True):
    """People in relation with each other around one clear value."""

    __tablename__ = "communities"

    id: str = id_field("com")
    name: str = Field(max_length=60)
    purpose: str = Field(max_length=500)
    audience: str = Field(max_length=500)
    created_at: datetime
