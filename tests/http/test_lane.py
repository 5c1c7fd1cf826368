"""The fast lane and the declared routes give the same answers; and what can be served in the lane is."""

import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.main import create_app
from app.routers.lane import Lane
from app.schemas.groups import ClaimAnswer, GroupPublic
from app.schemas.sales import SalePublic
from tests.service import FLASH, Member, Sale, Service

IDS = re.compile(r"(mem|ord|grp)_[0-9a-f]{32}")
KEY = {"idempotency-key": "twice"}
TIMES = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")


@dataclass(slots=True)
class Doors:
    """The service by two doors: through the lane, and by the declared routes alone."""

    service: Service
    lane: httpx.AsyncClient
    declared: httpx.AsyncClient
    passed_on: list[str]
    """What the lane left to the declared routes."""

    async def both(self, method: str, path: str, **request: Any) -> tuple[httpx.Response, httpx.Response]:
        """The same request by both doors."""
        return await self.lane.request(method, path, **request), await self.declared.request(
            method, path, **request
        )


@pytest.fixture
async def doors(service: Service) -> AsyncIterator[Doors]:
    passed_on: list[str] = []

    def with_state(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = {"kaituan": service.state}
            await app(scope, receive, send)

        return call

    declared = with_state(create_app(service.state.settings, service.state))

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        passed_on.append(f"{scope['method']} {scope['path']}")
        await declared(scope, receive, send)

    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(with_state(Lane(noted))), base_url="http://lane") as lane,
        httpx.AsyncClient(transport=httpx.ASGITransport(declared), base_url="http://lane") as plain,
    ):
        yield Doors(service, lane, plain, passed_on)


def said(reply: httpx.Response) -> tuple[int, dict[str, str], str]:
    """An answer, but for the ids and moments that differ from one claim to the next."""
    headers = {name: value for name, value in reply.headers.items() if name != "etag"}
    return reply.status_code, headers, TIMES.sub("<time>", IDS.sub("<id>", reply.text))


def claim_headers(member: Member, **more: str) -> dict[str, str]:
    return member.headers | {"idempotency-key": uuid4().hex, "content-type": "application/json"} | more


async def test_claims_are_answered_alike(doors: Doors) -> None:
    sale = await doors.service.sale(stocks=[4], group_size=2)
    body = {"offer_id": sale.offer, "quantity": 1}
    groups = []
    answers = []
    for door in (doors.lane, doors.declared):
        leader, friend = await doors.service.members(2)
        opened = await door.post(f"/v1/sales/{sale.id}/groups", json=body, headers=claim_headers(leader))
        groups.append(opened.json()["group"]["id"])
        joined = await door.post(f"/v1/groups/{groups[-1]}/seats", json=body, headers=claim_headers(friend))
        answers.append((said(opened), said(joined)))
        for reply in (opened, joined):
            answer = ClaimAnswer.model_validate_json(reply.content)
            assert answer.model_dump_json() == reply.text, "as the documented model would write it"
        assert joined.json()["group"]["state"] == "filled"
    assert answers[0] == answers[1]
    assert [answer[0] for answer in answers[0]] == [201, 201]
    assert doors.passed_on == []


async def test_refusals_are_answered_alike(doors: Doors) -> None:
    service = doors.service
    sale = await service.sale(stocks=[2], group_size=2, member_limit=1)
    paused = await service.sale()
    await service.ops("POST", f"sales/{paused.id}/pause")
    member, stranger = await service.members(2)
    group_id = (await member.open(sale, key="mine")).json()["group"]["id"]
    await (await service.member()).join(sale, group_id)
    nowhere = f"off_{'0' * 32}"
    requests = [
        (f"/v1/sales/{sale.id}/groups", stranger, {"offer_id": sale.offer}),
        (f"/v1/sales/{sale.id}/groups", member, {"offer_id": sale.offer}),
        (f"/v1/sales/{sale.id}/groups", stranger, {"offer_id": sale.offer, "quantity": 9}),
        (f"/v1/sales/{sale.id}/groups", stranger, {"offer_id": nowhere}),
        (f"/v1/sales/{sale.id}/groups", stranger, {"offer_id": sale.offer, "invite_code": "0" * 10}),
        (f"/v1/sales/sal_{'0' * 32}/groups", stranger, {"offer_id": sale.offer}),
        (f"/v1/sales/{paused.id}/groups", stranger, {"offer_id": paused.offer}),
        (f"/v1/groups/{group_id}/seats", stranger, {"offer_id": sale.offer}),
        (f"/v1/groups/{group_id}/seats", member, {"offer_id": sale.offer}),
        (f"/v1/groups/grp_{'0' * 32}/seats", stranger, {"offer_id": sale.offer}),
    ]
    codes = []
    for path, claimant, body in requests:
        for language in ("en", "zh-CN,en;q=0.5"):
            headers = claim_headers(claimant, **{"accept-language": language})
            lane, declared = await doors.both("POST", path, json=body, headers=headers)
            assert said(lane) == said(declared)
        codes.append(lane.json()["code"])
    assert codes == [
        *("sold_out", "member_limit", "order_limit", "offer_not_found", "invite_not_found", "sale_not_found"),
        *("sale_paused", "group_full", "already_in_group", "group_not_found"),
    ]
    reused = claim_headers(member) | {"idempotency-key": "mine"}
    lane, declared = await doors.both("POST", requests[0][0], json={"offer_id": nowhere}, headers=reused)
    assert said(lane) == said(declared)
    assert doors.passed_on == []


