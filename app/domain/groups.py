"""How a group fills, and how it ends."""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.machines import Table
from app.domain.sales import SaleKind, SaleTerms


class GroupState(StrEnum):
    OPEN = "open"
    FILLED = "filled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    MERGED = "merged"


GROUP_TRANSITIONS: Table[GroupState] = {
    GroupState.OPEN: frozenset(
        {GroupState.FILLED, GroupState.SUCCEEDED, GroupState.FAILED, GroupState.MERGED},
    ),
    GroupState.FILLED: frozenset(
        {GroupState.OPEN, GroupState.SUCCEEDED, GroupState.FAILED, GroupState.MERGED},
    ),
    GroupState.SUCCEEDED: frozenset(),
    GroupState.FAILED: frozenset(),
    GroupState.MERGED: frozenset(),
}
FINAL_GROUP_STATES = frozenset({GroupState.SUCCEEDED, GroupState.FAILED, GroupState.MERGED})


class FailReason(StrEnum):
    DEADLINE = "deadline"
    SALE_ENDED = "sale_ended"
    EMPTY = "empty"


def group_deadline(terms: SaleTerms, now: datetime) -> datetime:
    """When a group opened at `now` must be full and paid: its own time, but never after the sale. Who buys alone
    has all the time to pay, also at the last moment of a sale.
    """
    own_end = now + timedelta(seconds=terms.group_ttl_seconds)
    return min(own_end, terms.closes_at) if terms.kind == SaleKind.GROUP else own_end


def overdue_reason(terms: SaleTerms, opened_at: datetime, deadline_at: datetime) -> FailReason:
    """Why a group's time was up: its own time had passed, or its sale ended before."""
    own_time = timedelta(seconds=terms.group_ttl_seconds)
    return FailReason.DEADLINE if deadline_at - opened_at >= own_time else FailReason.SALE_ENDED


def next_state(state: GroupState, size: int, held: int, paid: int) -> GroupState:
    """The state a running group belongs in, given its seats.

    `held` seats wait for their payment, `paid` seats have it. A final group stays what it is.
    """
    if state in FINAL_GROUP_STATES:
        return state
    if held + paid == 0:
        return GroupState.FAILED
    if paid == size:
        return GroupState.SUCCEEDED
    if held + paid == size:
        return GroupState.FILLED
    return GroupState.OPEN
