"""Watching a group or a bargain: by server-sent events, by WebSocket, by long poll."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket, WebSocketDisconnect, status
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from app.deps import StateDep
from app.domain.errors import BargainNotFound, GroupNotFound, TooManyConnections
from app.routers.limits import address_in
from app.routers.problems import problems
from app.schemas.bargains import BargainChanges
from app.schemas.fields import BargainId, GroupId
from app.schemas.groups import Changes
from app.schemas.live import Tick
from app.services.live import BARGAINS, GROUPS, Kind
from app.services.queues import Waiter
from app.services.watching import Watch
from app.state import State

log = logging.getLogger(__name__)
router = APIRouter()
MAX_EVENT_ID = 2**53
MAX_WAIT_SECONDS = 30
RETRY = b"retry: 1000\n\n"
MESSAGES_AT_ONCE = 10
"""How many messages a WebSocket client may send at once, besides one a second; nobody listens to them."""
WATCH_PATH = "/v1/groups/{group_id}/live"
WATCH_BARGAIN_PATH = "/v1/bargains/{bargain_id}/live"


def stream_of(kind: Kind, example: str) -> dict[int | str, dict[str, Any]]:
    """The answer of a route that streams what happens to things of a kind."""
    event = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "event": {"type": "string", "enum": ["snapshot", *dict.fromkeys(kind.types.values()), "end"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    }
    return {
        200: {
            "description": "`snapshot`, then every change by its type, then `end` once the"
            f" {kind.noun} is final. The schema is that of one event 以下为单个事件",
            "content": {"text/event-stream": {"schema": event, "example": example}},
        },
    }


GROUP_STREAM = stream_of(
    GROUPS,
    'id: 41\nevent: snapshot\ndata: {"size": 3, "held": 1, "paid": 1, "left": 1}\n\n'
    'id: 44\nevent: seat.held\ndata: {"id": 44, "type": "seat.held", "seat": 3, "group": {"left": 0}}\n\n'
    'event: end\ndata: {"state": "succeeded"}\n\n',
)
BARGAIN_STREAM = stream_of(
    BARGAINS,
    'id: 51\nevent: snapshot\ndata: {"price": 9900, "slots": 10, "taken": 0}\n\n'
    'id: 52\nevent: bargain.cut\ndata: {"id": 52, "type": "bargain.cut", "amount": 431, "price": 9469,'
    ' "bargain": {"taken": 1}}\n\n'
    'event: end\ndata: {"state": "bought"}\n\n',
)


async def take_line(connection: HTTPConnection, state: StateDep) -> AsyncIterator[None]:
    """One of the connections that may watch at the same time, until the answer has been sent.

    Raises `Busy`, `TooManyConnections`.
    """
    settings, address = state.settings, address_in(connection.scope)
    with state.live.admitted(address, settings.live_connections, settings.live_connections_per_address):
        yield


LINE = [Depends(take_line)]
AfterQuery = Annotated[int | None, Query(ge=0, le=MAX_EVENT_ID, description="Id of the last change you know")]
WaitQuery = Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for a change")]
LastEventId = Annotated[
    int | None, Header(ge=0, le=MAX_EVENT_ID, description="Set by EventSource when it reconnects")
]


@router.get(
    "/v1/groups/{group_id}/changes",
    response_model=Changes,
    responses=problems(GroupNotFound, TooManyConnections),
    dependencies=LINE,
    tags=["groups"],
    summary="Changes of a group, by long poll 团动态（长轮询）",
)
async def get_changes(
    request: Request,
    state: StateDep,
    group_id: GroupId,
    after: AfterQuery = None,
    wait: WaitQuery = 0,
) -> Response:
    """For clients without EventSource, such as mini-programs. Without `after`: the group as it is, at once.
    With it: the changes since, waiting up to `wait` seconds for the first. Ask again with the `after` you got.
    Everybody gets the same, so names are masked and `you` is not set: `GET /v1/groups/{group_id}` knows you.
    """
    return await _poll(request, state, group_id, after, wait)


@router.get(
    "/v1/bargains/{bargain_id}/changes",
    response_model=BargainChanges,
    responses=problems(BargainNotFound, TooManyConnections),
    dependencies=LINE,
    tags=["bargains"],
    summary="Changes of a bargain, by long poll 砍价动态（长轮询）",
)
async def get_bargain_changes(
    request: Request,
    state: StateDep,
    bargain_id: BargainId,
    after: AfterQuery = None,
    wait: WaitQuery = 0,
) -> Response:
    """As the changes of a group: see there."""
    return await _poll(request, state, bargain_id, after, wait)


async def _poll(request: Request, state: State, id_: str, after: int | None, wait: float) -> Response:
    watch = Watch(state, id_)
    with noticed(request.receive, watch):
        found = await watch.poll(after, wait)
    return Response(found.answer, media_type="application/json")


class EventStream(Response):
    """What a watcher sees, as server-sent events: bytes that all of them share."""

    media_type = "text/event-stream"

    def __init__(self, state: State, id_: str, after: int | None) -> None:
        self.status_code, self.background = status.HTTP_200_OK, None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self._state, self._id, self._after = state, id_, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        async def deliver(tick: Tick) -> None:
            await send({"type": "http.response.body", "body": tick.sse, "more_body": True})

        watch = Watch(self._state, self._id, deliver, cut_of(receive))
        async with watch.begun(self._after):
            with noticed(receive, watch):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": RETRY, "more_body": True})
                await watch.follow()
                await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    WATCH_PATH,
    status_code=status.HTTP_200_OK,
    response_class=EventStream,
    responses=GROUP_STREAM | problems(GroupNotFound, TooManyConnections),
    dependencies=LINE,
    tags=["groups"],
    summary="Watch a group fill, by server-sent events 团实时动态（SSE）",
)
async def watch_group(
    state: StateDep,
    group_id: GroupId,
    last_event_id: LastEventId = None,
) -> Response:
    """A snapshot first, then every change with its id; after a cut, `Last-Event-ID` brings what was missed.
    Each change brings the group as it is now. Names are masked. After `end` close the EventSource, or it
    reconnects.

    The same by WebSocket 小程序可用 WebSocket, at this address: each event is a text,
    `{"id": 44, "event": "seat.held", "data": {…}}`; the `id` of `end` is null. After a cut, `?after=<the last id>`
    brings what was missed. Closed with 1000 it is over, with 1012 come back, with 1008 you talked too much: nobody
    reads what you send.
    """
    return EventStream(state, group_id, last_event_id)


@router.get(
    WATCH_BARGAIN_PATH,
    status_code=status.HTTP_200_OK,
    response_class=EventStream,
    responses=BARGAIN_STREAM | problems(BargainNotFound, TooManyConnections),
    dependencies=LINE,
    tags=["bargains"],
    summary="Watch a price fall, by server-sent events 砍价实时动态（SSE）",
)
async def watch_bargain(state: StateDep, bargain_id: BargainId, last_event_id: LastEventId = None) -> Response:
    """As the live stream of a group, also by WebSocket: see there. A `bargain.cut` tells what was cut and the price
    after it; each change brings the bargain as it is now.
    """
    return EventStream(state, bargain_id, last_event_id)


@router.websocket(WATCH_PATH, dependencies=LINE)
async def watch_group_by_websocket(
    websocket: WebSocket, state: StateDep, group_id: GroupId, after: AfterQuery = None
) -> None:
    """As `watch_group`, which describes it: OpenAPI has no word for a WebSocket."""
    await _talk(websocket, state, group_id, after)


@router.websocket(WATCH_BARGAIN_PATH, dependencies=LINE)
async def watch_bargain_by_websocket(
    websocket: WebSocket, state: StateDep, bargain_id: BargainId, after: AfterQuery = None
) -> None:
    """As `watch_bargain`."""
    await _talk(websocket, state, bargain_id, after)


async def _talk(websocket: WebSocket, state: State, id_: str, after: int | None) -> None:
    async def deliver(tick: Tick) -> None:
        for message in tick.messages:
            await websocket.send_text(message)

    # The server's own `receive`, as an event stream has it.
    watch = Watch(state, id_, deliver, cut_of(websocket._receive))  # noqa: SLF001
    async with watch.begun(after):
        await websocket.accept()
        hearing = asyncio.create_task(hear_out(websocket, watch))
        try:
            await watch.follow()
            over = status.WS_1000_NORMAL_CLOSURE if watch.final else status.WS_1012_SERVICE_RESTART
            if (code := hearing.result() if hearing.done() else over) is not None:
                await websocket.close(code)
        except (WebSocketDisconnect, RuntimeError):  # they left meanwhile; servers say it in either way
            log.debug("live: a WebSocket was gone before it was closed", exc_info=True)
        finally:
            hearing.cancel()


@contextmanager
def noticed(receive: Receive, watch: Watch | Waiter) -> Iterator[None]:
    """Have them leave when the client of a request has left, for the time of the context."""

    async def hear() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        watch.leave()

    hearing = asyncio.create_task(hear())
    try:
        yield
    finally:
        hearing.cancel()


async def hear_out(websocket: WebSocket, watch: Watch) -> int | None:
    """Have them leave when the client of a WebSocket has left, or talks too much: then with this closing code."""
    time = asyncio.get_running_loop().time
    heard, since = 0, time()
    while (await websocket.receive())["type"] != "websocket.disconnect":
        heard += 1
        if heard > MESSAGES_AT_ONCE + time() - since:
            watch.leave()
            return status.WS_1008_POLICY_VIOLATION
    watch.leave()
    return None


def cut_of(receive: Receive) -> Callable[[], None]:
    """How to cut off a client that does not take what it is sent.

    ASGI has no word for it, and a server that closes politely waits until everything was taken: for ever. uvicorn's
    own object has the connection.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    abort: Callable[[], None] = getattr(transport, "abort", lambda: None)
    return abort
