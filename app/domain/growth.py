"""What growth is made of: counts, and the ratios of them. Every formula is in docs/metrics.md."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from app.domain.invites import InviteChannel

DIGITS = 4
FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")


class Cohort(StrEnum):
    """By what those who invite are told apart: the day or the week they came."""

    DAY = "day"
    WEEK = "week"


class Buyer(NamedTuple):
    """When a member paid for the first and for the last time."""

    first: datetime
    last: datetime


class Made(NamedTuple):
    """An invite that was made."""

    code: str
    member_id: str
    channel: InviteChannel
    at: datetime


class Came(NamedTuple):
    """That somebody came by an invite; `who` is a member when `known`, or else a browser."""

    code: str
    who: str
    known: bool
    at: datetime


class Brought(NamedTuple):
    """Who brought somebody who paid, and by an invite of when."""

    inviter_id: str
    channel: InviteChannel
    invited_at: datetime
    paid_at: datetime


class Money(NamedTuple):
    captured: int = 0
    refunded: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of a slice: all until its end, of which some may be from before its period."""

    buyers: dict[str, Buyer] = field(default_factory=dict)
    brought: dict[str, Brought] = field(default_factory=dict)
    """Those whose first paid order was brought by an invite."""
    made: list[Made] = field(default_factory=list)
    came: list[Came] = field(default_factory=list)
    money: dict[str, Money] = field(default_factory=dict)
    """Of the orders that a member paid in the period."""
    since: dict[str, datetime] = field(default_factory=dict)
    """When members who invited logged in first."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two counts, which are exact; `value` is for reading."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        """To four digits, half up; None when there is nothing to divide by."""
        return _rounded(self.numerator, self.denominator) if self.denominator else None


@dataclass(slots=True)
class Figures:
    """The counts of a part of growth, made one by one."""

    members: set[str] = field(default_factory=set)
    invites: int = 0
    came: dict[str, Came] = field(default_factory=dict)
    inviters: set[str] = field(default_factory=set)
    cycles: list[int] = field(default_factory=list)
    levels: Counter[int] = field(default_factory=Counter)
    captured: int = 0
    refunded: int = 0
    logged_in: int = 0
    paid: int = 0

    def come(self, came: Came) -> None:
        """Somebody came: who comes again counts once, from the first time on."""
        before = self.came.setdefault(came.who, came)
        if came.at < before.at:
            self.came[came.who] = came

    def bring(self, brought: Brought, level: int, cycle: int, money: Money) -> None:
        """A new member was brought."""
        self.inviters.add(brought.inviter_id)
        self.levels[level] += 1
        self.cycles.append(cycle)
        self.captured += money.captured
        self.refunded += money.refunded

    def close(self, buyers: Mapping[str, Buyer]) -> None:
        """Count what became of those who came."""
        known = [came for came in self.came.values() if came.known]
        self.logged_in = len(known)
        self.paid = sum(came.who in buyers and buyers[came.who].last >= came.at for came in known)

    @property
    def active(self) -> int:
        return len(self.members)

    @property
    def visitors(self) -> int:
        return len(self.came)

    @property
    def brought(self) -> int:
        return len(self.cycles)

    @property
    def referrers(self) -> int:
        return len(self.inviters)

    @property
    def cycle_seconds(self) -> int | None:
        return median(self.cycles)

    @property
    def depths(self) -> list[int]:
        """Of those who were brought, how many are at each level from 1 on."""
        return [self.levels[level] for level in range(1, max(self.levels, default=0) + 1)]

    @property
    def unplaced(self) -> int:
        return self.levels[0]

    @property
    def kept(self) -> int:
        return self.captured - self.refunded

    @property
    def ratios(self) -> dict[str, Ratio]:
        """By name; `k_factor = invites_per_active × brought_per_invite`, exactly."""
        return {
            "invites_per_active": Ratio(self.invites, self.active),
            "login_rate": Ratio(self.logged_in, self.visitors),
            "paid_rate": Ratio(self.paid, self.logged_in),
            "visit_to_paid": Ratio(self.paid, self.visitors),
            "brought_per_invite": Ratio(self.brought, self.invites),
            "k_factor": Ratio(self.brought, self.active),
        }


@dataclass(slots=True)
class Growth:
    """The figures of all, by channel, and by cohort of those who invite."""

    total: Figures
    channels: dict[InviteChannel, Figures]
    cohorts: dict[str, Figures]


@dataclass(slots=True)
class Branch:
    """A seed, who was not brought, and all who came through them."""

    member_id: str
    members: int = 0
    depth: int = 0
    captured: int = 0
    refunded: int = 0
    own_kept: int = 0

    @property
    def kept(self) -> int:
        return self.captured - self.refunded


class Place(NamedTuple):
    """Where somebody is in the forest: below which seed, and how far. Level 0: below none."""

    seed_id: str
    level: int


NOWHERE = Place("", 0)


@dataclass(slots=True)
class _Count:
    """The figures of a period as they are counted."""

    rows: Rows
    since: datetime
    until: datetime
    cohort: Cohort | None
    growth: Growth

    def lies_in(self, at: datetime) -> bool:
        return self.since <= at < self.until

    def cohort_of(self, member_id: str) -> tuple[Figures, ...]:
        """The figures of a member's cohort; none when cohorts are not asked for."""
        if self.cohort is None:
            return ()
        buyer = self.rows.buyers.get(member_id)
        day = first_day(self.rows.since[member_id] if buyer is None else buyer.first, self.cohort)
        return (self.growth.cohorts.setdefault(day, Figures()),)

    def parts(self, inviter_id: str, channel: InviteChannel) -> tuple[Figures, ...]:
        """Where something that came of an invite is counted; nowhere when its channel is not asked for."""
        if channel not in self.growth.channels:
            return ()
        return (self.growth.total, self.growth.channels[channel], *self.cohort_of(inviter_id))

    def count_active(self) -> None:
        active = {member_id for member_id, buyer in self.rows.buyers.items() if self.lies_in(buyer.last)}
        active |= {made.member_id for made in self.rows.made if self.lies_in(made.at)}
        for part in (self.growth.total, *self.growth.channels.values()):
            part.members = active
        for member_id in active:
            for part in self.cohort_of(member_id):
                part.members.add(member_id)

    def count_invites(self) -> None:
        for made in self.rows.made:
            if self.lies_in(made.at):
                for part in self.parts(made.member_id, made.channel):
                    part.invites += 1

    def count_visitors(self) -> None:
        invites = {made.code: made for made in self.rows.made}
        for came in self.rows.came:
            invite = invites[came.code]
            if self.lies_in(came.at) and came.who != invite.member_id:
                for part in self.parts(invite.member_id, invite.channel):
                    part.come(came)
        for part in (self.growth.total, *self.growth.channels.values(), *self.growth.cohorts.values()):
            part.close(self.rows.buyers)

    def count_brought(self) -> None:
        places = place(self.rows.brought)
        for member_id, brought in self.rows.brought.items():
            if self.lies_in(brought.paid_at):
                cycle = cycle_seconds(brought, self.rows.buyers.get(brought.inviter_id))
                money = self.rows.money.get(member_id, Money())
                for part in self.parts(brought.inviter_id, brought.channel):
                    part.bring(brought, places[member_id].level, cycle, money)


