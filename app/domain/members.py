"""What is known of members: what strangers may see, and what two of them may share."""

from enum import StrEnum

SHORT_NAME = 2


def mask_name(name: str) -> str:
    """A name as strangers see it: the first character, and the last of a longer name.

    `张三` → `张*`, `欧阳娜娜` → `欧**娜`, `alice` → `a***e`.
    """
    if len(name) <= 1:
        return "*"
    if len(name) == SHORT_NAME:
        return f"{name[0]}*"
    return f"{name[0]}{'*' * min(len(name) - 2, 3)}{name[-1]}"


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
