"""Jobs that members offer in posts, and the hands they go through."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from app.domain.jobs import MAX_HANDS, JobState
from app.models.columns import check, link_field, state_field


class Job(SQLModel, table=True):
    """The work that a post offers; its id is the post's."""

    __tablename__ = "jobs"
    __table_args__ = (
        check("offered", "state <> 'offered' OR holder_id IS NULL"),
        check("held", "state NOT IN ('taken', 'done') OR holder_id IS NOT NULL"),
        check("ended_at", "(ended_at IS NOT NULL) = (state IN ('done', 'withdrawn'))"),
    )

    id: str = link_field("posts.id", primary_key=True)
    state: JobState = state_field(JobState)
    holder_id: str | None = link_field("members.id", default=None, nullable=True)
    """Who has it, or had it last."""
    ended_at: datetime | None = None


class Hand(SQLModel, table=True):
    """That a job went from one member to another: hand `number` of 1..20. The first is from who offered it."""

    __tablename__ = "hands"
    __table_args__ = (
        check("number", f"number BETWEEN 1 AND {MAX_HANDS}"),
        check("receiver_id", "receiver_id <> giver_id"),
    )

    post_id: str = link_field("jobs.id", primary_key=True)
    number: int = Field(primary_key=True)
    giver_id: str = link_field("members.id")
    receiver_id: str = link_field("members.id")
    created_at: datetime
