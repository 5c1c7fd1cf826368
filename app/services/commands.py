"""What is said to us in chats, done through the same use cases as everything else.

Each command is done under a key made of its message: done twice it is done once. Whatever is refused becomes a
sentence in the language of the chat.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.bargains import BargainState
from app.domain.commands import Command, Verb
from app.domain.errors import (
    AlreadyHelped,
    BargainClosed,
    GroupClosed,
    GroupFull,
    IdentityTaken,
    InviteNeeded,
    KaituanError,
    LinkNotFound,
    MembersOnly,
    OrderClosed,
    OrderNotHeld,
    SoldOut,
    TokenInvalid,
    WrongKind,
)
from app.domain.groups import GroupState
from app.domain.members import mask_name
from app.domain.memberships import MembershipState
from app.domain.orders import OrderState
from app.domain.sales import SaleKind, SaleState
from app.gateways.chat.platform import Button, Card
from app.models import (
    Bargain,
    Binding,
    Group,
    Member,
    Membership,
    Message,
    Offer,
    Order,
    Product,
    Sale,
    SaleCommunity,
    Sku,
)
from app.schemas.bargains import BargainCreate
from app.schemas.groups import ClaimAnswer, ClaimCreate
from app.schemas.memberships import JoinCreate
from app.services import bargains, chains, chat_numbers, claims, links, memberships, orders, payments
from app.services.tongues import Tongue
from app.state import State

MOST_LISTED = 10


class Instead(Exception):
    """Nothing was done; this is said instead."""

    def __init__(self, card: Card) -> None:
        super().__init__(card.title)
        self.card = card


@dataclass(frozen=True, slots=True)
class Asking:
    """A message, and what its answer depends on."""

    state: State
    binding: Binding
    message: Message
    provider: str
    """By which the sender is known."""
    command: Command

    @property
    def tongue(self) -> Tongue:
        return Tongue(self.binding.language)

    @property
    def community_id(self) -> str:
        return self.binding.community_id

    @property
    def key(self) -> str:
        """The idempotency key of what is asked for: the same however often the message comes."""
        identity = f"{self.binding.id} {self.message.message_id}"
        return f"chat {hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}"

    def say(self, zh: str, en: str) -> str:
        return self.tongue.say(zh, en)

    def instead(self, zh: str, en: str, *buttons: Button) -> Instead:
        """Something to be said in place of what was asked for."""
        return Instead(Card(self.say(zh, en), buttons=buttons))


async def do(asking: Asking, member: Member | None) -> Card:
    """Do what is asked for; returns what to say. Raises `Instead`, and the refusals of the use cases."""
    if (handle := FOR_ANYBODY.get(asking.command.verb)) is not None:
        return await handle(asking)
    if member is None:
        raise Instead(await who_are_you(asking))
    return await FOR_MEMBERS[asking.command.verb](asking, member)


# For anybody


async def _help(asking: Asking) -> Card:
    t = asking.tongue
    lines = (
        asking.say("活动 — 看看在卖什么", "sales — what is on sale"),
        asking.say("开团 编号 — 发起拼团；参团 编号 — 加入", "open N — start a group; join N — take a seat in one"),
        asking.say("进度 / 接龙 编号 — 进展与名单", "progress / chain N — how it stands, and who is in"),
        asking.say("砍价 编号 — 发起砍价；砍一刀 编号 — 帮砍", "bargain N — start a bargain; cut N — help one"),
        asking.say("支付 编号 — 付款（请私聊）；退团 编号 — 未付款时退出", "pay N — in private; leave N — unpaid"),
        asking.say(
            "绑定 绑定码 — 让我知道你是谁；入群 — 加入社群", "link CODE — say who you are; enrol — become a member"
        ),
    )
    verbs = (Verb.SALES, Verb.PROGRESS)
    return Card(
        asking.say("我能听懂这些", "What I understand"), lines, _buttons(t, *((verb, None) for verb in verbs))
    )


async def _sales(asking: Asking) -> Card:
    offers = await _live_offers(asking)
    if not offers:
        raise asking.instead("现在没有活动", "Nothing is on sale right now")
    known = await chat_numbers.number_all(asking.state, asking.community_id, [one.offer.id for one in offers])
    lines, commands = [], []
    for one in offers:
        number, sale = known[one.offer.id], one.sale
        lines.append(f"{number}. {one.name} {_terms(asking.tongue, one)}")
        verb = {SaleKind.GROUP: Verb.OPEN, SaleKind.BARGAIN: Verb.BARGAIN}.get(sale.kind)
        if verb is not None:
            commands.append((verb, number))
    return Card(asking.say("正在进行的活动", "On sale"), tuple(lines), _buttons(asking.tongue, *commands[:4]))


async def _progress(asking: Asking) -> Card:
    return await _show(asking, names=False)


async def _chain(asking: Asking) -> Card:
    return await _show(asking, names=True)


async def _show(asking: Asking, *, names: bool) -> Card:
    """What has the number; without one, the only group that runs, or the list of those that do."""
    if asking.command.number is not None:
        subject = await _find(asking, asking.command.number)
        if subject.startswith("bgn_"):
            return await chains.show_bargain(asking.state, asking.community_id, subject, asking.binding.language)
        if not subject.startswith("grp_"):
            raise _no_group(asking, asking.command.number)
        return await _show_group(asking, subject, names=names)
    running = await _running_groups(asking, GroupState.OPEN, GroupState.FILLED)
    if len(running) == 1:
        return await _show_group(asking, running[0], names=names)
    return await _list_groups(asking, running)


async def _link(asking: Asking) -> Card:
    digest, message, state = asking.command.code, asking.message, asking.state
    if digest is None:
        return await who_are_you(asking)
    with state.link_misses.counting(f"{asking.provider} {message.sender_id}", LinkNotFound):
        member = await links.use_code(state, asking.provider, message.sender_id, digest)
    name = mask_name(member.name)
    return Card(
        asking.say(f"绑定成功：你是 {name}", f"Linked: you are {name}"),
        buttons=_buttons(asking.tongue, (Verb.SALES, None), (Verb.PROGRESS, None)),
    )


# For members


async def _open(asking: Asking, member: Member) -> Card:
    offer = await _wanted_offer(asking, SaleKind.GROUP)
    asking.state.member_claims.count(member.id)
    body = ClaimCreate(offer_id=offer.id, quantity=asking.command.quantity)
    answer = await claims.open_group(asking.state, member.id, offer.sale_id, body, asking.key)
    claim = ClaimAnswer.model_validate_json(answer)
    return await _claimed(asking, member, claim, asking.say("开团成功", "has opened a group"))


async def _join(asking: Asking, member: Member) -> Card:
    group_id = await _wanted_group(asking)
    offer_id = await _offer_in(asking, group_id)
    asking.state.member_claims.count(member.id)
    body = ClaimCreate(offer_id=offer_id, quantity=asking.command.quantity)
    answer = await claims.join(asking.state, member.id, group_id, body, asking.key)
    claim = ClaimAnswer.model_validate_json(answer)
    return await _claimed(asking, member, claim, asking.say("参团成功", "has joined"))


async def _pay(asking: Asking, member: Member) -> Card:
    order = await _own_order(asking, member)
    if not asking.message.is_private:
        return Card(_pay_in_private(asking, asking.command.number))
    amount = asking.tongue.money(order.amount, order.currency)
    buttons = await _pay_buttons(asking, member, order.id, order.currency)
    lines = () if buttons else (asking.say("请在应用内付款", "Please pay in the app"),)
    return Card(asking.say(f"待付 {amount}", f"{amount} to pay"), lines, buttons)


async def _leave(asking: Asking, member: Member) -> Card:
    if asking.command.number is None:
        raise asking.instead("要退出哪个团？请带上编号", "Which group? Say its number, too")
    order = await _own_order(asking, member)
    try:
        await orders.cancel(asking.state, order.id, member.id)
    except OrderNotHeld as refusal:
        if refusal.state != OrderState.CANCELLED:
            raise
    return Card(asking.say(f"{mask_name(member.name)} 已退团", f"{mask_name(member.name)} has left"))


async def _bargain(asking: Asking, member: Member) -> Card:
    offer = await _wanted_offer(asking, SaleKind.BARGAIN)
    asking.state.member_claims.count(member.id)
    started, _ = await bargains.start(asking.state, member.id, offer.sale_id, BargainCreate(offer_id=offer.id))
    return await chains.show_bargain(asking.state, asking.community_id, started.id, asking.binding.language)


async def _cut(asking: Asking, member: Member) -> Card:
    bargain_id = await _wanted_bargain(asking)
    asking.state.member_claims.count(member.id)
    answer = await bargains.cut(asking.state, member.id, bargain_id)
    async with asking.state.database.snapshot() as session:
        currency = (await session.get_one(Sale, answer.bargain.sale_id)).currency
    name, cut = mask_name(member.name), asking.tongue.money(answer.amount, currency)
    price = asking.tongue.money(answer.bargain.price, currency)
    return Card(asking.say(f"{name} 砍掉 {cut}，现价 {price}", f"{name} cut {cut}; now {price}"))


async def _enrol(asking: Asking, member: Member) -> Card:
    async with asking.state.database.snapshot() as session:
        known = await session.get(Membership, (asking.community_id, member.id))
    if known is not None and known.state == MembershipState.ACTIVE:  # who says it again wants no second period
        return _belongs(asking, member)
    answer = await memberships.join_community(
        asking.state, member.id, asking.community_id, JoinCreate(), asking.key
    )
    name = mask_name(member.name)
    if answer.order is not None:
        title = asking.say(f"{name}，付款后即成为成员", f"{name}, pay and you are a member")
        if not asking.message.is_private:
            return Card(title, (_pay_in_private(asking, None),))
        return Card(title, buttons=await _pay_buttons(asking, member, answer.order.id, answer.order.currency))
    if answer.membership is not None and answer.membership.state == MembershipState.APPLIED:
        return Card(asking.say(f"{name} 已申请，等待审核", f"{name} has asked to join; somebody will decide"))
    return _belongs(asking, member)


def _belongs(asking: Asking, member: Member) -> Card:
    name = mask_name(member.name)
    title = asking.say(f"{name} 已是社群成员", f"{name} is a member")
    return Card(title, buttons=_buttons(asking.tongue, (Verb.SALES, None)))


FOR_ANYBODY: dict[Verb, Callable[[Asking], Awaitable[Card]]] = {
    Verb.HELP: _help,
    Verb.SALES: _sales,
    Verb.PROGRESS: _progress,
    Verb.CHAIN: _chain,
    Verb.LINK: _link,
}
FOR_MEMBERS: dict[Verb, Callable[[Asking, Member], Awaitable[Card]]] = {
    Verb.OPEN: _open,
    Verb.JOIN: _join,
    Verb.PAY: _pay,
    Verb.LEAVE: _leave,
    Verb.BARGAIN: _bargain,
    Verb.CUT: _cut,
    Verb.ENROL: _enrol,
}


# What they need


@dataclass(frozen=True, slots=True)
class Listed:
    """An offer of a sale that runs."""

    offer: Offer
    sale: Sale
    name: str


def _of_here(asking: Asking, *, plan: bool = False) -> SelectOfScalar[str]:
    """The ids of sales that belong to the community; with `plan`, what its membership is paid by, too."""
    linked = select(SaleCommunity.sale_id).where(SaleCommunity.community_id == asking.community_id)
    found = select(Sale.id).where(
        or_(col(Sale.community_id) == asking.community_id, col(Sale.id).in_(linked)),
        Sale.state != SaleState.DRAFT,
    )
    return found if plan else found.where(~col(Sale.is_plan))


async def _live_offers(asking: Asking) -> list[Listed]:
    """Offers of the community's sales that run, of the newest sales first."""
    now = asking.state.clock()
    async with asking.state.database.snapshot() as session:
        found = await session.exec(
            select(Offer, Sale, Product.title, Sku.name)
            .join(Sale, col(Sale.id) == Offer.sale_id)
            .join(Product, col(Product.id) == Offer.product_id)
            .join(Sku, col(Sku.id) == Offer.sku_id)
            .where(
                col(Sale.id).in_(_of_here(asking)),
                col(Sale.state).in_([SaleState.SCHEDULED, SaleState.LIVE]),
                Sale.opens_at <= now,
                Sale.closes_at > now,
            )
            .order_by(col(Sale.id).desc(), col(Offer.id))
            .limit(MOST_LISTED),
        )
        return [Listed(offer, sale, f"{title} {sku}".strip()) for offer, sale, title, sku in found.all()]


