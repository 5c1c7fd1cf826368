"""Invites bring friends in, and say who brought whom."""

from app.models import Referral
from tests.service import Member, Service


async def test_a_friend_joins_by_invite(service: Service) -> None:
    sale = await service.sale()
    leader, friend = await service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    made = await leader.post("/v1/invites", {"group_id": group_id, "channel": "chat"})
    assert made.status_code == 201, made.text
    invite = made.json()
    assert invite["url"] == f"{service.url}/i/{invite['code']}"

    landing = await service.http.get(f"/i/{invite['code']}")
    assert (landing.status_code, landing.json()["group_id"]) == (200, group_id)
    assert landing.json()["inviter_name"] != leader.name
    browser = await service.http.get(f"/i/{invite['code']}", headers={"accept": "text/html,*/*"})
    assert (browser.status_code, browser.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert group_id in browser.text

    joined = await friend.join(sale, group_id, invite_code=invite["code"])
    assert (joined.status_code, joined.json()["order"]["invite_code"]) == (201, invite["code"])


async def test_an_invite_does_not_work_elsewhere_for_ever_or_for_oneself(service: Service) -> None:
    sale, other = await service.sale(), await service.sale(group_ttl_seconds=2_000_000)
    leader, friend = await service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    code = (await leader.post("/v1/invites", {"group_id": group_id})).json()["code"]
    reply = await friend.open(other, invite_code=code)
    assert (reply.status_code, reply.json()["code"]) == (409, "invite_mismatch")
    reply = await friend.join(sale, group_id, invite_code="ABCDEFGHJK")
    assert (reply.status_code, reply.json()["code"]) == (404, "invite_not_found")

    sale_code = (await leader.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    own = await leader.open(sale, invite_code=sale_code)
    assert (own.status_code, own.json()["order"]["invite_code"]) == (201, None), "nobody brings themselves"

    service.clock.advance(31 * 86400)
    reply = await service.http.get(f"/i/{code}")
    assert (reply.status_code, reply.json()["code"]) == (410, "invite_expired")


async def test_nobody_is_invited_to_what_is_over(service: Service) -> None:
    sale = await service.sale()
    member = await service.member()
    opened = (await member.open(sale)).json()
    await member.post(f"/v1/orders/{opened['order']['id']}/cancel")
    reply = await member.post("/v1/invites", {"group_id": opened["group"]["id"]})
    assert (reply.status_code, reply.json()["code"]) == (409, "group_closed")
    await service.ops("POST", f"sales/{sale.id}/end")
    reply = await member.post("/v1/invites", {"sale_id": sale.id})
    assert (reply.status_code, reply.json()["code"]) == (410, "sale_ended")


async def test_an_invite_names_one_thing_that_exists(service: Service) -> None:
    member = await service.member()
    sale = await service.sale()
    for body in ({}, {"sale_id": sale.id, "group_id": "grp_" + "0" * 32}):
        assert (await member.post("/v1/invites", body)).json()["code"] == "invalid_request"
    for kind, prefix in (("group", "grp"), ("sale", "sal"), ("community", "com")):
        reply = await member.post("/v1/invites", {f"{kind}_id": f"{prefix}_" + "0" * 32})
        assert (reply.status_code, reply.json()["code"]) == (404, f"{kind}_not_found")


async def test_a_tap_before_login_says_who_brought_the_buyer(service: Service) -> None:
    sale = await service.sale()
    inviter = await service.member()
    code = (await inviter.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    landing = (await service.http.get(f"/i/{code}")).json()
    body = {"provider": "dev", "code": f"{code}-friend", "visitor_token": landing["visitor_token"]}
    session = (await service.http.post("/v1/sessions", json=body)).json()
    friend = Member(service, session["member"]["id"], session["member"]["name"], session["access_token"])
    order = (await friend.open(sale)).json()["order"]
    await friend.pay(order["id"])
    await service.tick()
    async with service.state.database.snapshot() as database:
        referral = await database.get_one(Referral, (sale.id, friend.id))
    assert (referral.inviter_id, referral.code, referral.order_id) == (inviter.id, code, order["id"])
    assert await service.violations() == []
