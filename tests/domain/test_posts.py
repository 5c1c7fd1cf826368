"""Questions and the promise of an answer; what hides itself."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.communities import Purpose
from app.domain.memberships import Standing
from app.domain.posts import (
    TRUSTED_REPORTS,
    PostKind,
    answer_due,
    is_answer,
    is_hidden_by_reports,
    is_overdue,
    takes,
)

ASKED = datetime(2026, 12, 12, tzinfo=UTC)
HERE = [Standing.MEMBER, Standing.EXPERT, Standing.MODERATOR, Standing.LEADER, Standing.OWNER]


@given(st.integers(1, 43_200), st.integers(-100, 100), st.integers(0, 10**6))
def test_a_question_is_overdue_after_what_was_promised(minutes: int, off: int, later: int) -> None:
    due = answer_due(ASKED, minutes)
    assert due == ASKED + timedelta(minutes=minutes)
    moment = due + timedelta(seconds=off)
    assert is_overdue(due, None, moment) is (off > 0)
    assert is_overdue(due, moment, moment + timedelta(seconds=later)) is (off > 0), "an answer stops the clock"


def test_where_nothing_is_promised_nothing_is_overdue() -> None:
    assert answer_due(ASKED, None) is None
    assert not is_overdue(None, None, ASKED + timedelta(days=999))


@pytest.mark.parametrize("standing", HERE)
@pytest.mark.parametrize("purpose", Purpose)
def test_who_answers(purpose: Purpose, standing: Standing) -> None:
    may = purpose != Purpose.SERVICE or standing != Standing.MEMBER
    assert is_answer(PostKind.QUESTION, purpose, standing, asked=False) is may
    assert not is_answer(PostKind.QUESTION, purpose, standing, asked=True)
    assert not is_answer(PostKind.TEXT, purpose, standing, asked=False)


@given(st.integers(0, 100), st.sampled_from([Standing.STRANGER, *HERE]))
def test_reports_hide_what_members_write_and_not_what_moderators_do(trusted: int, author: Standing) -> None:
    ordinary = author in {Standing.STRANGER, Standing.MEMBER, Standing.EXPERT}
    assert is_hidden_by_reports(trusted, author) is (ordinary and trusted >= TRUSTED_REPORTS)


def test_one_checks_in_where_one_gets_better() -> None:
    assert {purpose for purpose in Purpose if takes(purpose, PostKind.CHECK_IN)} == {
        Purpose.INTEREST,
        Purpose.GROWTH,
    }
    assert all(takes(purpose, PostKind.TEXT) for purpose in Purpose)
