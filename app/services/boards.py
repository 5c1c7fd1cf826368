"""Posts and comments as members meet them: who may see and touch which, and how they are shown, a page at a time
with a number of reads that does not depend on its length.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import and_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import CommentNotFound, CommunityNotFound, NotAllowed, NotFoundError, PostNotFound
from app.domain.members import mask_name
from app.domain.memberships import Action, MembershipState, may
from app.domain.posts import PostKind, ReactionKind, answer_due, is_overdue
from app.models import Comment, Community, Hand, Job, Member, Membership, Mention, Post, Reaction
from app.schemas.groups import GroupPublic
from app.schemas.posts import (
    CheckInPublic,
    CommentPublic,
    HandPublic,
    JobPublic,
    PersonPublic,
    PostPublic,
    QuestionPublic,
)
from app.schemas.sales import SalePublic
from app.services.activity import acted
from app.services.cards import Cards
from app.services.locks import lock_post
from app.services.standing import Place, require
from app.services.transactions import Work


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and at what moment. `member_id` is None for an operator."""

    member_id: str | None
    sees_exclusive: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Board:
    """What is shown beside the rows of posts or comments of one community."""

    community: Community
    viewer: Viewer
    people: Mapping[str, PersonPublic]
    reactions: Mapping[str, list[ReactionKind]]
    mentions: Mapping[str, list[str]] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    hands: Mapping[str, list[Hand]] = field(default_factory=dict)

    def post(self, row: Post, cards: Cards) -> PostPublic:
        """A post as it is shown."""
        open_, card = sees(row, self.viewer), cards.get(row.id)
        return PostPublic(
            **row.model_dump(include=SAME_OF_POSTS),
            author=self.people[row.author_id],
            body=row.body if open_ else None,
            pictures=row.pictures if open_ else [],
            mentions=[self.people[id_] for id_ in self.mentions.get(row.id, [])] if open_ else [],
            reactions=self.reactions.get(row.id, []),
            check_in=None if row.day is None else CheckInPublic.model_validate(row, from_attributes=True),
            question=self._question(row) if row.kind == PostKind.QUESTION else None,
            job=self._job(row) if open_ else None,
            group=card if open_ and isinstance(card, GroupPublic) else None,
            sale=card if open_ and isinstance(card, SalePublic) else None,
        )

    def comment(self, row: Comment, *, with_words: bool = True) -> CommentPublic:
        """A comment as it is shown; without words, if its post is not for who looks."""
        return CommentPublic(
            **row.model_dump(include=SAME_OF_COMMENTS),
            author=self.people[row.author_id],
            body=row.body if with_words else None,
            reactions=self.reactions.get(row.id, []),
        )

    def _question(self, row: Post) -> QuestionPublic:
        due = answer_due(row.created_at, self.community.answer_minutes)
        overdue = is_overdue(due, row.answered_at, self.viewer.now)
        return QuestionPublic(answered_at=row.answered_at, answer_due_at=due, overdue=overdue)

    def _job(self, row: Post) -> JobPublic | None:
        job = self.jobs.get(row.id)
        if job is None:
            return None
        return JobPublic(
            state=job.state,
            holder=None if job.holder_id is None else self.people[job.holder_id],
            hands=[
                HandPublic(
                    number=hand.number,
                    giver=self.people[hand.giver_id],
                    receiver=self.people[hand.receiver_id],
                    created_at=hand.created_at,
                )
                for hand in self.hands.get(row.id, [])
            ],
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """A post, or a comment to it, to which a member does something. The post is locked."""

    post: Post
    comment: Comment | None
    place: Place

    @property
    def community(self) -> Community:
        return self.place.community

    @property
    def row(self) -> Post | Comment:
        """What it is about."""
        return self.comment or self.post


SAME_OF_POSTS = PostPublic.model_fields.keys() & Post.model_fields.keys() - {"body", "pictures"}
SAME_OF_COMMENTS = CommentPublic.model_fields.keys() & Comment.model_fields.keys() - {"body"}


def look(place: Place, now: datetime) -> Viewer:
    """A member who looks: they see what is exclusive if they have paid, or if they write or keep it."""
    row, standing = place.membership, place.standing
    paid = row is not None and row.paid_until is not None and row.paid_until > now
    trusted = may(standing, Action.POST_EXCLUSIVE) or may(standing, Action.MODERATE)
    return Viewer(None if row is None else row.member_id, paid or trusted, now)


def look_as_operator(now: datetime) -> Viewer:
    """An operator who looks."""
    return Viewer(None, sees_exclusive=True, now=now)


def remembered_from(community: Community, now: datetime) -> datetime | None:
    """Up to when a chat has forgotten what was said; None where all is kept."""
    return None if community.memory_days is None else now - timedelta(days=community.memory_days)


async def find_post(
    session: AsyncSession, post_id: str, viewer_id: str | None, now: datetime
) -> tuple[Post, Place]:
    """A post that somebody may read, and their place. Raises `PostNotFound`, `MemberBlocked`, `NotAllowed`."""
    row = await session.get(Post, post_id)
    if row is None:
        raise PostNotFound
    place = await _take_place(session, row, viewer_id, Action.READ, PostNotFound)
    if not is_shown(row, place, viewer_id, now):
        raise PostNotFound
    return row, place


async def enter(work: Work, subject_id: str, member_id: str, action: Action) -> Subject:
    """Lock a post, or that of a comment, to which a member does something that they may. Raises `PostNotFound`,
    `CommentNotFound`, `MemberBlocked`, `NotAllowed`, also for what is exclusive and not for them,
    `CommunityNotOpen`.
    """
    comment = await work.session.get(Comment, subject_id)
    is_comment = subject_id.startswith("cmt_")
    nothing = CommentNotFound if is_comment else PostNotFound
    row = await work.session.get(Post, subject_id if comment is None else comment.post_id)
    if row is None:
        raise nothing
    place = await _take_place(work.session, row, member_id, action, nothing, writes=True)
    await acted(work, row.community_id, member_id)
    post = await lock_post(work.session, row.id)
    if comment is not None:
        await work.session.refresh(comment)
    if post is None or not all(is_shown(one, place, member_id, work.now) for one in (post, comment) if one):
        raise nothing
    if not sees(post, look(place, work.now)):
        raise NotAllowed
    return Subject(post, comment, place)


async def _take_place(
    session: AsyncSession,
    row: Post,
    member_id: str | None,
    action: Action,
    nothing: type[NotFoundError],
    *,
    writes: bool = False,
) -> Place:
    """As `require`; where one may not see the community, there is `nothing` of it either."""
    try:
        return await require(session, row.community_id, member_id, action, writes=writes)
    except CommunityNotFound:
        raise nothing from None


def is_shown(row: Post | Comment, place: Place, member_id: str | None, now: datetime) -> bool:
    """Whether a member may see something at all: it was not taken back and is not forgotten, and hidden from none
    but others than its author and moderators.
    """
    remembered = remembered_from(place.community, now)
    gone = row.removed_at is not None or (remembered is not None and row.created_at <= remembered)
    kept = row.hidden_at is None or row.author_id == member_id or may(place.standing, Action.MODERATE)
    return kept and not gone


def sees(post: Post, viewer: Viewer) -> bool:
    """Whether the words of a post are for who looks."""
    return not post.exclusive or viewer.sees_exclusive or post.author_id == viewer.member_id


def record_post(work: Work, type_: str, post: Post, member_id: str | None) -> None:
    """Write an event of a post; `member_id` is who did it, None where no member did."""
    work.record(type_, post.id, community_id=post.community_id, member_id=member_id, kind=post.kind)


async def read_board(session: AsyncSession, community: Community, viewer: Viewer, posts: Sequence[Post]) -> Board:
    """What is shown beside these posts."""
    ids = [post.id for post in posts]
    named = await session.exec(
        select(Mention).where(col(Mention.subject_id).in_(ids)).order_by(col(Mention.subject_id)),
    )
    mentions = {
        subject_id: sorted(mention.member_id for mention in group)
        for subject_id, group in groupby(named.all(), key=lambda mention: mention.subject_id)
    }
    jobs = {job.id: job for job in (await session.exec(select(Job).where(col(Job.id).in_(ids)))).all()}
    found = await session.exec(
        select(Hand).where(col(Hand.post_id).in_(jobs)).order_by(col(Hand.post_id), col(Hand.number)),
    )
    hands = {post_id: list(group) for post_id, group in groupby(found.all(), key=lambda hand: hand.post_id)}
    people = {post.author_id for post in posts} | {id_ for named_ids in mentions.values() for id_ in named_ids}
    people |= {job.holder_id for job in jobs.values() if job.holder_id is not None}
    people |= {id_ for group in hands.values() for hand in group for id_ in (hand.giver_id, hand.receiver_id)}
    return Board(
        community,
        viewer,
        await read_people(session, community.id, people),
        await read_reactions(session, viewer, ids),
        mentions,
        jobs,
        hands,
    )


async def read_comments_board(
    session: AsyncSession, community: Community, viewer: Viewer, comments: Sequence[Comment]
) -> Board:
    """What is shown beside these comments."""
    people = await read_people(session, community.id, {row.author_id for row in comments})
    reactions = await read_reactions(session, viewer, [row.id for row in comments])
    return Board(community, viewer, people, reactions)


async def read_people(
    session: AsyncSession, community_id: str, member_ids: Collection[str]
) -> dict[str, PersonPublic]:
    """Members as the others of a community see them, by their ids."""
    rows = await session.exec(
        select(Member.id, Member.name, Membership)
        .join(
            Membership,
            and_(col(Membership.member_id) == Member.id, col(Membership.community_id) == community_id),
            isouter=True,
        )
        .where(col(Member.id).in_(member_ids)),
    )
    return {id_: _person(id_, name, membership) for id_, name, membership in rows.all()}


def _person(id_: str, name: str, membership: Membership | None) -> PersonPublic:
    here = membership is not None and membership.state == MembershipState.ACTIVE
    nickname = membership.nickname if membership is not None else ""
    role = membership.role if membership is not None and here else None
    return PersonPublic(member_id=id_, name=nickname or mask_name(name), role=role)


async def read_reactions(
    session: AsyncSession, viewer: Viewer, subject_ids: Collection[str]
) -> dict[str, list[ReactionKind]]:
    """With what a viewer has reacted, by what they reacted to."""
    if viewer.member_id is None:
        return {}
    rows = await session.exec(
        select(Reaction)
        .where(col(Reaction.subject_id).in_(subject_ids), Reaction.member_id == viewer.member_id)
        .order_by(col(Reaction.subject_id), col(Reaction.kind)),
    )
    return {
        subject_id: [reaction.kind for reaction in group]
        for subject_id, group in groupby(rows.all(), key=lambda reaction: reaction.subject_id)
    }
