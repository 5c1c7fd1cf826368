"""Dry runs: no money and no unit gets lost in them, and they say what groups formed one by one would."""

from collections import defaultdict
from dataclasses import astuple, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.domain.forecasts import Assumptions, Demand, Forecast, Money, Offered, arrivals, at_start, forecast, is_nth
from app.domain.ladders import Step, gap, price_at
from tests.domain.test_ladders import ladders

OFFER = Offered("off", "prd", 100, [Step(2, 6000), Step(3, 5000), Step(5, 4500)], 6900, 4500)
NOTHING = Assumptions()


@st.composite
def sales(draw: st.DrawFn) -> tuple[int, int, list[Offered]]:
    """Groups of a size, the seats they need, and one to four offers of one or two products."""
    size = draw(st.integers(1, 6))
    needed = draw(st.integers(1, size))
    offers = []
    for number in range(draw(st.integers(1, 4))):
        prices = draw(ladders())
        heads = range(needed, size + 1)
        steps = [Step(at, step.price) for at, step in zip(heads, prices, strict=False)]
        value = steps[0].price + draw(st.integers(0, 5000))
        product, least = draw(st.sampled_from(["tea", "cup"])), steps[-1].price
        offers.append(Offered(f"off{number}", product, draw(st.integers(1, 40)), steps, value, least))
    return size, needed, offers


