"""What people see of what an invite leads to, and the way back from the cashier."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import update
from sqlmodel import col, select

from app.domain.communities import CommunityState
from app.domain.errors import GroupNotFound, OrderNotFound, ProviderUnavailable, SaleNotFound
from app.domain.groups import GroupState
from app.domain.memberships import MembershipState
from app.domain.orders import ACTIVE_ORDER_STATES, OrderState
from app.domain.sales import SaleKind, SaleState
from app.models import Invite, Member, Order, Payment, Sale
from app.schemas.communities import CommunityPublic
from app.schemas.groups import GroupPublic, GroupSummary
from app.schemas.invites import InviteLanding
from app.schemas.orders import OrderPublic
from app.schemas.sales import OfferPublic, SalePublic
from app.schemas.trust import FriendsIn
from app.services import communities, groups, payments, periods, sales, views
from app.services.memberships import PRESENT_STATES
from app.services.standing import see_community
from app.services.transactions import transaction
from app.state import State

GROUPS_SHOWN, SALES_SHOWN = 5, 20
SHOWN_ORDER_STATES = ACTIVE_ORDER_STATES | {OrderState.REFUNDING, OrderState.REFUNDED}
"""States of an order that its member is told of; others are as if there were none."""


class Phase(StrEnum):
    """Whether one can buy in a sale."""

    COMING = "coming"
    OPEN = "open"
    PAUSED = "paused"
    SOLD_OUT = "sold_out"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class SaleLanding:
    """A sale, and whether one can buy in it."""

    sale: SalePublic
    phase: Phase

    @property
    def cheapest(self) -> OfferPublic | None:
        """What it costs at least."""
        return min(self.sale.offers, key=lambda offer: offer.price, default=None)


@dataclass(frozen=True, slots=True)
class Landing:
    """What an invite leads to: a group in its sale; a sale, with groups about to fill; or a community's sales."""

    invite: InviteLanding
    now: datetime
    viewer_name: str | None
    is_own: bool
    """Whether it is the viewer who invites."""
    sale: SaleLanding | None = None
    group: GroupPublic | None = None
    offers: list[OfferPublic] = field(default_factory=list)
    """What there is to buy: in the group, or else in the sale."""
    order: OrderPublic | None = None
    """The viewer's own in this group."""
    groups: list[GroupSummary] = field(default_factory=list)
    community: CommunityPublic | None = None
    membership: MembershipState | None = None
    """The viewer's, in the community."""
    sales: list[SaleLanding] = field(default_factory=list)

    @property
    def friends(self) -> FriendsIn | None:
        """Whom the viewer knows in the group, or else in the sale."""
        within = self.group or (self.sale and self.sale.sale)
        return within.friends_in if within else None

    @property
    def can_join(self) -> bool:
        """Whether the group has a seat for the viewer."""
        return self._sells and self.group is not None and self.group.left > 0 and not self.is_in

    @property
    def can_open(self) -> bool:
        """Whether the viewer may open a group instead."""
        return self._sells and not self.can_join and not self.is_in

    @property
    def can_enrol(self) -> bool:
        """Whether the viewer may join the community."""
        is_open = self.community is not None and self.community.state == CommunityState.OPEN
        return is_open and self.membership not in {*PRESENT_STATES, MembershipState.BLOCKED}

    @property
    def is_in(self) -> bool:
        """Whether the viewer has a place."""
        return self.order is not None and self.order.state in ACTIVE_ORDER_STATES

    @property
    def _sells(self) -> bool:
        return self.sale is not None and self.sale.sale.kind == SaleKind.GROUP and self.sale.phase == Phase.OPEN


def phase_of(sale: SalePublic, now: datetime) -> Phase:
    """Whether one can buy in a sale now; by its window too, for workers follow it a little later."""
    if sale.state == SaleState.ENDED or now >= sale.closes_at:
        return Phase.OVER
    if now < sale.opens_at:
        return Phase.COMING
    if sale.state == SaleState.PAUSED:
        return Phase.PAUSED
    return Phase.OPEN if any(offer.left for offer in sale.offers) else Phase.SOLD_OUT


