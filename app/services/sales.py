"""Sales: drawn up, published, paused, ended; and looked at with their live counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.bargains import check_span
from app.domain.communities import CommunityState
from app.domain.errors import (
    CommunityNotFound,
    CommunityNotOpen,
    DealerUnavailable,
    InvalidTerms,
    SaleEnded,
    SaleNotEditable,
    SaleNotFound,
    SaleTransitionRefused,
    SaleWithoutOffers,
    SegmentNotFound,
    SkuAlreadyOffered,
    SkuNotFound,
)
from app.domain.gates import Gate
from app.domain.ladders import check_ladder
from app.domain.sales import SALE_TRANSITIONS, SaleKind, SaleState, check_terms, is_draw_due
from app.models import Community, Offer, Order, Product, Sale, SaleCommunity, SaleSegment, Segment, Sku
from app.schemas.fields import Page
from app.schemas.sales import (
    BuyersPublic,
    OfferCreate,
    OfferPublic,
    OfferUpdate,
    SaleCreate,
    SalePublic,
    SaleUpdate,
)
from app.services import bargains, dealing, draws
from app.services.entries import lose_line
from app.services.locks import lock_community_shared, lock_running_groups, lock_sale, lock_segments_shared
from app.services.pages import read_page
from app.services.pictures import picture_url
from app.services.reminders import drop_reminders
from app.services.segments import hidden_communities, read_words
from app.services.terms import read_gates
from app.services.transactions import Work, transaction
from app.state import State

PUBLISHED_FIELDS = {"title", "description", "closes_at", "offers"}
"""What may still change after a sale was published; the numbers of its places never shrink."""
WINDOW_FIELDS = {"opens_at", "closes_at"}
LINKS = ("community_ids", "segment_ids")
"""What is kept in rows of their own: to whom a sale belongs, and who may buy in it."""


async def create_sale(state: State, body: SaleCreate) -> SalePublic:
    """Draw up a sale. Raises `CommunityNotFound`, `SegmentNotFound`, `SkuNotFound`, `SkuAlreadyOffered`,
    `InvalidTerms`.
    """
    now = state.clock()
    async with transaction(state, now) as work:
        if await work.session.get(Community, body.community_id) is None:
            raise CommunityNotFound
        sale = Sale(
            **body.model_dump(exclude={"offers", "group_ttl_seconds", *LINKS}),
            group_ttl_seconds=body.group_ttl_seconds or body.hold_ttl_seconds,
            state=SaleState.DRAFT,
            created_at=now,
            changed_at=now,
        )
        check_terms(sale.terms())
        work.session.add(sale)
        await work.session.flush()
        await _link(work, sale, body)
        for offer in body.offers:
            await _add_offer(work, sale, offer)
        await _check_ladders(work, sale)
        record_sale(work, sale, None)
    return await get_sale(state, sale.id, drafts=True)


async def update_sale(state: State, sale_id: str, body: SaleUpdate) -> SalePublic:
    """Change what is named in the body. Raises `SaleNotFound`, `SaleEnded`, `SaleNotEditable`,
    `InvalidTerms`, `CommunityNotFound`, `SegmentNotFound`, `SkuNotFound`.
    """
    now = state.clock()
    changes = body.model_dump(exclude_none=True, exclude={"offers"})
    async with transaction(state, now) as work:
        sale = await _lock(work, sale_id)
        if sale.state == SaleState.ENDED:
            raise SaleEnded
        published = sale.state != SaleState.DRAFT
        for field in changes:
            if published and field not in PUBLISHED_FIELDS:
                raise SaleNotEditable(field=field)
            if sale.series_id is not None and field in WINDOW_FIELDS:
                raise InvalidTerms(field=field, reason="the window of a slot is laid out with its series")
        if published and changes.get("closes_at", sale.closes_at) < sale.closes_at:
            raise SaleNotEditable(field="closes_at")
        if sale.kind == SaleKind.FLASH and "hold_ttl_seconds" in changes:
            changes.setdefault("group_ttl_seconds", changes["hold_ttl_seconds"])
        kept = {field: value for field, value in changes.items() if field not in LINKS}
        sale.sqlmodel_update(kept | {"changed_at": now})
        check_terms(sale.terms())
        work.session.add(sale)
        await _link(work, sale, body)
        for offer in body.offers or []:
            await _change_offer(work, sale, offer, published=published)
        await _check_ladders(work, sale)
        work.record("sale.changed", sale.id, sale_id=sale.id, fields=sorted(body.model_fields_set))
        work.forgotten.add(sale.id)
    return await get_sale(state, sale_id, drafts=True)


async def publish_sale(state: State, sale_id: str) -> SalePublic:
    """Let members see a draft, and buy from `opens_at` on. Raises `SaleNotFound`, `SaleWithoutOffers`,
    `SaleTransitionRefused`, `SaleEnded` when its window has passed, `CommunityNotOpen`.
    """
    async with transaction(state, state.clock()) as work:
        await lock_community_of(work, sale_id)
        await publish_locked(work, await _lock(work, sale_id))
    return await get_sale(state, sale_id)


async def lock_community_of(work: Work, sale_id: str) -> None:
    """Lock the community of a sale, so that it does not dissolve while the sale is published."""
    community_id = (await work.session.exec(select(Sale.community_id).where(Sale.id == sale_id))).one_or_none()
    if community_id is not None:
        await lock_community_shared(work.session, community_id)


async def publish_locked(work: Work, sale: Sale) -> None:
    """Publish a sale that is locked, after its community. Raises `CommunityNotOpen`, `SaleWithoutOffers`,
    `SaleTransitionRefused`, `SaleEnded`.
    """
    community = await work.session.get_one(Community, sale.community_id)
    if community.state != CommunityState.OPEN:
        raise CommunityNotOpen(state=community.state)
    offers = await work.session.exec(select(Offer.id).where(Offer.sale_id == sale.id).limit(1))
    if offers.first() is None:
        raise SaleWithoutOffers
    if sale.closes_at <= work.now:
        raise SaleEnded
    sale = await _move(work, sale, SaleState.SCHEDULED, **draws.commit_seed(work, sale))
    if sale.opens_at <= work.now:
        await _move(work, sale, SaleState.LIVE)


async def pause_sale(state: State, sale_id: str) -> SalePublic:
    """Refuse new claims; what was claimed goes on. Raises `SaleNotFound`, `SaleTransitionRefused`."""
    async with transaction(state, state.clock()) as work:
        await _move(work, await _lock(work, sale_id), SaleState.PAUSED)
    return await get_sale(state, sale_id)


async def resume_sale(state: State, sale_id: str) -> SalePublic:
    """Take claims again. Raises `SaleNotFound`, `SaleTransitionRefused`."""
    async with transaction(state, state.clock()) as work:
        sale = await _lock(work, sale_id)
        if sale.state != SaleState.PAUSED:
            raise SaleTransitionRefused(state=sale.state)
        await _move(work, sale, SaleState.LIVE)
    return await get_sale(state, sale_id)


async def end_sale(state: State, sale_id: str) -> SalePublic:
    """End a sale before its time: groups that are not full and paid fail now, with refunds for everybody, and
    bargains are over. Who has bought alone may still pay.

    Raises `SaleNotFound`, `SaleTransitionRefused`.
    """
    async with transaction(state, state.clock()) as work:
        await _end(state, work, await _lock(work, sale_id))
    return await get_sale(state, sale_id)


async def open_due(state: State, sale_id: str, now: datetime) -> bool:
    """Mark a scheduled sale as live when its time has come. True when this call did it."""
    async with transaction(state, now) as work:
        sale = await _lock(work, sale_id)
        if sale.state != SaleState.SCHEDULED or sale.opens_at > now:
            return False
        await _move(work, sale, SaleState.LIVE)
        return True


async def end_groups_due(state: State, sale_id: str, _now: datetime) -> bool:
    """End the groups of an ended sale that were opened while it ended. True when there were any."""
    async with transaction(state, state.clock()) as work:
        sale = await _lock(work, sale_id)
        return sale.state == SaleState.ENDED and await _cut_short(state, work, sale)


async def close_due(state: State, sale_id: str, now: datetime) -> bool:
    """Mark a sale as ended when its time has passed. True when this call did it."""
    async with transaction(state, now) as work:
        sale = await _lock(work, sale_id)
        if sale.state in {SaleState.DRAFT, SaleState.ENDED} or sale.closes_at > now:
            return False
        if is_draw_due(sale.terms(), now):  # first it is drawn, and the seed is told
            return False
        await _end(state, work, sale)
        return True


async def get_sale(state: State, sale_id: str, *, drafts: bool = False) -> SalePublic:
    """A sale with its live counts. Raises `SaleNotFound`, also for a draft unless `drafts`."""
    async with state.database.snapshot() as session:
        sale = await session.get(Sale, sale_id)
        if sale is None or (sale.state == SaleState.DRAFT and not drafts):
            raise SaleNotFound
        return (await _public(state, session, [sale]))[0]


async def list_sales(
    state: State,
    *,
    sale_state: SaleState | None,
    community_id: str | None,
    after: str | None,
    limit: int,
    series_id: str | None = None,
    drafts: bool = False,
    viewer_id: str | None = None,
) -> Page[SalePublic]:
    """Sales, newest first, or those of a series in the order they open; without the plans of paid communities,
    which one joins. Operators see drafts, and all; a viewer, or a stranger, no sales for members only of
    communities they may not see.
    """
    statement = select(Sale).where(~col(Sale.is_plan))
    if not drafts:
        statement = statement.where(Sale.state != SaleState.DRAFT)
    if sale_state is not None:
        statement = statement.where(Sale.state == sale_state)
    if community_id is not None:
        linked = select(SaleCommunity.sale_id).where(
            SaleCommunity.sale_id == Sale.id, SaleCommunity.community_id == community_id
        )
        statement = statement.where(or_(col(Sale.community_id) == community_id, linked.exists()))
    async with state.database.snapshot() as session:
        hidden = [] if drafts else await hidden_communities(session, viewer_id, state.clock())
        if hidden:
            seen = select(SaleCommunity.sale_id).where(
                SaleCommunity.sale_id == Sale.id, col(SaleCommunity.community_id).not_in(hidden)
            )
            statement = statement.where(
                or_(~col(Sale.members_only), col(Sale.community_id).not_in(hidden), seen.exists())
            )
        if series_id is None:
            rows, following = await read_page(session, Sale, statement, after, limit)
        else:
            rows, following = await _read_series(
                session, statement.where(Sale.series_id == series_id), after, limit
            )
        return Page[SalePublic](items=await _public(state, session, rows), next=following)


async def _read_series(
    session: AsyncSession, statement: SelectOfScalar[Sale], after: str | None, limit: int
) -> tuple[list[Sale], str | None]:
    """As `read_page`, in the order of opening: no two slots of a series open at once."""
    if after is not None:
        last = select(Sale.opens_at).where(Sale.id == after).scalar_subquery()
        statement = statement.where(col(Sale.opens_at) > last)
    rows = (await session.exec(statement.order_by(col(Sale.opens_at)).limit(limit + 1))).all()
    return list(rows[:limit]), rows[limit - 1].id if len(rows) > limit else None


def record_sale(work: Work, sale: Sale, before: SaleState | None) -> None:
    """Write the event of a sale's new state."""
    work.record(f"sale.{sale.state}", sale.id, states=(before, sale.state), sale_id=sale.id)
    work.forgotten.add(sale.id)


