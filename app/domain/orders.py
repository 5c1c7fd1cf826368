"""The life of an order."""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.machines import Table
from app.domain.sales import SaleTerms


class OrderState(StrEnum):
    HELD = "held"
    PAID = "paid"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


ORDER_TRANSITIONS: Table[OrderState] = {
    OrderState.HELD: frozenset({OrderState.PAID, OrderState.EXPIRED, OrderState.CANCELLED}),
    OrderState.PAID: frozenset({OrderState.CONFIRMED, OrderState.REFUNDING}),
    OrderState.CONFIRMED: frozenset({OrderState.FULFILLED, OrderState.REFUNDING}),
    OrderState.FULFILLED: frozenset({OrderState.COMPLETED}),
    OrderState.COMPLETED: frozenset(),
    OrderState.EXPIRED: frozenset(),
    OrderState.CANCELLED: frozenset(),
    OrderState.REFUNDING: frozenset({OrderState.REFUNDED}),
    OrderState.REFUNDED: frozenset(),
}

ACTIVE_ORDER_STATES = frozenset(
    {OrderState.HELD, OrderState.PAID, OrderState.CONFIRMED, OrderState.FULFILLED, OrderState.COMPLETED},
)
"""States in which an order keeps its places: units, seat and purchase."""

PAID_SEAT_STATES = ACTIVE_ORDER_STATES - {OrderState.HELD}
"""States in which a seat counts as paid."""


def hold_deadline(terms: SaleTerms, now: datetime, group_deadline: datetime) -> datetime:
    """Until when a place is kept without a payment: never longer than its group runs."""
    return min(now + timedelta(seconds=terms.hold_ttl_seconds), group_deadline)
