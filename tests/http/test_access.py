"""Who may do what: every route with every kind of credential that is not good enough."""

import asyncio
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.warnings import InsecureKeyLengthWarning

from app.domain.keys import build_key
from app.domain.operators import Scope
from app.services.operators import create_key, list_keys, revoke_key
from app.services.sessions import AUDIENCE
from app.services.tokens import ALGORITHM, ISSUER
from tests.http.refusals import check_refusal, unchanged
from tests.http.routes import DOCUMENTED_ROUTES, Route, on_postgresql
from tests.http.world import World
from tests.service import Member, Service

MEMBER_ROUTES = [route for route in DOCUMENTED_ROUTES if "member" in route.schemes]
OPERATOR_ROUTES = [route for route in DOCUMENTED_ROUTES if "operator" in route.schemes]
LIFE = timedelta(days=1)


def routes(chosen: list[Route]) -> pytest.MarkDecorator:
    """Parametrize with routes."""
    return pytest.mark.parametrize("route", chosen, ids=str)


def claims_of(world: World, **changes: Any) -> dict[str, Any]:
    """The claims of a token that is good for a day, with changes; a change to None leaves a claim out."""
    now = int(world.service.clock().timestamp())
    claims = {"sub": world.member.id, "iat": now, "exp": now + 86_400, "aud": AUDIENCE, "iss": ISSUER} | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(world: World, *, purpose: str = "access token", algorithm: str = ALGORITHM, **changes: Any) -> str:
    """A token signed with one of the service's own keys."""
    with warnings.catch_warnings(action="ignore", category=InsecureKeyLengthWarning):
        return jwt.encode(claims_of(world, **changes), world.service.state.settings.key_for(purpose), algorithm)


def altered(token: str, part: int) -> str:
    """The token with the middle letter of one of its three parts changed."""
    parts = token.split(".")
    middle = len(parts[part]) // 2
    letter = "A" if parts[part][middle] != "A" else "B"
    parts[part] = f"{parts[part][:middle]}{letter}{parts[part][middle + 1 :]}"
    return ".".join(parts)


FORGERIES: dict[str, Callable[[World], str]] = {
    "no end": lambda world: signed(world, exp=float("inf")),
    "another key": lambda world: jwt.encode(claims_of(world), b"x" * 32, ALGORITHM),
    "key of another purpose": lambda world: signed(world, purpose="operator key"),
    "no signature": lambda world: jwt.encode(claims_of(world), "", "none"),
    "signature cut off": lambda world: world.member.token.rpartition(".")[0] + ".",
    "two parts": lambda world: world.member.token.rpartition(".")[0],
    "other algorithm": lambda world: signed(world, algorithm="HS512"),
    "algorithm EdDSA": lambda world: jwt.encode(claims_of(world), Ed25519PrivateKey.generate(), "EdDSA"),
    "header altered": lambda world: altered(world.member.token, 0),
    "payload altered": lambda world: altered(world.member.token, 1),
    "signature altered": lambda world: altered(world.member.token, 2),
    "payload of another": lambda world: ".".join(
        own if number != 1 else other
        for number, (own, other) in enumerate(
            zip(world.member.token.split("."), signed(world, sub="mem_" + "0" * 32).split("."), strict=True)
        )
    ),
    "wrong audience": lambda world: signed(world, aud="kaituan-operators"),
    "wrong issuer": lambda world: signed(world, iss="somebody"),
    "no audience": lambda world: signed(world, aud=None),
    "no issuer": lambda world: signed(world, iss=None),
    "no expiry": lambda world: signed(world, exp=None),
    "no birth": lambda world: signed(world, iat=None),
    "no subject": lambda world: signed(world, sub=None),
    "expiry of no number": lambda world: signed(world, exp="never"),
    "operator key": lambda world: world.service.operator_key,
    "text": lambda _world: "token",
    "dots": lambda _world: ".." * 2000,
    "bytes": lambda _world: "\xff\xfe\x80",
}


@on_postgresql
@routes(MEMBER_ROUTES)
async def test_member_routes_without_a_member(world: World, route: Route) -> None:
    body = {"json": world.filled(route.examples[0], route)} if route.examples else {}
    needed = "credentials_missing" in route.codes(401)
    taps = () if needed or not route.path.startswith("/i/") else ("touches", "events")  # a stranger's counts
    async with unchanged(world.service, *taps):
        others = ["Basic bWVtYmVyOnNlY3JldA==", "Bearer", f"Token {world.member.token}", world.service.operator_key]
        for header in (None, *others):
            reply = await world.ask(route, headers={"authorization": header}, **body)
            if needed:
                check_refusal(reply, "credentials_missing", route=route)
                assert reply.headers["www-authenticate"] == "Bearer"
            else:
                assert reply.status_code == 200, reply.text
        for forge in FORGERIES.values():
            forged = {"authorization": f"Bearer {forge(world)}".encode("latin-1")}
            check_refusal(await world.ask(route, headers=forged, **body), "token_invalid", route=route)


