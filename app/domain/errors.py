"""Every refusal the service makes, by kind. The kind gives the HTTP status (in `routers/problems.py`),
the class gives the stable code, its two texts and its typed details. `docs/errors.md` lists them all.
"""

from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import ClassVar


class KaituanError(Exception):
    """Something a caller is told. `code` is stable; `en` and `zh` are the titles."""

    code: ClassVar[str]
    en: ClassVar[str]
    zh: ClassVar[str]

    def details(self) -> dict[str, str | int | None]:
        """The typed fields of this refusal, by name."""
        return {name: getattr(self, name) for name in _field_names(type(self))}  # type: ignore[arg-type]


@cache
def _field_names(kind: type[KaituanError]) -> list[str]:
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


class BadRequestError(KaituanError):
    """The request lacks something every such request needs."""


class UnauthenticatedError(KaituanError):
    """We do not know who is asking."""


class ForbiddenError(KaituanError):
    """We know who is asking, and they may not."""


class NotFoundError(KaituanError):
    """There is no such thing, or not for this caller."""


class ConflictError(KaituanError):
    """The state of things refuses it now."""


class GoneError(KaituanError):
    """It is over for good."""


class InvalidError(KaituanError):
    """The shape or the content of the request is wrong."""


class MethodError(KaituanError):
    """The address exists, the method does not."""


class TooLargeError(KaituanError):
    """The request is bigger than we read."""


class TooManyError(KaituanError):
    """Too much at once for one caller. The same request may be repeated later."""


class UnavailableError(KaituanError):
    """We cannot tell, or cannot do it now. The same request may be repeated."""


# 400


class IdempotencyKeyMissing(BadRequestError):
    code = "idempotency_key_missing"
    en = "This call needs an Idempotency-Key header"
    zh = "此接口需要 Idempotency-Key 请求头"


class BadRequest(BadRequestError):
    code = "bad_request"
    en = "The request could not be read"
    zh = "无法读取请求"


# 401


@dataclass(eq=False)
class CredentialsMissing(UnauthenticatedError):
    code = "credentials_missing"
    en = "Credentials are required"
    zh = "需要登录凭证"
    header: str


class TokenInvalid(UnauthenticatedError):
    code = "token_invalid"
    en = "The token is not valid"
    zh = "令牌无效"


class TokenExpired(UnauthenticatedError):
    code = "token_expired"
    en = "The token has expired"
    zh = "令牌已过期"


class ApiKeyInvalid(UnauthenticatedError):
    code = "api_key_invalid"
    en = "The API key is not valid"
    zh = "API 密钥无效"


class SignatureInvalid(UnauthenticatedError):
    code = "signature_invalid"
    en = "The signature, its time or its form is not valid"
    zh = "签名、签名时间或格式无效"


class LoginRefused(UnauthenticatedError):
    code = "login_refused"
    en = "The provider does not confirm this login"
    zh = "登录提供方未确认此登录"


class VisitorInvalid(UnauthenticatedError):
    code = "visitor_invalid"
    en = "The visitor token is not valid"
    zh = "访客令牌无效"


# 403


@dataclass(eq=False)
class ScopeMissing(ForbiddenError):
    code = "scope_missing"
    en = "The API key lacks a scope"
    zh = "API 密钥缺少权限"
    scope: str


class ProviderDisabled(ForbiddenError):
    code = "provider_disabled"
    en = "This provider is not enabled here"
    zh = "此环境未启用该提供方"


class CrossSite(ForbiddenError):
    code = "cross_site"
    en = "This form was sent from another site; nothing was done"
    zh = "该表单来自其他网站，未执行任何操作"


class SelfHelp(ForbiddenError):
    code = "self_help"
    en = "Nobody cuts their own price: ask your friends"
    zh = "不能为自己砍价，请邀请好友帮忙"


class NotYourBargain(ForbiddenError):
    code = "not_your_bargain"
    en = "Only who started a bargain may buy at its price"
    zh = "只有砍价发起人可以按此价格购买"


class TicketMissing(ForbiddenError):
    code = "ticket_missing"
    en = "A flash sale is entered with a ticket; get in line for one"
    zh = "秒杀需要入场券，请先排队获取"


class TicketInvalid(ForbiddenError):
    code = "ticket_invalid"
    en = "The ticket is none of ours"
    zh = "入场券无效"


