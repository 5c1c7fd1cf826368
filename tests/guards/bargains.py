"""Guards of bargains: their rules, who may cut and who may buy, and when."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.bargains import (
    BargainRules,
    BargainState,
    bargain_deadline,
    check_buyable,
    check_cuttable,
    check_span,
    draw_cuts,
)
from app.domain.errors import (
    AlreadyHelped,
    BargainClosed,
    HelpLimit,
    InvalidTerms,
    OfferNotFound,
    SaleNotFound,
    SelfHelp,
    TokenInvalid,
    WrongKind,
)
from app.domain.sales import SaleKind, SaleState, SaleTerms, check_terms
from app.models import Bargain
from app.schemas.bargains import BargainCreate
from app.schemas.sales import OfferUpdate
from app.services import bargains, locks, sales
from tests.guards.claims import AWAY
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.orders import unlocked
from tests.guards.sales import put
from tests.guards.world import World
from tests.service import BARGAIN, Member, Sale

BARGAINS, DOMAIN = "app.services.bargains", "app.domain.bargains"
ANY_BARGAIN = "dict.fromkeys(BargainState, frozenset(BargainState))"
BUYABLE = Cut(
    "app.services.commits._Batch._bargained", "check_buyable(bargain.state, bargain.deadline_at, self.now)", "None"
)


async def started(world: World, owner: Member | None = None, **rules: Any) -> tuple[Sale, str]:
    """A bargain sale, and a bargain of mine in it."""
    sale = await world.service.sale(**BARGAIN | {"bargain": {"slots": 5} | rules})
    return sale, (await (owner or world.me).bargain(sale))["id"]


async def state_of(world: World, bargain_id: str) -> BargainState:
    return (await world.row(Bargain, bargain_id)).state


@notices(
    *cuts(f"{DOMAIN}.check_span", "start_price - floor_price < rules.slots"),
    *cuts(f"{DOMAIN}.draw_cuts", "not 1 <= slots <= total"),
    *cuts(f"{DOMAIN}.check_cuttable", "present != BargainState.CUTTING"),
    *cuts(f"{DOMAIN}.check_buyable", "present not in BUYABLE_STATES"),
    *cuts("app.domain.sales.check_terms", "(terms.kind == SaleKind.BARGAIN) != (terms.bargain is not None)"),
    Cut(f"{DOMAIN}.bargain_deadline", "min(", "max("),
)
async def a_bargain_keeps_its_rules(world: World) -> None:
    now = world.service.clock()
    with pytest.raises(InvalidTerms):
        check_span(BargainRules(slots=5), 9, 5)
    with pytest.raises(ValueError, match="cut something"):
        draw_cuts("seed", 4, 5)
    for check, state in ((check_cuttable, BargainState.WON), (check_buyable, BargainState.ORDERED)):
        with pytest.raises(BargainClosed):
            check(state, now + timedelta(seconds=1), now)
        with pytest.raises(BargainClosed):
            check(BargainState.CUTTING, now, now)
    good = SaleTerms(
        *(SaleKind.BARGAIN, SaleState.LIVE, now, now + timedelta(seconds=60), 1, 30, 30, 1, 1),
        bargain=BargainRules(slots=5),
    )
    check_terms(good)
    for wrong in (replace(good, bargain=None), replace(good, kind=SaleKind.FLASH)):
        with pytest.raises(InvalidTerms):
            check_terms(wrong)
    soon = good.closes_at - timedelta(seconds=10)
    assert bargain_deadline(30, good.closes_at, soon) == good.closes_at


@notices(
    *cuts(
        f"{BARGAINS}.start",
        "offer.sale_id != sale_id",
        "await work.session.get(Member, member_id) is None",
    ),
    Cut(f"{BARGAINS}.start", "check_kind(sale.terms(), SaleKind.BARGAIN)", "None"),
    *cuts(f"{BARGAINS}._insert", "inserted.first() is None"),
    Cut(
        "app.services.sales._check_ladders",
        "check_span(bargains.rules_of(sale), offer.list_price, offer.price)",
        "None",
    ),
)
async def one_bargains_for_what_a_sale_offers(world: World) -> None:
    (sale, bargain_id), draft = await started(world), await world.service.sale(**BARGAIN, publish=False)
    for wrong, offer_id, refusal in (
        (draft.id, draft.offer, SaleNotFound),
        (world.sale.id, world.sale.offer, WrongKind),
        (sale.id, draft.offer, OfferNotFound),
    ):
        with pytest.raises(refusal):
            await bargains.start(world.state, world.me.id, wrong, BargainCreate(offer_id=offer_id))
    with pytest.raises(TokenInvalid):
        await bargains.start(world.state, f"mem_{'0' * 32}", sale.id, BargainCreate(offer_id=sale.offer))
    assert (await world.me.bargain(sale))["id"] == bargain_id
    sku_id = draft.body["offers"][0]["sku_id"]
    with pytest.raises(InvalidTerms):
        await put(world, draft.id, offers=[OfferUpdate(sku_id=sku_id, list_price=4904)])


@notices(
    *cuts(
        f"{BARGAINS}._cut",
        "bargain.member_id == member_id",
        "(cut_before := (await _cut_by(work.session, bargain.id, member_id)))",
    ),
    Cut(f"{BARGAINS}._cut", "check_cuttable(bargain.state, bargain.deadline_at, work.now)", "None"),
    Cut(f"{BARGAINS}._cut", "check_open(sale.terms(), work.now)", "None"),
    *cuts(f"{BARGAINS}._count_help", "inserted.first() is not None"),
    Cut(f"{BARGAINS}._count_help", "limit + 1", "limit + 2"),
)
async def a_friend_helps_once_and_not_too_often(world: World) -> None:
    sale, mine = await started(world, daily_helps=1)
    theirs = (await world.members[2].bargain(sale))["id"]
    with pytest.raises(SelfHelp):
        await bargains.cut(world.state, world.me.id, mine)
    answer = await bargains.cut(world.state, world.friend.id, mine)
    with pytest.raises(AlreadyHelped):
        await bargains.cut(world.state, world.friend.id, mine)
    assert (await world.row(Bargain, mine)).price == 9900 - answer.amount
    with pytest.raises(HelpLimit):
        await bargains.cut(world.state, world.friend.id, theirs)
    assert (
        await world.count("helps WHERE member_id = :id AND sale_id = :sale", id=world.friend.id, sale=sale.id) == 1
    )
    await world.me.buy_at(mine)
    with pytest.raises(BargainClosed):
        await bargains.cut(world.state, world.members[2].id, mine)
    await sales.pause_sale(world.state, sale.id)
    assert (await world.members[3].cut(theirs)).json()["code"] == "sale_paused"


@notices(
    *cuts("app.services.claims.buy_bargain", "bargain.member_id != member_id"),
    *(BUYABLE, replace(BUYABLE, down=(AWAY,))),
)
async def the_owner_buys_once_and_in_time(world: World) -> None:
    sale, bargain_id = await started(world)
    late = (await world.friend.bargain(sale))["id"]
    assert (await world.friend.buy_at(bargain_id)).json()["code"] == "not_your_bargain"
    assert (await world.me.buy_at(bargain_id)).status_code == 201
    assert (await world.me.buy_at(bargain_id)).json()["state"] == "ordered"
    world.service.clock.advance(3601)
    assert (await world.friend.buy_at(late)).json()["state"] == "expired"


@notices(
    *cuts(
        f"{BARGAINS}.expire",
        "bargain.state not in BUYABLE_STATES",
        "bargain.deadline_at > now",
    ),
    Cut(f"{BARGAINS}._move", "BARGAIN_TRANSITIONS", ANY_BARGAIN),
)
async def a_bargain_goes_the_way_of_its_table(world: World) -> None:
    sale, ordered = await started(world)
    cutting = (await world.friend.bargain(sale))["id"]
    await world.me.buy_at(ordered)
    now = world.service.clock()
    assert not await bargains.expire(world.state, cutting, now)
    assert not await bargains.expire(world.state, ordered, now + timedelta(hours=1))
    async with world.work() as work:
        await bargains.conclude(work, cutting)
    assert await state_of(world, cutting) == BargainState.CUTTING
    assert await bargains.expire(world.state, cutting, now + timedelta(hours=1))


@notices(
    Cut(f"{BARGAINS}.end_with", "min(bargain.deadline_at, sale.closes_at)", "sale.closes_at"),
    Cut("app.services.locks.lock_running_bargains", "Bargain.sale_id == sale_id", "True"),
    Cut("app.services.locks.lock_running_bargains", "col(Bargain.state).in_(RUNNING_BARGAIN_STATES)", "True"),
    unlocked("lock_running_bargains"),
    Cut("app.services.sales._end", "await bargains.end_with(work, ended)", "None"),
)
async def running_bargains_end_with_their_sale(world: World) -> None:
    sale, running = await started(world)
    _, another = await started(world)
    gone, bought = [(await owner.bargain(sale))["id"] for owner in (world.members[2], world.friend)]
    await world.friend.pay((await world.friend.buy_at(bought)).json()["order"]["id"])
    before = {id_: (await world.row(Bargain, id_)).deadline_at for id_ in (running, another, bought)}
    async with world.work() as work:
        due = await work.session.get_one(Bargain, gone)
        due.deadline_at = early = world.service.clock() - timedelta(seconds=1)
    async with world.database.transaction() as session:
        assert await locks.lock_running_bargains(session, sale.id)
        assert await world.is_locked(Bargain, running)
    await sales.end_sale(world.state, sale.id)
    now = world.service.clock()
    assert (await world.row(Bargain, running)).deadline_at <= now < before[running]
    assert (await world.row(Bargain, gone)).deadline_at == early
    for id_ in (another, bought):
        assert (await world.row(Bargain, id_)).deadline_at == before[id_]


@notices(
    Cut("app.services.places.give_back", "await bargains.give_back(work, moved.bargain_id)", "None"),
    Cut("app.services.groups.confirm", "await bargains.conclude(work, confirmed.bargain_id)", "None"),
    Cut(f"{BARGAINS}.give_back", "bargain.state == BargainState.ORDERED", "False"),
)
async def a_bargain_follows_its_order(world: World) -> None:
    _, bargain_id = await started(world)
    order_id = (await world.me.buy_at(bargain_id)).json()["order"]["id"]
    await world.me.post(f"/v1/orders/{order_id}/cancel")
    assert await state_of(world, bargain_id) == BargainState.CUTTING
    await world.me.pay((await world.me.buy_at(bargain_id)).json()["order"]["id"])
    assert await state_of(world, bargain_id) == BargainState.BOUGHT


@notices(unlocked("lock_bargain"))
async def helps_of_two_processes_see_each_other(world: World) -> None:
    _, bargain_id = await started(world)
    async with world.database.transaction() as session:
        assert await locks.lock_bargain(session, bargain_id)
        assert await world.is_locked(Bargain, bargain_id)
    rival = bargains._cut_all(world.state, [bargains._Asked(bargain_id, world.members[2].id)])
    async with world.unbroken(), world.meanwhile("flush", rival):
        await bargains._cut_all(world.state, [bargains._Asked(bargain_id, world.friend.id)])
    assert (await world.row(Bargain, bargain_id)).taken == 2
