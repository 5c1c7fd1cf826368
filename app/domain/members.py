"""What is known of members: what strangers may see, and what two of them may share."""

import unicodedata
from enum import StrEnum

SHORT_NAME = 2
LONGEST_NAME = 60
NEW_NAME = "新成员"
"""What somebody is called at first whose name nobody said."""
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of writing, of what follows them too."""
ERASED_NAME = "已注销"
"""What everybody is called who was erased."""


def mask_name(name: str) -> str:
    """A name as strangers see it: the first character, and the last of a longer name.

    `张三` → `张*`, `欧阳娜娜` → `欧**娜`, `alice` → `a***e`.
    """
    if name == ERASED_NAME:
        return name
    if len(name) <= 1:
        return "*"
    if len(name) == SHORT_NAME:
        return f"{name[0]}*"
    return f"{name[0]}{'*' * min(len(name) - 2, 3)}{name[-1]}"


def tidy_name(name: str) -> str:
    """A name that somebody else gave, without what is not printed, and no longer than ours are; `新成员` when
    nothing is left of it.
    """
    printed = "".join(" " if unicodedata.category(letter) in {"Cc", "Cs"} else letter for letter in name)
    tidy = " ".join("".join(letter for letter in printed if letter not in TURNING).split())
    return tidy[:LONGEST_NAME].strip() or NEW_NAME


class SeenBy(StrEnum):
    """How members want to be seen by those who know them, where they have bought."""

    NAMED = "named"
    COUNTED = "counted"
    HIDDEN = "hidden"


class MarkKind(StrEnum):
    """What two accounts of one person often share."""

    DEVICE = "device"
    PAYER = "payer"
    PHONE = "phone"