async def test_members_only_is_said_alike(doors: Doors) -> None:
    service = doors.service
    new = {"name": "新客", "rule": {"fact": "orders", "is": "exactly", "value": 0}}
    never = {"name": "无人", "rule": {"all": [new["rule"], {"fact": "spent", "is": "at_least", "value": 1}]}}
    segments = [(await service.ops("POST", "segments", body)).json()["id"] for body in (new, never)]
    community = await service.community()
    only: dict[str, Any] = {"community_id": community["id"], "members_only": True}
    inside, stranger = await service.members(2)
    await inside.enrol(community)
    group = await service.sale(**only, group_size=2)
    group_id = (await inside.open(group)).json()["group"]["id"]
    flash = [
        await service.sale(**FLASH, **only),
        await service.sale(**FLASH, segment_ids=segments[:1]),
        await service.sale(**FLASH, segment_ids=segments[1:]),
    ]
    asked: list[tuple[str, Sale, dict[str, str]]]
    asked = [(f"/v1/sales/{group.id}/groups", group, {}), (f"/v1/groups/{group_id}/seats", group, {})]
    asked += [(f"/v1/sales/{sale.id}/orders", sale, {"ticket": stranger.ticket(sale)}) for sale in flash]
    codes = []
    for path, sale, more in asked:
        body = {"offer_id": sale.offer} | more
        lane, declared = await doors.both("POST", path, json=body, headers=claim_headers(stranger, **KEY))
        assert said(lane) == said(declared)
        codes.append(lane.json().get("code"))
    assert codes == ["members_only", "members_only", "members_only", None, "not_in_segment"]
    for sale in flash:
        headers = stranger.headers | {"content-type": "application/json"}
        lane, declared = await doors.both("POST", f"/v1/sales/{sale.id}/admission", json={}, headers=headers)
        assert said(lane) == said(declared)
    assert doors.passed_on == []


async def test_flash_claims_are_answered_alike(doors: Doors) -> None:
    sale = await doors.service.sale(stocks=[5], **FLASH)
    path, answers = f"/v1/sales/{sale.id}/orders", []
    for door in (doors.lane, doors.declared):
        member, friend = await doors.service.members(2)
        ticket = member.ticket(sale)
        tickets = (ticket, ticket, None, friend.ticket(sale), "text", ticket[:-4] + "AAAA")
        replies = []
        for sent in tickets:
            body = {"offer_id": sale.offer, "ticket": sent}
            replies.append(said(await door.post(path, json=body, headers=claim_headers(member))))
        answers.append(replies)
    assert answers[0] == answers[1]
    assert [status for status, _, _ in answers[0]] == [201, 403, 403, 403, 403, 403]
    codes = [json.loads(text)["code"] for _, _, text in answers[0][1:]]
    assert codes == ["ticket_used", "ticket_missing", "ticket_mismatch", "ticket_invalid", "ticket_invalid"]
    assert doors.passed_on == []


