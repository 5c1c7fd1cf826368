"""What kinds of community there are, what one must state before it opens, and how it ends."""

from collections.abc import Mapping
from enum import StrEnum

from app.domain.machines import Table

MAX_MEMORY_DAYS = 366
MAX_ANSWER_MINUTES = 30 * 24 * 60
MAX_PERIOD_DAYS = 3_660
STATEMENT = ("audience", "need", "benefits", "sustained_by", "posting_rules")
"""What a community says of itself before it opens: who it is for, the need it meets, what members get, what carries
the return, and how one posts.
"""


class Form(StrEnum):
    """How one talks: in one room with a short memory, or in threads that can be looked up."""

    CHAT = "chat"
    FORUM = "forum"


class Lifespan(StrEnum):
    """Whether it dissolves by itself when its occasion is over."""

    FLASH = "flash"
    LASTING = "lasting"


class Purpose(StrEnum):
    """What it is for: answers within a promised time, deals for members, a shared interest, or getting better."""

    SERVICE = "service"
    SALES = "sales"
    INTEREST = "interest"
    GROWTH = "growth"


class JoinMode(StrEnum):
    OPEN = "open"
    INVITE = "invite"
    APPROVE = "approve"
    PAID = "paid"


class OnDissolve(StrEnum):
    """What becomes of what was written in it."""

    KEEP = "keep"
    ERASE = "erase"


class CommunityState(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    DISSOLVED = "dissolved"


COMMUNITY_TRANSITIONS: Table[CommunityState] = {
    CommunityState.DRAFT: frozenset({CommunityState.OPEN, CommunityState.DISSOLVED}),
    CommunityState.OPEN: frozenset({CommunityState.DISSOLVED}),
    CommunityState.DISSOLVED: frozenset(),
}


def unstated(statement: Mapping[str, str]) -> list[str]:
    """The parts of the statement that are missing, in the order of `STATEMENT`."""
    return [name for name in STATEMENT if not statement.get(name, "").strip()]
