"""What a sale would bring if so many came: a dry run, before anybody is asked for money.

Members come one after the other. Each wants `quantity` units of one offer, and takes a seat in the running group
of its product, or opens one. Who does not pay leaves the seat and the units to the next, as a hold that lapses
does; who finds too few units left is turned away. The prices are those of `domain/ladders.py`.

A level is what there would be if nobody came any more: running groups with enough paid seats succeed at their
deadline, the others fail, and their members are refunded. All figures are of orders that go through.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import NamedTuple

from app.domain.ladders import Step, gap, price_at

MAX_MEMBERS = 50_000


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer as the dry run sees it. `value` is what a unit costs outside the sale, `least` its lowest price."""

    id: str
    product_id: str
    stock: int
    steps: Sequence[Step]
    value: int
    least: int


@dataclass(frozen=True, slots=True)
class Demand:
    """So many members more, `paying_percent` of whom pay; `shares` are weights of offers, none means all alike."""

    members: int
    paying_percent: int = 100
    quantity: int = 1
    shares: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """So many percent of the orders take `coupon_discount` off, and so many of what is kept are paid as rewards."""

    coupon_percent: int = 0
    coupon_discount: int = 0
    reward_percent: int = 0


@dataclass(frozen=True, slots=True)
class Money:
    """Where the value of what is sold goes: `gross − discount − coupons − gaps − rewards = net`, in minor units.

    For an order of q units: `gross = value × q`, `discount = (value − price of joining) × q`,
    `gaps = (price of joining − price its group closes on) × q`, and
    `rewards = (price its group closes on × q − coupon) × reward_percent / 100`, rounded down.
    """

    gross: int = 0
    discount: int = 0
    coupons: int = 0
    gaps: int = 0
    rewards: int = 0
    net: int = 0

    def __add__(self, other: "Money") -> "Money":
        return Money(
            self.gross + other.gross,
            self.discount + other.discount,
            self.coupons + other.coupons,
            self.gaps + other.gaps,
            self.rewards + other.rewards,
            self.net + other.net,
        )


@dataclass(frozen=True, slots=True)
class Level:
    """What there would be after so many members; see the fields of `schemas/forecasts.py`."""

    members: int
    paying: int
    turned_away: int
    groups_filled: int
    groups_closing: int
    groups_failing: int
    orders_confirmed: int
    orders_refunded: int
    sold: Mapping[str, int]
    unmet: Mapping[str, int]
    money: Money


@dataclass(frozen=True, slots=True)
class Forecast:
    """The levels after each part of the demand, and after how many members things first happened."""

    levels: Sequence[Level]
    first_group_after: int | None
    sold_out_after: Mapping[str, int]
    """Offers of which somebody was turned away."""


class Placed(NamedTuple):
    """A paid order."""

    offer: Offered
    quantity: int
    price: int
    coupon: int


