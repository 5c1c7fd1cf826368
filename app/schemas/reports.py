from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.posts import ReportReason, ReportState
from app.schemas.fields import Body, Prose


class ReportCreate(Body):
    reason: Annotated[ReportReason, Field(strict=False)]
    note: Prose = Field(default="", examples=["刷屏广告"])


class ReportPublic(BaseModel):
    id: str
    subject_id: str
    reporter_id: str
    reason: ReportReason
    note: str
    state: ReportState
    decided_by: str | None
    decided_at: datetime | None
    created_at: datetime


class ReportMade(BaseModel):
    """What its reporter is told."""

    id: str
    subject_id: str
    reason: ReportReason
    note: str
    created_at: datetime