async def test_the_entrance_is_the_same_at_both_doors(doors: Doors) -> None:
    service = doors.service
    opens_at = (service.clock() + timedelta(hours=1)).isoformat()
    waiting = await service.sale(
        **FLASH, opens_at=opens_at, admission={"admit_per_second": 1, "proof_of_work": 1000}
    )
    open_, sold = await service.sale(**FLASH), await service.sale(stocks=[1], **FLASH)
    limited, group = await service.sale(**FLASH, admission={"per_device": 1}), await service.sale()
    assert (await (await service.member()).buy(sold)).status_code == 201
    member = await service.member()
    for sale in (waiting, open_, sold, limited, group, Sale(f"sal_{'0' * 32}", [], {})):
        path, headers = f"/v1/sales/{sale.id}/admission", member.headers | {"content-type": "application/json"}
        for body in ({}, {"device": "one"}, {"proof": "e30="}):
            lane, declared = await doors.both("POST", path, json=body, headers=headers)
            assert said(lane) == said(declared)
        for query in ("", "?wait=0", "?wait=7" if sale is open_ else ""):
            lane, declared = await doors.both("GET", path + query, headers=headers)
            assert said(lane) == said(declared)
    assert doors.passed_on == []
    path = f"/v1/sales/{open_.id}/admission"
    for query in ("?wait=31", "?wait=x", "?wait=1&wait=2", "?wait=0.5", "?after=1"):
        lane, declared = await doors.both("GET", path + query, headers=member.headers)
        assert said(lane) == said(declared)
    for content, more in ((b"{", {}), (b'{"device": ""}', {}), (b"{}", {"authorization": "Bearer x"}), (b"", {})):
        sent = member.headers | {"content-type": "application/json"} | more
        lane, declared = await doors.both("POST", path, content=content, headers=sent)
        assert said(lane) == said(declared)
        assert lane.status_code in {401, 422}
    assert len(doors.passed_on) == 9


async def test_doubtful_forms_are_left_to_the_declared_route(doors: Doors) -> None:
    sale = await doors.service.sale(stocks=[5])
    member = await doors.service.member()
    good = claim_headers(member)
    path = f"/v1/sales/{sale.id}/groups"
    body = json.dumps({"offer_id": sale.offer}).encode()
    forms: list[tuple[str, dict[str, str], bytes]] = [
        (path, {**good, "content-type": "text/plain"}, body),
        (path, {name: value for name, value in good.items() if name != "content-type"}, body),
        (path, {name: value for name, value in good.items() if name != "idempotency-key"}, body),
        (path, {**good, "idempotency-key": "with space"}, body),
        (path, {**good, "idempotency-key": "k" * 129}, body),
        (path, {name: value for name, value in good.items() if name != "authorization"}, body),
        (path, {**good, "authorization": "Basic abc"}, body),
        (path, {**good, "authorization": member.headers["authorization"] + "x"}, body),
        (path, good, b""),
        (path, good, b"{"),
        (path, good, b'{"offer_id": "' + b"x" * 5000 + b'"}'),
        (path, good, body[:-1] + b', "quantity": 1e400}'),
        (path, good, body[:-1] + b', "more": 1}'),
        (path, good, b"\xff\xfe"),
        (f"/v1/sales/{sale.id.upper()}/groups", good, body),
        (f"/v1/sales/{sale.id}/groups/", good, body),
        (f"/v1/sales/sal_{'0' * 31}/groups", good, body),
    ]
    for path_, headers, content in forms:
        lane, declared = await doors.both("POST", path_, content=content, headers=headers)
        assert said(lane) == said(declared)
        assert 400 <= lane.status_code < 500
    assert len(doors.passed_on) == len(forms)
    assert await doors.service.left(sale) == [5]


async def test_bodies_at_random_are_judged_alike(doors: Doors) -> None:
    """Both doors accept and refuse the same bodies; what is accepted says so by a refusal of the sale."""
    sale = await doors.service.sale(publish=False)
    member = await doors.service.member()
    chance = random.Random(20261112)
    values = [
        *(f'"{sale.offer}"', '"off_"', '""', "null", "true", "0", "1", "1.0", "1e0", "-1", "100", "101", '"1"'),
        *("[]", "{}", "NaN", "Infinity", '"abcdefgh"', '"abc defgh"', '"\\ud800abcdefgh"', '"abcdefgh\\n"', "01"),
    ]
    names = ["offer_id", "offer_id", "quantity", "invite_code", "ticket", "other"]
    seen = set()
    for _ in range(400):
        fields = [f'"{chance.choice(names)}": {chance.choice(values)}' for _ in range(chance.randint(0, 3))]
        if chance.random() < 0.5:
            fields.append(f'"offer_id": "{sale.offer}"')
        content = ("{" + ", ".join(fields) + "}").encode(chance.choice(["utf-8", "utf-8", "utf-8", "utf-16"]))
        lane, declared = await doors.both(
            "POST", f"/v1/sales/{sale.id}/groups", content=content, headers=claim_headers(member)
        )
        assert said(lane) == said(declared), content
        seen.add(lane.json()["code"])
    assert {"invalid_request", "sale_not_found"} <= seen


