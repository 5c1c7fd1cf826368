"""Broadcasts 群发: what a community may tell all its members, what that costs, and when it is not sent.

A push takes the attention of everybody it reaches, so it is paid for out of what the community has given its
members: the points of value of `CommunityDay.value`. The formulas and their numbers are ours; docs/decisions/0031
explains them.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.domain.errors import InvalidTerms
from app.domain.machines import Table
from app.domain.notices import PushState

EARNING_DAYS = 30
"""Days for which what was earned can be spent, and for which what was spent is missing."""
SURCHARGE_WINDOW = timedelta(days=7)
"""Every push of these days makes the next one dearer."""
RECIPIENTS_PER_POINT = 10
LEAST_PRICE = 10
FIRST_PUSHES = 2
"""Pushes to all its members that a new community may send before it has earned anything, a week apart."""
MAX_AHEAD = timedelta(days=7)
"""How long before it is sent a push may be drawn up: no longer than it counts for the surcharge."""
DIGEST_AT = time(18)
"""When members are told, in one go, of what there was no place for: the evening, when it is in nobody's way."""
DIGEST_LINES = 20
DIGEST_TITLE = 30
"""Letters of a push that its line of a digest shows."""
MINUTE = timedelta(minutes=1)

PUSH_TRANSITIONS: Table[PushState] = {
    PushState.SCHEDULED: frozenset({PushState.SENDING, PushState.CANCELLED}),
    PushState.SENDING: frozenset({PushState.SENT}),
    PushState.SENT: frozenset(),
    PushState.CANCELLED: frozenset(),
}
DUE_STATES = [PushState.SCHEDULED, PushState.SENDING]


def price(recipients: int, sent: int) -> int:
    """Points that a push to so many members costs, when so many were sent in `SURCHARGE_WINDOW` before it.

    One for every ten members begun, at least ten: so that who gives as much to each of its members may speak as
    often, however many they are. The second push of a week costs twice that, the third three times.
    """
    return max(LEAST_PRICE, -(-recipients // RECIPIENTS_PER_POINT)) * (1 + sent)


def allowance(members: int, age: timedelta) -> int:
    """Points that a new community has without having earned them: enough to speak to all its members once, and once
    more in another week. They fade like those it earns.
    """
    return FIRST_PUSHES * price(members, 0) if age < timedelta(days=EARNING_DAYS) else 0


def budget(earned: int, allowed: int, spent: int) -> int:
    """What may be spent now, never below nothing: what was earned may fade sooner than what was spent of it."""
    return max(0, earned + allowed - spent)


def first_day(now: datetime, zone: ZoneInfo) -> date:
    """The first of the days that count for the budget; today, there, is the last."""
    return now.astimezone(zone).date() - timedelta(days=EARNING_DAYS - 1)


def start_time(wished: datetime | None, now: datetime) -> datetime:
    """When to send a push. Raises `InvalidTerms` for the past, and for more than `MAX_AHEAD` from now."""
    if wished is None:
        return now
    if wished < now:
        raise InvalidTerms(field="sends_at", reason="must not be in the past")
    if wished > now + MAX_AHEAD:
        raise InvalidTerms(field="sends_at", reason=f"must be within {MAX_AHEAD.days} days")
    return wished


def is_quiet(moment: datetime, quiet_from: int, quiet_to: int, zone: ZoneInfo) -> bool:
    """Whether a moment lies in the quiet hours, given in minutes after midnight of the clock there. They may go
    over midnight; where both are the same, it is never quiet.
    """
    local = moment.astimezone(zone)
    minute = local.hour * 60 + local.minute
    if quiet_from <= quiet_to:
        return quiet_from <= minute < quiet_to
    return minute >= quiet_from or minute < quiet_to


def next_allowed(moment: datetime, quiet_from: int, quiet_to: int, zone: ZoneInfo) -> datetime:
    """The first moment from this one on that is not quiet, in UTC. It goes minute by minute: where clocks are
    changed on the way, an hour is missing or there twice.
    """
    moment = moment.astimezone(UTC)
    while is_quiet(moment, quiet_from, quiet_to, zone):
        moment = moment.replace(second=0, microsecond=0) + MINUTE
    return moment


def digest_time(moment: datetime, quiet_from: int, quiet_to: int, zone: ZoneInfo) -> datetime:
    """When a digest tells of what is left over at a moment: at the next `DIGEST_AT` there, or when the quiet hours
    around it end.
    """
    local = moment.astimezone(zone)
    day = local.date() + timedelta(days=local.time() >= DIGEST_AT)
    at = datetime.combine(day, DIGEST_AT, zone)
    return next_allowed(at, quiet_from, quiet_to, zone)


def digest_text(lines: Sequence[tuple[str, str]]) -> str:
    """A digest of pushes, each with the name of its community: a line for each of the first `DIGEST_LINES`, and
    how many more there are.
    """
    shown = [f"{name}: {_title(text)}" for name, text in lines[:DIGEST_LINES]]
    left = len(lines) - len(shown)
    return "\n".join(shown + ([f"+{left}"] if left else []))


def _title(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= DIGEST_TITLE else f"{line[: DIGEST_TITLE - 1]}…"