@dataclass(slots=True)
class _Run:
    """The sale as it fills."""

    size: int
    needed: int
    assumptions: Assumptions
    left: dict[str, int]
    running: dict[str, list[Placed]] = field(default_factory=dict)
    orders: Counter[str] = field(default_factory=Counter)
    sold: Counter[str] = field(default_factory=Counter)
    unmet: Counter[str] = field(default_factory=Counter)
    sold_out_after: dict[str, int] = field(default_factory=dict)
    first_group_after: int | None = None
    members: int = 0
    paying: int = 0
    turned_away: int = 0
    filled: int = 0
    confirmed: int = 0
    money: Money = field(default_factory=Money)

    def come(self, offer: Offered, quantity: int, *, pays: bool) -> None:
        """A member comes and wants units."""
        self.members += 1
        self.paying += pays
        if pays and self.left[offer.id] < quantity:
            self.turned_away += 1
            self.unmet[offer.id] += quantity
            self.sold_out_after.setdefault(offer.id, self.members)
        elif pays:
            self._place(offer, quantity)

    def _place(self, offer: Offered, quantity: int) -> None:
        group = self.running.setdefault(offer.product_id, [])
        self.orders[offer.id] += 1
        coupon = 0
        if is_nth(self.orders[offer.id], self.assumptions.coupon_percent):
            coupon = min(self.assumptions.coupon_discount, offer.least * quantity - 1)
        self.left[offer.id] -= quantity
        group.append(Placed(offer, quantity, price_at(offer.steps, len(group) + 1), coupon))
        if len(group) == self.size:
            self.filled += 1
            self.confirmed += self.size
            self.money += settle(group, self.assumptions.reward_percent)
            _add_units(self.sold, group)
            if self.first_group_after is None:
                self.first_group_after = self.members
            del self.running[offer.product_id]

    def level(self, offers: Sequence[Offered]) -> Level:
        """What there would be if nobody came any more."""
        closing = [group for group in self.running.values() if len(group) >= self.needed]
        failing = [group for group in self.running.values() if len(group) < self.needed]
        money, sold = self.money, Counter(self.sold)
        for group in closing:
            money += settle(group, self.assumptions.reward_percent)
            _add_units(sold, group)
        return Level(
            members=self.members,
            paying=self.paying,
            turned_away=self.turned_away,
            groups_filled=self.filled,
            groups_closing=len(closing),
            groups_failing=len(failing),
            orders_confirmed=self.confirmed + sum(map(len, closing)),
            orders_refunded=sum(map(len, failing)),
            sold={offer.id: sold[offer.id] for offer in offers},
            unmet={offer.id: self.unmet[offer.id] for offer in offers},
            money=money,
        )


def forecast(
    offers: Sequence[Offered], curve: Sequence[Demand], assumptions: Assumptions, *, size: int, needed: int
) -> Forecast:
    """A dry run of a sale with groups of `size`, which succeed at their deadline with `needed` paid seats."""
    run = _Run(size, needed, assumptions, {offer.id: offer.stock for offer in offers})
    levels = []
    for demand in curve:
        for offer, pays in arrivals(offers, demand):
            run.come(offer, demand.quantity, pays=pays)
        levels.append(run.level(offers))
    return Forecast(levels, run.first_group_after, run.sold_out_after)


def at_start(offers: Sequence[Offered]) -> list[Offered]:
    """The offers of a bargain sale at the prices it starts from: what a unit costs without any help."""
    return [replace(offer, steps=[Step(1, offer.value)]) for offer in offers]


def arrivals(offers: Sequence[Offered], demand: Demand) -> Iterator[tuple[Offered, bool]]:
    """Which offer each member wants, and whether they pay: in turns, as near to the shares as members can be."""
    wanted = [offer for offer in offers if not demand.shares or offer.id in demand.shares]
    weights = [demand.shares.get(offer.id, 1) for offer in wanted]
    credit, turns = [0] * len(wanted), []
    for _ in range(min(sum(weights), demand.members)):  # then it begins again
        credit = [owed + weight for owed, weight in zip(credit, weights, strict=True)]
        chosen = credit.index(max(credit))
        credit[chosen] -= sum(weights)
        turns.append(chosen)
    came = [0] * len(wanted)
    for chosen in islice(cycle(turns), demand.members):
        came[chosen] += 1
        yield wanted[chosen], is_nth(came[chosen], demand.paying_percent)


def is_nth(number: int, percent: int) -> bool:
    """Whether the thing of this number, from 1 on, is among so many percent that are spread evenly."""
    return number * percent // 100 > (number - 1) * percent // 100


def settle(group: Sequence[Placed], reward_percent: int) -> Money:
    """The money of a group that succeeds with these orders."""
    gross = discount = coupons = gaps = rewards = net = 0
    prices = {placed.offer.id: price_at(placed.offer.steps, len(group)) for placed in group}
    for offer, quantity, price, coupon in group:
        settled = prices[offer.id]
        kept = settled * quantity - coupon
        reward = kept * reward_percent // 100
        gross += offer.value * quantity
        discount += (offer.value - price) * quantity
        coupons += coupon
        gaps += gap(price, settled, quantity)
        rewards += reward
        net += kept - reward
    return Money(gross, discount, coupons, gaps, rewards, net)


def _add_units(sold: Counter[str], group: Sequence[Placed]) -> None:
    for placed in group:
        sold[placed.offer.id] += placed.quantity