async def _running_groups(asking: Asking, *states: GroupState) -> list[str]:
    """Groups of the community in these states whose time is not up, nearest to their deadline first."""
    async with asking.state.database.snapshot() as session:
        found = await session.exec(
            select(Group.id)
            .join(Sale, col(Sale.id) == Group.sale_id)
            .where(
                col(Sale.id).in_(_of_here(asking)),
                Sale.kind == SaleKind.GROUP,
                col(Group.state).in_(states),
                Group.deadline_at > asking.state.clock(),
            )
            .order_by(col(Group.deadline_at), col(Group.id))
            .limit(MOST_LISTED),
        )
        return list(found.all())


async def _find(asking: Asking, number: int) -> str:
    async with asking.state.database.snapshot() as session:
        subject = await chat_numbers.find_subject(session, asking.community_id, number)
    if subject is None:
        raise asking.instead(
            f"没有编号 {number}", f"Nothing has the number {number}", *_buttons(asking.tongue, (Verb.SALES, None))
        )
    return subject


async def _wanted_offer(asking: Asking, kind: SaleKind) -> Offer:
    """The offer with the number; without one, the only offer there is."""
    if asking.command.number is not None:
        subject = await _find(asking, asking.command.number)
        if not subject.startswith("off_"):
            raise asking.instead(
                f"{asking.command.number} 不是商品",
                f"{asking.command.number} is no offer",
                *_buttons(asking.tongue, (Verb.SALES, None)),
            )
        async with asking.state.database.snapshot() as session:
            return await session.get_one(Offer, subject)
    offers = [one.offer for one in await _live_offers(asking) if one.sale.kind == kind]
    if len(offers) != 1:
        raise Instead(await _sales(asking))
    return offers[0]


