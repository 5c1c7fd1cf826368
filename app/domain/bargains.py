"""A bargain: friends cut a price, one help each, by parts that are drawn before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from itertools import accumulate, pairwise

from app.domain.errors import BargainClosed, InvalidTerms
from app.domain.machines import Table

MIN_SLOTS, MAX_SLOTS = 2, 100
MAX_HELP_WEIGHT = 5
MAX_DAILY_HELPS = 100
MAX_NEW_MEMBER_DAYS = 365
LEAST_SHARE, SHARE_SPAN = 500, 1001
"""A part's share is drawn from 500 to 1500: the largest cut is three times the smallest, whoever comes last."""


class BargainState(StrEnum):
    CUTTING = "cutting"
    WON = "won"
    ORDERED = "ordered"
    BOUGHT = "bought"
    EXPIRED = "expired"


BARGAIN_TRANSITIONS: Table[BargainState] = {
    BargainState.CUTTING: frozenset({BargainState.WON, BargainState.ORDERED, BargainState.EXPIRED}),
    BargainState.WON: frozenset({BargainState.ORDERED, BargainState.EXPIRED}),
    BargainState.ORDERED: frozenset(
        {BargainState.BOUGHT, BargainState.CUTTING, BargainState.WON, BargainState.EXPIRED},
    ),
    BargainState.BOUGHT: frozenset(),
    BargainState.EXPIRED: frozenset(),
}
BUYABLE_STATES = frozenset({BargainState.CUTTING, BargainState.WON})
"""States in which the owner may buy, and in which time runs out."""
FINAL_BARGAIN_STATES = frozenset({BargainState.BOUGHT, BargainState.EXPIRED})
RUNNING_BARGAIN_STATES = frozenset(BargainState) - FINAL_BARGAIN_STATES


@dataclass(frozen=True, slots=True)
class BargainRules:
    """What an operator fixes for every bargain of a sale."""

    slots: int
    """Cuts that lead from the start price to the floor."""
    daily_helps: int = 3
    """Bargains of the sale that one member may help in on one day, by UTC."""
    weight: int = 1
    """Slots that a help takes."""
    new_member_days: int = 0
    """For how many days a member counts as new."""
    new_member_weight: int = 1
    """Slots that a new member's help takes."""


def check_span(rules: BargainRules, start_price: int | None, floor_price: int) -> None:
    """Refuse an offer that cannot be bargained for. Raises `InvalidTerms`: every slot must cut something."""
    if start_price is None or start_price - floor_price < rules.slots:
        raise InvalidTerms(field="list_price", reason="must exceed price by at least one minor unit per slot")


def bargain_deadline(ttl_seconds: int, closes_at: datetime, now: datetime) -> datetime:
    """When a bargain that starts at `now` is over: its own time, but never after the sale."""
    return min(now + timedelta(seconds=ttl_seconds), closes_at)


def hash_seed(seed: str) -> str:
    """What is shown of a seed when a bargain starts: it binds us, and tells nothing."""
    return sha256(seed.encode()).hexdigest()


def draw_cuts(seed: str, total: int, slots: int) -> list[int]:
    """The amount of every cut: parts of `total`, one for each slot, all positive. The same seed draws the same.

    Raises `ValueError` when there is not a minor unit for each.
    """
    if not 1 <= slots <= total:
        raise ValueError("every slot must cut something")
    shares = [LEAST_SHARE + _number(f"{seed}:{slot}") % SHARE_SPAN for slot in range(1, slots + 1)]
    whole = sum(shares)
    ends = [(total - slots) * reached // whole for reached in accumulate(shares, initial=0)]
    return [1 + end - begin for begin, end in pairwise(ends)]


def next_cuts(seed: str, total: int, slots: int, taken: int, weight: int) -> Sequence[int]:
    """The amounts of the slots that a help of this weight takes when so many are taken; the last may take fewer."""
    return draw_cuts(seed, total, slots)[taken : taken + weight]


def weight_of(rules: BargainRules, joined_at: datetime, now: datetime) -> int:
    """How many slots the help of a member takes who joined at that time."""
    is_new = now - joined_at < timedelta(days=rules.new_member_days)
    return rules.new_member_weight if is_new else rules.weight


def present_state(state: BargainState, deadline_at: datetime, now: datetime) -> BargainState:
    """The state a bargain is in: the clock decides, not the worker that writes it."""
    return BargainState.EXPIRED if state in BUYABLE_STATES and now >= deadline_at else state


def check_cuttable(state: BargainState, deadline_at: datetime, now: datetime) -> None:
    """Refuse a help when there is nothing to cut. Raises `BargainClosed`."""
    present = present_state(state, deadline_at, now)
    if present != BargainState.CUTTING:
        raise BargainClosed(state=present)


def check_buyable(state: BargainState, deadline_at: datetime, now: datetime) -> None:
    """Refuse an order of what is ordered or over. Raises `BargainClosed`."""
    present = present_state(state, deadline_at, now)
    if present not in BUYABLE_STATES:
        raise BargainClosed(state=present)


def state_given_back(taken: int, slots: int, deadline_at: datetime, now: datetime) -> BargainState:
    """The state of a bargain whose order was not paid: as before the order, while its time lasts."""
    if now >= deadline_at:
        return BargainState.EXPIRED
    return BargainState.WON if taken == slots else BargainState.CUTTING


def shows_seed(state: BargainState, taken: int, slots: int) -> bool:
    """Whether the seed may be seen: nobody can cut any more."""
    return taken == slots or state in FINAL_BARGAIN_STATES


def _number(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")
