"""What was paid for runs out when all that is kept of it has run out, in whatever order one looks at it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.memberships import (
    Bought,
    MembershipState,
    Role,
    Standing,
    has_run_out,
    outranks,
    paid_until,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.integers(0, 1000).map(lambda days: START + timedelta(days=days))
periods = st.lists(st.builds(Bought, st.integers(1, 400), moments, st.booleans()), max_size=8)


@given(periods, st.randoms())
def test_the_order_of_looking_does_not_matter(bought: list[Bought], random: object) -> None:
    shuffled = list(bought)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert paid_until(shuffled) == paid_until(bought)


@given(periods)
def test_every_day_paid_for_is_given_once(bought: list[Bought]) -> None:
    """Counted day by day: each kept period takes the first days from its own on that nobody has taken yet."""
    taken: set[int] = set()
    for period in sorted((one for one in bought if one.is_kept), key=lambda one: one.bought_at):
        day = (period.bought_at - START).days
        for _ in range(period.days):
            while day in taken:
                day += 1
            taken.add(day)
    until = paid_until(bought)
    assert until == (START + timedelta(days=max(taken) + 1) if taken else None)


@given(periods, st.integers(1, 400), moments)
def test_money_back_never_lengthens_and_paying_never_shortens(
    bought: list[Bought], days: int, bought_at: datetime
) -> None:
    more = paid_until([*bought, Bought(days, bought_at)])
    less = paid_until(bought)
    assert more is not None
    assert less is None or less <= more
    assert paid_until([*bought, Bought(days, bought_at, is_kept=False)]) == less


@given(st.sampled_from(Standing), st.sampled_from(Standing))
def test_of_two_at_most_one_outranks_the_other(one: Standing, other: Standing) -> None:
    assert not (outranks(one, other) and outranks(other, one))
    assert not outranks(one, one)


def test_only_members_without_a_role_lapse() -> None:
    for state in MembershipState:
        for role in Role:
            lapses = has_run_out(state, role, START, START)
            assert lapses == (state == MembershipState.ACTIVE and role == Role.MEMBER)
            assert not has_run_out(state, role, None, START)
            assert not has_run_out(state, role, START + timedelta(seconds=1), START)
