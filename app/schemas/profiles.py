from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.memberships import LeaveReason, MembershipState, Role, Shown


class ProfileSummary(BaseModel):
    """A member of a community, as others see them."""

    member_id: str
    name: str = Field(description="Their nickname, or their name, masked 群昵称或脱敏姓名")
    role: Role


class ProfilePublic(ProfileSummary):
    """And what they chose to show."""

    bio: str
    shown: dict[Shown, str | int] = Field(description="Only what its member chose to show 成员选择展示的资料")


class ProfileDetail(ProfileSummary):
    """A member or applicant as those see them who look after the community."""

    state: MembershipState
    application: str
    applied_at: datetime | None
    joined_at: datetime | None
    left_at: datetime | None
    leave_reason: LeaveReason | None