async def _wanted_group(asking: Asking) -> str:
    """The group with the number; without one, the only group that runs."""
    if asking.command.number is not None:
        subject = await _find(asking, asking.command.number)
        if not subject.startswith("grp_"):
            raise _no_group(asking, asking.command.number)
        return subject
    running = await _running_groups(asking, GroupState.OPEN)
    if len(running) != 1:
        raise Instead(await _list_groups(asking, running))
    return running[0]


def _no_group(asking: Asking, number: int) -> Instead:
    buttons = _buttons(asking.tongue, (Verb.OPEN, number), (Verb.PROGRESS, None))
    return asking.instead(f"{number} 不是团", f"{number} is no group", *buttons)


async def _offer_in(asking: Asking, group_id: str) -> str:
    """The offer that was chosen by its number; otherwise the one that the group's leader took."""
    if asking.command.choice is not None:
        subject = await _find(asking, asking.command.choice)
        if not subject.startswith("off_"):
            raise asking.instead(f"{asking.command.choice} 不是商品", f"{asking.command.choice} is no offer")
        return subject
    async with asking.state.database.snapshot() as session:
        taken = await session.exec(
            select(Order.offer_id).where(Order.group_id == group_id).order_by(col(Order.id)).limit(1),
        )
        return taken.one()


