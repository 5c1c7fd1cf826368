"""Give memberships that were paid, take back those that were refunded, and let end what is paid no more."""

from datetime import datetime, timedelta

from sqlmodel import col, or_, select

from app.domain.memberships import WARNING_DAYS, MembershipState, Role
from app.models import Community, Membership, Period
from app.services.memberships import lapse, warn
from app.services.periods import settle
from app.state import State
from app.workers.due import work_through


async def run_once(state: State, now: datetime) -> int:
    """Returns for how many something changed."""
    due = (
        select(Period.community_id, Period.member_id)
        .where(col(Period.is_due))
        .distinct()
        .order_by(col(Period.community_id), col(Period.member_id))
    )
    paid = (
        select(Membership.community_id, Membership.member_id)
        .where(
            Membership.state == MembershipState.ACTIVE,
            Membership.role == Role.MEMBER,
            col(Membership.paid_until).is_not(None),
        )
        .order_by(col(Membership.paid_until))
    )
    ending = paid.join(Community, col(Community.id) == Membership.community_id).where(
        col(Membership.paid_until) > now,
        col(Membership.paid_until) <= now + timedelta(days=WARNING_DAYS),
        col(Community.period_days) > WARNING_DAYS,
        or_(col(Membership.warned_for).is_(None), col(Membership.warned_for) != Membership.paid_until),
    )
    return (
        await work_through(state, now, due, settle)
        + await work_through(state, now, ending, warn)
        + await work_through(state, now, paid.where(col(Membership.paid_until) <= now), lapse)
    )
