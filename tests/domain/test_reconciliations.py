"""A bill beside our rows: every planted difference is found, and none is invented."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.reconciliations import (
    CATCH_UP_DAYS,
    Difference,
    DifferenceKind,
    Line,
    LineKind,
    LineState,
    bounds,
    compare,
    days_to_compare,
    is_near_midnight,
    newest_day,
)

BEIJING, DAY = ZoneInfo("Asia/Shanghai"), date(2026, 11, 26)
NOON = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)


def line(number: int = 0, **changes: object) -> Line:
    return replace(Line(LineKind.CHARGE, f"pay_{number}", 100, "CNY", LineState.DONE, NOON), **changes)  # type: ignore[arg-type]


lines = st.builds(
    Line,
    st.sampled_from(LineKind),
    st.integers(0, 50).map(str),
    st.integers(1, 1000),
    st.sampled_from(["CNY", "USD"]),
    st.sampled_from(LineState),
    st.just(NOON),
)
books = st.lists(lines, unique_by=lambda one: one.key)


@given(book=books)
def test_a_book_agrees_with_itself(book: list[Line]) -> None:
    assert compare(book, book) == []


@given(book=books.filter(bool), data=st.data())
def test_what_is_planted_is_found_and_nothing_else(book: list[Line], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(book) - 1))
    one, rest = book[place], [*book[:place], *book[place + 1 :]]
    assert compare(book, rest) == [Difference(DifferenceKind.MISSING_HERE, None, one)]
    missed = [Difference(DifferenceKind.MISSING_THERE, one, None)] if one.state == LineState.DONE else []
    assert compare(rest, book) == missed
    for other in (replace(one, amount=one.amount + 1), replace(one, currency="EUR")):
        assert compare([*rest, other], book) == [Difference(DifferenceKind.AMOUNT, one, other)]


@pytest.mark.parametrize(
    ("there", "here", "differs"),
    [
        ("done", "done", False),
        ("done", "pending", True),
        ("pending", "done", False),
        ("pending", "pending", False),
        ("failed", "done", True),
        ("failed", "pending", False),
    ],
)
def test_a_state_differs_where_money_was_moved_on_one_side_alone(there: str, here: str, *, differs: bool) -> None:
    bill, own = line(state=LineState(there)), line(state=LineState(here))
    assert compare([bill], [own]) == ([Difference(DifferenceKind.STATE, own, bill)] if differs else [])


def test_what_a_bill_has_twice_was_moved_twice() -> None:
    (found,) = compare([line(), line()], [line()])
    assert (found.kind, found.line.amount) == (DifferenceKind.AMOUNT, 200)


@pytest.mark.parametrize("turned", [False, True])
def test_what_was_taken_back_was_not_paid(*, turned: bool) -> None:
    rows = [line(), line(state=LineState.FAILED)]
    (found,) = compare(rows[::-1] if turned else rows, [line()])
    assert (found.kind, found.line.state) == (DifferenceKind.STATE, LineState.FAILED)
    assert compare([line(state=LineState.PENDING), line()], [line()]) == []


def test_a_difference_has_a_side() -> None:
    assert Difference(DifferenceKind.MISSING_THERE, line(1), None).line == line(1)
    with pytest.raises(AssertionError):
        _ = Difference(DifferenceKind.STATE, None, None).line


@given(seconds=st.integers(0, 10**9))
def test_a_day_is_compared_after_ten(seconds: int) -> None:
    now = NOON + timedelta(seconds=seconds)
    newest = newest_day(now, BEIJING)
    ready = bounds(newest, BEIJING)[1] + timedelta(hours=10)
    assert ready <= now < ready + timedelta(days=1)
    days = days_to_compare(now, BEIJING)
    assert (len(days), days[-1]) == (CATCH_UP_DAYS, newest)
    assert days == sorted(set(days))


def test_a_day_begins_at_the_providers_midnight() -> None:
    start, end = bounds(DAY, BEIJING)
    assert (start.astimezone(UTC), end - start) == (datetime(2026, 11, 25, 16, tzinfo=UTC), timedelta(days=1))
    for at, near in (
        (start, True),
        (start + timedelta(minutes=59), True),
        (start + timedelta(minutes=61), False),
        (end - timedelta(minutes=61), False),
        (end - timedelta(seconds=1), True),
    ):
        assert is_near_midnight(line(at=at), DAY, BEIJING) is near
