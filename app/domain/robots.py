"""Robots: how a binding speaks to its chats, as often as its platform allows, and when it has something to say."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.machines import Table

PERIOD = timedelta(seconds=70)
"""In which no more than a platform's messages of a minute are begun: each is at most ten seconds on its way, so no
more of them arrive there in a minute.
"""
BURST = 5
"""Messages in a row, of a robot that has been silent."""
LEASE = timedelta(seconds=30)
"""How long a robot waits for a message that somebody began and did not end: they died."""
ANSWER_LIFE = timedelta(minutes=10)
"""An answer that could not be given within it is not given any more: nobody waits for it."""
PUSH_LIFE = timedelta(hours=24)
"""The same of a broadcast."""
MERGED_ANSWERS = 20
"""Answers that become one message where several wait, and everybody in the chat may see them."""
MERGED_BUTTONS = 5
LONGEST_BACKOFF = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
"""However long a platform wants to be left alone."""
UNREACHABLE_AFTER = 3
"""Failures in a row after which operators see that a platform does not answer."""
REASON_LENGTH = 200

SETTLE = timedelta(seconds=5)
"""How long news waits for more of it."""
PACE = timedelta(seconds=60)
"""How long after it was spoken of a group is not spoken of again, unless something happened that matters."""
GAP = timedelta(seconds=10)
"""How far apart two pieces of news in one chat are at least."""
EDIT_WITHIN = timedelta(minutes=10)
"""How long a message is changed in place; later it is out of sight, and a new one is sent."""
SINGLE_NEWS = 3
"""Groups that are spoken of one by one; when there are more to speak of, all become one message."""
LISTED_GROUPS = 10
"""Groups that such a message names."""
SHOWN_MINUTES = 60
"""Longer ago, the minutes are not counted."""


class OutgoingState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    DROPPED = "dropped"
    """The platform would not take it, it came too late, or it was withdrawn."""


OUTGOING_TRANSITIONS: Table[OutgoingState] = {
    OutgoingState.QUEUED: frozenset({OutgoingState.SENT, OutgoingState.DROPPED}),
    OutgoingState.SENT: frozenset(),
    OutgoingState.DROPPED: frozenset(),
}


class Kind(StrEnum):
    """What a robot says."""

    ANSWER = "answer"
    NEWS = "news"
    """How a group stands, which nobody asked for."""
    PUSH = "push"


PATIENCE = timedelta(seconds=60)
"""How long news and broadcasts let answers go first: where everybody asks, one still hears how the groups stand."""

JOINED = "order.held"
MATTERS = frozenset({"group.filled", "group.succeeded", "group.failed", "group.merged"})
"""What is told soon, and anew, so that people notice."""
SEATS = frozenset({JOINED, "order.paid", "order.moved", "order.expired", "order.cancelled", "order.refunding"})
"""Changes of seats; of a group that has ended they are no news."""
NEWS = MATTERS | SEATS | {"group.opened", "group.reopened", "group.extended"}
"""Types of events after which a group looks different."""


def burst(per_minute: int) -> int:
    """Messages that a robot may send in a row."""
    return max(1, min(BURST, per_minute // 4))


def may_speak_at(earned_at: datetime, per_minute: int) -> datetime:
    """When a robot may send its next message, given when all that it has sent will have been earned."""
    return earned_at - (burst(per_minute) - 1) * _each(per_minute)


def earned_at(before: datetime, now: datetime, per_minute: int) -> datetime:
    """When all will have been earned, with one more message sent now: the generic cell rate algorithm, ITU-T I.371.
    Who sends only from `may_speak_at` on sends at most `per_minute` messages in any `PERIOD`.
    """
    return max(before, now) + _each(per_minute)


def _each(per_minute: int) -> timedelta:
    """What one message costs, rounded up. In a period of P there are fewer than burst + P / each messages."""
    return timedelta(microseconds=-(-PERIOD // timedelta(microseconds=1) // (per_minute - burst(per_minute) + 1)))


def pause(failures: int, retry_after: float | None) -> timedelta:
    """How long to leave a platform alone after so many failures in a row, the first being 1: twice as long each
    time, and as long as it asked for.
    """
    backoff = min(LONGEST_BACKOFF, timedelta(seconds=2 ** min(failures, 10)))
    if retry_after is None or not math.isfinite(retry_after) or retry_after <= 0:
        return backoff
    return max(backoff, timedelta(seconds=min(retry_after, LONGEST_PAUSE.total_seconds())))


def next_kind(due: Mapping[Kind, datetime], now: datetime) -> Kind:
    """What to say next, of what has been due since these moments; not empty. Answers go first, but not before what
    has waited for too long.
    """
    waited = {kind: since for kind, since in due.items() if kind != Kind.ANSWER and now - since >= PATIENCE}
    if not waited and Kind.ANSWER in due:
        return Kind.ANSWER
    return min(waited or due, key=lambda kind: (due[kind], kind))


def news_due(now: datetime, said_at: datetime | None, *, matters: bool) -> datetime:
    """When to speak of a group to which something happened now and which was last spoken of at `said_at`."""
    if matters:
        return now
    return max(now + SETTLE, now if said_at is None else said_at + PACE)


def may_edit(posted_at: datetime | None, now: datetime, *, matters: bool) -> bool:
    """Whether news of a group changes the message that was posted of it, or is a new one."""
    return posted_at is not None and now - posted_at < EDIT_WITHIN and not matters


def joined_line(joined: int, since: datetime, now: datetime, *, zh: bool) -> str | None:
    """How many have joined since a moment; None: nobody has."""
    if joined == 0:
        return None
    minutes = max(1, math.ceil((now - since) / timedelta(minutes=1)))
    if minutes > SHOWN_MINUTES:
        return f"新加入 {joined} 人" if zh else f"{joined} joined"
    if zh:
        return f"过去 {minutes} 分钟 {joined} 人参团"
    return f"{joined} joined in the last {'minute' if minutes == 1 else f'{minutes} minutes'}"
