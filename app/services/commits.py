"""Claims into rows: every claim that waits in this process is committed in one transaction.

A claim is answered after the commit that holds its rows. When the database refuses a row, the batch is split and
tried again, until only the claim it belongs to is refused. Claims on a group that somebody else has locked wait for
it in a queue of their own.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import func, update
from sqlmodel import SQLModel, col, select

from app.batching import Batches
from app.domain.bargains import BargainState, check_buyable
from app.domain.errors import (
    BargainClosed,
    CouponLimit,
    CouponUsedUp,
    DatabaseUnavailable,
    DealerUnavailable,
    GroupClosed,
    TokenInvalid,
)
from app.domain.groups import FINAL_GROUP_STATES, GroupState, group_deadline, next_state
from app.domain.ladders import price_at
from app.domain.money import order_amount
from app.domain.orders import OrderState, hold_deadline
from app.domain.rescues import OnUnfilled
from app.gateways.bulk import Bulk, Conflict, among
from app.gateways.database import is_outage
from app.gateways.dealer import Claim
from app.models import Bargain, Event, Group, Member, Offer, Order, Purchase, Redemption, Sale, Seat, Unit
from app.schemas.orders import OrderPublic
from app.services.answers import Asked
from app.services.dealing import living_orders
from app.services.locks import LOCK_BARGAINS, LOCK_BARGAINS_WAITING, LOCK_GROUPS, LOCK_GROUPS_WAITING
from app.services.redemptions import FreePlaces, Voucher, find_places
from app.services.terms import SaleFacts, remember_group
from app.services.transactions import event_values
from app.state import State

ORDER_FIELDS = list(OrderPublic.model_fields)
_SEATS = select(func.count()).where(Seat.group_id == Group.id)
_STATE = sqlalchemy.select(col(Order.state)).where(col(Order.id) == Seat.order_id).scalar_subquery()
COUNT_SEATS = select(
    Group.id,
    _SEATS.scalar_subquery().label("seats"),
    _SEATS.where(_STATE == OrderState.HELD).scalar_subquery().label("held"),
).where(among(Group.id, "group_ids"))
"""Group by group, along the keys: a join would be planned by what is known of the tables, and when they have just
begun to fill that is nothing.
"""
FILL_GROUPS = (
    update(Group).where(among(Group.id, "group_ids")).values(state=GroupState.FILLED).returning(col(Group.id))
)
COUNT_UNDEALT = (
    update(Sale).where(among(Sale.id, "sale_ids")).values(undealt=Sale.undealt + 1).returning(col(Sale.id))
)
"""So the worker sees what Redis has to learn, whoever sells and dies. Before groups: sales are locked first."""
ORDER_BARGAINS = (
    update(Bargain)
    .where(among(Bargain.id, "bargain_ids"))
    .values(state=BargainState.ORDERED)
    .returning(col(Bargain.id))
)
MEMBERS = select(Member.id).where(among(Member.id, "member_ids"), col(Member.erased_at).is_(None))
KNOWN_MEMBERS = 200_000
"""How many members a process remembers to exist."""
ATTEMPTS = 5
"""How often places of coupons are looked for, while others take those that were found."""
LANES = 3
"""Transactions under way at the same time: while one waits for the database, the process makes the next."""
KEYS: dict[type[SQLModel], Callable[[dict[str, Any]], Any]] = {
    Order: itemgetter("sale_id", "member_id", "request_key"),
    Unit: itemgetter("offer_id", "number"),
    Seat: itemgetter("group_id", "number"),
    Purchase: itemgetter("sale_id", "member_id", "number"),
    Redemption: itemgetter("coupon_id", "number"),
}
Outcome = bytes | Exception
"""The answer, a `ClaimAnswer` in JSON; or why there is none."""


@dataclass(frozen=True, slots=True)
class Want:
    """Who claims what, under which rules. `group_id` is None to open a group."""

    asked: Asked
    sale: SaleFacts
    offer: Offer
    quantity: int
    group_id: str | None
    on_unfilled: OnUnfilled
    min_quantity: int | None
    invite_code: str | None
    now: datetime
    voucher: Voucher | None = None
    bargain_id: str | None = None
    """At whose price."""
    ticket: str | None = None
    """The id of the ticket it uses up, in a flash sale."""
    new_group_id: str | None = None
    """The id of the group that is opened, if it matters."""
    in_line: bool = False
    """Whether it is the member's turn in the line."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A want, and the places it was dealt, or found in the rows."""

    want: Want
    claim: Claim
    dealt: bool = True


