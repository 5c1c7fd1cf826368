"""What is forgotten: what was said in a chat longer ago than it remembers, and all that was written in a community
that is dissolved and keeps nothing. The rows stay, without their words: what happened is still counted.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_
from sqlmodel import col, select

from app.domain.communities import CommunityState, Form, OnDissolve
from app.models import Comment, Community, Post
from app.services.locks import lock_older_comments, lock_older_posts
from app.services.mentions import forget_mentions
from app.services.transactions import transaction
from app.state import State

BATCH = 500


async def forget_due(state: State, now: datetime) -> int:
    """Forget a batch of what is due in each community where something is. Returns how much was forgotten."""
    async with state.database.snapshot() as session:
        spans = await session.exec(
            select(Community.memory_days).where(Community.form == Form.CHAT).distinct(),
        )
        due: list[tuple[str, datetime]] = []
        for days in spans.all():
            before = now - timedelta(days=days or 0)
            chats = await session.exec(
                select(Community.id).where(Community.memory_days == days, _holds_older(before)),
            )
            due += [(community_id, before) for community_id in chats.all()]
        over = await session.exec(
            select(Community.id).where(
                Community.state == CommunityState.DISSOLVED,
                Community.on_dissolve == OnDissolve.ERASE,
                _holds_older(now),
            ),
        )
        due += [(community_id, now) for community_id in over.all()]
    return sum([await _forget(state, community_id, before, now) for community_id, before in due])


async def _forget(state: State, community_id: str, before: datetime, now: datetime) -> int:
    """Posts first; comments only of posts that are gone, so that no post counts what is not there."""
    async with transaction(state, now) as work:
        posts = await lock_older_posts(work.session, community_id, before, BATCH)
        comments = [] if posts else await lock_older_comments(work.session, community_id, before, BATCH)
        for post in posts:
            post.sqlmodel_update({"body": "", "pictures": [], "removed_at": now, "pinned_at": None})
        for comment in comments:
            comment.sqlmodel_update({"body": "", "removed_at": now})
        forgotten: list[Post | Comment] = [*posts, *comments]
        work.session.add_all(forgotten)
        await forget_mentions(work, [row.id for row in forgotten])
        if forgotten:
            work.record("community.forgot", community_id, community_id=community_id, count=len(forgotten))
    return len(forgotten)


def _holds_older(before: datetime) -> ColumnElement[bool]:
    """Whether a community has words from before a moment."""
    posts = select(Post.id).where(
        Post.community_id == Community.id, col(Post.removed_at).is_(None), Post.created_at <= before
    )
    comments = select(Comment.id).where(
        Comment.community_id == Community.id, col(Comment.removed_at).is_(None), Comment.created_at <= before
    )
    return or_(posts.exists(), comments.exists())
