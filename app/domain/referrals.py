"""Who brought whom: which touch counts, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LASTING = "all"
"""The scope of referrals that hold in every sale; others are bound in one sale, and have its id as scope."""
WINDOW_DAYS, MAX_WINDOW_DAYS = 30, 365


class TouchKind(StrEnum):
    """How somebody came by an invite: tapped its link, or typed its code."""

    LINK = "link"
    CODE = "code"


class RefusalReason(StrEnum):
    """Why somebody is not said to have brought somebody."""

    CYCLE = "cycle"


class TouchRule(StrEnum):
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class AttributionRules:
    """Which touch binds a referral: the first or the last of the `window_days` before the order was made.

    A lasting referral holds in every sale with lasting ones; others are bound anew in each sale.
    """

    touch: TouchRule = TouchRule.LAST
    window_days: int = WINDOW_DAYS
    lasting: bool = False

    def scope(self, sale_id: str) -> str:
        """The scope of a referral in this sale."""
        return LASTING if self.lasting else sale_id


@dataclass(frozen=True, slots=True)
class Touched:
    """That somebody came by an invite."""

    code: str
    inviter_id: str
    kind: TouchKind
    at: datetime


def choose(touches: Sequence[Touched], rules: AttributionRules, member_id: str, at: datetime) -> Touched | None:
    """The touch that says who brought a member who buys at this time; None when nobody did.

    Touches after `at`, before the window, and by invites of the member's own do not count.
    """
    begin = at - timedelta(days=rules.window_days)
    counted = [touch for touch in touches if begin <= touch.at <= at and touch.inviter_id != member_id]
    if not counted:
        return None
    pick = min if rules.touch == TouchRule.FIRST else max
    return pick(counted, key=lambda touch: (touch.at, touch.code))
