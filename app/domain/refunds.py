"""A refund is pursued until it succeeds or a person takes it."""

from datetime import timedelta
from enum import StrEnum

from app.domain.machines import Table

FIRST_RETRY_SECONDS = 2
MAX_RETRY_SECONDS = 3600
ATTENTION_ATTEMPTS = 8
"""Failed attempts after which operators are told; the retries go on."""
OVERDUE_ATTEMPTS = 12 + 7 * 24
"""Attempts after which operators are told of money that is still on its way: the first hour's, and a week's."""


class RefundState(StrEnum):
    CREATED = "created"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


REFUND_TRANSITIONS: Table[RefundState] = {
    RefundState.CREATED: frozenset({RefundState.SUBMITTED}),
    RefundState.SUBMITTED: frozenset({RefundState.SUCCEEDED, RefundState.FAILED}),
    RefundState.FAILED: frozenset({RefundState.SUBMITTED}),
    RefundState.SUCCEEDED: frozenset(),
}


def retry_delay(attempts: int) -> timedelta:
    """How long to wait after the `attempts`-th try: doubling from 2 seconds up to an hour."""
    return timedelta(seconds=min(FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 20), MAX_RETRY_SECONDS))
