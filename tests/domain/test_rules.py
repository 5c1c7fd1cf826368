"""The pure rules: properties over everything they may be given."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import (
    InvalidTerms,
    InviteExpired,
    InviteMismatch,
    InviteRevoked,
    InviteUsedUp,
    OrderLimit,
    SaleEnded,
    SaleNotOpen,
    SalePaused,
)
from app.domain.groups import (
    FINAL_GROUP_STATES,
    GROUP_TRANSITIONS,
    GroupState,
    group_deadline,
    next_state,
)
from app.domain.invites import check_target, check_usable
from app.domain.keys import ALPHABET, RANDOM_LENGTH, build_key, is_well_formed
from app.domain.machines import Table, finals, may, sources
from app.domain.members import mask_name
from app.domain.money import MAX_AMOUNT, order_amount
from app.domain.orders import ACTIVE_ORDER_STATES, ORDER_TRANSITIONS, OrderState, hold_deadline
from app.domain.payments import PAYMENT_TRANSITIONS, Capture, PaymentState, RefundReason, decide_capture
from app.domain.refunds import MAX_RETRY_SECONDS, REFUND_TRANSITIONS, retry_delay
from app.domain.sales import (
    SALE_TRANSITIONS,
    SaleKind,
    SaleState,
    SaleTerms,
    check_open,
    check_quantity,
    check_terms,
)

NOW = datetime(2026, 12, 12, tzinfo=UTC)
seconds = st.integers(-10_000, 10_000)


@st.composite
def terms(draw: st.DrawFn) -> SaleTerms:
    opens_at = NOW + timedelta(seconds=draw(seconds))
    group_ttl = draw(st.integers(1, 5000))
    return SaleTerms(
        kind=SaleKind.GROUP,
        state=draw(st.sampled_from(SaleState)),
        opens_at=opens_at,
        closes_at=opens_at + timedelta(seconds=draw(st.integers(1, 10_000))),
        group_size=draw(st.integers(2, 500)),
        group_ttl_seconds=group_ttl,
        hold_ttl_seconds=draw(st.integers(1, group_ttl)),
        order_limit=draw(st.integers(1, 100)),
        member_limit=draw(st.integers(1, 100)),
    )


@pytest.mark.parametrize(
    "table",
    [GROUP_TRANSITIONS, ORDER_TRANSITIONS, PAYMENT_TRANSITIONS, REFUND_TRANSITIONS, SALE_TRANSITIONS],
    ids=["group", "order", "payment", "refund", "sale"],
)
def test_every_state_of_a_table_can_be_reached_and_left_for_an_end(table: Table[Any]) -> None:
    first: StrEnum = next(iter(table))
    reached, frontier = {first}, [first]
    while frontier:
        for target in table[frontier.pop()] - reached:
            reached.add(target)
            frontier.append(target)
    assert reached == set(table) == set(type(first).__members__.values())
    for state in table:
        seen, frontier = {state}, [state]
        while frontier:
            for target in table[frontier.pop()] - seen:
                seen.add(target)
                frontier.append(target)
        assert seen.intersection(finals(table)), f"{state} never ends"
    for target in table:
        assert all(may(table, source, target) for source in sources(table, target))


@given(terms(), seconds)
def test_a_sale_is_open_exactly_in_its_window(rules: SaleTerms, offset: int) -> None:
    now = NOW + timedelta(seconds=offset)
    selling = rules.state in {SaleState.SCHEDULED, SaleState.LIVE} and now < rules.closes_at
    selling = selling and (rules.state == SaleState.LIVE or now >= rules.opens_at)
    if selling:
        check_open(rules, now)
    else:
        with pytest.raises((SaleNotOpen, SalePaused, SaleEnded)):
            check_open(rules, now)


@given(terms(), seconds)
def test_holds_end_no_later_than_groups_and_groups_no_later_than_sales(rules: SaleTerms, offset: int) -> None:
    now = NOW + timedelta(seconds=offset)
    deadline = group_deadline(rules, now)
    assert deadline <= rules.closes_at
    assert deadline - now <= timedelta(seconds=rules.group_ttl_seconds)
    assert hold_deadline(rules, now, deadline) <= deadline


@given(terms(), st.integers(-5, 200))
def test_quantity_is_between_one_and_the_limit(rules: SaleTerms, quantity: int) -> None:
    if 1 <= quantity <= rules.order_limit:
        check_quantity(rules, quantity)
    else:
        with pytest.raises(OrderLimit):
            check_quantity(rules, quantity)


def test_terms_that_cannot_work_are_refused() -> None:
    good = SaleTerms(SaleKind.GROUP, SaleState.DRAFT, NOW, NOW + timedelta(days=1), 3, 600, 600, 1, 1)
    check_terms(good)
    for field, bad in [("closes_at", NOW), ("hold_ttl_seconds", 601)]:
        with pytest.raises(InvalidTerms) as caught:
            check_terms(SaleTerms(**{name: getattr(good, name) for name in good.__slots__} | {field: bad}))
        assert caught.value.field == field


@given(st.sampled_from(GroupState), st.integers(2, 50), st.data())
def test_the_state_of_a_group_follows_its_seats(state: GroupState, size: int, data: st.DataObject) -> None:
    taken = data.draw(st.integers(0, size))
    paid = data.draw(st.integers(0, taken))
    found = next_state(state, size, taken - paid, paid)
    if state in FINAL_GROUP_STATES:
        assert found == state
    else:
        assert (found == GroupState.SUCCEEDED) == (paid == size)
        assert (found == GroupState.FAILED) == (taken == 0)
        assert (found == GroupState.FILLED) == (taken == size and paid < size)
        # A group fills before it succeeds, so an open one with a free seat is one step away at most.
        assert found == state or may(GROUP_TRANSITIONS, state, found) or paid == size


@given(
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    st.sampled_from(OrderState),
    st.booleans(),
    st.sampled_from(GroupState),
    seconds,
    st.sampled_from(["CNY", "USD"]),
)
def test_captured_money_has_exactly_one_place(
    captured: int, owed: int, order: OrderState, kept: bool, group: GroupState, offset: int, currency: str
) -> None:
    reason = decide_capture(
        Capture(captured, currency, NOW + timedelta(seconds=offset), owed, "CNY", order, kept, group, NOW)
    )
    buys = (
        not kept
        and (captured, currency) == (owed, "CNY")
        and order == OrderState.HELD
        and group not in FINAL_GROUP_STATES
        and offset <= 0
    )
    assert (reason is None) == buys
    if kept:
        assert reason == RefundReason.DUPLICATE


def test_money_may_be_captured_whatever_we_believed() -> None:
    assert set(sources(PAYMENT_TRANSITIONS, PaymentState.CAPTURED)) == set(PaymentState) - {PaymentState.CAPTURED}


def test_an_order_keeps_its_places_until_it_ends_or_is_refunded() -> None:
    for state, targets in ORDER_TRANSITIONS.items():
        if state not in ACTIVE_ORDER_STATES:
            assert not targets & ACTIVE_ORDER_STATES, f"{state} would need its places back"


@given(st.integers(-5, 10**13), st.integers(-5, 200))
def test_an_amount_is_price_times_quantity_within_bounds(price: int, quantity: int) -> None:
    if price >= 1 and quantity >= 1 and price * quantity <= MAX_AMOUNT:
        assert order_amount(price, quantity) == price * quantity
    else:
        with pytest.raises(ValueError, match=r"positive|large"):
            order_amount(price, quantity)


@given(st.integers(1, 10_000))
def test_retries_slow_down_to_an_hour_and_never_stop(attempts: int) -> None:
    delay = retry_delay(attempts)
    assert timedelta(0) < delay <= timedelta(seconds=MAX_RETRY_SECONDS)
    assert delay <= retry_delay(attempts + 1)


@given(st.text(max_size=30))
def test_a_masked_name_shows_two_letters_at_most(name: str) -> None:
    masked = mask_name(name)
    assert "*" in masked
    assert len(masked.replace("*", "")) <= max(len(name) - 1, 0) or "*" in name
    assert len(masked) <= 5


@given(st.text(ALPHABET, min_size=RANDOM_LENGTH, max_size=RANDOM_LENGTH), st.data())
def test_a_key_with_a_typo_is_noticed(random_part: str, data: st.DataObject) -> None:
    key = build_key(random_part)
    assert is_well_formed(key)
    position = data.draw(st.integers(4, len(key) - 1))
    letter = data.draw(st.sampled_from([letter for letter in ALPHABET if letter != key[position]]))
    assert not is_well_formed(key[:position] + letter + key[position + 1 :])


def test_an_invite_works_for_what_it_was_made_for_until_it_is_over() -> None:
    here = ("grp_1", "sal_1", "com_1")
    for targets in [("grp_1", None, None), (None, "sal_1", None), (None, None, "com_1")]:
        check_target(targets, here)
        with pytest.raises(InviteMismatch):
            check_target(targets, ("grp_2", "sal_2", "com_2"))
    with pytest.raises(InviteMismatch):
        check_target(("grp_1", None, None), (None, "sal_1", "com_1"))
    check_usable(expires_at=NOW + timedelta(1), revoked_at=None, used_up_at=None, now=NOW)
    for expires_at, revoked_at, used_up_at, refusal in (
        (NOW, None, None, InviteExpired),
        (NOW + timedelta(1), NOW, None, InviteRevoked),
        (NOW + timedelta(1), None, NOW, InviteUsedUp),
    ):
        with pytest.raises(refusal):
            check_usable(expires_at=expires_at, revoked_at=revoked_at, used_up_at=used_up_at, now=NOW)
