"""The feed of events, and what is sent to webhooks."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from app.deps import OPERATOR_ERRORS, StateDep, require_scope
from app.domain.events import DATA_MEANINGS, EVENT_TYPES, EventType
from app.domain.operators import Scope
from app.routers.problems import problems
from app.schemas.events import EventPage, EventTypeName
from app.services import events

MAX_EVENT_ID = 2**53
MAX_EVENTS, MAX_TYPES, MAX_WAIT_SECONDS = 1000, 50, 25
TAG = "operators: events"
TypesQuery = Annotated[
    list[EventTypeName],
    Query(default_factory=list, max_length=MAX_TYPES, description="Named once each; without any, all 可多次指定"),
]
operator_router = APIRouter(
    prefix="/v1/ops/events",
    tags=[TAG],
    dependencies=[Depends(require_scope(Scope.EVENTS))],
)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="Everything that happened, in order 事件流")
async def list_events(
    state: StateDep,
    types: TypesQuery,
    after: Annotated[int, Query(ge=0, le=MAX_EVENT_ID, description="The `next` you got; 0 from the beginning")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="Events per page 每页条数")] = 100,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for an event")] = 0,
) -> EventPage:
    """Each event once. Keep `next` and go on from there: nothing ever appears below it, whatever is still under way
    now. What happens to one group or bargain is in the order in which it happened. A page may be empty and lead on
    nevertheless, past events of other types.
    """
    return await events.read_page(state, after, types, limit, wait)


HEADERS = (
    ("webhook-id", "string", "The event's `id`, the same at every attempt", "4711"),
    ("webhook-timestamp", "integer", "Unix time of this attempt", 1_796_000_000),
    ("webhook-signature", "string", "A signature of id, time and body by each secret that is good", "v1,K5oZfz…"),
)


def describe_webhooks() -> dict[str, Any]:
    """What a receiver of events is sent, as the OpenAPI document has it: https://www.standardwebhooks.com."""
    parameters = [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": description,
            "schema": {"type": type_},
            "example": example,
        }
        for name, type_, description, example in HEADERS
    ]
    return {
        name: {
            "post": {
                "tags": [TAG],
                "summary": f"{type_.en} {type_.zh}",
                "description": f"`subject` is the {type_.subject}.",
                "operationId": f"webhook_{name.replace('.', '_')}",
                "parameters": parameters,
                "requestBody": {"required": True, "content": {"application/json": {"schema": _body(name, type_)}}},
                "responses": {"2XX": {"description": "It is yours now. Anything else, and it is sent again"}},
            }
        }
        for name, type_ in EVENT_TYPES.items()
    }


def _body(name: str, type_: EventType) -> dict[str, Any]:
    data = {key: {"description": DATA_MEANINGS[key]} for key in type_.data}
    own = {"type": {"const": name}, "data": {"type": "object", "properties": data}}
    return {"allOf": [{"$ref": "#/components/schemas/EventPublic"}, {"type": "object", "properties": own}]}
