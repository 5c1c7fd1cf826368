"""Bargains: started, cut by friends, bought at the present price, or over.

An order at a bargain's price is an order like any other (`claims.py`); the transaction that commits it locks the
bargain, takes the price from its row and moves it to `ordered`. So a cut is before an order or after it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.bargains import (
    BARGAIN_TRANSITIONS,
    BUYABLE_STATES,
    RUNNING_BARGAIN_STATES,
    BargainRules,
    BargainState,
    bargain_deadline,
    check_cuttable,
    hash_seed,
    next_cuts,
    shows_seed,
    state_given_back,
    weight_of,
)
from app.domain.errors import (
    AlreadyHelped,
    BargainNotFound,
    Busy,
    HelpLimit,
    KaituanError,
    OfferNotFound,
    SelfHelp,
    TokenInvalid,
)
from app.domain.members import mask_name
from app.domain.sales import SaleKind, check_kind, check_open
from app.models import Bargain, Cut, Help, Member, Offer, Sale
from app.schemas.bargains import BargainCreate, BargainPublic, BargainSummary, CutAnswer, CutPublic
from app.schemas.fields import Page
from app.services.gates import pass_gate
from app.services.locks import lock_bargain, lock_running_bargains
from app.services.pages import read_page
from app.services.terms import find_sale, published_sale
from app.services.transactions import Work, transaction
from app.state import State

HELPS_AT_ONCE = 25
LANES = 3
"""Transactions of helps under way at the same time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A bargain, who started it, and its cuts with the names of those who made them."""

    bargain: Bargain
    owner_name: str
    cuts: Sequence[tuple[Cut, str]]


async def start(state: State, member_id: str, sale_id: str, body: BargainCreate) -> tuple[BargainPublic, bool]:
    """Start a bargain; with it, whether it is new: a member has one that runs of an offer, and gets it again.

    Raises `SaleNotFound`, `WrongKind`, those of `check_open` and `pass_gate`, `OfferNotFound`, `TokenInvalid`,
    `Busy`.
    """
    await pass_gate(state, (await find_sale(state, sale_id)).gate, member_id)
    async with transaction(state, state.clock()) as work:
        sale = await published_sale(work.session, sale_id)
        check_kind(sale.terms(), SaleKind.BARGAIN)
        check_open(sale.terms(), work.now)
        offer = await work.session.get(Offer, body.offer_id)
        if offer is None or offer.sale_id != sale_id:
            raise OfferNotFound
        if await work.session.get(Member, member_id) is None:
            raise TokenInvalid
        new_id = await _insert(state, work, sale, offer, member_id)
        running = await work.session.exec(
            select(Bargain.id).where(
                Bargain.sale_id == sale_id,
                Bargain.member_id == member_id,
                Bargain.offer_id == offer.id,
                col(Bargain.state).in_(RUNNING_BARGAIN_STATES),
            ),
        )
        bargain_id = new_id or running.one_or_none()
        if bargain_id is None:
            raise Busy  # it ended at this very moment
        seen = (await read_bargains(work.session, [bargain_id]))[bargain_id]
        return present(seen, member_id), new_id is not None


async def _insert(state: State, work: Work, sale: Sale, offer: Offer, member_id: str) -> str | None:
    """The id of a new bargain; None when the member has one that runs."""
    rules = rules_of(sale)
    if offer.list_price is None:
        raise AssertionError("an offer of a bargain sale has a start price")
    seed = token_hex(32)
    bargain = Bargain(
        sale_id=sale.id,
        offer_id=offer.id,
        member_id=member_id,
        state=BargainState.CUTTING,
        start_price=offer.list_price,
        floor_price=offer.price,
        price=offer.list_price,
        slots=rules.slots,
        seed=seed,
        seed_hash=hash_seed(seed),
        deadline_at=bargain_deadline(sale.group_ttl_seconds, sale.closes_at, work.now),
        created_at=work.now,
    )
    inserted = await work.session.exec(
        state.database.insert_unless_there(Bargain).values(**bargain.model_dump()).returning(col(Bargain.id)),
    )
    if inserted.first() is None:
        return None
    _record(work, bargain, "started", None, price=bargain.price, slots=bargain.slots)
    return bargain.id


async def cut(state: State, member_id: str, bargain_id: str) -> CutAnswer:
    """Help: cut what is drawn for the next slots. Raises `BargainNotFound`, `TokenInvalid`, `SelfHelp`,
    `AlreadyHelped`, those of `check_open`, `BargainClosed`, `HelpLimit`.
    """
    lanes = 1 if state.database.is_sqlite else LANES
    helps = state.batches(_cut_all, size=HELPS_AT_ONCE, lanes=lanes)
    answer: CutAnswer = await helps.ask(object(), _Asked(bargain_id, member_id))
    return answer


class _Asked(NamedTuple):
    bargain_id: str
    member_id: str


async def _cut_all(state: State, asked: Sequence[_Asked]) -> list[CutAnswer | KaituanError]:
    """Help many in one transaction. A crowd around one bargain waits here, and not each at a connection of its own;
    what is refused has changed nothing.
    """
    outcomes: dict[int, int | KaituanError] = {}
    async with transaction(state, state.clock()) as work:
        ids = sorted({bargain_id for bargain_id, _ in asked})
        locked = {id_: await lock_bargain(work.session, id_) for id_ in ids}
        # In the order of members: transactions that count the helps of the same ones do not wait in a circle.
        for place in sorted(range(len(asked)), key=lambda place: asked[place].member_id):
            try:
                outcomes[place] = await _cut(state, work, locked[asked[place].bargain_id], asked[place].member_id)
            except KaituanError as refusal:
                outcomes[place] = refusal
        seen = await read_bargains(work.session, ids)
    return [
        outcome
        if isinstance(outcome := outcomes[place], KaituanError)
        else CutAnswer(amount=outcome, bargain=present(seen[bargain_id], member_id))
        for place, (bargain_id, member_id) in enumerate(asked)
    ]


async def _cut(state: State, work: Work, bargain: Bargain | None, member_id: str) -> int:
    """Help in a locked bargain. Returns what was cut; raises the refusals of `cut`, having changed nothing."""
    if bargain is None:
        raise BargainNotFound
    helper = await work.session.get(Member, member_id)
    if helper is None:
        raise TokenInvalid
    if bargain.member_id == member_id:
        raise SelfHelp
    if cut_before := await _cut_by(work.session, bargain.id, member_id):
        raise AlreadyHelped(amount=cut_before)
    sale = await work.session.get_one(Sale, bargain.sale_id)
    check_open(sale.terms(), work.now)
    check_cuttable(bargain.state, bargain.deadline_at, work.now)
    rules = rules_of(sale)
    await _count_help(state, work, bargain, member_id, rules.daily_helps)
    return await _take_slots(work, bargain, member_id, weight_of(rules, helper.created_at, work.now))


async def _cut_by(session: AsyncSession, bargain_id: str, member_id: str) -> int | None:
    found = await session.exec(
        select(func.sum(Cut.amount)).where(Cut.bargain_id == bargain_id, Cut.member_id == member_id),
    )
    amount = found.one()
    return None if amount is None else int(amount)


async def _count_help(state: State, work: Work, bargain: Bargain, member_id: str, limit: int) -> None:
    """Take the first free number among a member's helps of today. Raises `HelpLimit`."""
    place = {"sale_id": bargain.sale_id, "member_id": member_id, "day": work.now.date()}
    taken = await work.session.exec(select(func.count()).select_from(Help).filter_by(**place))
    for number in range(taken.one() + 1, limit + 1):
        inserted = await work.session.exec(
            state.database.insert_unless_there(Help)
            .values(**place, number=number, daily_limit=limit, bargain_id=bargain.id)
            .returning(col(Help.number)),
        )
        if inserted.first() is not None:
            return
    raise HelpLimit(limit=limit)


