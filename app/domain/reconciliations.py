"""A day at a provider beside the same day here: every charge and refund of its bill against ours."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from app.domain.machines import Table

READY_AT = time(10)
"""When yesterday's bill is there, on the provider's clock: WeChat Pay says to come after ten."""
CATCH_UP_DAYS = 7
"""How far back a worker looks for days that were never compared."""
NEAR = timedelta(hours=1)
"""What happened this close to midnight may be on the bill of the other day: the provider is asked when it was."""
SHOWN = 100
"""Differences that are shown of one day."""


class ReconciliationState(StrEnum):
    WAITING = "waiting"
    DONE = "done"


RECONCILIATION_TRANSITIONS: Table[ReconciliationState] = {
    ReconciliationState.WAITING: frozenset({ReconciliationState.DONE}),
    ReconciliationState.DONE: frozenset({ReconciliationState.WAITING}),
}


class LineKind(StrEnum):
    CHARGE = "charge"
    REFUND = "refund"


class LineState(StrEnum):
    """Money that was moved, may yet be, or was not."""

    DONE = "done"
    PENDING = "pending"
    FAILED = "failed"


class DifferenceKind(StrEnum):
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Line:
    """A charge or a refund, as one side has it."""

    kind: LineKind
    subject: str
    """Our id of the payment or the refund; or what the provider calls it, where it is none of ours."""
    amount: int
    currency: str
    state: LineState
    at: datetime
    """By the provider's clock, as far as it is known."""

    @property
    def key(self) -> tuple[LineKind, str]:
        """What tells it from others."""
        return self.kind, self.subject


@dataclass(frozen=True, slots=True)
class Difference:
    """Two lines that should say the same, or one that lacks its other."""

    kind: DifferenceKind
    here: Line | None
    there: Line | None

    @property
    def line(self) -> Line:
        """The one there is; theirs where there are both."""
        found = self.there or self.here
        if found is None:
            raise AssertionError("a difference has a side")
        return found


def bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The moments in which a day begins and the next one does."""
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def newest_day(now: datetime, zone: ZoneInfo) -> date:
    """The last day of which there is a bill by now."""
    local = now.astimezone(zone)
    return local.date() - timedelta(days=1 if local.time() >= READY_AT else 2)


def days_to_compare(now: datetime, zone: ZoneInfo) -> list[date]:
    """The days that should have been compared by now, oldest first."""
    newest = newest_day(now, zone)
    return [newest - timedelta(days=back) for back in reversed(range(CATCH_UP_DAYS))]


def is_near_midnight(line: Line, day: date, zone: ZoneInfo) -> bool:
    """Whether a line of this day could as well be on the bill of the day before or after."""
    start, end = bounds(day, zone)
    return min(line.at - start, end - line.at) < NEAR


def compare(there: Iterable[Line], here: Iterable[Line]) -> list[Difference]:
    """What differs between the bill of a day and our rows, in the order of the bill.

    `here` are our lines that the bill names, and those of the day: of these only what is done is missed there. A
    refund on its way is as good as one that is done, or not yet: it goes on after the bill was made.
    """
    bill, ours = _summed(there), {line.key: line for line in here}
    found = []
    for key, line in bill.items():
        own = ours.get(key)
        if own is None:
            found.append(Difference(DifferenceKind.MISSING_HERE, None, line))
        elif (own.amount, own.currency) != (line.amount, line.currency):
            found.append(Difference(DifferenceKind.AMOUNT, own, line))
        elif _disagree(own.state, line.state):
            found.append(Difference(DifferenceKind.STATE, own, line))
    missed = [own for key, own in ours.items() if key not in bill and own.state == LineState.DONE]
    return [*found, *(Difference(DifferenceKind.MISSING_THERE, own, None) for own in missed)]


def _disagree(here: LineState, there: LineState) -> bool:
    return (there == LineState.DONE) != (here == LineState.DONE) and there != LineState.PENDING


def _summed(lines: Iterable[Line]) -> dict[tuple[LineKind, str], Line]:
    """The lines of a bill by their key. One that is there twice was moved twice; one that failed, never."""
    found: dict[tuple[LineKind, str], Line] = {}
    for line in lines:
        before = found.get(line.key)
        if before is None or line.state == LineState.FAILED or before.state == LineState.PENDING:
            found[line.key] = line
        elif before.state == line.state == LineState.DONE:
            found[line.key] = replace(line, amount=before.amount + line.amount)
    return found