async def _move(work: Work, sale: Sale, target: SaleState, **values: Any) -> Sale:
    before = sale.state
    moved = await work.advance(SALE_TRANSITIONS, sale, target, changed_at=work.now, **values)
    if moved is None:
        raise SaleTransitionRefused(state=before)
    record_sale(work, moved, before)
    return moved


async def _end(state: State, work: Work, sale: Sale) -> None:
    # A window needs a moment to exist in: a sale that is ended before it opened keeps its own end.
    closes_at = min(sale.closes_at, work.now) if sale.opens_at < work.now else sale.closes_at
    ended = await _move(work, sale, SaleState.ENDED, closes_at=closes_at)
    await drop_reminders(work, sale.id)
    await bargains.end_with(work, ended)
    await lose_line(work, ended)
    await _cut_short(state, work, sale)


async def _cut_short(state: State, work: Work, sale: Sale) -> bool:
    """Let the deadline of a sale's running groups be now. False when none had a later one, or all are of one.

    The groups are locked first and the clock is read after, so that nobody was paid later than the deadline.
    """
    if sale.kind != SaleKind.GROUP:
        return False
    groups = [group for group in await lock_running_groups(work.session, sale.id) if group.deadline_at > work.now]
    ids = [group.id for group in groups]
    paid = await work.session.exec(
        select(Order.group_id, func.max(Order.paid_at))
        .where(col(Order.group_id).in_(ids))
        .group_by(Order.group_id),
    )
    last_paid_at = dict(paid.all())
    now = state.clock()
    for group in groups:
        group.deadline_at = min(group.deadline_at, max(now, last_paid_at.get(group.id) or now))
        work.session.add(group)
    return bool(groups)


