"""Endpoints that events are sent to, what was and is to be sent, and what was answered."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from app.domain.deliveries import MAX_ANSWER, RETRY_AFTER
from app.domain.endpoints import MAX_URL, DisabledReason, EndpointState
from app.models.columns import ID_LENGTH, big_field, check, id_field, link_field, state_field, where


class Endpoint(SQLModel, table=True):
    """An address that events are sent to, from `cursor` on. Its secrets are sealed."""

    __tablename__ = "endpoints"
    __table_args__ = (
        check("cursor", "cursor >= 0"),
        check("failures", "failures >= 0"),
        check("disabled", "(disabled_reason IS NOT NULL) = (state = 'disabled')"),
        check("old_secret", "(old_secret IS NULL) = (old_secret_until IS NULL)"),
    )

    id: str = id_field("ept")
    url: str = Field(max_length=MAX_URL)
    types: list[str] = Field(default_factory=list, sa_type=JSON)
    """Of the events it is sent; none: of all."""
    state: EndpointState = state_field(EndpointState)
    disabled_reason: DisabledReason | None = state_field(DisabledReason, default=None, nullable=True)
    cursor: int = big_field()
    """The last event of the feed that was looked at."""
    failures: int = 0
    """Attempts in a row that failed, whatever was sent."""
    held_until: datetime | None = None
    """Until when nothing is sent."""
    secret: str = Field(max_length=200)
    old_secret: str | None = Field(default=None, max_length=200)
    old_secret_until: datetime | None = None
    created_at: datetime


class Delivery(SQLModel, table=True):
    """That an endpoint is sent an event, once: it waits until `delivered_at`."""

    __tablename__ = "deliveries"
    __table_args__ = (
        check("attempts", "attempts >= 0"),
        check("delivered", "delivered_at IS NULL OR attempts > 0"),
        Index("ix_deliveries_waiting", "endpoint_id", "subject", "event_id", **where("delivered_at IS NULL")),
        Index("ix_deliveries_delivered_at", "delivered_at", **where("delivered_at IS NOT NULL")),
    )

    endpoint_id: str = link_field("endpoints.id", primary_key=True)
    event_id: int = big_field(foreign_key="events.id", primary_key=True)
    subject: str = Field(max_length=ID_LENGTH)
    attempts: int = 0
    delivered_at: datetime | None = None
    created_at: datetime


class Lane(SQLModel, table=True):
    """What an endpoint has still to be sent of one subject: one after the other, in the order of the events. There
    while something waits.
    """

    __tablename__ = "lanes"
    __table_args__ = (
        check("failures", f"failures BETWEEN 0 AND {len(RETRY_AFTER)}"),
        Index(None, "endpoint_id", "due_at"),
    )

    endpoint_id: str = link_field("endpoints.id", primary_key=True)
    subject: str = Field(primary_key=True, max_length=ID_LENGTH)
    failures: int = 0
    """Attempts for the first that waits that failed since one before it arrived."""
    due_at: datetime
    """When to try; while it is tried, when to believe that whoever tries has died."""


class Attempt(SQLModel, table=True):
    """One request, and what came back: an answer or an error."""

    __tablename__ = "attempts"
    __table_args__ = (
        ForeignKeyConstraint(["endpoint_id", "event_id"], ["deliveries.endpoint_id", "deliveries.event_id"]),
        check("number", "number >= 1"),
        check("answered", "(status IS NULL) = (error IS NOT NULL)"),
        check("duration_ms", "duration_ms >= 0"),
        Index(None, "attempted_at"),
    )

    endpoint_id: str = Field(primary_key=True, max_length=ID_LENGTH)
    event_id: int = big_field(primary_key=True)
    number: int = Field(primary_key=True)
    status: int | None = None
    error: str | None = Field(default=None, max_length=200)
    answer: str = Field(default="", max_length=MAX_ANSWER)
    """The beginning of the body."""
    duration_ms: int
    attempted_at: datetime
