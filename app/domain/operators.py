"""What an operator's key may do."""

from enum import StrEnum


class Scope(StrEnum):
    CATALOG = "catalog"
    SALES = "sales"
    ORDERS = "orders"
    REWARDS = "rewards"
    INVARIANTS = "invariants"
    GROWTH = "growth"
    COMMUNITIES = "communities"
    CHAT = "chat"
    EVENTS = "events"


SCOPE_MEANINGS = {
    Scope.CATALOG: "communities and products 社群与商品",
    Scope.SALES: "sales, their offers, and coupons 活动、报价与优惠券",
    Scope.ORDERS: "orders: list, ship, complete, refund 订单",
    Scope.REWARDS: "reward policies, withheld rewards, payouts 奖励与提现",
    Scope.INVARIANTS: "run the invariants 对账",
    Scope.GROWTH: "invites, referrals and growth figures 邀请与增长",
    Scope.COMMUNITIES: "members, posts, segments and health of communities 社群成员、内容、人群与健康度",
    Scope.CHAT: "bindings of chats on WeCom, Telegram, … 群聊绑定",
    Scope.EVENTS: "the feed of events, and webhooks 事件流与推送",
}
