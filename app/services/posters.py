"""What posters and previews of invites say, in Chinese or English. They show what strangers may see."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

from babel.dates import format_datetime
from babel.numbers import format_currency, get_currency_precision
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.groups import FINAL_GROUP_STATES, GroupState
from app.domain.invites import check_usable
from app.domain.ladders import next_step, price_at
from app.domain.members import mask_name
from app.domain.sales import Allocation, SaleKind, SaleState, smallest
from app.gateways import drawing
from app.gateways.drawing import Poster
from app.models import Community, Invite, Member, Offer, Product, Sale
from app.schemas.groups import GroupPublic
from app.services import groups
from app.services.invites import read_invite
from app.services.pictures import Look, Sketch, look_of, made_up, sketch
from app.state import State

BEIJING = timezone(timedelta(hours=8))


class Form(StrEnum):
    """What is made of an invite: something to send and scan, or what a chat shows beside a link."""

    POSTER = "poster"
    PREVIEW = "preview"


LAYOUTS = {Form.POSTER: drawing.lay_out_poster, Form.PREVIEW: drawing.lay_out_preview}


async def sketch_code(state: State, code: str, size: int, *, svg: bool) -> Sketch:
    """The QR code of an invite's link. Raises `InviteNotFound`, `InviteRevoked`, `InviteExpired`."""
    async with state.database.snapshot() as session:
        await _find(session, code, state.clock())
    url = _url(state, code)
    return Sketch(("qr", svg, url, size), partial(drawing.code_svg if svg else drawing.code_png, url, size))


