"""The score of a referral: bounded, and what is added to the evidence never lowers it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.members import MarkKind
from app.domain.suspicions import (
    BURST,
    MEANINGS,
    WEIGHTS,
    WITHHOLD_AT,
    YOUNG,
    Assessment,
    Child,
    Evidence,
    Suspicion,
    around,
    assess,
    suspicions,
)

NOON = datetime(2026, 11, 11, 12, tzinfo=UTC)
MADE = Child("mem", NOON, NOON + timedelta(minutes=5), cheapest=True, orders=1, invites=0, verified=False)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    day = draw(st.integers(0, 100))
    return Evidence(
        shared=draw(st.frozensets(st.sampled_from(MarkKind))),
        siblings=draw(st.integers(0, 5)),
        ring=draw(st.booleans()),
        day=day,
        alike=draw(st.integers(0, day)),
        is_alike=draw(st.booleans()),
    )


def weigh(evidence: Evidence) -> Assessment:
    return assess(suspicions(evidence))


@given(evidences())
def test_a_score_is_between_0_and_100_and_has_its_reasons(evidence: Evidence) -> None:
    found = weigh(evidence)
    assert found.score == min(100, sum(WEIGHTS[reason] for reason in found.reasons))
    assert 0 <= found.score <= 100
    assert found.withheld == (found.score >= WITHHOLD_AT)


@given(evidences(), st.sampled_from(MarkKind))
def test_more_evidence_never_lowers_a_score(evidence: Evidence, mark: MarkKind) -> None:
    more = [
        replace(evidence, shared=evidence.shared | {mark}),
        replace(evidence, siblings=evidence.siblings + 1),
        replace(evidence, ring=True),
        replace(evidence, is_alike=True),
        replace(evidence, day=evidence.day + 1, alike=evidence.alike + 1),
    ]
    assert all(weigh(one).score >= weigh(evidence).score for one in more)


@given(st.frozensets(st.sampled_from(Suspicion)), st.sampled_from(Suspicion))
def test_a_reason_more_never_lowers_a_score(reasons: frozenset[Suspicion], reason: Suspicion) -> None:
    assert assess(reasons | {reason}).score >= assess(reasons).score


def test_every_reason_has_a_weight_and_words() -> None:
    assert WEIGHTS.keys() == MEANINGS.keys() == set(Suspicion)
    assert all(weight > 0 and all(MEANINGS[reason]) for reason, weight in WEIGHTS.items())


def test_bringing_many_or_sharing_with_one_is_no_reason_to_withhold() -> None:
    assert not weigh(Evidence(siblings=1, day=100, alike=89, is_alike=True)).withheld
    assert weigh(Evidence(siblings=2)).withheld


def test_a_star_needs_many_nearly_all_alike_and_the_member_too() -> None:
    star = Evidence(day=40, alike=36, is_alike=True)
    assert Suspicion.STAR in suspicions(star)
    for less in (
        replace(star, alike=35),
        replace(star, is_alike=False),
        Evidence(day=BURST - 1, alike=BURST - 1, is_alike=True),
    ):
        assert Suspicion.STAR not in suspicions(less)


def test_an_account_is_made_for_its_order_only_if_nothing_speaks_for_it() -> None:
    assert MADE.made_for_it
    for other in (
        MADE._replace(ordered_at=NOON + YOUNG),
        MADE._replace(cheapest=False),
        MADE._replace(orders=2),
        MADE._replace(invites=1),
        MADE._replace(verified=True),
    ):
        assert not other.made_for_it


def test_a_day_lies_around_its_middle() -> None:
    begin, end = around(NOON)
    assert (begin, end) == (NOON - timedelta(hours=12), NOON + timedelta(hours=12))