async def gather(
    state: State, invite: InviteLanding, viewer_id: str | None, *, sale_id: str | None, group_id: str | None
) -> Landing:
    """What an invite leads to, or a sale or a group that can be reached from there.

    Raises `SaleNotFound`, `GroupNotFound`, also for what belongs to something else, `CommunityNotFound`.
    """
    now = state.clock()
    viewer_name, is_own = await _viewer(state, viewer_id, invite.code)
    start = None if invite.group_id is None else await _group(state, invite.group_id, viewer_id)
    group = start if group_id is None else await _group(state, group_id, viewer_id)
    within = invite.sale_id if start is None else start.sale_id
    if group is not None and within not in {None, group.sale_id}:
        raise GroupNotFound
    if sale_id is not None and within not in {None, sale_id}:
        raise SaleNotFound
    wanted = within or sale_id or (None if group is None else group.sale_id)
    if wanted is None:
        return await _gather_community(state, Landing(invite, now, viewer_name, is_own), viewer_id)
    sale = SalePublic.model_validate_json((await views.show_sale(state, wanted, viewer_id)).body)
    if invite.community_id not in {None, sale.community_id, *sale.community_ids}:
        raise SaleNotFound
    order = await _own_order(state, viewer_id, sale.id, None if group is None else group.id)
    if sale.kind != SaleKind.GROUP:
        group = None  # of one, which is how one buys alone: nobody else is in it
    elif group is None and order is not None:
        group = await _group(state, order.group_id, viewer_id)
    landing = Landing(
        invite=invite,
        now=now,
        viewer_name=viewer_name,
        is_own=is_own,
        sale=SaleLanding(sale, phase_of(sale, now)),
        group=group,
        offers=[offer for offer in sale.offers if group is None or offer.product_id == group.product_id],
        order=order,
    )
    if landing.can_open:
        found = await groups.list_groups(state, sale.id, GroupState.OPEN, GROUPS_SHOWN, now, viewer_id)
        landing.groups.extend(item for item in found.items if group is None or item.id != group.id)
    return landing


async def settle_payments(state: State, member_id: str, order_id: str) -> str | None:
    """Ask the provider what became of the payments of a member's order, without waiting to be told; the group the
    order is in, None for a membership. While the provider is away, its notification or a worker will tell.

    Raises `OrderNotFound`, also for somebody else's.
    """
    now = state.clock()
    async with transaction(state, now) as work:
        order = await work.session.get(Order, order_id)
        if order is None or order.member_id != member_id:
            raise OrderNotFound
        due = await work.session.exec(
            update(Payment)
            .where(col(Payment.order_id) == order_id)
            .values(check_at=now)
            .returning(col(Payment.id)),
        )
        payment_ids = due.scalars().all()
    for payment_id in payment_ids:
        with suppress(ProviderUnavailable):
            await payments.check(state, payment_id, now)
    async with state.database.snapshot() as session:
        sale = await session.get_one(Sale, order.sale_id)
        group_id = (await session.exec(select(Order.group_id).where(Order.id == order_id))).one()
    if not sale.is_plan:
        return group_id
    await periods.settle(state, (sale.community_id, member_id), state.clock())
    return None


async def _gather_community(state: State, landing: Landing, viewer_id: str | None) -> Landing:
    community_id = str(landing.invite.community_id)
    async with state.database.snapshot() as session:
        place = await see_community(session, community_id, viewer_id, landing.now)
    community = await communities.get_community(state, community_id, viewer_id)
    page = await sales.list_sales(
        state, sale_state=None, community_id=community_id, after=None, limit=SALES_SHOWN, viewer_id=viewer_id
    )
    shown = [SaleLanding(sale, phase_of(sale, landing.now)) for sale in page.items]
    running = [item for item in shown if item.phase != Phase.OVER]
    membership = None if place.membership is None else place.membership.state
    return replace(landing, community=community, membership=membership, sales=running)


async def _group(state: State, group_id: str, viewer_id: str | None) -> GroupPublic:
    return GroupPublic.model_validate_json((await views.show_group(state, group_id, viewer_id)).body)


async def _viewer(state: State, viewer_id: str | None, code: str) -> tuple[str | None, bool]:
    """The viewer's name, and whether the invite is theirs; for a stranger none, and not."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Member.name, Invite.member_id)
            .join(Invite, col(Invite.code) == code)
            .where(Member.id == viewer_id),
        )
        name, inviter_id = found.first() or (None, None)
    return name, viewer_id is not None and inviter_id == viewer_id


async def _own_order(state: State, viewer_id: str | None, sale_id: str, group_id: str | None) -> OrderPublic | None:
    """The viewer's newest order in a sale, or in one group of it."""
    if viewer_id is None:
        return None
    statement = select(Order).where(
        Order.sale_id == sale_id, Order.member_id == viewer_id, col(Order.state).in_(SHOWN_ORDER_STATES)
    )
    if group_id is not None:
        statement = statement.where(Order.group_id == group_id)
    async with state.database.snapshot() as session:
        found = (await session.exec(statement.order_by(col(Order.id).desc()).limit(1))).first()
    return None if found is None else OrderPublic.model_validate(found, from_attributes=True)
