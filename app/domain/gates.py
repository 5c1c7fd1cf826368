"""Who may buy in a sale that is not for everybody."""

from collections.abc import Collection
from dataclasses import dataclass

from app.domain.errors import ForbiddenError, MembersOnly, NotInSegment


@dataclass(frozen=True, slots=True)
class Entrance:
    """A community by way of which one buys: its members, if the sale is for members only, and of these those that
    its segment fits, if it has one.
    """

    community_id: str
    segment_id: str | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """What a buyer has to be: let in by one of the communities, and in one of the segments, if there are any."""

    entrances: tuple[Entrance, ...]
    members_only: bool = False
    segment_ids: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether everybody may buy."""
        anybody = not self.members_only and any(entrance.segment_id is None for entrance in self.entrances)
        return anybody and not self.segment_ids

    @property
    def asked_segments(self) -> set[str]:
        """Every segment it asks about."""
        return {entrance.segment_id for entrance in self.entrances if entrance.segment_id} | set(self.segment_ids)


def refusal(gate: Gate, communities: Collection[str], segments: Collection[str]) -> ForbiddenError | None:
    """Why somebody may not buy who is an active member of these communities and whom these segments fit."""
    entrances = [one for one in gate.entrances if not gate.members_only or one.community_id in communities]
    if not entrances:
        return MembersOnly()
    let_in = any(one.segment_id is None or one.segment_id in segments for one in entrances)
    fits = not gate.segment_ids or any(id_ in segments for id_ in gate.segment_ids)
    return None if let_in and fits else NotInSegment()
