"""What a sale is, when it is open, and what one claim may take from it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.admissions import AdmissionRules
from app.domain.bargains import BargainRules
from app.domain.draws import MAX_WEIGHT
from app.domain.errors import (
    InvalidTerms,
    OrderLimit,
    SaleEnded,
    SaleIsDrawn,
    SaleNotOpen,
    SalePaused,
    WrongKind,
)
from app.domain.machines import Table
from app.domain.rescues import NO_RESCUE, RescueRules

MAX_GROUP_SIZE = 500
MAX_STOCK = 10_000_000
MAX_ORDER_LIMIT = 100
MAX_MEMBER_LIMIT = 100
MAX_TTL_SECONDS = 30 * 24 * 3600


class SaleKind(StrEnum):
    """How one buys: with others in a group, or alone, in a group of one."""

    GROUP = "group"
    FLASH = "flash"
    BARGAIN = "bargain"


class Allocation(StrEnum):
    """Who gets the units of a flash sale: whoever is fastest, or whoever is drawn."""

    FASTEST = "fastest"
    DRAW = "draw"


class SaleState(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    LIVE = "live"
    PAUSED = "paused"
    ENDED = "ended"


SALE_TRANSITIONS: Table[SaleState] = {
    SaleState.DRAFT: frozenset({SaleState.SCHEDULED}),
    SaleState.SCHEDULED: frozenset({SaleState.LIVE, SaleState.ENDED}),
    SaleState.LIVE: frozenset({SaleState.PAUSED, SaleState.ENDED}),
    SaleState.PAUSED: frozenset({SaleState.LIVE, SaleState.ENDED}),
    SaleState.ENDED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class SaleTerms:
    """The rules of a sale as they stood when they were read."""

    kind: SaleKind
    state: SaleState
    opens_at: datetime
    closes_at: datetime
    group_size: int
    group_ttl_seconds: int
    hold_ttl_seconds: int
    order_limit: int
    member_limit: int
    min_size: int | None = None
    """Paid seats with which a group succeeds at its deadline; None: all of them."""
    rescue: RescueRules = NO_RESCUE
    bargain: BargainRules | None = None
    admission: AdmissionRules = field(default_factory=AdmissionRules)
    """How members come into a flash sale."""
    allocation: Allocation = Allocation.FASTEST
    draws_at: datetime | None = None
    """When its draw is; one enters before."""
    drawn_at: datetime | None = None
    max_weight: int = 1


def check_terms(terms: SaleTerms) -> None:
    """Refuse terms under which a sale could not work.

    Raises `InvalidTerms`: the window is empty, a hold outlives the group it is for, a group would need more seats
    than it has, or one seat where members buy together, or more where they buy alone; a draw is not within the
    window; or rules are missing, or there for another kind of sale.
    """
    if terms.closes_at <= terms.opens_at:
        raise InvalidTerms(field="closes_at", reason="must be after opens_at")
    if terms.hold_ttl_seconds > terms.group_ttl_seconds:
        raise InvalidTerms(field="hold_ttl_seconds", reason="must not exceed group_ttl_seconds")
    if (terms.kind == SaleKind.GROUP) != (terms.group_size > 1):
        raise InvalidTerms(field="group_size", reason="must be 2 or more in a group sale, and 1 in any other")
    if terms.rescue.cover_seats >= terms.group_size:
        raise InvalidTerms(field="rescue", reason="cover_seats must be less than group_size")
    if terms.rescue != NO_RESCUE and terms.kind != SaleKind.GROUP:
        raise InvalidTerms(field="rescue", reason="is for group sales")
    if terms.min_size is not None and terms.min_size > terms.group_size:
        raise InvalidTerms(field="min_size", reason="must not exceed group_size")
    if (terms.kind == SaleKind.BARGAIN) != (terms.bargain is not None):
        raise InvalidTerms(field="bargain", reason="is for a bargain sale, which needs it")
    if terms.admission != AdmissionRules() and terms.kind != SaleKind.FLASH:
        raise InvalidTerms(field="admission", reason="only a flash sale has an entrance")
    _check_draw(terms)


def _check_draw(terms: SaleTerms) -> None:
    if terms.allocation == Allocation.DRAW and terms.kind != SaleKind.FLASH:
        raise InvalidTerms(field="allocation", reason="only a flash sale can be drawn")
    if (terms.allocation == Allocation.DRAW) != (terms.draws_at is not None):
        raise InvalidTerms(field="draws_at", reason="must be there for a draw, and only for a draw")
    if terms.draws_at is not None and not terms.opens_at < terms.draws_at < terms.closes_at:
        raise InvalidTerms(field="draws_at", reason="must lie between opens_at and closes_at")
    if terms.draws_at is not None and terms.closes_at - terms.draws_at < timedelta(seconds=terms.hold_ttl_seconds):
        raise InvalidTerms(field="draws_at", reason="must leave hold_ttl_seconds until closes_at, for the winners")
    if not 1 <= terms.max_weight <= MAX_WEIGHT:
        raise InvalidTerms(field="max_weight", reason=f"must lie between 1 and {MAX_WEIGHT}")


def smallest(terms: SaleTerms) -> int:
    """Paid seats with which a group succeeds at its deadline."""
    return terms.group_size if terms.min_size is None else terms.min_size


def check_open(terms: SaleTerms, now: datetime) -> None:
    """Refuse a claim outside the sale's window.

    The clock decides, not the worker that writes the state: a scheduled sale sells from `opens_at` on, a
    live one until `closes_at`. Raises `SaleNotOpen`, `SalePaused`, `SaleEnded`.
    """
    if terms.state == SaleState.DRAFT or (terms.state == SaleState.SCHEDULED and now < terms.opens_at):
        raise SaleNotOpen(opens_at=terms.opens_at.isoformat())
    if terms.state == SaleState.ENDED or now >= terms.closes_at:
        raise SaleEnded
    if terms.state == SaleState.PAUSED:
        raise SalePaused


def check_kind(terms: SaleTerms, kind: SaleKind) -> None:
    """Refuse to buy in another way than the sale sells. Raises `WrongKind`."""
    if terms.kind != kind:
        raise WrongKind(kind=terms.kind)


def is_undrawn(terms: SaleTerms) -> bool:
    """Whether all of a sale is for its draw, which is still to come."""
    return terms.allocation == Allocation.DRAW and terms.drawn_at is None


def is_draw_due(terms: SaleTerms, now: datetime) -> bool:
    """Whether a sale is to be drawn now: a paused one too, but not one that has ended."""
    return (
        is_undrawn(terms)
        and terms.state not in {SaleState.DRAFT, SaleState.ENDED}
        and terms.draws_at is not None
        and terms.draws_at <= now
    )


def serves_line(terms: SaleTerms, now: datetime) -> bool:
    """Whether those in line are called now: the sale sells, and is not still to be drawn."""
    return (
        not is_undrawn(terms)
        and terms.state in {SaleState.SCHEDULED, SaleState.LIVE}
        and terms.opens_at <= now < terms.closes_at
    )


def check_drawn(terms: SaleTerms) -> None:
    """Refuse to buy what is for the draw. Raises `SaleIsDrawn`."""
    if is_undrawn(terms):
        raise SaleIsDrawn(draws_at=str(terms.draws_at and terms.draws_at.isoformat()))


def check_quantity(terms: SaleTerms, quantity: int) -> None:
    """Refuse more units in one order than the sale allows. Raises `OrderLimit`."""
    if not 1 <= quantity <= terms.order_limit:
        raise OrderLimit(limit=terms.order_limit)