class GroupLocked(Exception):
    """Somebody else is changing the group, or the bargain, at this moment."""


async def commit(state: State, draft: Draft) -> bytes:
    """Commit a claim, together with all others that wait; returns its `ClaimAnswer` in JSON.

    The same claim, asked for twice, is committed once, and both get the answer after that. Raises `Conflict` when
    the database refuses one of its rows, `GroupClosed`, `BargainClosed`, `DatabaseUnavailable` when nobody knows
    what became of it, `Busy` when too many wait.
    """
    try:
        return await _queue(state).ask(draft.claim.order_id, draft)
    except GroupLocked:
        return await state.batches(commit_waiting).ask(draft.claim.order_id, draft)


def is_committing(state: State, order_id: str) -> bool:
    """Whether this process is about to commit the claim of this order."""
    return any(queue.is_asked(order_id) for queue in (_queue(state), state.batches(commit_waiting)))


def _queue(state: State) -> Batches[str, Draft, bytes]:
    return state.batches(commit_all, lanes=1 if state.database.is_sqlite else LANES)


async def commit_all(state: State, drafts: Sequence[Draft]) -> list[Outcome]:
    """Commit what can be committed without waiting for anybody else; `GroupLocked` for the rest."""
    return await _commit_apart(state, drafts, wait=False)


async def commit_waiting(state: State, drafts: Sequence[Draft]) -> list[Outcome]:
    """Commit claims on groups that were locked, when they are free."""
    return await _commit_apart(state, drafts, wait=True)


async def _commit_apart(
    state: State, drafts: Sequence[Draft], *, wait: bool, attempts: int = ATTEMPTS
) -> list[Outcome]:
    if not drafts:
        return []
    try:
        return await _commit(state, drafts, wait=wait)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer of one claim and not of all
        if attempts > 1 and isinstance(error, Conflict) and Redemption.__tablename__ in str(error):
            # Others have just redeemed with the numbers that were found free: there are no others to blame.
            return await _commit_apart(state, drafts, wait=wait, attempts=attempts - 1)
        if is_outage(error):
            return [DatabaseUnavailable()] * len(drafts)
        if len(drafts) == 1:
            return [error]
        middle = len(drafts) // 2
        return [
            *await _commit_apart(state, drafts[:middle], wait=wait),
            *await _commit_apart(state, drafts[middle:], wait=wait),
        ]


async def _commit(state: State, drafts: Sequence[Draft], *, wait: bool) -> list[Outcome]:
    async with state.database.bulk(keep=not wait) as bulk:
        undealt = {draft.want.sale.id for draft in drafts if not draft.dealt}
        if undealt:
            await bulk.fetch(COUNT_UNDEALT, sale_ids=sorted(undealt))
        joined = sorted({draft.want.group_id for draft in drafts if draft.want.group_id is not None})
        groups = await _lock_groups(bulk, joined, wait=wait)
        bargains = await _lock_bargains(bulk, drafts, wait=wait)
        batch = _Batch(state.clock(), groups, bargains)
        batch.strangers = await _strangers(state, bulk, drafts)
        redeeming = [
            (voucher, draft.want.asked.member_id) for draft in drafts if (voucher := draft.want.voucher) is not None
        ]
        if redeeming:
            batch.redemptions = await find_places(bulk, redeeming)
        outcomes = [batch.add(draft) for draft in drafts]
        await batch.write(bulk)
    for group in batch.rows[Group]:
        remember_group(state, group["id"], group["sale_id"], group["product_id"])
    state.live.changed(batch.changed)
    state.batches(publish).ask(batch, batch)
    return outcomes


