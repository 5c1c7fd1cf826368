"""Blocked words: found however they are spelled, and nothing else."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.words import is_blocked

LETTERS = st.text("abcxyz微信加我0189", min_size=2, max_size=8)
BETWEEN = st.text(" .-_*·、。\u200b\u200d\u2060\ufeff\n\u00ad\u115f\u3164\uffa0", max_size=4)


def widened(letter: str) -> str:
    """The same letter in full width, where there is one."""
    return chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter


@given(LETTERS, st.data(), st.text("。！ qrst", max_size=5))
def test_a_word_is_found_in_any_disguise(word: str, data: st.DataObject, around: str) -> None:
    disguised = "".join(
        data.draw(st.sampled_from([letter, letter.upper(), widened(letter)])) + data.draw(BETWEEN)
        for letter in word
    )
    assert is_blocked(f"{around}{disguised}{around}", [word])
    assert is_blocked(f"{around}{word}{around}", [disguised])


@given(st.text(), st.lists(st.text(min_size=1, max_size=40), max_size=5))
def test_what_is_blocked_stays_blocked_within_more(text: str, words: list[str]) -> None:
    if is_blocked(text, words):
        assert is_blocked(f"xyz {text} xyz", words)
        assert not is_blocked(text, [])


@given(st.text("defgh 。", max_size=30), LETTERS)
def test_other_words_are_not_blocked(text: str, word: str) -> None:
    assert not is_blocked(text, [word])


@pytest.mark.parametrize(
    ("text", "word", "blocked"),
    [
        ("加 微 信", "微信", True),
        ("ＶＸ", "vx", True),
        ("C plus plus", "C++", False),
        ("learn C++ now", "c++", True),
        ("赌", "赌", True),
        ("anything", "\u200b", False),
        ("anything", " ", False),
        ("straße", "STRASSE", True),
        ("a.b", "b", True),
    ],
)
def test_spellings(text: str, word: str, *, blocked: bool) -> None:
    assert unicodedata.is_normalized("NFC", word)
    assert is_blocked(text, [word]) is blocked
