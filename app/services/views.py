"""Groups, bargains and sales as they are shown, remembered for a moment and shared by everybody who looks.

A change drops what is remembered, in every process that hears of it; a word that is lost costs a second. While the
database is away, what was seen last is shown.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlmodel import col, select

from app.domain.errors import BargainNotFound, GroupNotFound, KaituanError, SaleNotFound
from app.domain.sales import SaleState
from app.domain.trust import Friend
from app.models import Group, Member, Sale
from app.schemas.groups import GroupPublic
from app.schemas.sales import SalePublic
from app.services import bargains, groups, sales, trust
from app.services.groups import Seated
from app.services.terms import forget_sale
from app.state import State


class View:
    """A body of JSON and its entity tag."""

    __slots__ = ("body", "etag")

    def __init__(self, body: str) -> None:
        self.body = body.encode()
        self.etag = f'"{hashlib.blake2b(self.body, digest_size=12).hexdigest()}"'


@dataclass(slots=True)
class _SeenGroup:
    group: Group
    leader_name: str
    seats: list[Seated]
    ladders: groups.Ladders
    views: dict[str | None, View] = field(default_factory=dict)


@dataclass(slots=True)
class _SeenSale:
    sale: SalePublic
    taken: dict[str, int] = field(default_factory=dict)
    view: View | None = None


async def show_group(state: State, group_id: str, viewer_id: str | None) -> View:
    """A `GroupPublic` for a viewer: everybody outside the group and without friends in it sees the same. Raises
    `GroupNotFound`.
    """
    memory = state.memory(_read_groups)
    seen = memory.fresh(group_id) or await memory.read(group_id)
    known = await trust.known_to(state, viewer_id)
    friends = known and trust.show(
        Friend(seat.name, seat.seen_by_friends) for seat in seen.seats if seat.paid and seat.member_id in known
    )
    if not friends and not any(seat.member_id == viewer_id for seat in seen.seats):
        viewer_id = None
    view = seen.views.get(viewer_id)
    if view is None:
        shown = groups.present(seen.group, seen.seats, seen.leader_name, seen.ladders, viewer_id, friends or None)
        view = seen.views[viewer_id] = View(shown.model_dump_json())
    return view


async def see_group(state: State, group_id: str) -> GroupPublic:
    """A group as a stranger sees it, to be shown within something else. Raises `GroupNotFound`."""
    memory = state.memory(_read_groups)
    seen = memory.fresh(group_id) or await memory.read(group_id)
    return groups.present(seen.group, seen.seats, seen.leader_name, seen.ladders, None)


async def see_sale(state: State, sale_id: str) -> SalePublic:
    """The same of a sale. Raises `SaleNotFound`."""
    memory = state.memory(_read_sales)
    seen = memory.fresh(sale_id) or await memory.read(sale_id)
    return sales.with_counts(seen.sale, await sales.count_taken(state, seen.sale))


async def show_bargain(state: State, bargain_id: str, viewer_id: str | None) -> View:
    """A `BargainPublic` for a viewer: everybody outside the bargain sees the same. Raises `BargainNotFound`."""
    memory = state.memory(_read_bargains)
    seen = memory.fresh(bargain_id) or await memory.read(bargain_id)
    viewer = viewer_id if bargains.is_inside(seen, viewer_id) else None
    return View(bargains.present(seen, viewer).model_dump_json())


async def show_sale(state: State, sale_id: str, viewer_id: str | None = None) -> View:
    """A `SalePublic` with the counts of this moment: everybody without friends in it sees the same. Raises
    `SaleNotFound`, also for a draft.
    """
    memory = state.memory(_read_sales)
    seen = memory.fresh(sale_id) or await memory.read(sale_id)
    taken = await sales.count_taken(state, seen.sale)
    if seen.view is None or taken != seen.taken:
        seen.view, seen.taken = View(sales.with_counts(seen.sale, taken).model_dump_json()), taken
    friends = await trust.friends_in_sale(state, viewer_id, sale_id)
    if friends is None:
        return seen.view
    shown = sales.with_counts(seen.sale, taken).model_copy(update={"friends_in": friends})
    return View(shown.model_dump_json())


def forget(state: State, ids: Iterable[str]) -> None:
    """Read these groups, bargains and sales anew when they are next looked at: they changed."""
    state.dealer.sold_out.clear()  # something may have been given back
    seen_groups, seen_sales = state.memory(_read_groups), state.memory(_read_sales)
    for id_ in ids:
        if id_.startswith("grp_"):
            seen_groups.drop(id_)
        elif id_.startswith("bgn_"):
            state.memory(_read_bargains).drop(id_)
        elif id_.startswith("mem_"):
            _forget_member(state, id_)
        else:
            seen_sales.drop(id_)
            forget_sale(state, id_)


def _forget_member(state: State, member_id: str) -> None:
    """Somebody was erased: their tokens are worth nothing here, and nothing that is remembered has their name."""
    state.erased.setdefault(member_id, state.clock())
    state.memory(_read_groups).clear()
    state.memory(_read_bargains).clear()
    state.drawings.clear()


async def _read_groups(state: State, group_ids: Sequence[str]) -> list[_SeenGroup | KaituanError]:
    async with state.database.snapshot() as session:
        rows = await session.exec(
            select(Group, Member.name)
            .join(Member, col(Member.id) == Group.leader_id)
            .where(col(Group.id).in_(group_ids)),
        )
        seats, ladders = (
            await groups.read_all_seats(session, group_ids),
            await groups.read_ladders(session, group_ids),
        )
    found = {
        group.id: _SeenGroup(group, name, seats[group.id], ladders.get(group.id, {})) for group, name in rows.all()
    }
    return [found.get(group_id) or GroupNotFound() for group_id in group_ids]


async def _read_bargains(state: State, bargain_ids: Sequence[str]) -> list[bargains.Seen | KaituanError]:
    async with state.database.snapshot() as session:
        found = await bargains.read_bargains(session, bargain_ids)
    return [found.get(bargain_id) or BargainNotFound() for bargain_id in bargain_ids]


async def _read_sales(state: State, sale_ids: Sequence[str]) -> list[_SeenSale | KaituanError]:
    async with state.database.snapshot() as session:
        rows = await session.exec(
            select(Sale).where(col(Sale.id).in_(sale_ids), Sale.state != SaleState.DRAFT),
        )
        shown = await sales.describe(state, session, list(rows.all()))
    found = {sale.id: _SeenSale(sale) for sale in shown}
    return [found.get(sale_id) or SaleNotFound() for sale_id in sale_ids]
