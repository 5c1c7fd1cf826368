"""When members act in a community, and when they look."""

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import col

from app.domain.errors import NotAllowed
from app.domain.memberships import MembershipState
from app.models import Membership
from app.services.standing import Place
from app.services.transactions import Work, transaction
from app.state import State

SEEN_EVERY = timedelta(hours=1)


async def acted(work: Work, community_id: str, member_id: str) -> None:
    """Note that a member acts in a community. Their row is theirs until the end of the transaction: what one member
    does in one community happens one after the other, and before or after they are blocked. Raises `NotAllowed`
    when they belong to it no more.
    """
    found = await work.session.exec(
        update(Membership)
        .where(
            col(Membership.community_id) == community_id,
            col(Membership.member_id) == member_id,
            col(Membership.state) == MembershipState.ACTIVE,
        )
        .values(acted_at=work.now)
        .returning(col(Membership.member_id))
        .execution_options(synchronize_session=False),
    )
    if found.first() is None:
        raise NotAllowed


async def seen(state: State, place: Place) -> None:
    """Note that a member looked at the feed, once an hour at most."""
    row, now = place.membership, state.clock()
    if row is not None and (row.seen_at is None or row.seen_at <= now - SEEN_EVERY):
        async with transaction(state, now) as work:
            there = await work.session.get_one(Membership, (row.community_id, row.member_id))
            there.seen_at = now
            work.session.add(there)
