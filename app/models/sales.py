"""Sales and their offers."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, UniqueConstraint, false, text
from sqlmodel import Field, SQLModel

from app.domain.admissions import AdmissionRules
from app.domain.bargains import BargainRules
from app.domain.draws import MAX_WEIGHT, hash_seed
from app.domain.ladders import Step
from app.domain.money import MAX_AMOUNT
from app.domain.rescues import RescueRules
from app.domain.sales import (
    MAX_GROUP_SIZE,
    MAX_MEMBER_LIMIT,
    MAX_ORDER_LIMIT,
    MAX_STOCK,
    Allocation,
    SaleKind,
    SaleState,
    SaleTerms,
    smallest,
)
from app.models.columns import big_field, check, id_field, link_field, state_field


class Sale(SQLModel, table=True):
    __tablename__ = "sales"
    __table_args__ = (
        check("window", "opens_at < closes_at"),
        check("group_size", f"group_size BETWEEN 1 AND {MAX_GROUP_SIZE} AND (kind = 'group') = (group_size > 1)"),
        check("min_size", "min_size IS NULL OR min_size BETWEEN 1 AND group_size"),
        check("ttls", "hold_ttl_seconds BETWEEN 1 AND group_ttl_seconds"),
        check("bargain", "(kind = 'bargain') = (bargain IS NOT NULL)"),
        check("order_limit", f"order_limit BETWEEN 1 AND {MAX_ORDER_LIMIT}"),
        check("member_limit", f"member_limit BETWEEN 1 AND {MAX_MEMBER_LIMIT}"),
        check("draws_at", "(allocation = 'draw') = (draws_at IS NOT NULL)"),
        check(
            "draw_window",
            "draws_at IS NULL OR kind = 'flash' AND opens_at < draws_at"
            " AND (draws_at < closes_at OR state = 'ended')",
        ),
        check("max_weight", f"max_weight BETWEEN 1 AND {MAX_WEIGHT}"),
        check("seed", "(seed IS NOT NULL) = (allocation = 'draw' AND state <> 'draft')"),
        check("drawn_at", "drawn_at IS NULL OR allocation = 'draw'"),
        check("entries_hash", "(entries_hash IS NOT NULL) = (drawn_at IS NOT NULL)"),
        Index(None, "state", "closes_at"),
        Index("uq_sales_slot", "series_id", "opens_at", unique=True),
    )

    id: str = id_field("sal")
    community_id: str = link_field("communities.id", index=True)
    series_id: str | None = link_field("sales.id", default=None, nullable=True)
    """The first sale of its series of slots; None when it is in none."""
    kind: SaleKind = state_field(SaleKind)
    title: str = Field(max_length=120)
    description: str = Field(max_length=2000)
    state: SaleState = state_field(SaleState)
    currency: str = Field(max_length=3)
    opens_at: datetime
    closes_at: datetime
    group_size: int
    min_size: int | None = None
    group_ttl_seconds: int
    hold_ttl_seconds: int
    order_limit: int
    member_limit: int
    rescue: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
    """What is done for groups that do not fill: the fields of `RescueRules`."""
    bargain: dict[str, int] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    """The `BargainRules` of a bargain sale."""
    allocation: Allocation = state_field(
        Allocation, default=Allocation.FASTEST, sa_column_kwargs={"server_default": "fastest"}
    )
    draws_at: datetime | None = None
    max_weight: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    seed: str | None = Field(default=None, max_length=64)
    """Of its draw, in hex: made when it is published, and told to nobody before it is drawn."""
    drawn_at: datetime | None = None
    entries_hash: str | None = Field(default=None, max_length=64)
    """Of all entries as they were drawn."""
    is_plan: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether memberships of its community are bought in it, and nothing else."""
    undealt: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many transactions took places that Redis had not dealt."""
    admission: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
    """The rules of its entrance, as in `AdmissionRules`; what is not named has its default."""
    attribution: dict[str, Any] = Field(
        default_factory=dict, sa_type=JSON, sa_column_kwargs={"server_default": "{}"}
    )
    """Which touch says who brought a buyer: the fields of `AttributionRules`."""
    members_only: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether only members of its communities buy."""
    created_at: datetime
    changed_at: datetime

    @property
    def seed_hash(self) -> str | None:
        """What is published of the seed of its draw."""
        return None if self.seed is None else hash_seed(bytes.fromhex(self.seed))

    def terms(self) -> SaleTerms:
        """The sale's rules, as the domain reads them."""
        return SaleTerms(
            kind=self.kind,
            state=self.state,
            opens_at=self.opens_at,
            closes_at=self.closes_at,
            group_size=self.group_size,
            min_size=self.min_size,
            group_ttl_seconds=self.group_ttl_seconds,
            hold_ttl_seconds=self.hold_ttl_seconds,
            order_limit=self.order_limit,
            member_limit=self.member_limit,
            rescue=RescueRules(**self.rescue),
            bargain=None if self.bargain is None else BargainRules(**self.bargain),
            admission=AdmissionRules(**self.admission),
            allocation=self.allocation,
            draws_at=self.draws_at,
            drawn_at=self.drawn_at,
            max_weight=self.max_weight,
        )


class Offer(SQLModel, table=True):
    __tablename__ = "offers"
    __table_args__ = (
        UniqueConstraint("sale_id", "sku_id"),
        check("price", f"price BETWEEN 1 AND {MAX_AMOUNT}"),
        check("list_price", "list_price IS NULL OR list_price >= price"),
        check("solo_price", f"solo_price IS NULL OR solo_price BETWEEN price AND {MAX_AMOUNT}"),
        check("stock", f"stock BETWEEN 1 AND {MAX_STOCK}"),
    )

    id: str = id_field("off")
    sale_id: str = link_field("sales.id")
    product_id: str = link_field("products.id")
    sku_id: str = link_field("skus.id")
    price: int = big_field()
    list_price: int | None = big_field(default=None, nullable=True)
    solo_price: int | None = big_field(default=None, nullable=True)
    """What a unit costs who would rather buy alone than go without."""
    stock: int
    drawn_stock: int | None = None
    """What there was of it when its sale was drawn."""
    ladder: list[dict[str, int]] = Field(
        default_factory=list, sa_type=JSON, sa_column_kwargs={"server_default": "[]"}
    )
    """The steps above the first: `heads`, and the `price` with so many."""

    def steps(self, terms: SaleTerms) -> list[Step]:
        """Its prices by head count, from the smallest group that succeeds on."""
        return [Step(smallest(terms), self.price), *(Step(**step) for step in self.ladder)]
