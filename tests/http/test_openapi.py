"""The OpenAPI document: valid, complete, and true. Schemathesis tries whatever it allows, and what it forbids."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import schemathesis

from app.routers.problems import status_of
from tests.databases import create_sqlite
from tests.http.refusals import ERRORS
from tests.http.routes import DOCUMENT, DOCUMENTED_ROUTES, JSON_ROUTES, ROUTES, Route
from tests.http.world import DAY, World, build_world, make_endpoints, make_money, write
from tests.service import BARGAIN, FLASH, Member, Sale, Service, running_service

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]
EXAMPLES_PER_OPERATION = 6
LATE, LATER = "2098-12-01T00:00:00Z", "2098-12-02T00:00:00Z"
CANNOT_FAIL = {"livez", "readyz"}
KEYED = {"open_group", "join_group", "buy", "buy_at_bargain", "create_payment", "refund_order"}
KEYED |= {"top_up_budget", "create_payout", "give_tip", "join_community", "create_post", "create_comment"}
KEYED |= {"send_push"}
UNDOCUMENTED = {"create_charge", "query_charge", "close_charge", "refund", "query_refund", "pay_out", "pay_by_form"}
"""The cashier's own addresses, which the service and the page call."""
PAGES = {"show_group_page", "show_sale_page", "return_from_cashier", "log_in", "log_out", "join"}
PAGES |= {"pay_order", "make_own_link", "enrol", "show_link_page", "log_in_by_link"}
"""What people are led to from the page of an invite, or by a link from a chat."""
DOCUMENTATION = {"home", "docs", "openapi", "static"}


