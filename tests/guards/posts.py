"""Guards of what members do in communities: who may, what is left of it, and that it happens once."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import col

from app.domain.encounters import POSTS, Level
from app.domain.errors import (
    CommentNotFound,
    HistoryNotKept,
    IdempotencyKeyReused,
    InvalidTerms,
    JobRefused,
    MemberNotFound,
    NotAllowed,
    Outranked,
    PostKindRefused,
    PostLimit,
    PostNotFound,
    ReportDecided,
    ReportNotFound,
    TrustTooLow,
    WordsBlocked,
)
from app.domain.jobs import MAX_HANDS
from app.domain.memberships import MembershipState, Role
from app.domain.posts import PostKind, ReactionKind, ReportReason, ReportState
from app.models import Comment, Encounter, Membership, Post, Reaction, Report
from app.models import Community as CommunityRow
from app.schemas.memberships import MembershipUpdate
from app.schemas.posts import CommentCreate, PostCreate
from app.schemas.reports import ReportCreate
from app.schemas.tips import TipCreate
from app.services import comments, encounters, histories, jobs, locks, memberships, posts, reactions, reports, tips
from app.services.activity import acted
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.orders import unlocked
from tests.guards.world import World
from tests.promises.community import Community, appoint, change, enrol, of
from tests.promises.money import give
from tests.service import FLASH, Member

ACTIVITY, BOARDS, COMMENTS, JOBS, MENTIONS, POSTS_, REACTIONS, REPORTS, WORDS = (
    f"app.services.{name}"
    for name in ("activity", "boards", "comments", "jobs", "mentions", "posts", "reactions", "reports", "words")
)
ANY_JOB = "dict.fromkeys(JobState, frozenset(JobState))"
NOTHING = f"pst_{'0' * 32}"


@dataclass(slots=True)
class Village:
    """A community with an owner and two members; nobody in it is known to other probes."""

    world: World
    community: Community
    owner: Member
    one: Member
    two: Member

    @property
    def id(self) -> str:
        return str(self.community["id"])

    async def post(self, author: Member, body: str = "你好", **more: Any) -> str:
        """A new post; its id."""
        wanted = PostCreate(**{"body": body} | more)
        return (await posts.create_post(self.world.state, author.id, self.id, wanted, uuid4().hex)).id

    async def comment(self, author: Member, post_id: str, body: str = "好", key: str = "", **more: Any) -> str:
        """A new comment; its id."""
        wanted = CommentCreate(**{"body": body} | more)
        made = await comments.create_comment(self.world.state, author.id, post_id, wanted, key or uuid4().hex)
        return made.id

    async def job(self, *, taken: bool = True) -> str:
        """A job of the owner's, which the first member takes."""
        job_id = await self.post(self.owner, kind=PostKind.JOB)
        if taken:
            await jobs.take(self.world.state, self.one.id, job_id)
        return job_id

    async def exclusive(self) -> str:
        """A post of the owner's for those who have paid, which nobody has."""
        plan = await self.world.service.sale(**FLASH)
        terms = {"join_mode": "paid", "period_days": 30, "plan_sale_id": plan.id}
        await change(self.world.service, CommunityRow, col(CommunityRow.id) == self.id, **terms)
        return await self.post(self.owner, exclusive=True)


async def village(world: World, **terms: Any) -> Village:
    owner, one, two = await world.service.members(3)
    community = await world.service.community(owner, **terms)
    await enrol(community, one, two)
    return Village(world, community, owner, one, two)


@notices(
    Cut(f"{ACTIVITY}.acted", "col(Membership.community_id) == community_id", "True"),
    Cut(f"{ACTIVITY}.acted", "col(Membership.member_id) == member_id", "True"),
    Cut(f"{ACTIVITY}.acted", "col(Membership.state) == MembershipState.ACTIVE", "True"),
    *cuts(f"{ACTIVITY}.acted", "found.first() is None"),
)
async def who_acts_is_one_member_who_is_there(world: World) -> None:
    here = await village(world)
    other = await world.service.community(here.one)
    async with world.work() as work:
        await acted(work, here.id, here.one.id)
    for place in ((other["id"], here.one.id), (here.id, here.two.id)):
        assert (await world.row(Membership, place)).acted_at is None
    left = {"state": MembershipState.LEFT, "left_at": world.service.clock(), "leave_reason": "other"}
    await change(world.service, Membership, *of(here.community, here.two), **left)
    with pytest.raises(NotAllowed):
        async with world.work() as work:
            await acted(work, here.id, here.two.id)


