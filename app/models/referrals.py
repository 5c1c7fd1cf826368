"""Who came by whose invite, who was brought by whom, and the orders for which that has to be looked at."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.domain.invites import InviteChannel
from app.domain.referrals import RefusalReason, TouchKind
from app.models.columns import ID_LENGTH, check, link_field, loose_link_field, state_field, where


class Touch(SQLModel, table=True):
    """That a visitor came by an invite, however often. `visitor_id` is a member's id, or that of a browser; the
    member of the latter is known when one has logged in there.
    """

    __tablename__ = "touches"
    __table_args__ = (
        check("times", "first_at <= last_at"),
        check("taps", "taps >= 1"),
        Index(None, "member_id", "last_at"),
        Index(None, "visitor_id"),
        Index("ix_touches_strangers", "last_at", **where("member_id IS NULL")),
    )

    code: str = Field(foreign_key="invites.code", primary_key=True, max_length=20)
    visitor_id: str = Field(primary_key=True, max_length=ID_LENGTH)
    member_id: str | None = link_field("members.id", default=None, nullable=True)
    kind: TouchKind = state_field(TouchKind)
    taps: int
    first_at: datetime
    last_at: datetime


class Referral(SQLModel, table=True):
    """Who brought a member. `scope` is the sale it holds in, or `all` for one that holds in every sale.

    The key is the place: nobody is brought twice.
    """

    __tablename__ = "referrals"
    __table_args__ = (
        check("inviter_id", "inviter_id <> member_id"),
        Index(None, "scope", "inviter_id"),
        Index(None, "member_id"),
        Index(None, "inviter_id", "bound_at"),
        Index(None, "code"),
        Index(None, "bound_at"),
    )

    scope: str = Field(primary_key=True, max_length=ID_LENGTH)
    member_id: str = link_field("members.id", primary_key=True)
    inviter_id: str = link_field("members.id")
    code: str = Field(foreign_key="invites.code", max_length=20)
    channel: InviteChannel = state_field(InviteChannel)
    kind: TouchKind = state_field(TouchKind)
    order_id: str = loose_link_field()
    """The order it was bound by."""
    touched_at: datetime
    bound_at: datetime


class Refusal(SQLModel, table=True):
    """Who would have brought whom, but for the circle it would close. Besides the one that was refused there is a
    row for each referral of the circle: nobody in it is believed.
    """

    __tablename__ = "refusals"
    __table_args__ = (Index(None, "member_id"), Index(None, "inviter_id"))

    scope: str = Field(primary_key=True, max_length=ID_LENGTH)
    member_id: str = link_field("members.id", primary_key=True)
    inviter_id: str = link_field("members.id", primary_key=True)
    reason: RefusalReason = state_field(RefusalReason)
    code: str = Field(foreign_key="invites.code", max_length=20)
    """Of the invite that would have closed it."""
    order_id: str = loose_link_field()
    """The order that would have bound it."""
    at: datetime


class Cause(SQLModel, table=True):
    """An order whose referral and rewards have to be looked at: it was paid, or money of it goes back.

    What it changes is written down with the order; a worker looks at those that were changed since.
    """

    __tablename__ = "causes"
    __table_args__ = (
        check("handled", "handled BETWEEN 0 AND version"),
        check("counted", "counted BETWEEN 0 AND version"),
        Index("ix_causes_due", "order_id", **where("handled < version")),
        Index("ix_causes_uncounted", "order_id", **where("counted < version")),
    )

    order_id: str = loose_link_field(primary_key=True)
    version: int = 1
    handled: int = 0
    counted: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """The version that what is known of the buyer, and of their communities, has been counted with."""
