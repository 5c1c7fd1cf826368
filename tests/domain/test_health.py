"""The score of a community: bounded, explained by its parts, and moved the right way by what is done."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.growth import Ratio
from app.domain.health import (
    COUNTS,
    ENOUGH_DAYS,
    ENOUGH_MEMBERS,
    POINTS,
    SHARES,
    WEIGHTS,
    WINDOW_DAYS,
    Counted,
    Health,
    Part,
    Verdict,
    Window,
    add_up,
    first_read,
    judge,
    uncounted,
    value_of,
    week_of,
)

MONDAY = date(2026, 3, 2)
DAY = timedelta(days=1)
UNTIL = MONDAY + WINDOW_DAYS * DAY
COUNT = st.integers(0, 40)


@st.composite
def figures(draw: st.DrawFn) -> dict[str, int]:
    """A day that may have been."""
    counts = draw(st.lists(COUNT, min_size=len(COUNTS), max_size=len(COUNTS)))
    found = dict(zip(COUNTS, counts, strict=True)) | {"left_not_useful": draw(st.integers(0, 3))}
    shares = [draw(st.integers(ENOUGH_MEMBERS, 30)), *(draw(st.integers(0, 30)) for _ in range(3))]
    found |= dict(zip(("active", "silent", "dormant", "zombie"), shares, strict=True))
    found["members"] = sum(shares)
    found["buyers_28"] = draw(st.integers(0, sum(shares)))
    found["answers"] = found["answers_in_time"] + found["answers_late"]
    found["savings"], found["revenue"], found["rewards"] = (draw(st.integers(0, 50_000)) for _ in range(3))
    return found


def day(number: int, counts: Mapping[str, int], *, whole: bool = True) -> Counted:
    return Counted(MONDAY + number * DAY, whole, value_of(counts), counts)


def window(days: list[Counted]) -> Window:
    return add_up(days, MONDAY, UNTIL)


def score(days: list[Counted], *, promises: bool = True, sells: bool = True) -> Health:
    return judge(window(days), promises=promises, sells=sells)


DAYS = st.tuples(figures(), figures(), st.integers(1, 3)).map(
    lambda two: [two[0]] * (ENOUGH_DAYS - 1) + [two[1]] * two[2]
)
"""Days of two kinds."""


@settings(deadline=None)
@given(DAYS, st.booleans(), st.booleans())
def test_a_score_is_bounded_and_what_it_lost_is_told(
    drawn: list[dict[str, int]], promises: bool, sells: bool
) -> None:
    days = [day(number, counts) for number, counts in enumerate(drawn)]
    found = score(days, promises=promises, sells=sells)
    assert found.score is not None
    assert 0 <= found.score <= 100
    assert all(0 <= one.score <= 100 and one.reason.en and one.reason.zh for one in found.components)
    assert abs(100 - sum(one.lost for one in found.components) - found.score) < 1
    assert [one.lost for one in found.advice] == sorted((one.lost for one in found.advice), reverse=True)
    assert {one.part for one in found.advice} == {one.part for one in found.components if one.score < 100}
    most = max(found.components, key=lambda one: one.lost)
    assert most.lost < 1 or most.reason.zh in found.words.zh


def more(days: list[Counted], number: int, **added: int) -> list[Counted]:
    """The same days, with more on one of them."""
    old = days[number]
    counts = dict(old.figures)
    for name, count in added.items():
        counts[name] = counts.get(name, 0) + count
    return [*days[:number], Counted(old.day, old.whole, value_of(counts), counts), *days[number + 1 :]]


@settings(deadline=None)
@given(DAYS, st.integers(0, 6), COUNT, st.data())
def test_what_is_done_moves_the_score_the_right_way(
    drawn: list[dict[str, int]], number: int, count: int, data: st.DataObject
) -> None:
    if data.draw(st.booleans()):  # a community in which nothing happened
        drawn = [
            dict.fromkeys(counts, 0) | {name: counts[name] for name in ("members", *SHARES)} for counts in drawn
        ]
    days = [day(at, counts) for at, counts in enumerate(drawn)]
    promises, sells = data.draw(st.booleans()), data.draw(st.booleans())

    def scored(**added: int) -> int:
        found = score(more(days, number, **added), promises=promises, sells=sells)
        assert found.score is not None
        return found.score

    before = scored()
    for worse in (
        {"pushes": count, "deliveries": 9 * count},
        {"deliveries": 9 * count},
        {"questions": count} if drawn[number]["questions"] else {},
        {"left_too_many_pushes": count, "leaves": count},
    ):
        assert scored(**worse) <= before, worse
    in_time = ("answers", "answers_in_time", "answered", "answered_in_time")
    for better in (
        dict.fromkeys(in_time, count),
        dict.fromkeys(("answers", "answers_late", "answered"), count),
        {"useful_posts": count},
        {"savings": 1000 * count},
        {"tips": count},
        {"invited": count},
    ):
        assert scored(**better) >= before, better


def alive(**changes: int) -> dict[str, int]:
    return dict.fromkeys((*COUNTS, *SHARES), 0) | {"members": 100, "active": 50, "silent": 50} | changes


def told(counts: dict[str, int], **asked: Any) -> dict[Part, Any]:
    found = score([day(number, counts) for number in range(WINDOW_DAYS)], **asked)
    return {one.part: one for one in found.components}


def test_too_little_gives_no_score_and_says_so() -> None:
    few_days = [day(number, alive()) for number in range(ENOUGH_DAYS - 1)]
    few_members = [day(number, alive(members=9)) for number in range(WINDOW_DAYS)]
    not_over = [*few_days, day(ENOUGH_DAYS, alive(), whole=False)]
    for days in ([], few_days, few_members, not_over):
        found = score(days)
        assert (found.score, found.verdict, found.components, found.advice) == (None, None, (), [])
        assert "Too little" in found.words.en
        assert "数据不足" in found.words.zh
    assert score([*few_days, day(ENOUGH_DAYS, alive())]).score is not None


def test_a_board_of_advertisements_is_told_so() -> None:
    counts = alive(active=5, silent=41, zombie=54, pushes=3, deliveries=300, useful_posts=1, left_too_many_pushes=1)
    found = score([day(number, counts) for number in range(WINDOW_DAYS)])
    assert found.verdict == Verdict.DYING
    reasons = {one.part: one for one in found.components}
    assert reasons[Part.ATTENTION].reason.en == "3 pushes per useful contribution"
    assert reasons[Part.ACTIVITY].reason.en == "5 % active, 41 % silent, 54 % zombies"
    assert "most say too many pushes" in reasons[Part.STAYING].reason.en
    assert "send fewer" in reasons[Part.STAYING].advice.en
    assert "3 pushes per useful contribution" in found.words.en
    assert "推送" in found.words.zh


def test_each_part_is_full_and_empty_where_it_says() -> None:
    cases: list[tuple[Part, dict[str, int], int]] = [
        (Part.BALANCE, {"useful_posts": 1, "deliveries": 40}, 100),
        (Part.BALANCE, {"useful_posts": 1, "deliveries": 80}, 50),
        (Part.BALANCE, {"revenue": 10_000}, 0),
        (Part.BALANCE, {}, 0),
        (Part.BALANCE, {"members": 560, "tips": 1}, 100),
        (Part.BALANCE, {"members": 1120, "tips": 1}, 50),
        (Part.ATTENTION, {}, 100),
        (Part.ATTENTION, {"pushes": 1, "answers": 2}, 100),
        (Part.ATTENTION, {"pushes": 7, "answers": 4}, 50),
        (Part.ATTENTION, {"pushes": 3, "answers": 1}, 0),
        (Part.ATTENTION, {"pushes": 1}, 0),
        (Part.ACTIVITY, {"active": 40}, 100),
        (Part.ACTIVITY, {"active": 10}, 25),
        (Part.ANSWERS, {"questions": 4, "answered": 4, "answered_in_time": 4}, 100),
        (Part.ANSWERS, {"questions": 4, "answered": 4, "answered_in_time": 2}, 75),
        (Part.ANSWERS, {"questions": 4}, 0),
        (Part.STAYING, {}, 100),
        (Part.STAYING, {"left_moved_on": 1}, 0),  # 28 of 128
        (Part.BUYING, {"buyers_28": 20}, 100),
        (Part.BUYING, {"buyers_28": 5}, 25),
        (Part.SPREAD, {"active": 28, "invited": 1}, 100),
        (Part.SPREAD, {"active": 80, "brought": 1}, 100),
        (Part.SPREAD, {"active": 0, "invited": 9}, 0),
    ]
    for part, changes, wanted in cases:
        assert told(alive(**changes))[part].score == wanted, (part, changes)
    assert told(alive(questions=4, answered=4), promises=False)[Part.ANSWERS].score == 100
    assert Part.ANSWERS not in told(alive())
    assert Part.BUYING not in told(alive(), sells=False)
    assert Part.BUYING in told(alive(orders=1), sells=False)


def test_points_are_as_was_agreed() -> None:
    assert value_of({}) == 0
    assert value_of({"savings": 1999}) == 1
    each = {name: value_of({name: 1}) for name in POINTS}
    assert each == dict(POINTS)
    assert sum(WEIGHTS.values()) == 100
    days = [day(number, alive(savings=1500, tips=1, rewards=1000)) for number in range(WINDOW_DAYS)]
    nothing = dict.fromkeys([*POINTS, "uncounted"], 0)
    assert window(days).given | {"tips": 0} == nothing | {"savings": 28, "rewards": 28}


@given(figures(), st.integers(0, 30))
def test_a_few_people_are_worth_little_to_each_other(counts: dict[str, int], people: int) -> None:
    counts |= {"people": people}
    counts["uncounted"] = uncounted(counts)
    paid_for = POINTS["groups_filled"] * counts["groups_filled"] + counts["savings"] // 1000
    free = value_of(counts) - paid_for
    assert 0 <= free <= 3 * people
    assert counts["uncounted"] == 0 or free == 3 * people
    found = window([day(number, counts) for number in range(3)])
    assert sum(found.given.values()) == 3 * (value_of(counts)) + found.given["rewards"]
    assert found.given["savings"] == 3 * (counts["savings"] // 1000)


def test_a_cohort_counts_in_the_window_in_which_its_days_are_over() -> None:
    first = MONDAY - 35 * DAY
    assert first_read(MONDAY) <= first
    days = [
        Counted(first + DAY, True, 0, alive(first_orders=4)),
        Counted(first + 6 * DAY, True, 0, alive(first_orders=1)),
        Counted(first + 9 * DAY, True, 0, alive(first_orders=9, **{f"again_{week_of(first)}": 2})),
        Counted(MONDAY, True, 0, alive(first_orders=7, **{f"again_{week_of(first)}": 1})),
    ]
    found = window(days)
    assert [(one.week, one.again) for one in found.cohorts] == [
        (str(first), Ratio(3, 5)),
        (str(first + 7 * DAY), Ratio(0, 9)),
    ]
    assert found.repurchase == Ratio(3, 14)
    assert [one.week for one in add_up(days, MONDAY + 2 * DAY, UNTIL).cohorts] == [str(first + 7 * DAY)]
    assert found.sums["first_orders"] == 7


def test_the_typical_answer_is_that_of_most_questions() -> None:
    days = [
        day(number, alive(answered=count, answer_seconds=seconds))
        for number, (count, seconds) in enumerate([(1, 10), (5, 600), (2, 9000), (0, 0)])
    ]
    assert window(days).answer_seconds == 600
    assert window([day(0, alive())]).answer_seconds is None


def test_only_the_last_whole_day_says_who_is_there() -> None:
    days = [day(0, alive(members=10)), day(1, alive(members=20)), day(2, alive(members=30), whole=False)]
    assert (window(days).members, window(days).days) == (20, 2)
    assert (window([]).members, window([]).shares) == (0, {})
