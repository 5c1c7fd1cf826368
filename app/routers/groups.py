from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, status
from fastapi.responses import StreamingResponse

from app.deps import LimitQuery, MemberDep, RequestKeyDep, StateDep, ViewerDep
from app.domain.errors import GroupNotFound, SaleNotFound, TokenExpired, TokenInvalid
from app.domain.groups import GroupState
from app.routers.claims import CLAIM_ERRORS, ClaimBody
from app.routers.problems import problems
from app.schemas.fields import GroupId, SaleId
from app.schemas.groups import Changes, ClaimAnswer, GroupList, GroupPublic
from app.services import claims, groups, live
from app.state import State

router = APIRouter(tags=["groups"])
MAX_EVENT_ID = 2**53
MAX_WAIT_SECONDS = 30
KEEP_ALIVE_LOOKS = 15
RETRY_MILLISECONDS = 1000

STREAM = {
    "description": "`snapshot`, then every change by its type, then `end` once the group is final. The schema is"
    " that of one event 以下为单个事件",
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "required": ["event", "data"],
                "properties": {
                    "id": {"type": "string", "pattern": "^[0-9]+$"},
                    "event": {
                        "type": "string",
                        "enum": ["snapshot", *dict.fromkeys(live.PUBLIC_TYPES.values()), "end"],
                    },
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
            },
            "example": 'id: 41\nevent: snapshot\ndata: {"size": 3, "held": 1, "paid": 1, "left": 1}\n\n'
            'id: 44\nevent: seat.held\ndata: {"id": 44, "type": "seat.held", "seat": 3, "group": {"left": 0}}\n\n'
            'event: end\ndata: {"state": "succeeded"}\n\n',
        },
    },
}


@router.post(
    "/v1/sales/{sale_id}/groups",
    status_code=status.HTTP_201_CREATED,
    responses=problems(SaleNotFound, *CLAIM_ERRORS),
    summary="Open a group 开团",
)
async def open_group(
    state: StateDep, member_id: MemberDep, request_key: RequestKeyDep, sale_id: SaleId, body: ClaimBody
) -> ClaimAnswer:
    """Open a group and take its first seat; you lead it. Pay before `order.hold_expires_at`."""
    return await claims.open_group(state, member_id, sale_id, body, request_key)


@router.get("/v1/sales/{sale_id}/groups", responses=problems(SaleNotFound), summary="Groups about to fill 凑团")
async def list_groups(
    state: StateDep,
    sale_id: SaleId,
    group_state: Annotated[GroupState, Query(alias="state")] = GroupState.OPEN,
    limit: LimitQuery = 20,
) -> GroupList:
    """Groups of a sale that strangers may join: nearest to full first, then nearest to their deadline."""
    return await groups.list_groups(state, sale_id, group_state, limit, state.clock())


@router.get(
    "/v1/groups/{group_id}",
    responses=problems(TokenInvalid, TokenExpired, GroupNotFound),
    summary="Get a group 团详情",
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may look, too
)
async def get_group(state: StateDep, viewer_id: ViewerDep, group_id: GroupId) -> GroupPublic:
    """How full a group is and who is in it. Names are masked for strangers."""
    return await groups.get_group(state, group_id, viewer_id)


@router.post(
    "/v1/groups/{group_id}/seats",
    status_code=status.HTTP_201_CREATED,
    responses=problems(GroupNotFound, *CLAIM_ERRORS),
    summary="Join a group 参团",
)
async def join_group(
    state: StateDep, member_id: MemberDep, request_key: RequestKeyDep, group_id: GroupId, body: ClaimBody
) -> ClaimAnswer:
    """Take a seat, with any offer of the group's product. Pay before `order.hold_expires_at`."""
    return await claims.join(state, member_id, group_id, body, request_key)


@router.get(
    "/v1/groups/{group_id}/changes",
    responses=problems(GroupNotFound),
    summary="Changes of a group, by long poll 团动态（长轮询）",
)
async def get_changes(
    state: StateDep,
    group_id: GroupId,
    after: Annotated[int | None, Query(ge=0, le=MAX_EVENT_ID, description="Id of the last change you know")] = None,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for a change")] = 0,
) -> Changes:
    """For clients without EventSource, such as mini-programs. Without `after`: the group as it is, at once.
    With it: the changes since, waiting up to `wait` seconds for the first. Ask again with the `after` you got.
    Everybody gets the same, so names are masked and `you` is not set: `GET /v1/groups/{group_id}` knows you.
    """
    return await live.wait_changes(state, group_id, after, wait)


@router.get(
    "/v1/groups/{group_id}/live",
    response_class=StreamingResponse,
    responses={200: STREAM, **problems(GroupNotFound)},
    summary="Watch a group fill, by server-sent events 团实时动态（SSE）",
)
async def watch_group(
    state: StateDep,
    group_id: GroupId,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=MAX_EVENT_ID, description="Set by EventSource when it reconnects")
    ] = None,
) -> StreamingResponse:
    """A snapshot first, then every change with its id; after a cut, `Last-Event-ID` brings what was missed.
    Each change brings the group as it is now. Names are masked. After `end` close the EventSource, or it
    reconnects.
    """
    newest = (await live.read_changes(state, group_id, None)).after
    if last_event_id is not None and last_event_id > newest:
        last_event_id = None  # from before the database was set back: begin anew
    return StreamingResponse(
        stream(state, group_id, last_event_id),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def stream(state: State, group_id: str, after: int | None) -> AsyncIterator[str]:
    """The text of a live stream, from a known event id or from a snapshot."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    snapshot, quiet = after is None, 0
    async for found in live.watch(state, group_id, after):
        if snapshot:
            yield f"id: {found.after}\nevent: snapshot\ndata: {found.group.model_dump_json()}\n\n"
            snapshot = False
        for change in found.changes:
            yield f"id: {change.id}\nevent: {change.type}\ndata: {change.model_dump_json()}\n\n"
        if found.final:
            yield f'event: end\ndata: {{"state": "{found.group.state}"}}\n\n'
        quiet = 0 if found.changes else quiet + 1
        if quiet % KEEP_ALIVE_LOOKS == KEEP_ALIVE_LOOKS - 1:
            yield ": still here\n\n"
