"""Phone numbers: one spelling of each, and what is shown of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.phones import E164, mask_number, normalise

MOBILES = st.from_regex("1[3-9][0-9]{9}", fullmatch=True, alphabet=st.characters(codec="ascii"))
BREAKS = st.sets(st.integers(1, 10), max_size=4)


@pytest.mark.parametrize(
    ("spelled", "number"),
    [
        ("13800138000", "+8613800138000"),
        ("138 0013 8000", "+8613800138000"),
        ("１３８００１３８０００", "+8613800138000"),
        ("+86 138-0013-8000", "+8613800138000"),
        ("008613800138000", "+8613800138000"),
        ("＋8613800138000", "+8613800138000"),
        ("+442079460958", "+442079460958"),
        ("+861080888888", "+861080888888"),
        ("+8521234 5678", "+85212345678"),
    ],
)
def test_a_number_has_one_spelling(spelled: str, number: str) -> None:
    assert normalise(spelled) == number


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "+", "110", "12800138000", "8613800138000", "1380013800", "138001380001", "+0123456789"),
        *(
            "+123456",
            "+1234567890123456",
            "+86138001380001",
            "+44 (0) 2079460958",
            "+1555٠١٢٣٤٥٦",
        ),
    ],
)
def test_what_is_no_number_is_none(wrong: str) -> None:
    assert normalise(wrong) is None


@given(MOBILES, BREAKS, st.sampled_from([" ", "-", ".", "\u3000"]))
def test_what_stands_between_digits_does_not_matter(mobile: str, breaks: set[int], mark: str) -> None:
    spelled = "".join(mark * (place in breaks) + digit for place, digit in enumerate(mobile))
    assert normalise(spelled) == normalise(f"+86{spelled}") == f"+86{mobile}"


@given(st.text(max_size=30))
def test_a_number_is_in_e164_and_stays_what_it_is(text: str) -> None:
    number = normalise(text)
    assert number is None or (E164.fullmatch(number) and normalise(number) == number)


@given(st.from_regex(E164, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_four_digits_at_least_are_hidden_and_as_many_as_there_are_shown(number: str) -> None:
    masked = mask_number(number)
    assert len(masked) == len(number)
    assert masked.count("*") >= min(4, len(number) - 3)
    assert all(shown in {digit, "*"} for shown, digit in zip(masked, number, strict=True))


def test_a_chinese_number_is_masked_as_everybody_knows_it() -> None:
    assert mask_number("+8613800138000") == "+86138****8000"
    assert mask_number("+8612345") == "+86****5"
    assert mask_number("+442079460958") == "+44******0958"
