"""Requests that are wrong in their form: each is refused with a clear problem, and nothing has changed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # it has no types

from app.routers.problems import BODY_LIMIT_BYTES, body_limit
from tests.http.refusals import ANYWHERE, CHINESE, ERRORS, check_refusal, unchanged
from tests.http.routes import (
    DOCUMENT,
    FORM_ROUTES,
    JSON_ROUTES,
    KEYED_ROUTES,
    RAW_ROUTES,
    ROUTES,
    Route,
    on_postgresql,
)
from tests.http.world import World
from tests.service import Service

UNREADABLE = {
    "empty": b"",
    "cut off": b'{"provider": "dev", "co',
    "open brace": b"{",
    "two values": b"{} {}",
    "trailing comma": b'{"code": "a",}',
    "single quotes": b"{'code': 'a'}",
    "not JSON": b"<xml/>",
    "invalid UTF-8": b'{"code": "\xff\xfe"}',
    "UTF-16 surrogate in UTF-8": b'{"code": "\xed\xa0\x80"}',
    "NUL bytes": b"\x00" * 100,
    "deep open brackets": b"[" * 60_000,
    "deep closed brackets": b"[" * 30_000 + b"]" * 30_000,
    "deep objects": b'{"a":' * 12_000,
    "many digits": b'{"code": ' + b"9" * 10_000 + b"}",
    "a number": b"7",
    "a text": b'"text"',
    "a list": b"[]",
    "true": b"true",
    "NaN": b"NaN",
    "unknown field": b'{"unknown": 1}',
    "unknown surrogate field": b'{"\\ud800": 1}',
    "unknown NUL field": b'{"\\u0000": 1}',
    "nested as deep as is read": b'{"a":' * 400 + b"1" + b"}" * 400,
    "many fields": json.dumps({f"field{number}": number for number in range(3000)}).encode(),
}
NEVER_RIGHT: list[Any] = ["a\x00b", "\ud800", "\x1b[31m", float("nan")]
"""Values that no field takes, whatever its schema says."""
WRONG: list[Any] = [
    *(None, True, -1, 1.5, 10**30, -(10**30), float("inf"), "", "text", "x" * 30_000, "😀", {}, [], [None]),
    *("2026-02-30T00:00:00Z", "2026-12-12T00:00:00", "0001-01-01T00:00:00+14:00", [[[]]], {"a": {"a": 1}}),
]
WRONG_IDS = [
    *("x", "null", "-1", "%00", "%0A", "%20", "%ff", "%ed%a0%80", "a" * 5000, "%F0%9F%98%80", "'%20OR%201=1--"),
    *("{own}%0A", "{own}~", "{own}%00", "%20{own}", "X-{own}"),
]
WRONG_VALUES = [
    "x",
    "-1",
    "1.5",
    str(10**30),
    "9" * 5000,
    "nan",
    "inf",
    "1e999",
    "true",
    "\x00",
    "\ufffd",
    "a" * 5000,
]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}


def routes(chosen: list[Route]) -> pytest.MarkDecorator:
    """Parametrize with routes."""
    return pytest.mark.parametrize("route", chosen, ids=str)


@on_postgresql
@routes(JSON_ROUTES)
async def test_body_that_cannot_be_read(world: World, route: Route) -> None:
    bodies = [body for label, body in UNREADABLE.items() if label != "empty" or _body_is_required(route)]
    async with unchanged(world.service):
        for body in bodies:
            reply = await world.ask(route, content=body, headers={"content-type": "application/json"})
            check_refusal(reply, "invalid_request", "bad_request", route=route)


@on_postgresql
@routes(JSON_ROUTES)
async def test_field_of_a_wrong_type(world: World, route: Route) -> None:
    wrong = list(_wrong_bodies(route))
    assert len(wrong) > len(WRONG)
    async with unchanged(world.service):
        for body in wrong:
            reply = await world.ask(route, content=body, headers={"content-type": "application/json"})
            problem = check_refusal(reply, "invalid_request", "body_too_large", route=route)
            if problem["code"] == "invalid_request":
                assert all(error["location"].startswith("body") for error in problem["errors"]), problem


@on_postgresql
@routes(JSON_ROUTES)
async def test_content_type_that_is_not_json(world: World, route: Route) -> None:
    body = json.dumps(world.filled(route.examples[0], route)).encode()
    kinds = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ]
    async with unchanged(world.service):
        for kind in [*kinds, "json", "application/", "application/jsonp", "a/b/c", "x" * 5000]:
            reply = await world.ask(route, content=body, headers={"content-type": kind})
            check_refusal(reply, "invalid_request", "bad_request", route=route)
        check_refusal(await world.ask(route, content=body), "invalid_request", route=route)


@on_postgresql
@routes(ROUTES)
async def test_body_beyond_the_limit(world: World, route: Route) -> None:
    limit = body_limit({"method": route.method, "path": route.address(world.ids)})

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(limit // 1024 + 1):
            yield b" " * 1024

    kind = "application/x-www-form-urlencoded" if route.name in FORM_ROUTES else "application/json"
    async with unchanged(world.service):
        for size in (limit + 1, 5_000_000):
            reply = await world.ask(route, content=b" " * size, headers={"content-type": kind})
            problem = check_refusal(reply, "body_too_large", route=route)
            assert problem["limit_bytes"] == limit
        if route.reads_body:
            reply = await world.ask(route, content=pieces(), headers={"content-type": kind})
            check_refusal(reply, "body_too_large", route=route)


@on_postgresql
@routes(JSON_ROUTES)
async def test_body_of_exactly_the_limit_is_read(world: World, route: Route) -> None:
    body = b'{"unknown": 1'.ljust(BODY_LIMIT_BYTES - 1) + b"}"
    async with unchanged(world.service):
        reply = await world.ask(route, content=body, headers={"content-type": "application/json"})
        check_refusal(reply, "invalid_request", route=route)


@on_postgresql
@routes(RAW_ROUTES)
async def test_unsigned_body(world: World, route: Route) -> None:
    async with unchanged(world.service):
        for body in UNREADABLE.values():
            check_refusal(await world.ask(route, content=body), "signature_invalid", route=route)


@on_postgresql
@routes([route for route in ROUTES if route.variables and route.name != "static"])
async def test_id_of_a_wrong_form(world: World, route: Route) -> None:
    body = world.filled(route.examples[0], route) if route.examples else None
    async with unchanged(world.service):
        for name in route.variables:
            own = world.ids.get(name, "sandbox")
            for wrong in [*WRONG_IDS, *([own.upper()] if name.endswith("_id") else [])]:
                reply = await world.ask(route, ids={name: wrong.format(own=own)}, json=body)
                codes = ["invalid_request", "provider_not_found", "invite_not_found", "coupon_not_found"]
                codes += ["signature_invalid"] if route.name in CHAT_HOOKS else []
                problem = check_refusal(reply, *codes, route=route)
                if problem["code"] == "invalid_request":
                    assert problem["errors"][0]["location"] == f"path.{name}", problem
            for wrong in ("a/b", f"{own}/b", "..%2f..", f"x%2f{own}"):
                reply = await world.ask(route, ids={name: wrong}, json=body)
                check_refusal(reply, "route_not_found", "method_not_allowed", "invalid_request")


ONE_OF_A_FEW = {"form", "ending", "kind"}
"""What is in an address and no id: there are none but those that are known."""


CHAT_HOOKS = {"verify_chat_hook", "receive_chat_hook"}
"""Who asks them for nothing is told no more than who signs wrongly."""


@routes([route for route in ROUTES if route.variables and route.name not in {"static", *CHAT_HOOKS}])
async def test_id_of_nothing(world: World, route: Route) -> None:
    bodies = [world.filled(example, route) for example in route.examples] or [None]
    unknown = {"code": token_hex(5), "coupon_code": token_hex(5), "provider": "nobody", "delivery": str(10**15)}
    unknown["token"] = token_hex(16 if route.path.startswith("/link/") else 12)
    async with unchanged(world.service):
        for name in route.variables:
            if name in ONE_OF_A_FEW:
                continue
            other = unknown.get(name) or f"{world.ids[name].partition('_')[0]}_{token_hex(16)}"
            for body in bodies:
                kinds = {"json": body} if body is not None else {}
                problem = check_refusal(await world.ask(route, ids={name: other}, **kinds), route=route)
                if route.name == "buy":  # the ticket is looked at before anything else, and is for another sale
                    assert (problem["code"], problem["status"]) == ("ticket_mismatch", 403), problem
                    continue
                assert problem["code"] in {_not_found(name), *_not_there(route, name)}, problem
                assert problem["status"] == 404


@routes(JSON_ROUTES)
async def test_id_of_nothing_in_the_body(world: World, route: Route) -> None:
    body = world.filled(route.examples[-1], route)
    async with unchanged(world.service):
        for holder, name in _ids_within(body):
            own, holder[name] = holder[name], _unknown(holder[name])
            problem = check_refusal(await world.ask(route, json=body), route=route)
            assert problem["code"] in {_not_found(name), *_not_there(route, name), "invalid_terms"}, problem
            holder[name] = own


def _not_there(route: Route, name: str) -> set[str]:
    """Within a community there are no members but those who belong to it; links have tokens, too."""
    if name == "token":
        return {"link_not_found"}
    return {"membership_not_found"} if name == "member_id" and "community_id" in route.variables else set()


def _can_be_wrong(parameter: dict[str, Any]) -> bool:
    return parameter["in"] in {"query", "header"} and parameter["name"] != "if-none-match"


@on_postgresql
@routes([route for route in ROUTES if any(map(_can_be_wrong, route.parameters))])
async def test_parameter_of_a_wrong_form(world: World, route: Route) -> None:
    body = world.filled(route.examples[0], route) if route.examples else None
    sent = 0
    async with unchanged(world.service):
        for parameter in route.parameters:
            for value in WRONG_VALUES:
                if parameter["in"] == "path" or _fits(parameter["schema"], value):
                    continue
                if parameter["in"] == "query":
                    reply = await world.ask(route, json=body, params={parameter["name"]: value})
                elif value.isascii() and value.isprintable():
                    reply = await world.ask(route, json=body, headers={parameter["name"].lower(): value})
                else:
                    continue
                problem = check_refusal(reply, "invalid_request", route=route)
                place = f"{parameter['in']}.{parameter['name'].lower()}"
                assert place in {error["location"].removesuffix(".0") for error in problem["errors"]}, problem
                sent += 1
    assert sent


@on_postgresql
@routes(KEYED_ROUTES)
async def test_idempotency_key(world: World, route: Route) -> None:
    body = world.filled(route.examples[0], route) if route.examples else None
    async with unchanged(world.service):
        reply = await world.ask(route, json=body, headers={"idempotency-key": None})
        check_refusal(reply, "idempotency_key_missing", route=route)
        for wrong in (
            b"",
            b"a" * 129,
            b"a" * 10_000,
            b"two words",
            b"tab\there",
            "ключ".encode(),
            b"\xff",
        ):
            reply = await world.ask(route, json=body, headers={"idempotency-key": wrong})
            problem = check_refusal(reply, "invalid_request", route=route)
            assert problem["errors"][0]["location"] == "header.idempotency-key"


@on_postgresql
@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_wrong_method(world: World, path: str) -> None:
    here = [route for route in ROUTES if route.path == path]
    known = {route.method for route in here}
    async with unchanged(world.service):
        for method in sorted(METHODS - known):
            reply = await world.service.http.request(method, here[0].address(world.ids), headers=world.credentials)
            check_refusal(reply, "method_not_allowed")
            assert set(reply.headers["allow"].split(", ")) - {"HEAD"} == known


@on_postgresql
@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1",
            "/v1/",
            "/v2/sales",
            "/v1/nothing",
            "/v1/sales/a/b/c",
            "/hooks",
            "/i",
            "/I/7Yp2KqXw3N",
            "/V1/sales",
        ),
        *("/static/", "/static/nothing.js", "/static/swagger-ui", "/static/..%2f..%2fmain.py"),
        *(
            "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
            "/static/%00",
            f"/static/{'a' * 3000}",
            "/docs/oauth2-redirect",
        ),
        *("/redoc", "/.env", "/openapi.yaml", "/%00", "/%ff", f"/{'a/' * 500}"),
    ],
)
async def test_unknown_address(service: Service, path: str) -> None:
    for headers in ({}, {"accept-language": CHINESE}):
        for method in ("GET", "POST"):
            reply = await service.http.request(method, path, headers=headers)
            check_refusal(
                reply, *(ANYWHERE if path.startswith("/static") and method == "POST" else ["route_not_found"])
            )


@on_postgresql
@pytest.mark.parametrize(
    ("wish", "chinese"),
    [
        *(
            ("", False),
            ("en", False),
            ("zh", True),
            ("zh-Hant-TW", True),
            ("ZH-cn", True),
            ("fr", False),
            ("*", False),
        ),
        *(("en;q=0.5,zh;q=0.9", True), ("en,zh;q=0.9", False), ("zh;q=0", False), ("zh;q=x,en", False)),
        *(("zh;q=nan", False), (",;,;q=,", False), ("zh" * 3000, False), ("é", False)),
    ],
)
async def test_language_of_the_title(service: Service, wish: str, *, chinese: bool) -> None:
    reply = await service.http.get("/nothing", headers={b"accept-language": wish.encode()})
    error = ERRORS["route_not_found"]
    assert (reply.status_code, reply.json()["title"]) == (404, error.zh if chinese else error.en)
    assert reply.headers["content-language"] == ("zh-CN" if chinese else "en")


@on_postgresql
@pytest.mark.parametrize(
    "fields",
    [
        *(
            {"delay_seconds": "nan"},
            {"delay_seconds": "-1"},
            {"duplicates": "many"},
            {"unknown": "1"},
            {"amount": "-5"},
        ),
        *({"amount": "9" * 50}, {f"field{number}": "1" for number in range(30)}),
    ],
)
async def test_cashier_form(world: World, fields: dict[str, str]) -> None:
    async with unchanged(world.service):
        reply = await world.service.http.post(f"/sandbox/pay/{world.ids['token']}/form", data=fields)
        check_refusal(reply, "bad_request")
        for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
            reply = await world.service.http.post(
                f"/sandbox/pay/{world.ids['token']}/form",
                content=b"--y\r\n\r\nbroken",
                headers={"content-type": kind},
            )
            check_refusal(reply, "bad_request")


@on_postgresql
@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\nhello",
        b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\nhello",
        b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nhello",
        b"GET /v1/sales HTTP/1.1\r\nhost: x\r\nidempotency-key: a\x00b\r\n\r\n",
        b"GET /v1/sales\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
async def test_what_is_no_http_never_reaches_the_service(world: World, head: bytes) -> None:
    address = urlsplit(world.service.url)
    async with unchanged(world.service):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head)
        answer = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 4"), answer


@pytest.mark.parametrize("path", ["/v1/sales/sal_{}/groups", "/v1/sales/sal_{}", "/v1/groups/grp_{}"])
async def test_a_length_with_thousands_of_zeros_is_a_number(world: World, path: str) -> None:
    """Longer than what Python reads as a number."""
    address, path = urlsplit(world.service.url), path.format("0" * 32)
    body = b'{"offer_id": "off_%b"}' % (b"0" * 32)
    head = [
        f"{'POST' if path.endswith('groups') else 'GET'} {path} HTTP/1.1",
        "host: x",
        "content-type: application/json",
        "idempotency-key: zeros",
        f"authorization: Bearer {world.member.token}",
        f"content-length: {'0' * 5000}{len(body)}",
    ]
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    answer = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 404"), answer


async def test_request_that_is_cut_off_changes_nothing(world: World) -> None:
    address = urlsplit(world.service.url)
    async with unchanged(world.service):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        writer.write(b'content-length: 35\r\n\r\n{"provider": "dev", "code"')
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await world.service.http.get("/livez")).status_code == 200


def _body_is_required(route: Route) -> bool:
    return bool(route.operation and route.operation["requestBody"].get("required"))


def _wrong_bodies(route: Route) -> Iterator[bytes]:
    """A good body with one field made wrong, for every field and every way to be wrong."""
    schema = route.body_schema
    assert schema is not None
    whole: Any = dict.fromkeys(schema["properties"]) | route.examples[0]
    for name, field in schema["properties"].items():
        validator = Draft202012Validator({**field, "components": DOCUMENT["components"]})
        for value in [*NEVER_RIGHT, *WRONG]:
            if any(value is one for one in NEVER_RIGHT) or not validator.is_valid(value):
                example = {other: own for other, own in whole.items() if own is not None} | {name: value}
                yield json.dumps(example).encode()


def _fits(schema: dict[str, Any], text: str) -> bool:
    """Whether a schema allows a text as it stands in an address or a header."""
    values: list[Any] = [text, *([text == "true"] if text in {"true", "false"} else [])]
    for kind in (int, float):
        try:
            values.append(kind(text))
        except ValueError:
            continue
    validator = Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return any(value == value and validator.is_valid(value) for value in values)  # noqa: PLR0124 - leaves out NaN


def _ids_within(body: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(body, list):
        for item in body:
            yield from _ids_within(item)
    elif isinstance(body, dict):
        for name, value in list(body.items()):
            if name.endswith("_id") or name == "invite_code":
                yield body, name
            yield from _ids_within(value)


def _unknown(own: str) -> str:
    prefix, _, rest = own.partition("_")
    return f"{prefix}_{token_hex(16)}" if rest else token_hex(5)


def _not_found(name: str) -> str:
    noun = name.removesuffix("_id").removesuffix("_code")
    return {"code": "invite_not_found", "token": "payment_not_found"}.get(name, f"{noun}_not_found")
