"""Members of a community as others see them: by their nickname or masked name, and what they chose to show."""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import MembershipNotFound, NotAllowed
from app.domain.members import mask_name
from app.domain.memberships import Action, MembershipState, Role, Shown, may
from app.models import Community, Member, Membership
from app.schemas.fields import Page
from app.schemas.profiles import ProfileDetail, ProfilePublic, ProfileSummary
from app.services.check_ins import read_streak
from app.services.days import local_day
from app.services.encounters import trust_level
from app.services.standing import require
from app.state import State


async def list_profiles(
    state: State,
    viewer_id: str,
    community_id: str,
    *,
    of_state: MembershipState,
    role: Role | None,
    after: str | None,
    limit: int,
) -> Page[ProfileSummary | ProfileDetail]:
    """Members of a community, newest accounts first; others than members, and details, only for those who moderate.
    Raises what `require` raises.
    """
    statement = (
        select(Membership, Member.name)
        .join(Member, col(Member.id) == Membership.member_id)
        .where(Membership.community_id == community_id, Membership.state == of_state)
    )
    if role is not None:
        statement = statement.where(Membership.role == role)
    if role not in {None, Role.MEMBER}:
        statement = statement.where(col(Membership.role) != Role.MEMBER)  # so that the index of roles will do
    if after is not None:
        statement = statement.where(col(Membership.member_id) < after)
    async with state.database.snapshot() as session:
        place = await require(session, community_id, viewer_id, Action.READ)
        moderates = may(place.standing, Action.MODERATE)
        if of_state != MembershipState.ACTIVE and not moderates:
            raise NotAllowed
        found = await session.exec(statement.order_by(col(Membership.member_id).desc()).limit(limit + 1))
        rows = found.all()
    show = detail if moderates else summary
    return Page[ProfileSummary | ProfileDetail](
        items=[show(row, name) for row, name in rows[:limit]],
        next=rows[limit - 1][0].member_id if len(rows) > limit else None,
    )


async def get_profile(state: State, viewer_id: str, community_id: str, member_id: str) -> ProfilePublic:
    """A member, and what they chose to show. Raises what `require` raises, `MembershipNotFound`."""
    async with state.database.snapshot() as session:
        place = await require(session, community_id, viewer_id, Action.READ)
        row = await session.get(Membership, (community_id, member_id))
        if row is None or row.state != MembershipState.ACTIVE:
            raise MembershipNotFound
        name = await name_of(session, row)
        now = state.clock()
        told = {
            field: await _tell(session, place.community, row, field, now) for field in Shown if row.shown.get(field)
        }
    return ProfilePublic(
        **summary(row, name).model_dump(),
        bio=row.bio,
        shown={field: value for field, value in told.items() if value is not None},
    )


async def _tell(
    session: AsyncSession, community: Community, row: Membership, field: Shown, now: datetime
) -> str | int | None:
    """What a member shows; None: there is nothing to tell."""
    match field:
        case Shown.JOINED_DAY:
            return None if row.joined_at is None else local_day(community, row.joined_at)
        case Shown.ACTED_DAY:
            return None if row.acted_at is None else local_day(community, row.acted_at)
        case Shown.STREAK:
            return (await read_streak(session, community, row.member_id, now)).days
        case Shown.TRUST_LEVEL:
            return await trust_level(session, community.id, row.member_id, now)


async def decided(state: State, row: Membership) -> ProfileDetail:
    """A membership that was decided on, as who decided sees it."""
    async with state.database.snapshot() as session:
        return detail(row, await name_of(session, row))


async def name_of(session: AsyncSession, row: Membership) -> str:
    """A member's name, as it is."""
    return (await session.exec(select(Member.name).where(Member.id == row.member_id))).one()


def summary(row: Membership, name: str) -> ProfileSummary:
    """A member as all in the community see them."""
    return ProfileSummary(member_id=row.member_id, name=row.nickname or mask_name(name), role=row.role)


def detail(row: Membership, name: str) -> ProfileDetail:
    """A member as those see them who look after the community."""
    return ProfileDetail.model_validate(row.model_dump() | summary(row, name).model_dump())
