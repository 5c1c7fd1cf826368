"""Digests: pushes there was no place for, told to each member in one go.

A digest keeps the ids of its pushes. What they say is read with it, and so is never there twice: words that are
erased are gone from digests, too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert
from sqlmodel import col, select

from app.domain.memberships import MembershipState
from app.domain.notices import NoticeKind, PushWish
from app.domain.pushes import digest_time, next_allowed
from app.models import Community, Membership, Notice, Overflow, Push, new_id
from app.services.days import local_day
from app.services.transactions import Work, transaction
from app.state import State

KEPT = 50
"""Pushes that a digest has room for."""
MEMBERS = 100
"""Members whose digests are written in one transaction."""


async def send_digests(state: State, now: datetime) -> int:
    """Tell members what was left over and is due, once a day. Returns of how many something was due."""
    due = select(Overflow.member_id).where(col(Overflow.due_at) <= now).distinct().order_by(col(Overflow.member_id))
    async with state.database.snapshot() as session:
        member_ids = (await session.exec(due.limit(MEMBERS))).all()
    if member_ids:
        async with transaction(state, now) as work:
            await _send(work, member_ids)
    return len(member_ids)


async def _send(work: Work, member_ids: Sequence[str]) -> None:
    """What this transaction deletes is told by it alone. It is put back for later where it is quiet now, and where
    its member had a digest today.
    """
    gone = await work.session.exec(
        delete(Overflow)
        .where(col(Overflow.member_id).in_(member_ids), col(Overflow.due_at) <= work.now)
        .returning(col(Overflow.member_id), col(Overflow.push_id), col(Overflow.created_at)),
    )
    taken = {(member_id, push_id): created_at for member_id, push_id, created_at in gone.all()}
    found = await work.session.exec(
        select(Membership.member_id, Push, Community)
        .join(Community, col(Community.id) == Membership.community_id)
        .join(Push, col(Push.community_id) == Community.id)
        .where(
            col(Membership.member_id).in_(member_ids),
            col(Push.id).in_({push_id for _, push_id in taken}),
            col(Membership.state) == MembershipState.ACTIVE,
            col(Membership.push_wish) != PushWish.NONE,
        )
        .order_by(col(Membership.member_id), col(Push.id)),
    )
    later: dict[tuple[str, str], datetime] = {}
    waiting: dict[str, list[tuple[Push, Community]]] = {}
    for member_id, push, community in found.all():
        if (member_id, push.id) not in taken:
            continue
        allowed = next_allowed(work.now, *_clock(community))
        if allowed > work.now:
            later[member_id, push.id] = allowed
        else:
            waiting.setdefault(member_id, []).append((push, community))
    told = await _tell(work, waiting)
    for member_id in waiting.keys() - told:
        for push, community in waiting[member_id]:
            later[member_id, push.id] = digest_time(work.now, *_clock(community))
    if later:
        back = [
            {"member_id": key[0], "push_id": key[1], "created_at": taken[key], "due_at": due_at}
            for key, due_at in later.items()
        ]
        await work.session.exec(insert(Overflow), params=back)


async def _tell(work: Work, waiting: Mapping[str, Sequence[tuple[Push, Community]]]) -> set[str]:
    """Write a digest for each member, unless they had one today. Returns who got theirs."""
    if not waiting:
        return set()
    rows = [
        {
            "id": new_id("ntc"),
            "member_id": member_id,
            "kind": NoticeKind.DIGEST,
            "text": " ".join(push.id for push, _ in pushes[:KEPT]),
            "day": local_day(pushes[0][1], work.now),
            "created_at": work.now,
        }
        for member_id, pushes in waiting.items()
    ]
    told = await work.session.exec(
        work.database.insert_unless_there(Notice).returning(col(Notice.member_id)), params=rows
    )
    return set(told.scalars())


def _clock(community: Community) -> tuple[int, int, ZoneInfo]:
    return community.quiet_from, community.quiet_to, ZoneInfo(community.timezone)
