"""Reports of posts and comments, and what moderators and operators do about them: hide, or show again."""

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.encounters import REPORTS_FROM
from app.domain.errors import CommunityNotFound, Outranked, PostNotFound, ReportDecided, ReportNotFound
from app.domain.memberships import Action, Standing, outranks
from app.domain.posts import ReportState, is_hidden_by_reports
from app.models import Comment, Community, Report
from app.schemas.fields import Page
from app.schemas.posts import PostPublic
from app.schemas.reports import ReportCreate, ReportMade, ReportPublic
from app.services import boards
from app.services.boards import Subject, enter, record_post
from app.services.cards import read_cards
from app.services.days import note_day
from app.services.encounters import trust_level
from app.services.locks import lock_post
from app.services.pages import read_page
from app.services.standing import Place, find_place, require
from app.services.transactions import Work, transaction
from app.state import State

OPERATORS = "operators"
"""Who decided, where no member did."""


async def report(state: State, member_id: str, subject_id: str, body: ReportCreate) -> ReportMade:
    """Report a post or a comment; a member's first report of it counts. It is hidden as soon as enough trusted
    members have. Raises `PostNotFound`, `CommentNotFound`, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`.
    """
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, subject_id, member_id, Action.TAKE_PART)
        found = await work.session.exec(
            select(Report).where(Report.subject_id == subject_id, Report.reporter_id == member_id),
        )
        made = found.one_or_none()
        if made is None:
            made = Report(
                **body.model_dump(),
                community_id=subject.community.id,
                subject_id=subject_id,
                reporter_id=member_id,
                trusted=await _is_trusted(work, subject.place, member_id),
                state=ReportState.OPEN,
                created_at=work.now,
            )
            work.session.add(made)
            work.record(
                "report.made", made.id, community_id=made.community_id, member_id=member_id, about=subject_id
            )
            await work.session.flush()
            await _hide_if_enough(work, subject)
            await note_day(work, subject.community)
    return ReportMade.model_validate(made, from_attributes=True)


async def list_reports(
    state: State, member_id: str, community_id: str, after: str | None, limit: int
) -> Page[ReportPublic]:
    """Reports that wait for a moderator, newest first. Raises `CommunityNotFound`, `MemberBlocked`,
    `NotAllowed`.
    """
    async with state.database.snapshot() as session:
        await require(session, community_id, member_id, Action.MODERATE)
        return await _read_open(session, community_id, after, limit)


async def list_for_operators(state: State, community_id: str, after: str | None, limit: int) -> Page[ReportPublic]:
    """The same for operators. Raises `CommunityNotFound`."""
    async with state.database.snapshot() as session:
        community = await session.get(Community, community_id)
        if community is None:
            raise CommunityNotFound
        return await _read_open(session, community_id, after, limit)


async def decide(
    state: State, member_id: str, community_id: str, report_id: str, verdict: ReportState
) -> ReportPublic:
    """Uphold a report, which hides what it is about, or dismiss it, which shows that again; with all others of the
    same. Raises `CommunityNotFound`, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`, `ReportNotFound`,
    `ReportDecided`, `Outranked`, `PostNotFound`, `CommentNotFound` when it was taken back.
    """
    async with transaction(state, state.clock()) as work:
        await require(work.session, community_id, member_id, Action.MODERATE, writes=True)
        found = await work.session.get(Report, report_id)
        if found is None or found.community_id != community_id:
            raise ReportNotFound
        subject = await enter(work, found.subject_id, member_id, Action.MODERATE)
        await work.session.refresh(found)
        if found.state == ReportState.OPEN:
            await check_rank(work.session, subject)
            await settle(work, subject, member_id, hidden=verdict == ReportState.UPHELD)
            await work.session.refresh(found)
        if found.state != verdict:
            raise ReportDecided(state=found.state)
    return ReportPublic.model_validate(found, from_attributes=True)


