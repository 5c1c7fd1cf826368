"""Invites bring friends in, and say who brought whom."""

from dataclasses import replace
from datetime import timedelta
from secrets import token_hex
from uuid import uuid4

import jwt
from sqlmodel import select

from app.domain.invites import MAX_INVITES_A_DAY
from app.limiting import Limiter
from app.models import Invite, Referral
from app.schemas.invites import InviteCreate
from app.services import invites
from app.services.invites import ALPHABET, CODE_LENGTH
from app.services.sessions import AUDIENCE
from app.services.tokens import ALGORITHM, ISSUER
from tests.service import Member, Service, gather_limited


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
    await service.work()
    async with service.state.database.snapshot() as database:
        referral = await database.get_one(Referral, (sale.id, friend.id))
    assert (referral.inviter_id, referral.code, referral.order_id) == (inviter.id, code, order["id"])
    assert await service.violations() == []


async def test_an_invite_lasts_as_long_as_its_maker_says(service: Service) -> None:
    sale, maker = await service.sale(), await service.member()
    now = service.clock()

    def until(**later: float) -> dict[str, str]:
        return {"sale_id": sale.id, "expires_at": (now + timedelta(**later)).isoformat()}

    for wrong in (until(seconds=-1), until(days=365, hours=1)):
        reply = await maker.post("/v1/invites", wrong)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms")
    code = (await maker.post("/v1/invites", until(hours=1))).json()["code"]
    assert (await service.http.get(f"/i/{code}")).status_code == 200
    service.clock.advance(3_601)
    friend = await service.member()
    for reply in (
        await service.http.get(f"/i/{code}"),
        await friend.post(f"/v1/invites/{code}/touches"),
        await friend.open(sale, invite_code=code),
    ):
        assert (reply.status_code, reply.json()["code"]) == (410, "invite_expired")


async def test_a_withdrawn_invite_brings_nobody_any_more(service: Service) -> None:
    sale = await service.sale()
    maker, friend, other = await service.members(3)
    code = (await maker.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    key = uuid4().hex
    before = await friend.open(sale, invite_code=code, key=key)
    assert before.json()["order"]["invite_code"] == code
    foreign = await service.http.delete(f"/v1/invites/{code}", headers=friend.headers)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "invite_not_found")
    for _ in range(2):
        assert (await service.http.delete(f"/v1/invites/{code}", headers=maker.headers)).status_code == 204
    for reply in (
        await service.http.get(f"/i/{code}"),
        await other.post(f"/v1/invites/{code}/touches"),
        await other.open(sale, invite_code=code),
    ):
        assert (reply.status_code, reply.json()["code"]) == (410, "invite_revoked")
    again = await friend.open(sale, invite_code=code, key=key)
    assert (again.status_code, again.json()) == (201, before.json()), "what was answered stays answered"
    await friend.pay(before.json()["order"]["id"])
    await service.work()
    async with service.state.database.snapshot() as database:
        assert (await database.get_one(Referral, (sale.id, friend.id))).inviter_id == maker.id
    assert await service.violations() == []


async def test_a_member_makes_so_many_invites_a_day(service: Service) -> None:
    sale, maker = await service.sale(), await service.member()
    service.clock.advance(86_400 - service.clock().timestamp() % 86_400)  # no midnight in between
    replies = await gather_limited(
        (maker.post("/v1/invites", {"sale_id": sale.id}) for _ in range(MAX_INVITES_A_DAY + 10)), 20
    )
    refused = [reply for reply in replies if not reply.is_success]
    assert len(refused) == 10
    for reply in refused:
        assert (reply.status_code, reply.json()["code"]) == (429, "invite_limit")
        assert reply.json()["limit"] == MAX_INVITES_A_DAY
        assert 0 < int(reply.headers["retry-after"]) <= 86_401
    async with service.state.database.snapshot() as database:
        taken = await database.exec(select(Invite.day_number).where(Invite.member_id == maker.id))
    assert sorted(number or 0 for number in taken.all()) == list(range(1, MAX_INVITES_A_DAY + 1))
    service.clock.advance(int(refused[0].headers["retry-after"]))
    made = await invites.create_invite(service.state, maker.id, InviteCreate(sale_id=sale.id))
    assert made.code