async def _take_slots(work: Work, bargain: Bargain, member_id: str, weight: int) -> int:
    """Take the next slots of a locked bargain that is being cut. Returns what they cut together."""
    span, first = bargain.start_price - bargain.floor_price, bargain.taken + 1
    amounts = next_cuts(bargain.seed, span, bargain.slots, bargain.taken, weight)
    for part, amount in enumerate(amounts, start=1):
        work.session.add(
            Cut(
                bargain_id=bargain.id,
                number=bargain.taken + part,
                slots=bargain.slots,
                member_id=member_id,
                part=part,
                amount=amount,
                created_at=work.now,
            )
        )
    await work.session.flush()
    left = {"price": bargain.price - sum(amounts), "taken": bargain.taken + len(amounts)}
    work.record(
        "bargain.cut",
        bargain.id,
        sale_id=bargain.sale_id,
        bargain_id=bargain.id,
        member_id=member_id,
        amount=sum(amounts),
        price=left["price"],
        number=first,
        cuts=len(amounts),
    )
    if left["taken"] == bargain.slots:
        await _move(work, bargain, BargainState.WON, **left)
    else:
        bargain.sqlmodel_update(left)
        work.session.add(bargain)
        await work.session.flush()
    return sum(amounts)


async def expire(state: State, bargain_id: str, now: datetime) -> bool:
    """End a bargain whose time is up, unless it is ordered. True when this call did it."""
    async with transaction(state, state.clock()) as work:
        bargain = await lock_bargain(work.session, bargain_id, skip_locked=True)
        if bargain is None or bargain.state not in BUYABLE_STATES:
            return False
        if bargain.deadline_at > now:
            return False
        return await _move(work, bargain, BargainState.EXPIRED)


async def end_with(work: Work, sale: Sale) -> None:
    """Let the deadline of a sale's running bargains be no later than the end of the sale."""
    for bargain in await lock_running_bargains(work.session, sale.id):
        bargain.deadline_at = min(bargain.deadline_at, sale.closes_at)
        work.session.add(bargain)


