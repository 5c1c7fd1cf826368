"""What is kept for a time only: `domain/privacy.py` says how long, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Text, cast, or_, tuple_
from sqlmodel import SQLModel, col, select

from app.domain.endpoints import EndpointState
from app.domain.memberships import MembershipState
from app.domain.privacy import Kept
from app.models import (
    Announcement,
    Attempt,
    Comment,
    Delivery,
    Endpoint,
    LinkCode,
    Membership,
    Message,
    Nonce,
    Notice,
    Outgoing,
    Post,
    Session,
    Touch,
)
from app.services.transactions import transaction
from app.state import State

BATCH = 500


@dataclass(frozen=True, slots=True)
class _Old:
    """Rows that have been kept long enough: they are deleted, or get these values, after which they are not found
    again.
    """

    model: type[SQLModel]
    condition: ColumnElement[bool]
    values: dict[str, Any] | None = None


async def clear(state: State, now: datetime) -> int:
    """Delete and blank what has been kept long enough, some at a time. Returns how many rows."""
    return sum([await _clear(state, now, old) for old in _find_old(now)])


def _find_old(now: datetime) -> Iterator[_Old]:
    yield _Old(Session, col(Session.expires_at) < now - Kept.SESSIONS.age)
    yield _Old(LinkCode, col(LinkCode.expires_at) < now - Kept.LINK_CODES.age)
    yield _Old(Message, col(Message.created_at) < now - Kept.MESSAGES.age)
    yield _Old(Nonce, col(Nonce.seen_at) < now - Kept.NONCES.age)
    yield _Old(Outgoing, col(Outgoing.ended_at) < now - Kept.OUTGOING.age)
    unsaid = col(Announcement.due_at).is_not(None)
    yield _Old(Announcement, (col(Announcement.said_at) < now - Kept.ANNOUNCEMENTS.age) & ~unsaid)
    yield _Old(Touch, col(Touch.member_id).is_(None) & (col(Touch.last_at) < now - Kept.STRANGERS.age))
    # Ids grow with time, and so the oldest are found without looking at the others.
    told_before = int((now - Kept.NOTICES.age).timestamp() * 1000)
    yield _Old(Notice, col(Notice.id) < f"ntc_{told_before:012x}")
    yield _Old(
        Membership,
        (col(Membership.application) != "")
        & (col(Membership.state) != MembershipState.APPLIED)
        & (col(Membership.applied_at) < now - Kept.APPLICATIONS.age),
        {"application": ""},
    )
    has_profile = or_(
        col(Membership.nickname) != "", col(Membership.bio) != "", cast(col(Membership.shown), Text) != "{}"
    )
    yield _Old(
        Membership,
        (col(Membership.left_at) < now - Kept.PROFILES.age) & has_profile,
        {"nickname": "", "bio": "", "shown": {}},
    )
    yield from _find_old_deliveries(now - Kept.DELIVERIES.age)
    removed_before = now - Kept.REMOVED.age
    yield _Old(Post, (col(Post.removed_at) < removed_before) & (col(Post.body) != ""), {"body": "", "pictures": []})
    yield _Old(Comment, (col(Comment.removed_at) < removed_before) & (col(Comment.body) != ""), {"body": ""})


def _find_old_deliveries(before: datetime) -> Iterator[_Old]:
    """Attempts first: they point at their deliveries."""
    yield _Old(Attempt, col(Attempt.attempted_at) < before)
    removed = select(Endpoint.id).where(
        Endpoint.id == Delivery.endpoint_id, Endpoint.state == EndpointState.REMOVED, Delivery.created_at < before
    )
    tried = select(Attempt.number).where(
        Attempt.endpoint_id == Delivery.endpoint_id, Attempt.event_id == Delivery.event_id
    )
    yield _Old(Delivery, or_(col(Delivery.delivered_at) < before, removed.exists()) & ~tried.exists())


async def _clear(state: State, now: datetime, old: _Old) -> int:
    table, cleared = SQLModel.metadata.tables[str(old.model.__tablename__)], 0
    key = tuple_(*table.primary_key)
    some = key.in_(sqlalchemy.select(*table.primary_key).where(old.condition).limit(BATCH))
    change = table.delete() if old.values is None else table.update().values(old.values)
    while True:
        async with transaction(state, now) as work:
            connection = await work.session.connection()
            done = await connection.execute(change.where(some).returning(*table.primary_key))
            count = len(done.all())
        cleared += count
        if count < BATCH:
            return cleared
