"""Posts: written, read, taken back, and pinned."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.domain.communities import JoinMode
from app.domain.errors import (
    AlreadyCheckedIn,
    CommunityNotFound,
    IdempotencyKeyReused,
    InvalidTerms,
    PostKindRefused,
    PostNotFound,
)
from app.domain.memberships import Action
from app.domain.posts import CARDS, MOST_PINNED, PostKind, takes
from app.models import Community, Post
from app.models.posts import HIDDEN, SHOWN, UNANSWERED
from app.schemas.fields import Page
from app.schemas.posts import FeedPage, PostCreate, PostPublic
from app.services import boards, facts, jobs
from app.services.activity import acted, seen
from app.services.boards import enter, find_post, record_post, remembered_from
from app.services.cards import check_card, read_cards
from app.services.check_ins import next_check_in
from app.services.days import note_day
from app.services.mentions import check_members, forget_mentions, mention
from app.services.pages import read_page
from app.services.standing import Place, require
from app.services.transactions import Work, transaction
from app.services.words import check_words
from app.state import State


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which posts of a community a list shows."""

    kind: PostKind | None = None
    unanswered: bool = False
    hidden: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is the feed itself, without a choice."""
        return self == Wanted()


async def create_post(
    state: State, author_id: str, community_id: str, body: PostCreate, request_key: str
) -> PostPublic:
    """Post something; the same key posts it once.

    Raises `CommunityNotFound`, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`, `IdempotencyKeyReused`,
    `PostKindRefused`, `AlreadyCheckedIn`, `WordsBlocked`, `TrustTooLow`, `PostLimit`, `MemberNotFound`,
    `GroupNotFound`, `SaleNotFound`, `InvalidTerms`.
    """
    async with transaction(state, state.clock()) as work:
        action = Action.POST_EXCLUSIVE if body.exclusive else Action.TAKE_PART
        place = await require(work.session, community_id, author_id, action, writes=True)
        await acted(work, community_id, author_id)
        post_id = await _find_posted(work.session, author_id, community_id, body, request_key)
        if post_id is None:
            post_id = await _write_post(work, place, author_id, body, request_key)
    return await get_post(state, author_id, post_id)


async def get_post(state: State, viewer_id: str, post_id: str) -> PostPublic:
    """A post. Raises `PostNotFound`, `MemberBlocked`, `NotAllowed`."""
    now = state.clock()
    async with state.database.snapshot() as session:
        post, place = await find_post(session, post_id, viewer_id, now)
        board = await boards.read_board(session, place.community, boards.look(place, now), [post])
    return board.post(post, await read_cards(state, [post]))


async def list_posts(
    state: State, viewer_id: str, community_id: str, wanted: Wanted, after: str | None, limit: int
) -> FeedPage:
    """Posts of a community, newest first; with `unanswered`, those that wait longest first. Hidden ones are for
    moderators. Raises `CommunityNotFound`, `MemberBlocked`, `NotAllowed`.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        action = Action.MODERATE if wanted.hidden else Action.READ
        place = await require(session, community_id, viewer_id, action)
        statement = feed_query(place.community, wanted, now)
        if wanted.unanswered:
            rows, following = await _read_waiting(session, statement, after, limit)
        else:
            rows, following = await read_page(session, Post, statement, after, limit)
        pinned = await _read_pinned(session, statement) if wanted.is_plain and after is None else []
        board = await boards.read_board(session, place.community, boards.look(place, now), [*rows, *pinned])
    await seen(state, place)
    cards = await read_cards(state, [*rows, *pinned])
    return FeedPage(
        items=[board.post(row, cards) for row in rows],
        next=following,
        pinned=[board.post(row, cards) for row in pinned],
    )


async def list_all(
    state: State, community_id: str, wanted: Wanted, after: str | None, limit: int
) -> Page[PostPublic]:
    """Posts of a community as operators see them, newest first. Raises `CommunityNotFound`."""
    now = state.clock()
    async with state.database.snapshot() as session:
        community = await session.get(Community, community_id)
        if community is None:
            raise CommunityNotFound
        rows, following = await read_page(session, Post, feed_query(community, wanted, now), after, limit)
        board = await boards.read_board(session, community, boards.look_as_operator(now), rows)
    cards = await read_cards(state, rows)
    return Page[PostPublic](items=[board.post(row, cards) for row in rows], next=following)


async def remove_post(state: State, member_id: str, post_id: str) -> None:
    """Take back a post of one's own: its words and pictures are gone. Raises `PostNotFound`, also for a post of
    somebody else, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`.
    """
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, post_id, member_id, Action.TAKE_PART)
        post = subject.post
        if post.author_id != member_id:
            raise PostNotFound
        await take_back(work, subject.community, post)


async def take_back(work: Work, community: Community, post: Post) -> None:
    """Remove a post that is locked, in its author's name: it names nobody any more, and offers nothing."""
    post.sqlmodel_update({"body": "", "pictures": [], "removed_at": work.now, "pinned_at": None})
    work.session.add(post)
    await forget_mentions(work, [post.id])
    await jobs.withdraw_with(work, post)
    await note_day(work, community, post.created_at)
    record_post(work, "post.removed", post, post.author_id)


