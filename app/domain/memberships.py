"""Who one is in a community, and what one may do there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.machines import Table

WARNING_DAYS = 3
"""How long before what was paid for runs out one is told, where a payment is good for longer than that."""


class Role(StrEnum):
    MEMBER = "member"
    EXPERT = "expert"
    MODERATOR = "moderator"
    LEADER = "leader"
    OWNER = "owner"


class MembershipState(StrEnum):
    APPLIED = "applied"
    ACTIVE = "active"
    DECLINED = "declined"
    LEFT = "left"
    REMOVED = "removed"
    LAPSED = "lapsed"
    BLOCKED = "blocked"


MEMBERSHIP_TRANSITIONS: Table[MembershipState] = {
    MembershipState.APPLIED: frozenset(
        {MembershipState.ACTIVE, MembershipState.DECLINED, MembershipState.LEFT, MembershipState.BLOCKED},
    ),
    MembershipState.ACTIVE: frozenset(
        {MembershipState.LEFT, MembershipState.REMOVED, MembershipState.LAPSED, MembershipState.BLOCKED},
    ),
    MembershipState.DECLINED: frozenset(
        {MembershipState.APPLIED, MembershipState.ACTIVE, MembershipState.BLOCKED},
    ),
    MembershipState.LEFT: frozenset({MembershipState.APPLIED, MembershipState.ACTIVE, MembershipState.BLOCKED}),
    MembershipState.REMOVED: frozenset({MembershipState.APPLIED, MembershipState.ACTIVE, MembershipState.BLOCKED}),
    MembershipState.LAPSED: frozenset({MembershipState.ACTIVE, MembershipState.LEFT, MembershipState.BLOCKED}),
    MembershipState.BLOCKED: frozenset({MembershipState.LEFT}),
}


class LeaveReason(StrEnum):
    """Why a member is one no more: said by who leaves, or what happened."""

    NOT_USEFUL = "not_useful"
    TOO_MANY_PUSHES = "too_many_pushes"
    TOO_EXPENSIVE = "too_expensive"
    CONFLICT = "conflict"
    MOVED_ON = "moved_on"
    OTHER = "other"
    REMOVED = "removed"
    BLOCKED = "blocked"
    LAPSED = "lapsed"
    DISSOLVED = "dissolved"
    ERASED = "erased"


SAID_REASONS = (
    *(LeaveReason.NOT_USEFUL, LeaveReason.TOO_MANY_PUSHES, LeaveReason.TOO_EXPENSIVE),
    *(LeaveReason.CONFLICT, LeaveReason.MOVED_ON, LeaveReason.OTHER),
)
"""Those that somebody who leaves may give."""


class Shown(StrEnum):
    """What members may show of themselves in a community; nothing, unless they choose to."""

    JOINED_DAY = "joined_day"
    """The day they joined, YYYY-MM-DD in the community's time zone."""
    ACTED_DAY = "acted_day"
    """The day they last wrote, reacted, checked in or bought there."""
    STREAK = "streak"
    """Days in a row they have checked in, up to today or yesterday."""
    TRUST_LEVEL = "trust_level"
    """0 to 4, by what they gave and received."""


@dataclass(frozen=True, slots=True)
class Bought:
    """A period of a paid membership: `is_kept`, unless its money went back."""

    days: int
    bought_at: datetime
    is_kept: bool = True


class Standing(StrEnum):
    """Who somebody is in a community, as permissions look at it."""

    STRANGER = "stranger"
    APPLICANT = "applicant"
    BLOCKED = "blocked"
    MEMBER = "member"
    EXPERT = "expert"
    MODERATOR = "moderator"
    LEADER = "leader"
    OWNER = "owner"


class Action(StrEnum):
    """What permissions are asked for."""

    READ = "read"
    """Posts, comments, members."""
    TAKE_PART = "take_part"
    """Post, comment, react, check in, report."""
    POST_EXCLUSIVE = "post_exclusive"
    MODERATE = "moderate"
    """Pin, hide, decide reports, admit, remove, block."""
    PUSH = "push"
    """Broadcasts, and what they cost."""
    SEE_HEALTH = "see_health"
    EDIT = "edit"
    """The statement and settings."""
    SET_ROLES = "set_roles"


_LED_BY = frozenset({Standing.LEADER, Standing.OWNER})
_KEPT_BY = _LED_BY | {Standing.MODERATOR}
_IN = _KEPT_BY | {Standing.MEMBER, Standing.EXPERT}
MAY: Mapping[Action, frozenset[Standing]] = {
    Action.READ: _IN,
    Action.TAKE_PART: _IN,
    Action.POST_EXCLUSIVE: _LED_BY | {Standing.EXPERT},
    Action.MODERATE: _KEPT_BY,
    Action.PUSH: _LED_BY,
    Action.SEE_HEALTH: _LED_BY,
    Action.EDIT: _LED_BY,
    Action.SET_ROLES: frozenset({Standing.OWNER}),
}
RANKS: Mapping[Standing, int] = {
    Standing.MODERATOR: 1,
    Standing.LEADER: 2,
    Standing.OWNER: 3,
}
"""Nobody moderates those of their own rank or a higher one; who is not here has rank 0."""


def standing_of(state: MembershipState | None, role: Role) -> Standing:
    """Who somebody is by their membership; `state` is None for who has none."""
    if state == MembershipState.ACTIVE:
        return Standing(role)
    if state == MembershipState.BLOCKED:
        return Standing.BLOCKED
    return Standing.APPLICANT if state == MembershipState.APPLIED else Standing.STRANGER


def may(standing: Standing, action: Action) -> bool:
    """Whether somebody may do this in their community."""
    return standing in MAY[action]


def outranks(standing: Standing, other: Standing) -> bool:
    """Whether one may moderate the other."""
    return RANKS.get(standing, 0) > RANKS.get(other, 0)


def paid_until(periods: Iterable[Bought]) -> datetime | None:
    """When what was paid for runs out: each period that is kept goes on from where the one before ends, or from
    when it was bought. None when there is none.
    """
    until: datetime | None = None
    for period in sorted((period for period in periods if period.is_kept), key=lambda period: period.bought_at):
        start = period.bought_at if until is None else max(until, period.bought_at)
        until = start + timedelta(days=period.days)
    return until


def has_run_out(state: MembershipState, role: Role, until: datetime | None, now: datetime) -> bool:
    """Whether a membership lapses: what was paid for has run out. Who works for a community need not pay."""
    return state == MembershipState.ACTIVE and role == Role.MEMBER and until is not None and until <= now
