"""What is earned by bringing buyers, leading groups, and helping in bargains: how much of it, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import InvalidTerms
from app.domain.machines import Table
from app.domain.orders import OrderState

MAX_LEVELS = 2
"""Whoever brought the buyer, and who brought them. Never more."""
WHOLE = 10_000
"""All of an amount, in basis points."""
MAX_MATURE_DAYS = 365
CONFIRMED_STATES = frozenset({OrderState.CONFIRMED, OrderState.FULFILLED, OrderState.COMPLETED})
"""States of an order whose rewards mature."""


class RewardRole(StrEnum):
    """For what one is rewarded: having brought the buyer, leading their group, having cut their price."""

    INVITER = "inviter"
    LEADER = "leader"
    HELPER = "helper"


class RewardState(StrEnum):
    """`withheld`: nothing is booked until an operator has looked; `matured`: it is in the member's balance."""

    PENDING = "pending"
    WITHHELD = "withheld"
    MATURED = "matured"
    REVERSED = "reversed"
    DECLINED = "declined"


REWARD_TRANSITIONS: Table[RewardState] = {
    RewardState.PENDING: frozenset({RewardState.WITHHELD, RewardState.MATURED, RewardState.REVERSED}),
    RewardState.WITHHELD: frozenset({RewardState.PENDING, RewardState.DECLINED, RewardState.REVERSED}),
    RewardState.MATURED: frozenset({RewardState.REVERSED}),
    RewardState.REVERSED: frozenset(),
    RewardState.DECLINED: frozenset(),
}
BOOKED_STATES = frozenset({RewardState.PENDING, RewardState.MATURED})
"""States in which a reward's amount is on an account of its member."""
COUNTED_STATES = BOOKED_STATES | {RewardState.WITHHELD}
"""States in which a reward counts towards the caps."""


class RewardLimit(StrEnum):
    """What made a reward smaller than its policy says."""

    ORDER = "order"
    DAY = "day"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Level:
    """What one level earns: a part of what the order really cost, in basis points, or a fixed amount."""

    basis_points: int | None = None
    amount: int | None = None

    def wish(self, kept: int, sharers: int) -> int:
        """What one of `sharers` earns of an order of which `kept` was kept: a part is shared, rounded down, a fixed
        amount is everybody's.
        """
        if self.basis_points is not None:
            return kept * self.basis_points // (WHOLE * sharers)
        return self.amount or 0


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """`order_cap`: all that one order yields; `day_cap`: all that a member earns by it in a day (UTC)."""

    role: RewardRole
    levels: tuple[Level, ...]
    order_cap: int | None = None
    day_cap: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """Somebody who is rewarded for an order: on which level, with how many, and what their day's cap leaves."""

    level: int
    sharers: int = 1
    day_rest: int | None = None


@dataclass(frozen=True, slots=True)
class Allotment:
    """A reward, and what made it smaller than the policy says."""

    amount: int
    limited_by: RewardLimit | None = None


def check_policy(terms: PolicyTerms) -> None:
    """Raise `InvalidTerms` unless the policy can work."""
    if not 1 <= len(terms.levels) <= MAX_LEVELS:
        raise InvalidTerms(field="levels", reason="one or two")
    if terms.role != RewardRole.INVITER and len(terms.levels) > 1:
        raise InvalidTerms(field="levels", reason="only inviters have a second level")
    if any((level.basis_points is None) == (level.amount is None) for level in terms.levels):
        raise InvalidTerms(field="levels", reason="each is either a part or an amount")
    if sum(level.basis_points or 0 for level in terms.levels) > WHOLE:
        raise InvalidTerms(field="levels", reason="together more than the order")


def allot(terms: PolicyTerms, kept: int, shares: Sequence[Share]) -> list[Allotment]:
    """What each share of an order earns, in their order: together never more than was kept of the order's payment
    and than the order's cap, each never more than the day's cap leaves.
    """
    rest = kept if terms.order_cap is None else min(kept, terms.order_cap)
    allotted = []
    for share in shares:
        wish = terms.levels[share.level - 1].wish(kept, share.sharers)
        found = _within(Allotment(wish), rest, RewardLimit.ORDER)
        if share.day_rest is not None:
            found = _within(found, max(share.day_rest, 0), RewardLimit.DAY)
        rest -= found.amount
        allotted.append(found)
    return allotted


def within_budget(allotment: Allotment, budget: int) -> Allotment:
    """The same, when no more than this is left of the campaign's budget."""
    return _within(allotment, budget, RewardLimit.BUDGET)


def _within(allotment: Allotment, most: int, limit: RewardLimit) -> Allotment:
    return allotment if allotment.amount <= most else Allotment(most, limit)
