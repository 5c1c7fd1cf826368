"""Guards of the pages behind an invite: what belongs to it, and whose orders are looked after."""

from typing import Any

import pytest
from fastapi import Request

from app.domain.errors import CrossSite, GroupNotFound, OrderNotFound, SaleNotFound
from app.routers.pages import check_site
from app.schemas.invites import InviteCreate, InviteLanding
from app.services import invites, landings
from tests.guards.cuts import cuts, notices
from tests.guards.world import World

LANDINGS = "app.services.landings"


async def invite_to(world: World, **target: Any) -> InviteLanding:
    made = await invites.create_invite(world.state, world.me.id, InviteCreate(**target))
    return await invites.open_invite(world.state, made.code, None, None, is_tap=False)


@notices(
    *cuts(
        f"{LANDINGS}.gather",
        "group is not None and within not in {None, group.sale_id}",
        "sale_id is not None and within not in {None, sale_id}",
        "invite.community_id not in {None, sale.community_id, *sale.community_ids}",
    )
)
async def an_invite_leads_to_what_it_is_for_alone(world: World) -> None:
    held, other = await world.held(), await world.service.sale()
    elsewhere = (await world.friend.open(other)).json()["group"]["id"]
    to_sale = await invite_to(world, sale_id=world.sale.id)
    to_community = await invite_to(world, community_id=world.sale.body["community_id"])
    for invite in (to_sale, await invite_to(world, group_id=held.group_id)):
        with pytest.raises(GroupNotFound):
            await landings.gather(world.state, invite, None, sale_id=None, group_id=elsewhere)
        with pytest.raises(SaleNotFound):
            await landings.gather(world.state, invite, None, sale_id=other.id, group_id=None)
    with pytest.raises(SaleNotFound):
        await landings.gather(world.state, to_community, None, sale_id=other.id, group_id=None)
    found = await landings.gather(world.state, to_community, None, sale_id=None, group_id=held.group_id)
    assert found.group is not None


@notices(*cuts(f"{LANDINGS}.settle_payments", "order.member_id != member_id"))
async def somebody_elses_payments_are_not_asked_about(world: World) -> None:
    held = await world.held()
    with pytest.raises(OrderNotFound):
        await landings.settle_payments(world.state, world.friend.id, held.order_id)
    assert await landings.settle_payments(world.state, world.me.id, held.order_id) == held.group_id


@notices(*cuts("app.routers.pages.check_site", "if not ours"))
async def a_form_is_sent_from_our_own_page(world: World) -> None:
    async def sent(**headers: str) -> None:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await check_site(world.state, Request({"type": "http", "method": "POST", "headers": raw}))

    await sent(sec_fetch_site="same-origin")
    await sent(origin=world.service.url)
    await sent()
    for foreign in ({"sec_fetch_site": "cross-site"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        with pytest.raises(CrossSite):
            await sent(**foreign)