async def give_back(work: Work, bargain_id: str) -> None:
    """The order at this price is over without having been paid: the price is the owner's again, while time lasts.
    What was bought stays bought, also when the order is refunded.
    """
    bargain = await _locked(work, bargain_id)
    if bargain.state == BargainState.ORDERED:
        target = state_given_back(bargain.taken, bargain.slots, bargain.deadline_at, work.now)
        await _move(work, bargain, target)


async def conclude(work: Work, bargain_id: str) -> None:
    """The order at this price is paid."""
    await _move(work, await _locked(work, bargain_id), BargainState.BOUGHT)


async def _locked(work: Work, bargain_id: str) -> Bargain:
    bargain = await lock_bargain(work.session, bargain_id)
    if bargain is None:
        raise AssertionError("an order's bargain is there")
    return bargain


async def _move(work: Work, bargain: Bargain, target: BargainState, **values: int) -> bool:
    before = bargain.state
    moved = await work.advance(BARGAIN_TRANSITIONS, bargain, target, **values)
    if moved is None:
        return False
    reopened = before == BargainState.ORDERED and target in BUYABLE_STATES
    _record(work, moved, "reopened" if reopened else target, before, price=moved.price)
    return True


def _record(work: Work, bargain: Bargain, what: str, before: BargainState | None, **data: Any) -> None:
    work.record(
        f"bargain.{what}",
        bargain.id,
        states=(before, bargain.state),
        sale_id=bargain.sale_id,
        bargain_id=bargain.id,
        member_id=bargain.member_id,
        **data,
    )


def rules_of(sale: Sale) -> BargainRules:
    """The rules of a bargain sale."""
    rules = sale.terms().bargain
    if rules is None:
        raise AssertionError("a bargain sale has its rules")
    return rules


async def list_bargains(
    state: State,
    member_id: str,
    *,
    sale_id: str | None,
    bargain_state: BargainState | None,
    after: str | None,
    limit: int,
) -> Page[BargainSummary]:
    """The bargains a member has started, newest first."""
    statement = select(Bargain).where(Bargain.member_id == member_id)
    if sale_id is not None:
        statement = statement.where(Bargain.sale_id == sale_id)
    if bargain_state is not None:
        statement = statement.where(Bargain.state == bargain_state)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Bargain, statement, after, limit)
        owner = await session.get(Member, member_id)
    name = "" if owner is None else owner.name
    return Page[BargainSummary](items=[BargainSummary(**_summary(row, name)) for row in rows], next=following)


async def read_bargains(session: AsyncSession, bargain_ids: Collection[str]) -> dict[str, Seen]:
    """Bargains with all that is shown of them, by their ids; those there are."""
    found = await session.exec(
        select(Bargain, Member.name)
        .join(Member, col(Member.id) == Bargain.member_id)
        .where(col(Bargain.id).in_(bargain_ids))
        .execution_options(populate_existing=True),
    )
    cuts = await session.exec(
        select(Cut, Member.name)
        .join(Member, col(Member.id) == Cut.member_id)
        .where(col(Cut.bargain_id).in_(bargain_ids))
        .order_by(col(Cut.bargain_id), col(Cut.number)),
    )
    made: dict[str, list[tuple[Cut, str]]] = {}
    for row, name in cuts.all():
        made.setdefault(row.bargain_id, []).append((row, name))
    return {bargain.id: Seen(bargain, name, made.get(bargain.id, [])) for bargain, name in found.all()}


async def views(session: AsyncSession, bargain_ids: Collection[str]) -> dict[str, BargainPublic]:
    """Bargains as a stranger may see them, by their ids; those there are."""
    return {id_: present(seen, None) for id_, seen in (await read_bargains(session, bargain_ids)).items()}


def is_inside(seen: Seen, viewer_id: str | None) -> bool:
    """Whether somebody is in a bargain: its owner, or one of the helpers."""
    return viewer_id in {seen.bargain.member_id, *(cut.member_id for cut, _ in seen.cuts)}


def present(seen: Seen, viewer_id: str | None) -> BargainPublic:
    """Shape a bargain for a viewer: those who are in it see names, strangers see masked ones."""
    inside = is_inside(seen, viewer_id)
    return BargainPublic(
        **_summary(seen.bargain, seen.owner_name if inside else mask_name(seen.owner_name)),
        cuts=[
            CutPublic(
                number=cut.number,
                name=name if inside else mask_name(name),
                amount=cut.amount,
                at=cut.created_at,
                you=cut.member_id == viewer_id,
            )
            for cut, name in seen.cuts
        ],
    )


def _summary(bargain: Bargain, owner_name: str) -> dict[str, object]:
    return bargain.model_dump(exclude={"member_id", "seed"}) | {
        "owner_name": owner_name,
        "left": bargain.slots - bargain.taken if bargain.state == BargainState.CUTTING else 0,
        "seed": bargain.seed if shows_seed(bargain.state, bargain.taken, bargain.slots) else None,
    }
