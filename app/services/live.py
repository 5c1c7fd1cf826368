"""What there is to see of a group or a bargain for everybody, as the rows have it: how it is, and its changes in
order.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.bargains import FINAL_BARGAIN_STATES
from app.domain.errors import BargainNotFound, GroupNotFound, KaituanError
from app.domain.groups import FINAL_GROUP_STATES
from app.models import Bargain, Event, Group
from app.schemas.bargains import BargainChange
from app.schemas.groups import Change
from app.schemas.live import AnyChange, Tick
from app.services import bargains, groups
from app.state import State

BATCH = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing to watch."""

    noun: str
    model: type[Group | Bargain]
    link: Any
    """The column of events that names it."""
    types: Mapping[str, str]
    """Which events a stranger may see of it, and what they are called there."""
    change: type[AnyChange]
    data: frozenset[str]
    """What of an event's data is shown."""
    views: Callable[[AsyncSession, Collection[str]], Awaitable[Mapping[str, Any]]]
    finals: frozenset[StrEnum]
    missing: type[KaituanError]


GROUPS = Kind(
    noun="group",
    model=Group,
    link=col(Event.group_id),
    types={
        "group.opened": "group.opened",
        "group.filled": "group.filled",
        "group.reopened": "group.reopened",
        "group.leader_changed": "group.leader_changed",
        "group.succeeded": "group.succeeded",
        "group.failed": "group.failed",
        "group.merged": "group.merged",
        "group.extended": "group.extended",
        "order.moved": "seat.moved",
        "order.held": "seat.held",
        "order.paid": "seat.paid",
        "order.expired": "seat.released",
        "order.cancelled": "seat.released",
        "order.refunding": "seat.released",
    },
    change=Change,
    data=frozenset({"seat"}),
    views=groups.views,
    finals=frozenset[StrEnum](FINAL_GROUP_STATES),
    missing=GroupNotFound,
)
BARGAINS = Kind(
    noun="bargain",
    model=Bargain,
    link=col(Event.bargain_id),
    types={
        name: name
        for name in (
            *("bargain.started", "bargain.cut", "bargain.won", "bargain.ordered"),
            *("bargain.reopened", "bargain.bought", "bargain.expired"),
        )
    },
    change=BargainChange,
    data=frozenset({"amount", "price"}),
    views=bargains.views,
    finals=frozenset[StrEnum](FINAL_BARGAIN_STATES),
    missing=BargainNotFound,
)
KINDS = {"grp": GROUPS, "bgn": BARGAINS}


def kind_of(id_: str) -> Kind:
    """What has this id."""
    return KINDS[id_.partition("_")[0]]


async def read_changes(state: State, id_: str, after: int) -> Tick:
    """Of something there is: its changes after an event id from the rows, at most `BATCH`."""
    async with state.database.snapshot() as session:
        newest = await read_newest(session, [id_])
        return (await read_ticks(session, {id_: after}, newest))[id_]


async def read_newest(session: AsyncSession, ids: Collection[str]) -> dict[str, int]:
    """The id of the newest change of each of these there is."""
    found: dict[str, int] = {}
    for kind, own in _by_kind(ids):
        newest = (
            select(func.coalesce(func.max(Event.id), 0))
            .where(kind.link == kind.model.id, col(Event.type).in_(kind.types))
            .scalar_subquery()
        )
        rows = await session.exec(select(kind.model.id, newest).where(col(kind.model.id).in_(own)))
        found |= dict(rows.all())
    return found


async def read_ticks(session: AsyncSession, after: Mapping[str, int], newest: Mapping[str, int]) -> dict[str, Tick]:
    """How these are, with their changes after an event id each; of all of one kind together at most `BATCH`.

    `newest` are the ids of their newest changes, read in the same session.
    """
    ticks: dict[str, Tick] = {}
    for kind, own in _by_kind(after):
        shown = await kind.views(session, own)
        behind = {id_: after[id_] for id_ in own if after[id_] < newest[id_]}
        changes = await _read_changes(session, kind, behind, shown)
        for id_ in own:
            over = shown[id_].state in kind.finals
            ticks[id_] = Tick.of(kind.noun, shown[id_], changes[id_], after[id_], newest[id_], over=over)
    return ticks


async def _read_changes(
    session: AsyncSession, kind: Kind, behind: Mapping[str, int], shown: Mapping[str, Any]
) -> defaultdict[str, list[AnyChange]]:
    changes: defaultdict[str, list[AnyChange]] = defaultdict(list)
    if not behind:
        return changes
    new = [and_(kind.link == id_, col(Event.id) > known) for id_, known in behind.items()]
    found = await session.exec(
        select(Event, kind.link)
        .where(or_(*new), col(Event.type).in_(kind.types))
        .order_by(col(Event.id))
        .limit(BATCH),
    )
    for event, id_ in found.all():
        told = {name: value for name, value in event.data.items() if name in kind.data}
        change = kind.change(
            id=event.id, type=kind.types[event.type], at=event.created_at, **told, **{kind.noun: shown[id_]}
        )
        changes[id_].append(change)
    return changes


def _by_kind(ids: Collection[str]) -> list[tuple[Kind, list[str]]]:
    parts: dict[str, list[str]] = {}
    for id_ in ids:
        parts.setdefault(id_.partition("_")[0], []).append(id_)
    return [(KINDS[prefix], own) for prefix, own in parts.items()]