@on_postgresql
@routes(MEMBER_ROUTES)
async def test_member_routes_with_an_expired_token(world: World, route: Route) -> None:
    body = {"json": world.filled(route.examples[0], route)} if route.examples else {}
    now = int(world.service.clock().timestamp())
    expired = signed(world, iat=now - 90_000, exp=now - 1)
    async with unchanged(world.service):
        reply = await world.ask(route, headers={"authorization": f"Bearer {expired}"}, **body)
        check_refusal(reply, "token_expired", route=route)
        world.service.clock.advance(LIFE.total_seconds() + 1)
        check_refusal(await world.ask(route, **body), "token_expired", route=route)


async def test_token_is_good_until_it_expires(service: Service) -> None:
    member = await service.member()
    service.clock.advance(LIFE.total_seconds() - 60)
    assert (await member.get("/v1/orders")).status_code == 200
    service.clock.advance(61)
    check_refusal(await member.get("/v1/orders"), "token_expired")


async def test_token_of_a_member_there_is_not(world: World) -> None:
    headers = {"authorization": f"Bearer {signed(world, sub='mem_' + '0' * 32)}"}
    stranger = Member(world.service, "mem_" + "0" * 32, "nobody", headers["authorization"].removeprefix("Bearer "))
    async with unchanged(world.service):
        check_refusal(await stranger.open(world.sale), "token_invalid")
        check_refusal(await stranger.join(world.sale, world.ids["group_id"]), "token_invalid")
        check_refusal(await stranger.post("/v1/invites", {"sale_id": world.sale.id}), "token_invalid")
        assert (await stranger.get("/v1/orders")).json()["items"] == []


@on_postgresql
@routes(OPERATOR_ROUTES)
async def test_operator_routes_without_a_good_key(world: World, route: Route) -> None:
    body = {"json": world.filled(route.examples[0], route)} if route.examples else {}
    own = world.service.operator_key
    last = "A" if own[-1] != "A" else "B"
    wrong = {
        "unknown": build_key("0" * 32),
        "wrong checksum": own[:-1] + last,
        "typo": own[:10] + ("x" if own[10] != "x" else "y") + own[11:],
        "malformed": "key",
        "empty prefix": own.removeprefix("ktk_"),
        "line end": f"{own}%0A",
        "long": own * 200,
        "bytes": "ktk_\xff\xfe",
        "member's token": world.member.token,
        "as a bearer": f"Bearer {own}",
    }
    async with unchanged(world.service):
        for header in (None, ""):
            reply = await world.ask(route, headers={"x-api-key": header}, **body)
            check_refusal(reply, "credentials_missing", "api_key_invalid", route=route)
        for key in wrong.values():
            reply = await world.ask(route, headers={"x-api-key": key.encode("latin-1")}, **body)
            check_refusal(reply, "api_key_invalid", route=route)


@on_postgresql
@routes(OPERATOR_ROUTES)
async def test_operator_routes_need_one_scope(world: World, route: Route) -> None:
    body = {"json": world.filled(route.examples[0], route)} if route.examples else {}
    state, needed = world.service.state, Scope((route.operation or {})["tags"][0].removeprefix("operators: "))
    right = await create_key(state, "right", [needed])
    wrong = [await create_key(state, "wrong", [scope for scope in Scope if scope != needed])]
    wrong += [await create_key(state, "none", [])]
    unknown = {name: f"{own[:4]}{'0' * 32}" for name, own in world.ids.items() if name.endswith("_id")}
    async with unchanged(world.service):
        for key in wrong:
            reply = await world.ask(route, headers={"x-api-key": key}, **body)
            assert check_refusal(reply, "scope_missing", route=route)["scope"] == needed
        reply = await world.ask(route, ids=unknown, headers={"x-api-key": right})
        assert reply.status_code in {200, 404, 422}, reply.text


async def test_revoked_key(service: Service) -> None:
    key = await create_key(service.state, "for a moment", [Scope.SALES])
    assert (await service.http.get("/v1/ops/sales", headers={"x-api-key": key})).status_code == 200
    key_id = (await list_keys(service.state))[-1].id
    assert await revoke_key(service.state, key_id)
    async with unchanged(service):
        check_refusal(await service.http.get("/v1/ops/sales", headers={"x-api-key": key}), "api_key_invalid")
        assert not await revoke_key(service.state, key_id)


