"""Who that one knows is in: told to those who know them, as far as they allow it, and to nobody else."""

import pytest

from app.models import Group
from app.services import trust, views
from app.services.trust import find_groups, read_known
from tests.promises.test_referrals import conclude
from tests.service import Member, Sale, Service, gather_limited


async def pay_seat(member: Member, sale: Sale, group_id: str | None = None, **body: str) -> str:
    """A paid seat in a group; returns the group."""
    claim = await (member.open(sale, **body) if group_id is None else member.join(sale, group_id, **body))
    assert claim.status_code == 201, claim.text
    await member.pay(claim.json()["order"]["id"])
    return str(claim.json()["group"]["id"])


async def buy_together(service: Service, members: list[Member]) -> None:
    """A group of its own that succeeds with these members."""
    sale = await service.sale(group_size=len(members))
    group_id = await pay_seat(members[0], sale)
    for member in members[1:]:
        await pay_seat(member, sale, group_id)
    assert (await service.group(group_id))["state"] == "succeeded"


async def want(member: Member, wish: str) -> None:
    """Choose how to be seen."""
    reply = await member.service.http.patch(
        "/v1/members/me", json={"seen_by_friends": wish}, headers=member.headers
    )
    assert (reply.status_code, reply.json()["seen_by_friends"]) == (200, wish)
    assert (await member.get("/v1/members/me")).json() == reply.json()


async def look(viewer: Member, path: str) -> object:
    """The friends a member is told of, with nothing remembered from before."""
    state = viewer.service.state
    state.memory(trust._read_known).drop(viewer.id)
    views.forget(state, [path.rsplit("/", maxsplit=1)[-1]])
    state.memory(trust._read_in_sales).drop((viewer.id, path.rsplit("/", maxsplit=1)[-1]))
    reply = await viewer.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()["friends_in"]


async def told(viewer: Member, group_id: str) -> object:
    """What `friends_in` tells of one group."""
    async with viewer.service.state.database.snapshot() as session:
        known = (await read_known(session, [viewer.id]))[viewer.id]
        sale_id = (await session.get_one(Group, group_id)).sale_id
        found = (await find_groups(session, known, sale_id)).get(group_id)
    return None if found is None else found.model_dump()


@pytest.mark.parametrize("way", ["brought", "brought by", "together"])
async def test_friends_are_seen_by_who_knows_them(service: Service, way: str) -> None:
    sale = await service.sale()
    viewer, friend, stranger = [await service.member(name) for name in ("viewer", "friend", "stranger")]
    if way == "together":
        await buy_together(service, [viewer, friend])
    else:
        inviter, brought = (viewer, friend) if way == "brought" else (friend, viewer)
        other = await service.sale()
        code = (await inviter.post("/v1/invites", {"sale_id": other.id})).json()["code"]
        await pay_seat(brought, other, invite_code=code)
        await conclude(service)
    group_id = await pay_seat(stranger, sale)
    unpaid = (await friend.join(sale, group_id)).json()["order"]["id"]
    group, whole = f"/v1/groups/{group_id}", f"/v1/sales/{sale.id}"
    assert await look(viewer, group) is None, "who has not paid is not in"
    await friend.pay(unpaid)
    expected = {"names": ["f***d"], "others": None}
    assert await look(viewer, group) == await look(viewer, whole) == await told(viewer, group_id) == expected
    for path in (group, whole):
        assert await look(stranger, path) is None
        assert (await service.http.get(path)).json()["friends_in"] is None
    assert await told(stranger, group_id) is None
    assert await look(friend, group) is None, "nobody is their own friend"
    await want(friend, "hidden")
    assert await look(viewer, group) is await look(viewer, whole) is await told(viewer, group_id) is None


async def test_a_purchase_that_did_not_go_through_makes_no_friends(service: Service) -> None:
    failed = await service.sale(group_size=3, group_ttl_seconds=600)
    viewer, other, third = await service.members(3)
    group_id = await pay_seat(viewer, failed)
    await pay_seat(other, failed, group_id)
    sale = await service.sale()
    in_it = await pay_seat(other, sale)
    assert await look(viewer, f"/v1/groups/{in_it}") is None
    await buy_together(service, [viewer, third])
    refunded = (await third.get("/v1/orders")).json()["items"][0]["id"]
    await service.ops("POST", f"orders/{refunded}/refund", **{"idempotency-key": refunded})
    await pay_seat(third, sale, in_it)
    assert await look(viewer, f"/v1/groups/{in_it}") is None


