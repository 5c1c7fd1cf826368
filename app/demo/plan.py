"""Who takes part, and in which story."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from app.demo.client import Member

FAMILY_NAMES = "王李张刘陈杨赵黄周吴徐孙"
GIVEN_NAMES = ("伟", "芳", "娜", "敏", "静", "小龙", "磊", "洋", "秀英", "勇", "思远")
OTHER_NAMES = ("Ana", "Bilal", "Chloé", "Dmitri", "Emeka", "Fatima", "Grace", "Hiro", "Inês", "Jonas", "Kavya")


class Story(StrEnum):
    """What becomes of a group, and why."""

    TOGETHER = "everybody joins and pays"
    SHORT = "one seat stays free"
    UNPAID = "one never pays"
    STRANGER = "one cancels, a stranger takes the seat"
    MISCHIEF = "payments doubled, reordered, wrong at first"
    REFUSALS = "some ask for what they cannot have"
    LATE = "one payment settles too late"
    STUBBORN = "one seat stays free, refunds fail at first"

    @property
    def succeeds(self) -> bool:
        """Whether the group is expected to succeed."""
        return self not in {Story.SHORT, Story.UNPAID, Story.LATE, Story.STUBBORN}


MIX = (
    *(Story.TOGETHER, Story.SHORT, Story.STRANGER, Story.TOGETHER, Story.UNPAID, Story.MISCHIEF),
    *(Story.TOGETHER, Story.LATE, Story.REFUSALS, Story.TOGETHER, Story.STUBBORN, Story.TOGETHER),
)
"""Told again and again until every member has a part."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The members of one story: the leader, the friends, at times one more."""

    number: int
    story: Story
    members: list[Member]


def name_member(index: int) -> str:
    """A name for the index-th member; every third is not Chinese."""
    if index % 3 == 2:  # noqa: PLR2004
        return OTHER_NAMES[index // 3 % len(OTHER_NAMES)]
    return FAMILY_NAMES[index % len(FAMILY_NAMES)] + GIVEN_NAMES[index // 3 % len(GIVEN_NAMES)]


def cast_members(members: list[Member], size: int) -> list[Cast]:
    """Give every member a part. Stories that wait for a deadline take turns with the others, so that all of
    them have begun well before the end.
    """
    parts: list[tuple[Story, list[Member]]] = []
    rest = members
    while rest:
        story = MIX[len(parts) % len(MIX)]
        if len(rest) < _needed(story, size):
            story = Story.SHORT
        count = _needed(story, size)
        parts.append((story, rest[:count]))
        rest = rest[count:]
    waiting = [part for part in parts if not part[0].succeeds]
    others = [part for part in parts if part[0].succeeds]
    in_turn = [part for pair in zip_longest(waiting, others) for part in pair if part is not None]
    return [Cast(number, story, chosen) for number, (story, chosen) in enumerate(in_turn)]


def _needed(story: Story, size: int) -> int:
    match story:
        case Story.SHORT | Story.STUBBORN:
            return size - 1
        case Story.STRANGER | Story.REFUSALS:
            return size + 1
        case _:
            return size
