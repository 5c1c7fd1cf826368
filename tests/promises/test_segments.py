"""Segments: counted before they are saved, on a list or by a rule; what is known of members, with their consent."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import col, func, select, update

from app.domain.memberships import MembershipState
from app.domain.segments import BUCKETS, MAX_DEPTH, MAX_PARTS, estimate
from app.models import Cause, CommunityDay, Consent, Facts, Member, Membership, Tag
from app.services import previews, segments
from app.services.facts import count_check_in, fill_buckets
from app.services.transactions import transaction
from tests.promises.money import flash, refund
from tests.service import STATED, Service
from tests.service import Member as Caller

NEW = {"fact": "orders", "is": "exactly", "value": 0}
ME = "/v1/members/me/facts"


async def segment(service: Service, rule: dict[str, Any] | None = None, **terms: Any) -> str:
    """A new segment; returns its id."""
    body = {"name": "人群", **({} if rule is None else {"rule": rule})} | terms
    reply = await service.ops("POST", "segments", body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


async def fits(service: Service, segment_id: str, member: Caller) -> bool:
    async with service.state.database.snapshot() as session:
        return await segments.fits(session, segment_id, member.id, service.clock())


async def put(member: Caller, body: dict[str, Any]) -> Any:
    return await member.service.http.put(ME, json=body, headers=member.headers)


async def check_in(service: Service, member: Caller, *, night: bool) -> None:
    """What the transaction of a check-in does."""
    async with transaction(service.state, service.clock()) as work:
        await count_check_in(work, member.id, night=night)


async def kept(member: Caller) -> dict[str, Any]:
    return dict((await member.get(ME)).json())


async def everybody(service: Service, segment_id: str, limit: int = 3) -> list[str]:
    """The members of a segment, page by page."""
    found: list[str] = []
    after = ""
    while True:
        page = (await service.ops("GET", f"segments/{segment_id}/members?limit={limit}{after}")).json()
        found += [item["member_id"] for item in page["items"]]
        assert len(page["items"]) <= limit
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def test_what_is_known_follows_orders_and_refunds(service: Service) -> None:
    sale = await flash(service)
    member = await service.member()
    orders = [(await member.buy(sale)).json()["order"]["id"] for _ in range(2)]
    assert (await kept(member))["orders"] == 0, "an order that is not paid is none"
    for order_id in orders:
        await member.pay(order_id)
    await service.work()
    known = await kept(member)
    assert (known["orders"], known["spent"]) == (2, 9800)
    assert known["first_order_at"] < known["last_order_at"]
    await refund(service, orders[0])
    known = await kept(member)
    assert (known["orders"], known["spent"]) == (1, 4900)
    assert known["first_order_at"] == known["last_order_at"]
    await refund(service, orders[1])
    known = await kept(member)
    assert (known["orders"], known["spent"], known["first_order_at"]) == (0, 0, None)
    async with service.state.database.snapshot() as session:
        days = await session.exec(
            select(CommunityDay.version).where(CommunityDay.community_id == sale.body["community_id"])
        )
        assert days.one() >= 3, "the day the orders were paid on is counted again"
        behind = await session.exec(select(func.count()).where(col(Cause.counted) < Cause.version))
        assert behind.one() == 0


async def test_a_gap_and_another_currency_are_not_spent(service: Service) -> None:
    ladder = await service.sale(group_size=2, min_size=1, ladder=[(2, 4000)])
    abroad = await flash(service, currency="EUR")
    member, friend = await service.members(2)
    opened = (await member.open(ladder)).json()
    joined = (await friend.join(ladder, opened["group"]["id"])).json()
    await member.pay(opened["order"]["id"])
    await friend.pay(joined["order"]["id"])
    await member.pay((await member.buy(abroad)).json()["order"]["id"])
    await service.work()
    known = await kept(member)
    assert (known["orders"], known["spent"]) == (2, 4000)


async def test_four_segments_as_facts_change(service: Service) -> None:
    new = await segment(service, NEW)
    vip = await segment(service, {"fact": "spent", "is": "at_least", "value": 9000})
    phone = await segment(service, {"fact": "device", "is": "one_of", "value": ["phone"]})
    night = await segment(
        service,
        {
            "all": [
                {"fact": "night_check_ins", "is": "at_least", "value": 2},
                {"fact": "night_share", "is": "at_least", "value": 50},
            ]
        },
    )
    sale, member = await flash(service), await service.member()

    async def fit() -> tuple[bool, ...]:
        return tuple([await fits(service, id_, member) for id_ in (new, vip, phone, night)])

    assert await fit() == (True, False, False, False)
    order_id = (await member.buy(sale, quantity=2)).json()["order"]["id"]
    await member.pay(order_id)
    await service.work()
    assert await fit() == (False, True, False, False)
    await put(member, {"consents": ["device"], "device": "phone"})
    for is_night in (False, True, True):
        assert not await fits(service, night, member)
        await check_in(service, member, night=is_night)
    assert await fit() == (False, True, True, True)
    await refund(service, order_id)
    await member.service.http.delete(ME, headers=member.headers)
    for _ in range(2):
        await check_in(service, member, night=False)
    assert await fit() == (True, False, False, False)


async def test_a_list_stays_and_a_rule_is_asked_anew(service: Service) -> None:
    mark = f"marked {uuid4().hex[:8]}"
    rule = {"fact": "tag", "is": "one_of", "value": [mark]}
    members = await service.members(5)
    for member in members:
        await put(member, {"consents": ["tags"]})
    for member in members[:4]:
        tagged = await service.ops("PUT", f"members/{member.id}/tags", {"tags": [mark]})
        assert tagged.json()["tags"] == [mark]
    fixed, moving = await segment(service, rule, kind="static"), await segment(service, rule)
    named = await segment(service, kind="static", member_ids=[members[4].id, members[0].id])
    await service.ops("PUT", f"members/{members[0].id}/tags", {"tags": []})
    await service.ops("PUT", f"members/{members[4].id}/tags", {"tags": [mark, mark]})
    ids = [member.id for member in members]
    assert await everybody(service, fixed) == sorted(ids[:4], reverse=True)
    assert await everybody(service, moving) == sorted(ids[1:], reverse=True)
    assert await everybody(service, named) == sorted([ids[0], ids[4]], reverse=True)
    assert [await fits(service, fixed, member) for member in members] == [True] * 4 + [False]
    assert [await fits(service, moving, member) for member in members] == [False] + [True] * 4
    assert [await fits(service, named, member) for member in members] == [True, False, False, False, True]
    assert [(await service.ops("GET", f"segments/{id_}")).json()["listed"] for id_ in (fixed, moving, named)] == [
        *(4, None, 2)
    ]
    shown = (await service.ops("GET", f"segments/{named}")).json()
    assert shown["words"] == {"en": "those on a list", "zh": "名单内的成员"}


async def test_a_page_that_finds_nobody_leads_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LOOKED_AT", 2)
    members = await service.members(6)
    await put(members[1], {"consents": ["city"], "city": f"城{uuid4().hex[:8]}"})
    city = (await kept(members[1]))["consented"][1]["value"]
    rule = {"fact": "city", "is": "one_of", "value": [city]}
    assert await everybody(service, await segment(service, rule), limit=2) == [members[1].id]
    every = await segment(service, kind="static", member_ids=[member.id for member in members])
    assert await everybody(service, every, limit=1) == sorted((one.id for one in members), reverse=True)


async def test_a_segment_is_deleted_or_used_but_not_both(service: Service) -> None:
    for _ in range(10):
        id_ = await segment(service, NEW)
        made, gone = await asyncio.gather(
            service.ops("POST", "communities", STATED | {"see_segment_id": id_}),
            service.ops("DELETE", f"segments/{id_}"),
        )
        assert (made.status_code, gone.status_code) in {(201, 409), (404, 204)}, (made.text, gone.text)


async def test_a_segment_in_use_stays(service: Service) -> None:
    by_community, by_sale, unused = [await segment(service, NEW) for _ in range(3)]
    await service.community(buy_segment_id=by_community)
    await service.sale(publish=False, segment_ids=[by_sale])
    for id_ in (by_community, by_sale):
        reply = await service.ops("DELETE", f"segments/{id_}")
        assert (reply.status_code, reply.json()["code"]) == (409, "segment_in_use")
        assert (await service.ops("GET", f"segments/{id_}")).status_code == 200
    assert (await service.ops("DELETE", f"segments/{unused}")).status_code == 204
    assert (await service.ops("DELETE", f"segments/{unused}")).json()["code"] == "segment_not_found"
    listed = await segment(service, kind="static", member_ids=[(await service.member()).id])
    assert (await service.ops("DELETE", f"segments/{listed}")).status_code == 204


async def test_a_preview_counts_before_saving(service: Service) -> None:
    community, other = await service.community(), await service.community()
    members = await service.members(7)
    for member in members[:5]:
        await member.enrol(community)
    await members[0].enrol(other)
    rule = {"all": [NEW, {"fact": "community", "is": "one_of", "value": [community["id"]]}]}
    seen = (await service.ops("POST", "segment-previews", {"rule": rule})).json()
    assert (seen["exact"], seen["members"]) == (True, {"count": 5, "low": 5, "high": 5})
    assert [(one["community_id"], one["count"]) for one in seen["communities"]] == [
        *((community["id"], 5), (other["id"], 1))
    ]
    assert seen["words"]["zh"] == "有效订单数等于0且所属社群为茶友"
    assert len(seen["examples"]) == 5
    assert all("*" in example["name"] for example in seen["examples"])
    inside = {"rule": {"not": rule}, "community_id": other["id"]}
    seen = (await service.ops("POST", "segment-previews", inside)).json()
    assert (seen["looked_at"], seen["members"]["count"]) == (1, 0)


async def test_a_preview_of_many_looks_at_a_sample(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the first buckets; the range holds the true number."""
    await fill_buckets(service.state, service.clock())
    community = await service.community()
    async with service.state.database.transaction() as session:
        for number in range(BUCKETS // 8):
            id_ = f"mem_{uuid4().hex[:29]}{number * 8:03x}"
            session.add(Member(id=id_, name="张三", created_at=service.clock()))
            await session.flush()
            session.add(
                Membership(
                    community_id=community["id"],
                    member_id=id_,
                    state=MembershipState.ACTIVE,
                    joined_at=service.clock(),
                )
            )
            if number % 4 == 0:
                session.add(Facts(member_id=id_, orders=1))
    body = {"rule": {"fact": "orders", "is": "at_least", "value": 1}, "community_id": community["id"]}
    exact = (await service.ops("POST", "segment-previews", body)).json()
    assert (exact["exact"], exact["members"]["count"]) == (True, 128)
    monkeypatch.setattr(previews, "EXACT_UP_TO", 100)
    monkeypatch.setattr(previews, "SAMPLED", 128)
    sampled = (await service.ops("POST", "segment-previews", body)).json()
    assert (sampled["exact"], sampled["looked_at"]) == (False, 128)
    assert sampled["members"]["low"] < 128 < sampled["members"]["high"]
    assert sampled["members"]["count"] == 128
    everybody_ = (await service.ops("POST", "segment-previews", {"rule": body["rule"]})).json()
    assert everybody_["looked_at"] >= 128
    assert estimate(0, 100, 1).high > 0


async def test_rows_written_past_us_get_their_bucket(service: Service) -> None:
    member = await service.member()
    async with service.state.database.transaction() as session:
        await session.exec(update(Member).where(col(Member.id) == member.id).values(bucket=None))
    assert await fill_buckets(service.state, service.clock()) >= 1
    async with service.state.database.snapshot() as session:
        assert (await session.get_one(Member, member.id)).bucket == member.id[-3:]


async def test_nothing_is_kept_without_consent(service: Service) -> None:
    member = await service.member()
    for fact, value in (("device", "phone"), ("city", "杭州"), ("own_tags", ["夜跑"])):
        refused = await put(member, {fact: value})
        assert (refused.status_code, refused.json()["code"], refused.json()["fact"]) == (
            409,
            "consent_missing",
            fact,
        )
    tagged = await service.ops("PUT", f"members/{member.id}/tags", {"tags": ["老客"]})
    assert (tagged.status_code, tagged.json()["code"]) == (409, "consent_missing")
    agreed = {
        "consents": ["device", "city", "own_tags", "tags"],
        "device": "phone",
        "city": "杭州",
        "own_tags": ["夜跑"],
    }
    assert (await put(member, agreed)).status_code == 200
    assert (await service.ops("PUT", f"members/{member.id}/tags", {"tags": ["老客"]})).status_code == 200
    shown = {one["fact"]: one["value"] for one in (await kept(member))["consented"]}
    assert shown == {"device": "phone", "city": "杭州", "own_tags": ["夜跑"], "tags": ["老客"]}
    assert (await put(member, {"consents": ["city", "tags"]})).status_code == 200
    shown = {one["fact"]: one["value"] for one in (await kept(member))["consented"]}
    assert shown == {"device": None, "city": "杭州", "own_tags": [], "tags": ["老客"]}
    assert (await service.http.delete(ME, headers=member.headers)).status_code == 204
    shown = {one["fact"]: one["value"] for one in (await kept(member))["consented"]}
    assert shown == {"device": None, "city": None, "own_tags": [], "tags": []}
    async with service.state.database.snapshot() as session:
        for model in (Consent, Tag):
            rows = await session.exec(select(func.count()).where(model.member_id == member.id))
            assert rows.one() == 0


async def test_the_browser_tells_the_device_of_who_agreed(service: Service) -> None:
    phone = {"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) MicroMessenger/8.0"}
    code = uuid4().hex

    async def log_in() -> Caller:
        body = {"provider": "dev", "code": code}
        session = (await service.http.post("/v1/sessions", json=body, headers=phone)).json()
        return Caller(service, session["member"]["id"], code, session["access_token"])

    member = await log_in()
    assert (await kept(member))["consented"][0]["value"] is None
    await put(member, {"consents": ["device"]})
    await log_in()
    assert (await kept(member))["consented"][0]["value"] == "phone"
    await put(member, {"consents": []})
    await log_in()
    assert (await kept(member))["consented"][0]["value"] is None


DEEP: Any = NEW
for _ in range(MAX_DEPTH):
    DEEP = {"not": DEEP}
BAD_RULES: list[tuple[Any, str]] = [
    ({}, "rule"),
    ({"all": []}, "rule"),
    ({"all": {}}, "rule"),
    ({"all": [NEW], "any": [NEW]}, "rule"),
    ({"not": NEW, "note": "x"}, "rule"),
    ({"all": [NEW, 7]}, "rule.all[1]"),
    ({"any": [{"not": None}]}, "rule.any[0].not"),
    ({"fact": "orders; DROP TABLE facts", "is": "exactly", "value": 0}, "rule.fact"),
    ({"fact": ["orders"], "is": "exactly", "value": 0}, "rule.fact"),
    ({"fact": "orders", "is": "one_of", "value": [0]}, "rule.is"),
    ({"fact": "city", "is": "at_least", "value": "杭州"}, "rule.is"),
    ({"fact": "orders", "is": {}, "value": 0}, "rule.is"),
    *(
        ({"not": {"fact": "spent", "is": "at_least", "value": value}}, "rule.not.value")
        for value in (*(-1, 10**13, 1.5, True, None, "0", "0 OR 1=1", [0], {"a": 1}),)
    ),
    *(({"fact": "city", "is": "one_of", "value": value}, "rule.value") for value in ([], "杭州", None, ["x"] * 51)),
    *(
        ({"fact": "city", "is": "one_of", "value": [value]}, "rule.value[0]")
        for value in (*("", " x", "x" * 61, "a\x00b", "\ud800", 7, None, ["x"]),)
    ),
    ({"fact": "device", "is": "one_of", "value": ["phone", "toaster"]}, "rule.value[1]"),
    ({"fact": "tag", "is": "one_of", "value": ["x" * 31]}, "rule.value[0]"),
    ({"fact": "community", "is": "one_of", "value": ["com_' OR 1=1 --"]}, "rule.value[0]"),
    (DEEP, "rule" + ".not" * MAX_DEPTH),
    ({"all": [NEW] * MAX_PARTS}, f"rule.all[{MAX_PARTS - 1}]"),
]


async def test_bad_rules_are_refused_where_they_are_bad(service: Service) -> None:
    headers = service.operator | {"content-type": "application/json"}
    for rule, path in BAD_RULES:
        for address, more in (("segments", {"name": "x"}), ("segment-previews", {})):
            content = json.dumps({"rule": rule} | more)  # escapes what no UTF-8 can hold
            reply = await service.http.post(f"/v1/ops/{address}", content=content, headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (422, "invalid_terms"), rule
            assert reply.json()["field"] == path
    nowhere = {"fact": "community", "is": "one_of", "value": [f"com_{'0' * 32}"]}
    for address, more in (("segments", {"name": "x"}), ("segment-previews", {})):
        reply = await service.ops("POST", address, {"rule": nowhere} | more)
        assert reply.json()["code"] == "community_not_found"


async def test_the_largest_rule_is_asked_and_a_larger_body_is_not_read(service: Service) -> None:
    words = [f"{number:060}" for number in range(50)]
    many = {"any": [{"fact": "city", "is": "one_of", "value": words}] * (MAX_PARTS - 1)}
    assert (await service.ops("POST", "segment-previews", {"rule": many})).json()["code"] == "body_too_large"
    short = {"any": [{"fact": "tag", "is": "one_of", "value": words[0][:20].split()}] * (MAX_PARTS - 1)}
    seen = (await service.ops("POST", "segment-previews", {"rule": short})).json()
    assert seen["members"]["count"] == 0


async def test_a_segment_is_either_a_rule_or_a_list(service: Service) -> None:
    member = await service.member()
    for body, code in (
        ({}, "invalid_terms"),
        ({"rule": NEW, "kind": "static", "member_ids": [member.id]}, "invalid_terms"),
        ({"member_ids": [member.id]}, "invalid_terms"),
        ({"kind": "static", "member_ids": [f"mem_{'0' * 32}"]}, "member_not_found"),
        ({"kind": "static", "member_ids": []}, "invalid_request"),
    ):
        assert (await service.ops("POST", "segments", {"name": "x"} | body)).json()["code"] == code