@notices(
    *cuts(f"{BOARDS}.find_post", "not is_shown(row, place, viewer_id, now)"),
    *cuts(
        f"{BOARDS}.enter",
        "not all((is_shown(one, place, member_id, work.now) for one in (post, comment) if one))",
    ),
    *cuts(f"{POSTS_}.remove_post", "post.author_id != member_id"),
    *cuts(f"{COMMENTS}.remove_comment", "row.author_id != member_id"),
    *cuts(f"{COMMENTS}._find_said", "said.removed_at is not None"),
)
async def what_is_taken_back_is_gone_and_only_ones_own(world: World) -> None:
    here = await village(world)
    post_id = await here.post(here.one)
    comment_id = await here.comment(here.one, post_id, key="once")
    with pytest.raises(PostNotFound):
        await posts.remove_post(world.state, here.two.id, post_id)
    with pytest.raises(CommentNotFound):
        await comments.remove_comment(world.state, here.two.id, comment_id)
    await comments.remove_comment(world.state, here.one.id, comment_id)
    with pytest.raises(CommentNotFound):
        await reactions.react(world.state, here.two.id, comment_id, ReactionKind.LIKE)
    with pytest.raises(CommentNotFound):
        await here.comment(here.one, post_id, key="once")
    await posts.remove_post(world.state, here.one.id, post_id)
    with pytest.raises(PostNotFound):
        await posts.get_post(world.state, here.one.id, post_id)
    with pytest.raises(PostNotFound):
        await reactions.react(world.state, here.two.id, post_id, ReactionKind.LIKE)


@notices(
    *cuts(f"{BOARDS}.enter", "not sees(post, look(place, work.now))"),
    *cuts(f"{COMMENTS}.list_comments", "not sees(post, viewer)"),
    *cuts(f"{POSTS_}._write_post", "body.exclusive and community.join_mode != JoinMode.PAID"),
)
async def what_is_exclusive_is_for_those_who_paid(world: World) -> None:
    here = await village(world)
    with pytest.raises(InvalidTerms):
        await here.post(here.owner, exclusive=True)
    post_id = await here.exclusive()
    with pytest.raises(NotAllowed):
        await here.comment(here.one, post_id)
    with pytest.raises(NotAllowed):
        await comments.list_comments(world.state, here.one.id, post_id, None, 20)


@notices(
    *cuts(
        f"{POSTS_}._find_posted",
        "posted.removed_at is None and posted.model_dump(include=set(wanted)) != wanted",
    ),
    *cuts(f"{COMMENTS}._find_said", "(said.post_id, said.body) != (post_id, body.body)"),
    *cuts(f"{POSTS_}._write_post", "not takes(community.purpose, body.kind)"),
)
async def a_key_is_for_one_post(world: World) -> None:
    here = await village(world)
    await posts.create_post(world.state, here.owner.id, here.id, PostCreate(body="一"), "once")
    with pytest.raises(IdempotencyKeyReused):
        await posts.create_post(world.state, here.owner.id, here.id, PostCreate(body="二"), "once")
    post_id = await here.post(here.owner)
    await here.comment(here.one, post_id, "一", "once")
    with pytest.raises(IdempotencyKeyReused):
        await here.comment(here.one, post_id, "二", "once")
    with pytest.raises(PostKindRefused):
        await here.post(here.owner, kind=PostKind.CHECK_IN)


@notices(
    *cuts(
        f"{WORDS}.check_words", "is_blocked(body, place.community.blocked_words)", "shows and level < SHOWS_FROM"
    ),
    *cuts(f"{WORDS}._check_pace", "if wait"),
    *cuts(f"{MENTIONS}.check_members", "found.one() < len(member_ids)"),
    Cut(
        "app.services.memberships.update_membership",
        "is_blocked(text, place.community.blocked_words) for text",
        "False for text",
    ),
)
async def newcomers_write_little_and_nobody_what_is_blocked(world: World) -> None:
    here = await village(world, blocked_words=["加微信"])
    with pytest.raises(WordsBlocked):
        await here.post(here.owner, "加-微-信")
    with pytest.raises(WordsBlocked):
        await memberships.update_membership(world.state, here.one.id, here.id, MembershipUpdate(bio="加微信"))
    with pytest.raises(TrustTooLow):
        await here.post(here.one, mentions=[here.two.id])
    with pytest.raises(MemberNotFound):
        await here.post(here.owner, mentions=[(await world.service.member()).id])
    for _ in range(POSTS[Level.NEW]):
        await here.post(here.one)
    with pytest.raises(PostLimit):
        await here.post(here.one)


@notices(Cut(f"{MENTIONS}.forget_mentions", "col(Mention.subject_id).in_(subject_ids)", "True"))
async def what_is_taken_back_takes_no_other_mentions_along(world: World) -> None:
    here = await village(world)
    kept, gone = [await here.post(here.owner, mentions=[here.one.id]) for _ in range(2)]
    await posts.remove_post(world.state, here.owner.id, gone)
    assert await world.count("mentions WHERE subject_id = :id", id=kept) == 1