class TicketMismatch(ForbiddenError):
    code = "ticket_mismatch"
    en = "The ticket is for another member or another sale"
    zh = "该入场券属于其他成员或其他活动"


class TicketExpired(ForbiddenError):
    code = "ticket_expired"
    en = "The ticket has expired; ask for a new one"
    zh = "入场券已过期，请重新获取"


class TicketUsed(ForbiddenError):
    code = "ticket_used"
    en = "The ticket has bought an order already"
    zh = "入场券已使用"


class ProofMissing(ForbiddenError):
    code = "proof_missing"
    en = "This sale is entered with a proof of work; solve its challenge"
    zh = "该活动需要完成工作量证明"


class ProofInvalid(ForbiddenError):
    code = "proof_invalid"
    en = "The proof of work is wrong, too old, or for somebody else"
    zh = "工作量证明错误、已过期或不属于您"


class ProofUsed(ForbiddenError):
    code = "proof_used"
    en = "The proof of work was used already; solve a new challenge"
    zh = "该工作量证明已被使用"


class DeviceMissing(ForbiddenError):
    code = "device_missing"
    en = "This sale wants to know your device"
    zh = "该活动需要提供设备标识"


@dataclass(eq=False)
class DeviceLimit(ForbiddenError):
    code = "device_limit"
    en = "As many members as may stand in line from your device"
    zh = "同一设备的排队成员已达上限"
    limit: int


@dataclass(eq=False)
class AddressLimit(ForbiddenError):
    code = "address_limit"
    en = "As many members as may stand in line from your address"
    zh = "同一网络地址的排队成员已达上限"
    limit: int


class SelfTip(ForbiddenError):
    code = "self_tip"
    en = "Nobody tips themselves"
    zh = "不能给自己打赏"


class NotAllowed(ForbiddenError):
    code = "not_allowed"
    en = "Your place in this community does not allow it"
    zh = "您在该社群中的身份无权执行此操作"


class MemberBlocked(ForbiddenError):
    code = "member_blocked"
    en = "This community has blocked you"
    zh = "您已被该社群屏蔽"


class InviteNeeded(ForbiddenError):
    code = "invite_needed"
    en = "Members of this community bring others in by an invite of theirs"
    zh = "加入该社群需要成员的邀请"


class NotInAudience(ForbiddenError):
    code = "not_in_audience"
    en = "This community is for others"
    zh = "您不在该社群的面向人群中"


class Outranked(ForbiddenError):
    code = "outranked"
    en = "This member's role is not below yours"
    zh = "该成员的身份不低于您"


@dataclass(eq=False)
class TrustTooLow(ForbiddenError):
    code = "trust_too_low"
    en = "Newcomers post no pictures, cards and mentions: give and receive something first"
    zh = "新成员暂不能发布图片、卡片或提及他人，请先参与互动"
    level: int
    needed: int


class MembersOnly(ForbiddenError):
    code = "members_only"
    en = "This sale is for members of its community"
    zh = "该活动仅限社群成员购买"


class NotInSegment(ForbiddenError):
    code = "not_in_segment"
    en = "This sale is for other members than you"
    zh = "您不在该活动的适用人群内"


# 404


class RouteNotFound(NotFoundError):
    code = "route_not_found"
    en = "There is nothing at this address"
    zh = "此地址不存在"


class CommunityNotFound(NotFoundError):
    code = "community_not_found"
    en = "There is no such community"
    zh = "社群不存在"


class ProductNotFound(NotFoundError):
    code = "product_not_found"
    en = "There is no such product"
    zh = "商品不存在"


class SkuNotFound(NotFoundError):
    code = "sku_not_found"
    en = "There is no such sku"
    zh = "商品规格不存在"


class SaleNotFound(NotFoundError):
    code = "sale_not_found"
    en = "There is no such sale"
    zh = "活动不存在"


class OfferNotFound(NotFoundError):
    code = "offer_not_found"
    en = "There is no such offer in this sale"
    zh = "此活动中没有该报价"


class GroupNotFound(NotFoundError):
    code = "group_not_found"
    en = "There is no such group"
    zh = "团不存在"


class OrderNotFound(NotFoundError):
    code = "order_not_found"
    en = "There is no such order of yours"
    zh = "您没有该订单"


class EntryNotFound(NotFoundError):
    code = "entry_not_found"
    en = "There is no such entry of yours"
    zh = "您没有该排队或抽签记录"


