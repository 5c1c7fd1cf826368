"""People in line: those who entered a draw, and those who wait for what is sold out or full."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.machines import Table


class EntryState(StrEnum):
    WAITING = "waiting"
    CALLED = "called"
    OFFERED = "offered"
    TAKEN = "taken"
    LAPSED = "lapsed"
    LEFT = "left"
    LOST = "lost"


ENTRY_TRANSITIONS: Table[EntryState] = {
    EntryState.WAITING: frozenset({EntryState.CALLED, EntryState.LEFT, EntryState.LOST}),
    EntryState.CALLED: frozenset({EntryState.OFFERED, EntryState.WAITING, EntryState.LOST}),
    EntryState.OFFERED: frozenset({EntryState.TAKEN, EntryState.LAPSED}),
    EntryState.TAKEN: frozenset(),
    EntryState.LAPSED: frozenset(),
    EntryState.LEFT: frozenset(),
    EntryState.LOST: frozenset(),
}
"""Who is called has units kept for them, and is made an order; who is offered has that order, and pays it in
time.
"""

IN_LINE_STATES = frozenset({EntryState.WAITING, EntryState.CALLED})
"""States in which others are not sold what comes free."""
OPEN_ENTRY_STATES = IN_LINE_STATES | {EntryState.OFFERED}
"""States in which the same member does not stand in the same line again."""
SERVED_ENTRY_STATES = frozenset({EntryState.OFFERED, EntryState.TAKEN, EntryState.LAPSED})
"""States of those whose turn came: they have, or had, an order."""


def awaited_group(line_id: str) -> str | None:
    """The group in whose line one waits for a seat; None in the line of an offer or a draw."""
    return line_id if line_id.startswith("grp_") else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody in line for an offer, or for a seat in one group. Their party is served whole or not at all."""

    id: str
    member_id: str
    quantity: int
    group_id: str | None = None
    over: bool = False
    """Whether that group has ended: then any other will do."""


@dataclass(frozen=True, slots=True)
class Room:
    """Free seats of a running group, and who sits in it."""

    seats: int
    members: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is: who joins which group, and who opens a new one together, led by the first."""

    joins: list[tuple[Waiting, str]]
    openings: list[list[Waiting]]


def take_turns(line: Sequence[Waiting], free: int, rooms: Mapping[str, Room], *, size: int, enough: int) -> Turns:
    """Whose turn it is when so many units of an offer are free, in the order of the line.

    A party that does not fit is passed over by those behind it, and keeps its place. Who waits for an offer
    joins the running group that is nearest to full, or opens one of up to `size`. Who waits for a group gets a
    seat of it, or of another when it is over; when `enough` of them wait, they open one together. Nobody is
    called twice at once.
    """
    seats = {group_id: room.seats for group_id, room in rooms.items()}
    kept = {one.group_id for one in line}
    joins: list[tuple[Waiting, str]] = []
    openers: list[Waiting] = []
    others: list[Waiting] = []
    called: set[str] = set()
    for one in line:
        if one.quantity > free or one.member_id in called:
            continue
        group_id = None
        if one.group_id is None or one.over:
            group_id = _nearest_to_full(one, rooms, seats, kept)
        elif seats.get(one.group_id, 0) > 0:
            group_id = one.group_id
        if group_id is None and one.group_id is not None:
            others.append(one)
            continue
        if group_id is None:
            openers.append(one)
        else:
            joins.append((one, group_id))
            seats[group_id] -= 1
        called.add(one.member_id)
        free -= one.quantity
    return Turns(joins, _open_together(openers, others, called, free, size, enough))


def _nearest_to_full(
    one: Waiting, rooms: Mapping[str, Room], seats: Mapping[str, int], kept: Collection[str | None]
) -> str | None:
    """The group to join; not one that others wait for."""
    fitting = [
        (left, group_id)
        for group_id, left in seats.items()
        if left > 0 and one.member_id not in rooms[group_id].members and group_id not in kept
    ]
    return min(fitting)[1] if fitting else None


def _open_together(
    openers: Sequence[Waiting], others: Sequence[Waiting], called: set[str], free: int, size: int, enough: int
) -> list[list[Waiting]]:
    crowd = list(openers)
    for one in others:
        if one.quantity <= free and one.member_id not in called:
            crowd.append(one)
            called.add(one.member_id)
            free -= one.quantity
    groups = [crowd[start : start + size] for start in range(0, len(crowd), size)]
    if groups and len(groups[-1]) < enough:  # only they need no company
        groups[-1] = [one for one in groups[-1] if one in openers]
    return [group for group in groups if group]