@pytest.mark.parametrize("state", ["held", "paid", "cancelled"])
async def test_order_of_somebody_else(service: Service, state: str) -> None:
    sale = await service.sale()
    owner, other = await service.members(2)
    order_id = (await owner.open(sale)).json()["order"]["id"]
    if state == "paid":
        await owner.pay(order_id)
    if state == "cancelled":
        assert (await owner.post(f"/v1/orders/{order_id}/cancel")).status_code == 200
    async with unchanged(service):
        for path in (f"/v1/orders/{order_id}", "/v1/orders/ord_" + "0" * 32):
            check_refusal(await other.get(path), "order_not_found")
            check_refusal(await other.post(f"{path}/cancel"), "order_not_found")
            check_refusal(await other.post(f"{path}/payments", {"provider": "sandbox"}), "order_not_found")
        for query in ("", f"?state={state}", f"?after=ord_{'f' * 32}"):
            assert (await other.get(f"/v1/orders{query}")).json() == {"items": [], "next": None}
    assert (await owner.order(order_id))["state"] == state


async def test_same_key_of_two_members_is_two_claims(service: Service) -> None:
    sale = await service.sale()
    owner, other = await service.members(2)
    first, second = await owner.open(sale, key="same"), await other.open(sale, key="same")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["order"]["id"] != second.json()["order"]["id"]


async def login(service: Service) -> dict[str, Any]:
    """A new session."""
    reply = await service.http.post("/v1/sessions", json={"provider": "dev", "code": "refresher"})
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


async def test_refresh_token_works_once_and_brings_the_next(service: Service) -> None:
    session = await login(service)
    tokens = [session["refresh_token"]]
    for _ in range(3):
        reply = await service.http.post("/v1/sessions/refresh", json={"refresh_token": tokens[-1]})
        assert reply.status_code == 200, reply.text
        assert reply.json()["member"] == session["member"]
        headers = {"authorization": f"Bearer {reply.json()['access_token']}"}
        assert (await service.http.get("/v1/orders", headers=headers)).status_code == 200
        tokens.append(reply.json()["refresh_token"])
    assert len(set(tokens)) == len(tokens)


async def test_reuse_of_a_refresh_token_ends_its_session_alone(service: Service) -> None:
    copied, other = await login(service), await login(service)
    first = {"refresh_token": copied["refresh_token"]}
    newest = {
        "refresh_token": (await service.http.post("/v1/sessions/refresh", json=first)).json()["refresh_token"]
    }
    again = await service.http.post("/v1/sessions/refresh", json=first)
    assert again.json()["refresh_token"] == newest["refresh_token"], "the answer may have been lost"
    service.clock.advance(31)
    check_refusal(await service.http.post("/v1/sessions/refresh", json=first), "token_invalid")
    check_refusal(await service.http.post("/v1/sessions/refresh", json=newest), "token_invalid")
    reply = await service.http.post("/v1/sessions/refresh", json={"refresh_token": other["refresh_token"]})
    assert reply.status_code == 200


async def test_refreshes_at_once_have_one_answer(service: Service) -> None:
    token = {"refresh_token": (await login(service))["refresh_token"]}
    replies = await asyncio.gather(*(service.http.post("/v1/sessions/refresh", json=token) for _ in range(5)))
    assert [reply.status_code for reply in replies] == [200] * 5
    assert len({reply.json()["refresh_token"] for reply in replies}) == 1


@pytest.mark.parametrize("wrong", ["x", ".", "ses_" + "0" * 32, "ses_" + "0" * 32 + ".x", "." * 200, "a.b.c"])
async def test_refresh_token_that_never_was(service: Service, wrong: str) -> None:
    async with unchanged(service):
        reply = await service.http.post("/v1/sessions/refresh", json={"refresh_token": wrong})
        check_refusal(reply, "token_invalid")


async def test_wrong_secret_ends_the_session_it_names(service: Service) -> None:
    session = await login(service)
    guess = {"refresh_token": session["refresh_token"].partition(".")[0] + ".guess"}
    check_refusal(await service.http.post("/v1/sessions/refresh", json=guess), "token_invalid")
    own = {"refresh_token": session["refresh_token"]}
    check_refusal(await service.http.post("/v1/sessions/refresh", json=own), "token_invalid")


async def test_refresh_token_expires_when_it_is_not_used(service: Service) -> None:
    token = {"refresh_token": (await login(service))["refresh_token"]}
    service.clock.advance(service.state.settings.refresh_token_seconds + 1)
    async with unchanged(service):
        check_refusal(await service.http.post("/v1/sessions/refresh", json=token), "token_expired")


async def test_refresh_token_is_no_access_token(service: Service) -> None:
    session = await login(service)
    headers = {"authorization": f"Bearer {session['refresh_token']}"}
    check_refusal(await service.http.get("/v1/orders", headers=headers), "token_invalid")
    reply = await service.http.post("/v1/sessions/refresh", json={"refresh_token": session["access_token"]})
    check_refusal(reply, "token_invalid", "invalid_request")


@pytest.mark.parametrize(
    ("provider", "code"),
    [("wechat", "provider_disabled"), ("none", "provider_not_found"), ("_", "provider_not_found")],
)
async def test_login_at_a_provider_there_is_not_here(service: Service, provider: str, code: str) -> None:
    async with unchanged(service):
        reply = await service.http.post("/v1/sessions", json={"provider": provider, "code": "alice"})
        check_refusal(reply, code)