async def moderate(state: State, member_id: str, subject_id: str, *, hidden: bool) -> None:
    """Hide a post or a comment, or show it again; what was reported of it is decided with that. Raises
    `PostNotFound`, `CommentNotFound`, `MemberBlocked`, `NotAllowed`, `Outranked`, `CommunityNotOpen`.
    """
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, subject_id, member_id, Action.MODERATE)
        await check_rank(work.session, subject)
        await settle(work, subject, member_id, hidden=hidden)


async def moderate_as_operator(state: State, community_id: str, post_id: str, *, hidden: bool) -> PostPublic:
    """The same with a post by an operator, whatever state its community is in. Raises `CommunityNotFound`,
    `PostNotFound`.
    """
    now = state.clock()
    async with transaction(state, now) as work:
        place = await find_place(work.session, community_id, None)
        post = await lock_post(work.session, post_id)
        if post is None or post.community_id != community_id or post.removed_at is not None:
            raise PostNotFound
        await settle(work, Subject(post, None, place), None, hidden=hidden)
        board = await boards.read_board(work.session, place.community, boards.look_as_operator(now), [post])
    return board.post(post, await read_cards(state, [post]))


async def check_rank(session: AsyncSession, subject: Subject) -> None:
    """Raise `Outranked` unless the author's role is below that of who moderates, or they are the same."""
    place, author_id = subject.place, subject.row.author_id
    author = await find_place(session, place.community.id, author_id)
    own = place.membership is not None and place.membership.member_id == author_id
    if not own and not outranks(place.standing, author.standing):
        raise Outranked


async def settle(work: Work, subject: Subject, member_id: str | None, *, hidden: bool) -> None:
    """Hide something, or show it, and decide all open reports of it accordingly; `member_id` is None for an
    operator.
    """
    _hide(work, subject, member_id, hidden=hidden)
    verdict = ReportState.UPHELD if hidden else ReportState.DISMISSED
    decided = await work.session.exec(
        update(Report)
        .where(col(Report.subject_id) == subject.row.id, col(Report.state) == ReportState.OPEN)
        .values(state=verdict, decided_by=member_id or OPERATORS, decided_at=work.now)
        .returning(col(Report.id))
        .execution_options(synchronize_session=False),
    )
    for report_id in decided.scalars().all():
        work.record(f"report.{verdict}", report_id, community_id=subject.community.id, member_id=member_id)
    await note_day(work, subject.community, subject.row.created_at)


def _hide(work: Work, subject: Subject, by: str | None, *, hidden: bool) -> None:
    row = subject.row
    if (row.hidden_at is not None) == hidden:
        return
    row.hidden_at = work.now if hidden else None
    work.session.add(row)
    type_ = "hidden" if hidden else "shown"
    if isinstance(row, Comment):
        subject.post.comment_count += -1 if hidden else 1
        work.session.add(subject.post)
        work.record(f"comment.{type_}", row.id, community_id=row.community_id, member_id=by)
    else:
        record_post(work, f"post.{type_}", row, by)


async def _hide_if_enough(work: Work, subject: Subject) -> None:
    """Hide something that enough trusted members reported; its reports still wait for a moderator."""
    counted = await work.session.exec(
        select(func.count()).where(
            Report.subject_id == subject.row.id, Report.state == ReportState.OPEN, col(Report.trusted).is_(True)
        ),
    )
    author = await find_place(work.session, subject.community.id, subject.row.author_id)
    if is_hidden_by_reports(counted.one(), author.standing):
        _hide(work, subject, None, hidden=True)
        await note_day(work, subject.community, subject.row.created_at)


async def _is_trusted(work: Work, place: Place, member_id: str) -> bool:
    if place.standing != Standing.MEMBER:
        return True
    return await trust_level(work.session, place.community.id, member_id, work.now) >= REPORTS_FROM


async def _read_open(session: AsyncSession, community_id: str, after: str | None, limit: int) -> Page[ReportPublic]:
    waiting = select(Report).where(Report.community_id == community_id, Report.state == ReportState.OPEN)
    rows, following = await read_page(session, Report, waiting, after, limit)
    items = [ReportPublic.model_validate(row, from_attributes=True) for row in rows]
    return Page[ReportPublic](items=items, next=following)
