from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.domain.invites import InviteChannel
from app.models.columns import link_field, state_field, where


class Invite(SQLModel, table=True):
    """A link from one member on one channel; None as target means any."""

    __tablename__ = "invites"
    # Each names one target: so an index of each kind holds only those that name it.
    __table_args__ = (
        Index("ix_invites_group", "group_id", **where("group_id IS NOT NULL")),
        Index("ix_invites_sale", "sale_id", **where("sale_id IS NOT NULL")),
        Index("ix_invites_community", "community_id", **where("community_id IS NOT NULL")),
    )

    code: str = Field(primary_key=True, max_length=20)
    member_id: str = link_field("members.id", index=True)
    group_id: str | None = link_field("groups.id", default=None, nullable=True)
    sale_id: str | None = link_field("sales.id", default=None, nullable=True)
    community_id: str | None = link_field("communities.id", default=None, nullable=True)
    channel: InviteChannel = state_field(InviteChannel)
    created_at: datetime
    expires_at: datetime
