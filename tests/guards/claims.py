"""Guards of the claim path: what a claim is checked for, and what its key is compared with."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from app.domain.errors import TokenInvalid
from app.domain.money import MAX_AMOUNT
from app.gateways.dealer import Keys
from app.models import Group, Sale, new_id
from app.schemas.groups import ClaimCreate
from app.schemas.invites import InviteCreate
from app.schemas.sales import OfferUpdate, SaleUpdate
from app.services import claims, invites, locks, rescues, sales
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import BARGAIN

CLAIMS = "app.services.claims"


def script(condition: str) -> Cut:
    """A condition of the script that deals."""
    return Cut("deal.lua", f"if {condition} then", "if false then")


CLOSED = script("g[3] ~= '1' or now >= tonumber(g[2])")
AWAY = Cut("app.services.dealing._deal", "return await state.dealer.deal(request, now)", "raise DealerUnavailable")
"""Redis is away, and the places are found in the rows."""


def undealt(*texts: str, down: tuple[Cut, ...] = ()) -> tuple[Cut, ...]:
    """Conditions of the search for places in the rows."""
    return cuts("app.services.undealt._Places.take", *texts, down=(AWAY, *down))


def lines(*defence: Cut) -> tuple[Cut, ...]:
    """Lines of defence against the same: each is tried with the others down."""
    return tuple(replace(cut, down=tuple(other for other in defence if other is not cut)) for cut in defence)


async def code(answer: Awaitable[httpx.Response]) -> str:
    """What a claim was refused with."""
    return str((await answer).json().get("code"))


@notices(
    Cut("app.services.terms._read_sales", "Sale.state != SaleState.DRAFT", "Sale.id is not None"),
    Cut("app.services.terms.sale_facts", "if offer_id not in facts.offers:\n        raise OfferNotFound", "pass"),
    *cuts(
        f"{CLAIMS}._read",
        "max(offer.price, offer.solo_price or 0) * body.quantity > MAX_AMOUNT",
        "group.product_id != offer.product_id",
    ),
    Cut(f"{CLAIMS}._read", "check_quantity(sale.terms, body.quantity)", "None"),
)
async def a_claim_takes_what_its_sale_offers(world: World) -> None:
    draft, dear = await world.service.sale(publish=False), await world.service.sale(publish=False)
    cup = (await world.service.ops("POST", "products", {"title": "茶杯", "skus": ["一只"]})).json()["skus"][0]["id"]
    offers = [OfferUpdate(sku_id=cup, price=MAX_AMOUNT, stock=5)]
    await sales.update_sale(world.state, dear.id, SaleUpdate(offers=offers))
    published = await sales.publish_sale(world.state, dear.id)
    cups = next(offer.id for offer in published.offers if offer.sku_id == cup)
    held = await world.held(dear)
    assert await code(world.me.open(draft)) == "sale_not_found"
    assert await code(world.me.open(dear, offer_id=world.sale.offer)) == "offer_not_found"
    assert await code(world.friend.join(dear, held.group_id, offer_id=cups)) == "offer_not_in_group"
    assert await code(world.me.open(dear, offer_id=cups, quantity=2)) == "amount_too_large"
    assert await code(world.me.open(dear, quantity=6)) == "order_limit"


BATCH = "app.services.commits._Batch"
ENDED, LATE = cuts(f"{BATCH}._joined", "group.state in FINAL_GROUP_STATES", "self.now >= group.deadline_at")


@notices(*lines(CLOSED, ENDED), *undealt("group.state in FINAL_GROUP_STATES", down=(ENDED,)))
async def a_group_that_has_ended_takes_nobody(world: World) -> None:
    held = await world.held()
    await end(world, held.group_id)
    assert await code(world.friend.join(world.sale, held.group_id)) == "group_closed"


@notices(*cuts(f"{CLAIMS}._read", "group.final", down=(CLOSED, ENDED)))
async def a_group_that_was_seen_to_have_ended_takes_nobody(world: World) -> None:
    held = await world.held()
    await end(world, held.group_id)
    world.state._memories.clear()
    assert await code(world.friend.join(world.sale, held.group_id)) == "group_closed"


@notices(
    Cut("app.services.dealing._deal", "request.new_deadline_at is None and await is_over(state, request.group_id)")
)
async def a_group_that_redis_has_forgotten_is_not_loaded_for_ever(world: World) -> None:
    held = await world.held()
    await end(world, held.group_id)
    await world.state.dealer.pipe.call("UNLINK", Keys(world.sale.id).group(held.group_id))
    assert await code(world.friend.join(world.sale, held.group_id)) == "group_closed"


async def end(world: World, group_id: str) -> None:
    """Let a group fail."""
    async with world.work() as work:
        group = await work.session.get_one(Group, group_id)
        await rescues.close(work, group, await work.session.get_one(Sale, group.sale_id))


@notices(*lines(CLOSED, LATE), *undealt("want.now >= group.deadline_at", down=(LATE,)))
async def a_group_whose_time_is_up_takes_nobody(world: World) -> None:
    held = await world.held()
    world.service.clock.advance(3600)
    assert await code(world.friend.join(world.sale, held.group_id)) == "group_closed"


@notices(
    script("now < tonumber(t[2])"),
    script("t[1] == 'ended' or now >= tonumber(t[3])"),
    script("t[1] == 'paused'"),
    Cut("app.services.undealt._Places.take", "check_open(sale.terms(), want.now)", "None", down=(AWAY,)),
)
async def a_sale_sells_while_it_is_open(world: World) -> None:
    soon = (world.service.clock() + timedelta(hours=1)).isoformat()
    coming = await world.service.sale(opens_at=soon)
    paused, ended = await world.service.sale(), await world.service.sale()
    await sales.pause_sale(world.state, paused.id)
    await sales.end_sale(world.state, ended.id)
    assert await code(world.me.open(coming)) == "sale_not_open"
    assert await code(world.me.open(paused)) == "sale_paused"
    assert await code(world.me.open(ended)) == "sale_ended"


@notices(
    script("g[6]"),
    script("held + tonumber(g[5]) >= tonumber(g[1])"),
    replace(
        script("not purchase"), down=cuts("app.services.undealt._Places.take", "len(bought) >= sale.member_limit")
    ),
    script("stock - taken < quantity"),
    *undealt(
        "(group_id, member_id) in self.members",
        "len(self.seats[group_id]) >= group.size",
        "len(bought) >= sale.member_limit",
        "len(free) < want.quantity",
    ),
)
async def nobody_takes_more_than_there_is(world: World) -> None:
    sale = await world.service.sale(stocks=[4], group_size=2, member_limit=2)
    held = await world.held(sale)
    assert await code(world.me.join(sale, held.group_id)) == "already_in_group"
    await world.join(held, world.friend, sale)
    assert await code(world.members[2].join(sale, held.group_id)) == "group_full"
    assert await code(world.members[2].open(sale, quantity=3)) == "sold_out"
    await world.held(sale)
    assert await code(world.me.open(sale)) == "member_limit"


@notices(
    *cuts(f"{CLAIMS}._replay", "earlier.request_hash != asked.request_hash"),
    Cut(f"{CLAIMS}._read", "invite.member_id != asked.member_id", "True"),
)
async def a_key_is_for_one_request_and_nobody_invites_themselves(world: World) -> None:
    key = uuid4().hex
    invite = await invites.create_invite(world.state, world.me.id, InviteCreate(sale_id=world.sale.id))
    opened = await world.me.open(world.sale, key=key, invite_code=invite.code)
    assert opened.json()["order"]["invite_code"] is None
    assert await code(world.me.open(world.sale, key=key)) == "idempotency_key_reused"


@notices(
    *cuts(f"{BATCH}._joined", "want.group_id is None"), *cuts(f"{BATCH}._bargained", "want.bargain_id is None")
)
async def who_joins_nothing_opens_a_group(world: World) -> None:
    assert (await world.me.open(world.sale)).status_code == 201


@notices(*cuts(f"{BATCH}._joined", "want.group_id not in self.groups"))
async def a_locked_group_is_waited_for(world: World) -> None:
    held = await world.held()
    async with world.database.transaction() as session:
        await locks.lock_group(session, held.group_id)
        joining = asyncio.create_task(world.friend.join(world.sale, held.group_id))
        assert not await world.finishes(joining)
    assert (await joining).status_code == 201


@notices(*cuts(f"{BATCH}._bargained", "want.bargain_id not in self.bargains"))
async def a_locked_bargain_is_waited_for(world: World) -> None:
    bargain_id = (await world.me.bargain(await world.service.sale(**BARGAIN)))["id"]
    async with world.database.transaction() as session:
        await locks.lock_bargain(session, bargain_id)
        buying = asyncio.create_task(world.me.buy_at(bargain_id))
        assert not await world.finishes(buying)
    assert (await buying).status_code == 201


@notices(*cuts(f"{BATCH}._add", "want.asked.member_id in self.strangers"))
async def whoever_is_not_there_claims_nothing(world: World) -> None:
    """Their token is from before the database was set back."""
    body = ClaimCreate(offer_id=world.sale.offer)
    with pytest.raises(TokenInvalid):
        await claims.open_group(world.state, new_id("mem"), world.sale.id, body, uuid4().hex)
