"""Referrals: who brought whom, bound when somebody who was brought pays."""

from collections.abc import Sequence

from sqlalchemy import func, update
from sqlmodel import col, or_, select

from app.domain.orders import PAID_SEAT_STATES
from app.domain.referrals import AttributionRules, RefusalReason, Touched, TouchKind, choose
from app.models import Group, Invite, Order, Referral, Refusal, Sale, Touch, Use
from app.services.branches import Direction, Step, Walk, read_steps
from app.services.touches import note_code
from app.services.transactions import Work
from app.state import State

LONGEST_CIRCLE = 5_000
"""Members of the longest circle that is looked for."""


async def bind(state: State, work: Work, order: Order) -> Referral | None:
    """Who brought the member of a paid order; bound now, if they were not brought before. Nobody, when they came by
    the invite only after they had ordered, unless the order names it: when we hear of their payment depends on
    others. The caller holds `lock_referrals`.
    """
    sale = await work.session.get_one(Sale, order.sale_id)
    rules = AttributionRules(**sale.attribution)
    scope = rules.scope(sale.id)
    if order.invite_code is not None:
        await note_code(state, work, order)
    bound = await work.session.get(Referral, (scope, order.member_id))
    if bound is not None or order.state not in PAID_SEAT_STATES:
        came_by_it = bound and (bound.touched_at <= order.created_at or bound.code == order.invite_code)
        return bound if came_by_it else None
    touches = await _touches(work, order, sale, lasting=rules.lasting)
    chosen = choose(list(touches), rules, order.member_id, order.created_at)
    if chosen is None:
        return None
    circle = await _find_circle(work, scope, chosen.inviter_id, order.member_id)
    if circle:
        await _refuse(state, work, order, scope, chosen, circle)
        return None
    await use(work, touches[chosen], order.member_id)
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
    """The touches of a member that may count for a sale, and their invites: not those that have brought as many
    others as they may.
    """
    used = select(Use.code).where(Use.member_id == order.member_id)
    statement = (
        select(Touch, Invite)
        .join(Invite, col(Invite.code) == Touch.code)
        .where(
            Touch.member_id == order.member_id,
            or_(col(Invite.used_up_at).is_(None), col(Invite.code).in_(used)),
        )
    )
    if not lasting:
        statement = statement.where(
            or_(
                col(Invite.sale_id) == sale.id,
                select(Group.id).where(Group.id == Invite.group_id, Group.sale_id == sale.id).exists(),
                col(Invite.community_id) == sale.community_id,
                col(Invite.code) == order.invite_code,
            )
        )
    found: dict[Touched, Invite] = {}
    for touch, invite in (await work.session.exec(statement)).all():
        moments = {touch.first_at: touch.kind, touch.last_at: touch.kind}
        if invite.code == order.invite_code:
            moments[order.created_at] = TouchKind.CODE
        for at, kind in moments.items():
            found[Touched(invite.code, invite.member_id, kind, at)] = invite
    return found


async def _find_circle(work: Work, scope: str, inviter_id: str, member_id: str) -> Sequence[Step]:
    """The referrals that lead from a member to who would bring it, and would be a circle; mostly none."""
    brought = await work.session.exec(
        select(Referral.member_id).where(Referral.scope == scope, Referral.inviter_id == member_id).limit(1),
    )
    if brought.first() is None:
        return []
    up = Walk(scope, inviter_id, Direction.UP, LONGEST_CIRCLE)
    steps = await read_steps(work.session, up, LONGEST_CIRCLE)
    # Who is not brought yet is at the end of the way up, if at all.
    return steps if steps and steps[-1].inviter_id == member_id else []


async def _refuse(
    state: State, work: Work, order: Order, scope: str, chosen: Touched, circle: Sequence[Step]
) -> None:
    """Write down that a referral was refused, and who else was in the circle it would have closed."""
    pairs = [(order.member_id, chosen.inviter_id), *((step.member_id, step.inviter_id) for step in circle)]
    for member_id, inviter_id in pairs:
        refused = await work.session.exec(
            state.database.insert_unless_there(Refusal, ["scope", "member_id", "inviter_id"])
            .values(
                scope=scope,
                member_id=member_id,
                inviter_id=inviter_id,
                reason=RefusalReason.CYCLE,
                code=chosen.code,
                order_id=order.id,
                at=work.now,
            )
            .returning(col(Refusal.member_id)),
        )
        if refused.first() is not None and member_id == order.member_id:
            work.record(
                "referral.refused",
                order.id,
                sale_id=order.sale_id,
                member_id=member_id,
                inviter_id=inviter_id,
                code=chosen.code,
                reason=RefusalReason.CYCLE,
            )


async def use(work: Work, invite: Invite, member_id: str) -> None:
    """Take a member's place among those an invite may bring, unless it has one. The caller holds
    `lock_referrals`.
    """
    if invite.max_uses is None:
        return
    known = await work.session.exec(select(Use.number).where(Use.code == invite.code, Use.member_id == member_id))
    if known.first() is not None:
        return
    number = (await work.session.exec(select(func.count()).where(Use.code == invite.code))).one() + 1
    work.session.add(Use(code=invite.code, number=number, max_uses=invite.max_uses, member_id=member_id))
    await work.session.flush()
    if number == invite.max_uses:
        await work.session.exec(
            update(Invite).where(col(Invite.code) == invite.code).values(used_up_at=work.now),
        )
