"""Memberships: every way in, out, up and down; paid ones, and what is left when a community dissolves."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from app.domain.memberships import Shown
from app.domain.posts import PostKind, ReportReason, ReportState
from app.domain.segments import SegmentKind
from app.models import Comment, Community, Identity, Membership, Notice, Post, Report, Segment, SegmentMember
from tests.service import FLASH, STATED, Member, Service, gather_limited

PAID: dict[str, Any] = {"join_mode": "paid", "plan": {"price": 1990, "period_days": 30}}
DAY = 24 * 3600


async def join(member: Member, community: dict[str, Any], *, key: str | None = None, **body: Any) -> Any:
    return await member.post(f"/v1/communities/{community['id']}/membership", body, key=key)


async def mine(member: Member, community: dict[str, Any]) -> dict[str, Any]:
    reply = await member.get(f"/v1/communities/{community['id']}/membership")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def leave(member: Member, community: dict[str, Any], reason: str | None = None) -> Any:
    path = f"/v1/communities/{community['id']}/membership"
    query = {} if reason is None else {"reason": reason}
    return await member.service.http.delete(path, headers=member.headers, params=query)


async def decide(by: Member, community: dict[str, Any], member: Member, what: str) -> Any:
    return await by.post(f"/v1/communities/{community['id']}/members/{member.id}/{what}")


async def appoint(by: Member, community: dict[str, Any], member: Member, role: str) -> Any:
    path = f"/v1/communities/{community['id']}/members/{member.id}/role"
    return await by.service.http.put(path, json={"role": role}, headers=by.headers)


async def shown(service: Service, community: dict[str, Any]) -> dict[str, Any]:
    return dict((await service.ops("GET", f"communities/{community['id']}")).json())


async def invite(member: Member, community: dict[str, Any], **terms: Any) -> str:
    reply = await member.post("/v1/invites", {"community_id": community["id"], **terms})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["code"])


async def notices(service: Service, member: Member, kind: str) -> list[str]:
    async with service.state.database.snapshot() as session:
        found = await session.exec(select(Notice).where(Notice.member_id == member.id, Notice.kind == kind))
        return [notice.text for notice in found.all()]


async def row_of(member: Member, community: dict[str, Any]) -> Membership:
    async with member.service.state.database.snapshot() as session:
        return await session.get_one(Membership, (community["id"], member.id))


async def log_in_again(member: Member) -> Member:
    """The same with a token that is good now."""
    async with member.service.state.database.snapshot() as session:
        known = select(Identity.subject).where(Identity.member_id == member.id, Identity.provider == "dev")
        code = (await session.exec(known)).one()
    reply = await member.service.http.post("/v1/sessions", json={"provider": "dev", "code": code})
    return replace(member, token=reply.json()["access_token"])


async def buy_period(member: Member, community: dict[str, Any]) -> dict[str, Any]:
    order = (await join(member, community)).json()["order"]
    await member.pay(order["id"])
    await member.service.work()
    return dict(order)


def refused(reply: Any, status: int, code: str) -> None:
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text


async def test_by_invite_only_whom_a_member_brings_gets_in(service: Service) -> None:
    owner, stranger, guest, late = await service.members(4)
    community = await service.community(owner, join_mode="invite")
    other = await service.community(owner, join_mode="invite")
    refused(await join(guest, community), 403, "invite_needed")
    refused(await join(guest, community, invite_code=await invite(stranger, community)), 403, "invite_needed")
    refused(await join(guest, community, invite_code=await invite(owner, other)), 409, "invite_mismatch")
    code = await invite(owner, community, max_uses=1)
    assert (await join(guest, community, invite_code=code)).json()["membership"]["state"] == "active"
    assert (await join(guest, community, invite_code=code)).status_code == 201, "again changes nothing"
    refused(await join(late, community, invite_code=code), 410, "invite_used_up")
    assert (await leave(guest, community)).json()["leave_reason"] == "other"
    assert (await join(guest, community, invite_code=code)).status_code == 201, "who was brought may come back"
    revoked = await invite(owner, community)
    await service.http.delete(f"/v1/invites/{revoked}", headers=owner.headers)
    refused(await join(late, community, invite_code=revoked), 410, "invite_revoked")
    assert (await shown(service, community))["member_count"] == 2
    assert await service.violations() == []


async def test_an_invite_brings_no_more_than_it_may_however_many_come_at_once(service: Service) -> None:
    owner = await service.member()
    community = await service.community(owner, join_mode="invite")
    code = await invite(owner, community, max_uses=3)
    guests = await service.members(12)
    replies = await gather_limited(join(guest, community, invite_code=code) for guest in guests)
    assert sorted(reply.status_code for reply in replies) == [201] * 3 + [410] * 9
    assert (await shown(service, community))["member_count"] == 4
    assert await service.violations() == []


async def test_applicants_wait_for_somebody_to_decide(service: Service) -> None:
    owner, one, two, three = await service.members(4)
    community = await service.community(owner, join_mode="approve")
    path = f"/v1/communities/{community['id']}/members"
    for member in (one, two, three):
        assert (await join(member, community, application="喝茶十年")).json()["membership"]["state"] == "applied"
    assert (await shown(service, community))["member_count"] == 1
    refused(await one.get(path), 403, "not_allowed")
    applicants = (await owner.get(path, params={"state": "applied"})).json()["items"]
    assert {item["member_id"] for item in applicants} == {one.id, two.id, three.id}
    assert applicants[0]["application"] == "喝茶十年"
    refused(await decide(two, community, one, "approve"), 403, "not_allowed")
    for _ in range(2):
        assert (await decide(owner, community, one, "approve")).json()["state"] == "active"
        assert (await decide(owner, community, two, "decline")).json()["state"] == "declined"
    assert (await shown(service, community))["member_count"] == 2
    refused(await decide(owner, community, one, "decline"), 409, "membership_refused")
    assert (await leave(three, community)).json()["state"] == "left", "an application is taken back"
    refused(await decide(owner, community, three, "approve"), 409, "membership_refused")
    assert (await join(two, community)).json()["membership"]["state"] == "applied", "one may ask again"
    assert [len(await notices(service, member, "membership")) for member in (one, two)] == [1, 1]
    refused(await one.get(path, params={"state": "applied"}), 403, "not_allowed")
    assert "application" not in (await one.get(path)).json()["items"][0]


async def test_leaving_says_why_and_an_owner_hands_over_first(service: Service) -> None:
    owner, member, stranger = await service.members(3)
    community = await service.community(owner)
    await member.enrol(community)
    refused(await leave(stranger, community), 404, "membership_not_found")
    refused(await leave(member, community, "removed"), 422, "invalid_request")
    refused(await leave(owner, community), 409, "owns_community")
    path = f"/v1/communities/{community['id']}/owner"
    refused(await service.http.put(path, json={"member_id": owner.id}, headers=member.headers), 403, "not_allowed")
    refused(
        await service.http.put(path, json={"member_id": stranger.id}, headers=owner.headers),
        404,
        "membership_not_found",
    )
    reply = await service.http.put(path, json={"member_id": member.id}, headers=owner.headers)
    assert reply.json()["role"] == "owner"
    assert (await mine(owner, community))["role"] == "leader"
    for _ in range(2):
        left = (await leave(owner, community, "moved_on")).json()
        assert (left["state"], left["role"], left["leave_reason"]) == ("left", "member", "moved_on")
    assert (await shown(service, community))["member_count"] == 1


async def test_nobody_moderates_their_own_rank_or_a_higher_one(service: Service) -> None:
    owner, leader, moderator, other, member = await service.members(5)
    community = await service.community(owner)
    for one in (leader, moderator, other, member):
        await one.enrol(community)
    assert (await appoint(owner, community, leader, "leader")).json()["role"] == "leader"
    for one in (moderator, other):
        assert (await appoint(owner, community, one, "moderator")).status_code == 200
    refused(await appoint(leader, community, member, "expert"), 403, "not_allowed")
    refused(await appoint(owner, community, member, "owner"), 422, "invalid_request")
    refused(await appoint(owner, community, owner, "member"), 403, "outranked")
    for above in (owner, leader, other, moderator):
        refused(await decide(moderator, community, above, "remove"), 403, "outranked")
    refused(await decide(leader, community, owner, "block"), 403, "outranked")
    assert (await decide(leader, community, other, "block")).json()["state"] == "blocked"
    assert (await decide(moderator, community, member, "remove")).json()["leave_reason"] == "removed"
    refused(await appoint(owner, community, member, "expert"), 409, "membership_refused")
    assert (await shown(service, community))["member_count"] == 3
    path = f"/v1/communities/{community['id']}/members"
    leaders = (await leader.get(path, params={"role": "leader"})).json()["items"]
    assert [item["member_id"] for item in leaders] == [leader.id]


async def test_who_is_blocked_stays_out_until_unblocked(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner)
    await member.enrol(community)
    refused(await decide(owner, community, member, "unblock"), 409, "membership_refused")
    for _ in range(2):
        assert (await decide(owner, community, member, "block")).json()["state"] == "blocked"
    refused(await join(member, community), 403, "member_blocked")
    refused(await leave(member, community), 403, "member_blocked")
    refused(await member.get(f"/v1/communities/{community['id']}/members"), 403, "member_blocked")
    refused(
        await service.ops("PUT", f"communities/{community['id']}/owner", {"member_id": member.id}),
        409,
        "membership_refused",
    )
    for _ in range(2):
        assert (await decide(owner, community, member, "unblock")).json()["state"] == "left"
    await member.enrol(community)
    assert (await shown(service, community))["member_count"] == 2


async def test_a_profile_shows_what_its_member_chose(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner, purpose="growth")
    await member.enrol(community)
    path = f"/v1/communities/{community['id']}"
    profile = (await owner.get(f"{path}/members/{member.id}")).json()
    assert (profile["name"], profile["bio"], profile["shown"]) == ("m***1", "", {})
    body = {"nickname": "小满", "bio": "喜欢龙井", "shown": list(Shown), "push_wish": "digest"}
    changed = await service.http.patch(f"{path}/membership", json=body, headers=member.headers)
    assert changed.json()["push_wish"] == "digest", changed.text
    profile = (await owner.get(f"{path}/members/{member.id}")).json()
    assert (profile["name"], profile["bio"]) == ("小满", "喜欢龙井")
    assert profile["shown"] == {"joined_day": profile["shown"]["joined_day"], "streak": 0, "trust_level": 0}
    await member.post(f"{path}/posts", {"kind": "check_in"})
    profile = (await owner.get(f"{path}/members/{member.id}")).json()
    assert set(profile["shown"]) == set(Shown)
    assert profile["shown"]["streak"] == 1
    listed = (await owner.get(f"{path}/members")).json()["items"]
    assert {item["name"] for item in listed} == {"小满", "m***0"}
    await service.ops("PATCH", path.removeprefix("/v1/"), {"blocked_words": ["加微信"]})
    for field, words in (("nickname", "加-微-信"), ("bio", "加微信 x7731")):
        blocked = await service.http.patch(f"{path}/membership", json={field: words}, headers=member.headers)
        refused(blocked, 422, "words_blocked")
    assert (await owner.get(f"{path}/members/{member.id}")).json() == profile
    await leave(member, community)
    refused(await owner.get(f"{path}/members/{member.id}"), 404, "membership_not_found")


async def test_members_are_read_page_by_page(service: Service) -> None:
    owner = await service.member()
    community = await service.community(owner)
    members = await service.members(5)
    for member in members:
        await member.enrol(community)
    found: list[str] = []
    after: dict[str, Any] = {}
    for _ in range(3):
        page = (await owner.get(f"/v1/communities/{community['id']}/members", params={"limit": 2} | after)).json()
        found += [item["member_id"] for item in page["items"]]
        after = {"after": page["next"]}
    assert found == sorted((member.id for member in [owner, *members]), reverse=True)
    assert page["next"] is None


async def test_members_are_counted_exactly_when_many_come_and_go_at_once(service: Service) -> None:
    community = await service.community()
    members = await service.members(12)
    await gather_limited(member.enrol(community) for member in members * 3)
    assert (await shown(service, community))["member_count"] == 12
    calls = [leave(member, community) for member in members[:8] * 2]
    calls += [join(member, community) for member in members[4:]]
    await gather_limited(calls)
    async with service.state.database.snapshot() as session:
        rows = (await session.exec(select(Membership).where(Membership.community_id == community["id"]))).all()
    assert (await shown(service, community))["member_count"] == sum(row.state == "active" for row in rows)
    assert await service.violations() == []


async def make_segment(service: Service, *members: Member) -> str:
    async with service.state.database.transaction() as session:
        segment = Segment(name="VIP", kind=SegmentKind.STATIC, rule={}, created_at=service.clock())
        session.add(segment)
        await session.flush()
        session.add_all(SegmentMember(segment_id=segment.id, member_id=member.id) for member in members)
        return segment.id


async def test_a_segment_says_who_may_see_and_who_may_join(service: Service) -> None:
    owner, seer, joiner, stranger = await service.members(4)
    see = await make_segment(service, seer, joiner)
    join_segment = await make_segment(service, joiner)
    community = await service.community(owner, see_segment_id=see, join_segment_id=join_segment)
    path = f"/v1/communities/{community['id']}"
    for look in (stranger.get, service.http.get):
        refused(await look(path), 404, "community_not_found")
    refused(await join(stranger, community), 404, "community_not_found")
    refused(await stranger.get(f"{path}/members"), 404, "community_not_found")
    refused(await stranger.get(f"{path}/membership"), 404, "community_not_found")
    refused(await leave(stranger, community), 404, "community_not_found")
    refused(await stranger.post("/v1/invites", {"community_id": community["id"]}), 404, "community_not_found")
    refused(await join(seer, community), 403, "not_in_audience")
    await joiner.enrol(community)
    refused(await joiner.get(f"{path}/pushes"), 403, "not_allowed")
    draft = (await service.ops("POST", "communities", STATED)).json()
    refused(await leave(stranger, draft), 404, "community_not_found")

    async def listed(member: Member | None) -> bool:
        reply = await (service.http if member is None else member).get("/v1/communities", params={"limit": 1})
        return [item["id"] for item in reply.json()["items"]] == [community["id"]]

    assert [await listed(one) for one in (owner, seer, joiner, stranger, None)] == [True, True, True, False, False]
    mine = (await joiner.get("/v1/members/me/communities")).json()["items"]
    assert [(item["id"], item["membership"]["state"]) for item in mine] == [(community["id"], "active")]
    assert (await stranger.get("/v1/members/me/communities")).json()["items"] == []


async def test_a_paid_membership_is_bought_extended_and_runs_out(service: Service) -> None:
    member = await service.member()
    community = await service.community(**PAID)
    assert community["plan"] == {"price": 1990, "currency": "CNY", "period_days": 30}
    first = await join(member, community, key="first")
    assert first.status_code == 201, first.text
    answer = first.json()
    assert (answer["membership"], answer["order"]["amount"]) == (None, 1990)
    assert (await join(member, community, key="first")).json() == answer
    other = await join(member, community, key="first", invite_code=await invite(member, community))
    refused(other, 422, "idempotency_key_reused")
    await member.pay(answer["order"]["id"])
    await service.work()
    first_until = (await mine(member, community))["paid_until"]
    assert (await shown(service, community))["member_count"] == 1
    await buy_period(member, community)
    row = await mine(member, community)
    assert row["paid_until"] > first_until
    service.clock.advance(58 * DAY)
    await service.work()
    assert len(await notices(service, member, "membership")) == 1, "it runs out soon"
    await service.work()
    assert len(await notices(service, member, "membership")) == 1
    service.clock.advance(3 * DAY)
    await service.work()
    lapsed = await row_of(member, community)
    assert (lapsed.state, lapsed.leave_reason) == ("lapsed", "lapsed")
    assert len(await notices(service, member, "membership")) == 2
    assert (await shown(service, community))["member_count"] == 0
    await buy_period(await log_in_again(member), community)
    assert (await row_of(member, community)).state == "active", "whoever pays is in again"
    assert await service.violations() == []


async def test_money_back_takes_its_period_back(service: Service) -> None:
    member = await service.member()
    community = await service.community(**PAID)
    orders = [await buy_period(member, community) for _ in range(2)]
    long = (await mine(member, community))["paid_until"]
    for order, state in zip(orders, ("active", "lapsed"), strict=True):
        reply = await service.ops("POST", f"orders/{order['id']}/refund", **{"idempotency-key": order["id"]})
        assert reply.status_code == 200, reply.text
        await service.work()
        row = await mine(member, community)
        assert row["state"] == state
        assert row["paid_until"] < long
    assert await service.violations() == []


async def test_who_leaves_comes_back_while_what_was_paid_lasts(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner, **PAID)
    await buy_period(member, community)
    await leave(member, community, "too_expensive")
    answer = (await join(member, community)).json()
    assert (answer["membership"]["state"], answer["order"]) == ("active", None)
    assert (await join(owner, community)).json()["order"] is None, "an owner need not pay"
    await appoint(owner, community, member, "expert")
    service.clock.advance(31 * DAY)
    await service.work()
    assert (await row_of(member, community)).state == "active", "nor who works for it"


async def test_a_plan_is_no_ordinary_sale(service: Service) -> None:
    member = await service.member()
    community = await service.community(**PAID)
    async with service.state.database.snapshot() as session:
        sale_id = (await session.get_one(Community, community["id"])).plan_sale_id
    listed = [
        *(await service.http.get("/v1/sales", params={"community_id": community["id"]})).json()["items"],
        *(await service.ops("GET", f"sales?community_id={community['id']}")).json()["items"],
    ]
    assert listed == []
    offer = (await service.http.get(f"/v1/sales/{sale_id}")).json()["offers"][0]
    entrance = (await member.post(f"/v1/sales/{sale_id}/admission", {})).json()
    body = {"offer_id": offer["id"], "ticket": entrance["ticket"]}
    refused(await member.post(f"/v1/sales/{sale_id}/orders", body), 409, "sale_is_plan")
    refused(await member.post(f"/v1/sales/{sale_id}/entries", {"offer_id": offer["id"]}), 409, "sale_is_plan")


async def test_who_is_blocked_before_paying_pays_in_vain(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner, **PAID)
    await buy_period(member, community)
    order = (await join(member, community)).json()["order"]
    await decide(owner, community, member, "block")
    await service.work()
    assert (await member.order(order["id"]))["state"] == "expired"
    refused(await join(member, community), 403, "member_blocked")
    assert (await mine(member, community))["state"] == "blocked"


async def test_a_flash_community_dissolves_by_itself(service: Service) -> None:
    owner, member, late = await service.members(3)
    closes_at = service.clock() + timedelta(hours=2)
    community = await service.community(owner, lifespan="flash", closes_at=closes_at.isoformat())
    await member.enrol(community)
    sale = await service.sale(**FLASH, list_price=6900, community_id=community["id"])
    bought = (await member.buy(sale)).json()["order"]["id"]
    await member.pay(bought)
    service.clock.advance(3 * 3600)
    await service.work()
    dissolved = await shown(service, community)
    assert dissolved["state"] == "dissolved"
    saved = [{"currency": "CNY", "amount": 2000}]
    assert dissolved["summary"] == {"members": 2, "posts": 0, "orders": 1, "saved": saved}
    for told in (owner, member):
        (text,) = await notices(service, told, "summary")
        assert "¥20.00" in text
        assert "CN¥20.00 saved" in text
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["state"] == "ended"
    refused(await join(late, community), 409, "community_not_open")
    refused(await decide(owner, community, member, "remove"), 409, "community_not_open")
    reply = await service.http.patch(
        f"/v1/communities/{community['id']}", json={"need": "more"}, headers=owner.headers
    )
    refused(reply, 409, "community_not_open")
    assert (await member.get(f"/v1/communities/{community['id']}/members")).status_code == 200, "one reads on"
    draft = await service.sale(publish=False, community_id=community["id"])
    refused(await service.ops("POST", f"sales/{draft.id}/publish"), 409, "community_not_open")
    assert await service.violations() == []
    await service.work()
    assert len(await notices(service, member, "summary")) == 1


async def test_what_was_written_is_erased_where_that_was_the_policy(service: Service) -> None:
    owner, member = await service.members(2)
    terms = {"lifespan": "flash", "closes_at": (service.clock() + timedelta(hours=2)).isoformat()}
    community = await service.community(owner, on_dissolve="erase", **terms)
    kept = await service.community(owner, **terms)
    for one in (community, kept):
        await member.enrol(one)
        path = f"/v1/communities/{one['id']}/membership"
        await service.http.patch(path, json={"nickname": "秘密", "bio": "秘密"}, headers=member.headers)
        async with service.state.database.transaction() as session:
            post = Post(
                community_id=one["id"],
                author_id=member.id,
                kind=PostKind.TEXT,
                body="秘密",
                pictures=["https://a.example/x.jpg"],
                comment_count=1,
                created_at=service.clock(),
                request_key=one["id"],
            )
            session.add(post)
            await session.flush()
            comment = Comment(
                post_id=post.id,
                community_id=one["id"],
                author_id=owner.id,
                body="秘密",
                created_at=service.clock(),
                request_key=one["id"],
            )
            session.add(comment)
            await session.flush()
            session.add(
                Report(
                    community_id=one["id"],
                    subject_id=comment.id,
                    reporter_id=member.id,
                    note="秘密",
                    reason=ReportReason.OTHER,
                    state=ReportState.OPEN,
                    created_at=service.clock(),
                )
            )
        assert (await service.ops("POST", f"communities/{one['id']}/dissolve")).json()["state"] == "dissolved"
    await service.work()
    async with service.state.database.snapshot() as session:
        for one, word, pictures, state in (
            (community, "", 0, "left"),
            (kept, "秘密", 1, "active"),
        ):
            of = {model: model.community_id == one["id"] for model in (Post, Comment, Report, Membership)}
            post = (await session.exec(select(Post).where(of[Post]))).one()
            comment = (await session.exec(select(Comment).where(of[Comment]))).one()
            report = (await session.exec(select(Report).where(of[Report]))).one()
            row = await session.get_one(Membership, (one["id"], member.id))
            said = {post.body, comment.body, report.note, row.nickname, row.bio}
            assert (said, len(post.pictures), row.state) == ({word}, pictures, state)
    assert (await shown(service, community))["member_count"] == 0
    assert len(await notices(service, member, "summary")) == 2
    assert await service.violations() == []


async def test_leaders_edit_their_community(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner)
    await member.enrol(community)
    path = f"/v1/communities/{community['id']}"
    body = {"posting_rules": "只谈茶，不发广告", "blocked_words": ["加微信"], "quiet_from": "21:30"}
    refused(await service.http.patch(path, json=body, headers=member.headers), 403, "not_allowed")
    changed = await service.http.patch(path, json=body, headers=owner.headers)
    assert changed.status_code == 200, changed.text
    assert changed.json()["standing"] == "owner"
    assert {name: changed.json()[name] for name in body} == body
    refused(await service.http.patch(path, json={"need": " "}, headers=owner.headers), 409, "value_unstated")


async def test_a_sale_needs_an_open_community(service: Service) -> None:
    made = (await service.ops("POST", "communities", {"name": "茶友"})).json()
    draft = await service.sale(publish=False, community_id=made["id"])
    refused(await service.ops("POST", f"sales/{draft.id}/publish"), 409, "community_not_open")


@pytest.mark.parametrize("terms", [{"join_mode": "paid"}, {"plan": {"price": 1, "period_days": 1}}])
async def test_a_plan_is_for_paid_communities(service: Service, terms: dict[str, Any]) -> None:
    refused(await service.ops("POST", "communities", {"name": "x", **terms}), 422, "invalid_request")
