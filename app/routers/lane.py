"""The fast lane: what everybody does at eight o'clock, served without what it does not use.

Its routes are declared like all others, in `groups.py`, `orders.py`, `sales.py` and `admissions.py`, and call the
same service functions. The lane takes a request only when its form is beyond doubt; everything else, and so every
error about the form, is left to the declared route. `tests/http/test_lane.py` holds one against the other.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import TypeVar, cast

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import KaituanError
from app.routers.admissions import admission_headers
from app.routers.limits import address_in, count_claim
from app.routers.live import noticed
from app.routers.problems import problem_template, refusal_of
from app.routers.shown import is_known, view_headers
from app.schemas.admissions import AdmissionCreate, AdmissionPublic
from app.schemas.groups import ClaimCreate
from app.services import admissions, claims, views
from app.services.queues import Waiter
from app.services.sessions import read_access_token
from app.services.views import View
from app.state import State

MAX_BODY_BYTES, MAX_LENGTH_DIGITS = 4096, 10
HEADERS = {
    *(b"authorization", b"idempotency-key", b"content-type", b"content-length", b"transfer-encoding"),
    *(b"if-none-match", b"accept-language"),
}
REQUEST_KEY = re.compile(rb"[!-~]{1,128}")
BEARER = b"Bearer "
WAIT = re.compile(rb"(?:wait=([12]?[0-9]|30))?")
JSON = (b"content-type", b"application/json")

Claim = Callable[[State, str, str, ClaimCreate, str], Awaitable[bytes]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers besides the type, body."""
Body = TypeVar("Body")
Show = Callable[[State, str, str | None], Awaitable[View]]


SALE, GROUP = re.compile("sal_[0-9a-f]{32}"), re.compile("grp_[0-9a-f]{32}")
CLAIMS: dict[tuple[str, str], tuple[re.Pattern[str], Claim]] = {
    ("sales", "groups"): (SALE, claims.open_group),
    ("groups", "seats"): (GROUP, claims.join),
    ("sales", "orders"): (SALE, claims.buy),
}
SHOWS: dict[str, tuple[re.Pattern[str], Show]] = {
    "sales": (SALE, views.show_sale),
    "groups": (GROUP, views.show_group),
}


class Lane:
    """ASGI middleware: serves `POST /v1/sales/{id}/groups`, `POST /v1/sales/{id}/orders`,
    `POST /v1/groups/{id}/seats`, `POST` and `GET /v1/sales/{id}/admission`, `GET /v1/sales/{id}` and
    `GET /v1/groups/{id}`, and passes on the rest.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left: Receive | None = receive
        if scope["type"] == "http":
            if _state(scope).live.closing:
                send = _hanging_up(send)
            match scope["method"], scope["path"].split("/"):
                case "POST", ["", "v1", noun, id_, verb] if (noun, verb) in CLAIMS:
                    pattern, claim = CLAIMS[noun, verb]
                    if pattern.fullmatch(id_):
                        left = await _claim(claim, id_, scope, receive, send)
                case method, ["", "v1", "sales", id_, "admission"] if method in ADMISSION and SALE.fullmatch(id_):
                    left = await ADMISSION[method](id_, scope, receive, send)
                case "GET", ["", "v1", noun, id_] if noun in SHOWS:
                    pattern, show = SHOWS[noun]
                    if pattern.fullmatch(id_) and await _show(show, id_, scope, send):
                        left = None
        if left is not None:
            await self.app(scope, left, send)


async def _claim(claim: Claim, id_: str, scope: Scope, receive: Receive, send: Send) -> Receive | None:
    """Serve a claim and return None; or return what the declared route has to receive."""
    headers = _headers(scope)
    key = headers.get(b"idempotency-key", b"")
    if not REQUEST_KEY.fullmatch(key):
        return receive

    async def serve(state: State, member_id: str, body: ClaimCreate) -> Answer:
        return 201, [], await claim(state, member_id, id_, body, key.decode())

    return await _post(headers, _parse, serve, scope, receive, send)


async def _enter(sale_id: str, scope: Scope, receive: Receive, send: Send) -> Receive | None:
    """Put somebody in line and return None; or return what the declared route has to receive."""

    async def serve(state: State, member_id: str, body: AdmissionCreate) -> Answer:
        return _shown_admission(await admissions.enter(state, member_id, sale_id, body, address_in(scope)))

    return await _post(_headers(scope), AdmissionCreate.model_validate_json, serve, scope, receive, send)


async def _post(
    headers: Mapping[bytes, bytes],
    parse: Callable[[bytes], Body],
    serve: Callable[[State, str, Body], Awaitable[Answer]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> Receive | None:
    """Serve what counts as a claim and return None; or return what the declared route has to receive."""
    state, member_id = _viewer(scope, headers)
    if member_id is None or not _has_short_json(headers):
        return receive
    content = await _read(receive)
    if content is None:
        return receive  # the caller has gone
    try:
        body = parse(content)
    except ValidationError:
        return _after(content, receive)
    limits, too_many = count_claim(state, member_id, address_in(scope))
    refusal: KaituanError | None = too_many
    extra = [(name.encode(), value.encode()) for name, value in limits.items()]
    if refusal is None:
        try:
            status, more, answer = await serve(state, member_id, body)
        except Exception as error:  # noqa: BLE001 - nobody is above us
            refusal = refusal_of(error)
    if refusal is None:
        await _send(send, status, [JSON, *extra, *more], answer)
    else:
        await _refuse(refusal, headers, send, extra)
    return None


def _has_short_json(headers: Mapping[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"")
    return (
        headers.get(b"content-type") == JSON[1]
        and length.isdigit()
        and len(length) <= MAX_LENGTH_DIGITS
        and int(length) <= MAX_BODY_BYTES
        and b"transfer-encoding" not in headers
    )


async def _wait(sale_id: str, scope: Scope, receive: Receive, send: Send) -> Receive | None:
    """Tell somebody how they stand in line and return None; or return what the declared route has to receive."""
    headers, wait = _headers(scope), WAIT.fullmatch(scope["query_string"])
    state, member_id = _viewer(scope, headers)
    if member_id is None or wait is None or b"content-length" in headers or b"transfer-encoding" in headers:
        return receive
    settings, waiter, seconds = state.settings, Waiter(), int(wait[1] or 0)
    try:
        with (
            state.live.admitted(
                address_in(scope), settings.live_connections, settings.live_connections_per_address
            ),
            noticed(receive, waiter) if seconds else nullcontext(),
        ):
            admission = await admissions.look(state, member_id, sale_id, waiter, seconds)
    except Exception as error:  # noqa: BLE001 - nobody is above us
        await _refuse(refusal_of(error), headers, send)
    else:
        status, more, answer = _shown_admission(admission)
        await _send(send, status, [JSON, *more], answer)
    return None


ADMISSION = {"POST": _enter, "GET": _wait}


def _shown_admission(admission: AdmissionPublic) -> Answer:
    advice = [(name.encode(), value.encode()) for name, value in admission_headers(admission).items()]
    return 200, advice, admission.model_dump_json().encode()


@lru_cache(maxsize=1024)
def _parse(content: bytes) -> ClaimCreate:
    """A body, which is mostly the same as everybody's. Raises `ValidationError`."""
    return ClaimCreate.model_validate_json(content)


