"""Every route of the application, read from the application itself: a new route is tested without being named."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import WebSocketRoute

from app.config import Settings
from app.main import create_app

APP = create_app(Settings())
DOCUMENT: dict[str, Any] = APP.openapi()
PLACEHOLDERS = {
    "code": "7Yp2KqXw3N",
    "provider": "sandbox",
    "platform": "telegram",
    "kind": "like",
    "token": "a" * 24,
    "form": "poster",
    "ending": "svg",
    "path": "nothing.css",
    "delivery": "1",
}
on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
"""For requests that are refused before anything is looked up, or by the same look for every route: which database
is behind it makes no difference. PostgreSQL takes fewer texts.
"""
SOCKET = "WEBSOCKET"
"""Instead of a method."""
FILE_ROUTES = {"put_picture"}
FORM_ROUTES = {"pay_by_form", "log_in", "log_out", "join", "enrol", "pay_order", "make_own_link", "log_in_by_link"}


@dataclass(frozen=True)
class Route:
    """One method of one address, or its WebSocket. `operation` is its part of the OpenAPI document; None when it is
    not in it.
    """

    method: str
    path: str
    name: str
    operation: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def variables(self) -> list[str]:
        """The names in its path."""
        return re.findall(r"{(\w+)", self.path)

    @cached_property
    def body_schema(self) -> dict[str, Any] | None:
        """The schema of its JSON body; None when it takes none of a known shape."""
        schema = self._content.get("schema", {})
        for choice in schema.get("anyOf", [schema]):
            if "$ref" in choice:
                return resolve(choice)
        return None

    @cached_property
    def examples(self) -> list[Any]:
        """The request bodies its documentation offers; made of the fields' examples where it names none."""
        if self.body_schema is None:
            return []
        if named := self._content.get("examples"):
            return [copy.deepcopy(example["value"]) for example in named.values()]
        return [sample(self.body_schema)]

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """Its documented parameters."""
        return list((self.operation or {}).get("parameters", []))

    @property
    def needs_key(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return any(parameter["name"] == "Idempotency-Key" for parameter in self.parameters)

    @property
    def schemes(self) -> set[str]:
        """The kinds of credentials it looks at."""
        return {name for choice in (self.operation or {}).get("security", []) for name in choice}

    @property
    def takes_raw_body(self) -> bool:
        """Whether it reads bytes and checks a signature over them."""
        if self.name in FORM_ROUTES | FILE_ROUTES:
            return False
        if self.operation is None:
            return self.method == "POST"
        return self.body_schema is None and "requestBody" in self.operation

    @property
    def reads_body(self) -> bool:
        return self.body_schema is not None or self.takes_raw_body or self.name in FORM_ROUTES | FILE_ROUTES

    def codes(self, status: int) -> set[str]:
        """The error codes its documentation names for a status."""
        answer = (self.operation or {}).get("responses", {}).get(str(status), {})
        return set(answer.get("content", {}).get("application/problem+json", {}).get("examples", {}))

    def address(self, ids: dict[str, str]) -> str:
        """Its path with these ids in it."""
        path = self.path.replace("{path:path}", "{path}")
        return path.format_map(PLACEHOLDERS | ids)

    @property
    def _content(self) -> dict[str, Any]:
        body = (self.operation or {}).get("requestBody", {})
        return dict(body.get("content", {}).get("application/json", {}))


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or what it refers to."""
    if "$ref" not in schema:
        return schema
    return dict(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])


def sample(schema: dict[str, Any]) -> Any:
    """A value of a schema, out of the examples and defaults of its fields."""
    schema = resolve(schema)
    for examples in (
        schema.get("examples"),
        schema.get("enum"),
        [schema["default"]] if "default" in schema else None,
    ):
        if examples:
            return copy.deepcopy(examples[0])
    if choices := schema.get("anyOf"):
        return sample(next(choice for choice in choices if choice.get("type") != "null"))
    if schema.get("type") == "object":
        return {name: sample(field) for name, field in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [sample(schema["items"])]
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1), "boolean": False}.get(
        schema["type"], "text"
    )


def _routes() -> Iterator[Route]:
    for context in iter_route_contexts(APP.routes):
        if context.path is None or context.name is None:
            continue
        if isinstance(context.original_route, WebSocketRoute):
            yield Route(SOCKET, context.path, context.name, None)
            continue
        path = f"{context.path}/{{path:path}}" if context.methods is None else context.path
        for method in sorted((context.methods or {"GET"}) - {"HEAD"}):
            operation = DOCUMENT["paths"].get(path, {}).get(method.lower())
            yield Route(method, path, context.name, operation)


EVERY_ROUTE = list(_routes())
ROUTES = [route for route in EVERY_ROUTE if route.method != SOCKET]
JSON_ROUTES = [route for route in ROUTES if route.body_schema is not None]
RAW_ROUTES = [route for route in ROUTES if route.takes_raw_body]
KEYED_ROUTES = [route for route in ROUTES if route.needs_key]
DOCUMENTED_ROUTES = [route for route in ROUTES if route.operation is not None]