@st.composite
def curves(draw: st.DrawFn) -> list[Demand]:
    """One to four parts of a demand, which want all offers alike or some of them more."""
    return [
        Demand(
            draw(st.integers(1, 40)),
            draw(st.integers(0, 100)),
            draw(st.integers(1, 3)),
            draw(st.just({}) | st.just({"off0": 3}) | st.just({"off0": 1, "off1": 4})),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]


assumptions = st.builds(
    Assumptions,
    coupon_percent=st.integers(0, 100),
    coupon_discount=st.integers(0, 10**7),
    reward_percent=st.integers(0, 100),
)


def known(offers: list[Offered], curve: list[Demand]) -> list[Demand]:
    """A demand for offers that there are."""
    ids = {offer.id for offer in offers}
    return [
        replace(part, shares={name: weight for name, weight in part.shares.items() if name in ids})
        for part in curve
    ]


def run(sale: tuple[int, int, list[Offered]], curve: list[Demand], assumed: Assumptions = NOTHING) -> Forecast:
    size, needed, offers = sale
    return forecast(offers, known(offers, curve), assumed, size=size, needed=needed)


def by_hand(
    sale: tuple[int, int, list[Offered]], curve: list[Demand], assumed: Assumptions
) -> tuple[dict[str, int], dict[str, int], int, tuple[int, ...]]:
    """Who sits where, from the beginning: units sold and unmet, orders that go through, the sums of money."""
    size, needed, offers = sale
    stock = {offer.id: offer.stock for offer in offers}
    seated: defaultdict[str, list[tuple[Offered, int, bool]]] = defaultdict(list)
    unmet: dict[str, int] = dict.fromkeys(stock, 0)
    orders: dict[str, int] = dict.fromkeys(stock, 0)
    for part in known(offers, curve):
        for offer, pays in arrivals(offers, part):
            if not pays:
                continue
            if stock[offer.id] < part.quantity:
                unmet[offer.id] += part.quantity
                continue
            stock[offer.id] -= part.quantity
            orders[offer.id] += 1
            seated[offer.product_id].append(
                (offer, part.quantity, is_nth(orders[offer.id], assumed.coupon_percent))
            )
    sold: dict[str, int] = dict.fromkeys(stock, 0)
    confirmed, gross, discount, coupons, gaps, rewards = 0, 0, 0, 0, 0, 0
    for seats in seated.values():
        for first in range(0, len(seats), size):
            group = seats[first : first + size]
            if len(group) < needed:
                continue
            for place, (offer, quantity, has_coupon) in enumerate(group, start=1):
                joined, closed = price_at(offer.steps, place), price_at(offer.steps, len(group))
                off = min(assumed.coupon_discount, offer.least * quantity - 1) if has_coupon else 0
                back = gap(joined, closed, quantity)
                kept = joined * quantity - off - back
                assert kept >= 1
                sold[offer.id] += quantity
                confirmed += 1
                gross += offer.value * quantity
                discount += (offer.value - joined) * quantity
                coupons += off
                gaps += back
                rewards += kept * assumed.reward_percent // 100
    return (
        sold,
        unmet,
        confirmed,
        (gross, discount, coupons, gaps, rewards, gross - discount - coupons - gaps - rewards),
    )


@given(sales(), curves(), assumptions)
def test_it_says_what_groups_formed_one_by_one_would(
    sale: tuple[int, int, list[Offered]], curve: list[Demand], assumed: Assumptions
) -> None:
    for count, level in enumerate(run(sale, curve, assumed).levels, start=1):
        found = (dict(level.sold), dict(level.unmet), level.orders_confirmed, astuple(level.money))
        assert found == by_hand(sale, curve[:count], assumed)


@given(sales(), curves(), assumptions)
def test_nothing_is_lost(sale: tuple[int, int, list[Offered]], curve: list[Demand], assumed: Assumptions) -> None:
    for level in run(sale, curve, assumed).levels:
        money = level.money
        assert money.gross - money.discount - money.coupons - money.gaps - money.rewards == money.net
        assert min(astuple(money)) >= 0
        assert all(0 <= level.sold[offer.id] <= offer.stock for offer in sale[2])
        assert level.paying == level.orders_confirmed + level.orders_refunded + level.turned_away
        assert level.paying <= level.members
        assert level.orders_refunded < sale[1] * max(level.groups_failing, 1)


@given(sales(), curves(), st.integers(1, 20))
def test_more_demand_sells_no_less(sale: tuple[int, int, list[Offered]], curve: list[Demand], more: int) -> None:
    """Nor does it bring less before discounts. What it brings after them may fall, as the steps of a ladder do."""
    levels = run(sale, [*curve, replace(curve[-1], members=more)]).levels
    for before, after in pairwise(levels):
        assert after.orders_confirmed >= before.orders_confirmed
        assert all(after.sold[name] >= before.sold[name] for name in before.sold)
        assert all(after.unmet[name] >= before.unmet[name] for name in before.unmet)
        assert after.money.gross >= before.money.gross


@given(sales(), st.integers(1, 60), st.data())
def test_nobody_is_counted_twice(sale: tuple[int, int, list[Offered]], members: int, data: st.DataObject) -> None:
    """A demand in two parts is the demand as a whole, where everybody wants the same."""
    first = data.draw(st.integers(0, members - 1))
    one = sale[2][:1]
    whole = run((sale[0], sale[1], one), [Demand(members)])
    parts = run(
        (sale[0], sale[1], one), [part for part in (Demand(first), Demand(members - first)) if part.members]
    )
    assert (whole.levels[-1], whole.first_group_after) == (parts.levels[-1], parts.first_group_after)


@given(st.integers(0, 100), st.integers(1, 1000))
def test_a_percentage_is_spread_evenly(percent: int, count: int) -> None:
    assert sum(is_nth(number, percent) for number in range(1, count + 1)) == count * percent // 100


@given(sales(), st.integers(1, 300), st.integers(1, 9), st.integers(1, 9))
def test_members_want_offers_in_proportion(
    sale: tuple[int, int, list[Offered]], members: int, first: int, second: int
) -> None:
    offers = sale[2][:2]
    demand = Demand(members, shares=dict(zip([offer.id for offer in offers], (first, second), strict=False)))
    wanted = [offer.id for offer, _ in arrivals(offers, demand)]
    assert len(wanted) == members
    total = sum(demand.shares.values())
    for name, weight in demand.shares.items():
        assert abs(wanted.count(name) - members * weight / total) <= 1


def test_a_ladder_by_hand() -> None:
    """Four come to groups of five that need two: they pay 6000, 6000, 5000, 5000, and 5000 in the end."""
    found = forecast([OFFER], [Demand(1), Demand(3), Demand(1)], NOTHING, size=5, needed=2)
    alone, four, full = found.levels
    assert (alone.orders_refunded, alone.groups_failing, alone.money) == (1, 1, Money())
    assert (four.groups_closing, four.money.gaps, four.money.net) == (1, 2000, 20_000)
    assert (full.groups_filled, full.money.gaps, full.money.net) == (1, 2 * 1500 + 2 * 500, 22_500)
    assert (found.first_group_after, dict(found.sold_out_after)) == (5, {})


def test_the_last_units_may_strand_a_group() -> None:
    found = forecast([replace(OFFER, stock=7)], [Demand(20)], NOTHING, size=3, needed=3)
    (level,) = found.levels
    assert (level.groups_filled, level.groups_failing, level.turned_away) == (2, 1, 13)
    assert (level.sold["off"], level.unmet["off"], found.sold_out_after["off"]) == (6, 13, 8)


def test_a_bargain_starts_at_what_a_unit_is_worth() -> None:
    offers = [replace(OFFER, steps=[Step(1, 1000)], least=1000)]
    high, low = (
        forecast(tried, [Demand(3)], NOTHING, size=1, needed=1).levels[0].money
        for tried in (at_start(offers), offers)
    )
    assert (high.net, low.net) == (3 * 6900, 3 * 1000)
