"""A price ladder: the more pay, the less each of them pays.

Everybody pays the price of the step their group has reached with them, and is given back the gap to the step it
closes on. Heads are seats that are paid; a seat that only waits for its payment moves no price.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from app.domain.errors import InvalidTerms

MAX_STEPS = 10


class Step(NamedTuple):
    """From so many heads on a unit costs this much, in minor units."""

    heads: int
    price: int


def check_ladder(steps: Sequence[Step], size: int) -> None:
    """Refuse a ladder that does not lead down, or beyond the seats of a group.

    The first step is the price of the smallest group that succeeds. Raises `InvalidTerms` when heads do not grow
    from step to step, when more heads would not pay less each, or when there are more than `size`.
    """
    for lower, higher in pairwise(steps):
        if higher.heads <= lower.heads:
            raise InvalidTerms(field="ladder", reason="heads must grow from step to step, from min_size on")
        if higher.price >= lower.price:
            raise InvalidTerms(field="ladder", reason="the price must fall from step to step")
    if steps[-1].heads > size:
        raise InvalidTerms(field="ladder", reason="heads must not exceed group_size")


def price_at(steps: Sequence[Step], heads: int) -> int:
    """The price of a unit with so many heads; with fewer than the first step asks for it is the first one's."""
    reached = [step.price for step in steps if step.heads <= heads]
    return reached[-1] if reached else steps[0].price


def next_step(steps: Sequence[Step], heads: int) -> Step | None:
    """The next step after so many heads, where everybody pays less; None at the end of the ladder."""
    return next((step for step in steps[1:] if step.heads > heads), None)


def gap(unit_price: int, settled_price: int, quantity: int) -> int:
    """What an order is given back when its group has closed, in minor units: a price only ever goes down."""
    return max(unit_price - settled_price, 0) * quantity