async def _strangers(state: State, bulk: Bulk, drafts: Sequence[Draft]) -> set[str]:
    """Members who claim but are not there: their token is from before the database was set back, or they were
    erased.
    """
    claiming = {draft.want.asked.member_id for draft in drafts}
    unknown = (claiming - state.known_members) | (claiming & state.erased.keys())
    if not unknown:
        return unknown
    found = {row[0] for row in await bulk.fetch(MEMBERS, member_ids=list(unknown))}
    if len(state.known_members) > KNOWN_MEMBERS:
        state.known_members.clear()
    state.known_members |= found
    return unknown - found


async def publish(state: State, batches: Sequence["_Batch"]) -> list[None]:
    """Tell other processes of what changed, and the dealer which claims have their rows; nobody waits for it."""
    await state.live.publish({id_ for batch in batches for id_ in batch.changed})
    committed: dict[str, list[str]] = {}
    for sale_id, order_id in (dealt for batch in batches for dealt in batch.dealt):
        committed.setdefault(sale_id, []).append(order_id)
    with suppress(DealerUnavailable):  # then the reaper finds them
        for sale_id, order_ids in committed.items():
            lost = await state.dealer.settle(sale_id, order_ids)
            if lost and await living_orders(state, lost):
                # Redis was flushed, or the commit took so long that the reaper had given the places back.
                await state.dealer.forget(sale_id)
    return [None] * len(batches)


@dataclass(slots=True)
class _Filling:
    """A group that claims of a batch join or open."""

    id: str
    sale_id: str
    product_id: str
    leader_id: str
    state: GroupState
    size: int
    opened_at: datetime
    deadline_at: datetime
    extended_at: datetime | None = None
    held: int = 0
    paid: int = 0

    def counts(self) -> dict[str, Any]:
        """The values of a running group's `GroupCounts`."""
        return {
            "id": self.id,
            "sale_id": self.sale_id,
            "product_id": self.product_id,
            "state": self.state,
            "size": self.size,
            "held": self.held,
            "paid": self.paid,
            "left": self.size - self.held - self.paid,
            "opened_at": self.opened_at,
            "deadline_at": self.deadline_at,
            "ended_at": None,
            "fail_reason": None,
            "covered": 0,
            "extra": 0,
            "extended_at": self.extended_at,
            "merged_into": None,
        }


async def _lock_groups(bulk: Bulk, group_ids: Sequence[str], *, wait: bool) -> dict[str, _Filling]:
    """The groups that claims join, locked, with the seats they have; without those that are locked elsewhere."""
    if not group_ids:
        return {}
    groups = await bulk.fetch(LOCK_GROUPS_WAITING if wait else LOCK_GROUPS, group_ids=group_ids)
    found = {row[0]: _Filling(*row) for row in groups}
    # Counted after they are locked: a count in the same statement could be older than the lock.
    for group_id, seats, held in await bulk.fetch(COUNT_SEATS, group_ids=group_ids):
        if group_id in found:
            found[group_id].held, found[group_id].paid = held, seats - held
    return found


@dataclass(slots=True)
class _Bargained:
    """A bargain at whose price a claim of a batch buys."""

    id: str
    state: BargainState
    price: int
    deadline_at: datetime


async def _lock_bargains(bulk: Bulk, drafts: Sequence[Draft], *, wait: bool) -> dict[str, _Bargained]:
    """The bargains at whose prices claims buy, locked; without those that are locked elsewhere."""
    ids = sorted({draft.want.bargain_id for draft in drafts if draft.want.bargain_id is not None})
    if not ids:
        return {}
    found = await bulk.fetch(LOCK_BARGAINS_WAITING if wait else LOCK_BARGAINS, bargain_ids=ids)
    return {row[0]: _Bargained(*row) for row in found}