class DrawNotFound(NotFoundError):
    code = "draw_not_found"
    en = "This sale has no draw"
    zh = "该活动没有抽签"


class PaymentNotFound(NotFoundError):
    code = "payment_not_found"
    en = "There is no such payment"
    zh = "支付单不存在"


class ReconciliationNotFound(NotFoundError):
    code = "reconciliation_not_found"
    en = "There is no such reconciliation"
    zh = "对账记录不存在"


class ProviderNotFound(NotFoundError):
    code = "provider_not_found"
    en = "There is no such provider"
    zh = "提供方不存在"


class InviteNotFound(NotFoundError):
    code = "invite_not_found"
    en = "There is no such invite"
    zh = "邀请不存在"


class CouponNotFound(NotFoundError):
    code = "coupon_not_found"
    en = "There is no such coupon, or it was not granted to you"
    zh = "优惠券不存在或未发放给您"


class MemberNotFound(NotFoundError):
    code = "member_not_found"
    en = "There is no such member"
    zh = "成员不存在"


class BargainNotFound(NotFoundError):
    code = "bargain_not_found"
    en = "There is no such bargain"
    zh = "砍价不存在"


class NotInLine(NotFoundError):
    code = "not_in_line"
    en = "You are not in line for this sale"
    zh = "您尚未排队"


class ProofNotWanted(NotFoundError):
    code = "proof_not_wanted"
    en = "This sale asks for no proof of work"
    zh = "该活动无需工作量证明"


class PolicyNotFound(NotFoundError):
    code = "policy_not_found"
    en = "There is no such reward policy"
    zh = "奖励规则不存在"


class RewardNotFound(NotFoundError):
    code = "reward_not_found"
    en = "There is no such reward"
    zh = "奖励不存在"


class PayoutNotFound(NotFoundError):
    code = "payout_not_found"
    en = "There is no such payout"
    zh = "提现不存在"


class MembershipNotFound(NotFoundError):
    code = "membership_not_found"
    en = "This member does not belong to the community"
    zh = "该成员不属于此社群"


class PostNotFound(NotFoundError):
    code = "post_not_found"
    en = "There is no such post"
    zh = "帖子不存在"


class CommentNotFound(NotFoundError):
    code = "comment_not_found"
    en = "There is no such comment"
    zh = "评论不存在"


class ReportNotFound(NotFoundError):
    code = "report_not_found"
    en = "There is no such report"
    zh = "举报不存在"


class SegmentNotFound(NotFoundError):
    code = "segment_not_found"
    en = "There is no such segment"
    zh = "人群不存在"


class PushNotFound(NotFoundError):
    code = "push_not_found"
    en = "There is no such broadcast"
    zh = "群发不存在"


class IdentityNotFound(NotFoundError):
    code = "identity_not_found"
    en = "You are not known by this"
    zh = "未关联此登录方式"


class SessionNotFound(NotFoundError):
    code = "session_not_found"
    en = "There is no such session of yours, or it has ended"
    zh = "会话不存在或已结束"


class EndpointNotFound(NotFoundError):
    code = "endpoint_not_found"
    en = "There is no such endpoint"
    zh = "推送端点不存在"


class DeliveryNotFound(NotFoundError):
    code = "delivery_not_found"
    en = "This endpoint was not sent such an event"
    zh = "该端点没有此事件的推送记录"


class NoticeNotFound(NotFoundError):
    code = "notice_not_found"
    en = "There is no such notice"
    zh = "消息不存在"


class LinkNotFound(NotFoundError):
    code = "link_not_found"
    en = "There is no such code or link, or it is not good any more; ask for a new one"
    zh = "绑定码或链接无效或已失效，请重新获取"


class BindingNotFound(NotFoundError):
    code = "binding_not_found"
    en = "There is no such binding of a chat"
    zh = "群聊绑定不存在"


# 405


class MethodNotAllowed(MethodError):
    code = "method_not_allowed"
    en = "This address does not answer to that method"
    zh = "此地址不支持该请求方法"


# 409


class ChatTaken(ConflictError):
    code = "chat_taken"
    en = "Another binding speaks in this chat"
    zh = "该群聊已被其他绑定使用"


class ChatUnknown(ConflictError):
    code = "chat_unknown"
    en = "Nobody has spoken to this binding in a chat yet, and none is named"
    zh = "该绑定尚未收到群聊消息，也未指定群聊"


