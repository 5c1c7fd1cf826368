"""What members are told of friends who have bought: names of some, a number where nobody stands out."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.members import SeenBy, mask_name

MOST_NAMES = 3
LEAST_COUNTED = 3
"""So many who want to be counted only are told as a number; of fewer one could guess who they are."""


@dataclass(frozen=True, slots=True)
class Friend:
    """Somebody the viewer knows, and how they want to be seen."""

    name: str
    seen_by_friends: SeenBy


def show_friends(friends: Sequence[Friend]) -> tuple[list[str], int | None] | None:
    """Masked names of up to three, and how many there are besides; None when there is nothing to tell.

    The number holds those who allow their names beyond the first three, and those who want to be counted, if there
    are enough of them.
    """
    named = [mask_name(friend.name) for friend in friends if friend.seen_by_friends == SeenBy.NAMED]
    counted = sum(friend.seen_by_friends == SeenBy.COUNTED for friend in friends)
    others = len(named[MOST_NAMES:]) + (counted if counted >= LEAST_COUNTED else 0)
    return (named[:MOST_NAMES], others or None) if named or others else None
