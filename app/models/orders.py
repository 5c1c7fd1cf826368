from datetime import datetime

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.orders import ACTIVE_ORDER_STATES, OrderState
from app.domain.rescues import OnUnfilled
from app.models.columns import ID_LENGTH, big_field, check, id_field, loose_link_field, quoted, state_field, where


class Order(SQLModel, table=True):
    """What one claim took. `request_key`, `request_hash` and `answer` make the claim repeatable: the same
    key gets the same answer for ever.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("sale_id", "member_id", "request_key"),
        Index("uq_orders_ticket", "sale_id", "ticket", unique=True, **where("ticket IS NOT NULL")),
        check("amount", "amount = unit_price * quantity - discount AND amount > 0"),
        check("discount", "discount >= 0 AND (discount > 0) = (coupon_code IS NOT NULL)"),
        check("quantity", "quantity >= 1"),
        check("settled_price", "settled_price IS NULL OR settled_price BETWEEN 1 AND unit_price"),
        check("min_quantity", "min_quantity IS NULL OR min_quantity BETWEEN 1 AND quantity"),
        check("settled_quantity", "settled_quantity IS NULL OR settled_quantity BETWEEN min_quantity AND quantity"),
        check("paid_at", "paid_at IS NOT NULL OR state IN ('held', 'expired', 'cancelled')"),
        check(
            "confirmed_at",
            "confirmed_at IS NOT NULL OR state NOT IN ('confirmed', 'fulfilled', 'completed')",
        ),
        Index(None, "member_id", "id"),
        Index(None, "group_id"),
        # Of holds only the unpaid are ever due, and of changes only those after the claim are told to the dealer.
        Index("ix_orders_held", "hold_expires_at", **where("state = 'held'")),
        Index(
            "uq_orders_bargain",
            "bargain_id",
            unique=True,
            **where(f"bargain_id IS NOT NULL AND state IN ({quoted(ACTIVE_ORDER_STATES)})"),
        ),
        Index("ix_orders_changed", "sale_id", "changed_at", **where("state <> 'held'")),
        Index("ix_orders_paid", "sale_id", "paid_at", **where("paid_at IS NOT NULL")),
    )

    id: str = id_field("ord")
    sale_id: str = loose_link_field()
    group_id: str = loose_link_field()
    offer_id: str = loose_link_field()
    member_id: str = loose_link_field()
    bargain_id: str | None = Field(default=None, max_length=ID_LENGTH)
    """Whose price it is bought at."""
    seat_number: int
    quantity: int
    unit_price: int = big_field()
    discount: int = big_field(default=0, sa_column_kwargs={"server_default": "0"})
    amount: int = big_field()
    settled_price: int | None = big_field(default=None, nullable=True)
    """What a unit costs in the end, where that is decided when its group closes."""
    on_unfilled: OnUnfilled = state_field(
        OnUnfilled, default=OnUnfilled.REFUND, sa_column_kwargs={"server_default": "refund"}
    )
    """What its member wants when the group does not fill."""
    min_quantity: int | None = None
    """Units its member wants in any case; the others only if they help to fill the group."""
    settled_quantity: int | None = None
    """Units it has in the end, where that was left open."""
    moved_from: str | None = loose_link_field(default=None, nullable=True)
    """The group it was in before."""
    currency: str = Field(max_length=3)
    state: OrderState = state_field(OrderState)
    invite_code: str | None = Field(default=None, max_length=20)
    coupon_code: str | None = Field(default=None, max_length=20)
    hold_expires_at: datetime
    paid_at: datetime | None = None
    confirmed_at: datetime | None = None
    created_at: datetime
    changed_at: datetime
    request_key: str = Field(max_length=128)
    request_hash: str = Field(max_length=64)
    answer: str = Field(sa_type=Text)
    ticket: str | None = Field(default=None, max_length=ID_LENGTH)
    """The admission ticket that bought it, in a flash sale. A ticket buys once."""