async def _wanted_bargain(asking: Asking) -> str:
    """The bargain with the number; without one, the only one of the community that runs."""
    if asking.command.number is not None:
        subject = await _find(asking, asking.command.number)
        if not subject.startswith("bgn_"):
            raise asking.instead(f"{asking.command.number} 不是砍价", f"{asking.command.number} is no bargain")
        return subject
    async with asking.state.database.snapshot() as session:
        found = await session.exec(
            select(Bargain.id)
            .where(
                col(Bargain.sale_id).in_(_of_here(asking)),
                Bargain.state == BargainState.CUTTING,
                Bargain.deadline_at > asking.state.clock(),
            )
            .limit(2),
        )
        running = found.all()
    if len(running) != 1:
        raise asking.instead("要砍哪一个？请带上编号", "Which one? Say its number, too")
    return running[0]


async def _own_order(asking: Asking, member: Member) -> Order:
    """The member's order in the group with the number, the newest; without one, the newest that is unpaid."""
    wanted = select(Order).where(Order.member_id == member.id)
    if asking.command.number is not None:
        subject = await _find(asking, asking.command.number)
        wanted = wanted.where(Order.group_id == subject)
    else:
        wanted = wanted.where(Order.state == OrderState.HELD, col(Order.sale_id).in_(_of_here(asking, plan=True)))
    async with asking.state.database.snapshot() as session:
        order = (await session.exec(wanted.order_by(col(Order.id).desc()).limit(1))).first()
    if order is None:
        raise asking.instead("你没有待付款的订单", "There is no unpaid order of yours")
    return order


