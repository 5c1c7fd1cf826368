"""What members are told, and what of it counts as advertising."""

from collections.abc import Mapping
from enum import StrEnum

DAILY_CAP = 3
"""Promotional pushes that reach a member on one day, of all their communities together."""


class NoticeKind(StrEnum):
    PUSH = "push"
    """Promotional: it takes a place of the member's day, and keeps quiet hours."""
    DIGEST = "digest"
    """The pushes there was no place for."""
    ORDER = "order"
    REFUND = "refund"
    MENTION = "mention"
    ANSWER = "answer"
    MEMBERSHIP = "membership"
    SUMMARY = "summary"
    """Of a community that dissolved."""
    REMINDER = "reminder"
    """That a sale opens soon: its member asked for it."""


class Wording(StrEnum):
    """What is said of orders and refunds: kept as this word, told in the reader's language."""

    ORDER_CONFIRMED = "order_confirmed"
    ORDER_SHIPPED = "order_shipped"
    GROUP_FAILED = "group_failed"
    REFUND_BEGUN = "refund_begun"
    GAP_BEGUN = "gap_begun"
    REFUNDED = "refunded"


TEXTS: Mapping[str, tuple[str, str]] = {
    Wording.ORDER_CONFIRMED: ("Your order is confirmed", "订单已确认，等待发货"),
    Wording.ORDER_SHIPPED: ("Your order is on its way", "订单已发货"),
    Wording.GROUP_FAILED: ("Your group did not fill; your money is on its way back", "未能成团，款项正在退回"),
    Wording.REFUND_BEGUN: ("Your money is on its way back", "款项正在退回"),
    Wording.GAP_BEGUN: ("It cost less than you paid; the difference is on its way back", "差价正在退回"),
    Wording.REFUNDED: ("Your refund has arrived", "退款已到账"),
}
FRAMES: Mapping[NoticeKind, tuple[str, str]] = {
    NoticeKind.REMINDER: ("Opens soon: {}", "即将开始：{}"),
    NoticeKind.DIGEST: ("Also from your communities:\n{}", "您的社群还有：\n{}"),
}
"""What stands around the text of a notice."""


def worded(kind: NoticeKind, text: str, *, zh: bool) -> str:
    """A notice's text in Chinese or English. What people wrote stays as it is."""
    if kind in {NoticeKind.ORDER, NoticeKind.REFUND} and text in TEXTS:
        return TEXTS[text][zh]
    return FRAMES.get(kind, ("{}", "{}"))[zh].replace("{}", text)


class PushWish(StrEnum):
    """How a member wants to be told by a community."""

    EACH = "each"
    DIGEST = "digest"
    NONE = "none"


class PushState(StrEnum):
    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    CANCELLED = "cancelled"
