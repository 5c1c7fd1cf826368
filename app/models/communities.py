"""Communities, and who belongs to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, true
from sqlmodel import Field, SQLModel

from app.domain.communities import (
    MAX_ANSWER_MINUTES,
    MAX_MEMORY_DAYS,
    MAX_PERIOD_DAYS,
    CommunityState,
    Form,
    JoinMode,
    Lifespan,
    OnDissolve,
    Purpose,
)
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.domain.notices import PushWish
from app.models.columns import (
    ID_LENGTH,
    big_field,
    bucket_field,
    check,
    id_field,
    link_field,
    loose_link_field,
    state_field,
    where,
)

DAY_MINUTES = 24 * 60


class Community(SQLModel, table=True):
    """People in relation with each other around one clear value."""

    __tablename__ = "communities"
    __table_args__ = (
        check("closes_at", "(lifespan = 'flash') = (closes_at IS NOT NULL)"),
        check("on_dissolve_rule", "on_dissolve = 'keep' OR lifespan = 'flash'"),
        check("memory_days", "(form = 'chat') = (memory_days IS NOT NULL)"),
        check("memory_range", f"memory_days IS NULL OR memory_days BETWEEN 1 AND {MAX_MEMORY_DAYS}"),
        check("answer_minutes", "(purpose = 'service') = (answer_minutes IS NOT NULL)"),
        check("answer_range", f"answer_minutes IS NULL OR answer_minutes BETWEEN 1 AND {MAX_ANSWER_MINUTES}"),
        check("period_days", "(join_mode = 'paid') = (period_days IS NOT NULL)"),
        check("period_range", f"period_days IS NULL OR period_days BETWEEN 1 AND {MAX_PERIOD_DAYS}"),
        check("plan", "(join_mode = 'paid') = (plan_sale_id IS NOT NULL)"),
        check(
            "statement",
            "state <> 'open' OR audience <> '' AND need <> '' AND benefits <> '' AND sustained_by <> ''"
            " AND posting_rules <> ''",
        ),
        check("dissolved_at", "(dissolved_at IS NOT NULL) = (state = 'dissolved')"),
        check("member_count", "member_count >= 0"),
        check("quiet", f"quiet_from BETWEEN 0 AND {DAY_MINUTES - 1} AND quiet_to BETWEEN 0 AND {DAY_MINUTES - 1}"),
        check("wound_up_at", "wound_up_at IS NULL OR state = 'dissolved'"),
        Index("ix_communities_closing", "closes_at", **where("closes_at IS NOT NULL AND state <> 'dissolved'")),
        Index("ix_communities_winding_up", "id", **where("state = 'dissolved' AND wound_up_at IS NULL")),
    )

    id: str = id_field("com")
    name: str = Field(max_length=60)
    form: Form = state_field(Form)
    lifespan: Lifespan = state_field(Lifespan)
    purpose: Purpose = state_field(Purpose)
    audience: str = Field(max_length=500)
    need: str = Field(max_length=500)
    benefits: str = Field(max_length=500)
    sustained_by: str = Field(max_length=500)
    posting_rules: str = Field(max_length=500)
    state: CommunityState = state_field(CommunityState)
    timezone: str = Field(max_length=40)
    closes_at: datetime | None = None
    """When a flash community dissolves."""
    on_dissolve: OnDissolve = state_field(OnDissolve)
    memory_days: int | None = None
    """How long a chat remembers what was said."""
    answer_minutes: int | None = None
    """Within which a question is answered, as a service community promises."""
    join_mode: JoinMode = state_field(JoinMode)
    period_days: int | None = None
    """What one payment of a paid community is good for."""
    plan_sale_id: str | None = loose_link_field(default=None, nullable=True, index=True)
    """The flash sale in which memberships of a paid community are bought."""
    see_segment_id: str | None = link_field("segments.id", default=None, nullable=True)
    join_segment_id: str | None = link_field("segments.id", default=None, nullable=True)
    buy_segment_id: str | None = link_field("segments.id", default=None, nullable=True)
    blocked_words: list[str] = Field(default_factory=list, sa_type=JSON)
    quiet_from: int
    """Minutes after midnight, there, from which nothing promotional is sent; never, if it is `quiet_to`."""
    quiet_to: int
    member_count: int = 0
    created_at: datetime
    opened_at: datetime | None = None
    dissolved_at: datetime | None = None
    summary: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    """What it came to, counted when it dissolved."""
    told_to: str = Field(default="", max_length=ID_LENGTH, sa_column_kwargs={"server_default": ""})
    """The last member whose membership was wound up: they are told in the order of their ids."""
    erased_to: str = Field(default="", max_length=ID_LENGTH, sa_column_kwargs={"server_default": ""})
    """The last post that was erased."""
    wound_up_at: datetime | None = None


class Membership(SQLModel, table=True):
    """That a member belongs to a community, or did, or would like to. The key is the place."""

    __tablename__ = "memberships"
    __table_args__ = (
        check("role_held", "role = 'member' OR state = 'active'"),
        check("joined_at", "joined_at IS NOT NULL OR state NOT IN ('active', 'lapsed')"),
        check("left_at", "(left_at IS NOT NULL) = (state IN ('left', 'removed', 'lapsed', 'blocked'))"),
        check("reason_given", "(leave_reason IS NOT NULL) = (left_at IS NOT NULL)"),
        check("paid_until", "paid_until IS NULL OR joined_at IS NOT NULL"),
        Index(
            "uq_memberships_owner",
            "community_id",
            unique=True,
            **where("role = 'owner'"),
        ),
        Index(None, "community_id", "state", "member_id"),
        Index(None, "community_id", "bucket"),
        Index(None, "member_id"),
        Index("ix_memberships_applications", "applied_at", **where("application <> ''")),
        Index("ix_memberships_ended", "left_at", **where("left_at IS NOT NULL")),
        Index("ix_memberships_paid", "paid_until", **where("paid_until IS NOT NULL AND state = 'active'")),
        Index("ix_memberships_roles", "community_id", "member_id", **where("role <> 'member'")),
    )

    community_id: str = link_field("communities.id", primary_key=True)
    member_id: str = link_field("members.id", primary_key=True)
    state: MembershipState = state_field(MembershipState)
    role: Role = state_field(Role, default=Role.MEMBER)
    application: str = Field(default="", max_length=500)
    invite_code: str | None = Field(default=None, max_length=20)
    nickname: str = Field(default="", max_length=60)
    bio: str = Field(default="", max_length=500)
    shown: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    """What its member chose to show in this community: true for each `Shown` that is."""
    push_wish: PushWish = state_field(PushWish, default=PushWish.EACH)
    paid_until: datetime | None = None
    """When what was paid for runs out; None: nothing has to be paid."""
    warned_for: datetime | None = None
    """The `paid_until` of which its member was told that it is near."""
    applied_at: datetime | None = None
    joined_at: datetime | None = None
    left_at: datetime | None = None
    leave_reason: LeaveReason | None = state_field(LeaveReason, default=None, nullable=True)
    acted_at: datetime | None = None
    """When its member last wrote, reacted, checked in or bought there."""
    seen_at: datetime | None = None
    """When its member last looked at the feed, within an hour."""
    bucket: str | None = bucket_field("member_id")


class Period(SQLModel, table=True):
    """A period of a paid membership, bought by an order. It is written down with the payment; while it `is_due`, a
    worker looks at the order and brings the membership there.
    """

    __tablename__ = "periods"
    __table_args__ = (
        check("days", f"days BETWEEN 1 AND {MAX_PERIOD_DAYS}"),
        Index(None, "community_id", "member_id"),
        Index("ix_periods_due", "community_id", "member_id", **where("is_due")),
    )

    order_id: str = loose_link_field(primary_key=True)
    community_id: str = link_field("communities.id")
    member_id: str = link_field("members.id")
    days: int
    bought_at: datetime
    is_due: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    granted_at: datetime | None = None
    """When the membership was first given for it."""
    ended_at: datetime | None = None
    """When it was taken back, with the money."""


class Encounter(SQLModel, table=True):
    """That one member gave another something on a day: an answer, a comment, a reaction, a tip. Of these relations
    a community is made.
    """

    __tablename__ = "encounters"
    __table_args__ = (
        check("receiver_id", "receiver_id <> giver_id"),
        Index(None, "community_id", "receiver_id", "giver_id", "day"),
        Index(None, "community_id", "giver_id", "day"),
        Index(None, "community_id", "day", "giver_id", "receiver_id"),
    )

    community_id: str = link_field("communities.id", primary_key=True)
    giver_id: str = link_field("members.id", primary_key=True)
    receiver_id: str = link_field("members.id", primary_key=True)
    day: str = Field(primary_key=True, max_length=10)
    """YYYY-MM-DD, in the community's time zone."""


