from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.notices import NoticeKind
from app.schemas.fields import Body, NoticeId, Page

UNREAD = Field(description="Not read yet; 100 stands for as many or more 未读数")


class NoticePublic(BaseModel):
    id: str
    kind: NoticeKind
    community_id: str | None
    push_id: str | None
    subject_id: str | None = Field(description="What it is about: an order, a post, a sale 相关对象")
    text: str
    read_at: datetime | None
    created_at: datetime


class NoticePage(Page[NoticePublic]):
    unread: int = UNREAD


class NoticesRead(Body):
    notice_id: NoticeId = Field(description="The newest one that was read 已读到此条")


class UnreadPublic(BaseModel):
    unread: int = UNREAD
