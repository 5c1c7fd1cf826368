"""Guards against too much: of a body, of a page, of a stream, of a wait."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from app.main import create_app
from app.routers.problems import BODY_LIMIT_BYTES
from app.services import orders
from app.services.watching import Watch
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

PROBLEMS = "app.routers.problems"


@notices(
    *cuts(f"{PROBLEMS}.BodyLimit.__call__", "int(digits) > limit"),
    *cuts(f"{PROBLEMS}._counted", "read > limit"),
)
async def a_body_is_read_to_its_limit(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT_BYTES // 1024 + 1):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    for content in (b" " * (BODY_LIMIT_BYTES + 1), pieces()):
        reply = await world.service.http.post("/v1/sessions", content=content, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


@notices(
    Cut("app.services.pages.read_page", ".limit(limit + 1)", ""),
    Cut("app.services.pages.read_page", "id_ < after", "True"),
    Cut("app.services.pages.read_page", "rows[:limit]", "rows"),
)
async def a_page_has_its_size_and_is_read_in_parts(world: World) -> None:
    sent: list[str] = []
    exec_ = AsyncSession.exec

    async def heard(session: AsyncSession, statement: Any, **options: Any) -> Any:
        if "FROM orders" in str(statement):  # others, such as the live feed, go on meanwhile
            sent.append(str(statement))
        return await exec_(session, statement, **options)

    for _ in range(4):
        await world.held()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncSession, "exec", heard)
        first = await orders.list_orders(world.state, world.me.id, None, None, 2)
        second = await orders.list_orders(world.state, world.me.id, None, first.next, 2)
    assert (len(first.items), len(second.items)) == (2, 2)
    assert len({row.id for row in [*first.items, *second.items]}) == 4
    assert ["LIMIT" in statement for statement in sent] == [True, True]


@notices(Cut("app.deps.LimitQuery", "Le(le=100)"))
async def nobody_asks_for_more_than_a_hundred(world: World) -> None:
    """Asked of an application of its own: parameters are read from the signatures when the routes are made."""
    app = create_app(world.state.settings, world.state)

    async def stated(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"state": {"kaituan": world.state}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(stated), base_url="http://test") as http:
        for limit, status in ((100, 200), (101, 422)):
            assert (await http.get("/v1/sales", params={"limit": limit})).status_code == status


@notices(*cuts("app.services.watching.Watch.next", "now >= self._end_at"))
async def a_stream_ends(world: World) -> None:
    """When it has lived long enough."""
    running = await world.held()
    short = replace(world.state, settings=world.state.settings.model_copy(update={"live_stream_seconds": 0}))
    async with Watch(short, running.group_id).begun(None) as watch:
        assert await watch.next() is not None, "a snapshot, as for everybody"
        following = asyncio.create_task(watch.next())
        _, waiting = await asyncio.wait([following], timeout=5)
        following.cancel()
        assert not waiting
        assert following.result() is None
