from datetime import datetime

from sqlmodel import Field, SQLModel

from app.models.columns import id_field, link_field


class Product(SQLModel, table=True):
    __tablename__ = "products"

    id: str = id_field("prd")
    title: str = Field(max_length=120)
    description: str = Field(max_length=2000)
    created_at: datetime


class Sku(SQLModel, table=True):
    __tablename__ = "skus"

    id: str = id_field("sku")
    product_id: str = link_field("products.id", index=True)
    name: str = Field(max_length=60)