async def _link(work: Work, sale: Sale, body: SaleCreate | SaleUpdate) -> None:
    """Let a sale belong to the communities, and be for the segments, that a body names."""
    if body.community_ids is not None:
        ids = set(body.community_ids) - {sale.community_id}
        found = await work.session.exec(select(Community.id).where(col(Community.id).in_(ids)))
        if set(found.all()) != ids:
            raise CommunityNotFound
        await work.session.exec(delete(SaleCommunity).where(col(SaleCommunity.sale_id) == sale.id))
        work.session.add_all(SaleCommunity(sale_id=sale.id, community_id=id_) for id_ in sorted(ids))
    if body.segment_ids is not None:
        ids = set(body.segment_ids)
        if await lock_segments_shared(work.session, ids) != ids:
            raise SegmentNotFound
        await work.session.exec(delete(SaleSegment).where(col(SaleSegment.sale_id) == sale.id))
        work.session.add_all(SaleSegment(sale_id=sale.id, segment_id=id_) for id_ in sorted(ids))


async def _lock(work: Work, sale_id: str) -> Sale:
    sale = await lock_sale(work.session, sale_id)
    if sale is None:
        raise SaleNotFound
    return sale


async def _check_ladders(work: Work, sale: Sale) -> None:
    for offer in (await work.session.exec(select(Offer).where(Offer.sale_id == sale.id))).all():
        check_ladder(offer.steps(sale.terms()), sale.group_size)
        if sale.kind == SaleKind.BARGAIN:
            check_span(bargains.rules_of(sale), offer.list_price, offer.price)