async def _show_group(asking: Asking, group_id: str, *, names: bool) -> Card:
    return await chains.show_group(
        asking.state, asking.community_id, group_id, asking.binding.language, names=names
    )


async def _list_groups(asking: Asking, group_ids: Sequence[str]) -> Card:
    """The groups that run, a line each."""
    if not group_ids:
        raise asking.instead("还没有进行中的团", "No group runs yet", *_buttons(asking.tongue, (Verb.SALES, None)))
    cards = [await _show_group(asking, group_id, names=False) for group_id in group_ids]
    lines = tuple(f"{card.title}: {card.lines[0]}" for card in cards)
    return Card(
        asking.say("进行中的团", "Groups"), lines, tuple(card.buttons[0] for card in cards[:4] if card.buttons)
    )


async def _claimed(asking: Asking, member: Member, claim: ClaimAnswer, done: str) -> Card:
    """What is said of a claim: who made it, how full the group is now, and how they pay. A link is given only where
    nobody else reads it; the group itself is shown to the chat with the news of it.
    """
    number = (await chat_numbers.number_all(asking.state, asking.community_id, [claim.group.id]))[claim.group.id]
    order, until = claim.order, asking.tongue.until(claim.order.hold_expires_at, asking.state.clock())
    amount = asking.tongue.money(order.amount, order.currency)
    text = (
        f"{mask_name(member.name)} {done}：{amount}"
        if asking.tongue.zh
        else f"{mask_name(member.name)} {done}: {amount}"
    )
    buttons: tuple[Button, ...] = ()
    if asking.message.is_private:
        with suppress(KaituanError):  # the seat is taken all the same; one can ask for the link again
            buttons = await _pay_buttons(asking, member, order.id, order.currency)
        how = asking.say(f"请在 {until} 内付款", f"Pay within {until}")
    else:
        how = f"{_pay_in_private(asking, number)} ({until})"
    taken = f"{claim.group.held + claim.group.paid}/{claim.group.size}"
    verbs = (Verb.JOIN, Verb.CHAIN) if claim.group.left else (Verb.CHAIN,)
    return Card(
        f"{asking.tongue.command(Verb.CHAIN, number)} · {taken}",
        (text, how),
        (*buttons, *_buttons(asking.tongue, *((verb, number) for verb in verbs))),
    )


def _pay_in_private(asking: Asking, number: int | None) -> str:
    said = asking.tongue.quoted(Verb.PAY, number)
    return asking.say(f"付款请私聊我发送{said}", f"To pay, say {said} to me in private")