@dataclass(eq=False)
class SaleNotOpen(ConflictError):
    code = "sale_not_open"
    en = "The sale has not opened yet"
    zh = "活动尚未开始"
    opens_at: str


class SaleAlreadyOpen(ConflictError):
    code = "sale_already_open"
    en = "The sale has opened already"
    zh = "活动已开始"


class SalePaused(ConflictError):
    code = "sale_paused"
    en = "The sale is paused"
    zh = "活动已暂停"


@dataclass(eq=False)
class WrongKind(ConflictError):
    code = "wrong_kind"
    en = "This sale is of another kind, and sells in another way"
    zh = "该活动的类型不同，请使用对应的购买方式"
    kind: str


@dataclass(eq=False)
class SoldOut(ConflictError):
    code = "sold_out"
    en = "Sold out"
    zh = "已售罄"
    left: int


@dataclass(eq=False)
class SaleIsDrawn(ConflictError):
    code = "sale_is_drawn"
    en = "This sale is drawn: enter instead of buying"
    zh = "该活动采用抽签，请登记参加"
    draws_at: str


class DrawClosed(ConflictError):
    code = "draw_closed"
    en = "The draw takes no more entries"
    zh = "抽签登记已截止"


@dataclass(eq=False)
class NotSoldOut(ConflictError):
    code = "not_sold_out"
    en = "There is enough left: buy now"
    zh = "仍有库存，可直接购买"
    left: int


class GroupNotFull(ConflictError):
    code = "group_not_full"
    en = "The group has a free seat: join now"
    zh = "该团仍有空位，可直接参团"


class AlreadyInLine(ConflictError):
    code = "already_in_line"
    en = "You are in this line already, with another wish"
    zh = "您已在此队列中，且所选内容不同"


@dataclass(eq=False)
class EntryNotWaiting(ConflictError):
    code = "entry_not_waiting"
    en = "Only who is waiting can leave the line"
    zh = "只有排队中的记录可以退出"
    state: str


class GroupFull(ConflictError):
    code = "group_full"
    en = "The group is full"
    zh = "该团已满员"


class GroupClosed(ConflictError):
    code = "group_closed"
    en = "The group is closed"
    zh = "该团已结束"


class AlreadyInGroup(ConflictError):
    code = "already_in_group"
    en = "You are already in this group"
    zh = "您已在此团中"


@dataclass(eq=False)
class MemberLimit(ConflictError):
    code = "member_limit"
    en = "You have reached the number of orders this sale allows you"
    zh = "您在本活动的下单次数已达上限"
    limit: int


class OfferNotInGroup(ConflictError):
    code = "offer_not_in_group"
    en = "This group buys another product"
    zh = "该团购买的是另一件商品"


class InviteMismatch(ConflictError):
    code = "invite_mismatch"
    en = "The invite is for something else"
    zh = "该邀请不适用于此处"


class SelfReferral(ConflictError):
    code = "self_referral"
    en = "Nobody brings themselves: this is an invite of your own"
    zh = "不能使用自己的邀请"


@dataclass(eq=False)
class OrderNotHeld(ConflictError):
    code = "order_not_held"
    en = "Only an unpaid order can do this"
    zh = "只有待支付订单可以执行此操作"
    state: str


@dataclass(eq=False)
class OrderNotShippable(ConflictError):
    code = "order_not_shippable"
    en = "Only a confirmed order can be shipped"
    zh = "只有已成团订单可以发货"
    state: str


@dataclass(eq=False)
class OrderNotCompletable(ConflictError):
    code = "order_not_completable"
    en = "Only a shipped order can be completed"
    zh = "只有已发货订单可以完成"
    state: str


@dataclass(eq=False)
class OrderNotRefundable(ConflictError):
    code = "order_not_refundable"
    en = "Only a paid order that has not been shipped can be refunded"
    zh = "只有已支付且未发货的订单可以退款"
    state: str


@dataclass(eq=False)
class TooManyPayments(ConflictError):
    code = "too_many_payments"
    en = "This order has too many payments running"
    zh = "该订单进行中的支付过多"
    limit: int


@dataclass(eq=False)
class PayerUnknown(ConflictError):
    code = "payer_unknown"
    en = "This provider has to know who pays: log in there first, or link that login"
    zh = "该支付方式需要付款人在其平台的身份，请先登录或绑定"
    identity: str


