"""How likely it is that a referral was made for its reward: what is looked at, and what it weighs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from app.domain.members import MarkKind

WITHHOLD_AT = 50
"""From this score on, of 100, a reward is withheld until an operator has looked."""
FARM_SIBLINGS = 2
"""Others brought by the same inviter who share a mark with a member: two make a farm, one may be a spouse."""
BURST = 30
"""Members brought in a day: few honest people bring more, but some do."""
ALIKE_PERCENT = 90
"""Of those of the day, how many must look as if made for their only order."""
YOUNG = timedelta(hours=1)
"""So soon after they were made, accounts made for an order order."""
DAY = timedelta(days=1)
RING_LEVELS = 5
"""So far upwards from an inviter a ring is looked for."""


class Suspicion(StrEnum):
    """Why a referral is suspected."""

    DEVICE = "device"
    PAYER = "payer"
    PHONE = "phone"
    TWIN = "twin"
    FARM = "farm"
    RING = "ring"
    BURST = "burst"
    STAR = "star"


WEIGHTS = {
    Suspicion.DEVICE: 60,
    Suspicion.PAYER: 60,
    Suspicion.PHONE: 60,
    Suspicion.TWIN: 25,
    Suspicion.FARM: 60,
    Suspicion.RING: 60,
    Suspicion.BURST: 15,
    Suspicion.STAR: 50,
}
MEANINGS = {
    Suspicion.DEVICE: ("Inviter and member have used the same device", "邀请人与被邀请人使用过同一设备"),
    Suspicion.PAYER: ("Inviter and member have paid from the same account", "邀请人与被邀请人使用过同一支付账户"),
    Suspicion.PHONE: ("Inviter and member have the same phone number", "邀请人与被邀请人手机号相同"),
    Suspicion.TWIN: (
        "The member shares a device, payment account or phone number with one other whom the inviter brought",
        "与同一邀请人带来的另一人共用设备、支付账户或手机号",
    ),
    Suspicion.FARM: (
        "The member shares a device, payment account or phone number with several others whom the inviter brought",
        "与同一邀请人带来的多人共用设备、支付账户或手机号",
    ),
    Suspicion.RING: (
        "In the same sale the inviter was brought by somebody whom the member brought: a ring",
        "同一活动中邀请人又由被邀请人的下级带来，构成环",
    ),
    Suspicion.BURST: (
        f"The inviter brought {BURST} or more within a day",
        f"邀请人一天内带来 {BURST} 人以上",
    ),
    Suspicion.STAR: (
        "Nearly all whom the inviter brought that day seem made for their one order, and so does the member",
        "当天几乎所有被邀请人（含此人）都像是专为下单而注册的新号",
    ),
}
"""In words, in English and Chinese."""


class Child(NamedTuple):
    """One of those whom an inviter brought on a day: when the account was made, and what is known of it."""

    member_id: str
    made_at: datetime
    ordered_at: datetime
    cheapest: bool
    """Whether no offer of the sale costs less than what they ordered."""
    orders: int
    """How many they have, from 1 on; all that counts is whether it is the only one."""
    invites: int
    verified: bool
    """Whether they have a payment account or phone number that is nobody else's. A device id proves nothing: it
    is what a client says.
    """

    @property
    def made_for_it(self) -> bool:
        """Whether the account looks as if it was made for this order."""
        young = self.ordered_at - self.made_at < YOUNG
        return young and self.cheapest and self.orders <= 1 and self.invites == 0 and not self.verified


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found about a referral. More of any count never speaks for it: see `suspicions`."""

    shared: frozenset[MarkKind] = frozenset()
    """What inviter and member have in common."""
    siblings: int = 0
    """Others brought by the inviter who share a mark with the member."""
    ring: bool = False
    day: int = 0
    """Members the inviter brought within a day of it, this one included."""
    alike: int = 0
    """Of them, those who look as if made for their order."""
    is_alike: bool = False


@dataclass(frozen=True, slots=True)
class Assessment:
    """A score of 0 to 100, and its reasons."""

    score: int
    reasons: tuple[Suspicion, ...]

    @property
    def withheld(self) -> bool:
        """Whether rewards are withheld."""
        return self.score >= WITHHOLD_AT


def suspicions(evidence: Evidence) -> frozenset[Suspicion]:
    """What the evidence comes to."""
    found = {Suspicion(mark.value) for mark in evidence.shared}
    if evidence.siblings:
        found.add(Suspicion.FARM if evidence.siblings >= FARM_SIBLINGS else Suspicion.TWIN)
    if evidence.ring:
        found.add(Suspicion.RING)
    if evidence.day >= BURST:
        found.add(Suspicion.BURST)
    if is_star(evidence):
        found.add(Suspicion.STAR)
    return frozenset(found)


def is_star(evidence: Evidence) -> bool:
    """Whether a member is one of very many of a day, nearly all of whom were made for their order."""
    nearly_all = evidence.alike * 100 >= evidence.day * ALIKE_PERCENT
    return evidence.is_alike and evidence.alike >= BURST and nearly_all


def assess(reasons: frozenset[Suspicion]) -> Assessment:
    """The score of what was found: the sum of its weights, at most 100."""
    return Assessment(min(sum(WEIGHTS[reason] for reason in reasons), 100), tuple(sorted(reasons)))


def around(at: datetime) -> tuple[datetime, datetime]:
    """The day in whose middle something happened."""
    return at - DAY / 2, at + DAY / 2