async def _add_offer(work: Work, sale: Sale, body: OfferCreate) -> None:
    sku = await work.session.get(Sku, body.sku_id)
    if sku is None:
        raise SkuNotFound
    taken = await work.session.exec(select(Offer.id).where(Offer.sale_id == sale.id, Offer.sku_id == sku.id))
    if taken.first() is not None:
        raise SkuAlreadyOffered
    if body.list_price is not None and body.list_price < body.price:
        raise InvalidTerms(field="list_price", reason="must not be below price")
    _check_solo_price(sale, body.price, body.solo_price)
    work.session.add(Offer(**body.model_dump(), sale_id=sale.id, product_id=sku.product_id))
    await work.session.flush()


async def _change_offer(work: Work, sale: Sale, body: OfferUpdate, *, published: bool) -> None:
    found = await work.session.exec(select(Offer).where(Offer.sale_id == sale.id, Offer.sku_id == body.sku_id))
    offer = found.one_or_none()
    if offer is None:
        if body.price is None or body.stock is None:
            raise InvalidTerms(field="offers", reason="a new offer needs price and stock")
        await _add_offer(work, sale, OfferCreate(**body.model_dump(exclude_none=True)))
        return
    changes = body.model_dump(exclude_none=True, exclude={"sku_id"})
    if published and (changes.keys() - {"stock"} or changes.get("stock", offer.stock) < offer.stock):
        raise SaleNotEditable(field="offers")
    offer.sqlmodel_update(changes)
    if offer.list_price is not None and offer.list_price < offer.price:
        raise InvalidTerms(field="list_price", reason="must not be below price")
    _check_solo_price(sale, offer.price, offer.solo_price)
    work.session.add(offer)