async def _show(show: Show, id_: str, scope: Scope, send: Send) -> bool:
    """Serve a view; False when it is for the declared route to refuse."""
    headers = _headers(scope)
    state, viewer_id = _viewer(scope, headers)
    refused = viewer_id is None and b"authorization" in headers
    if refused or b"content-length" in headers or b"transfer-encoding" in headers:
        return False
    try:
        view = await show(state, id_, viewer_id)
    except Exception as error:  # noqa: BLE001 - nobody is above us
        await _refuse(refusal_of(error), headers, send)
        return True
    tags = headers.get(b"if-none-match")
    if tags is not None and is_known(view, tags.decode("latin-1")):
        await send({"type": "http.response.start", "status": 304, "headers": view_headers(view)})
        await send({"type": "http.response.body", "body": b""})
    else:
        await _send(send, 200, [JSON, *view_headers(view)], view.body)
    return True


def _state(scope: Scope) -> State:
    return cast("State", scope["state"]["kaituan"])


def _hanging_up(send: Send) -> Send:
    """Tell whoever is answered that the connection ends with it: this process was told to stop."""

    async def last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
        await send(message)

    return last


def _headers(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers the lane reads; of one that comes twice the first, as the declared route reads it."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in HEADERS:
            found.setdefault(name, value)
    return found


def _viewer(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[State, str | None]:
    """The state, and the member whose token is beyond doubt."""
    state = _state(scope)
    authorization = headers.get(b"authorization", b"")
    if not authorization.startswith(BEARER):
        return state, None
    try:
        return state, read_access_token(state, authorization[len(BEARER) :].decode("latin-1"))
    except KaituanError:
        return state, None


async def _read(receive: Receive) -> bytes | None:
    """The body, which told its length; None when it did not come."""
    message = await receive()
    content: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        content += message.get("body", b"")
    return content if message["type"] == "http.request" else None


def _after(content: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already, then the rest."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _refuse(
    error: KaituanError, headers: Mapping[bytes, bytes], send: Send, extra: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    accept = headers.get(b"accept-language")
    problem = problem_template(error, None if accept is None else accept.decode("latin-1"))
    await send(
        {"type": "http.response.start", "status": problem.status_code, "headers": [*problem.raw_headers, *extra]},
    )
    await send({"type": "http.response.body", "body": problem.body})


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
