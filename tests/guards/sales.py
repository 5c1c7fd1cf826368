"""Guards of sales: their terms, their states, their places in time."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from app.domain.errors import (
    CommunityNotFound,
    InvalidTerms,
    OrderLimit,
    SaleEnded,
    SaleNotEditable,
    SaleNotFound,
    SaleNotOpen,
    SalePaused,
    SaleTransitionRefused,
    SaleWithoutOffers,
    SkuAlreadyOffered,
    WrongKind,
)
from app.domain.groups import GroupState, group_deadline
from app.domain.ladders import Step, check_ladder, gap
from app.domain.money import MAX_AMOUNT, order_amount
from app.domain.orders import hold_deadline
from app.domain.rescues import RescueRules
from app.domain.sales import SaleKind, SaleState, SaleTerms, check_kind, check_open, check_quantity, check_terms
from app.models import Group, Sale, Sku
from app.schemas.sales import OfferUpdate, SaleCreate, SaleUpdate
from app.services import groups, sales
from app.services.deadlines import expire_group
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import FLASH

SALES, DOMAIN = "app.services.sales", "app.domain.sales"
FAR = datetime.fromisoformat("2150-01-01T00:00:00+00:00")


async def put(world: World, sale_id: str, **change: Any) -> None:
    await sales.update_sale(world.state, sale_id, SaleUpdate(**change))


@notices(
    *cuts(
        f"{SALES}.update_sale",
        "sale.state == SaleState.ENDED",
        "published and field not in PUBLISHED_FIELDS",
        "published and changes.get('closes_at', sale.closes_at) < sale.closes_at",
        "sale.series_id is not None and field in WINDOW_FIELDS",
    ),
    Cut(f"{SALES}.update_sale", "check_terms(sale.terms())", "None"),
    *cuts(
        f"{SALES}._change_offer",
        "published and (changes.keys() - {'stock'} or changes.get('stock', offer.stock) < offer.stock)",
    ),
)
async def a_published_sale_keeps_its_terms(world: World) -> None:
    live, draft = await world.service.sale(), await world.service.sale(publish=False)
    slot, _ = await world.slots()
    with pytest.raises(InvalidTerms):
        await put(world, slot, closes_at=FAR)
    sku_id, now = live.body["offers"][0]["sku_id"], world.service.clock()
    for change in (
        {"group_size": 5},
        {"closes_at": now + timedelta(days=1)},
        {"offers": [OfferUpdate(sku_id=sku_id, price=1)]},
        {"offers": [OfferUpdate(sku_id=sku_id, stock=1)]},
    ):
        with pytest.raises(SaleNotEditable):
            await put(world, live.id, **change)
    with pytest.raises(InvalidTerms):
        await put(world, draft.id, hold_ttl_seconds=3601)
    await sales.end_sale(world.state, live.id)
    with pytest.raises(SaleEnded):
        await put(world, live.id, title="again")


@notices(
    *cuts(
        f"{SALES}._add_offer",
        "taken.first() is not None",
        "body.list_price is not None and body.list_price < body.price",
    ),
    *cuts(
        f"{SALES}._change_offer",
        "offer.list_price is not None and offer.list_price < offer.price",
        "body.stock is None",
    ),
    *cuts(f"{SALES}._change_offer", "body.price is None"),
    Cut(f"{SALES}.create_sale", "check_terms(sale.terms())", "None"),
    *cuts(f"{SALES}.create_sale", "await work.session.get(Community, body.community_id) is None"),
)
async def an_offer_is_whole_and_there_once(world: World) -> None:
    draft = await world.service.sale(publish=False)
    sku_id = draft.body["offers"][0]["sku_id"]
    async with world.database.snapshot() as session:
        (other,) = (await session.exec(select(Sku.id).where(Sku.id != sku_id).limit(1))).all()
    wrong = {"sku_id": other, "price": 2, "list_price": 1, "stock": 1}
    for change in (
        {"sku_id": sku_id, "list_price": 4899},
        {"sku_id": other, "price": 1},
        {"sku_id": other, "stock": 1},
        wrong,
    ):
        with pytest.raises(InvalidTerms):
            await put(world, draft.id, offers=[OfferUpdate(**change)])
    with pytest.raises(InvalidTerms):
        await sales.create_sale(world.state, SaleCreate(**draft.body | {"hold_ttl_seconds": 3601}))
    with pytest.raises(CommunityNotFound):
        await sales.create_sale(world.state, SaleCreate(**draft.body | {"community_id": f"com_{'0' * 32}"}))
    twice = [{"sku_id": sku_id, "price": 5, "stock": 1}] * 2
    with pytest.raises(SkuAlreadyOffered):
        await sales.create_sale(world.state, SaleCreate(**draft.body | {"offers": twice}))


@notices(
    *cuts(f"{SALES}.publish_locked", "offers.first() is None", "sale.closes_at <= work.now"),
    *cuts(f"{SALES}.resume_sale", "sale.state != SaleState.PAUSED"),
    *cuts(f"{SALES}.get_sale", "sale.state == SaleState.DRAFT and (not drafts)"),
    *cuts("app.services.terms.published_sale", "sale.state == SaleState.DRAFT"),
    Cut(f"{SALES}._move", "SALE_TRANSITIONS", "dict.fromkeys(SaleState, frozenset(SaleState))"),
)
async def a_sale_goes_the_way_of_its_table(world: World) -> None:
    now = world.service.clock()
    soon = (now + timedelta(hours=1)).isoformat()
    draft, empty = await world.service.sale(publish=False), await world.service.sale(publish=False, offers=[])
    coming = await world.service.sale(opens_at=soon)
    with pytest.raises(SaleNotFound):
        await sales.get_sale(world.state, draft.id)
    with pytest.raises(SaleNotFound):
        await groups.list_groups(world.state, draft.id, GroupState.OPEN, 1, now)
    with pytest.raises(SaleWithoutOffers):
        await sales.publish_sale(world.state, empty.id)
    with pytest.raises(SaleTransitionRefused):
        await sales.resume_sale(world.state, coming.id)
    with pytest.raises(SaleTransitionRefused):
        await sales.publish_sale(world.state, world.sale.id)
    world.service.clock.advance(3 * 86_400)
    with pytest.raises(SaleEnded):
        await sales.publish_sale(world.state, draft.id)


@notices(
    *cuts(f"{SALES}.open_due", "sale.state != SaleState.SCHEDULED", "sale.opens_at > now"),
    *cuts(f"{SALES}.close_due", "sale.state in {SaleState.DRAFT, SaleState.ENDED}", "sale.closes_at > now"),
    Cut(f"{SALES}.end_groups_due", "sale.state == SaleState.ENDED", "True"),
)
async def a_sale_opens_and_closes_on_time(world: World) -> None:
    soon = (world.service.clock() + timedelta(hours=1)).isoformat()
    coming, live, ended = (
        await world.service.sale(opens_at=soon),
        await world.service.sale(),
        await world.service.sale(),
    )
    held = await world.held(live)
    await sales.end_sale(world.state, ended.id)
    now = world.service.clock()
    assert not await sales.open_due(world.state, coming.id, now)
    assert not await sales.open_due(world.state, live.id, now)
    assert not await sales.close_due(world.state, live.id, now)
    assert not await sales.end_groups_due(world.state, live.id, now)
    assert (await world.row(Group, held.group_id)).deadline_at > now
    assert await sales.open_due(world.state, coming.id, now + timedelta(hours=1))
    later = now + timedelta(days=3)
    assert not await sales.close_due(world.state, ended.id, later)
    assert await sales.close_due(world.state, live.id, later)


@notices(Cut("app.services.locks.lock_sale", "_locking(", "(lambda statement, **_: statement)("))
async def an_ended_sale_is_not_extended(world: World) -> None:
    sale = await world.service.sale()
    async with world.meanwhile("FROM offers", sales.end_sale(world.state, sale.id)):
        await put(world, sale.id, closes_at=FAR)
    row = await world.row(Sale, sale.id)
    assert row.state == SaleState.ENDED
    assert row.closes_at < FAR


@notices(
    Cut(f"{SALES}._cut_short", "min(group.deadline_at, max(now, last_paid_at.get(group.id) or now))", "now"),
    Cut(f"{SALES}._end", "await _cut_short(state, work, sale)", "None"),
)
async def an_early_end_is_not_before_what_was_paid(world: World) -> None:
    """The clock of the host that ends the sale is behind the one that recorded a payment."""
    sale = await world.service.sale(group_size=2)
    mine = await world.held(sale)
    last = await world.join(mine, world.friend, sale)
    await world.capture(last)
    world.service.clock.offset_seconds = 100
    await world.pay(mine)
    world.service.clock.offset_seconds = 50
    await sales.end_sale(world.state, sale.id)
    world.service.clock.offset_seconds = 200
    assert not await expire_group(world.state, mine.group_id, world.service.clock())
    lonely = await world.service.sale()
    held = await world.held(lonely)
    await sales.end_sale(world.state, lonely.id)
    assert (await world.row(Group, held.group_id)).deadline_at <= world.service.clock()


@notices(*cuts(f"{SALES}._cut_short", "sale.kind != SaleKind.GROUP"))
async def who_bought_alone_may_pay_after_the_end(world: World) -> None:
    sale = await world.service.sale(**FLASH)
    order = (await world.me.buy(sale)).json()["order"]
    await sales.end_sale(world.state, sale.id)
    assert (await world.row(Group, order["group_id"])).deadline_at > world.service.clock()


@notices(
    *cuts(
        f"{DOMAIN}.check_open",
        "terms.state == SaleState.DRAFT",
        "terms.state == SaleState.SCHEDULED and now < terms.opens_at",
        "terms.state == SaleState.ENDED",
        "now >= terms.closes_at",
        "terms.state == SaleState.PAUSED",
    ),
    *cuts(
        f"{DOMAIN}.check_terms",
        "terms.closes_at <= terms.opens_at",
        "terms.hold_ttl_seconds > terms.group_ttl_seconds",
        "terms.min_size is not None and terms.min_size > terms.group_size",
        "(terms.kind == SaleKind.GROUP) != (terms.group_size > 1)",
        "terms.rescue.cover_seats >= terms.group_size",
        "terms.rescue != NO_RESCUE and terms.kind != SaleKind.GROUP",
    ),
    *cuts(f"{DOMAIN}.check_kind", "terms.kind != kind"),
    Cut(f"{DOMAIN}.check_quantity", "1 <= quantity <= terms.order_limit", "True"),
    *cuts("app.domain.money.order_amount", "unit_price < 1", "quantity < 1", "amount > MAX_AMOUNT"),
    Cut("app.domain.groups.group_deadline", "min(", "max("),
    Cut("app.domain.orders.hold_deadline", "min(", "max("),
)
async def a_sale_sells_what_its_terms_allow(world: World) -> None:
    now = world.service.clock()
    good = SaleTerms(SaleKind.GROUP, SaleState.LIVE, now, now + timedelta(seconds=60), 2, 30, 30, 5, 1)
    check_open(good, now)
    check_terms(good)
    check_quantity(good, 5)
    states = {SaleState.DRAFT: SaleNotOpen, SaleState.ENDED: SaleEnded, SaleState.PAUSED: SalePaused}
    for state, refusal in states.items():
        with pytest.raises(refusal):
            check_open(replace(good, state=state), now)
    with pytest.raises(SaleNotOpen):
        check_open(replace(good, state=SaleState.SCHEDULED), now - timedelta(seconds=1))
    with pytest.raises(SaleEnded):
        check_open(good, good.closes_at)
    for wrong in (
        replace(good, closes_at=now),
        replace(good, hold_ttl_seconds=31),
        replace(good, min_size=3),
        replace(good, kind=SaleKind.FLASH),
        replace(good, group_size=1),
        replace(good, rescue=RescueRules(cover_seats=2)),
        replace(good, kind=SaleKind.FLASH, group_size=1, rescue=RescueRules(merge=True)),
    ):
        with pytest.raises(InvalidTerms):
            check_terms(wrong)
    check_kind(good, SaleKind.GROUP)
    with pytest.raises(WrongKind):
        check_kind(good, SaleKind.FLASH)
    for quantity in (0, 6):
        with pytest.raises(OrderLimit):
            check_quantity(good, quantity)
    for price, quantity in ((0, 1), (1, 0), (MAX_AMOUNT, 2)):
        with pytest.raises(ValueError, match=r"positive|too large"):
            order_amount(price, quantity)
    late = now + timedelta(seconds=50)
    assert group_deadline(good, late) == good.closes_at
    assert group_deadline(replace(good, kind=SaleKind.FLASH), late) > good.closes_at
    assert hold_deadline(good, late, good.closes_at) == good.closes_at


@notices(
    *cuts(
        "app.domain.ladders.check_ladder",
        "higher.heads <= lower.heads",
        "higher.price >= lower.price",
        "steps[-1].heads > size",
    ),
    Cut("app.domain.ladders.gap", "max(unit_price - settled_price, 0)", "abs(unit_price - settled_price)"),
)
async def a_ladder_leads_down(_world: World) -> None:
    check_ladder([Step(2, 50), Step(3, 40)], 3)
    for wrong in ([Step(2, 50), Step(2, 40)], [Step(2, 50), Step(3, 50)], [Step(2, 50), Step(4, 40)]):
        with pytest.raises(InvalidTerms):
            check_ladder(wrong, 3)
    assert (gap(50, 40, 2), gap(40, 50, 2)) == (20, 0)


@notices(
    Cut(f"{SALES}.create_sale", "await _check_ladders(work, sale)", "None"),
    Cut(f"{SALES}.update_sale", "await _check_ladders(work, sale)", "None"),
)
async def a_sale_has_ladders_that_lead_down(world: World) -> None:
    sale = await world.service.sale(publish=False, min_size=2, ladder=[(3, 4500)])
    with pytest.raises(InvalidTerms):
        await put(world, sale.id, min_size=3)
    body = SaleCreate.model_validate_json(json.dumps(sale.body | {"min_size": 3}))
    with pytest.raises(InvalidTerms):
        await sales.create_sale(world.state, body)


@notices(Cut("app.services.rescues.close", "smallest(terms)", "1"))
async def a_group_of_too_few_fails(world: World) -> None:
    held = await world.held()
    await world.pay(held)
    assert await expire_group(world.state, held.group_id, world.service.clock() + timedelta(days=3))
    assert (await world.row(Group, held.group_id)).state == GroupState.FAILED
