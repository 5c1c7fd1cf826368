"""What speaks against a referral, from the rows."""

from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.suspicions import Assessment, Suspicion, assess
from app.services.marks import shared


async def suspect(session: AsyncSession, inviter_id: str, member_id: str) -> Assessment:
    """How much speaks against that one member brought the other."""
    marks = await shared(session, inviter_id, member_id)
    return assess(frozenset(Suspicion(mark.value) for mark in marks))