async def _pay_buttons(asking: Asking, member: Member, order_id: str, currency: str) -> tuple[Button, ...]:
    """Where to pay; nothing, when no provider of ours has a page for it. Whoever asks again gets the same payment:
    an order may have a few open ones only.
    """
    for name, provider in asking.state.providers.items():
        if provider.payer_identity is None and provider.takes(currency):
            payment = await payments.create_payment(asking.state, member.id, order_id, name, f"chat {name}")
            return (Button(asking.say("去付款", "Pay"), url=payment.pay_url),) if payment.pay_url else ()
    return ()


async def who_are_you(asking: Asking) -> Card:
    """How somebody says who they are: by a link in private, by a code where others read it."""
    title = asking.say("我还不知道你是谁", "I do not know you yet")
    said = asking.say("「绑定 绑定码」", "“link CODE”")
    by_code = asking.say(f"在应用里获取绑定码，然后发送{said}", f"Get a code in the app, then say {said}")
    if not asking.message.is_private:
        return Card(title, (by_code, asking.say("或私聊我获取登录链接", "Or ask me in private for a link")))
    url = await links.create_link(asking.state, asking.provider, asking.message.sender_id)
    return Card(title, (by_code,), (Button(asking.say("登录并绑定", "Log in and link"), url=url),))


def _terms(tongue: Tongue, one: Listed) -> str:
    """How an offer is sold, in a few words."""
    price, sale = tongue.money(one.offer.price, one.sale.currency), one.sale
    match sale.kind:
        case SaleKind.GROUP:
            return tongue.say(f"{price}，{sale.group_size} 人团", f"{price}, groups of {sale.group_size}")
        case SaleKind.BARGAIN:
            start = tongue.money(one.offer.list_price or one.offer.price, sale.currency)
            return tongue.say(f"砍价 {start} → {price}", f"bargain, {start} → {price}")
        case SaleKind.FLASH:
            return tongue.say(f"{price}，秒杀，请在应用内购买", f"{price}, flash sale: buy it in the app")


def _buttons(tongue: Tongue, *commands: tuple[Verb, int | None]) -> tuple[Button, ...]:
    said = [tongue.command(verb, number) for verb, number in commands]
    return tuple(Button(text, command=text) for text in said)


# Refusals

HINTS: dict[type[KaituanError], tuple[str, str]] = {
    MembersOnly: ("发送「入群」即可加入", "Say “enrol” to become a member"),
    InviteNeeded: ("请向成员要一个邀请", "Ask a member for an invite"),
    GroupFull: ("发送「进度」看看其他团", "Say “progress” to see others"),
    GroupClosed: ("发送「进度」看看其他团", "Say “progress” to see others"),
    SoldOut: ("发送「活动」看看别的", "Say “sales” to see what else there is"),
    IdentityTaken: ("请先在原账号中解除关联", "Unlink it there first"),
    TokenInvalid: ("请重新绑定", "Link your account anew"),
}
"""What one can do about it."""
SAID: dict[type[KaituanError], tuple[str, str]] = {
    AlreadyHelped: ("您已帮砍过这一个", "You have helped with this one"),
    BargainClosed: ("这个砍价现在不能砍了", "This one cannot be cut any more"),
    WrongKind: ("这件商品不是这样卖的", "That is not how this is sold"),
    OrderNotHeld: ("只有待付款的订单可以这样做", "Only what is unpaid can do this"),
    OrderClosed: ("这个订单已经结束", "This order is over"),
}
"""Refusals whose own words are for who reads an API."""


def refused(tongue: Tongue, refusal: KaituanError) -> Card:
    """A refusal in the words of a chat, with what one can do about it."""
    kind = type(refusal)
    said = tongue.say(*SAID.get(kind, (kind.zh, kind.en)))
    hint = HINTS.get(kind)
    return Card(tongue.say(f"抱歉，{said}", f"Sorry: {said}"), () if hint is None else (tongue.say(*hint),))