@dataclass(eq=False)
class CurrencyNotTaken(ConflictError):
    code = "currency_not_taken"
    en = "This provider does not take the order's currency"
    zh = "该支付方式不支持订单的币种"
    currency: str


@dataclass(eq=False)
class ProviderRefused(ConflictError):
    code = "provider_refused"
    en = "The payment provider does not take this payment"
    zh = "支付渠道拒绝了此笔支付"
    reason: str


@dataclass(eq=False)
class BillNotReady(ConflictError):
    code = "bill_not_ready"
    en = "The provider has no bill of this day yet"
    zh = "支付渠道尚未生成当日账单"
    newest_day: str


@dataclass(eq=False)
class SaleTransitionRefused(ConflictError):
    code = "sale_transition_refused"
    en = "The sale cannot go to that state from this one"
    zh = "活动无法从当前状态变更"
    state: str


@dataclass(eq=False)
class SaleNotEditable(ConflictError):
    code = "sale_not_editable"
    en = "A published sale keeps these terms"
    zh = "活动发布后不可修改此项"
    field: str


class SaleWithoutOffers(ConflictError):
    code = "sale_without_offers"
    en = "A sale needs an offer before it is published"
    zh = "发布活动前需要至少一个报价"


class SaleWithoutSlots(ConflictError):
    code = "sale_without_slots"
    en = "This sale is not the first of a series of slots"
    zh = "该活动不是场次系列的首场"


class SkuAlreadyOffered(ConflictError):
    code = "sku_already_offered"
    en = "The sale already offers this sku"
    zh = "该活动已有此规格的报价"


@dataclass(eq=False)
class CouponNotOpen(ConflictError):
    code = "coupon_not_open"
    en = "The coupon is not valid yet"
    zh = "优惠券尚未生效"
    opens_at: str


@dataclass(eq=False)
class CouponMismatch(ConflictError):
    code = "coupon_mismatch"
    en = "The coupon is for something else"
    zh = "该优惠券不适用于此处"
    field: str


@dataclass(eq=False)
class CouponMinSpend(ConflictError):
    code = "coupon_min_spend"
    en = "The order costs too little for this coupon"
    zh = "订单金额未达到优惠券使用门槛"
    min_spend: int


@dataclass(eq=False)
class CouponLimit(ConflictError):
    code = "coupon_limit"
    en = "You have used this coupon as often as it allows"
    zh = "您使用该优惠券的次数已达上限"
    limit: int


class CouponUsedUp(ConflictError):
    code = "coupon_used_up"
    en = "The coupon is used up"
    zh = "优惠券已被用完"


class CouponCodeTaken(ConflictError):
    code = "coupon_code_taken"
    en = "Another coupon has this code"
    zh = "该优惠码已被使用"


@dataclass(eq=False)
class BargainClosed(ConflictError):
    code = "bargain_closed"
    en = "The bargain does not take this now: its state says why"
    zh = "砍价当前状态不支持此操作"
    state: str


@dataclass(eq=False)
class AlreadyHelped(ConflictError):
    code = "already_helped"
    en = "You have helped in this bargain; `amount` is what you cut"
    zh = "已帮砍过，`amount` 为已砍金额"
    amount: int


@dataclass(eq=False)
class HelpLimit(ConflictError):
    code = "help_limit"
    en = "You have helped as often as one may today"
    zh = "今日帮砍次数已用完"
    limit: int


class IdentityTaken(ConflictError):
    code = "identity_taken"
    en = "Another member logs in with this; unlink it there first"
    zh = "该登录方式已属于其他成员，请先在那里解除关联"


class IdentityLast(ConflictError):
    code = "identity_last"
    en = "Without this you could not log in again; link another one first"
    zh = "这是您最后的登录方式，请先关联其他方式"


@dataclass(eq=False)
class IdentityLimit(ConflictError):
    code = "identity_limit"
    en = "You are known by as many names as we keep"
    zh = "关联的登录方式已达上限"
    limit: int


class BalanceTooLow(ConflictError):
    code = "balance_too_low"
    en = "There is not that much on the account"
    zh = "余额不足"


@dataclass(eq=False)
class RewardNotWithheld(ConflictError):
    code = "reward_not_withheld"
    en = "Only a withheld reward can be released or declined"
    zh = "只有暂扣的奖励可以放行或拒绝"
    state: str


@dataclass(eq=False)
class MemberOwes(ConflictError):
    code = "member_owes"
    en = "The member owes money that was taken back"
    zh = "该成员有被追回的欠款"
    owed: int


