"""Every table. Importing this package fills `SQLModel.metadata`."""

from app.models.bargains import Bargain, Cut, Help
from app.models.bindings import Binding, ChatNumber
from app.models.columns import new_id
from app.models.communities import Community, CommunityDay, Encounter, Membership, Period
from app.models.coupons import Coupon, Grant, Redemption
from app.models.endpoints import Attempt, Delivery, Endpoint, Lane
from app.models.entries import Entry
from app.models.events import Event
from app.models.groups import Group, Purchase, Seat, Unit
from app.models.invites import Invite, Use
from app.models.jobs import Hand, Job
from app.models.ledger import Account, Posting, Transfer
from app.models.members import Identity, Mark, Member, OperatorKey, Phone, Session
from app.models.messages import LinkCode, Message, Nonce
from app.models.notices import Notice, Overflow, Push
from app.models.orders import Order
from app.models.payments import Notification, Payment, Refund
from app.models.payouts import Payout
from app.models.pictures import Picture
from app.models.posts import Comment, Mention, Post, Reaction, Report
from app.models.products import Product, Sku
from app.models.reconciliations import Difference, Reconciliation
from app.models.referrals import Cause, Referral, Refusal, Touch
from app.models.reminders import Reminder
from app.models.rewards import Reward, RewardPolicy
from app.models.robots import Announcement, Cursor, Outgoing, Robot
from app.models.sales import Offer, Sale
from app.models.sandbox import SandboxCallback, SandboxCharge, SandboxPayout, SandboxRefund
from app.models.segments import Consent, Facts, SaleCommunity, SaleSegment, Segment, SegmentMember, Tag
from app.models.tips import Tip

__all__ = [
    "Account",
    "Announcement",
    "Attempt",
    "Bargain",
    "Binding",
    "Cause",
    "ChatNumber",
    "Comment",
    "Community",
    "CommunityDay",
    "Consent",
    "Coupon",
    "Cursor",
    "Cut",
    "Delivery",
    "Difference",
    "Encounter",
    "Endpoint",
    "Entry",
    "Event",
    "Facts",
    "Grant",
    "Group",
    "Hand",
    "Help",
    "Identity",
    "Invite",
    "Job",
    "Lane",
    "LinkCode",
    "Mark",
    "Member",
    "Membership",
    "Mention",
    "Message",
    "Nonce",
    "Notice",
    "Notification",
    "Offer",
    "OperatorKey",
    "Order",
    "Outgoing",
    "Overflow",
    "Payment",
    "Payout",
    "Period",
    "Phone",
    "Picture",
    "Post",
    "Posting",
    "Product",
    "Purchase",
    "Push",
    "Reaction",
    "Reconciliation",
    "Redemption",
    "Referral",
    "Refund",
    "Refusal",
    "Reminder",
    "Report",
    "Reward",
    "RewardPolicy",
    "Robot",
    "Sale",
    "SaleCommunity",
    "SaleSegment",
    "SandboxCallback",
    "SandboxCharge",
    "SandboxPayout",
    "SandboxRefund",
    "Seat",
    "Segment",
    "SegmentMember",
    "Session",
    "Sku",
    "Tag",
    "Tip",
    "Touch",
    "Transfer",
    "Unit",
    "Use",
    "new_id",
]
