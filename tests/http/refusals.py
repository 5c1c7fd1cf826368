"""What every refusal has to look like, and that it changed nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlmodel import SQLModel

from app.domain.errors import KaituanError
from app.routers.problems import status_of
from tests.http.routes import Route
from tests.service import Service

CHINESE = "zh-CN,zh;q=0.9"


def _leaves(error: type[KaituanError]) -> Iterator[type[KaituanError]]:
    for child in error.__subclasses__():
        yield from _leaves(child)
    if "code" in vars(error):
        yield error


ERRORS = {error.code: error for error in _leaves(KaituanError)}
ANYWHERE = {"route_not_found", "method_not_allowed"}
"""Codes that no operation documents: who gets them has met none."""


def check_refusal(reply: httpx.Response, *codes: str, route: Route | None = None) -> dict[str, Any]:
    """Assert that an answer is a well-formed problem, one of `codes` if any are given, in the language that was
    asked for, and documented for its route. Returns the problem.
    """
    said = f"{reply.request.method} {reply.request.url} → {reply.status_code} {reply.text[:500]}"
    assert 400 <= reply.status_code < 500, said
    assert reply.headers["content-type"] == "application/problem+json", said
    problem: dict[str, Any] = reply.json()
    error = ERRORS[problem["code"]]
    chinese = reply.request.headers.get("accept-language") == CHINESE
    assert problem["status"] == reply.status_code == status_of(error), said
    assert problem["type"] == f"urn:kaituan:{error.code}", said
    assert problem["title"] == (error.zh if chinese else error.en), said
    assert reply.headers["content-language"] == ("zh-CN" if chinese else "en"), said
    assert reply.headers["cache-control"] == "no-store", said
    if codes:
        assert problem["code"] in codes, said
    if route is not None and route.operation is not None and problem["code"] not in ANYWHERE:
        assert problem["code"] in route.codes(reply.status_code), f"not documented: {said}"
    return problem


async def fingerprint(service: Service) -> dict[str, int]:
    """How many rows each table has, by state where there are states."""
    counts = [
        f"SELECT '{table.name}', {state}, count(*) FROM {table.name} GROUP BY 2"
        for table in SQLModel.metadata.sorted_tables
        for state in ["state" if "state" in table.c else "''"]
    ]
    async with service.state.database.snapshot() as session:
        connection = await session.connection()
        rows: Any = (await connection.exec_driver_sql(" UNION ALL ".join(counts))).all()
    return {f"{row[0]} {row[1]}": row[2] for row in rows}


@asynccontextmanager
async def unchanged(service: Service, *besides: str) -> AsyncIterator[None]:
    """Assert that what is done inside leaves every table as it was, besides these."""
    before = await fingerprint(service)
    yield
    after = await fingerprint(service)
    changed = {name.partition(" ")[0] for name in before.keys() | after if before.get(name) != after.get(name)}
    assert changed <= set(besides)