async def test_fewer_than_three_are_not_counted(service: Service) -> None:
    sale = await service.sale(group_size=8)
    viewer, *friends = await service.members(6)
    await buy_together(service, [viewer, *friends])
    group_id = await pay_seat(await service.member("stranger"), sale)
    group, whole = f"/v1/groups/{group_id}", f"/v1/sales/{sale.id}"
    for number, friend in enumerate(friends, start=1):
        await want(friend, "counted")
        await pay_seat(friend, sale, group_id)
        expected = None if number < 3 else {"names": [], "others": number}
        assert await look(viewer, group) == await look(viewer, whole) == await told(viewer, group_id) == expected
    for friend in friends[:3]:
        await want(friend, "named")
    expected_names = [f"m***{number}" for number in (1, 2, 3)]
    shown = await look(viewer, group)
    assert shown == {"names": expected_names, "others": None}, "two are too few to be counted"
    await want(friends[3], "named")
    assert await look(viewer, group) == {"names": expected_names, "others": 1}


async def test_groups_with_friends_come_first(service: Service) -> None:
    sale = await service.sale(group_size=4)
    viewer, friend, shy, *strangers = await service.members(8)
    await buy_together(service, [viewer, friend, shy])
    await want(shy, "hidden")
    nearly_full = await pay_seat(strangers[0], sale)
    for stranger in strangers[1:3]:
        await pay_seat(stranger, sale, nearly_full)
    with_friend, with_shy = await pay_seat(friend, sale), await pay_seat(shy, sale)
    half = await pay_seat(strangers[3], sale)
    await pay_seat(strangers[4], sale, half)
    path = f"/v1/sales/{sale.id}/groups"
    service.state.memory(trust._read_known).drop(viewer.id)
    mine = (await viewer.get(path)).json()["items"]
    assert [group["id"] for group in mine] == [with_friend, nearly_full, half, with_shy]
    assert [group["friends_in"] is not None for group in mine] == [True, False, False, False]
    first = (await viewer.get(path, params={"limit": 1})).json()["items"]
    assert [group["id"] for group in first] == [with_friend]
    for reply in (await service.http.get(path), await strangers[0].get(path)):
        assert [group["id"] for group in reply.json()["items"]] == [nearly_full, half, with_friend, with_shy]
        assert [group["friends_in"] for group in reply.json()["items"]] == [None] * 4


async def test_who_has_no_friends_in_it_sees_what_all_see(service: Service) -> None:
    sale = await service.sale()
    viewer, owner = await service.members(2)
    group_id = await pay_seat(owner, sale)
    for show, id_ in ((views.show_group, group_id), (views.show_sale, sale.id)):
        assert await show(service.state, id_, viewer.id) is await show(service.state, id_, None)


async def test_live_views_tell_nobody_of_friends(service: Service) -> None:
    sale = await service.sale()
    viewer, friend = await service.members(2)
    await buy_together(service, [viewer, friend])
    group_id = await pay_seat(friend, sale)
    assert await look(viewer, f"/v1/groups/{group_id}") is not None
    changes = (await viewer.get(f"/v1/groups/{group_id}/changes", params={"after": 0, "wait": 0})).json()
    assert changes["group"]["friends_in"] is None


async def test_many_viewers_are_read_together(service: Service) -> None:
    sale = await service.sale(group_size=2)
    viewers = await service.members(12)
    pairs = list(zip(viewers[::2], viewers[1::2], strict=True))
    for pair in pairs:
        await buy_together(service, list(pair))
    group_id = await pay_seat(viewers[0], sale)
    found = await gather_limited(look(viewer, f"/v1/groups/{group_id}") for viewer in viewers)
    assert [friends is not None for friends in found] == [False, True, *[False] * 10]
