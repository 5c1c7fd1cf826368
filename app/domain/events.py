"""Every type of event there is, and what events of it say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventType:
    """`subject` is what the event's `subject` is the id or code of; `data` are names there may be in its `data`."""

    subject: str
    en: str
    zh: str
    data: tuple[str, ...] = ()


_ORDER = ("seat", "amount")
_PAYMENT = ("order_id", "amount")
_REFUND = ("order_id", "payment_id", "amount", "reason")
_ENTRY = ("offer_id", "quantity", "weight", "order_id", "reason")
_BILL = ("provider", "day", "found")
_REWARD = ("order_id", "amount")
EVENT_TYPES: dict[str, EventType] = {
    # Groups, and the orders in them.
    "group.opened": EventType("group", "A member has opened a group.", "成员开团。"),
    "group.filled": EventType("group", "Every seat of a group is taken.", "团的名额已满。"),
    "group.reopened": EventType("group", "A seat of a full group is free again.", "满团的名额重新空出。"),
    "group.succeeded": EventType("group", "Every seat is paid: the group goes through.", "全部支付，成团。"),
    "group.failed": EventType("group", "Its time is up: whoever paid is refunded.", "拼团失败，已付款者将退款。"),
    "group.merged": EventType("group", "Its members went on in other groups.", "成员已并入其他团。"),
    "group.extended": EventType("group", "A group was given more time.", "拼团延长了时限。"),
    "group.leader_changed": EventType(
        "group", "The leader left, and another leads.", "团长离开，由他人接任。", ("seat",)
    ),
    "order.held": EventType("order", "A member has a seat, and may pay.", "占位成功，等待支付。", _ORDER),
    "order.paid": EventType("order", "It is paid, and waits for its group.", "已支付，等待成团。", _ORDER),
    "order.confirmed": EventType("order", "Its group succeeded: it may ship.", "已成团，可以发货。", _ORDER),
    "order.fulfilled": EventType("order", "It was shipped.", "已发货。", _ORDER),
    "order.completed": EventType("order", "It is done.", "订单完成。", _ORDER),
    "order.expired": EventType("order", "It was not paid in time.", "超时未支付。", _ORDER),
    "order.cancelled": EventType("order", "Its member gave it up before paying.", "支付前取消。", _ORDER),
    "order.refunding": EventType("order", "Its money is on the way back.", "退款中。", _ORDER),
    "order.refunded": EventType("order", "Its money is back.", "已退款。", _ORDER),
    "order.moved": EventType(
        "order", "It went on to a seat in another group.", "订单并入另一个团。", ("seat", "moved_from")
    ),
    # Money.
    "payment.created": EventType("payment", "A member may pay.", "支付已创建。", _PAYMENT),
    "payment.captured": EventType("payment", "The provider has the money.", "支付成功。", _PAYMENT),
    "payment.failed": EventType("payment", "The provider says that paying failed.", "支付失败。", _PAYMENT),
    "payment.closed": EventType("payment", "Nobody can pay it any more.", "支付已关闭。", _PAYMENT),
    "refund.created": EventType("refund", "Money has to go back.", "退款已创建。", _REFUND),
    "refund.submitted": EventType("refund", "The provider was asked to send it back.", "退款已提交。", _REFUND),
    "refund.succeeded": EventType("refund", "The provider has sent it back.", "退款成功。", _REFUND),
    "refund.failed": EventType("refund", "The provider refused; it is tried again.", "退款失败，将重试。", _REFUND),
    "refund.needs_attention": EventType(
        "refund",
        "It fails again and again, is a week on its way, or came back after it had arrived; somebody has to look.",
        "退款多次失败、一周仍未到账，或到账后被退回，需要人工处理。",
        ("attempts", "payment_id", "amount"),
    ),
    "reward.pending": EventType("reward", "A member has earned a reward.", "奖励待结算。", _REWARD),
    "reward.withheld": EventType("reward", "Something speaks against a reward.", "奖励被暂扣。", _REWARD),
    "reward.matured": EventType("reward", "A reward is on its member's balance.", "奖励已入账。", _REWARD),
    "reward.reversed": EventType("reward", "A reward was taken back.", "奖励已撤销。", _REWARD),
    "reward.declined": EventType("reward", "An operator has declined a reward.", "奖励被拒绝。", _REWARD),
    "payout.waiting": EventType(
        "payout", "A member wants money; somebody has to approve.", "提现待审核。", ("amount",)
    ),
    "payout.ready": EventType("payout", "A payout may be sent.", "提现待打款。", ("amount",)),
    "payout.submitted": EventType("payout", "The provider was asked to pay out.", "提现已提交。", ("amount",)),
    "payout.paid": EventType("payout", "A member has their money.", "提现已到账。", ("amount",)),
    "payout.failed": EventType(
        "payout", "It could not be paid: the money is back.", "提现失败，已退回余额。", ("amount",)
    ),
    "payout.rejected": EventType("payout", "An operator said no: the money is back.", "提现被拒绝。", ("amount",)),
    "payout.needs_attention": EventType(
        "payout",
        "A payout has failed again and again; somebody has to look.",
        "提现多次失败，需要人工处理。",
        ("attempts",),
    ),
    "tip.given": EventType("tip", "A member gave another a tip.", "成员打赏。", ("sender_id", "amount")),
    # What is sold, and how.
    "product.created": EventType("product", "There is a new product.", "商品已创建。"),
    "product.changed": EventType("product", "A product was changed.", "商品已修改。", ("fields",)),
    "sale.draft": EventType("sale", "A sale was drawn up.", "活动草稿已创建。"),
    "sale.scheduled": EventType("sale", "A sale was published; it opens later.", "活动已发布，待开始。"),
    "sale.live": EventType("sale", "A sale is open.", "活动进行中。"),
    "sale.paused": EventType("sale", "A sale takes no claims for now.", "活动已暂停。"),
    "sale.ended": EventType("sale", "A sale is over.", "活动已结束。"),
    "sale.changed": EventType("sale", "A sale was changed.", "活动已修改。", ("fields",)),
    "sale.seed_made": EventType(
        "sale", "The seed of a draw is fixed, by its digest.", "抽签种子已承诺。", ("seed_hash",)
    ),
    "sale.drawn": EventType("sale", "The draw took place.", "抽签已完成。", ("entries", "entries_hash", "seed")),
    "coupon.created": EventType("coupon", "There is a new coupon.", "优惠券已创建。", ("code", "total")),
    "coupon.ended": EventType("coupon", "A coupon is good no more.", "优惠券已结束。"),
    "coupon.granted": EventType("coupon", "A member was given a coupon.", "优惠券已发放。"),
    "policy.created": EventType("policy", "There is a new reward policy.", "奖励规则已创建。", ("role",)),
    "policy.ended": EventType("policy", "A policy gives no rewards any more.", "奖励规则已结束。"),
    # Bargains and lines.
    "bargain.started": EventType(
        "bargain", "A member has a bargain for friends to cut.", "发起砍价。", ("price", "slots")
    ),
    "bargain.cut": EventType(
        "bargain", "A friend has cut the price.", "好友砍价。", ("amount", "price", "number", "cuts")
    ),
    "bargain.won": EventType("bargain", "The price is at its floor.", "已砍到底价。", ("price",)),
    "bargain.ordered": EventType("bargain", "Its member buys at its price.", "以砍后价下单。", ("price",)),
    "bargain.reopened": EventType(
        "bargain", "It was not paid, and may be bought again.", "未支付，砍价恢复。", ("price",)
    ),
    "bargain.bought": EventType("bargain", "It was bought and paid.", "已支付。", ("price",)),
    "bargain.expired": EventType("bargain", "Its time is up.", "砍价已过期。", ("price",)),
    "entry.waiting": EventType("entry", "A member is in a draw, or in line.", "已报名或候补。", _ENTRY),
    "entry.called": EventType("entry", "There is something for who waited.", "候补被叫到。", _ENTRY),
    "entry.offered": EventType("entry", "An order was made for who waited.", "已为其占位。", _ENTRY),
    "entry.taken": EventType("entry", "Who waited has paid.", "已支付。", _ENTRY),
    "entry.lapsed": EventType("entry", "Who waited did not pay in time.", "未按时支付。", _ENTRY),
    "entry.left": EventType("entry", "A member waits no longer.", "退出候补。", _ENTRY),
    "entry.lost": EventType("entry", "The sale has ended without them.", "未中签或未候补成功。", _ENTRY),
    "reminder.set": EventType(
        "sale", "A member wants to be told before a sale.", "设置开抢提醒。", ("minutes_before",)
    ),
    "reminder.withdrawn": EventType("sale", "A member does not want to be told.", "取消提醒。"),
    "reminder.due": EventType("sale", "A member was told that a sale opens.", "提醒已发出。", ("opens_at",)),
    # Who brought whom.
    "invite.created": EventType(
        "invite", "A member has a link to share.", "创建邀请。", ("target_group_id", "channel")
    ),
    "invite.clicked": EventType("invite", "Somebody came by a link.", "邀请被点击。", ("target_group_id",)),
    "invite.revoked": EventType("invite", "A link leads nowhere any more.", "邀请已撤销。"),
    "referral.bound": EventType(
        "order", "A buyer was brought by a member.", "绑定推荐关系。", ("inviter_id", "code")
    ),
    "referral.refused": EventType(
        "order", "A buyer cannot have been brought by them.", "推荐关系被拒绝。", ("inviter_id", "code", "reason")
    ),
    # Communities.
    "community.created": EventType("community", "A community was drawn up.", "社群已创建。"),
    "community.changed": EventType("community", "A community was changed.", "社群已修改。", ("fields",)),
    "community.opened": EventType("community", "It has stated its value, and is open.", "社群已开放。"),
    "community.owner_set": EventType("community", "It belongs to a member.", "社群有了主人。"),
    "community.forgot": EventType(
        "community", "It has forgotten what it keeps for a time.", "社群内容已到期清除。", ("count",)
    ),
    "community.dissolved": EventType("community", "It can only be read any more.", "社群已解散。"),
    "community.wound_up": EventType("community", "What was left to do after its end is done.", "解散善后已完成。"),
    "membership.applied": EventType("community", "Somebody wants to join.", "申请加入。"),
    "membership.declined": EventType("community", "Somebody was not let in.", "申请未通过。"),
    "membership.joined": EventType("community", "Somebody has joined.", "成员加入。"),
    "membership.left": EventType("community", "Somebody has left.", "成员离开。", ("reason",)),
    "membership.removed": EventType("community", "Somebody was removed.", "成员被移出。", ("reason",)),
    "membership.lapsed": EventType("community", "A membership ran out.", "会员到期。", ("reason",)),
    "membership.blocked": EventType("community", "Somebody may not come back.", "成员被拉黑。", ("reason",)),
    "membership.unblocked": EventType("community", "Somebody may come back.", "解除拉黑。"),
    "membership.role_set": EventType("community", "A member has another role.", "成员角色变更。", ("role", "by")),
    "membership.paid": EventType("community", "A member has paid for a period.", "会员已付费。", ("until",)),
    "membership.needs_attention": EventType(
        "community", "Somebody has paid for a membership they cannot have.", "付费者无法成为成员，需要人工处理。"
    ),
    "post.created": EventType("post", "A member has written a post.", "发布帖子。", ("kind",)),
    "post.removed": EventType("post", "Its author took a post back.", "帖子已删除。", ("kind",)),
    "post.pinned": EventType("post", "A post stays on top.", "帖子置顶。", ("kind",)),
    "post.unpinned": EventType("post", "A post stays on top no more.", "取消置顶。", ("kind",)),
    "post.hidden": EventType("post", "A post was hidden.", "帖子被隐藏。", ("kind",)),
    "post.shown": EventType("post", "A post is shown again.", "帖子恢复显示。", ("kind",)),
    "comment.created": EventType("comment", "A member has answered a post.", "发表评论。", ("post_id", "answer")),
    "comment.removed": EventType("comment", "Its author took a comment back.", "评论已删除。"),
    "comment.hidden": EventType("comment", "A comment was hidden.", "评论被隐藏。"),
    "comment.shown": EventType("comment", "A comment is shown again.", "评论恢复显示。"),
    "reaction.made": EventType("post or comment", "A member has reacted.", "成员互动。", ("kind",)),
    "reaction.taken_back": EventType("post or comment", "A member took a reaction back.", "取消互动。", ("kind",)),
    "job.offered": EventType("post", "A member offers work.", "发布任务。"),
    "job.taken": EventType("post", "A member has taken it.", "任务被接。"),
    "job.handed_on": EventType("post", "Who had it handed it to another.", "任务转交。", ("to",)),
    "job.done": EventType("post", "It is done.", "任务完成。"),
    "job.withdrawn": EventType("post", "It is offered no more.", "任务撤回。"),
    "report.made": EventType("report", "A member has reported something.", "成员举报。", ("about",)),
    "report.upheld": EventType("report", "A moderator agreed.", "举报成立。"),
    "report.dismissed": EventType("report", "A moderator did not agree.", "举报被驳回。"),
    "push.scheduled": EventType("push", "A message to all is to be sent.", "推送已安排。", ("cost", "budget")),
    "push.sending": EventType("push", "It is being sent.", "推送发送中。", ("cost",)),
    "push.sent": EventType("push", "It has reached whom it may reach.", "推送已送达。", ("cost",)),
    "push.cancelled": EventType("push", "It goes no further.", "推送已取消。", ("cost",)),
    # People and keys.
    "consent.given": EventType("member", "A member lets a fact be known.", "成员授权。", ("fact",)),
    "consent.withdrawn": EventType("member", "A member has withdrawn it.", "成员撤回授权。", ("fact",)),
    "tags.put": EventType("member", "A member was given tags.", "成员标签已更新。"),
    "member.erased": EventType("member", "A member has left, and what is theirs goes.", "成员已注销。"),
    "segment.created": EventType("segment", "There is a new segment.", "人群已创建。"),
    "segment.deleted": EventType("segment", "A segment is there no more.", "人群已删除。"),
    "operator_key.created": EventType(
        "operator key", "There is a new operator's key.", "运营密钥已创建。", ("scopes",)
    ),
    "operator_key.revoked": EventType(
        "operator key", "An operator's key opens nothing any more.", "运营密钥已吊销。"
    ),
    # What is sent to operators' servers.
    "endpoint.created": EventType("endpoint", "Events are sent to an address.", "推送端点已创建。"),
    "endpoint.paused": EventType("endpoint", "An operator lets nothing be sent for now.", "推送已暂停。"),
    "endpoint.enabled": EventType("endpoint", "It goes on where it was.", "推送已恢复。"),
    "endpoint.disabled": EventType(
        "endpoint", "It was given up: somebody has to look.", "推送端点已停用，需要人工处理。", ("reason",)
    ),
    "endpoint.removed": EventType("endpoint", "Nothing is sent there any more.", "推送端点已删除。"),
    "endpoint.secret_rotated": EventType("endpoint", "It has a new secret.", "推送密钥已轮换。"),
    "endpoint.rewound": EventType(
        "endpoint", "Everything from an event on is sent once more.", "从某处起重新推送。", ("cursor",)
    ),
    "endpoint.tested": EventType(
        "endpoint", "A test, which its endpoint alone is sent.", "测试事件，仅推送给该端点。"
    ),
    # Chats, logins, bills.
    "binding.created": EventType("binding", "A chat was bound to a community.", "群聊已绑定社群。"),
    "binding.changed": EventType("binding", "Its chat, language or secrets were changed.", "群聊绑定已修改。"),
    "binding.found_chat": EventType("binding", "It speaks in the first chat that spoke to it.", "已认定群聊。"),
    "binding.failing": EventType(
        "binding", "The platform takes nothing from it any more.", "平台拒绝其消息。", ("reason",)
    ),
    "binding.removed": EventType("binding", "It listens and speaks no more.", "群聊绑定已解除。"),
    "identity.linked": EventType(
        "member", "A member is known by another name, too.", "已关联身份。", ("provider",)
    ),
    "identity.unlinked": EventType("member", "A member is known by a name no more.", "已解除关联。", ("provider",)),
    "session.copied": EventType(
        "session", "A refresh token was used again: the session was ended.", "令牌被重复使用，会话已结束。"
    ),
    "reconciliation.waiting": EventType(
        "reconciliation", "A day is to be compared with the provider's bill.", "等待对账。", _BILL
    ),
    "reconciliation.done": EventType(
        "reconciliation", "It was compared; `found` says how often they differ.", "对账完成。", _BILL
    ),
    "reconciliation.needs_attention": EventType(
        "reconciliation",
        "The provider gives no bill of the day; somebody has to look.",
        "无法取得账单，需要人工处理。",
        ("provider", "day"),
    ),
}
DATA_MEANINGS = {
    "about": "the post or comment that was reported",
    "amount": "minor units; of a cut, what it took off the price",
    "answer": "whether it answers a question",
    "attempts": "how often it was tried",
    "budget": "what the community could have spent",
    "by": "the member who did it; null for an operator",
    "channel": "where the link is shared",
    "code": "of an invite or a coupon",
    "cost": "what it takes from the community's budget",
    "count": "how many posts and comments",
    "cursor": "the event after which it goes on",
    "cuts": "how many cuts one help was worth",
    "day": "of which day on the provider's clock, YYYY-MM-DD",
    "entries": "how many took part in the draw",
    "entries_hash": "digest of all who took part",
    "fact": "the name of what may be known",
    "fields": "names of what was changed, in order",
    "found": "in how many lines it differs from ours; null while it waits",
    "inviter_id": "the member who brought them",
    "kind": "of the post; of a reaction: like, thanks, cheer",
    "minutes_before": "when to tell, before the sale opens",
    "moved_from": "the group it was in before",
    "number": "which cut of the bargain it is, from 1",
    "offer_id": "what was asked for",
    "opens_at": "when the sale opens, RFC 3339",
    "order_id": "of which order, if there is one",
    "payment_id": "of which payment",
    "post_id": "what it is said to",
    "price": "the price of the bargain now, minor units",
    "provider": "of logins, chats or payments",
    "quantity": "units asked for",
    "reason": "why, in a word; of a platform, in its own words",
    "role": "the role given or rewarded",
    "scopes": "what the key opens",
    "seat": "the number of the seat, from 1",
    "seed": "what the draw was drawn with, in hex",
    "seed_hash": "digest of the seed, published before anybody enters",
    "sender_id": "the member who gave",
    "slots": "how many cuts there are to make",
    "target_group_id": "the group the link leads to; null for a sale",
    "to": "the member who has it now",
    "total": "how often it can be redeemed",
    "until": "until when it is paid, RFC 3339",
    "weight": "chances in the draw",
}
"""What the names in `data` mean, wherever they are."""
