"""What becomes of whom when a group has not filled, for every mixture of wishes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ChoiceNotOffered
from app.domain.rescues import (
    NO_RESCUE,
    OnUnfilled,
    Outcome,
    Paid,
    RescueRules,
    check_choice,
    decide,
    extended_deadline,
)

NOW = datetime(2026, 12, 12, tzinfo=UTC)
GRANTED = {
    OnUnfilled.REFUND: Outcome.REFUND,
    OnUnfilled.MERGE: Outcome.MOVE,
    OnUnfilled.EXTEND: Outcome.WAIT,
    OnUnfilled.SOLO: Outcome.SOLO,
}
wishes = st.builds(
    Paid,
    order_id=st.uuids().map(str),
    choice=st.sampled_from(OnUnfilled),
    spare=st.integers(0, 3),
    moved=st.booleans(),
)
groups = st.lists(wishes, max_size=9, unique_by=lambda order: order.order_id)
rules = st.builds(RescueRules, merge=st.just(True), flexible=st.just(True), cover_seats=st.integers(0, 3))


@given(paid=groups, needed=st.integers(2, 10), rescue=rules, room=st.integers(0, 5), may_extend=st.booleans())
def test_everybody_comes_to_one_end(
    paid: list[Paid], needed: int, rescue: RescueRules, room: int, may_extend: bool
) -> None:
    plan = decide(paid, needed, rescue, room=room, may_extend=may_extend)
    assert set(plan.outcomes) == {order.order_id for order in paid}
    spare, missing = sum(order.spare for order in paid), needed - len(paid)
    if paid and missing <= spare + rescue.cover_seats:
        assert set(plan.outcomes.values()) == {Outcome.SEAT}
        extra = sum(plan.extra.values())
        assert extra == min(max(missing, 0), spare), "no more units than are needed"
        assert all(plan.extra[order.order_id] <= order.spare for order in paid)
        assert 0 <= plan.covered <= rescue.cover_seats
        assert len(paid) + extra + plan.covered == max(needed, len(paid))
    else:
        assert Outcome.SEAT not in plan.outcomes.values()
        assert (sum(plan.extra.values()), plan.covered) == (0, 0)
        assert len(plan.orders(Outcome.MOVE)) <= room
        assert may_extend or not plan.orders(Outcome.WAIT)
        for order in paid:
            assert plan.outcomes[order.order_id] in {GRANTED[order.choice], Outcome.REFUND}
            if order.choice == OnUnfilled.SOLO:
                assert plan.outcomes[order.order_id] == Outcome.SOLO
            if order.moved:
                assert plan.outcomes[order.order_id] != Outcome.MOVE


def test_a_wish_is_refunded_only_when_it_cannot_be_granted() -> None:
    paid = [Paid(choice.value, choice) for choice in OnUnfilled]
    granted = decide(paid, 9, NO_RESCUE, room=1, may_extend=True)
    assert granted.outcomes == {choice.value: GRANTED[choice] for choice in OnUnfilled}
    assert decide(paid, 9, NO_RESCUE).orders(Outcome.REFUND) == ["refund", "merge", "extend"]


def test_a_group_of_nobody_is_not_covered() -> None:
    assert decide([], 2, RescueRules(cover_seats=2)).covered == 0


def test_spare_units_go_before_covered_seats() -> None:
    plan = decide([Paid("a", spare=1), Paid("b", spare=2)], 6, RescueRules(cover_seats=3))
    assert (plan.extra, plan.covered) == ({"a": 1, "b": 2}, 1)
    plan = decide([Paid("a", spare=1), Paid("b", spare=2)], 4, RescueRules(cover_seats=3))
    assert (plan.extra, plan.covered) == ({"a": 1, "b": 1}, 0)


@given(extend=st.integers(0, 1000), left=st.integers(-10, 1000), late=st.integers(0, 100))
def test_an_extension_ends_with_the_sale(extend: int, left: int, late: int) -> None:
    now = NOW + timedelta(seconds=late)
    closes_at = NOW + timedelta(seconds=left)
    later = extended_deadline(RescueRules(extend_seconds=extend), NOW, closes_at, now)
    if later is None:
        assert min(NOW + timedelta(seconds=extend), closes_at) <= now
    else:
        assert now < later <= closes_at
        assert later <= NOW + timedelta(seconds=extend)


@pytest.mark.parametrize(
    ("choice", "rescue", "solo_price"),
    [
        (OnUnfilled.MERGE, RescueRules(merge=True), None),
        (OnUnfilled.EXTEND, RescueRules(extend_seconds=60), None),
        (OnUnfilled.SOLO, NO_RESCUE, 6900),
    ],
)
def test_what_a_sale_does_not_offer_cannot_be_chosen(
    choice: OnUnfilled, rescue: RescueRules, solo_price: int | None
) -> None:
    check_choice(rescue, choice, 1, None, solo_price)
    check_choice(NO_RESCUE, OnUnfilled.REFUND, 1, None, None)
    with pytest.raises(ChoiceNotOffered):
        check_choice(NO_RESCUE, choice, 1, None, None)


def test_spare_units_are_for_sales_that_want_them() -> None:
    flexible = RescueRules(flexible=True)
    check_choice(flexible, OnUnfilled.REFUND, 3, 3, None)
    for rescue, wanted in ((NO_RESCUE, 1), (flexible, 4)):
        with pytest.raises(ChoiceNotOffered):
            check_choice(rescue, OnUnfilled.REFUND, 3, wanted, None)
