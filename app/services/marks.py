"""Marks: what two accounts of one person would share, as digests that say nothing to whoever reads them."""

import hmac
from hashlib import sha256

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.members import MarkKind
from app.models import Mark
from app.services.members import find_member
from app.services.transactions import Work
from app.state import State

PURPOSE = "mark"


async def mark(state: State, work: Work, member_id: str, kind: MarkKind, value: str) -> None:
    """Remember a device, a payment account or a phone number of a member; of nobody who was erased."""
    member = await find_member(work.session, member_id)
    if member is None:
        return
    digest = hmac.digest(state.settings.key_for(PURPOSE), f"{kind} {value}".encode(), sha256).hex()
    await work.session.exec(
        state.database.insert_unless_there(Mark, ["member_id", "kind", "digest"]).values(
            member_id=member_id, kind=kind, digest=digest, created_at=work.now
        ),
    )


async def shared(session: AsyncSession, member_id: str, other_id: str) -> set[MarkKind]:
    """What two members have in common."""
    theirs = select(Mark.digest).where(Mark.member_id == other_id)
    found = await session.exec(
        select(Mark.kind).where(Mark.member_id == member_id, col(Mark.digest).in_(theirs)).distinct(),
    )
    return {MarkKind(kind) for kind in found.all()}
