"""The formulas of growth: exact, the same for every order of the rows, and empty of nothing."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.growth import (
    Brought,
    Buyer,
    Came,
    Cohort,
    Made,
    Money,
    Place,
    Ratio,
    Rows,
    cell,
    cycle_seconds,
    first_day,
    measure,
    median,
    place,
    rank,
)
from app.domain.invites import InviteChannel

NOON = datetime(2026, 11, 11, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LINK = InviteChannel.LINK


def by(inviter: str) -> Brought:
    return Brought(inviter, LINK, NOON - DAY, NOON)


def figures(rows: Rows, channel: InviteChannel | None = None, cohort: Cohort | None = None) -> Any:
    return measure(rows, NOON - DAY, NOON + DAY, channel, cohort)


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_ratio_is_read_to_four_digits(numerator: int, denominator: int) -> None:
    value = Ratio(numerator, denominator).value
    assert value is not None
    assert abs(Fraction(str(value)) - Fraction(numerator, denominator)) <= Fraction(1, 20_000)


def test_a_ratio_of_nothing_has_no_value() -> None:
    assert Ratio(0, 0).value is None
    assert (Ratio(1, 3).value, Ratio(2, 3).value, Ratio(0, 5).value) == (0.3333, 0.6667, 0.0)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.randoms())
def test_everybody_has_the_place_that_a_walk_upwards_finds(above: list[int], chance: Any) -> None:
    edges = {f"m{number}": by(f"m{inviter}") for number, inviter in enumerate(above) if inviter != number}
    names = list(edges)
    chance.shuffle(names)
    places = place({name: edges[name] for name in names})
    assert places.keys() == edges.keys()
    for member in edges:
        level, at = 0, member
        while at in edges and level <= len(edges):
            at, level = edges[at].inviter_id, level + 1
        assert places[member] == (Place("", 0) if at in edges else Place(at, level))


def test_a_long_chain_and_a_ring_end() -> None:
    chain = {f"m{number + 1}": by(f"m{number}") for number in range(50_000)}
    assert place(chain)["m50000"] == Place("m0", 50_000)
    ring = {"a": by("b"), "b": by("a"), "c": by("a")}
    assert set(place(ring).values()) == {Place("", 0)}


def test_who_comes_twice_counts_once_and_pays_after_they_first_came() -> None:
    made = [Made("x", "seed", LINK, NOON - DAY), Made("y", "seed", InviteChannel.QR, NOON)]
    came = [
        Came("x", "friend", known=True, at=NOON + HOUR),
        Came("y", "friend", known=True, at=NOON),
        Came("x", "early", known=True, at=NOON),
        Came("x", "browser", known=False, at=NOON),
        Came("x", "seed", known=True, at=NOON),
        Came("x", "late", known=True, at=NOON + DAY),
    ]
    buyers = {"friend": Buyer(NOON, NOON), "early": Buyer(NOON - DAY, NOON - HOUR)}
    found = figures(Rows(buyers=buyers, made=made, came=came))
    assert (found.total.visitors, found.total.logged_in, found.total.paid) == (3, 2, 1)
    on_link = found.channels[LINK]
    assert (on_link.visitors, on_link.logged_in, on_link.paid) == (3, 2, 0)
    assert found.channels[InviteChannel.QR].visitors == 1


def test_active_is_who_paid_or_invited_in_the_period_on_any_channel() -> None:
    buyers = {"now": Buyer(NOON - 9 * DAY, NOON), "before": Buyer(NOON - 9 * DAY, NOON - 2 * DAY)}
    made = [
        Made("x", "now", LINK, NOON),
        Made("y", "inviter", InviteChannel.QR, NOON),
        Made("z", "old", LINK, NOON - 2 * DAY),
        Made("w", "next", LINK, NOON + DAY),
    ]
    since = {"inviter": NOON - DAY, "old": NOON - 8 * DAY, "next": NOON}
    found = figures(Rows(buyers=buyers, made=made, since=since), LINK, Cohort.DAY)
    assert (found.total.active, found.total.invites) == (2, 1)
    assert list(found.channels) == [LINK]
    assert {day: part.active for day, part in found.cohorts.items()} == {"2026-11-02": 1, "2026-11-10": 1}
    assert figures(Rows()).total.ratios["k_factor"].value is None


def test_invites_per_member_times_brought_per_invite_is_the_k_factor() -> None:
    brought = {f"m{number}": by("seed") for number in range(3)}
    buyers = {name: Buyer(NOON, NOON) for name in [*brought, "seed"]}
    made = [Made(f"{number}", "seed", LINK, NOON) for number in range(7)]
    total = figures(Rows(buyers=buyers, brought=brought, made=made, money={"m1": Money(900, 200)})).total
    ratios = total.ratios
    product = Fraction(ratios["invites_per_active"].numerator, ratios["invites_per_active"].denominator) * Fraction(
        ratios["brought_per_invite"].numerator, ratios["brought_per_invite"].denominator
    )
    assert product == Fraction(ratios["k_factor"].numerator, ratios["k_factor"].denominator) == Fraction(3, 4)
    assert (total.brought, total.referrers, total.depths, total.kept) == (3, 1, [3], 700)


def test_a_cycle_begins_with_the_inviters_own_order_if_that_was_before() -> None:
    brought = by("seed")
    assert cycle_seconds(brought, None) == 86_400
    assert cycle_seconds(brought, Buyer(NOON - HOUR, NOON)) == 3600
    assert cycle_seconds(brought, Buyer(NOON, NOON)) == 86_400


def test_a_branch_is_worth_what_is_kept_of_all_below_its_seed() -> None:
    brought = {"a": by("seed"), "b": by("a"), "c": by("other"), "x": by("y"), "y": by("x")}
    money = {"seed": Money(500), "a": Money(100), "b": Money(100, 60), "c": Money(200, 50), "x": Money(9000)}
    first, second = rank(Rows(brought=brought, money=money), 10)
    assert (first.member_id, first.kept, first.members, first.depth, first.own_kept) == ("other", 150, 1, 1, 0)
    assert (second.member_id, second.kept, second.members, second.depth, second.own_kept) == (
        "seed",
        140,
        2,
        2,
        500,
    )
    assert rank(Rows(brought=brought, money=money), 1) == [first]


def test_a_week_begins_on_monday_in_utc() -> None:
    sunday = datetime(2026, 11, 15, 23, 59, tzinfo=UTC)
    assert (first_day(sunday, Cohort.WEEK), first_day(sunday, Cohort.DAY)) == ("2026-11-09", "2026-11-15")
    assert first_day(sunday + timedelta(minutes=1), Cohort.WEEK) == "2026-11-16"


@given(st.lists(st.integers(-9, 9)))
def test_a_median_has_as_many_on_either_side(numbers: list[int]) -> None:
    found = median(numbers)
    if found is None:
        assert numbers == []
    else:
        assert found in numbers
        assert sum(number < found for number in numbers) * 2 <= len(numbers)
        assert sum(number > found for number in numbers) * 2 <= len(numbers)


def test_a_text_is_no_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "＋1", "－1", "＠x"):
        assert cell(text) == f"'{text}"
    assert [cell(value) for value in ("张三", -5, 0.25, None)] == ["张三", "-5", "0.25", ""]
