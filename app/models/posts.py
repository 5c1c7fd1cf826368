"""Posts, and what members say to them."""

from datetime import datetime

from sqlalchemy import JSON, Index, UniqueConstraint, false
from sqlmodel import Field, SQLModel

from app.domain.posts import PostKind, ReactionKind, ReportReason, ReportState
from app.models.columns import ID_LENGTH, check, id_field, link_field, loose_link_field, state_field, where

SHOWN = "hidden_at IS NULL AND removed_at IS NULL"
HIDDEN = "hidden_at IS NOT NULL AND removed_at IS NULL"
UNANSWERED = "kind = 'question' AND answered_at IS NULL"
"""Of posts, by an index each: what a list shows is found without what it does not."""


class Post(SQLModel, table=True):
    __tablename__ = "posts"
    __table_args__ = (
        UniqueConstraint("author_id", "request_key"),
        Index("uq_posts_check_in", "community_id", "author_id", "day", unique=True, **where("kind = 'check_in'")),
        check("day", "(kind = 'check_in') = (day IS NOT NULL)"),
        check("streak", "(kind = 'check_in') = (streak IS NOT NULL)"),
        check("group_card", "(kind = 'group_card') = (group_id IS NOT NULL)"),
        check("flash_card", "(kind = 'flash_card') = (sale_id IS NOT NULL)"),
        check("answered_at", "answered_at IS NULL OR kind = 'question'"),
        check("counts", "comment_count >= 0 AND reaction_count >= 0"),
        Index(None, "community_id", "id"),
        Index(None, "community_id", "created_at"),
        Index(None, "community_id", "author_id", "id"),
        Index("ix_posts_removed", "removed_at", **where("removed_at IS NOT NULL AND body <> ''")),
        Index("ix_posts_pinned", "community_id", "pinned_at", **where("pinned_at IS NOT NULL")),
        Index("ix_posts_shown", "community_id", "id", **where(SHOWN)),
        Index("ix_posts_kinds", "community_id", "kind", "id", **where(SHOWN)),
        Index("ix_posts_unanswered", "community_id", "id", **where(f"{UNANSWERED} AND {SHOWN}")),
        Index("ix_posts_hidden", "community_id", "id", **where(HIDDEN)),
        Index("ix_posts_streaks", "community_id", "day", "streak", "id", **where("kind = 'check_in'")),
        Index("ix_posts_remembered", "community_id", "created_at", **where("removed_at IS NULL")),
    )

    id: str = id_field("pst")
    community_id: str = link_field("communities.id")
    author_id: str = link_field("members.id")
    kind: PostKind = state_field(PostKind)
    body: str = Field(max_length=2000)
    pictures: list[str] = Field(default_factory=list, sa_type=JSON)
    group_id: str | None = loose_link_field(default=None, nullable=True)
    sale_id: str | None = loose_link_field(default=None, nullable=True)
    exclusive: bool = False
    """Whether only those who paid for their membership see it."""
    day: str | None = Field(default=None, max_length=10)
    """YYYY-MM-DD of a check-in, in the community's time zone: its place."""
    streak: int | None = None
    """Days checked in without a gap, up to this one."""
    night: bool = False
    """Whether a check-in was made at night."""
    answered_at: datetime | None = None
    """When a question was first answered by an expert, or by whoever answers here."""
    comment_count: int = 0
    reaction_count: int = 0
    pinned_at: datetime | None = None
    hidden_at: datetime | None = None
    """When moderation took it out of sight."""
    removed_at: datetime | None = None
    """When its author took it back, or it was forgotten."""
    created_at: datetime
    request_key: str = Field(max_length=128)


class Comment(SQLModel, table=True):
    """What somebody says to a post; to a question, it may be an answer."""

    __tablename__ = "comments"
    __table_args__ = (
        UniqueConstraint("author_id", "request_key"),
        check("reaction_count", "reaction_count >= 0"),
        Index("ix_comments_removed", "removed_at", **where("removed_at IS NOT NULL AND body <> ''")),
        Index(None, "post_id", "id"),
        Index(None, "community_id", "created_at"),
        Index(None, "community_id", "author_id", "id"),
        Index("ix_comments_remembered", "community_id", "created_at", **where("removed_at IS NULL")),
    )

    id: str = id_field("cmt")
    post_id: str = link_field("posts.id")
    community_id: str = link_field("communities.id")
    author_id: str = link_field("members.id")
    body: str = Field(max_length=2000)
    is_answer: bool = False
    reaction_count: int = 0
    hidden_at: datetime | None = None
    removed_at: datetime | None = None
    created_at: datetime
    request_key: str = Field(max_length=128)


class Reaction(SQLModel, table=True):
    """A member's reaction to a post or a comment: the key is the place."""

    __tablename__ = "reactions"
    __table_args__ = (Index(None, "community_id", "member_id"), Index(None, "community_id", "created_at"))

    subject_id: str = Field(primary_key=True, max_length=ID_LENGTH)
    member_id: str = link_field("members.id", primary_key=True)
    kind: ReactionKind = state_field(ReactionKind, primary_key=True)
    community_id: str = link_field("communities.id")
    created_at: datetime


class Mention(SQLModel, table=True):
    """That a post or a comment names a member."""

    __tablename__ = "mentions"
    __table_args__ = (Index(None, "member_id"),)

    subject_id: str = Field(primary_key=True, max_length=ID_LENGTH)
    member_id: str = link_field("members.id", primary_key=True)


class Report(SQLModel, table=True):
    """That a member finds that a post or a comment should not be there."""

    __tablename__ = "reports"
    __table_args__ = (
        UniqueConstraint("subject_id", "reporter_id"),
        check("decided_at", "(decided_at IS NOT NULL) = (state <> 'open')"),
        Index("ix_reports_open", "community_id", "id", **where("state = 'open'")),
    )

    id: str = id_field("rpt")
    community_id: str = link_field("communities.id")
    subject_id: str = Field(max_length=ID_LENGTH)
    reporter_id: str = link_field("members.id")
    reason: ReportReason = state_field(ReportReason)
    note: str = Field(default="", max_length=500)
    trusted: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether it may hide something, by what its reporter had given and received when it was made."""
    state: ReportState = state_field(ReportState)
    decided_by: str | None = Field(default=None, max_length=ID_LENGTH)
    decided_at: datetime | None = None
    created_at: datetime
