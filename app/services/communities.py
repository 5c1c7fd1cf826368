"""Communities: made, stated, opened, looked at."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.communities import (
    COMMUNITY_TRANSITIONS,
    STATEMENT,
    CommunityState,
    Form,
    Purpose,
    unstated,
)
from app.domain.errors import CommunityNotFound, CommunityNotOpen, InvalidTerms, SegmentNotFound, ValueUnstated
from app.domain.memberships import Action, MembershipState
from app.domain.sales import MAX_MEMBER_LIMIT, MAX_STOCK, SaleKind, SaleState
from app.domain.slots import find_zone
from app.models import Community, Membership, Offer, Product, Sale, Sku, new_id
from app.schemas.communities import (
    DEFAULT_ANSWER_MINUTES,
    DEFAULT_MEMORY_DAYS,
    CommunityCreate,
    CommunityDetail,
    CommunityMine,
    CommunityPublic,
    CommunityUpdate,
    Plan,
)
from app.schemas.fields import LAST_YEAR, Page
from app.services.locks import lock_community, lock_sale, lock_segments_shared
from app.services.memberships import public as own
from app.services.pages import read_page
from app.services.sales import publish_locked, record_sale
from app.services.standing import Place, may_see, require, see_community
from app.services.transactions import Work, transaction
from app.state import State

SEGMENTS = ("see_segment_id", "join_segment_id", "buy_segment_id")
PLAN_HOLD_SECONDS = 30 * 60
FAR_AWAY = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
MINE_STATES = (MembershipState.ACTIVE, MembershipState.APPLIED, MembershipState.LAPSED)


async def create_community(state: State, body: CommunityCreate) -> CommunityDetail:
    """Make a community, still closed. Raises `InvalidTerms`, `SegmentNotFound`."""
    now = state.clock()
    find_zone(body.timezone)
    if body.closes_at is not None and body.closes_at <= now:
        raise InvalidTerms(field="closes_at", reason="must be in the future")
    sale_id = new_id("sal")
    async with transaction(state, now) as work:
        asked = {id_ for name in SEGMENTS if (id_ := getattr(body, name)) is not None}
        if asked != await lock_segments_shared(work.session, asked):
            raise SegmentNotFound
        values = body.model_dump(exclude={"plan", "quiet_from", "quiet_to", "memory_days", "answer_minutes"})
        row = Community(
            **values,
            memory_days=body.memory_days or (DEFAULT_MEMORY_DAYS if body.form == Form.CHAT else None),
            answer_minutes=body.answer_minutes
            or (DEFAULT_ANSWER_MINUTES if body.purpose == Purpose.SERVICE else None),
            period_days=None if body.plan is None else body.plan.period_days,
            plan_sale_id=None if body.plan is None else sale_id,
            quiet_from=_minutes(body.quiet_from),
            quiet_to=_minutes(body.quiet_to),
            state=CommunityState.DRAFT,
            created_at=now,
        )
        work.session.add(row)
        work.record("community.created", row.id, states=(None, CommunityState.DRAFT), community_id=row.id)
        if body.plan is not None:
            await _add_plan(work, row, sale_id, body.plan)
    return detail(row, body.plan)


async def _add_plan(work: Work, row: Community, sale_id: str, plan: Plan) -> None:
    """The sale in which memberships are bought: of a product of its own, without an end, for every member as often
    as a sale can. It is published when the community opens.
    """
    product = Product(title=row.name, description=row.benefits, created_at=work.now)
    work.session.add(product)
    await work.session.flush()
    sku = Sku(product_id=product.id, name=f"{plan.period_days} 天 days")
    sale = Sale(
        id=sale_id,
        community_id=row.id,
        kind=SaleKind.FLASH,
        title=row.name,
        description=row.benefits,
        state=SaleState.DRAFT,
        currency=plan.currency,
        opens_at=work.now,
        closes_at=FAR_AWAY,
        group_size=1,
        group_ttl_seconds=PLAN_HOLD_SECONDS,
        hold_ttl_seconds=PLAN_HOLD_SECONDS,
        order_limit=1,
        member_limit=MAX_MEMBER_LIMIT,
        is_plan=True,
        created_at=work.now,
        changed_at=work.now,
    )
    work.session.add_all([sku, sale])
    await work.session.flush()
    work.session.add(
        Offer(sale_id=sale.id, product_id=product.id, sku_id=sku.id, price=plan.price, stock=MAX_STOCK)
    )
    work.record("product.created", product.id)
    record_sale(work, sale, None)


async def update_community(state: State, community_id: str, body: CommunityUpdate) -> CommunityDetail:
    """Change what is named in the body, as an operator. Raises `CommunityNotFound`, `CommunityNotOpen` when it is
    dissolved, `InvalidTerms`, `ValueUnstated`.
    """
    async with transaction(state, state.clock()) as work:
        row = await _lock(work, community_id)
        _change(work, row, body)
        plan = await _read_plan(work.session, row)
    return detail(row, plan)


async def edit_community(state: State, by_id: str, community_id: str, body: CommunityUpdate) -> CommunityDetail:
    """The same, as a member who leads it. Raises what `require` raises, too."""
    async with transaction(state, state.clock()) as work:
        row = await _lock(work, community_id)
        place = await require(work.session, community_id, by_id, Action.EDIT)
        _change(work, row, body)
        plan = await _read_plan(work.session, row)
    return detail(row, plan, place)


def _change(work: Work, row: Community, body: CommunityUpdate) -> None:
    if row.state == CommunityState.DISSOLVED:
        raise CommunityNotOpen(state=row.state)
    changes = body.model_dump(exclude_none=True)
    changes |= {name: _minutes(changes[name]) for name in ("quiet_from", "quiet_to") if name in changes}
    for field, unfit in (
        ("closes_at", row.closes_at is None),
        ("memory_days", row.form != Form.CHAT),
        ("answer_minutes", row.purpose != Purpose.SERVICE),
    ):
        if field in changes and unfit:
            raise InvalidTerms(field=field, reason="is for another kind of community")
    if body.closes_at is not None and body.closes_at <= work.now:
        raise InvalidTerms(field="closes_at", reason="must be in the future")
    row.sqlmodel_update(changes)
    if row.state == CommunityState.OPEN:
        _check_stated(row)
    work.session.add(row)
    work.record("community.changed", row.id, community_id=row.id, fields=sorted(body.model_fields_set))


async def open_community(state: State, community_id: str) -> CommunityDetail:
    """Let members in. Raises `CommunityNotFound`, `ValueUnstated`, `CommunityNotOpen` when it is dissolved."""
    async with transaction(state, state.clock()) as work:
        row = await _lock(work, community_id)
        _check_stated(row)
        moved = await work.advance(COMMUNITY_TRANSITIONS, row, CommunityState.OPEN, opened_at=work.now)
        if moved is None and row.state != CommunityState.OPEN:
            raise CommunityNotOpen(state=row.state)
        if moved is not None:
            states = (CommunityState.DRAFT, CommunityState.OPEN)
            work.record("community.opened", row.id, states=states, community_id=row.id)
            sale = None if row.plan_sale_id is None else await lock_sale(work.session, row.plan_sale_id)
            if sale is not None:
                await publish_locked(work, sale)
        plan = await _read_plan(work.session, row)
    return detail(moved or row, plan)


async def get_community(state: State, community_id: str, viewer_id: str | None) -> CommunityPublic:
    """A community as it states itself. Raises `CommunityNotFound`, also for a draft, and for who may not see it."""
    async with state.database.snapshot() as session:
        place = await see_community(session, community_id, viewer_id, state.clock())
        return public(place, await _read_plan(session, place.community))


async def get_detail(state: State, community_id: str) -> CommunityDetail:
    """A community with its settings. Raises `CommunityNotFound`."""
    async with state.database.snapshot() as session:
        row = await session.get(Community, community_id)
        if row is None:
            raise CommunityNotFound
        return detail(row, await _read_plan(session, row))


async def list_all(state: State, after: str | None, limit: int) -> Page[CommunityDetail]:
    """All communities, newest first."""
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Community, select(Community), after, limit)
        plans = await _read_plans(session, rows)
    return Page[CommunityDetail](items=[detail(row, plans.get(row.id)) for row in rows], next=following)


async def list_open(state: State, viewer_id: str | None, after: str | None, limit: int) -> Page[CommunityPublic]:
    """Communities that are open, newest first. Those that the viewer may not see are left out of the page they
    would be in, which is shorter then: a page costs the same whoever looks.
    """
    statement = select(Community).where(col(Community.state) == CommunityState.OPEN)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Community, statement, after, limit)
        found = await session.exec(
            select(Membership).where(
                Membership.member_id == viewer_id, col(Membership.community_id).in_([row.id for row in rows])
            ),
        )
        memberships = {row.community_id: row for row in found.all()}
        places = [Place(row, memberships.get(row.id)) for row in rows]
        now = state.clock()
        seen = [place for place in places if await may_see(session, place, viewer_id, now)]
        plans = await _read_plans(session, [place.community for place in seen])
    return Page[CommunityPublic](
        items=[public(place, plans.get(place.community.id)) for place in seen], next=following
    )


async def list_mine(state: State, member_id: str, after: str | None, limit: int) -> Page[CommunityMine]:
    """Communities that a member belongs to, has applied to, or belonged to until what they paid ran out; the newest
    communities first.
    """
    statement = (
        select(Community, Membership)
        .join(Membership, col(Membership.community_id) == Community.id)
        .where(Membership.member_id == member_id, col(Membership.state).in_(MINE_STATES))
        .order_by(col(Community.id).desc())
    )
    if after is not None:
        statement = statement.where(col(Community.id) < after)
    async with state.database.snapshot() as session:
        rows = (await session.exec(statement.limit(limit + 1))).all()
        plans = await _read_plans(session, [row for row, _ in rows[:limit]])
    return Page[CommunityMine](
        items=[
            CommunityMine(
                **public(Place(row, membership), plans.get(row.id)).model_dump(), membership=own(membership)
            )
            for row, membership in rows[:limit]
        ],
        next=rows[limit - 1][0].id if len(rows) > limit else None,
    )


def public(place: Place, plan: Plan | None) -> CommunityPublic:
    """A community as it is shown."""
    return CommunityPublic.model_validate(_shown(place.community, plan, place))


def detail(row: Community, plan: Plan | None, place: Place | None = None) -> CommunityDetail:
    """A community with its settings."""
    times = {name: _time_of_day(getattr(row, name)) for name in ("quiet_from", "quiet_to")}
    return CommunityDetail.model_validate(_shown(row, plan, place) | times)


def _shown(row: Community, plan: Plan | None, place: Place | None) -> dict[str, Any]:
    standing = None if place is None or place.membership is None else place.standing
    return row.model_dump() | {"standing": standing, "plan": plan}


async def _read_plan(session: AsyncSession, row: Community) -> Plan | None:
    return (await _read_plans(session, [row])).get(row.id)


async def _read_plans(session: AsyncSession, rows: Sequence[Community]) -> dict[str, Plan]:
    """What membership costs in those of these communities that are paid, by their ids."""
    days = {row.plan_sale_id: row.period_days for row in rows if row.plan_sale_id is not None}
    if not days:
        return {}
    found = await session.exec(
        select(Sale.id, Sale.community_id, Offer.price, Sale.currency)
        .join(Offer, col(Offer.sale_id) == Sale.id)
        .where(col(Sale.id).in_(days)),
    )
    return {
        community_id: Plan(price=price, currency=currency, period_days=days[id_] or 0)
        for id_, community_id, price, currency in found.all()
    }


async def _lock(work: Work, community_id: str) -> Community:
    row = await lock_community(work.session, community_id)
    if row is None:
        raise CommunityNotFound
    return row


def _check_stated(row: Community) -> None:
    missing = unstated({name: getattr(row, name) for name in STATEMENT})
    if missing:
        raise ValueUnstated(missing=", ".join(missing))


def _minutes(text: str) -> int:
    moment = time.fromisoformat(text)
    return moment.hour * 60 + moment.minute


def _time_of_day(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