@pytest.mark.parametrize("inside", [True, False])
async def test_views_are_shown_alike(doors: Doors, *, inside: bool) -> None:
    sale = await doors.service.sale()
    leader, stranger = await doors.service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    viewer = leader if inside else stranger
    for path, model in ((f"/v1/groups/{group_id}", GroupPublic), (f"/v1/sales/{sale.id}", SalePublic)):
        for headers in (viewer.headers, {}):
            lane, declared = await doors.both("GET", path, headers=headers)
            assert (lane.status_code, lane.text) == (200, declared.text)
            assert lane.headers == declared.headers
            assert model.model_validate_json(lane.content).model_dump_json() == lane.text
            for tags in (lane.headers["etag"], f'"other", W/{lane.headers["etag"]}', "*"):
                kept, kept_too = await doors.both("GET", path, headers=headers | {"if-none-match": tags})
                assert (kept.status_code, kept.content, kept.headers) == (304, b"", kept_too.headers)
                assert kept_too.status_code == 304
            other, other_too = await doors.both("GET", path, headers=headers | {"if-none-match": '"other"'})
            assert said(other) == said(other_too)
            assert other.status_code == 200
    assert doors.passed_on == []
    for path in (f"/v1/groups/grp_{'0' * 32}", f"/v1/sales/sal_{'0' * 32}"):
        lane, declared = await doors.both("GET", path)
        assert said(lane) == said(declared)
        assert lane.status_code == 404
    assert doors.passed_on == []
    lane, declared = await doors.both("GET", f"/v1/groups/{group_id}", headers={"authorization": "Bearer x"})
    assert said(lane) == said(declared)
    assert lane.status_code == 401
    assert len(doors.passed_on) == 1


async def test_a_view_follows_every_change_at_once(service: Service) -> None:
    sale = await service.sale(stocks=[9], group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    group_id = opened["group"]["id"]
    tags = [(await leader.get(f"/v1/groups/{group_id}")).headers["etag"]]

    async def seen() -> tuple[str, int, int]:
        reply = await leader.get(f"/v1/groups/{group_id}")
        assert reply.headers["etag"] != tags[-1]
        tags.append(reply.headers["etag"])
        return reply.json()["state"], reply.json()["held"], reply.json()["paid"]

    joined = (await friend.join(sale, group_id)).json()
    assert await seen() == ("filled", 2, 0)
    await friend.post(f"/v1/orders/{joined['order']['id']}/cancel")
    assert await seen() == ("open", 1, 0)
    await leader.pay(opened["order"]["id"])
    assert await seen() == ("open", 0, 1)
    assert await service.left(sale) == [8]
    await service.ops("PATCH", f"sales/{sale.id}", {"title": "新标题"})
    assert (await service.http.get(f"/v1/sales/{sale.id}")).json()["title"] == "新标题"


@pytest.mark.parametrize("door", ["lane", "declared"])
async def test_claims_are_limited(doors: Doors, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.limiting import Limiter  # noqa: PLC0415

    monkeypatch.setattr(doors.service.state, "member_claims", Limiter(0.001, burst=2))
    client = doors.lane if door == "lane" else doors.declared
    sale = await doors.service.sale(member_limit=100)
    one, another = await doors.service.members(2)

    async def claim(member: Member) -> httpx.Response:
        body = {"offer_id": sale.offer}
        return await client.post(f"/v1/sales/{sale.id}/groups", json=body, headers=claim_headers(member))

    replies = [await claim(one) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [201, 201, 429]
    assert [reply.headers["ratelimit-remaining"] for reply in replies] == ["1", "0", "0"]
    assert [reply.headers["ratelimit-limit"] for reply in replies] == ["2"] * 3
    problem = replies[2].json()
    assert (problem["code"], replies[2].headers["retry-after"]) == (
        "rate_limited",
        str(problem["retry_after_seconds"]),
    )
    assert (await claim(another)).status_code == 201, "another member is not the one"
    assert await doors.service.left(sale) == [97]
    await doors.service.ops("POST", f"sales/{sale.id}/pause")
    refused = await claim(another)
    assert (refused.json()["code"], refused.headers["ratelimit-remaining"]) == ("sale_paused", "0")
    await doors.service.ops("POST", f"sales/{sale.id}/resume")
    monkeypatch.setattr(doors.service.state, "address_claims", Limiter(0.001, burst=1))
    assert [(await claim(member)).status_code for member in await doors.service.members(2)] == [201, 429]
