"""By what a member is known, and what they can do without."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.identities import may_be_code, may_unlink
from app.domain.members import NEW_NAME, TURNING, tidy_name


@pytest.mark.parametrize(
    ("provider", "code", "may"),
    [
        ("dev", "爱丽丝.a@b-c", True),
        ("dev", "a" * 121, False),
        ("dev", "a&b", False),
        ("wechat", "0e3QPVFa1_x-", True),
        ("wechat", "a.b", False),
        ("telegram", "auth_date=1&user=%7B%7D&hash=00", True),
        ("telegram", "auth_date=1 ", False),
        ("carrier_pigeon", "coo", True),
    ],
)
def test_a_code_looks_like_its_providers(provider: str, code: str, *, may: bool) -> None:
    assert may_be_code(provider, code) == may


@pytest.mark.parametrize(
    ("provider", "others", "may"),
    [
        ("dev", [], False),
        ("dev", ["wechat"], True),
        ("dev", ["telegram"], False),
        ("telegram", ["dev"], True),
        ("dev", ["slack"], False),
        ("slack", ["discord"], True),
        ("slack", ["dev"], True),
        ("slack", [], False),
    ],
)
def test_who_has_logged_in_can_log_in_again(provider: str, others: list[str], *, may: bool) -> None:
    assert may_unlink(provider, others, {"dev", "wechat"}) == may


@given(st.text(max_size=200))
def test_a_name_of_others_is_printed_and_short(name: str) -> None:
    tidy = tidy_name(name)
    assert 1 <= len(tidy) <= 60
    assert tidy == tidy.strip() == tidy_name(tidy)
    assert not any(letter in TURNING or unicodedata.category(letter) in {"Cc", "Cs"} for letter in tidy)


def test_who_says_no_name_gets_one() -> None:
    assert tidy_name(" \u202e\n") == NEW_NAME
    assert tidy_name("Ada\n Lovelace ") == "Ada Lovelace"
