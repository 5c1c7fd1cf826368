"""Who somebody is in a community, and whether they may do something there."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.communities import CommunityState
from app.domain.errors import CommunityNotFound, CommunityNotOpen, MemberBlocked, NotAllowed
from app.domain.memberships import Action, Role, Standing, may, standing_of
from app.models import Community, Membership
from app.services import segments


@dataclass(frozen=True, slots=True)
class Place:
    """A community, and a member's place in it."""

    community: Community
    membership: Membership | None

    @property
    def standing(self) -> Standing:
        """Who the member is there."""
        row = self.membership
        return standing_of(None, Role.MEMBER) if row is None else standing_of(row.state, row.role)


async def find_place(session: AsyncSession, community_id: str, member_id: str | None) -> Place:
    """Where a member stands in a community; None is a stranger. Raises `CommunityNotFound`, also for a draft to
    those who do not lead it.
    """
    community = await session.get(Community, community_id)
    if community is None:
        raise CommunityNotFound
    membership = None if member_id is None else await session.get(Membership, (community_id, member_id))
    place = Place(community, membership)
    if community.state == CommunityState.DRAFT and not may(place.standing, Action.EDIT):
        raise CommunityNotFound
    return place


async def require(
    session: AsyncSession, community_id: str, member_id: str | None, action: Action, *, writes: bool = False
) -> Place:
    """The place of a member who may do this. Raises `CommunityNotFound`, `MemberBlocked`, `NotAllowed`; if it
    `writes`, `CommunityNotOpen`: what is dissolved can only be read.
    """
    place = await find_place(session, community_id, member_id)
    if place.standing == Standing.BLOCKED:
        raise MemberBlocked
    if not may(place.standing, action):
        unseen = place.community.see_segment_id is not None and not may(place.standing, Action.READ)
        raise CommunityNotFound if unseen else NotAllowed
    if writes and place.community.state != CommunityState.OPEN:
        raise CommunityNotOpen(state=place.community.state)
    return place


async def see_community(session: AsyncSession, community_id: str, viewer_id: str | None, now: datetime) -> Place:
    """Where somebody stands in a community that they may see: members do, and whom its segment fits. Raises
    `CommunityNotFound`.
    """
    place = await find_place(session, community_id, viewer_id)
    if not await may_see(session, place, viewer_id, now):
        raise CommunityNotFound
    return place


async def may_see(session: AsyncSession, place: Place, viewer_id: str | None, now: datetime) -> bool:
    """Whether somebody may see that there is this community, and what it says of itself."""
    segment_id = place.community.see_segment_id
    if segment_id is None or may(place.standing, Action.READ):
        return True
    return viewer_id is not None and await segments.fits(session, segment_id, viewer_id, now)
