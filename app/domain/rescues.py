"""What becomes of a group that has not filled in time: decided at its deadline, for all who have paid, at once.

Everybody said beforehand what they want then, and has paid for it: nothing is asked of anybody at the deadline, and
what was paid too much goes back. Every paid order ends in a seat, in a seat of a sibling group, or in a refund.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import ChoiceNotOffered

MAX_EXTENSION_SECONDS = 7 * 24 * 3600


class OnUnfilled(StrEnum):
    """What a member wants when the group does not fill."""

    REFUND = "refund"
    MERGE = "merge"
    EXTEND = "extend"
    SOLO = "solo"


class Outcome(StrEnum):
    """What becomes of a paid order at the deadline of its group."""

    SEAT = "seat"
    MOVE = "move"
    WAIT = "wait"
    SOLO = "solo"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class RescueRules:
    """What a sale does for groups that do not fill; nothing, unless it says so."""

    merge: bool = False
    extend_seconds: int = 0
    flexible: bool = False
    """Whether members may say that they take fewer units than they pay for, unless more help to fill."""
    cover_seats: int = 0
    """Seats of a group that the merchant fills, and is shown to have filled."""


NO_RESCUE = RescueRules()


@dataclass(frozen=True, slots=True)
class Paid:
    """A paid order of the group. `spare` are units it takes only if they help to fill."""

    order_id: str
    choice: OnUnfilled = OnUnfilled.REFUND
    spare: int = 0
    moved: bool = False
    """Whether it came from another group: it moves once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a group ends, or goes on: what becomes of each order, and which seats nobody joined for."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    """Spare units that an order keeps, each in place of a member."""
    covered: int = 0
    """Seats that the merchant covers."""

    def orders(self, outcome: Outcome) -> list[str]:
        """The orders that come to this."""
        return [order_id for order_id, found in self.outcomes.items() if found == outcome]


def check_choice(
    rules: RescueRules, choice: OnUnfilled, quantity: int, min_quantity: int | None, solo_price: int | None
) -> None:
    """Refuse a wish for the case that the group does not fill, when the sale does not grant it.

    Raises `ChoiceNotOffered`.
    """
    offered = {
        OnUnfilled.REFUND: True,
        OnUnfilled.MERGE: rules.merge,
        OnUnfilled.EXTEND: rules.extend_seconds > 0,
        OnUnfilled.SOLO: solo_price is not None,
    }
    if not offered[choice]:
        raise ChoiceNotOffered(field="on_unfilled")
    if min_quantity is not None and (not rules.flexible or min_quantity > quantity):
        raise ChoiceNotOffered(field="min_quantity")


def extended_deadline(
    rules: RescueRules, deadline_at: datetime, closes_at: datetime, now: datetime
) -> datetime | None:
    """Until when a group may go on, once: never longer than its sale; None when that leaves it no time."""
    later = min(deadline_at + timedelta(seconds=rules.extend_seconds), closes_at)
    return later if later > max(deadline_at, now) else None


def decide(
    paid: Sequence[Paid], needed: int, rules: RescueRules, *, room: int = 0, may_extend: bool = False
) -> Plan:
    """What becomes of a group at its deadline. `paid` are in the order of seats; `needed` seats let it succeed.

    It succeeds with those who have paid; else with spare units of members who said that they would take them; else
    with these and seats that the merchant covers, but only with somebody in it. Else everybody gets their own wish:
    up to `room` move to a sibling group, those who would wait do so if the group `may_extend`, others have bought
    alone. A wish that cannot be granted is a refund.
    """
    missing = needed - len(paid)
    spare = sum(order.spare for order in paid)
    if paid and missing <= spare + rules.cover_seats:
        return Plan(
            outcomes={order.order_id: Outcome.SEAT for order in paid},
            extra=_spread(paid, missing),
            covered=max(missing - spare, 0),
        )
    outcomes = {}
    for order in paid:
        match order.choice:
            case OnUnfilled.MERGE if room > 0 and not order.moved:
                outcomes[order.order_id] = Outcome.MOVE
                room -= 1
            case OnUnfilled.EXTEND if may_extend:
                outcomes[order.order_id] = Outcome.WAIT
            case OnUnfilled.SOLO:
                outcomes[order.order_id] = Outcome.SOLO
            case _:
                outcomes[order.order_id] = Outcome.REFUND
    return Plan(outcomes)


def _spread(paid: Sequence[Paid], missing: int) -> dict[str, int]:
    """Who keeps how many spare units: as few as are missing, from the lowest seat on."""
    extra = {}
    for order in paid:
        extra[order.order_id] = min(order.spare, max(missing, 0))
        missing -= extra[order.order_id]
    return extra
