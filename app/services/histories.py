"""What a member has written in a forum, which can be looked up; a chat keeps no such history."""

from typing import Any

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.communities import Form
from app.domain.errors import HistoryNotKept, MemberNotFound
from app.domain.memberships import Action
from app.models import Comment, Membership, Post
from app.schemas.posts import HistoryItem, HistoryPage
from app.services.boards import is_shown, look, read_board, read_comments_board, read_people, sees
from app.services.cards import read_cards
from app.services.pages import read_page
from app.services.standing import require
from app.state import State

MOST_COUNTED = 1_000


async def list_written(
    state: State, viewer_id: str, community_id: str, member_id: str, after: str | None, limit: int
) -> HistoryPage:
    """Posts and comments of a member, newest first together, and how many there are. Raises `CommunityNotFound`,
    `MemberBlocked`, `NotAllowed`, `HistoryNotKept`, `MemberNotFound` for who never belonged to it.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        place = await require(session, community_id, viewer_id, Action.READ)
        community = place.community
        if community.form == Form.CHAT:
            raise HistoryNotKept
        member = await session.get(Membership, (community_id, member_id))
        if member is None or member.joined_at is None:
            raise MemberNotFound
        born = None if after is None else _born(after)
        posts, more_posts = await read_page(
            session, Post, select(Post).where(*_of(Post, community_id, member_id)), born and f"pst_{born}", limit
        )
        comments, more_comments = await read_page(
            session,
            Comment,
            select(Comment).where(*_of(Comment, community_id, member_id)),
            born and f"cmt_{born}",
            limit,
        )
        together: list[Post | Comment] = [*posts, *comments]
        page = sorted(together, key=lambda row: _born(row.id), reverse=True)[:limit]
        is_more = more_posts is not None or more_comments is not None or len(together) > len(page)
        shown = [row for row in page if isinstance(row, Post)]
        said = [row for row in page if isinstance(row, Comment)]
        viewer = look(place, now)
        board = await read_board(session, community, viewer, shown)
        comments_board = await read_comments_board(session, community, viewer, said)
        about = await session.exec(select(Post).where(col(Post.id).in_([row.post_id for row in said])))
        open_ = {post.id for post in about.all() if sees(post, viewer) and is_shown(post, place, viewer_id, now)}
        person = (await read_people(session, community_id, [member_id]))[member_id]
        counts = [
            await _count(session, *_of(Post, community_id, member_id)),
            await _count(session, *_of(Comment, community_id, member_id)),
            await _count(session, *_of(Comment, community_id, member_id), col(Comment.is_answer).is_(True)),
        ]
    cards = await read_cards(state, shown)
    return HistoryPage(
        items=[
            HistoryItem(post=board.post(row, cards), comment=None)
            if isinstance(row, Post)
            else HistoryItem(post=None, comment=comments_board.comment(row, with_words=row.post_id in open_))
            for row in page
        ],
        next=page[-1].id if is_more else None,
        member=person,
        posts=counts[0],
        comments=counts[1],
        answers=counts[2],
    )


def _born(id_: str) -> str:
    """What an id has in common with others of any kind: later ones are greater."""
    return id_.partition("_")[2]


def _of(model: type[Post | Comment], community_id: str, member_id: str) -> tuple[Any, ...]:
    return (
        model.community_id == community_id,
        model.author_id == member_id,
        col(model.hidden_at).is_(None),
        col(model.removed_at).is_(None),
    )


async def _count(session: AsyncSession, *conditions: Any) -> int:
    some = select(1).where(*conditions).limit(MOST_COUNTED).subquery()
    return (await session.exec(select(func.count()).select_from(some))).one()
