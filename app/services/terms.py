"""What a claim must know of its sale, its group, its invite and its coupon, remembered by the process.

Only what a published sale cannot change is relied upon: its prices and limits, the product of a group. Whether the
sale is open and the group has a free seat is for the dealer and the rows to say.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import (
    BargainNotFound,
    CouponNotFound,
    GroupNotFound,
    InviteNotFound,
    KaituanError,
    OfferNotFound,
    SaleNotFound,
)
from app.domain.gates import Entrance, Gate
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.sales import SaleState, SaleTerms
from app.models import (
    Bargain,
    Community,
    Coupon,
    Group,
    Invite,
    Offer,
    Redemption,
    Sale,
    SaleCommunity,
    SaleSegment,
)
from app.state import State


@dataclass(frozen=True, slots=True)
class SaleFacts:
    """A published sale."""

    id: str
    community_id: str
    currency: str
    terms: SaleTerms
    offers: dict[str, Offer]
    is_plan: bool = False
    gate: Gate | None = None
    """Who may buy; None: everybody."""
    communities: frozenset[str] = frozenset()
    """All that it belongs to, its own among them."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group: where it belongs, and whether it was final when it was read."""

    sale_id: str
    product_id: str
    final: bool


@dataclass(frozen=True, slots=True)
class BargainFacts:
    """What never changes of a bargain."""

    sale_id: str
    offer_id: str
    member_id: str


async def published_sale(session: AsyncSession, sale_id: str) -> Sale:
    """A sale that members may see, from its row. Raises `SaleNotFound`, also for a draft."""
    sale = await session.get(Sale, sale_id)
    if sale is None or sale.state == SaleState.DRAFT:
        raise SaleNotFound
    return sale


async def sale_facts(state: State, sale_id: str, offer_id: str) -> SaleFacts:
    """A sale that has this offer. Raises `SaleNotFound`, also for a draft, and `OfferNotFound`."""
    memory = state.memory(_read_sales)
    facts = await memory.get(sale_id)
    if offer_id not in facts.offers:
        facts = await memory.read(sale_id)  # it may have been added a moment ago
    if offer_id not in facts.offers:
        raise OfferNotFound
    return facts


async def find_sale(state: State, sale_id: str) -> SaleFacts:
    """A sale as it was a moment ago. Raises `SaleNotFound`, also for a draft."""
    return await state.memory(_read_sales).get(sale_id)


def forget_sale(state: State, sale_id: str) -> None:
    """Read a sale anew: it changed."""
    state.memory(_read_sales).drop(sale_id)


async def read_gates(session: AsyncSession, sales: Collection[Sale]) -> dict[str, Gate]:
    """Who may buy in these sales, by their ids. A sale's own community comes first among its entrances. A plan is
    for whom its community lets join, whether or not they may buy there.
    """
    ids = [sale.id for sale in sales]
    linked = await session.exec(
        select(SaleCommunity).where(col(SaleCommunity.sale_id).in_(ids)).order_by(col(SaleCommunity.community_id)),
    )
    named = await session.exec(
        select(SaleSegment).where(col(SaleSegment.sale_id).in_(ids)).order_by(col(SaleSegment.segment_id)),
    )
    communities = {sale.id: [sale.community_id] for sale in sales}
    segments: dict[str, list[str]] = {sale.id: [] for sale in sales}
    for link in linked.all():
        communities[link.sale_id].append(link.community_id)
    for one in named.all():
        segments[one.sale_id].append(one.segment_id)
    asked = {id_ for group in communities.values() for id_ in group}
    found = await session.exec(select(Community.id, Community.buy_segment_id).where(col(Community.id).in_(asked)))
    segment_of = dict(found.all())
    return {
        sale.id: Gate(
            tuple(Entrance(id_, None if sale.is_plan else segment_of[id_]) for id_ in communities[sale.id]),
            sale.members_only,
            tuple(segments[sale.id]),
        )
        for sale in sales
    }


async def group_facts(state: State, group_id: str) -> GroupFacts:
    """Where a group belongs. Raises `GroupNotFound`."""
    memory = state.memory(_read_groups)
    return memory.last(group_id) or await memory.get(group_id)