@notices(
    *cuts("app.services.encounters.meet", "giver_id == receiver_id"),
    *cuts("app.services.histories.list_written", "community.form == Form.CHAT", "member.joined_at is None"),
)
async def nobody_meets_themselves_and_a_chat_has_no_history(world: World) -> None:
    here = await village(world, form="chat")
    row = await world.row(CommunityRow, here.id)
    async with world.work() as work:
        await encounters.meet(work, row, here.one.id, here.one.id)
    assert await world.count(f"{Encounter.__tablename__} WHERE community_id = :id", id=here.id) == 0
    with pytest.raises(HistoryNotKept):
        await histories.list_written(world.state, here.one.id, here.id, here.one.id, None, 20)
    forum, applicant = await village(world), await world.service.member()
    async with world.work() as work:
        work.session.add(Membership(community_id=forum.id, member_id=applicant.id, state=MembershipState.APPLIED))
    with pytest.raises(MemberNotFound):
        await histories.list_written(world.state, forum.one.id, forum.id, applicant.id, None, 20)


@notices(
    Cut(f"{REACTIONS}.take_back", "col(Reaction.subject_id) == subject_id", "True"),
    Cut(f"{REACTIONS}.take_back", "col(Reaction.member_id) == member_id", "True"),
    Cut(f"{REACTIONS}.take_back", "col(Reaction.kind) == kind", "True"),
)
async def one_takes_back_one_reaction(world: World) -> None:
    here = await village(world)
    made, other = await here.post(here.owner), await here.post(here.owner)
    for member, subject, kind in (
        (here.one, made, ReactionKind.LIKE),
        (here.one, made, ReactionKind.THANKS),
        (here.one, other, ReactionKind.LIKE),
        (here.two, made, ReactionKind.LIKE),
    ):
        await reactions.react(world.state, member.id, subject, kind)
    async with world.unbroken():
        assert (await reactions.take_back(world.state, here.one.id, made, ReactionKind.LIKE)).reaction_count == 2
    assert await world.count(f"{Reaction.__tablename__} WHERE community_id = :id", id=here.id) == 3


@notices(
    *cuts(
        f"{JOBS}.take",
        "member_id == subject.post.author_id",
        "job.state == JobState.TAKEN and job.holder_id == member_id",
    ),
    *cuts(
        f"{JOBS}.hand_on",
        "job.holder_id != member_id",
        "job.state != JobState.TAKEN",
        "receiver_id in {member_id, subject.post.author_id}",
    ),
    *cuts(f"{JOBS}.finish", "job.state == JobState.DONE"),
    *cuts(f"{JOBS}.withdraw", "job.state == JobState.WITHDRAWN"),
    *cuts(f"{JOBS}._own", "subject.post.author_id != member_id"),
    Cut(f"{JOBS}._move", "work.advance(JOB_TRANSITIONS,", f"work.advance({ANY_JOB},"),
    Cut(f"{JOBS}.withdraw_with", "work.advance(JOB_TRANSITIONS,", f"work.advance({ANY_JOB},"),
)
async def a_job_goes_the_way_of_its_table(world: World) -> None:
    here, state = await village(world), world.state
    one, two, owner = here.one.id, here.two.id, here.owner.id
    job_id = await here.job(taken=False)
    with pytest.raises(NotAllowed):
        await jobs.take(state, owner, job_id)
    await jobs.take(state, one, job_id)
    await jobs.take(state, one, job_id)
    with pytest.raises(NotAllowed):
        await jobs.hand_on(state, two, job_id, one)
    with pytest.raises(InvalidTerms):
        await jobs.hand_on(state, one, job_id, owner)
    with pytest.raises(NotAllowed):
        await jobs.finish(state, one, job_id)
    async with world.unbroken():
        await jobs.finish(state, owner, job_id)
        await jobs.finish(state, owner, job_id)
        with pytest.raises(JobRefused):
            await jobs.hand_on(state, one, job_id, two)
        with pytest.raises(JobRefused):
            await jobs.withdraw(state, owner, job_id)
        await posts.remove_post(state, owner, job_id)
    withdrawn = await here.job()
    await jobs.withdraw(state, owner, withdrawn)
    await jobs.withdraw(state, owner, withdrawn)


