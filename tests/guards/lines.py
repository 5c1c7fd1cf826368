"""Guards of draws and waiting lists."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.entries import EntryState
from app.domain.errors import (
    AlreadyInGroup,
    AlreadyInLine,
    AmountTooLarge,
    DrawClosed,
    DrawNotFound,
    EntryNotFound,
    EntryNotWaiting,
    GroupClosed,
    GroupNotFound,
    GroupNotFull,
    InvalidTerms,
    MemberLimit,
    NotSoldOut,
    OfferNotFound,
    OfferNotInGroup,
    OrderLimit,
    SaleEnded,
    SaleNotFound,
    TokenInvalid,
    WrongKind,
)
from app.domain.groups import FailReason, GroupState
from app.domain.money import MAX_AMOUNT
from app.domain.sales import SaleKind, check_terms
from app.models import Entry, Group, Sale, new_id
from app.models import Sale as SaleRow
from app.schemas.entries import EntryCreate, EntryPublic
from app.schemas.sales import OfferUpdate, SaleUpdate
from app.services import draws, entries, groups, lines, locks, orders, sales
from tests.guards.claims import AWAY, code
from tests.guards.claims import lines as defences
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import BARGAIN, FLASH, Member
from tests.service import Sale as Offered

ENTRIES, LINES, DRAWS = "app.services.entries", "app.services.lines", "app.services.draws"
ANY_ENTRY = "dict.fromkeys(EntryState, frozenset(EntryState))"


async def stand(world: World, sale: Offered, member: Member | None = None, **body: Any) -> EntryPublic:
    """Stand in line."""
    wish = EntryCreate(**{"offer_id": sale.offer} | body)
    return await entries.enter(world.state, (member or world.me).id, sale.id, wish)


async def drawn(world: World, **terms: Any) -> Offered:
    """A sale that is drawn in an hour."""
    draws_at = (world.service.clock() + timedelta(hours=1)).isoformat()
    return await world.service.sale(
        **{"stocks": [1]} | FLASH | {"allocation": "draw", "draws_at": draws_at} | terms
    )


async def sold_out(world: World) -> tuple[Offered, str]:
    """A flash sale of one unit, and the order that holds it."""
    sale = await world.service.sale(stocks=[1], **FLASH)
    holder = await world.service.member()
    order = (await holder.buy(sale)).json()["order"]["id"]
    return sale, f"{holder.id} {order}"


async def full(world: World) -> tuple[Offered, str]:
    """A sale with stock, and a full group in it, of others."""
    sale = await world.service.sale(group_size=2)
    leader, friend = await world.service.members(2)
    opened = (await leader.open(sale)).json()
    await friend.join(sale, opened["group"]["id"])
    return sale, opened["group"]["id"]


async def state_of(world: World, entry: EntryPublic) -> str:
    return (await world.row(Entry, entry.id)).state


@notices(
    *cuts(
        "app.domain.sales._check_draw",
        "terms.allocation == Allocation.DRAW and terms.kind != SaleKind.FLASH",
        "(terms.allocation == Allocation.DRAW) != (terms.draws_at is not None)",
        "terms.draws_at is not None and (not terms.opens_at < terms.draws_at < terms.closes_at)",
    ),
    Cut(
        "app.domain.sales._check_draw",
        "terms.closes_at - terms.draws_at < timedelta(seconds=terms.hold_ttl_seconds)",
        "False",
    ),
    Cut("app.domain.sales._check_draw", "not 1 <= terms.max_weight <= MAX_WEIGHT", "False"),
)
async def a_draw_has_its_terms(world: World) -> None:
    sale = await drawn(world)
    async with world.database.snapshot() as session:
        terms = (await session.get_one(SaleRow, sale.id)).terms()
    check_terms(terms)
    for wrong in (
        {"kind": SaleKind.GROUP, "group_size": 2},
        {"draws_at": None},
        {"draws_at": terms.opens_at},
        {"closes_at": (terms.draws_at or terms.opens_at) + timedelta(seconds=terms.hold_ttl_seconds - 1)},
        {"max_weight": 0},
        {"max_weight": 6},
    ):
        with pytest.raises(InvalidTerms):
            check_terms(replace(terms, **wrong))


@notices(
    *cuts(f"{ENTRIES}.enter", "facts.terms.kind == SaleKind.BARGAIN"),
    *cuts(f"{ENTRIES}._enter", "body.quantity > offer.stock"),
    *cuts(f"{ENTRIES}._find_line", "sale.kind != SaleKind.GROUP"),
)
async def a_line_is_for_what_one_can_have(world: World) -> None:
    with pytest.raises(WrongKind):
        await stand(world, await world.service.sale(stocks=[1], **BARGAIN))
    sale = await world.service.sale(stocks=[1], **FLASH)
    with pytest.raises(OrderLimit):
        await stand(world, sale, quantity=2)
    group_id = (await world.friend.buy(sale)).json()["group"]["id"]
    with pytest.raises(GroupNotFound):
        await stand(world, sale, group_id=group_id)


@notices(Cut(f"{LINES}._serve", "isinstance(refusal, NOT_YET) and sale.state != SaleState.ENDED", "False"))
async def a_group_that_closes_costs_nobody_their_turn(world: World) -> None:
    sale, group_id = await full(world)
    entry = await stand(world, sale, group_id=group_id)
    async with world.work() as work:
        row = await work.session.get_one(Entry, entry.id)
        await lines._advance(work, row, EntryState.CALLED, group_id=group_id)
        group = await work.session.get_one(Group, group_id)
        await groups.end(work, group, GroupState.FAILED, ended_at=work.now, fail_reason=FailReason.DEADLINE)
    await lines.serve(world.state, sale.id, world.service.clock())
    assert await state_of(world, entry) == EntryState.CALLED


@notices(*cuts("app.services.sales.close_due", "is_draw_due(sale.terms(), now)"))
async def a_sale_is_drawn_before_it_ends(world: World) -> None:
    sale = await drawn(world)
    assert not await sales.close_due(world.state, sale.id, world.service.clock() + timedelta(days=9))


@notices(
    *cuts("app.domain.sales.check_drawn", "is_undrawn(terms)"),
)
async def what_is_drawn_is_not_bought(world: World) -> None:
    assert await code(world.me.buy(await drawn(world))) == "sale_is_drawn"


@notices(
    *cuts(f"{ENTRIES}._enter", "await work.session.get(Member, member_id) is None"),
    *cuts(f"{ENTRIES}.enter", "max(offer.price, offer.solo_price or 0) * body.quantity > MAX_AMOUNT"),
    *defences(
        Cut(f"{ENTRIES}._enter", "check_open(sale.terms(), work.now)", "None"),
        Cut(f"{ENTRIES}.enter", "check_open(facts.terms, state.clock())", "None"),
    ),
    Cut(f"{ENTRIES}.enter", "check_quantity(facts.terms, body.quantity)", "None"),
)
async def one_enters_what_there_is(world: World) -> None:
    sale, draft = await drawn(world, stocks=[9]), await drawn(world, stocks=[9], publish=False)
    sku_id = draft.body["offers"][0]["sku_id"]
    with pytest.raises(SaleNotFound):
        await stand(world, draft)
    with pytest.raises(OfferNotFound):
        await stand(world, sale, offer_id=world.sale.offer)
    with pytest.raises(TokenInvalid):
        await entries.enter(world.state, new_id("mem"), sale.id, EntryCreate(offer_id=sale.offer))
    with pytest.raises(OrderLimit):
        await stand(world, sale, quantity=6)
    await sales.update_sale(
        world.state, draft.id, SaleUpdate(offers=[OfferUpdate(sku_id=sku_id, price=MAX_AMOUNT)])
    )
    await sales.publish_sale(world.state, draft.id)
    with pytest.raises(AmountTooLarge):
        await stand(world, draft, quantity=2)
    await sales.end_sale(world.state, sale.id)
    with pytest.raises(SaleEnded):
        await stand(world, sale)


@notices(
    Cut(
        f"{ENTRIES}._find_entry",
        "entry is not None and (entry.offer_id, entry.quantity) != (body.offer_id, body.quantity)",
        "False",
    ),
    *cuts(f"{ENTRIES}._find_line", "work.now >= (sale.draws_at or work.now)"),
    Cut(f"{ENTRIES}._find_line", "if body.group_id is not None:", "if False:"),
    *cuts(f"{ENTRIES}._check_limit", "bought.one() >= sale.member_limit"),
)
async def one_enters_a_draw_in_time_and_once(world: World) -> None:
    sale = await drawn(world)
    with pytest.raises(GroupNotFound):
        await stand(world, sale, group_id=new_id("grp"))
    entry = await stand(world, sale)
    assert (await stand(world, sale)).id == entry.id
    with pytest.raises(AlreadyInLine):
        await stand(world, sale, quantity=2)
    world.service.clock.advance(3600)
    with pytest.raises(DrawClosed):
        await stand(world, sale, world.friend)
    plain = await world.service.sale(stocks=[1], **FLASH, member_limit=1)
    await world.me.buy(plain)
    with pytest.raises(MemberLimit):
        await stand(world, plain)


@notices(
    *cuts(f"{ENTRIES}._check_wait", "left >= body.quantity and offer.id not in lines"),
    *cuts(
        f"{ENTRIES}._check_full",
        "member_id in members",
        "max(held, len(members)) < group.size and group_id not in lines",
    ),
)
async def one_waits_for_what_is_not_to_be_had(world: World) -> None:
    with pytest.raises(NotSoldOut):
        await stand(world, await world.service.sale(**FLASH))
    held = await world.held()
    with pytest.raises(GroupNotFull):
        await stand(world, world.sale, world.friend, group_id=held.group_id)
    await world.join(held, world.friend)
    with pytest.raises(AlreadyInGroup):
        await stand(world, world.sale, group_id=held.group_id)


@notices(Cut(f"{ENTRIES}._check_wait", "if body.group_id is not None:", "if False:"))
async def one_waits_for_a_group_also_while_there_is_stock(world: World) -> None:
    sale, group_id = await full(world)
    assert (await stand(world, sale, group_id=group_id)).group_id == group_id


@notices(
    *cuts(
        f"{ENTRIES}._find_line",
        "group.sale_id != sale.id",
        "group.product_id != offer.product_id",
        "group.state in FINAL_GROUP_STATES",
        "work.now >= group.deadline_at",
    ),
)
async def one_waits_for_a_group_that_may_have_a_seat(world: World) -> None:
    sale, group_id = await full(world)
    other = await world.service.sale(group_size=2)
    with pytest.raises(GroupNotFound):
        await stand(world, other, group_id=group_id)
    cup = (await world.service.ops("POST", "products", {"title": "茶杯", "skus": ["一只"]})).json()["skus"][0]["id"]
    change = SaleUpdate(offers=[OfferUpdate(sku_id=cup, price=1, stock=5)])
    cups = next(
        offer.id for offer in (await sales.update_sale(world.state, sale.id, change)).offers if offer.sku_id == cup
    )
    with pytest.raises(OfferNotInGroup):
        await stand(world, sale, offer_id=cups, group_id=group_id)
    world.service.clock.advance(3600)
    with pytest.raises(GroupClosed):
        await stand(world, sale, group_id=group_id)
    world.service.clock.offset_seconds = 0
    async with world.work() as work:
        group = await work.session.get_one(Group, group_id)
        await groups.end(work, group, GroupState.FAILED, ended_at=work.now, fail_reason=FailReason.DEADLINE)
    with pytest.raises(GroupClosed):
        await stand(world, sale, group_id=group_id)


@notices(
    *cuts(f"{ENTRIES}.leave", "entry.member_id != member_id"),
    *cuts(f"{ENTRIES}.get_entry", "entry.member_id != member_id"),
    Cut(f"{ENTRIES}.leave", "ENTRY_TRANSITIONS", ANY_ENTRY),
    Cut(f"{ENTRIES}.leave", "(await _reread(work, entry)).state != EntryState.LEFT", "False"),
    *cuts("app.services.terms.published_sale", "sale.state == SaleState.DRAFT"),
    Cut(
        f"{ENTRIES}._position",
        "entry.state != EntryState.WAITING or (entry.line_id == entry.sale_id and entry.rank is None)",
        "False",
    ),
    *cuts(f"{ENTRIES}._position", "entry.state != EntryState.WAITING"),
    Cut(f"{ENTRIES}._position", "entry.line_id == entry.sale_id and entry.rank is None", "False"),
)
async def an_entry_is_its_members(world: World) -> None:
    sale = await drawn(world)
    entry = await stand(world, sale)
    assert entry.position is None
    for attempt in (entries.leave, entries.get_entry):
        with pytest.raises(EntryNotFound):
            await attempt(world.state, entry.id, world.friend.id)
    other = await stand(world, sale, world.friend)
    assert (await entries.leave(world.state, other.id, world.friend.id)).position is None
    assert (await entries.leave(world.state, other.id, world.friend.id)).state == "left"
    world.service.clock.advance(3600)
    await world.service.tick()
    offered = await entries.get_entry(world.state, entry.id, world.me.id)
    assert (offered.state, offered.position) == ("offered", None)
    with pytest.raises(EntryNotWaiting):
        await entries.leave(world.state, entry.id, world.me.id)
    draft = await drawn(world, publish=False)
    with pytest.raises(SaleNotFound):
        await entries.list_entries(world.state, world.me.id, draft.id, None, 20)


@notices(
    *cuts(f"{ENTRIES}.lose_line", "col(Entry.sale_id) == sale.id", "col(Entry.state) == EntryState.WAITING"),
)
async def an_end_is_told_to_those_who_wait_in_that_sale(world: World) -> None:
    mine, _ = await sold_out(world)
    other, _ = await sold_out(world)
    gone, waiting, elsewhere = (
        await stand(world, mine),
        await stand(world, mine, world.friend),
        await stand(world, other, world.friend),
    )
    await entries.leave(world.state, gone.id, world.me.id)
    await sales.end_sale(world.state, mine.id)
    assert [await state_of(world, entry) for entry in (gone, waiting, elsewhere)] == ["left", "lost", "waiting"]


@notices(
    *cuts("app.services.terms.published_sale", "sale.state == SaleState.DRAFT"),
    Cut(f"{DRAWS}.draw_due", "sale is not None and is_draw_due(sale.terms(), now)", "sale is not None"),
)
async def a_draw_is_held_in_its_time(world: World) -> None:
    sale, draft = await drawn(world), await drawn(world, publish=False)
    with pytest.raises(SaleNotFound):
        await draws.get_draw(world.state, draft.id)
    with pytest.raises(DrawNotFound):
        await draws.get_draw(world.state, world.sale.id)
    assert not await draws.draw_due(world.state, sale.id, world.service.clock())
    assert (await draws.get_draw(world.state, sale.id)).seed is None


@notices(Cut(f"{LINES}.call", "not serves_line(sale.terms(), work.now)", "False"))
async def a_paused_sale_calls_nobody(world: World) -> None:
    sale = await drawn(world)
    entry = await stand(world, sale)
    assert not await lines.call(world.state, sale.id, world.service.clock())
    assert await state_of(world, entry) == "waiting"


@notices(Cut(f"{LINES}._advance", "ENTRY_TRANSITIONS", ANY_ENTRY))
async def who_has_left_is_not_called(world: World) -> None:
    sale, _ = await sold_out(world)
    entry = await stand(world, sale)
    row = await world.row(Entry, entry.id)
    await entries.leave(world.state, entry.id, world.me.id)
    async with world.work() as work:
        assert not await lines._advance(work, row, EntryState.CALLED, group_id=new_id("grp"))
    assert await state_of(world, entry) == "left"


@notices(Cut("app.services.locks.lock_sale_shared", ".with_for_update(read=True)", ""))
async def who_enters_is_waited_for_and_waits_for_nobody_who_enters(world: World) -> None:
    async with world.database.transaction() as session, world.database.transaction() as other:
        assert await locks.lock_sale_shared(session, world.sale.id)
        assert await locks.lock_sale_shared(other, world.sale.id)
        assert await world.is_locked(Sale, world.sale.id)


@notices(
    Cut("deal.lua", "if is_kept(group_id) then", "if false then"),
    Cut("deal.lua", "if is_kept(ARGV[4]) then", "if false then"),
    *cuts("app.services.undealt._Places.take", "group_id in kept", "want.offer.id in kept", down=(AWAY,)),
)
async def what_comes_free_is_kept_for_the_line(world: World) -> None:
    sale, held = await sold_out(world)
    holder_id, order_id = held.split()
    await stand(world, sale)
    await cancel(world, order_id, holder_id)
    assert await code(world.friend.buy(sale)) == "sold_out"
    mine = await world.held()
    beside = await world.join(mine, world.members[2])
    await stand(world, world.sale, world.friend, group_id=mine.group_id)
    await cancel(world, beside.order_id, beside.member.id)
    assert await code(world.members[3].join(world.sale, mine.group_id)) == "group_full"


async def cancel(world: World, order_id: str, member_id: str) -> None:
    await orders.cancel(world.state, order_id, member_id)
