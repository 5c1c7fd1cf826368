"""Rewards: never more than the order, the caps and the budget; rounded down; more for an order that cost more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTerms, PayoutTooSmall
from app.domain.machines import finals, may
from app.domain.money import MAX_AMOUNT
from app.domain.payouts import PAYOUT_TRANSITIONS, RESERVED_STATES, PayoutState, payout_fee
from app.domain.rewards import (
    BOOKED_STATES,
    MAX_LEVELS,
    REWARD_TRANSITIONS,
    WHOLE,
    Allotment,
    Level,
    PolicyTerms,
    RewardLimit,
    RewardRole,
    RewardState,
    Share,
    allot,
    check_policy,
    within_budget,
)

amounts = st.integers(1, MAX_AMOUNT)
caps = st.none() | st.integers(1, 10**6)


@st.composite
def levels(draw: st.DrawFn, most: int = WHOLE) -> Level:
    if draw(st.booleans()):
        return Level(basis_points=draw(st.integers(1, most)))
    return Level(amount=draw(st.integers(1, 10**6)))


@st.composite
def policies(draw: st.DrawFn) -> PolicyTerms:
    """Policies that can work."""
    first = draw(levels(WHOLE - 1))
    second = draw(st.none() | levels(WHOLE - (first.basis_points or 0)))
    terms = PolicyTerms(RewardRole.INVITER, (first,) if second is None else (first, second), draw(caps), draw(caps))
    check_policy(terms)
    return terms


@st.composite
def cases(draw: st.DrawFn) -> tuple[PolicyTerms, list[Share]]:
    terms = draw(policies())
    sharers = draw(st.integers(1, 5))
    rests = st.none() if terms.day_cap is None else st.integers(-100, terms.day_cap)
    shares = [Share(1, sharers, draw(rests)) for _ in range(sharers)]
    if len(terms.levels) > 1:
        shares.append(Share(2, 1, draw(rests)))
    return terms, shares


@given(cases(), amounts)
def test_never_more_than_the_order_and_the_caps(case: tuple[PolicyTerms, list[Share]], kept: int) -> None:
    terms, shares = case
    allotted = allot(terms, kept, shares)
    assert len(allotted) == len(shares)
    total = sum(one.amount for one in allotted)
    assert 0 <= total <= kept
    assert terms.order_cap is None or total <= terms.order_cap
    for one, share in zip(allotted, shares, strict=True):
        wish = terms.levels[share.level - 1].wish(kept, share.sharers)
        assert 0 <= one.amount <= wish
        assert share.day_rest is None or one.amount <= max(share.day_rest, 0)
        assert (one.limited_by is None) == (one.amount == wish), "less than promised says why"


@given(cases(), amounts, amounts)
def test_an_order_that_cost_more_never_yields_less(
    case: tuple[PolicyTerms, list[Share]], one: int, two: int
) -> None:
    terms, shares = case
    less, more = sorted([one, two])
    assert sum(part.amount for part in allot(terms, less, shares)) <= sum(
        part.amount for part in allot(terms, more, shares)
    )
    assert terms.levels[0].wish(less, 1) <= terms.levels[0].wish(more, 1)


@given(st.integers(1, WHOLE), amounts, st.integers(1, 50))
def test_a_part_is_rounded_down_and_shared_fairly(basis_points: int, kept: int, sharers: int) -> None:
    share = Level(basis_points=basis_points).wish(kept, sharers)
    exact = kept * basis_points
    assert share * sharers * WHOLE <= exact < (share + 1) * sharers * WHOLE
    assert Level(amount=7).wish(kept, sharers) == 7, "a fixed amount is everybody's"


@given(st.integers(0, MAX_AMOUNT), st.integers(0, MAX_AMOUNT))
def test_never_more_than_the_budget(wish: int, budget: int) -> None:
    found = within_budget(Allotment(wish), budget)
    assert found.amount == min(wish, budget)
    assert found.limited_by == (RewardLimit.BUDGET if wish > budget else None)


@pytest.mark.parametrize(
    ("role", "wrong"),
    [
        (RewardRole.INVITER, ()),
        (RewardRole.INVITER, (Level(amount=1),) * (MAX_LEVELS + 1)),
        (RewardRole.LEADER, (Level(amount=1),) * 2),
        (RewardRole.HELPER, (Level(amount=1),) * 2),
        (RewardRole.INVITER, (Level(),)),
        (RewardRole.INVITER, (Level(1, 1),)),
        (RewardRole.INVITER, (Level(WHOLE), Level(1))),
    ],
)
def test_policies_that_cannot_work(role: RewardRole, wrong: tuple[Level, ...]) -> None:
    with pytest.raises(InvalidTerms):
        check_policy(PolicyTerms(role, wrong))
    check_policy(PolicyTerms(RewardRole.INVITER, (Level(WHOLE),)))


@given(st.integers(1, MAX_AMOUNT), st.integers(1, 10_000), st.integers(0, WHOLE - 1))
def test_a_fee_leaves_something(amount: int, minimum: int, basis_points: int) -> None:
    if amount < minimum:
        with pytest.raises(PayoutTooSmall) as refusal:
            payout_fee(amount, minimum, basis_points)
        assert refusal.value.minimum == minimum
        return
    assert 0 <= payout_fee(amount, minimum, basis_points) < amount


def test_what_ended_stays_ended() -> None:
    assert set(finals(REWARD_TRANSITIONS)) == {RewardState.REVERSED, RewardState.DECLINED}
    assert all(may(REWARD_TRANSITIONS, state, RewardState.REVERSED) for state in BOOKED_STATES)
    assert set(finals(PAYOUT_TRANSITIONS)) == set(PayoutState) - RESERVED_STATES
