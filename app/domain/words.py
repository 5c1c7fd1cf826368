"""Words that a community does not want to read, however they are spelled."""

import unicodedata
from collections.abc import Iterable

LEAST_SQUEEZED = 2
FILLERS = "\u115f\u1160"
"""Letters by their category, which nobody sees all the same (those of half and full width become them)."""


def is_blocked(text: str, words: Iterable[str]) -> bool:
    """Whether a text has one of these words in it: in any case and width, with or without invisible characters,
    spaces, points and marks between its letters.

    A word of which fewer than two letters are left without its marks (`赌`, `c++`) is looked for as it stands: it
    cannot be taken apart, or else `c` would be blocked.
    """
    plain = _folded(text)
    squeezed = _squeezed(plain)
    for word in words:
        sought = _folded(word)
        core = _squeezed(sought)
        if core in squeezed if len(core) >= LEAST_SQUEEZED else sought and sought in plain:
            return True
    return False


def _folded(text: str) -> str:
    """Without differences of width, case and composition, and without what nobody sees."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(
        letter for letter in folded if letter not in FILLERS and unicodedata.category(letter) not in {"Cf", "Cc"}
    ).strip()


def _squeezed(folded: str) -> str:
    """Letters and digits only."""
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] in "LN")
