from datetime import date, datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.domain.invites import MAX_INVITES_A_DAY, MAX_USES, InviteChannel
from app.models.columns import check, link_field, state_field, where


class Invite(SQLModel, table=True):
    """A link from one member on one channel; None as target means any. It is the `day_number`th its member made on
    that day, by UTC: a numbered place.
    """

    __tablename__ = "invites"
    __table_args__ = (
        Index("uq_invites_day", "member_id", "day", "day_number", unique=True),
        check("day_number", f"day_number BETWEEN 1 AND {MAX_INVITES_A_DAY}"),
        check("max_uses", f"max_uses BETWEEN 1 AND {MAX_USES}"),
        # Each names one target: so an index of each kind holds only those that name it.
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
    revoked_at: datetime | None = None
    max_uses: int | None = None
    """How many members it may bring; None: any number."""
    used_up_at: datetime | None = None
    day: date | None = None
    day_number: int | None = None


class Use(SQLModel, table=True):
    """Use `number` of 1..max_uses of an invite: the member that it brought. A member uses it once, in however many
    sales.
    """

    __tablename__ = "uses"
    __table_args__ = (
        Index("uq_uses_member", "code", "member_id", unique=True),
        check("number", "number BETWEEN 1 AND max_uses"),
    )

    code: str = Field(foreign_key="invites.code", primary_key=True, max_length=20)
    number: int = Field(primary_key=True)
    max_uses: int
    member_id: str = link_field("members.id")
