"""Trust: who that a member knows is in a group or a sale.

Two members know each other when one has brought the other, or when they have bought together: both with an order
that went through, in one group that succeeded.
"""

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import chain
from typing import TypeVar

from sqlalchemy import and_
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.groups import GroupState
from app.domain.members import SeenBy
from app.domain.orders import PAID_SEAT_STATES, OrderState
from app.domain.trust import Friend, show_friends
from app.gateways.database import is_outage
from app.models import Group, Member, Order, Referral
from app.remembering import Memory
from app.schemas.trust import FriendsIn
from app.state import State

BOUGHT_STATES = PAID_SEAT_STATES - {OrderState.PAID}
MOST_KNOWN = 1_000
"""Of whoever knows more, the newest members are looked for."""
LOOKED_UP_AT_ONCE = 5_000
REMEMBERED_SECONDS, IN_SALE_SECONDS = 30.0, 2.0
Known = frozenset[str]
Result = TypeVar("Result")


async def known_to(state: State, viewer_id: str | None) -> Known:
    """Whom a member knows, as it was a moment ago. Nobody for strangers, and while the database is away."""
    if viewer_id is None:
        return frozenset()
    memory: Memory[str, Known] = state.memory(_read_known, seconds=REMEMBERED_SECONDS)
    known = memory.fresh(viewer_id)
    return known if known is not None else await _unless_away(memory.read(viewer_id), frozenset())


async def find_groups(session: AsyncSession, known: Known, sale_id: str) -> dict[str, FriendsIn]:
    """The groups of a sale in which there is something to tell of members who are known and have paid."""
    if not known:
        return {}
    rows = await session.exec(
        select(Order.group_id, Member.name, Member.seen_by_friends)
        .join(Member, col(Member.id) == Order.member_id)
        .where(
            Order.sale_id == sale_id,
            col(Order.member_id).in_(known),
            col(Order.state).in_(PAID_SEAT_STATES),
        )
        .order_by(Order.group_id, col(Order.seat_number)),
    )
    return _show_each(rows.all())


async def friends_in_sale(state: State, viewer_id: str | None, sale_id: str) -> FriendsIn | None:
    """Who that a member knows has bought in a sale, as it was a moment ago; None when there is nothing to tell."""
    known = await known_to(state, viewer_id)
    memory = state.memory(_read_in_sales, seconds=IN_SALE_SECONDS)
    return (await _unless_away(memory.get((viewer_id, sale_id)), (None,)))[0] if known and viewer_id else None


async def _unless_away(reading: Awaitable[Result], otherwise: Result) -> Result:
    """What is read, or something else while the database is away: a view is shown all the same."""
    try:
        return await reading
    except Exception as error:
        if not is_outage(error):
            raise
        return otherwise


async def _read_in_sales(state: State, asked: Sequence[tuple[str, str]]) -> list[tuple[FriendsIn | None]]:
    """For all who ask, the buyers of each sale that any of them knows are read together."""
    known = {viewer_id: await known_to(state, viewer_id) for viewer_id, _ in asked}
    found: dict[str, dict[str, Friend]] = {}
    async with state.database.snapshot() as session:
        for sale_id in {sale_id for _, sale_id in asked}:
            anybody = {id_ for viewer_id, other in asked if other == sale_id for id_ in known[viewer_id]}
            found[sale_id] = await _find_buyers(session, sale_id, sorted(anybody))
    return [
        (show(found[sale_id][id_] for id_ in sorted(known[viewer_id] & found[sale_id].keys())),)
        for viewer_id, sale_id in asked
    ]


async def _find_buyers(session: AsyncSession, sale_id: str, ids: Sequence[str]) -> dict[str, Friend]:
    """Those of some members who have bought in a sale."""
    found: dict[str, Friend] = {}
    for begin in range(0, len(ids), LOOKED_UP_AT_ONCE):
        bought = select(Order.member_id).where(
            Order.sale_id == sale_id,
            col(Order.member_id).in_(ids[begin : begin + LOOKED_UP_AT_ONCE]),
            col(Order.state).in_(PAID_SEAT_STATES),
        )
        rows = await session.exec(
            select(Member.id, Member.name, Member.seen_by_friends).where(col(Member.id).in_(bought)),
        )
        found |= {id_: Friend(name, SeenBy(seen_by)) for id_, name, seen_by in rows.all()}
    return found


def show(friends: Iterable[Friend]) -> FriendsIn | None:
    """Friends as they are shown."""
    shown = show_friends(list(friends))
    return None if shown is None else FriendsIn(names=shown[0], others=shown[1])


def _show_each(rows: Sequence[tuple[str, str, str]]) -> dict[str, FriendsIn]:
    friends: dict[str, list[Friend]] = {}
    for group_id, name, seen_by in rows:
        friends.setdefault(group_id, []).append(Friend(name, SeenBy(seen_by)))
    shown = {group_id: show(found) for group_id, found in friends.items()}
    return {group_id: told for group_id, told in shown.items() if told is not None}


async def read_known(session: AsyncSession, viewer_ids: Collection[str]) -> Mapping[str, Known]:
    """Whom members know, by their ids."""
    found: dict[str, set[str]] = {viewer_id: set() for viewer_id in viewer_ids}
    linked = await session.exec(
        select(Referral.member_id, Referral.inviter_id).where(col(Referral.member_id).in_(viewer_ids)),
    )
    brought = await session.exec(
        select(Referral.inviter_id, Referral.member_id).where(col(Referral.inviter_id).in_(viewer_ids)),
    )
    theirs = aliased(Order)
    together = await session.exec(
        select(Order.member_id, theirs.member_id)
        .join(
            Group,
            and_(col(Group.id) == Order.group_id, col(Group.state) == GroupState.SUCCEEDED, col(Group.size) > 1),
        )
        .join(theirs, theirs.group_id == Order.group_id)  # type: ignore[arg-type]
        .where(
            col(Order.member_id).in_(viewer_ids),
            col(Order.state).in_(BOUGHT_STATES),
            col(theirs.state).in_(BOUGHT_STATES),
            theirs.member_id != Order.member_id,
        ),
    )
    for viewer_id, other_id in chain(linked.all(), brought.all(), together.all()):
        found[viewer_id].add(other_id)
    return {viewer_id: frozenset(nlargest(MOST_KNOWN, others)) for viewer_id, others in found.items()}


async def _read_known(state: State, viewer_ids: Sequence[str]) -> list[Known]:
    async with state.database.snapshot() as session:
        known = await read_known(session, viewer_ids)
    return [known[viewer_id] for viewer_id in viewer_ids]
