from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.endpoints import MAX_URL, DisabledReason, EndpointState
from app.schemas.events import EventTypeName
from app.schemas.fields import Body, Moment

MAX_TYPES = 100
Url = Annotated[
    str,
    Field(
        pattern=f"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]{{1,{MAX_URL - 8}}}$",
        description="`https://` outside development, to an address that is public 接收地址",
        examples=["https://erp.merchant.example/kaituan"],
    ),
]
Types = Annotated[
    list[EventTypeName],
    Field(max_length=MAX_TYPES, description="Types of events it is sent; none: all 事件类型，空为全部"),
]
EventId = Annotated[int, Field(ge=1, le=2**53, description="The id of an event 事件编号", examples=[4711])]


class EndpointCreate(Body):
    url: Url
    types: Types = Field(default_factory=list)


class EndpointChange(Body):
    url: Url | None = None
    types: Types | None = None
    paused: bool | None = Field(
        default=None,
        description="`false` also enables one that was disabled: it goes on where it was 暂停或恢复",
    )


class RedeliverSince(Body):
    """One of both."""

    since_event_id: EventId | None = Field(default=None, description="This event and all after it 从此事件起")
    since: Moment | None = Field(default=None, description="All events from this moment on 从此时刻起")


class EndpointPublic(BaseModel):
    id: str
    url: str
    types: list[str]
    state: EndpointState
    disabled_reason: DisabledReason | None = Field(
        description="`gone`: it answered 410; `failed`: the last retry failed 停用原因"
    )
    cursor: int = Field(description="The last event that was looked at for it 已处理到的事件编号")
    failures: int = Field(description="Attempts in a row that failed 连续失败次数")
    held_until: datetime | None = Field(description="Until when nothing is sent: it failed, or asked to wait")
    old_secret_until: datetime | None = Field(description="Until when the secret before signs as well")
    created_at: datetime


class EndpointDetail(EndpointPublic):
    waiting: int = Field(description="Deliveries that have not arrived yet 待推送数")


class EndpointCreated(EndpointPublic):
    secret: str = Field(description="Shown this once 仅显示一次", examples=["whsec_…"])


class SecretRotated(BaseModel):
    secret: str = Field(description="The new one, shown this once 仅显示一次", examples=["whsec_…"])
    old_secret_until: datetime = Field(description="Until then both sign 旧密钥失效时间")


class TestSent(BaseModel):
    event_id: int = Field(description="The id it will arrive with 事件编号")


class AttemptPublic(BaseModel):
    number: int
    attempted_at: datetime
    duration_ms: int
    status: int | None = Field(description="Of the answer; null when there was none")
    error: str | None = Field(description="Why there was no answer")
    answer: str = Field(description="The beginning of its body 响应开头")


class DeliveryPublic(BaseModel):
    event_id: int
    type: str
    subject: str
    created_at: datetime
    delivered_at: datetime | None = Field(description="When it was answered with 2xx; null while it waits 送达时间")
    next_attempt_at: datetime | None = Field(
        description="When the first that waits of its subject is tried next 下次尝试时间"
    )
    attempts: list[AttemptPublic] = Field(description="The latest, the last one first 最近的尝试")
