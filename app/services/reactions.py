"""Reactions to posts and comments: one of a kind for each member, counted exactly."""

from sqlalchemy import delete
from sqlmodel import col

from app.domain.memberships import Action
from app.domain.posts import ReactionKind
from app.models import Reaction
from app.schemas.posts import Reacted
from app.services.boards import Subject, enter, look, read_reactions
from app.services.days import note_day
from app.services.encounters import meet
from app.services.transactions import Work, transaction
from app.state import State


async def react(state: State, member_id: str, subject_id: str, kind: ReactionKind) -> Reacted:
    """React to a post or a comment; the same again changes nothing. Raises `PostNotFound`, `CommentNotFound`,
    `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`.
    """
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, subject_id, member_id, Action.TAKE_PART)
        key = {"subject_id": subject_id, "member_id": member_id, "kind": kind}
        made = await work.session.exec(
            work.database.insert_unless_there(Reaction, list(key))
            .values(**key, community_id=subject.community.id, created_at=work.now)
            .returning(col(Reaction.subject_id)),
        )
        if made.first() is not None:
            await _count(work, subject, member_id, kind, 1)
            await meet(work, subject.community, member_id, subject.row.author_id)
        return await _show(work, subject)


async def take_back(state: State, member_id: str, subject_id: str, kind: ReactionKind) -> Reacted:
    """React no more; the same again changes nothing. Raises as `react`."""
    async with transaction(state, state.clock()) as work:
        subject = await enter(work, subject_id, member_id, Action.TAKE_PART)
        gone = await work.session.exec(
            delete(Reaction)
            .where(
                col(Reaction.subject_id) == subject_id,
                col(Reaction.member_id) == member_id,
                col(Reaction.kind) == kind,
            )
            .returning(col(Reaction.subject_id)),
        )
        if gone.first() is not None:
            await _count(work, subject, member_id, kind, -1)
        return await _show(work, subject)


async def _count(work: Work, subject: Subject, member_id: str, kind: ReactionKind, change: int) -> None:
    row = subject.row
    row.reaction_count += change
    work.session.add(row)
    await note_day(work, subject.community, row.created_at)
    type_ = "reaction.made" if change > 0 else "reaction.taken_back"
    work.record(type_, row.id, community_id=row.community_id, member_id=member_id, kind=kind)


async def _show(work: Work, subject: Subject) -> Reacted:
    row = subject.row
    reactions = await read_reactions(work.session, look(subject.place, work.now), [row.id])
    return Reacted(reactions=reactions.get(row.id, []), reaction_count=row.reaction_count)
