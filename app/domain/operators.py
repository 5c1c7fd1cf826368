"""What an operator's key may do."""

from enum import StrEnum


class Scope(StrEnum):
    CATALOG = "catalog"
    SALES = "sales"
    ORDERS = "orders"
    INVARIANTS = "invariants"
    GROWTH = "growth"


SCOPE_MEANINGS = {
    Scope.CATALOG: "communities and products 社群与商品",
    Scope.SALES: "sales, their offers, and coupons 活动、报价与优惠券",
    Scope.ORDERS: "orders: list, ship, complete, refund 订单",
    Scope.INVARIANTS: "run the invariants 对账",
    Scope.GROWTH: "invites, referrals and growth figures 邀请与增长",
}
