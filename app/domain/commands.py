"""What can be said to us in a chat: one grammar for all platforms, in Chinese and in English.

    verb [number [number]] [quantity]

A number is what the chat calls an offer, a group or a bargain: see `ChatNumber`. Whoever speaks need not mind
capitals, full-width letters, spaces, emoji around it, or a mark at the end. A sentence that only begins like a
command is none.
"""

import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Letters and digits that nobody confuses."""
CODE_LENGTH = 8
MAX_TEXT = 100
"""A longer text is no command."""
MAX_NUMBER = 10**9
MAX_QUANTITY = 100


class Verb(StrEnum):
    HELP = "help"
    SALES = "sales"
    OPEN = "open"
    JOIN = "join"
    PROGRESS = "progress"
    CHAIN = "chain"
    PAY = "pay"
    LEAVE = "leave"
    BARGAIN = "bargain"
    CUT = "cut"
    ENROL = "enrol"
    LINK = "link"


WORDS: dict[Verb, tuple[str, ...]] = {
    Verb.HELP: ("帮助", "help", "菜单", "menu", "start"),
    Verb.SALES: ("活动", "sales", "团购", "deals"),
    Verb.OPEN: ("开团", "open"),
    Verb.JOIN: ("参团", "join", "拼团", "入团", "跟团"),
    Verb.PROGRESS: ("进度", "progress", "status"),
    Verb.CHAIN: ("接龙", "chain", "名单", "list"),
    Verb.PAY: ("支付", "pay", "付款"),
    Verb.LEAVE: ("退团", "leave", "取消", "cancel"),
    Verb.BARGAIN: ("砍价", "bargain"),
    Verb.CUT: ("砍一刀", "cut", "帮砍"),
    Verb.ENROL: ("入群", "enrol", "enroll", "加入社群"),
    Verb.LINK: ("绑定", "link", "bind"),
}
"""What each is called; the first in Chinese and the first in English are what we say ourselves."""
_VERBS = {word: verb for verb, words in WORDS.items() for word in words}
_VERB = "|".join(sorted(map(re.escape, _VERBS), key=len, reverse=True))
_NUMBER = r"(?:\#|no\.?|第)?\s*(\d{1,10})\s*(?:号|号团)?"
_QUANTITY = r"(?:[x*]\s*(\d{1,4})|(\d{1,4})\s*(?:件|份|个|pcs))"
_BUYING = re.compile(rf"[/#]?\s*({_VERB})(?:@\w+)?\s*(?:{_NUMBER}(?:\s+{_NUMBER})?)??\s*(?:{_QUANTITY})?")
_LINKING = re.compile(rf"[/#]?\s*({'|'.join(WORDS[Verb.LINK])})(?:@\w+)?\s*[:]?\s*([0-9a-z][0-9a-z -]*)")
_NO_CODE = str.maketrans("", "", " -")


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody wants. `number` and `choice` are numbers of this chat; `code` is the digest of a code."""

    verb: Verb
    number: int | None = None
    choice: int | None = None
    quantity: int = 1
    code: str | None = None


def parse(text: str, key: bytes) -> Command | None:
    """The command that a text is; None when it is none. Of a code, only its digest by `key` is kept."""
    if len(text) > MAX_TEXT:
        return None
    plain = _plain(text)
    if (linking := _LINKING.fullmatch(plain)) and (code := tidy_code(linking[2])) is not None:
        return Command(Verb.LINK, code=code_digest(code, key))
    buying = _BUYING.fullmatch(plain)
    if buying is None:
        return None
    verb, number, choice, *quantities = buying.groups()
    quantity = int(next(filter(None, quantities), "1"))
    numbers = [None if digits is None else int(digits) for digits in (number, choice)]
    if not 1 <= quantity <= MAX_QUANTITY or any(found is not None and found > MAX_NUMBER for found in numbers):
        return None
    return Command(_VERBS[verb], numbers[0], numbers[1], quantity)


def say(verb: Verb, *, zh: bool, number: int | None = None) -> str:
    """How one says a command, as buttons and texts of ours do."""
    word = WORDS[verb][0 if zh else 1]
    return word if number is None else f"{word} {number}"


def tidy_code(code: str) -> str | None:
    """A code as it was made, however it was typed; None when it can be none."""
    tidied = code.upper().translate(_NO_CODE)
    return tidied if len(tidied) == CODE_LENGTH and set(tidied) <= set(CODE_ALPHABET) else None


def code_digest(code: str, key: bytes) -> str:
    """What a code is known by without being kept: HMAC-SHA256 in hex."""
    return hmac.new(key, code.encode(), hashlib.sha256).hexdigest()


def _plain(text: str) -> str:
    """A text in lower case, with one space at most between words, without what is only decoration around it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = [" " if letter.isspace() else letter for letter in folded if _counts(letter)]
    return " ".join("".join(letters).split()).strip("!.?~。！？～，,;；:、…\"'“”「」 ")


def _counts(letter: str) -> bool:
    """Whether a letter says something: emoji, their modifiers and what joins them do not."""
    return letter.isspace() or unicodedata.category(letter) not in {
        "So",
        "Sk",
        "Cf",
        "Cc",
        "Cs",
        "Co",
        "Cn",
        "Mn",
        "Me",
    }
