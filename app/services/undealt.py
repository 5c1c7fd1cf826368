"""Selling while Redis is away: the places are found in the rows, for all who wait together.

Slower, and bounded by the queue: one batch at a time, the rest is refused as `Busy`. Two processes may find the
same places; then the keys refuse one of them, and it looks again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import sqlalchemy
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import AlreadyInGroup, GroupClosed, GroupFull, KaituanError, MemberLimit, SoldOut
from app.domain.groups import FINAL_GROUP_STATES
from app.domain.sales import check_open
from app.gateways.dealer import Claim
from app.models import Group, Offer, Purchase, Sale, Seat, Unit, new_id
from app.services.commits import Draft, Outcome, Want, commit_waiting
from app.services.dealing import read_lines
from app.state import State

AT_ONCE = 50
WAITING = 500


async def commit(state: State, want: Want) -> bytes:
    """Find places for a claim in the rows and commit it; returns its `ClaimAnswer` in JSON.

    Raises the refusals of the dealer, and what `commits.commit` raises.
    """
    return await state.batches(commit_all, size=AT_ONCE, limit=WAITING).ask(want.asked, want)


async def commit_all(state: State, wants: Sequence[Want]) -> list[Outcome]:
    """The same for many: what one is given is not free for the next."""
    async with state.database.snapshot() as session:
        places = await _read(session, wants)
    outcomes: list[Outcome] = []
    drafts: list[Draft] = []
    for want in wants:
        try:
            drafts.append(Draft(want, places.take(want), dealt=False))
            outcomes.append(b"")
        except KaituanError as refusal:
            outcomes.append(refusal)
    committed = iter(await commit_waiting(state, drafts))
    # Redis must not deal these sales again before it has learnt what was sold without it.
    state.dealer.sold_without.update(draft.want.sale.id for draft in drafts)
    return [next(committed) if outcome == b"" else outcome for outcome in outcomes]


@dataclass(slots=True)
class _Places:
    """The places that some wants are about, as the rows have them and as they were given out since."""

    sales: dict[str, Sale]
    groups: dict[str, Group]
    free_units: dict[str, list[int]]
    lines: set[str]
    seats: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    members: set[tuple[str, str]] = field(default_factory=set)
    purchases: defaultdict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def take(self, want: Want) -> Claim:
        """The places of one claim; raises the refusals of the dealer."""
        member_id, sale = want.asked.member_id, self.sales[want.sale.id]
        check_open(sale.terms(), want.now)
        group_id = want.group_id or want.new_group_id or new_id("grp")
        kept = set() if want.in_line else self.lines
        if want.group_id is not None:
            group = self.groups[group_id]
            if group.state in FINAL_GROUP_STATES or want.now >= group.deadline_at:
                raise GroupClosed
            if (group_id, member_id) in self.members:
                raise AlreadyInGroup
            if group_id in kept:
                raise GroupFull
            if len(self.seats[group_id]) >= group.size:
                raise GroupFull
        bought = self.purchases[sale.id, member_id]
        if len(bought) >= sale.member_limit:
            raise MemberLimit(limit=sale.member_limit)
        if want.offer.id in kept:
            raise SoldOut(left=0)
        free = self.free_units[want.offer.id]
        if len(free) < want.quantity:
            raise SoldOut(left=len(free))
        units, self.free_units[want.offer.id] = free[: want.quantity], free[want.quantity :]
        claim = Claim(
            order_id=new_id("ord"),
            offer_id=want.offer.id,
            units=units,
            group_id=group_id,
            seat=_lowest_free(self.seats[group_id]),
            member_id=member_id,
            purchase=_lowest_free(bought),
        )
        self.seats[group_id].add(claim.seat)
        self.members.add((group_id, member_id))
        bought.add(claim.purchase)
        return claim


def _lowest_free(taken: set[int]) -> int:
    return next(number for number in count(1) if number not in taken)


async def _read(session: AsyncSession, wants: Sequence[Want]) -> _Places:
    group_ids = {want.group_id for want in wants if want.group_id is not None}
    sales = (await session.exec(select(Sale).where(col(Sale.id).in_({want.sale.id for want in wants})))).all()
    groups = await session.exec(select(Group).where(col(Group.id).in_(group_ids)))
    wanted: defaultdict[str, int] = defaultdict(int)
    for want in wants:
        wanted[want.offer.id] += want.quantity
    places = _Places(
        sales={sale.id: sale for sale in sales},
        lines=await read_lines(session, sales),
        groups={group.id: group for group in groups.all()},
        free_units={offer_id: await _free_units(session, offer_id, most) for offer_id, most in wanted.items()},
    )
    seats = await session.exec(
        select(Seat.group_id, Seat.number, Seat.member_id).where(col(Seat.group_id).in_(group_ids)),
    )
    for group_id, number, member_id in seats.all():
        places.seats[group_id].add(number)
        places.members.add((group_id, member_id))
    purchases = await session.exec(
        select(Purchase.sale_id, Purchase.member_id, Purchase.number).where(
            col(Purchase.sale_id).in_({want.sale.id for want in wants}),
            col(Purchase.member_id).in_({want.asked.member_id for want in wants}),
        ),
    )
    for sale_id, member_id, number in purchases.all():
        places.purchases[sale_id, member_id].add(number)
    return places


async def _free_units(session: AsyncSession, offer_id: str, most: int) -> list[int]:
    """Up to so many free numbers, from the highest down: another process may still be dealt the lowest."""
    stock = (await session.exec(select(Offer.stock).where(Offer.id == offer_id))).one()
    above = func.lag(col(Unit.number), 1, stock + 1).over(order_by=col(Unit.number).desc())
    numbers = (
        sqlalchemy.select(col(Unit.number).label("number"), above.label("above"))
        .where(col(Unit.offer_id) == offer_id)
        .subquery()
    )
    gaps = await session.exec(  # type: ignore[call-overload]
        sqlalchemy.select(numbers.c.number, numbers.c.above)
        .where(numbers.c.above - numbers.c.number > 1)
        .order_by(numbers.c.number.desc())
        .limit(most),
    )
    lowest = (await session.exec(select(func.min(Unit.number)).where(Unit.offer_id == offer_id))).one()
    free: list[int] = []
    for number, following in [*gaps.all(), (0, lowest or stock + 1)]:
        free += range(following - 1, max(number, following - 1 - most), -1)
    return free[:most]
