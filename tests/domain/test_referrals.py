"""Which touch says who brought a buyer, held against a slow reading of the rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTerms
from app.domain.invites import INVITE_TTL_DAYS, MAX_INVITE_DAYS, find_expiry
from app.domain.referrals import LASTING, AttributionRules, Touched, TouchKind, TouchRule, choose

NOW = datetime(2026, 12, 12, tzinfo=UTC)
MEMBERS = ["mem_a", "mem_b", "mem_c"]
touches = st.lists(
    st.builds(
        Touched,
        code=st.sampled_from(["1", "2", "3"]),
        inviter_id=st.sampled_from(MEMBERS),
        kind=st.sampled_from(TouchKind),
        at=st.integers(-40 * 24, 24).map(lambda hours: NOW + timedelta(hours=hours)),
    ),
    max_size=8,
)
rules = st.builds(AttributionRules, st.sampled_from(TouchRule), st.integers(1, 45), st.booleans())


@given(touches=touches, rules=rules, member_id=st.sampled_from(MEMBERS))
def test_the_touch_that_counts(touches: list[Touched], rules: AttributionRules, member_id: str) -> None:
    chosen = choose(touches, rules, member_id, NOW)
    # Hour by hour, from the side the rule looks from, until there is a touch that counts.
    hours = range(rules.window_days * 24 + 1)
    forward = rules.touch == TouchRule.FIRST
    expected = None
    for hour in reversed(hours) if forward else hours:
        there = [
            touch for touch in touches if touch.at == NOW - timedelta(hours=hour) and touch.inviter_id != member_id
        ]
        if there:
            codes = sorted(touch.code for touch in there)
            expected = (codes[0] if forward else codes[-1], NOW - timedelta(hours=hour))
            break
    assert (None if chosen is None else (chosen.code, chosen.at)) == expected
    assert chosen is None or chosen in touches


@given(touches=touches, rules=rules, extra=touches)
def test_what_does_not_count_changes_nothing(
    touches: list[Touched], rules: AttributionRules, extra: list[Touched]
) -> None:
    member_id = MEMBERS[0]
    begin = NOW - timedelta(days=rules.window_days)
    void = [touch for touch in extra if touch.inviter_id == member_id or not begin <= touch.at <= NOW]
    assert choose(touches + void, rules, member_id, NOW) == choose(touches, rules, member_id, NOW)


def test_a_lasting_referral_is_of_no_sale() -> None:
    assert AttributionRules(lasting=True).scope("sal_1") == LASTING
    assert AttributionRules().scope("sal_1") == "sal_1"


@given(st.timedeltas(timedelta(days=-400), timedelta(days=400)))
def test_an_invite_lasts_up_to_a_year(wish: timedelta) -> None:
    assert find_expiry(None, NOW) == NOW + timedelta(days=INVITE_TTL_DAYS)
    if timedelta(0) < wish <= timedelta(days=MAX_INVITE_DAYS):
        assert find_expiry(NOW + wish, NOW) == NOW + wish
    else:
        with pytest.raises(InvalidTerms):
            find_expiry(NOW + wish, NOW)