@dataclass(eq=False)
class PayoutNotWaiting(ConflictError):
    code = "payout_not_waiting"
    en = "Only a payout that waits for it can be approved or rejected"
    zh = "只有待审核的提现可以批准或拒绝"
    state: str


@dataclass(eq=False)
class TipLimit(ConflictError):
    code = "tip_limit"
    en = "You have tipped as often as one may today"
    zh = "今日打赏次数已用完"
    limit: int


class PolicyEnded(ConflictError):
    code = "policy_ended"
    en = "The reward policy is over"
    zh = "奖励规则已结束"


@dataclass(eq=False)
class ValueUnstated(ConflictError):
    code = "value_unstated"
    en = "A community states its value before it opens"
    zh = "社群开放前须写明自身价值"
    missing: str


@dataclass(eq=False)
class CommunityNotOpen(ConflictError):
    code = "community_not_open"
    en = "This community is not open"
    zh = "该社群未开放"
    state: str


class OwnsCommunity(ConflictError):
    code = "owns_community"
    en = "An owner hands the community over before leaving it"
    zh = "群主须先移交社群才能退出"


class SaleIsPlan(ConflictError):
    code = "sale_is_plan"
    en = "A membership is bought by joining its community"
    zh = "付费成员资格须通过加入社群购买"


@dataclass(eq=False)
class MembershipRefused(ConflictError):
    code = "membership_refused"
    en = "This membership cannot be changed like that now"
    zh = "当前成员状态不允许此操作"
    state: str


class AlreadyCheckedIn(ConflictError):
    code = "already_checked_in"
    en = "You have checked in today"
    zh = "今日已打卡"


@dataclass(eq=False)
class PostKindRefused(ConflictError):
    code = "post_kind_refused"
    en = "This community takes no posts of that kind"
    zh = "该社群不支持此类帖子"
    kind: str


class HistoryNotKept(ConflictError):
    code = "history_not_kept"
    en = "A chat keeps no history of its members"
    zh = "群聊不保留成员的历史发言"


@dataclass(eq=False)
class ReportDecided(ConflictError):
    code = "report_decided"
    en = "This report was decided otherwise"
    zh = "该举报已有其他处理结果"
    state: str


@dataclass(eq=False)
class JobRefused(ConflictError):
    code = "job_refused"
    en = "The job does not take this now: its state says why"
    zh = "该任务当前状态不支持此操作"
    state: str


@dataclass(eq=False)
class ConsentMissing(ConflictError):
    code = "consent_missing"
    en = "This is kept only of members who have agreed to it"
    zh = "需先征得成员同意才能保存该信息"
    fact: str


@dataclass(eq=False)
class EndpointRefused(ConflictError):
    code = "endpoint_refused"
    en = "The endpoint does not take this now: its state says why"
    zh = "该端点当前状态不支持此操作"
    state: str


class SegmentInUse(ConflictError):
    code = "segment_in_use"
    en = "A community, a sale or a push asks for this segment"
    zh = "该人群正被社群、活动或推送使用"


@dataclass(eq=False)
class PushBudgetTooLow(ConflictError):
    code = "push_budget_too_low"
    en = "The community has not earned this broadcast"
    zh = "社群的群发额度不足"
    price: int
    budget: int


class PushReachesNobody(ConflictError):
    code = "push_reaches_nobody"
    en = "There is nobody to tell"
    zh = "没有可触达的成员"


@dataclass(eq=False)
class ErasureRefused(ConflictError):
    code = "erasure_refused"
    en = "Something of this member is still under way: finish it, or hand it over, first"
    zh = "该成员仍有未完结的事项，请先处理或移交"
    orders: str | None = None
    groups: str | None = None
    refunds: str | None = None
    payouts: str | None = None
    balance: str | None = None
    communities: str | None = None


# 410


class SaleEnded(GoneError):
    code = "sale_ended"
    en = "The sale is over"
    zh = "活动已结束"


@dataclass(eq=False)
class OrderClosed(GoneError):
    code = "order_closed"
    en = "The order is over"
    zh = "订单已关闭"
    state: str


class PaymentClosed(GoneError):
    code = "payment_closed"
    en = "This payment is paid or closed"
    zh = "该支付已完成或已关闭"


class InviteExpired(GoneError):
    code = "invite_expired"
    en = "The invite is over"
    zh = "邀请已失效"


