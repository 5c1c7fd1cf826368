"""Price ladders: whoever joins when, nobody pays more than the group has reached, and no money is lost."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTerms
from app.domain.ladders import Step, check_ladder, gap, next_step, price_at


@st.composite
def ladders(draw: st.DrawFn) -> list[Step]:
    """Ladders that lead down."""
    heads = sorted(draw(st.sets(st.integers(1, 500), min_size=1, max_size=8)))
    prices = sorted(draw(st.sets(st.integers(1, 10**6), min_size=len(heads), max_size=len(heads))), reverse=True)
    return [Step(*step) for step in zip(heads, prices, strict=True)]


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Step], list[tuple[int, int]]]:
    """A ladder, and who joins: how many had paid by then, and how many units they take. All pay in the end."""
    steps = draw(ladders())
    count = draw(st.integers(steps[0].heads, steps[-1].heads + 20))
    joined = [(draw(st.integers(0, place)), draw(st.integers(1, 5))) for place in range(min(count, 30))]
    return steps, joined + [(place, 1) for place in range(len(joined), count)]


@given(groups())
def test_nobody_pays_more_than_what_the_group_closes_on(group: tuple[list[Step], list[tuple[int, int]]]) -> None:
    steps, joined = group
    final = price_at(steps, len(joined))
    captured = kept = refunded = 0
    for paid_before, quantity in joined:
        unit_price = price_at(steps, paid_before + 1)
        back = gap(unit_price, final, quantity)
        assert 0 <= back < unit_price * quantity
        assert unit_price * quantity - back == final * quantity, "everybody pays the same in the end"
        captured += unit_price * quantity
        refunded += back
        kept += final * quantity
    assert captured == kept + refunded


@given(ladders(), st.integers(0, 600))
def test_a_price_only_falls(steps: list[Step], heads: int) -> None:
    check_ladder(steps, steps[-1].heads)
    assert price_at(steps, heads + 1) <= price_at(steps, heads)
    following = next_step(steps, heads)
    if following is None:
        assert price_at(steps, heads) == price_at(steps, 10**6)
    else:
        assert following.heads > heads
        assert following.price < price_at(steps, heads) or heads < steps[0].heads
        assert price_at(steps, following.heads) == following.price


@given(ladders(), st.data())
def test_a_ladder_that_does_not_lead_down_is_refused(steps: list[Step], data: st.DataObject) -> None:
    if len(steps) > 1:
        lower, higher = data.draw(st.sampled_from(list(pairwise(steps))))
        place = steps.index(higher)
        for wrong in (
            Step(lower.heads, higher.price),
            Step(higher.heads, lower.price),
            Step(higher.heads, lower.price + 1),
        ):
            with pytest.raises(InvalidTerms):
                check_ladder([*steps[:place], wrong, *steps[place + 1 :]], 500)
    with pytest.raises(InvalidTerms):
        check_ladder(steps, steps[-1].heads - 1)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 100))
def test_a_price_never_goes_up(unit_price: int, settled_price: int, quantity: int) -> None:
    """Somebody was refunded by an operator, and the group closes on a higher step than one had joined on."""
    assert gap(unit_price, settled_price, quantity) == max(0, unit_price - settled_price) * quantity
