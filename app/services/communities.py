from sqlmodel import select

from app.domain.errors import CommunityNotFound
from app.models import Community
from app.schemas.communities import CommunityCreate, CommunityPublic, CommunityUpdate
from app.schemas.fields import Page
from app.services.pages import read_page
from app.services.transactions import transaction
from app.state import State


async def create_community(state: State, body: CommunityCreate) -> CommunityPublic:
    """Make a community."""
    now = state.clock()
    async with transaction(state, now) as work:
        row = Community(**body.model_dump(), created_at=now)
        work.session.add(row)
        work.record("community.created", row.id)
    return _public(row)


async def update_community(state: State, community_id: str, body: CommunityUpdate) -> CommunityPublic:
    """Change what is named in the body. Raises `CommunityNotFound`."""
    async with transaction(state, state.clock()) as work:
        row = await work.session.get(Community, community_id)
        if row is None:
            raise CommunityNotFound
        row.sqlmodel_update(body.model_dump(exclude_none=True))
        work.session.add(row)
        work.record("community.changed", row.id, fields=sorted(body.model_fields_set))
    return _public(row)


async def get_community(state: State, community_id: str) -> CommunityPublic:
    """Raises `CommunityNotFound`."""
    async with state.database.snapshot() as session:
        row = await session.get(Community, community_id)
    if row is None:
        raise CommunityNotFound
    return _public(row)


async def list_communities(state: State, after: str | None, limit: int) -> Page[CommunityPublic]:
    """All communities, newest first."""
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Community, select(Community), after, limit)
    return Page[CommunityPublic](items=[_public(row) for row in rows], next=following)


def _public(row: Community) -> CommunityPublic:
    return CommunityPublic.model_validate(row, from_attributes=True)
