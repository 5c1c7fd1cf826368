"""How a community ends: closed to writes at once, and wound up a batch at a time.

Its sales end, its members are told what it came to, and where that was its policy what was written in it is erased.
Otherwise they stay members, who can read on for ever.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel.numbers import format_currency, get_currency_precision
from sqlalchemy import func, update
from sqlmodel import col, or_, select

from app.domain.communities import COMMUNITY_TRANSITIONS, CommunityState, OnDissolve
from app.domain.errors import CommunityNotFound, SaleTransitionRefused
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.domain.notices import NoticeKind
from app.domain.orders import PAID_SEAT_STATES
from app.domain.sales import SaleState
from app.models import Comment, Community, Membership, Notice, Offer, Order, Post, Push, Report, Sale
from app.schemas.communities import CommunityDetail
from app.services.communities import get_detail
from app.services.days import note_day
from app.services.locks import lock_community
from app.services.memberships import drop_unpaid
from app.services.mentions import forget_mentions
from app.services.notices import notify
from app.services.sales import end_sale
from app.services.transactions import Work, transaction
from app.state import State

BATCH = 200
"""Members who are told, or posts that are erased, in one transaction."""
RUNNING_SALE_STATES = (SaleState.SCHEDULED, SaleState.LIVE, SaleState.PAUSED)


async def dissolve(state: State, community_id: str) -> CommunityDetail:
    """Dissolve a community before its time, or one that lasts; again changes nothing. Raises
    `CommunityNotFound`.
    """
    async with transaction(state, state.clock()) as work:
        row = await lock_community(work.session, community_id)
        if row is None:
            raise CommunityNotFound
        await _dissolve(work, row)
    return await get_detail(state, community_id)


async def dissolve_due(state: State, community_id: str, now: datetime) -> bool:
    """Dissolve a flash community whose time has come. True when this call did it."""
    async with transaction(state, now) as work:
        row = await lock_community(work.session, community_id)
        if row is None or row.closes_at is None or row.closes_at > now:
            return False
        return await _dissolve(work, row)


async def _dissolve(work: Work, row: Community) -> bool:
    before = row.state
    moved = await work.advance(COMMUNITY_TRANSITIONS, row, CommunityState.DISSOLVED, dissolved_at=work.now)
    if moved is None:
        return False
    await drop_unpaid(work, row)
    await note_day(work, row)
    work.record("community.dissolved", row.id, states=(before, CommunityState.DISSOLVED), community_id=row.id)
    return True


async def wind_up(state: State, community_id: str, now: datetime) -> bool:
    """Do the next part of what is left to do for a dissolved community. True when there was something."""
    async with state.database.snapshot() as session:
        running = await session.exec(
            select(Sale.id)
            .where(Sale.community_id == community_id, col(Sale.state).in_(RUNNING_SALE_STATES))
            .limit(BATCH),
        )
        sale_ids = running.all()
    for sale_id in sale_ids:
        with suppress(SaleTransitionRefused):  # it has ended by itself
            await end_sale(state, sale_id)
    async with transaction(state, now) as work:
        row = await lock_community(work.session, community_id)
        if row is None or row.wound_up_at is not None:
            return False
        if row.summary is None:
            row.summary = await _sum_up(work, row)
        elif members := await _next_members(work, row):
            await _part_with(work, row, members)
        elif posts := await _next_posts(work, row):
            await _erase_posts(work, row, posts)
        else:
            row.wound_up_at = now
            if row.on_dissolve == OnDissolve.ERASE:
                await work.session.exec(update(Push).where(col(Push.community_id) == row.id).values(text=""))
            work.record("community.wound_up", row.id, community_id=row.id)
        work.session.add(row)
    return True


async def _sum_up(work: Work, row: Community) -> dict[str, Any]:
    """What a community came to: members, posts, paid orders, and what members saved by currency."""
    posts = await work.session.exec(select(func.count()).where(Post.community_id == row.id))
    orders = (
        select(Sale.currency, func.count(), func.sum((col(Offer.list_price) - Order.unit_price) * Order.quantity))
        .select_from(Order)
        .join(Sale, col(Sale.id) == Order.sale_id)
        .join(Offer, col(Offer.id) == Order.offer_id)
        .where(Sale.community_id == row.id, ~col(Sale.is_plan), col(Order.state).in_(PAID_SEAT_STATES))
        .group_by(Sale.currency)
        .order_by(Sale.currency)
    )
    found = (await work.session.exec(orders)).all()
    return {
        "members": row.member_count,
        "posts": posts.one(),
        "orders": sum(count for _, count, _ in found),
        "saved": [
            {"currency": currency, "amount": int(saved)} for currency, _, saved in found if saved and saved > 0
        ],
    }


async def _next_members(work: Work, row: Community) -> Sequence[Membership]:
    found = await work.session.exec(
        select(Membership)
        .where(Membership.community_id == row.id, col(Membership.member_id) > row.told_to)
        .order_by(col(Membership.member_id))
        .limit(BATCH),
    )
    return found.all()


async def _part_with(work: Work, row: Community, members: Sequence[Membership]) -> None:
    """Tell members what their community came to. Nobody has to pay on; where it is erased, nobody is a member."""
    row.told_to = members[-1].member_id
    staying = [membership.member_id for membership in members if membership.state == MembershipState.ACTIVE]
    notify(work, staying, NoticeKind.SUMMARY, summary_text(row.name, row.summary or {}), community_id=row.id)
    erases = row.on_dissolve == OnDissolve.ERASE
    for membership in members:
        if membership.state == MembershipState.ACTIVE:
            membership.paid_until = None
        if erases and membership.state == MembershipState.ACTIVE:
            membership.state, membership.role = MembershipState.LEFT, Role.MEMBER
            membership.left_at, membership.leave_reason = work.now, LeaveReason.DISSOLVED
            row.member_count -= 1
            work.record(
                "membership.left",
                row.id,
                states=(MembershipState.ACTIVE, MembershipState.LEFT),
                member_id=membership.member_id,
                community_id=row.id,
                reason=LeaveReason.DISSOLVED,
            )
        if erases:
            membership.sqlmodel_update({"application": "", "nickname": "", "bio": "", "shown": {}})
        work.session.add(membership)
    if erases:
        await note_day(work, row)
        await work.session.exec(  # the summary is written after this, with the events
            update(Notice)
            .where(
                col(Notice.member_id).in_([membership.member_id for membership in members]),
                col(Notice.community_id) == row.id,
            )
            .values(text=""),
        )


async def _next_posts(work: Work, row: Community) -> Sequence[str]:
    if row.on_dissolve == OnDissolve.KEEP:
        return []
    found = await work.session.exec(
        select(Post.id)
        .where(Post.community_id == row.id, col(Post.id) > row.erased_to)
        .order_by(col(Post.id))
        .limit(BATCH),
    )
    return found.all()


async def _erase_posts(work: Work, row: Community, post_ids: Sequence[str]) -> None:
    """Take the words and pictures out of posts, of what was said to them, and of reports of them."""
    row.erased_to = post_ids[-1]
    said = col(Comment.post_id).in_(post_ids)
    comments = select(Comment.id).where(said)
    about = or_(col(Report.subject_id).in_(post_ids), col(Report.subject_id).in_(comments))
    wiped = {"body": "", "removed_at": work.now}
    found = await work.session.exec(comments)
    await forget_mentions(work, [*post_ids, *found.all()])
    for statement in (
        update(Post).where(col(Post.id).in_(post_ids)).values(**wiped, pictures=[], pinned_at=None),
        update(Comment).where(said).values(**wiped),
        update(Report).where(about).values(note=""),
    ):
        await work.session.exec(statement.execution_options(synchronize_session=False))


def summary_text(name: str, summary: dict[str, Any]) -> str:
    """The summary of a community as its members are told it."""
    saved = {
        locale: " + ".join(_money(locale, **amount) for amount in summary["saved"]) or "0"
        for locale in ("zh", "en")
    }
    members, posts, orders = (summary[part] for part in ("members", "posts", "orders"))
    return (
        f"「{name}」已解散：{members} 位成员，{posts} 篇内容，{orders} 个订单，共省下 {saved['zh']}。谢谢一路同行！"
        f" {name} has dissolved: {members} members, {posts} posts, {orders} orders, {saved['en']} saved. Thank you!"
    )


def _money(locale: str, currency: str, amount: int) -> str:
    value = Decimal(amount).scaleb(-get_currency_precision(currency))
    return str(format_currency(value, currency, locale="zh_CN" if locale == "zh" else "en"))