class CommunityDay(SQLModel, table=True):
    """What happened in a community on one day of its time zone, counted from the rows of that day. `version` grows
    whenever something happens; a worker counts again while `counted` is behind.
    """

    __tablename__ = "community_days"
    __table_args__ = (
        check("counted", "counted BETWEEN 0 AND version"),
        check("score", "score IS NULL OR score BETWEEN 0 AND 100"),
        Index("ix_community_days_due", "community_id", "day", **where("counted < version")),
        Index("ix_community_days_closing", "closes_at", **where("closes_at IS NOT NULL")),
        Index("ix_community_days_ranked", "day", "score", "community_id", **where("score IS NOT NULL")),
    )

    community_id: str = link_field("communities.id", primary_key=True)
    day: str = Field(primary_key=True, max_length=10)
    version: int = 1
    counted: int = 0
    counted_at: datetime | None = None
    closes_at: datetime | None = None
    """When it is over, and counted as a whole; None once that was done."""
    score: int | None = None
    """Health of the 28 days up to it; None: too little is known, or it is not over."""
    value: int = big_field(default=0)
    """Points of value that were given to members, by which a community earns the right to push."""
    figures: dict[str, int] = Field(default_factory=dict, sa_type=JSON)
    """The figures of docs/metrics.md, by name."""
