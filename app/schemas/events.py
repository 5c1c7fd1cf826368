from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from app.domain.events import EVENT_TYPES
from app.models import Event


def _known(value: str) -> str:
    if value not in EVENT_TYPES:
        raise ValueError("must be a type of event")
    return value


EventTypeName = Annotated[
    str,
    AfterValidator(_known),
    Field(json_schema_extra={"enum": list(EVENT_TYPES)}, description="事件类型", examples=["order.paid"]),
]


class EventPublic(BaseModel):
    """One thing that happened. In the feed, on webhooks and in the live streams it has the same `id`."""

    id: int = Field(description="Grows; ids that are missing were never used 递增编号", examples=[4711])
    type: str = Field(description="What happened: see docs/events.md 事件类型", examples=["order.paid"])
    subject: str = Field(
        description="The id of what it happened to 对象", examples=["ord_019a0c5e7d0a7b3c8f21a4d5e6f70812"]
    )
    from_state: str | None = Field(description="The state before, of a change of state; null at birth")
    to_state: str | None = Field(description="The state after, of a change of state")
    sale_id: str | None
    group_id: str | None
    bargain_id: str | None
    member_id: str | None
    community_id: str | None = Field(description="Of what happens in a community, but not in its sales")
    data: dict[str, Any] = Field(description="What more there is to say; docs/events.md says what for each type")
    created_at: datetime


class EventPage(BaseModel):
    """A part of the feed, in the order of ids."""

    items: list[EventPublic]
    next: int = Field(description="Pass it as `after` to go on, also when `items` is empty 续读位置")
    settled: int = Field(description="There is more to be read now while `next` is below it 已确定的最大编号")


def event_public(event: Event) -> EventPublic:
    """An event's row as operators read it."""
    return EventPublic.model_validate(event, from_attributes=True)
