"""What is known of members, with their consent, and the rules over it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from app.domain.segments import Consented, DeviceKind, SegmentKind
from app.models.columns import big_field, check, id_field, link_field, state_field


class Segment(SQLModel, table=True):
    __tablename__ = "segments"

    id: str = id_field("seg")
    name: str = Field(max_length=60)
    kind: SegmentKind = state_field(SegmentKind)
    rule: dict[str, Any] = Field(sa_type=JSON)
    """As in `domain/segments.py`; of a static one, that by which its list was made."""
    created_at: datetime


class SegmentMember(SQLModel, table=True):
    """A member in the list of a static segment."""

    __tablename__ = "segment_members"
    __table_args__ = (Index(None, "member_id"),)

    segment_id: str = link_field("segments.id", primary_key=True)
    member_id: str = link_field("members.id", primary_key=True)


class Facts(SQLModel, table=True):
    """What rules may ask of a member; None: not known. Who has no row has neither bought nor told anything."""

    __tablename__ = "facts"
    __table_args__ = (
        check("orders", "orders >= 0"),
        check("spent", "spent >= 0"),
        check("check_ins", "check_ins >= 0 AND night_check_ins BETWEEN 0 AND check_ins"),
    )

    member_id: str = link_field("members.id", primary_key=True)
    orders: int = 0
    """Orders that were paid and not refunded."""
    spent: int = big_field(default=0)
    """Fen kept of them."""
    first_order_at: datetime | None = None
    last_order_at: datetime | None = None
    check_ins: int = 0
    night_check_ins: int = 0
    device: DeviceKind | None = state_field(DeviceKind, default=None, nullable=True)
    city: str | None = Field(default=None, max_length=60)


class Tag(SQLModel, table=True):
    """A word that operators, or a member (`own`), put on the member."""

    __tablename__ = "tags"
    __table_args__ = (Index(None, "tag", "member_id"),)

    member_id: str = link_field("members.id", primary_key=True)
    tag: str = Field(primary_key=True, max_length=30)
    own: bool = Field(default=False, primary_key=True)
    created_at: datetime


class Consent(SQLModel, table=True):
    """That a member lets a fact be kept."""

    __tablename__ = "consents"

    member_id: str = link_field("members.id", primary_key=True)
    fact: Consented = state_field(Consented, primary_key=True)
    given_at: datetime


class SaleCommunity(SQLModel, table=True):
    """A community besides its own to which a sale belongs."""

    __tablename__ = "sale_communities"
    __table_args__ = (Index(None, "community_id", "sale_id"),)

    sale_id: str = link_field("sales.id", primary_key=True)
    community_id: str = link_field("communities.id", primary_key=True)


class SaleSegment(SQLModel, table=True):
    """A segment whose members may buy in a sale."""

    __tablename__ = "sale_segments"
    __table_args__ = (Index(None, "segment_id"),)

    sale_id: str = link_field("sales.id", primary_key=True)
    segment_id: str = link_field("segments.id", primary_key=True)
