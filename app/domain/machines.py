"""State machines as data: one literal table each, read by the guard, the database and the docs."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)
Table = Mapping[State, frozenset[State]]


def sources(table: Table[State], target: State) -> list[State]:
    """The states from which `target` may be reached, for `UPDATE … WHERE state IN (…)`."""
    return [state for state, targets in table.items() if target in targets]


def may(table: Table[State], current: State, target: State) -> bool:
    """Whether one step leads from `current` to `target`."""
    return target in table[current]


def finals(table: Table[State]) -> list[State]:
    """The states that nothing leads out of."""
    return [state for state, targets in table.items() if not targets]
