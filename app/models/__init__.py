"""Every table. Importing this package fills `SQLModel.metadata`."""

from app.models.bargains import Bargain, Cut, Help
from app.models.columns import new_id
from app.models.communities import Community
from app.models.coupons import Coupon, Grant, Redemption
from app.models.entries import Entry
from app.models.events import Event
from app.models.groups import Group, Purchase, Seat, Unit
from app.models.invites import Invite, Use
from app.models.ledger import Account, Posting, Transfer
from app.models.members import Mark, Member, OperatorKey, Session
from app.models.orders import Order
from app.models.payments import Notification, Payment, Refund
from app.models.payouts import Payout
from app.models.pictures import Picture
from app.models.products import Product, Sku
from app.models.referrals import Cause, Referral, Refusal, Touch
from app.models.reminders import Reminder
from app.models.rewards import Reward, RewardPolicy
from app.models.sales import Offer, Sale
from app.models.sandbox import SandboxCallback, SandboxCharge, SandboxPayout, SandboxRefund
from app.models.tips import Tip

__all__ = [
    "Account",
    "Bargain",
    "Cause",
    "Community",
    "Coupon",
    "Cut",
    "Entry",
    "Event",
    "Grant",
    "Group",
    "Help",
    "Invite",
    "Mark",
    "Member",
    "Notification",
    "Offer",
    "OperatorKey",
    "Order",
    "Payment",
    "Payout",
    "Picture",
    "Posting",
    "Product",
    "Purchase",
    "Redemption",
    "Referral",
    "Refund",
    "Refusal",
    "Reminder",
    "Reward",
    "RewardPolicy",
    "Sale",
    "SandboxCallback",
    "SandboxCharge",
    "SandboxPayout",
    "SandboxRefund",
    "Seat",
    "Session",
    "Sku",
    "Tip",
    "Touch",
    "Transfer",
    "Unit",
    "Use",
    "new_id",
]
