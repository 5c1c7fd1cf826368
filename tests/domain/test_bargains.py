"""The rules of a bargain: its cuts, its clock, its helpers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.bargains import (
    BARGAIN_TRANSITIONS,
    FINAL_BARGAIN_STATES,
    MAX_HELP_WEIGHT,
    MAX_SLOTS,
    BargainRules,
    BargainState,
    bargain_deadline,
    check_buyable,
    check_cuttable,
    check_span,
    draw_cuts,
    next_cuts,
    present_state,
    shows_seed,
    state_given_back,
    weight_of,
)
from app.domain.errors import BargainClosed, InvalidTerms
from app.domain.machines import finals, may
from app.domain.money import MAX_AMOUNT

NOON = datetime(2026, 11, 11, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
seeds, slots = st.text(max_size=64), st.integers(1, MAX_SLOTS)


@given(seeds, slots, st.integers(0, MAX_AMOUNT))
def test_cuts_are_positive_and_add_up(seed: str, count: int, spare: int) -> None:
    cuts = draw_cuts(seed, count + spare, count)
    assert len(cuts) == count
    assert sum(cuts) == count + spare
    assert min(cuts) >= 1
    assert draw_cuts(seed, count + spare, count) == cuts


@given(seeds, slots, st.integers(10_000, MAX_AMOUNT))
def test_nobody_who_comes_late_is_left_with_crumbs(seed: str, count: int, total: int) -> None:
    cuts = draw_cuts(seed, total, count)
    assert max(cuts) <= 3 * (min(cuts) + 2)


def test_another_seed_draws_other_cuts() -> None:
    assert draw_cuts("a", 5000, 10) != draw_cuts("b", 5000, 10)
    for total, count in ((4, 5), (5, 0)):
        with pytest.raises(ValueError, match="cut something"):
            draw_cuts("a", total, count)


@given(seeds, slots, st.lists(st.integers(1, MAX_HELP_WEIGHT), min_size=MAX_SLOTS, max_size=MAX_SLOTS))
def test_helps_of_any_weight_end_at_the_floor(seed: str, count: int, weights: list[int]) -> None:
    taken, cut = 0, 0
    for weight in weights:
        amounts = next_cuts(seed, 5000, count, taken, weight)
        assert len(amounts) == min(weight, count - taken)
        taken, cut = taken + len(amounts), cut + sum(amounts)
    assert (taken, cut) == (count, 5000)


@given(st.integers(0, 30), st.integers(0, 40 * 86_400))
def test_who_is_new_weighs_what_new_members_weigh(days: int, age: int) -> None:
    rules = BargainRules(slots=5, weight=2, new_member_days=days, new_member_weight=3)
    assert weight_of(rules, NOON - age * SECOND, NOON) == (3 if age < days * 86_400 else 2)


@given(st.sampled_from(BargainState), st.integers(-2, 2))
def test_the_clock_decides(state: BargainState, seconds: int) -> None:
    now, timed = NOON + seconds * SECOND, state in {BargainState.CUTTING, BargainState.WON}
    over = timed and seconds >= 0
    assert present_state(state, NOON, now) == (BargainState.EXPIRED if over else state)
    for check, allowed in (
        (check_cuttable, {BargainState.CUTTING}),
        (check_buyable, {BargainState.CUTTING, BargainState.WON}),
    ):
        if state in allowed and not over:
            check(state, NOON, now)
        else:
            with pytest.raises(BargainClosed):
                check(state, NOON, now)


@given(st.integers(0, 5), st.integers(-2, 2))
def test_what_is_given_back_is_where_it_was(taken: int, seconds: int) -> None:
    target = state_given_back(taken, 5, NOON, NOON + seconds * SECOND)
    before = BargainState.WON if taken == 5 else BargainState.CUTTING
    assert target == (BargainState.EXPIRED if seconds >= 0 else before)
    assert may(BARGAIN_TRANSITIONS, BargainState.ORDERED, target)


def test_the_seed_is_shown_when_nobody_can_cut_any_more() -> None:
    assert set(finals(BARGAIN_TRANSITIONS)) == FINAL_BARGAIN_STATES
    for state in BargainState:
        assert shows_seed(state, 5, 5)
        assert shows_seed(state, 4, 5) == (state in FINAL_BARGAIN_STATES)


def test_a_bargain_ends_with_its_sale() -> None:
    assert bargain_deadline(60, NOON, NOON - 61 * SECOND) == NOON - SECOND
    assert bargain_deadline(60, NOON, NOON - SECOND) == NOON


def test_every_slot_has_something_to_cut() -> None:
    rules = BargainRules(slots=5)
    check_span(rules, 10, 5)
    for start in (None, 9, 5, 1):
        with pytest.raises(InvalidTerms):
            check_span(rules, start, 5)