def _check_solo_price(sale: Sale, price: int, solo_price: int | None) -> None:
    if solo_price is not None and (sale.kind != SaleKind.GROUP or solo_price < price):
        raise InvalidTerms(field="solo_price", reason="is for group sales, and must not be below price")


async def describe(state: State, session: AsyncSession, sales: Sequence[Sale]) -> list[SalePublic]:
    """Sales with their offers, as if nothing of them were taken."""
    rows = await session.exec(
        select(Offer, Product.title, Sku.name)
        .join(Product, col(Product.id) == Offer.product_id)
        .join(Sku, col(Sku.id) == Offer.sku_id)
        .where(col(Offer.sale_id).in_([sale.id for sale in sales]))
        .order_by(col(Offer.id)),
    )
    offers: dict[str, list[OfferPublic]] = {}
    for offer, title, name in rows.all():
        shown = OfferPublic(
            **offer.model_dump(exclude={"sale_id"}),
            product_title=title,
            picture_url=picture_url(state, offer.product_id),
            sku_name=name,
            taken=0,
            left=offer.stock,
        )
        offers.setdefault(offer.sale_id, []).append(shown)
    gates = await read_gates(session, sales)
    buyers = await _read_buyers(session, gates)
    return [
        SalePublic(
            **sale.model_dump(exclude={"created_at", "changed_at", "seed"}),
            community_ids=[entrance.community_id for entrance in gates[sale.id].entrances[1:]],
            segments=buyers[sale.id],
            seed_hash=sale.seed_hash,
            seed=sale.seed if sale.drawn_at else None,
            offers=offers.get(sale.id, []),
        )
        for sale in sales
    ]


async def _read_buyers(session: AsyncSession, gates: Mapping[str, Gate]) -> dict[str, list[BuyersPublic]]:
    """The segments that buyers are asked to fit, by sale."""
    ids = {id_ for gate in gates.values() for id_ in gate.asked_segments}
    found = await session.exec(select(Segment).where(col(Segment.id).in_(ids))) if ids else None
    words = {} if found is None else await read_words(session, found.all())
    return {
        sale_id: [BuyersPublic(**asdict(words[id_]), community_id=None) for id_ in gate.segment_ids]
        + [
            BuyersPublic(**asdict(words[one.segment_id]), community_id=one.community_id)
            for one in gate.entrances
            if one.segment_id is not None
        ]
        for sale_id, gate in gates.items()
    }


def with_counts(sale: SalePublic, taken: Mapping[str, int]) -> SalePublic:
    """A sale with so many units taken of each offer."""
    return sale.model_copy(
        update={
            "offers": [
                offer.model_copy(update={"taken": taken[offer.id], "left": offer.stock - taken[offer.id]})
                for offer in sale.offers
            ]
        }
    )


async def count_taken(state: State, sale: SalePublic) -> dict[str, int]:
    """Units taken of each offer: live from the dealer, or from the rows where it knows nothing."""
    offer_ids = tuple(offer.id for offer in sale.offers)
    try:
        taken = await state.dealer.taken(sale.id, offer_ids)
    except DealerUnavailable:
        taken = {}
    return taken if len(taken) == len(offer_ids) else await state.batches(_count_units).ask(offer_ids, offer_ids)


async def _count_units(state: State, sales: Sequence[tuple[str, ...]]) -> list[dict[str, int]]:
    async with state.database.snapshot() as session:
        counted = await dealing.count_units(session, [offer_id for offer_ids in sales for offer_id in offer_ids])
    return [{offer_id: counted[offer_id] for offer_id in offer_ids} for offer_ids in sales]


async def _public(state: State, session: AsyncSession, sales: Sequence[Sale]) -> list[SalePublic]:
    described = await describe(state, session, sales)
    return [with_counts(sale, await count_taken(state, sale)) for sale in described]