@dataclass(slots=True, eq=False)
class _Batch:
    """The rows that a batch of claims inserts, the groups it opens and fills, and the bargains it orders."""

    now: datetime
    groups: dict[str, _Filling]
    bargains: dict[str, _Bargained]
    rows: dict[type[SQLModel], list[dict[str, Any]]] = field(
        default_factory=lambda: {model: [] for model in (Group, Order, Unit, Seat, Purchase, Redemption, Event)},
    )
    filled: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    dealt: list[tuple[str, str]] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)
    redemptions: FreePlaces = field(default_factory=FreePlaces)

    def add(self, draft: Draft) -> Outcome:
        """Write down what a claim inserts. Returns its answer, or why it cannot be."""
        try:
            return self._add(draft)
        except (BargainClosed, CouponLimit, CouponUsedUp, GroupClosed, GroupLocked, TokenInvalid) as refusal:
            return refusal

    def _add(self, draft: Draft) -> bytes:
        """The answer. Whatever refuses does so before anything is written down."""
        want, claim = draft.want, draft.claim
        if want.asked.member_id in self.strangers:
            raise TokenInvalid
        group, bargain = self._joined(want), self._bargained(want)
        discount, coupon_code = 0, None
        if want.voucher is not None:
            self._redeem(want.voucher, want.asked.member_id, claim.order_id)
            discount, coupon_code = want.voucher.discount, want.voucher.code
        group = group or self._open(draft)
        group.held += 1
        price = self._price(want, group) if bargain is None else self._order(bargain, want)
        order = {
            "id": claim.order_id,
            "sale_id": group.sale_id,
            "group_id": group.id,
            "offer_id": want.offer.id,
            "member_id": want.asked.member_id,
            "bargain_id": want.bargain_id,
            "seat_number": claim.seat,
            "quantity": want.quantity,
            "unit_price": price,
            "discount": discount,
            "amount": order_amount(price, want.quantity, discount),
            "settled_price": None,
            "on_unfilled": want.on_unfilled,
            "min_quantity": want.min_quantity,
            "settled_quantity": None,
            "currency": want.sale.currency,
            "state": OrderState.HELD,
            "invite_code": want.invite_code,
            "coupon_code": coupon_code,
            "hold_expires_at": hold_deadline(want.sale.terms, want.now, group.deadline_at),
            "paid_at": None,
            "confirmed_at": None,
            "created_at": want.now,
            "changed_at": want.now,
            "request_key": want.asked.request_key,
            "request_hash": want.asked.request_hash,
            "ticket": want.ticket,
        }
        self.rows[Unit] += [
            {"offer_id": want.offer.id, "number": number, "stock": want.offer.stock, "order_id": claim.order_id}
            for number in claim.units
        ]
        self.rows[Seat].append(
            {
                "group_id": group.id,
                "number": claim.seat,
                "size": group.size,
                "member_id": want.asked.member_id,
                "order_id": claim.order_id,
            }
        )
        self.rows[Purchase].append(
            {
                "sale_id": group.sale_id,
                "member_id": want.asked.member_id,
                "number": claim.purchase,
                "member_limit": want.sale.terms.member_limit,
                "order_id": claim.order_id,
            }
        )
        self.rows[Event].append(
            event_values(
                "order.held",
                claim.order_id,
                want.now,
                states=(None, OrderState.HELD),
                sale_id=group.sale_id,
                group_id=group.id,
                member_id=want.asked.member_id,
                seat=claim.seat,
                amount=order["amount"],
            )
        )
        self._fill(group, want)
        answer = orjson.dumps(
            {"group": group.counts(), "order": {name: order[name] for name in ORDER_FIELDS}},
            option=orjson.OPT_UTC_Z,
        )
        self.rows[Order].append(order | {"answer": answer.decode()})
        if draft.dealt:
            self.dealt.append((group.sale_id, claim.order_id))
        return answer

    def _joined(self, want: Want) -> _Filling | None:
        """The group that is joined, None to open one. Raises `GroupLocked`, `GroupClosed`."""
        if want.group_id is None:
            return None
        if want.group_id not in self.groups:
            raise GroupLocked
        group = self.groups[want.group_id]
        if group.state in FINAL_GROUP_STATES or self.now >= group.deadline_at:
            raise GroupClosed
        return group

    def _bargained(self, want: Want) -> _Bargained | None:
        """The bargain at whose price one buys, if so. Raises `GroupLocked`, `BargainClosed`."""
        if want.bargain_id is None:
            return None
        if want.bargain_id not in self.bargains:
            raise GroupLocked
        bargain = self.bargains[want.bargain_id]
        check_buyable(bargain.state, bargain.deadline_at, self.now)
        return bargain

    def _price(self, want: Want, group: _Filling) -> int:
        """What a unit costs who joins now, or would rather buy alone."""
        if want.on_unfilled == OnUnfilled.SOLO and want.offer.solo_price is not None:
            return want.offer.solo_price
        if want.offer.ladder:
            return price_at(want.offer.steps(want.sale.terms), group.paid + 1)
        return want.offer.price

    async def write(self, bulk: Bulk) -> None:
        """Insert the rows, ordered by their keys: two batches that want the same places do not lock each other."""
        for model, key in KEYS.items():
            self.rows[model].sort(key=key)
        if self.ordered:
            await bulk.fetch(ORDER_BARGAINS, bargain_ids=self.ordered)
        if self.filled:
            await bulk.fetch(FILL_GROUPS, group_ids=self.filled)
        if self.rows[Order]:
            await bulk.insert(self.rows)

    def _redeem(self, voucher: Voucher, member_id: str, order_id: str) -> None:
        number, member_number = self.redemptions.take(voucher, member_id)
        self.rows[Redemption].append(
            {
                "coupon_id": voucher.coupon_id,
                "number": number,
                "total": voucher.total,
                "member_id": member_id,
                "member_number": member_number,
                "member_limit": voucher.member_limit,
                "order_id": order_id,
            }
        )

    @property
    def changed(self) -> list[str]:
        """Ids of the groups and bargains that somebody may be watching."""
        return [*self.groups, *self.bargains]

    def _order(self, bargain: _Bargained, want: Want) -> int:
        """Move a bargain to `ordered`. Returns the price it has reached."""
        self.rows[Event].append(
            event_values(
                "bargain.ordered",
                bargain.id,
                want.now,
                states=(bargain.state, BargainState.ORDERED),
                sale_id=want.sale.id,
                bargain_id=bargain.id,
                member_id=want.asked.member_id,
                price=bargain.price,
            )
        )
        bargain.state = BargainState.ORDERED
        self.ordered.append(bargain.id)
        return bargain.price

    def _open(self, draft: Draft) -> _Filling:
        want, terms = draft.want, draft.want.sale.terms
        group = self.groups[draft.claim.group_id] = _Filling(
            id=draft.claim.group_id,
            sale_id=want.sale.id,
            product_id=want.offer.product_id,
            leader_id=want.asked.member_id,
            state=GroupState.OPEN,
            size=terms.group_size,
            opened_at=want.now,
            deadline_at=group_deadline(terms, want.now),
        )
        self.rows[Group].append(
            {
                "id": group.id,
                "sale_id": group.sale_id,
                "product_id": group.product_id,
                "state": group.state,
                "size": group.size,
                "leader_id": group.leader_id,
                "opened_at": group.opened_at,
                "deadline_at": group.deadline_at,
            }
        )
        self._record("group.opened", group, None, want.now)
        return group

    def _fill(self, group: _Filling, want: Want) -> None:
        """Move a group whose last seat was taken to `filled`."""
        if group.state == GroupState.OPEN and next_state(group.state, group.size, group.held, group.paid) == (
            GroupState.FILLED
        ):
            group.state = GroupState.FILLED
            if want.group_id is None:
                self.rows[Group][-1]["state"] = GroupState.FILLED  # it is opened with its last seat
            else:
                self.filled.append(group.id)
            self._record("group.filled", group, GroupState.OPEN, want.now)

    def _record(self, type_: str, group: _Filling, before: GroupState | None, now: datetime) -> None:
        self.rows[Event].append(
            event_values(
                type_,
                group.id,
                now,
                states=(before, group.state),
                sale_id=group.sale_id,
                group_id=group.id,
                member_id=group.leader_id,
            )
        )