@pytest.fixture
async def fuzzed_service(valkey: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A service that anything may be done to."""
    async with running_service(await create_sqlite(tmp_path / "fuzzed.sqlite3"), valkey, tmp_path) as service:
        yield service


async def test_document_is_served(service: Service) -> None:
    reply = await service.http.get("/openapi.json")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == json.loads(json.dumps(DOCUMENT))


def test_document_is_valid() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_route_is_documented() -> None:
    hidden = {route.name for route in ROUTES if route.operation is None}
    assert hidden == UNDOCUMENTED | PAGES | DOCUMENTATION
    documented = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert documented == {(route.method, route.path) for route in DOCUMENTED_ROUTES}


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() and name.islower() for name in names)


@pytest.mark.parametrize("route", DOCUMENTED_ROUTES, ids=str)
def test_operation_is_described(route: Route) -> None:
    operation = route.operation or {}
    assert operation["summary"].strip()
    assert any("\u4e00" <= letter <= "\u9fff" for letter in operation["summary"]), "no Chinese summary"
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    assert len(operation["tags"]) >= 1
    statuses = [int(status) for status in operation["responses"]]
    assert any(200 <= status < 300 for status in statuses)
    if route.name not in CANNOT_FAIL:
        assert any(400 <= status < 500 for status in statuses)
        assert 503 in statuses


@pytest.mark.parametrize("route", DOCUMENTED_ROUTES, ids=str)
def test_documented_errors_exist(route: Route) -> None:
    named = 0
    for status, answer in (route.operation or {})["responses"].items():
        problem = answer.get("content", {}).get("application/problem+json")
        if problem is None:
            assert int(status) < 400 or route.name == "readyz"
            continue
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
        for code, example in problem["examples"].items():
            assert status_of(ERRORS[code]) == int(status)
            assert example["value"] == {
                "type": f"urn:kaituan:{code}",
                "title": ERRORS[code].en,
                "status": int(status),
                "code": code,
            }
            assert f"`{code}`" in answer["description"]
            named += 1
    assert named


def test_security_schemes() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme.get("scheme", scheme.get("in"))) for name, scheme in schemes.items()} == {
        "member": ("http", "bearer"),
        "operator": ("apiKey", "header"),
    }
    for route in DOCUMENTED_ROUTES:
        operator = route.path.startswith("/v1/ops/")
        assert ("operator" in route.schemes) is operator
        assert not (operator and "member" in route.schemes)
        if operator:
            assert {"credentials_missing", "api_key_invalid"} <= route.codes(401)
            assert "scope_missing" in route.codes(403)
        if "member" in route.schemes:
            assert {"token_invalid", "token_expired"} <= route.codes(401)
            for_strangers = {} in (route.operation or {})["security"]
            assert ("credentials_missing" in route.codes(401)) is not for_strangers


def test_idempotency_key_is_shown_as_required() -> None:
    assert {route.name for route in DOCUMENTED_ROUTES if route.needs_key} == KEYED
    for route in DOCUMENTED_ROUTES:
        for parameter in route.parameters:
            if parameter["name"] == "Idempotency-Key":
                assert (parameter["in"], parameter["required"]) == ("header", True)
                assert "idempotency_key_missing" in route.codes(400)


BY_A_GUEST = {"open_group", "join_group", "buy", "enter", "erase_me"}
"""What only a member can do who has nothing yet."""
EXAMPLES = [(route, number) for route in JSON_ROUTES for number in range(len(route.examples))]


@pytest.mark.parametrize(("route", "number"), EXAMPLES, ids=[f"{route} {number}" for route, number in EXAMPLES])
async def test_documented_example_works(world: World, route: Route, number: int) -> None:
    reply = await _try_example(world, route, number)
    if reply.is_client_error:  # another example may have used up what this one needs
        reply = await _try_example(await build_world(world.service), route, number)
    assert reply.is_success, reply.text
    assert str(reply.status_code) in (route.operation or {})["responses"]


async def _try_example(world: World, route: Route, number: int) -> httpx.Response:
    guest = await world.service.member("guest")
    flash = world.special["buy"]
    flash["ticket"] = guest.ticket(Sale(flash["sale_id"], [], {}))
    body = world.filled(route.examples[number], route)
    assert not [value for value in _texts(body) if "019a0c5e7d0a7b3c8f21a4d5e6f70812" in value], body
    headers = guest.headers if route.name in BY_A_GUEST else {}
    return await world.ask(route, json=body, headers=headers)


async def test_schemathesis_finds_no_fault(fuzzed_service: Service, tmp_path: Path) -> None:
    service = fuzzed_service
    config = tmp_path / "schemathesis.toml"
    config.write_text(await _config(service), encoding="utf-8")
    run = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("--no-color", "--config-file", config, "run", f"{service.url}/openapi.json"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await run.communicate()
    text = output.decode()
    assert run.returncode == 0, text
    assert f"Tested: {len(DOCUMENTED_ROUTES)}" in text, text
    await service.tick()
    assert await service.violations() == []


async def _config(service: Service) -> str:
    """What Schemathesis needs to get past the door: credentials, and the ids of things there are."""
    ids = await _things(service)
    member = ids.pop("member")[0]
    lines = [
        "continue-on-failure = true",
        "request-timeout = 20.0",
        "max-stream-events = 3",
        f'headers = {{ "X-API-Key" = "{service.operator_key}", Authorization = "Bearer {member}" }}',
        "[generation]",
        f"deterministic = true\nmax-examples = {EXAMPLES_PER_OPERATION}",
        "[checks]",
        "enabled = false",
        *(f"{check}.enabled = true" for check in CHECKS),
    ]
    for name, values in ids.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    # A long poll would wait for up to half a minute.
    for place in (
        "path.sale_id",
        "path.group_id",
        "path.bargain_id",
        "path.order_id",
        "path.code",
        "path.product_id",
        "path.coupon_id",
        "path.coupon_code",
        "path.token",
        "path.policy_id",
        "path.reward_id",
        "path.payout_id",
        "path.member_id",
        "path.community_id",
        "path.post_id",
        "path.comment_id",
        "path.report_id",
        "path.segment_id",
        "path.endpoint_id",
        "path.delivery",
        "query.offer_id",
        "query.wait",
    ):
        chance = 1.0 if place == "query.wait" else 0.8
        lines.append(_binding(place, place.partition(".")[2], chance))
    for place in ("offer_id", "sale_id", "group_id", "community_id", "offers[*].sku_id", "coupon_code"):
        lines.append(_binding(f"body.{place}", place.rpartition(".")[2], 0.8))
    for operation, place, name in (
        ("end_sale", "path.sale_id", "doomed_sale_id"),
        ("pause_sale", "path.sale_id", "paused_sale_id"),
        ("resume_sale", "path.sale_id", "paused_sale_id"),
        ("publish_sale", "path.sale_id", "draft_sale_id"),
        ("lay_out_slots", "path.sale_id", "flash_draft_id"),
        ("publish_slots", "path.sale_id", "series_id"),
        ("set_reminder", "path.sale_id", "coming_sale_id"),
        ("dissolve_community", "path.community_id", "doomed_community_id"),
        ("cancel_order", "path.order_id", "doomed_order_id"),
        ("ship_order", "path.order_id", "confirmed_order_id"),
        ("complete_order", "path.order_id", "confirmed_order_id"),
        ("refund_order", "path.order_id", "doomed_order_id"),
        # A stream of a group that still runs would stay open.
        ("watch_group", "path.group_id", "final_group_id"),
        ("watch_bargain", "path.bargain_id", "final_bargain_id"),
        ("start_bargain", "path.sale_id", "bargain_sale_id"),
        ("start_bargain", "body.offer_id", "bargain_offer_id"),
    ):
        lines += ["[[operations]]", f'include-operation-id = "{operation}"', "[operations.parameters]"]
        lines.append(_binding(place, name, 1.0 if name.startswith("final_") else 0.8))
    return "\n".join(lines)


def _binding(place: str, name: str, chance: float) -> str:
    return f'"{place}" = {{ dictionary = "{name}", probability = {chance} }}'


def _lasting_token(service: Service, member: Member) -> str:
    """A member's token that names no session, as they were once: so that logging out does not end the test."""
    claims = jwt.decode(member.token, options={"verify_signature": False})
    claims.pop("sid")
    return jwt.encode(claims, service.state.settings.key_for("access token"), "HS256")


async def _things(service: Service) -> dict[str, list[Any]]:
    """Things in every state, by the name of their ids; `member` is the token of the one who ordered them."""
    sale = await service.sale(stocks=[5000], member_limit=100, group_size=2)
    member, friend = await service.member("fuzzer"), await service.member("friend")
    held, paid, doomed, confirmed = [await _order(member, sale) for _ in range(4)]
    for order in (paid, confirmed):
        await member.pay(order["id"])
    joined = (await friend.join(sale, confirmed["group_id"])).json()["order"]
    await friend.pay(joined["id"])
    others = [await _order(friend, sale) for _ in range(3)]
    invite = (await member.post("/v1/invites", {"group_id": others[0]["group_id"]})).json()
    coupon = await service.coupon(total=1000, member_limit=100)
    tokens = [(await member.start_payment(held["id"])).rsplit("/", 1)[-1] for _ in range(3)]
    bargains = await service.sale(**BARGAIN)
    over = (await member.bargain(bargains))["id"]
    await member.pay((await member.buy_at(over)).json()["order"]["id"])
    running = [(await someone.bargain(bargains))["id"] for someone in (member, friend)]
    offered = (await service.http.get(f"/v1/sales/{sale.id}")).json()["offers"][0]
    money = await make_money(service, member)
    community_id = sale.body["community_id"]
    written = await write(service, member, friend, community_id)
    endpoints, sent = await make_endpoints(service)
    return {
        "member": [_lasting_token(service, member)],
        "sale_id": [sale.id],
        "doomed_sale_id": [(await service.sale()).id],
        "paused_sale_id": [(await service.sale()).id],
        "draft_sale_id": [(await service.sale(publish=False)).id],
        "flash_draft_id": [(await service.sale(**FLASH, publish=False)).id],
        "series_id": [await _series(service)],
        "coming_sale_id": [(await service.sale(**FLASH, opens_at=LATE, closes_at=LATER)).id],
        "community_id": [community_id],
        "doomed_community_id": [(await service.community())["id"]],
        "sku_id": [offered["sku_id"]],
        "product_id": [offered["product_id"]],
        "offer_id": [sale.offer],
        "bargain_sale_id": [bargains.id],
        "bargain_offer_id": [bargains.offer],
        "bargain_id": [over, *running],
        "final_bargain_id": [over],
        "final_group_id": [confirmed["group_id"]],
        "group_id": [order["group_id"] for order in (*others, held, confirmed)],
        "order_id": [held["id"], paid["id"], confirmed["id"]],
        "doomed_order_id": [doomed["id"], paid["id"]],
        "confirmed_order_id": [confirmed["id"], joined["id"]],
        "code": [invite["code"]],
        "coupon_id": [coupon["id"]],
        "coupon_code": [coupon["code"]],
        "token": tokens,
        "policy_id": [money["policy_id"]],
        "reward_id": money["rewards"],
        "payout_id": money["payouts"],
        "member_id": [friend.id, member.id],
        **{name: [id_] for name, id_ in written["ids"].items()},
        "segment_id": [await _segment(service)],
        "endpoint_id": endpoints,
        "delivery": [sent],
        "wait": [0],
    }


async def _series(service: Service) -> str:
    draft = await service.sale(**FLASH, publish=False)
    reply = await service.ops("POST", f"sales/{draft.id}/slots", DAY)
    assert reply.status_code == 200, reply.text
    return draft.id


async def _segment(service: Service) -> str:
    rule = {"fact": "orders", "is": "exactly", "value": 0}
    return str((await service.ops("POST", "segments", {"name": "新客", "rule": rule})).json()["id"])


async def _order(member: Member, sale: Any) -> dict[str, Any]:
    reply = await member.open(sale)
    assert reply.status_code == 201, reply.text
    return dict(reply.json()["order"])


def _texts(body: Any) -> list[str]:
    if isinstance(body, dict):
        return [text for value in body.values() for text in _texts(value)]
    if isinstance(body, list):
        return [text for value in body for text in _texts(value)]
    return [body] if isinstance(body, str) else []