async def sketch_poster(state: State, code: str, form: Form, tongue: str, *, svg: bool) -> Sketch:
    """A poster or a preview as things stand now; as PNG its drawing is None when no font here has the letters.

    Raises `InviteNotFound`, `InviteRevoked`, `InviteExpired`.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        invite = await _find(session, code, now)
        poster, look = await _read(session, _Words(state, invite, tongue, now))
        draw_with = partial(_as_svg if svg else _as_png, poster, form)
        return await sketch(state, session, look, (form, svg, poster, look), draw_with)


async def _find(session: AsyncSession, code: str, now: datetime) -> Invite:
    invite = await read_invite(session, code)
    check_usable(expires_at=invite.expires_at, revoked_at=invite.revoked_at, used_up_at=None, now=now)
    return invite


def _as_png(poster: Poster, form: Form, photo: Callable[[], bytes]) -> bytes | None:
    return drawing.as_png(partial(LAYOUTS[form], poster, photo()))


def _as_svg(poster: Poster, form: Form, photo: Callable[[], bytes]) -> bytes:
    return drawing.as_svg(partial(LAYOUTS[form], poster, photo()), f"{poster.heading} · {poster.title}")


@dataclass(frozen=True, slots=True)
class _Words:
    """The words for an invite, in a language, at a moment."""

    state: State
    invite: Invite
    tongue: str
    now: datetime

    def say(self, zh: str, en: str) -> str:
        return zh if self.tongue == "zh" else en

    def money(self, amount: int, currency: str) -> str:
        """A price; without decimals where there are none."""
        digits = get_currency_precision(currency)
        whole = amount % 10**digits == 0
        return format_currency(
            Decimal(amount).scaleb(-digits),
            currency,
            "¤#,##0" if whole else None,
            locale=self.say("zh_CN", "en"),
            currency_digits=not whole,
        )

    def moment(self, at: datetime) -> str:
        """A moment that means the same to whoever reads it later and elsewhere."""
        other_year = at.astimezone(BEIJING).year != self.now.astimezone(BEIJING).year
        if self.tongue == "zh":
            at, pattern = at.astimezone(BEIJING), "M月d日 HH:mm（北京时间）"
            return format_datetime(at, f"y年{pattern}" if other_year else pattern, locale="zh_CN")
        return format_datetime(at.astimezone(UTC), f"d MMM{' y' if other_year else ''}, HH:mm 'UTC'", locale="en")


def _url(state: State, code: str) -> str:
    return f"{state.settings.public_url.rstrip('/')}/i/{code}"


async def _read(session: AsyncSession, words: _Words) -> tuple[Poster, Look]:
    invite = words.invite
    inviter = mask_name((await session.get_one(Member, invite.member_id)).name)
    if invite.community_id is not None:
        community = await session.get_one(Community, invite.community_id)
        said = _of_community(words, community, inviter)
        look = made_up(community.id, said["title"])
    else:
        group = None
        if invite.group_id is not None:
            group = (await groups.views(session, [invite.group_id]))[invite.group_id]
        sale = await session.get_one(Sale, group.sale_id if group else invite.sale_id)
        offer, several, product = await _lead_offer(session, sale, group)
        community = await session.get_one(Community, sale.community_id)
        said = _of_sale(words, sale, offer, inviter) | _of_price(words, sale, offer, group, several=several)
        if group is not None and group.size > 1:
            said |= _of_group(words, sale, group, inviter)
        said |= {"title": product.title, "subtitle": sale.title if sale.title != product.title else ""}
        look = await look_of(session, product)
    poster = Poster(
        **dict.fromkeys(("badge", "price", "since", "was", "step", "progress", "deadline", "promise"), "")
        | {"seats": None, "over": False}
        | said,
        url=_url(words.state, invite.code),
        code=invite.code,
        inviter=inviter,
        community=community.name if invite.community_id is None else words.say("社群", "A community"),
        scan=words.say("长按识别二维码", "Press and hold, or scan"),
        by_hand=words.say(f"或输入邀请码 {invite.code}", f"or enter {invite.code}"),
    )
    return poster, look


async def _lead_offer(session: AsyncSession, sale: Sale, group: GroupPublic | None) -> tuple[Offer, bool, Product]:
    """The offer with the lowest price, whether others cost more, and its product."""
    statement = select(Offer, Product).join(Product, col(Product.id) == Offer.product_id)
    statement = statement.where(Offer.sale_id == sale.id)
    if group is not None:
        statement = statement.where(Offer.product_id == group.product_id)
    rows = (await session.exec(statement.order_by(col(Offer.price), col(Offer.id)))).all()
    (offer, product), *_ = rows
    return offer, any(other.price > offer.price for other, _ in rows), product


def _of_community(words: _Words, community: Community, inviter: str) -> dict[str, Any]:
    """What is said of a community: of one that not everybody may see, no more than that it invites."""
    shown = community.see_segment_id is None
    return {
        "heading": words.say(f"{inviter} 邀请你加入社群", f"{inviter} invites you"),
        "title": community.name if shown else words.say("一个社群", "A community"),
        "subtitle": community.need if shown else "",
        "badge": words.say("社群", "Community"),
        "promise": "开团 Kaituan",
    }


def _of_sale(words: _Words, sale: Sale, offer: Offer, inviter: str) -> dict[str, Any]:
    """What is said of a sale."""
    drawn = sale.allocation == Allocation.DRAW
    terms = sale.terms()
    size, least = sale.group_size, smallest(terms)
    match sale.kind:
        case SaleKind.GROUP:
            heading = words.say(f"{inviter} 邀请你一起拼团", f"{inviter} invites you to buy together")
            badge = words.say(f"{size} 人团", f"Group of {size}")
            progress = words.say(f"满 {size} 人成团", f"{size} people make a group")
            if least < size:
                progress = words.say(f"满 {least} 人即成团", f"{least} people are enough")
        case SaleKind.BARGAIN:
            slots = terms.bargain.slots if terms.bargain else 0
            heading = words.say(f"{inviter} 邀请你来砍价", f"{inviter} invites you to bargain")
            badge = words.say("砍价", "Bargain")
            progress = words.say(f"好友帮砍 {slots} 刀到底价", f"{slots} cuts by friends lead there")
        case _:
            heading = words.say(f"{inviter} 邀请你来抢购", f"{inviter} invites you to a flash sale")
            badge = words.say("抽签", "Draw") if drawn else words.say("秒杀", "Flash sale")
            progress = words.say(f"限量 {offer.stock} 件", f"Only {offer.stock} of them")
    over = sale.state == SaleState.ENDED or words.now >= sale.closes_at
    deadline = words.say(f"截止 {words.moment(sale.closes_at)}", f"Ends {words.moment(sale.closes_at)}")
    if over:
        badge = words.say("已结束", "Over")
    elif words.now < sale.opens_at:
        deadline = words.say(f"{words.moment(sale.opens_at)} 开抢", f"Opens {words.moment(sale.opens_at)}")
    elif sale.state == SaleState.PAUSED:
        badge = words.say("暂停中", "Paused")
    elif drawn and sale.draws_at is not None and words.now < sale.draws_at:
        deadline = words.say(f"{words.moment(sale.draws_at)} 抽签", f"Drawn {words.moment(sale.draws_at)}")
    refund = words.say("未成团自动全额退款", "Full refund if the group does not fill")
    return {
        "heading": heading,
        "badge": badge,
        "progress": progress,
        "deadline": deadline,
        "over": over,
        "promise": refund if sale.kind == SaleKind.GROUP else "开团 Kaituan",
    }


def _of_price(
    words: _Words, sale: Sale, offer: Offer, group: GroupPublic | None, *, several: bool
) -> dict[str, Any]:
    """The price now, what it was, and what it would be with more heads."""
    steps = offer.steps(sale.terms())
    paid = group.paid if group is not None else 0
    price = price_at(steps, paid + 1)
    following = next_step(steps, paid + 1 if group is None else paid)
    since = words.say("起", "and up") if several else ""
    if sale.kind == SaleKind.BARGAIN:
        since = words.say("底价", "at the end")
    step = ""
    if following is not None and (group is None or group.state not in FINAL_GROUP_STATES):
        cheaper, more = words.money(following.price, sale.currency), following.heads - paid
        step = words.say(f"再有 {more} 人付款，每件 {cheaper}", f"{more} more paid: {cheaper} each")
        if group is None:
            step = words.say(f"{following.heads} 人付款，每件 {cheaper}", f"{following.heads} paid: {cheaper} each")
    return {
        "price": words.money(price, sale.currency),
        "since": since,
        "was": "" if offer.list_price in {None, price} else words.money(offer.list_price or 0, sale.currency),
        "step": step,
    }


def _of_group(words: _Words, sale: Sale, group: GroupPublic, inviter: str) -> dict[str, Any]:
    """What is said of a group, instead of its sale."""
    taken, size = group.paid + group.held, group.size
    missing = smallest(sale.terms()) - taken
    badge = words.say(f"{size} 人团", f"Group of {size}")
    deadline = words.say(f"截止 {words.moment(group.deadline_at)}", f"Ends {words.moment(group.deadline_at)}")
    over = group.state in FINAL_GROUP_STATES or words.now >= group.deadline_at
    match group.state:
        case GroupState.SUCCEEDED:
            badge = words.say("已成团", "Succeeded")
            progress = words.say(f"{group.paid} 人拼团成功", f"{group.paid} people bought together")
            if group.covered:
                progress = words.say(
                    f"{progress}，商家补 {group.covered} 席", f"{progress}, {group.covered} by merchant"
                )
            deadline, size = "", group.paid + group.covered
        case GroupState.FAILED:
            badge, deadline = words.say("未成团", "Not filled"), ""
            progress = words.say("未成团，自动退款", "Not filled; everybody is refunded")
        case GroupState.MERGED:
            badge, deadline = words.say("已并团", "Merged"), ""
            progress = words.say("已并入另一个团", "Merged into another group")
        case _ if over:
            badge = words.say("已截止", "Closed")
            progress = words.say("时间已到，正在结算", "Time is up; it is being settled")
        case GroupState.FILLED:
            badge = words.say("已满员", "Full")
            progress = words.say("已满员，等待付款", "Full; waiting for payment")
        case _ if missing > 0:
            progress = words.say(f"还差 {missing} 人成团", f"{missing} more to go")
        case _ if group.paid < smallest(sale.terms()):
            progress = words.say("人数已够，等待付款", "Enough people; waiting for payment")
        case _:
            progress = words.say(f"已够成团，还可加入 {group.left} 人", f"Enough; {group.left} more may join")
    return {
        "heading": words.say(f"{inviter} 邀请你一起拼团", f"{inviter} invites you to buy together"),
        "badge": badge,
        "progress": progress,
        "seats": (group.paid, group.held, max(size, 1)),
        "deadline": deadline,
        "over": over,
    }
