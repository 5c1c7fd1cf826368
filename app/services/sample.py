"""Sample data for development: a community, its tea, two sales, a friend's invite, and an operator key that
everybody knows.
"""

from datetime import timedelta

from sqlmodel import col, select

from app.config import Environment
from app.domain.keys import SAMPLE_KEY
from app.domain.operators import Scope
from app.models import Identity, Invite, Sale
from app.schemas.communities import CommunityCreate
from app.schemas.invites import InviteCreate
from app.schemas.products import ProductCreate
from app.schemas.sales import OfferCreate, SaleCreate
from app.schemas.sessions import SessionCreate
from app.services.communities import create_community, open_community
from app.services.invites import create_invite
from app.services.operators import create_key, has_key
from app.services.products import create_product
from app.services.sales import create_sale, publish_sale
from app.services.sessions import create_session
from app.state import State

YEAR = timedelta(days=365)
FRIEND = "lin.xiaoman"


async def add_sample(state: State) -> bool:
    """Add the sample data to a database without sales. False when there are some, or this is not development."""
    if state.settings.environment != Environment.DEVELOPMENT:
        return False
    async with state.database.snapshot() as session:
        if (await session.exec(select(Sale.id))).first():
            return False
    if not await has_key(state, SAMPLE_KEY):
        await create_key(state, "sample data", list(Scope), key=SAMPLE_KEY)
    community = await create_community(
        state,
        CommunityCreate(
            name="西湖茶友",
            audience="爱茶的人 People who love tea",
            need="喝到当季的好茶 Good tea while it is in season",
            benefits="一起买更便宜 Bought together, for less",
            sustained_by="每单的毛利 A margin on every order",
            posting_rules="只谈茶 Tea, and nothing else",
        ),
    )
    await open_community(state, community.id)
    tea = await create_product(
        state,
        ProductCreate(title="明前龙井 Spring Longjing", description="头采，清明前。", skus=["50 g", "100 g"]),
    )
    now = state.clock()
    small, large = tea.skus
    sales = [
        SaleCreate(
            community_id=community.id,
            title="三人成团 · 明前龙井 Three together",
            description="24 小时内满 3 人成团，不成团自动退款。",
            opens_at=now,
            closes_at=now + YEAR,
            group_size=3,
            group_ttl_seconds=24 * 3600,
            hold_ttl_seconds=15 * 60,
            order_limit=5,
            member_limit=5,
            offers=[
                OfferCreate(sku_id=small.id, price=4900, list_price=6900, stock=1000),
                OfferCreate(sku_id=large.id, price=8900, list_price=12900, stock=500),
            ],
        ),
        SaleCreate(
            community_id=community.id,
            title="半分钟快团 · 试运行 Half-minute groups, for trying out",
            description="30 秒内满 4 人成团；用于 make demo。",
            opens_at=now,
            closes_at=now + YEAR,
            group_size=4,
            group_ttl_seconds=30,
            hold_ttl_seconds=20,
            order_limit=2,
            member_limit=10,
            offers=[OfferCreate(sku_id=small.id, price=3900, list_price=6900, stock=100_000)],
        ),
    ]
    published = [await publish_sale(state, (await create_sale(state, sale)).id) for sale in sales]
    friend = await create_session(state, SessionCreate(provider="dev", code=FRIEND, name="林小满"))
    await create_invite(state, friend.member.id, InviteCreate(sale_id=published[0].id, expires_at=now + YEAR))
    return True


async def find_sample_invite(state: State) -> str | None:
    """The code of the friend's invite, while it works."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Invite.code)
            .join(Identity, col(Identity.member_id) == Invite.member_id)
            .where(Identity.provider == "dev", Identity.subject == FRIEND, col(Invite.expires_at) > state.clock())
            .order_by(col(Invite.created_at))
        )
        return found.first()
