"""The grammar of chats: what is a command, however it is typed, and what is none."""

from string import ascii_letters, digits

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.commands import (
    CODE_ALPHABET,
    CODE_LENGTH,
    MAX_NUMBER,
    MAX_QUANTITY,
    MAX_TEXT,
    WORDS,
    Command,
    Verb,
    code_digest,
    parse,
    say,
    tidy_code,
)

KEY = b"k" * 32
WIDE = str.maketrans(
    digits + ascii_letters, "".join(chr(ord(letter) + 0xFEE0) for letter in digits + ascii_letters)
)
verbs = st.sampled_from([(verb, word) for verb, words in WORDS.items() for word in words if verb != Verb.LINK])
numbers = st.none() | st.integers(0, MAX_NUMBER)
decorations = st.sampled_from(["", " ", "🎉", "👍🏽 ", "!", "。", "～", "\u200b", "❤️ ", "\u3000", "\n"])
codes = st.text(CODE_ALPHABET, min_size=CODE_LENGTH, max_size=CODE_LENGTH)


def read(text: str) -> Command | None:
    return parse(text, KEY)


@given(verbs, numbers, st.integers(1, MAX_QUANTITY), decorations, decorations, st.booleans(), st.booleans())
def test_a_command_is_understood_however_it_is_typed(
    named: tuple[Verb, str], number: int | None, quantity: int, before: str, after: str, wide: bool, loud: bool
) -> None:
    verb, word = named
    text = word if number is None else f"{word} {number}"
    text = text if quantity == 1 else f"{text} x{quantity}"
    text = text.upper() if loud else text
    text = text.translate(WIDE) if wide else text
    assert read(f"{before}{text}{after}") == Command(verb, number, None, quantity)


@given(st.sampled_from([verb for verb in Verb if verb != Verb.LINK]), st.booleans(), numbers)
def test_what_we_say_ourselves_is_understood(verb: Verb, zh: bool, number: int | None) -> None:
    assert read(say(verb, zh=zh, number=number)) == Command(verb, number)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("开团3", Command(Verb.OPEN, 3)),
        ("开团３号", Command(Verb.OPEN, 3)),
        ("参团 第12号", Command(Verb.JOIN, 12)),
        ("join #12", Command(Verb.JOIN, 12)),
        ("JOIN no. 12", Command(Verb.JOIN, 12)),
        ("/join@kaituan_bot 12", Command(Verb.JOIN, 12)),
        ("/start", Command(Verb.HELP)),
        ("#接龙 7", Command(Verb.CHAIN, 7)),
        ("参团 12 4", Command(Verb.JOIN, 12, 4)),
        ("参团 12 4 x2", Command(Verb.JOIN, 12, 4, 2)),
        ("参团 12 3件", Command(Verb.JOIN, 12, None, 3)),
        ("参团 12 * 3", Command(Verb.JOIN, 12, None, 3)),
        ("开团 2份", Command(Verb.OPEN, None, None, 2)),
        ("参团 ²", Command(Verb.JOIN, 2)),
        ("砍一刀", Command(Verb.CUT)),
        ("砍一刀 5", Command(Verb.CUT, 5)),
        ("砍价 5", Command(Verb.BARGAIN, 5)),
        ("绑定", Command(Verb.LINK)),
        ("  帮 助 ", None),
    ],
)
def test_one_grammar(text: str, command: Command | None) -> None:
    assert read(text) == command


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "🎉", "今天天气不错", "开团啦", "我要开团", "谁来参团", "开团 茶", "参团 12 和 13", "join us"),
        *("join 1 2 3", "参团 -1", "参团 1.5", "参团 12345678901", "参团 9999999999", "参团 1 x0", "参团 1 x101"),
        *("link to the page", "绑定 手机", "help me", "open the door", "pay attention", "12", "①"),
    ],
)
def test_what_is_said_to_others_is_no_command(text: str) -> None:
    assert read(text) is None


@given(st.text() | st.text(ascii_letters + digits + " 开参团砍价绑定#x*号件第", max_size=40))
@example("\ud800开团")
@example("开团" + " " * MAX_TEXT)
def test_whatever_is_said_is_a_command_or_none(text: str) -> None:
    found = read(text)
    if found is not None:
        assert found.verb in Verb
        assert 1 <= found.quantity <= MAX_QUANTITY
        assert all(number is None or 0 <= number <= MAX_NUMBER for number in (found.number, found.choice))


@given(st.text("开团 1", min_size=MAX_TEXT + 1))
def test_a_long_text_is_no_command(text: str) -> None:
    assert read(text) is None


@given(codes, st.sampled_from(WORDS[Verb.LINK]), st.booleans(), st.integers(0, CODE_LENGTH))
def test_of_a_code_only_the_digest_is_kept(code: str, word: str, low: bool, gap: int) -> None:
    typed = f"{code[:gap]}-{code[gap:]}" if 0 < gap < CODE_LENGTH else code
    found = read(f"{word} {typed.lower() if low else typed}")
    assert found == Command(Verb.LINK, code=code_digest(code, KEY))
    assert code not in repr(found)


@given(codes, codes)
def test_codes_are_told_apart_by_their_digests(one: str, other: str) -> None:
    assert (code_digest(one, KEY) == code_digest(other, KEY)) == (one == other)
    assert code_digest(one, KEY) != code_digest(one, b"another key")


@pytest.mark.parametrize("typed", ["", "ABCD234", "ABCD23456", "ABCD234O", "ABCD2341", "ABCD234é"])
def test_what_can_be_no_code(typed: str) -> None:
    assert tidy_code(typed) is None
