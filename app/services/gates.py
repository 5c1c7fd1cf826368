"""Who may buy in a sale that is not for everybody: asked of the rows by each claim, for all who ask at once.

What a gate is, a published sale does not change; it is remembered with the sale's terms. Who its members are is not
remembered at all: who has joined a moment ago buys, and who has left does not.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlmodel import col, select

from app.domain.errors import ForbiddenError
from app.domain.gates import Gate, refusal
from app.domain.memberships import MembershipState
from app.models import Membership
from app.services.segments import fitting
from app.state import State


class _Asked(NamedTuple):
    gate: Gate
    member_id: str


async def pass_gate(state: State, gate: Gate | None, member_id: str) -> None:
    """Raise `MembersOnly`, `NotInSegment` for whom a sale is not. Without a gate nothing is asked."""
    if gate is None:
        return
    # Each asks for themselves: an answer that is under way may be older than what they have just done.
    await state.batches(_judge_all).ask(object(), _Asked(gate, member_id))


async def _judge_all(state: State, crowd: Sequence[_Asked]) -> list[ForbiddenError | None]:
    """What is said to everybody who asks."""
    communities = {one.community_id for gate, _ in crowd if gate.members_only for one in gate.entrances}
    by_segment: defaultdict[str, list[str]] = defaultdict(list)
    for gate, member_id in crowd:
        for segment_id in gate.asked_segments:
            by_segment[segment_id].append(member_id)
    async with state.database.snapshot() as session:
        active = await session.exec(
            select(Membership.community_id, Membership.member_id).where(
                col(Membership.community_id).in_(communities),
                col(Membership.member_id).in_({member_id for _, member_id in crowd}),
                Membership.state == MembershipState.ACTIVE,
            ),
        )
        belongs: defaultdict[str, set[str]] = defaultdict(set)
        for community_id, member_id in active.all():
            belongs[member_id].add(community_id)
        inside = await fitting(session, by_segment, state.clock()) if by_segment else set()
    return [
        refusal(gate, belongs[member_id], {id_ for id_ in gate.asked_segments if (id_, member_id) in inside})
        for gate, member_id in crowd
    ]
