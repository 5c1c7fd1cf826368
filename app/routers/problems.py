"""Errors as `application/problem+json`: in answers, and in the OpenAPI document."""

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain import errors
from app.domain.errors import KaituanError
from app.gateways.chat.platform import MAX_BODY_BYTES
from app.gateways.database import is_outage
from app.schemas.problems import FieldProblem, Problem

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
BODY_LIMIT_BYTES = 65_536
PICTURE_LIMIT_BYTES = 1_048_576
CHAT_HOOK_PATH = re.compile("/hooks/chat/.*")
PICTURE_PATH = re.compile("/v1/ops/products/[^/]+/picture")
RETRY_AFTER_SECONDS = "1"
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before asking again"}}
STATUSES: dict[type[KaituanError], HTTPStatus] = {
    errors.BadRequestError: HTTPStatus.BAD_REQUEST,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.MethodError: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.GoneError: HTTPStatus.GONE,
    errors.TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.InternalError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
ANYWHERE: tuple[type[KaituanError], ...] = (
    errors.InvalidRequest,
    errors.BodyTooLarge,
    errors.DatabaseUnavailable,
    errors.Busy,
)
"""What any route may refuse with: it is malformed, it is too big, or the database is away."""
HTTP_ERRORS: dict[int, type[KaituanError]] = {
    HTTPStatus.NOT_FOUND: errors.RouteNotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: errors.MethodNotAllowed,
    HTTPStatus.BAD_REQUEST: errors.BadRequest,
}


def status_of(error: type[KaituanError]) -> HTTPStatus:
    """The HTTP status of a kind of error."""
    return next(status for base, status in STATUSES.items() if issubclass(error, base))


def problems(*kinds: type[KaituanError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may refuse with these errors, besides those of `ANYWHERE`."""
    answers: dict[int | str, dict[str, Any]] = {}
    every: tuple[type[KaituanError], ...] = tuple(dict.fromkeys((*kinds, *ANYWHERE)))
    for kind in sorted(every, key=status_of):
        status = status_of(kind)
        answer = answers.setdefault(
            int(status),
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}},
                },
            },
        )
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            answer["headers"] = RETRY_AFTER
        answer["description"] = f"{answer['description']} · `{kind.code}` {kind.zh}".removeprefix(" · ")
        answer["content"][MEDIA_TYPE]["examples"][kind.code] = {
            "value": {
                "type": f"urn:kaituan:{kind.code}",
                "title": kind.en,
                "status": int(status),
                "code": kind.code,
            },
        }
    return answers


@lru_cache(maxsize=1024)
def language(accept: str | None) -> str:
    """`zh` or `en`, whichever an `Accept-Language` header likes better; `en` when it names neither."""
    best, best_weight = "en", 0.0
    for part in (accept or "").split(","):
        tag, _, parameter = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if primary in {"zh", "en"} and weight > best_weight:
            best, best_weight = primary, weight
    return best


def problem_response(
    request: HTTPConnection, error: KaituanError, field_problems: list[FieldProblem] | None = None
) -> Response:
    """An error as an answer, in the reader's language."""
    accept, told = request.headers.get("accept-language"), getattr(request.state, "told_always", {})
    if field_problems is None:
        return with_headers(problem_template(error, accept), told)
    return with_headers(_new_problem(type(error), error.details(), language(accept), field_problems), told)


def tell_always(request: HTTPConnection, headers: Mapping[str, str]) -> None:
    """Headers that this request's answer has also when it is a problem."""
    request.state.told_always = headers


def problem_template(error: KaituanError, accept_language: str | None) -> Response:
    """The answer to an error, shared by everybody who is refused alike: to be copied, not to be changed."""
    details = tuple(error.details().items())
    return _problem(type(error), details, language(accept_language))  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _problem(
    kind: type[KaituanError],
    details: tuple[tuple[str, str | int | None], ...],
    tongue: str,
) -> Response:
    return _new_problem(kind, dict(details), tongue, None)


def _new_problem(
    kind: type[KaituanError], details: dict[str, Any], tongue: str, field_problems: list[FieldProblem] | None
) -> Response:
    status = status_of(kind)
    content = Problem(
        type=f"urn:kaituan:{kind.code}",
        title=kind.zh if tongue == "zh" else kind.en,
        status=status,
        code=kind.code,
        errors=field_problems,
        **details,
    )
    headers = {"content-language": "zh-CN" if tongue == "zh" else "en", "cache-control": "no-store"}
    if "retry_after_seconds" in details:
        headers["retry-after"] = str(details["retry_after_seconds"])
    elif status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["retry-after"] = RETRY_AFTER_SECONDS
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(content.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def refusal_of(error: Exception) -> KaituanError:
    """What a caller is told of an error: a refusal says it itself; what was not foreseen is logged."""
    if isinstance(error, KaituanError):
        return error
    if isinstance(error, PoolTimeoutError):
        return errors.Busy()
    if is_outage(error):
        log.warning("the database is away: %r", error)
        return errors.DatabaseUnavailable()
    log.error("not foreseen", exc_info=error)
    return errors.InternalError()


def with_headers(answer: Response, extra: Mapping[str, str]) -> Response:
    """A copy of an answer, with more headers."""
    return Response(answer.body, answer.status_code, {**answer.headers, **extra})


class BodyLimit:
    """Refuse a body beyond its limit, as a problem and before any route has acted.

    A body that tells its length is refused by it; one that does not, while it is read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = body_limit(scope)
        length = dict(scope["headers"]).get(b"content-length")
        # A number of any length may be written with zeros before it.
        digits = b"" if length is None else length.lstrip(b"0")
        if len(digits) > len(str(limit)) or (digits and int(digits) > limit):
            error = errors.BodyTooLarge(limit_bytes=limit)
            await problem_response(Request(scope), error)(scope, receive, send)
        elif length is None and scope["method"] != "GET":
            await self.app(scope, _counted(receive, limit), send)
        else:
            # What comes with a GET is not read; a live stream only looks whether its reader is still there.
            await self.app(scope, receive, send)


def body_limit(scope: Scope) -> int:
    """How many bytes the body of a request may have."""
    if scope["method"] == "PUT" and PICTURE_PATH.fullmatch(scope["path"]):
        return PICTURE_LIMIT_BYTES
    return MAX_BODY_BYTES if CHAT_HOOK_PATH.fullmatch(scope["path"]) else BODY_LIMIT_BYTES


def _counted(receive: Receive, limit: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return counted


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error as a problem; what was not foreseen is logged, and tells nothing of itself."""
    # Not FastAPI's `max_body_size`: it answers in plain text, and only after a route that does not read its body
    # has acted.
    app.add_middleware(BodyLimit)

    @app.exception_handler(KaituanError)
    async def on_refusal(request: Request, error: KaituanError) -> Response:
        return problem_response(request, error)

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(WebSocketRequestValidationError)
    async def on_invalid(request: Request, error: ValidationException) -> Response:
        found = [
            FieldProblem(
                location=".".join(str(part) for part in item["loc"])[:200],
                message=str(item["msg"])[:300],
                type=str(item["type"]),
            )
            for item in error.errors()[:20]
        ]
        return problem_response(request, errors.InvalidRequest(), found)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            answer = problem_response(request, errors.BodyTooLarge(limit_bytes=body_limit(request.scope)))
        else:
            answer = problem_response(request, HTTP_ERRORS.get(error.status_code, errors.BadRequest)())
        extra = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            extra["allow"] = ", ".join(sorted(_methods_at(request)))
        return with_headers(answer, extra)

    @app.exception_handler(ClientDisconnect)
    async def on_hanging_up(request: Request, _error: Exception) -> Response:
        # Nobody reads the answer; but what anybody can bring about must not fill the log.
        return problem_response(request, errors.BadRequest())

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(OSError)
    async def on_outage(request: Request, error: Exception) -> Response:
        refusal = refusal_of(error)
        if isinstance(refusal, errors.InternalError):
            raise error
        return problem_response(request, refusal)

    @app.exception_handler(Exception)
    async def on_fault(request: Request, _error: Exception) -> Response:
        return problem_response(request, errors.InternalError())


def _methods_at(request: Request) -> set[str]:
    """Every method the request's address answers to. One address may be several routes, each with its own."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if isinstance(route.original_route, WebSocketRoute):
            continue
        if (pattern := getattr(route, "path_regex", None)) and pattern.match(request.scope["path"]):
            methods |= route.methods or {"GET", "HEAD"}
    return methods
