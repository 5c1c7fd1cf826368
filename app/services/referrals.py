"""Referrals: who brought whom, bound when somebody who was brought pays."""

from sqlmodel import col, or_, select

from app.domain.orders import PAID_SEAT_STATES
from app.domain.referrals import AttributionRules, Touched, TouchKind, choose
from app.models import Invite, Order, Referral, Sale, Touch
from app.services.transactions import Work


async def bind(work: Work, order: Order) -> Referral | None:
    """Who brought the member of an order; bound now, if they were not brought before and the order is paid."""
    sale = await work.session.get_one(Sale, order.sale_id)
    rules = AttributionRules(**sale.attribution)
    scope = rules.scope(sale.id)
    bound = await work.session.get(Referral, (scope, order.member_id))
    if bound is not None or order.state not in PAID_SEAT_STATES or order.paid_at is None:
        return bound
    touches = await _touches(work, order, sale, lasting=rules.lasting)
    chosen = choose(list(touches), rules, order.member_id, order.paid_at)
    if chosen is None:
        return None
    referral = Referral(
        scope=scope,
        member_id=order.member_id,
        inviter_id=chosen.inviter_id,
        code=chosen.code,
        channel=touches[chosen].channel,
        kind=chosen.kind,
        order_id=order.id,
        touched_at=chosen.at,
        bound_at=work.now,
    )
    work.session.add(referral)
    await work.session.flush()
    work.record(
        "referral.bound",
        order.id,
        sale_id=sale.id,
        member_id=order.member_id,
        inviter_id=chosen.inviter_id,
        code=chosen.code,
    )
    return referral


async def _touches(work: Work, order: Order, sale: Sale, *, lasting: bool) -> dict[Touched, Invite]:
    """The touches of a member that may count for a sale, and their invites."""
    statement = (
        select(Touch, Invite).join(Invite, col(Invite.code) == Touch.code).where(Touch.member_id == order.member_id)
    )
    if not lasting:
        statement = statement.where(
            or_(
                col(Invite.sale_id) == sale.id,
                col(Invite.group_id) == order.group_id,
                col(Invite.community_id) == sale.community_id,
            )
        )
    found: dict[Touched, Invite] = {}
    for touch, invite in (await work.session.exec(statement)).all():
        for at in {touch.first_at, touch.last_at}:
            found[Touched(invite.code, invite.member_id, touch.kind, at)] = invite
    if order.invite_code is not None:
        invite = await work.session.get_one(Invite, order.invite_code)
        found[Touched(invite.code, invite.member_id, TouchKind.CODE, order.created_at)] = invite
    return found
