"""Cards on posts: a group or a sale, shown as it is at the moment."""

import asyncio
from collections.abc import Sequence

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.errors import GroupNotFound, SaleNotFound
from app.domain.sales import SaleKind, SaleState
from app.models import Community, Group, Post, Sale, SaleCommunity
from app.schemas.groups import GroupPublic
from app.schemas.sales import SalePublic
from app.services import views
from app.state import State

Cards = dict[str, GroupPublic | SalePublic]
"""What posts show, by the posts' ids."""


async def check_card(
    session: AsyncSession, community: Community, group_id: str | None, sale_id: str | None
) -> None:
    """Raise `GroupNotFound` or `SaleNotFound` unless a post may show this group or sale here: the sale is
    published, and belongs to the community; a flash card shows a flash sale.
    """
    if group_id is not None:
        here = _of_here(community).join(Group, col(Group.sale_id) == Sale.id).where(Group.id == group_id)
        found = (await session.exec(here)).first()
        if found is None:
            raise GroupNotFound
    if sale_id is not None:
        here = _of_here(community).where(Sale.id == sale_id, Sale.kind == SaleKind.FLASH)
        found = (await session.exec(here)).first()
        if found is None:
            raise SaleNotFound


async def read_cards(state: State, posts: Sequence[Post]) -> Cards:
    """What posts show, as a stranger sees it: read together, and remembered for a moment with all who look."""
    groups = [post for post in posts if post.group_id is not None]
    sales = [post for post in posts if post.sale_id is not None]
    shown: list[GroupPublic | SalePublic] = await asyncio.gather(
        *(views.see_group(state, str(post.group_id)) for post in groups),
        *(views.see_sale(state, str(post.sale_id)) for post in sales),
    )
    return dict(zip((post.id for post in [*groups, *sales]), shown, strict=True))


def _of_here(community: Community) -> SelectOfScalar[str]:
    elsewhere = select(SaleCommunity.sale_id).where(SaleCommunity.community_id == community.id)
    return select(Sale.id).where(
        Sale.state != SaleState.DRAFT, or_(Sale.community_id == community.id, col(Sale.id).in_(elsewhere))
    )