class InviteRevoked(GoneError):
    code = "invite_revoked"
    en = "The invite was withdrawn by who made it"
    zh = "邀请已被撤回"


class InviteUsedUp(GoneError):
    code = "invite_used_up"
    en = "The invite has brought as many members as it may"
    zh = "邀请的使用次数已满"


class CouponEnded(GoneError):
    code = "coupon_ended"
    en = "The coupon is over"
    zh = "优惠券已失效"


# 413


@dataclass(eq=False)
class BodyTooLarge(TooLargeError):
    code = "body_too_large"
    en = "The request body is too large"
    zh = "请求体过大"
    limit_bytes: int


# 422


class InvalidRequest(InvalidError):
    code = "invalid_request"
    en = "The request is not well formed"
    zh = "请求格式不正确"


class IdempotencyKeyReused(InvalidError):
    code = "idempotency_key_reused"
    en = "This Idempotency-Key was used for another request"
    zh = "此 Idempotency-Key 已用于其他请求"


class WordsBlocked(InvalidError):
    code = "words_blocked"
    en = "This community does not want to read that"
    zh = "内容包含该社群屏蔽的词语"


@dataclass(eq=False)
class OrderLimit(InvalidError):
    code = "order_limit"
    en = "More units than one order may take"
    zh = "超过单笔订单的购买上限"
    limit: int


@dataclass(eq=False)
class InvalidTerms(InvalidError):
    code = "invalid_terms"
    en = "These terms cannot work"
    zh = "规则不成立"
    field: str
    reason: str


@dataclass(eq=False)
class PictureInvalid(InvalidError):
    code = "picture_invalid"
    en = "This picture cannot be used"
    zh = "图片无法使用"
    reason: str


@dataclass(eq=False)
class ChoiceNotOffered(InvalidError):
    code = "choice_not_offered"
    en = "The sale does not offer that for groups that do not fill"
    zh = "该活动不支持这种未成团处理方式"
    field: str


@dataclass(eq=False)
class AmountTooLarge(InvalidError):
    code = "amount_too_large"
    en = "The amount is larger than we handle"
    zh = "金额超出上限"
    limit: int


@dataclass(eq=False)
class PayoutTooSmall(InvalidError):
    code = "payout_too_small"
    en = "Less than may be paid out"
    zh = "低于最低提现金额"
    minimum: int


# 429


@dataclass(eq=False)
class RateLimited(TooManyError):
    retry_after_seconds: int
    code = "rate_limited"
    en = "Too many requests; wait a moment"
    zh = "请求过于频繁，请稍后再试"


@dataclass(eq=False)
class InviteLimit(TooManyError):
    code = "invite_limit"
    en = "You have made as many invites as one may today"
    zh = "今日生成邀请次数已达上限"
    limit: int
    retry_after_seconds: int


@dataclass(eq=False)
class PostLimit(TooManyError):
    code = "post_limit"
    en = "You have written as much as one of your trust may in a day"
    zh = "已达到当前信任等级每日发言上限"
    limit: int
    retry_after_seconds: int


@dataclass(eq=False)
class TooManyConnections(TooManyError):
    code = "too_many_connections"
    en = "Too many connections from your address watch or wait"
    zh = "来自您的地址的实时连接过多"
    limit: int


# 503


class DatabaseUnavailable(UnavailableError):
    code = "database_unavailable"
    en = "The outcome is unknown; repeat the request with the same Idempotency-Key"
    zh = "结果未知，请使用相同的 Idempotency-Key 重试"


class DealerUnavailable(UnavailableError):
    code = "dealer_unavailable"
    en = "The counters are away for a moment; nothing was taken"
    zh = "计数服务暂不可用，未占用任何库存"


class Busy(UnavailableError):
    code = "busy"
    en = "Too many at once; nothing was taken"
    zh = "请求繁忙，未占用任何库存"


class LoginUnavailable(UnavailableError):
    code = "login_unavailable"
    en = "The login provider does not answer; nothing was done"
    zh = "登录提供方暂无响应，未执行任何操作"


class ProviderUnavailable(UnavailableError):
    code = "provider_unavailable"
    en = "The payment provider does not answer"
    zh = "支付渠道暂无响应"


# 500


class InternalError(KaituanError):
    code = "internal_error"
    en = "Something went wrong on our side"
    zh = "服务内部错误"