def remember_group(state: State, group_id: str, sale_id: str, product_id: str) -> None:
    """Know a group that was just opened."""
    state.memory(_read_groups).put(group_id, GroupFacts(sale_id, product_id, final=False))


async def is_over(state: State, group_id: str) -> bool:
    """Whether a group is final, as its row says now."""
    return (await state.memory(_read_groups).read(group_id)).final


async def bargain_facts(state: State, bargain_id: str) -> BargainFacts:
    """Whose bargain it is, and for what. Raises `BargainNotFound`."""
    memory = state.memory(_read_bargains)
    return memory.last(bargain_id) or await memory.get(bargain_id)


async def find_invite(state: State, code: str) -> Invite:
    """An invite as it was a moment ago. Raises `InviteNotFound`."""
    return await state.memory(_read_invites).get(code)


def forget_invite(state: State, code: str) -> None:
    """Read an invite anew: it was revoked or used up."""
    state.memory(_read_invites).drop(code)


async def find_coupon(state: State, code: str) -> tuple[Coupon, int]:
    """A coupon, and how many redemptions of it there were a moment ago. Raises `CouponNotFound`."""
    return await state.memory(_read_coupons).get(code)


def forget_coupon(state: State, code: str | None) -> None:
    """Read the coupon of an order anew, if it has one: it was ended, used up, or given back."""
    if code is not None:
        state.memory(_read_coupons).drop(code)


async def _read_sales(state: State, sale_ids: Sequence[str]) -> list[SaleFacts | KaituanError]:
    async with state.database.snapshot() as session:
        sales = await session.exec(
            select(Sale).where(col(Sale.id).in_(sale_ids), Sale.state != SaleState.DRAFT),
        )
        rows = sales.all()
        gates = await read_gates(session, rows)
        found = {
            sale.id: SaleFacts(
                sale.id,
                sale.community_id,
                sale.currency,
                sale.terms(),
                {},
                sale.is_plan,
                gate=None if gates[sale.id].is_open else gates[sale.id],
                communities=frozenset(entrance.community_id for entrance in gates[sale.id].entrances),
            )
            for sale in rows
        }
        for offer in (await session.exec(select(Offer).where(col(Offer.sale_id).in_(found)))).all():
            found[offer.sale_id].offers[offer.id] = offer
    return [found.get(sale_id) or SaleNotFound() for sale_id in sale_ids]


async def _read_groups(state: State, group_ids: Sequence[str]) -> list[GroupFacts | KaituanError]:
    async with state.database.snapshot() as session:
        rows = await session.exec(
            select(Group.id, Group.sale_id, Group.product_id, Group.state).where(col(Group.id).in_(group_ids)),
        )
        found = {
            id_: GroupFacts(sale_id, product_id, final=group_state in FINAL_GROUP_STATES)
            for id_, sale_id, product_id, group_state in rows.all()
        }
    return [found.get(group_id) or GroupNotFound() for group_id in group_ids]


async def _read_bargains(state: State, bargain_ids: Sequence[str]) -> list[BargainFacts | KaituanError]:
    async with state.database.snapshot() as session:
        rows = await session.exec(
            select(Bargain.id, Bargain.sale_id, Bargain.offer_id, Bargain.member_id).where(
                col(Bargain.id).in_(bargain_ids)
            ),
        )
        found = {id_: BargainFacts(*facts) for id_, *facts in rows.all()}
    return [found.get(bargain_id) or BargainNotFound() for bargain_id in bargain_ids]


async def _read_invites(state: State, codes: Sequence[str]) -> list[Invite | KaituanError]:
    async with state.database.snapshot() as session:
        rows = (await session.exec(select(Invite).where(col(Invite.code).in_(codes)))).all()
    found: dict[str, SQLModel] = {invite.code: invite for invite in rows}
    return [found.get(code) or InviteNotFound() for code in codes]  # type: ignore[misc]


async def _read_coupons(state: State, codes: Sequence[str]) -> list[tuple[Coupon, int] | KaituanError]:
    taken = select(func.count()).where(Redemption.coupon_id == Coupon.id).scalar_subquery()
    async with state.database.snapshot() as session:
        rows = await session.exec(select(Coupon, taken).where(col(Coupon.code).in_(codes)))
        found = {coupon.code: (coupon, number) for coupon, number in rows.all()}
    return [found.get(code) or CouponNotFound() for code in codes]
