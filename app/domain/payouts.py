"""A payout takes a member's balance out of the book: reserved at once, sent by a worker, or given back."""

from datetime import timedelta
from enum import StrEnum

from app.domain.errors import PayoutTooSmall
from app.domain.machines import Table
from app.domain.rewards import WHOLE

LEASE = timedelta(seconds=30)
"""How long a payout is left to the worker that submitted it."""


class PayoutState(StrEnum):
    """`waiting`: for an operator; `ready`: to be submitted."""

    WAITING = "waiting"
    READY = "ready"
    SUBMITTED = "submitted"
    PAID = "paid"
    FAILED = "failed"
    REJECTED = "rejected"


PAYOUT_TRANSITIONS: Table[PayoutState] = {
    PayoutState.WAITING: frozenset({PayoutState.READY, PayoutState.REJECTED}),
    PayoutState.READY: frozenset({PayoutState.SUBMITTED}),
    PayoutState.SUBMITTED: frozenset({PayoutState.READY, PayoutState.PAID, PayoutState.FAILED}),
    PayoutState.PAID: frozenset(),
    PayoutState.FAILED: frozenset(),
    PayoutState.REJECTED: frozenset(),
}
RESERVED_STATES = frozenset({PayoutState.WAITING, PayoutState.READY, PayoutState.SUBMITTED})
"""States in which a payout's amount is in transit."""


def payout_fee(amount: int, minimum: int, basis_points: int) -> int:
    """What a payout costs its member, rounded down. Raises `PayoutTooSmall` below the minimum."""
    if amount < minimum:
        raise PayoutTooSmall(minimum=minimum)
    return amount * basis_points // WHOLE
