"""What members write, and how they answer each other."""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.communities import Purpose
from app.domain.memberships import Action, Standing, may

MAX_PICTURES = 9
MAX_MENTIONS = 20
MOST_PINNED = 5
"""Pinned posts that are shown: those that were pinned last."""
MOST_STREAKS = 20


class PostKind(StrEnum):
    TEXT = "text"
    QUESTION = "question"
    CHECK_IN = "check_in"
    GROUP_CARD = "group_card"
    FLASH_CARD = "flash_card"
    JOB = "job"
    """Work that a member hands on to others."""


class ReactionKind(StrEnum):
    LIKE = "like"
    THANKS = "thanks"
    CHEER = "cheer"


class ReportReason(StrEnum):
    ADVERTISING = "advertising"
    FRAUD = "fraud"
    ABUSE = "abuse"
    OTHER = "other"


class ReportState(StrEnum):
    OPEN = "open"
    UPHELD = "upheld"
    DISMISSED = "dismissed"


CARDS = frozenset({PostKind.GROUP_CARD, PostKind.FLASH_CARD})
CHECKED_IN = frozenset({Purpose.INTEREST, Purpose.GROWTH})
"""The purposes for which one checks in."""
TRUSTED_REPORTS = 3
"""Trusted members who have to report something before it is hidden without a moderator."""


def takes(purpose: Purpose, kind: PostKind) -> bool:
    """Whether a community of this purpose takes posts of a kind."""
    return kind != PostKind.CHECK_IN or purpose in CHECKED_IN


def is_answer(kind: PostKind, purpose: Purpose, standing: Standing, *, asked: bool) -> bool:
    """Whether what somebody says to a post is an answer; `asked` is whether they asked themselves. Where answers
    are promised, only those who answer for the community give them: experts and those who keep it.
    """
    answers = purpose != Purpose.SERVICE or standing != Standing.MEMBER
    return answers and kind == PostKind.QUESTION and not asked


def answer_due(asked_at: datetime, answer_minutes: int | None) -> datetime | None:
    """Until when a question is answered, as promised; None where nothing is promised."""
    return None if answer_minutes is None else asked_at + timedelta(minutes=answer_minutes)


def is_overdue(due_at: datetime | None, answered_at: datetime | None, now: datetime) -> bool:
    """Whether a question still waits, or was answered, later than promised."""
    return due_at is not None and (answered_at or now) > due_at


def is_hidden_by_reports(trusted: int, author: Standing) -> bool:
    """Whether something is hidden because so many trusted members reported it. What those write who moderate is
    left to those above them: else a few could silence who keeps the order.
    """
    return trusted >= TRUSTED_REPORTS and not may(author, Action.MODERATE)