async def pin_post(state: State, member_id: str, post_id: str, *, pinned: bool) -> PostPublic:
    """Show a post before the others, or no more. Raises `PostNotFound`, `NotAllowed`, `CommunityNotOpen`."""
    async with transaction(state, state.clock()) as work:
        post = (await enter(work, post_id, member_id, Action.MODERATE)).post
        if (post.pinned_at is not None) != pinned:
            post.pinned_at = work.now if pinned else None
            work.session.add(post)
            record_post(work, "post.pinned" if pinned else "post.unpinned", post, member_id)
    return await get_post(state, member_id, post_id)


def feed_query(community: Community, wanted: Wanted, now: datetime) -> SelectOfScalar[Post]:
    """The posts of a list, to be read page by page along an index that holds only what the list shows."""
    statement = select(Post).where(Post.community_id == community.id, text(HIDDEN if wanted.hidden else SHOWN))
    if wanted.kind is not None:
        statement = statement.where(Post.kind == wanted.kind)
    if wanted.unanswered:
        statement = statement.where(text(UNANSWERED))
    remembered = remembered_from(community, now)
    return statement if remembered is None else statement.where(Post.created_at > remembered)


async def _find_posted(
    session: AsyncSession, author_id: str, community_id: str, body: PostCreate, request_key: str
) -> str | None:
    """The post that was written with this key. Raises `IdempotencyKeyReused` when it says something else."""
    found = await session.exec(select(Post).where(Post.author_id == author_id, Post.request_key == request_key))
    posted = found.one_or_none()
    if posted is None:
        return None
    wanted = body.model_dump(exclude={"mentions"}) | {"community_id": community_id}
    if posted.removed_at is None and posted.model_dump(include=set(wanted)) != wanted:
        raise IdempotencyKeyReused
    return posted.id


async def _write_post(work: Work, place: Place, author_id: str, body: PostCreate, request_key: str) -> str:
    community, mentions = place.community, sorted(set(body.mentions) - {author_id})
    if not takes(community.purpose, body.kind):
        raise PostKindRefused(kind=body.kind)
    if body.exclusive and community.join_mode != JoinMode.PAID:
        raise InvalidTerms(field="exclusive", reason="is for a community with paid membership")
    shows = bool(body.pictures or mentions) or body.kind in CARDS
    checks_in = body.kind == PostKind.CHECK_IN
    await check_words(work, place, author_id, Post, body.body, shows=shows, free=checks_in)
    await check_members(work.session, community.id, mentions)
    await check_card(work.session, community, body.group_id, body.sale_id)
    post = Post(
        **body.model_dump(exclude={"mentions"}),
        community_id=community.id,
        author_id=author_id,
        created_at=work.now,
        request_key=request_key,
    )
    if checks_in:
        _, _, checked = await next_check_in(work.session, community, author_id, work.now)
        post.day, post.streak, post.night = checked.day.isoformat(), checked.streak, checked.night
        await facts.count_check_in(work, post.author_id, night=post.night)
    made = await work.session.exec(
        work.database.insert_unless_there(Post).values(post.model_dump()).returning(col(Post.id)),
    )
    inserted = made.first()
    if inserted is None:
        raise AlreadyCheckedIn if checks_in else IdempotencyKeyReused
    mention(work, community.id, post.id, mentions)
    record_post(work, "post.created", post, author_id)
    if body.kind == PostKind.JOB:
        jobs.offer(work, post)
    await note_day(work, community)
    return post.id


async def _read_waiting(
    session: AsyncSession, statement: SelectOfScalar[Post], after: str | None, limit: int
) -> tuple[list[Post], str | None]:
    """As `read_page`, oldest first."""
    if after is not None:
        statement = statement.where(Post.id > after)
    rows = (await session.exec(statement.order_by(col(Post.id)).limit(limit + 1))).all()
    page = list(rows[:limit])
    return page, page[-1].id if len(rows) > limit else None


async def _read_pinned(session: AsyncSession, statement: SelectOfScalar[Post]) -> list[Post]:
    pinned = statement.where(col(Post.pinned_at).is_not(None)).order_by(col(Post.pinned_at).desc())
    return list((await session.exec(pinned.limit(MOST_PINNED))).all())
