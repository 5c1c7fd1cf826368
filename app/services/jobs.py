"""Jobs: offered in a post, taken by one, handed on, done or withdrawn. What a job is worth is tipped."""

from sqlalchemy import func
from sqlmodel import col, select

from app.domain.errors import InvalidTerms, JobRefused, NotAllowed, PostNotFound
from app.domain.jobs import JOB_TRANSITIONS, MAX_HANDS, JobState
from app.domain.memberships import Action
from app.domain.notices import NoticeKind
from app.models import Hand, Job, Post
from app.services.boards import Subject, enter
from app.services.days import note_day
from app.services.encounters import meet
from app.services.mentions import check_members
from app.services.notices import notify
from app.services.transactions import Work, transaction
from app.state import State

HANDED = "有人把一项任务转交给您 A job was handed on to you"


def offer(work: Work, post: Post) -> None:
    """Offer what a new post describes."""
    work.session.add(Job(id=post.id, state=JobState.OFFERED))
    _record(work, post, post.author_id, None, JobState.OFFERED)


async def take(state: State, member_id: str, post_id: str) -> None:
    """Take a job that is offered; who has it already, keeps it. Raises `PostNotFound`, also for a post that is no
    job, `MemberBlocked`, `NotAllowed`, also to who offers it, `CommunityNotOpen`, `JobRefused`.
    """
    async with transaction(state, state.clock()) as work:
        subject, job = await _enter(work, member_id, post_id)
        if member_id == subject.post.author_id:
            raise NotAllowed
        if job.state == JobState.TAKEN and job.holder_id == member_id:
            return
        await _move(work, subject, job, member_id, JobState.TAKEN, holder_id=member_id)
        _pass(work, job, 1, subject.post.author_id, member_id)


async def hand_on(state: State, member_id: str, post_id: str, receiver_id: str) -> None:
    """Hand a job that one has on to another member. Raises `PostNotFound`, `MemberBlocked`, `NotAllowed` to who
    does not have it, `CommunityNotOpen`, `JobRefused`, `MemberNotFound`, `InvalidTerms` for oneself and who offers
    it.
    """
    async with transaction(state, state.clock()) as work:
        subject, job = await _enter(work, member_id, post_id)
        if job.holder_id != member_id:
            raise NotAllowed
        hands = (await work.session.exec(select(func.count()).where(col(Hand.post_id) == post_id))).one()
        if job.state != JobState.TAKEN or hands >= MAX_HANDS:
            raise JobRefused(state=job.state)
        if receiver_id in {member_id, subject.post.author_id}:
            raise InvalidTerms(field="member_id", reason="must be another member, who did not offer it")
        await check_members(work.session, subject.community.id, [receiver_id])
        job.holder_id = receiver_id
        work.session.add(job)
        _pass(work, job, hands + 1, member_id, receiver_id)
        work.record("job.handed_on", job.id, community_id=subject.community.id, member_id=member_id, to=receiver_id)
        notify(
            work, [receiver_id], NoticeKind.MENTION, HANDED, community_id=subject.community.id, subject_id=post_id
        )
        await note_day(work, subject.community)


async def finish(state: State, member_id: str, post_id: str) -> None:
    """Say that a job of one's own is done: whoever has it, did it. Raises `PostNotFound`, `MemberBlocked`,
    `NotAllowed` to who did not offer it, `CommunityNotOpen`, `JobRefused`.
    """
    async with transaction(state, state.clock()) as work:
        subject, job = await _own(work, member_id, post_id)
        if job.state == JobState.DONE:
            return
        await _move(work, subject, job, member_id, JobState.DONE, ended_at=work.now)
        if job.holder_id is not None:  # a job that is done has been held: each gave the other something
            await meet(work, subject.community, job.holder_id, member_id)
            await meet(work, subject.community, member_id, job.holder_id)


async def withdraw(state: State, member_id: str, post_id: str) -> None:
    """Withdraw a job of one's own that is not done. Raises as `finish`."""
    async with transaction(state, state.clock()) as work:
        subject, job = await _own(work, member_id, post_id)
        if job.state == JobState.WITHDRAWN:
            return
        await _move(work, subject, job, member_id, JobState.WITHDRAWN, ended_at=work.now)


async def withdraw_with(work: Work, post: Post) -> None:
    """Withdraw what a post offers that is taken back."""
    job = await work.session.get(Job, post.id)
    if job is None:
        return
    before = job.state
    moved = await work.advance(JOB_TRANSITIONS, job, JobState.WITHDRAWN, ended_at=work.now)
    if moved is not None:
        _record(work, post, post.author_id, before, JobState.WITHDRAWN)


async def _enter(work: Work, member_id: str, post_id: str) -> tuple[Subject, Job]:
    """A job and its post, which is locked."""
    subject = await enter(work, post_id, member_id, Action.TAKE_PART)
    job = await work.session.get(Job, post_id, populate_existing=True)
    if job is None:
        raise PostNotFound
    return subject, job


async def _own(work: Work, member_id: str, post_id: str) -> tuple[Subject, Job]:
    subject, job = await _enter(work, member_id, post_id)
    if subject.post.author_id != member_id:
        raise NotAllowed
    return subject, job


async def _move(work: Work, subject: Subject, job: Job, member_id: str, target: JobState, **values: object) -> None:
    """Move a job on. Raises `JobRefused` where its table has no such step."""
    before = job.state
    moved = await work.advance(JOB_TRANSITIONS, job, target, **values)
    if moved is None:
        raise JobRefused(state=before)
    _record(work, subject.post, member_id, before, target)
    await note_day(work, subject.community)


def _pass(work: Work, job: Job, number: int, giver_id: str, receiver_id: str) -> None:
    work.session.add(
        Hand(post_id=job.id, number=number, giver_id=giver_id, receiver_id=receiver_id, created_at=work.now)
    )


def _record(work: Work, post: Post, member_id: str, before: JobState | None, after: JobState) -> None:
    states = (before, after)
    work.record(f"job.{after}", post.id, states=states, community_id=post.community_id, member_id=member_id)