async def test_a_member_sees_what_came_of_their_invites(service: Service) -> None:
    sale = await service.sale()
    maker, friend = await service.members(2)
    codes = [(await maker.post("/v1/invites", {"sale_id": sale.id})).json()["code"] for _ in range(3)]
    code = codes[1]
    await maker.get(f"/i/{code}")
    await service.http.get(f"/i/{code}")
    for _ in range(2):
        await friend.get(f"/i/{code}")
    await friend.pay((await friend.open(sale, invite_code=code)).json()["order"]["id"])
    await service.work()
    await service.http.delete(f"/v1/invites/{codes[0]}", headers=maker.headers)
    first = (await maker.get("/v1/invites", params={"limit": 2})).json()
    rest = (await maker.get("/v1/invites", params={"limit": 2, "after": first["next"]})).json()
    items = first["items"] + rest["items"]
    assert [item["code"] for item in items] == codes[::-1]
    assert rest["next"] is None
    counts = {item["code"]: (item["taps"], item["logins"], item["brought"]) for item in items}
    assert counts == {codes[0]: (0, 0, 0), code: (3, 1, 1), codes[2]: (0, 0, 0)}
    assert [item["revoked_at"] is not None for item in items] == [False, False, True]
    assert (await friend.get("/v1/invites")).json() == {"items": [], "next": None}


async def test_codes_are_not_guessed(service: Service) -> None:
    sale = await service.sale()
    maker, friend = await service.members(2)
    code = (await maker.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    misses, service.state.invite_misses = service.state.invite_misses, Limiter(0.01, 5)
    try:
        for _ in range(20):
            assert (await service.http.get(f"/i/{code}")).status_code == 200, "what is there costs nothing"
        replies = [await service.http.get(f"/i/{token_hex(5)}") for _ in range(4)]
        replies += [await friend.post(f"/v1/invites/{token_hex(5)}/touches") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [404] * 5 + [429] * 2
        service.state.invite_misses = Limiter(0.01, 5)
        pages = {"accept": "text/html"}
        replies = [await service.http.get(f"/i/{token_hex(5)}", headers=pages) for _ in range(3)]
        replies += [await service.http.post(f"/i/{token_hex(5)}/logout", headers=pages) for _ in range(3)]
        replies.append(await service.http.get(f"/i/{token_hex(5)}/sales/{sale.id}", headers=pages))
        assert [reply.status_code for reply in replies] == [404] * 5 + [429] * 2, "pages are no way around it"
        for reply in (await service.http.get(f"/i/{code}"), await friend.post(f"/v1/invites/{code}/touches")):
            assert (reply.status_code, reply.json()["code"]) == (429, "rate_limited")
            assert 90 <= int(reply.headers["retry-after"]) <= 100
    finally:
        service.state.invite_misses = misses
    assert len(ALPHABET) ** CODE_LENGTH == 57**10


async def test_who_comes_after_somebody_has_logged_in_is_another_visitor(service: Service) -> None:
    sale, other = await service.sale(), await service.sale()
    inviter = await service.member()
    first, second = [
        (await inviter.post("/v1/invites", {"sale_id": place.id})).json()["code"] for place in (other, sale)
    ]
    seen = (await service.http.get(f"/i/{first}")).json()["visitor_token"]
    again = (await service.http.get(f"/i/{first}", headers={"visitor-token": seen})).json()["visitor_token"]
    assert again == seen, "nobody has logged in yet"
    await log_in(service, "the-first", seen)
    token = (await service.http.get(f"/i/{second}", headers={"visitor-token": seen})).json()["visitor_token"]
    assert token != seen
    friend = await log_in(service, "the-second", token)
    await friend.pay((await friend.open(sale)).json()["order"]["id"])
    await service.work()
    async with service.state.database.snapshot() as database:
        assert (await database.get_one(Referral, (sale.id, friend.id))).code == second


async def test_a_member_who_is_not_there_taps_nothing(service: Service) -> None:
    code = (await (await service.member()).post("/v1/invites", {"sale_id": (await service.sale()).id})).json()[
        "code"
    ]
    ghost = replace(await service.member(), token=forged(service, f"mem_{'0' * 32}"))
    reply = await ghost.get(f"/i/{code}")
    assert (reply.status_code, reply.json()["code"]) == (401, "token_invalid")
    cookie = {"cookie": f"kaituan_session={ghost.token}", "accept": "text/html"}
    page = await service.http.get(f"/i/{code}", headers=cookie)
    assert page.status_code == 401
    assert 'kaituan_session=""' in page.headers["set-cookie"], "the page is there the next time"


def forged(service: Service, member_id: str) -> str:
    """An access token as we would sign it."""
    now = int(service.clock().timestamp())
    claims = {"sub": member_id, "iat": now, "exp": now + 3600, "aud": AUDIENCE, "iss": ISSUER}
    return jwt.encode(claims, service.state.settings.key_for("access token"), ALGORITHM)


async def log_in(service: Service, name: str, visitor_token: str) -> Member:
    body = {"provider": "dev", "code": f"{name}-{token_hex(4)}", "visitor_token": visitor_token}
    session = (await service.http.post("/v1/sessions", json=body)).json()
    return Member(service, session["member"]["id"], session["member"]["name"], session["access_token"])