@notices(*cuts(f"{JOBS}.hand_on", "hands >= MAX_HANDS"))
async def a_job_goes_through_so_many_hands(world: World) -> None:
    here = await village(world)
    job_id, pair = await here.job(), (here.one.id, here.two.id)
    for number in range(MAX_HANDS - 1):
        await jobs.hand_on(world.state, pair[number % 2], job_id, pair[(number + 1) % 2])
    with pytest.raises(JobRefused):
        await jobs.hand_on(world.state, pair[(MAX_HANDS - 1) % 2], job_id, pair[MAX_HANDS % 2])


async def reported(here: Village, author: Member | None = None) -> tuple[str, str]:
    """A post of a member's that the other one reported: the ids of both."""
    post_id = await here.post(author or here.one)
    body = ReportCreate(reason=ReportReason.ADVERTISING)
    return post_id, (await reports.report(here.world.state, here.two.id, post_id, body)).id


@notices(
    *cuts(f"{REPORTS}.decide", "found.community_id != community_id", "found.state != verdict"),
    Cut(f"{REPORTS}.settle", "col(Report.subject_id) == subject.row.id", "True"),
    Cut(f"{REPORTS}.settle", "col(Report.state) == ReportState.OPEN", "True"),
    *cuts(f"{REPORTS}._hide", "(row.hidden_at is not None) == hidden"),
    *cuts(f"{REPORTS}.moderate_as_operator", "post.community_id != community_id", "post.removed_at is not None"),
)
async def a_report_is_decided_once_with_all_of_its_subject(world: World) -> None:
    here, elsewhere = await village(world), await village(world)
    state, owner = world.state, here.owner.id
    (post_id, report_id), (_, other_id) = await reported(here), await reported(here)
    with pytest.raises(ReportNotFound):
        await reports.decide(state, elsewhere.owner.id, elsewhere.id, report_id, ReportState.UPHELD)
    await reports.decide(state, owner, here.id, report_id, ReportState.UPHELD)
    with pytest.raises(ReportDecided):
        await reports.decide(state, owner, here.id, report_id, ReportState.DISMISSED)
    assert (await world.row(Report, other_id)).state == ReportState.OPEN
    await reports.moderate(state, owner, post_id, hidden=False)
    assert (await world.row(Report, report_id)).state == ReportState.UPHELD
    comment_id = await here.comment(here.one, post_id)
    async with world.unbroken():
        for _ in range(2):
            await reports.moderate(state, owner, comment_id, hidden=True)
    await posts.remove_post(state, here.one.id, post_id)
    for community_id, subject_id in ((elsewhere.id, await here.post(here.two)), (here.id, post_id)):
        with pytest.raises(PostNotFound):
            await reports.moderate_as_operator(state, community_id, subject_id, hidden=True)


@notices(*cuts(f"{REPORTS}.check_rank", "not own and (not outranks(place.standing, author.standing))"))
async def nobody_hides_what_a_peer_wrote(world: World) -> None:
    here = await village(world)
    for member in (here.one, here.two):
        await appoint(world.service, here.community, member, Role.MODERATOR)
    post_id = await here.post(here.one)
    with pytest.raises(Outranked):
        await reports.moderate(world.state, here.two.id, post_id, hidden=True)
    await reports.moderate(world.state, here.one.id, post_id, hidden=True)


@notices(
    *cuts(
        "app.services.tips._enter",
        "body.community_id is None",
        "row.community_id != body.community_id",
        "not theirs",
    ),
)
async def a_tip_is_for_what_its_receiver_did_there(world: World) -> None:
    here, elsewhere = await village(world), await village(world)
    await give(world.service, here.owner, 1000)

    async def tip(**more: Any) -> None:
        body = TipCreate(amount=1, **more)
        await tips.tip(world.state, here.owner.id, here.one.id, body, uuid4().hex)

    await tip()
    await enrol(elsewhere.community, here.one)
    foreign, of_another = await elsewhere.post(here.one), await here.post(here.two)
    for subject_id in (foreign, of_another):
        with pytest.raises(InvalidTerms):
            await tip(community_id=here.id, subject_id=subject_id)


@notices(*map(unlocked, ("lock_post", "lock_older_posts", "lock_older_comments")))
async def what_is_written_is_locked(world: World) -> None:
    here = await village(world)
    post_id = await here.post(here.one)
    comment_id = await here.comment(here.two, post_id)
    later = world.service.clock() + timedelta(days=1)
    async with world.database.transaction() as session:
        assert await locks.lock_post(session, post_id)
        assert await world.is_locked(Post, post_id)
    async with world.database.transaction() as session:
        assert len(await locks.lock_older_posts(session, here.id, later, 10)) == 1
        assert await world.is_locked(Post, post_id)
    await posts.remove_post(world.state, here.one.id, post_id)
    async with world.database.transaction() as session:
        assert len(await locks.lock_older_comments(session, here.id, later, 10)) == 1
        assert await world.is_locked(Comment, comment_id)
