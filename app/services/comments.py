"""Comments to posts, and answers to questions."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import CommentNotFound, IdempotencyKeyReused, NotAllowed
from app.domain.memberships import Action
from app.domain.notices import NoticeKind
from app.domain.posts import is_answer
from app.models import Comment, Community, Post
from app.schemas.fields import Page
from app.schemas.posts import CommentCreate, CommentPublic
from app.services.boards import Subject, enter, find_post, look, read_comments_board, remembered_from, sees
from app.services.days import note_day
from app.services.encounters import meet
from app.services.mentions import check_members, forget_mentions, mention
from app.services.notices import notify
from app.services.pages import read_page
from app.services.standing import Place
from app.services.transactions import Work, transaction
from app.services.words import check_words
from app.state import State

ANSWERED = "您的提问有了回答 Your question was answered"


async def create_comment(
    state: State, author_id: str, post_id: str, body: CommentCreate, request_key: str
) -> CommentPublic:
    """Say something to a post; the same key says it once.

    Raises `PostNotFound`, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`, `IdempotencyKeyReused`,
    `WordsBlocked`, `TrustTooLow`, `PostLimit`, `MemberNotFound`, `CommentNotFound`.
    """
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, post_id, author_id, Action.TAKE_PART)
        row = await _find_said(work.session, author_id, post_id, body, request_key)
        if row is None:
            row = await _write_comment(work, subject, author_id, body, request_key)
        return await _show(work, subject.place, row)


async def list_comments(
    state: State, viewer_id: str, post_id: str, after: str | None, limit: int
) -> Page[CommentPublic]:
    """What was said to a post, newest first. Raises `PostNotFound`, `MemberBlocked`, `NotAllowed`, also for an
    exclusive post that is not for them.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        post, place = await find_post(session, post_id, viewer_id, now)
        viewer = look(place, now)
        if not sees(post, viewer):
            raise NotAllowed
        statement = select(Comment).where(
            Comment.post_id == post_id, col(Comment.hidden_at).is_(None), col(Comment.removed_at).is_(None)
        )
        remembered = remembered_from(place.community, now)
        if remembered is not None:
            statement = statement.where(Comment.created_at > remembered)
        rows, following = await read_page(session, Comment, statement, after, limit)
        board = await read_comments_board(session, place.community, viewer, rows)
    return Page[CommentPublic](items=[board.comment(row) for row in rows], next=following)


async def remove_comment(state: State, member_id: str, comment_id: str) -> None:
    """Take back a comment of one's own: its words are gone. Raises `CommentNotFound`, also for one of somebody
    else, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`.
    """
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, comment_id, member_id, Action.TAKE_PART)
        row = subject.comment
        if row is None or row.author_id != member_id:
            raise CommentNotFound
        await take_back(work, subject.community, subject.post, row)


async def take_back(work: Work, community: Community, post: Post, row: Comment) -> None:
    """Remove a comment, whose post is locked, in its author's name: it is counted no more, and names nobody."""
    if row.hidden_at is None:
        post.comment_count -= 1
        work.session.add(post)
    row.sqlmodel_update({"body": "", "removed_at": work.now})
    work.session.add(row)
    await forget_mentions(work, [row.id])
    await note_day(work, community, row.created_at)
    work.record("comment.removed", row.id, community_id=row.community_id, member_id=row.author_id)


async def _find_said(
    session: AsyncSession, author_id: str, post_id: str, body: CommentCreate, request_key: str
) -> Comment | None:
    """The comment that was written with this key. Raises `IdempotencyKeyReused` when it says something else,
    `CommentNotFound` when it was taken back.
    """
    found = await session.exec(
        select(Comment).where(Comment.author_id == author_id, Comment.request_key == request_key),
    )
    said = found.one_or_none()
    if said is None:
        return None
    if said.removed_at is not None:
        raise CommentNotFound
    if (said.post_id, said.body) != (post_id, body.body):
        raise IdempotencyKeyReused
    return said


async def _write_comment(
    work: Work, subject: Subject, author_id: str, body: CommentCreate, request_key: str
) -> Comment:
    post, community = subject.post, subject.community
    mentions = sorted(set(body.mentions) - {author_id})
    await check_words(work, subject.place, author_id, Comment, body.body, shows=bool(mentions))
    await check_members(work.session, community.id, mentions)
    asked = author_id == post.author_id
    row = Comment(
        post_id=post.id,
        community_id=community.id,
        author_id=author_id,
        body=body.body,
        is_answer=is_answer(post.kind, community.purpose, subject.place.standing, asked=asked),
        created_at=work.now,
        request_key=request_key,
    )
    made = await work.session.exec(
        work.database.insert_unless_there(Comment).values(row.model_dump()).returning(col(Comment.id)),
    )
    inserted = made.first()
    if inserted is None:
        raise IdempotencyKeyReused
    post.comment_count += 1
    if row.is_answer:
        post.answered_at = post.answered_at or work.now
        links = {"community_id": community.id, "subject_id": row.id}
        notify(work, [post.author_id], NoticeKind.ANSWER, ANSWERED, **links)
        await note_day(work, community, post.created_at)
    work.session.add(post)
    mention(work, community.id, row.id, mentions)
    await meet(work, community, author_id, post.author_id)
    await note_day(work, community)
    work.record(
        "comment.created",
        row.id,
        community_id=community.id,
        member_id=author_id,
        post_id=post.id,
        answer=row.is_answer,
    )
    return row


async def _show(work: Work, place: Place, row: Comment) -> CommentPublic:
    board = await read_comments_board(work.session, place.community, look(place, work.now), [row])
    return board.comment(row)
