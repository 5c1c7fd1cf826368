"""Where captured money goes: kept for a seat, or refunded. There is no third way."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.groups import FINAL_GROUP_STATES, GroupState
from app.domain.machines import Table
from app.domain.orders import OrderState

MAX_OPEN_PAYMENTS = 5
"""Payments an order may have running at the same time."""


class PaymentState(StrEnum):
    CREATED = "created"
    CAPTURED = "captured"
    FAILED = "failed"
    CLOSED = "closed"


# Money beats state: a provider may capture what we believed failed or closed, and then it is captured.
PAYMENT_TRANSITIONS: Table[PaymentState] = {
    PaymentState.CREATED: frozenset({PaymentState.CAPTURED, PaymentState.FAILED, PaymentState.CLOSED}),
    PaymentState.FAILED: frozenset({PaymentState.CAPTURED, PaymentState.CLOSED}),
    PaymentState.CLOSED: frozenset({PaymentState.CAPTURED}),
    PaymentState.CAPTURED: frozenset(),
}


class PaymentOutcome(StrEnum):
    KEPT = "kept"
    REFUNDED = "refunded"


class RefundReason(StrEnum):
    GROUP_FAILED = "group_failed"
    GAP = "gap"
    LATE = "late"
    DUPLICATE = "duplicate"
    WRONG_AMOUNT = "wrong_amount"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Capture:
    """A captured payment beside the order and group it was meant for."""

    captured_amount: int
    captured_currency: str
    captured_at: datetime
    order_amount: int
    order_currency: str
    order_state: OrderState
    order_has_kept_payment: bool
    group_state: GroupState
    group_deadline_at: datetime


def decide_capture(capture: Capture) -> RefundReason | None:
    """Why captured money goes back, or None when it buys the seat.

    `captured_at` is when we recorded the capture, not when the provider says it happened: the group's
    deadline is compared with a clock that nobody outside can set.
    """
    if capture.order_has_kept_payment:
        return RefundReason.DUPLICATE
    if (capture.captured_amount, capture.captured_currency) != (capture.order_amount, capture.order_currency):
        return RefundReason.WRONG_AMOUNT
    if (
        capture.order_state != OrderState.HELD
        or capture.group_state in FINAL_GROUP_STATES
        or capture.captured_at > capture.group_deadline_at
    ):
        return RefundReason.LATE
    return None