def measure(
    rows: Rows, since: datetime, until: datetime, channel: InviteChannel | None, cohort: Cohort | None
) -> Growth:
    """The figures of the period from `since` to before `until`; of one channel, or of all."""
    wanted = [channel] if channel else list(InviteChannel)
    count = _Count(rows, since, until, cohort, Growth(Figures(), {one: Figures() for one in wanted}, {}))
    count.count_active()
    count.count_invites()
    count.count_visitors()
    count.count_brought()
    return count.growth


def rank(rows: Rows, limit: int) -> list[Branch]:
    """The branches of which the most money is kept, the first of them first."""
    found: dict[str, Branch] = {}
    for member_id, at in place(rows.brought).items():
        if at.level:
            branch = found.setdefault(at.seed_id, Branch(at.seed_id))
            money = rows.money.get(member_id, Money())
            branch.members += 1
            branch.depth = max(branch.depth, at.level)
            branch.captured += money.captured
            branch.refunded += money.refunded
    for branch in found.values():
        own = rows.money.get(branch.member_id, Money())
        branch.own_kept = own.captured - own.refunded
    return sorted(found.values(), key=lambda branch: (-branch.kept, branch.member_id))[:limit]


def place(brought: Mapping[str, Brought]) -> dict[str, Place]:
    """Where everybody who was brought is. Whoever is in a ring, or below one, is nowhere: across several sales, two
    may have brought each other. Each is come by once.
    """
    places: dict[str, Place] = {}
    for member_id in brought:
        path: dict[str, None] = {}
        above = member_id
        while above in brought and above not in places and above not in path:
            path[above] = None
            above = brought[above].inviter_id
        at = NOWHERE if above in path else places.get(above, Place(above, 0))
        lost = at == NOWHERE
        for below in reversed(path):
            at = NOWHERE if lost else Place(at.seed_id, at.level + 1)
            places[below] = at
    return places


def cycle_seconds(brought: Brought, inviter: Buyer | None) -> int:
    """From when somebody began to bring others to when the other paid: whole seconds.

    One begins with one's own first paid order; who has none before the other's, with the invite.
    """
    begun = inviter.first if inviter is not None and inviter.first < brought.paid_at else brought.invited_at
    return (brought.paid_at - begun) // timedelta(seconds=1)


def _rounded(numerator: int, denominator: int) -> float:
    scale: int = 10**DIGITS
    return (2 * scale * numerator + denominator) // (2 * denominator) / scale


def first_day(at: datetime, cohort: Cohort) -> str:
    """The first day of a day or of a week, which begins on Monday; in UTC."""
    day = at.astimezone(UTC).date()
    return str(day - timedelta(days=day.weekday()) if cohort == Cohort.WEEK else day)


def median(numbers: Sequence[int]) -> int | None:
    """The middle one; of two the smaller, so that it is one that there was. None of none."""
    return sorted(numbers)[(len(numbers) - 1) // 2] if numbers else None


def cell(value: str | float | None) -> str:
    """A value as a cell of a spreadsheet, which must not take somebody's text for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return "" if value is None else str(value)
