"""Finding a font that really has the letters of a text: Pillow draws an empty box for what a font lacks, and says
nothing.
"""

import unicodedata
from functools import cache
from pathlib import Path
from typing import cast

from PIL import ImageFont

FOLDERS = (
    *(Path("/usr/share/fonts"), Path("/usr/local/share/fonts")),
    *(Path("/System/Library/Fonts"), Path("/Library/Fonts"), Path("C:/Windows/Fonts")),
)
PREFERRED = (
    *("notosanscjk-regular", "notosanssc-regular", "sourcehansans", "pingfang", "msyh", "hiragino sans gb"),
    *("wqy-microhei", "wqy-zenhei", "droidsansfallback", "dejavusans."),
)
"""Beginnings of names, the best first."""
LAST = ("mono", "italic", "oblique", "serif", "math", "emoji", "symbol")
MOST_FONTS = 200
"""So many are looked at on a machine with more."""
NO_LETTER = "\U0010ffff"
"""Which no font has: it is drawn as what is not there."""
Sized = ImageFont.FreeTypeFont


class Face:
    """A font in the sizes that a drawing needs. For one thread: FreeType's faces are not for several."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._sizes: dict[int, Sized] = {}
        self._lacks = self._look_of(NO_LETTER)

    def sized(self, size: int) -> Sized:
        """The font in this size."""
        found = self._sizes.get(size)
        if found is None:
            found = self._sizes[size] = _load(self._path, size)
        return found

    def has(self, letter: str) -> bool:
        """Whether it has a picture of this letter."""
        return letter.isspace() or self._look_of(letter) != self._lacks

    def showing(self, text: str) -> str:
        """A text without what the font lacks, such as emoji."""
        return "".join(letter for letter in text if self.has(letter))

    def measure(self, text: str, size: float, bold: bool) -> float:
        """How wide a text is."""
        return float(self.sized(round(size)).getlength(text)) + (stroke(size) * 2 if bold else 0)

    def _look_of(self, letter: str) -> tuple[tuple[int, int], bytes]:
        mask = self.sized(24).getmask(letter)
        return mask.size, bytes(mask)


def stroke(size: float) -> float:
    """How much is drawn around letters to make them bold; most fonts for Chinese come in one weight."""
    return size / 40


def find_face(text: str) -> Face | None:
    """The best font that has every letter, number and currency sign of a text; None when no font here has."""
    needed = {letter for letter in text if _is_needed(letter)}
    for path in (*find_fonts(), None):
        try:
            face = Face(path)
        except OSError:  # no font after all
            continue
        if all(face.has(letter) for letter in needed):
            return face
    return None


@cache
def find_fonts() -> tuple[Path, ...]:
    """The fonts of this machine, the best first."""
    found = {
        path for folder in FOLDERS for pattern in ("*.tt[fc]", "*.otf", "*.otc") for path in folder.rglob(pattern)
    }
    return tuple(sorted(found, key=_rank))[:MOST_FONTS]


def _load(path: Path | None, size: int) -> Sized:
    if path is not None:
        return ImageFont.truetype(path, size)
    return cast("Sized", ImageFont.load_default(size))  # what comes with Pillow: it has Latin letters


def _rank(path: Path) -> tuple[int, bool, str]:
    name = path.name.lower()
    place = next((place for place, start in enumerate(PREFERRED) if name.startswith(start)), len(PREFERRED))
    return place, any(word in name for word in LAST), str(path)


def _is_needed(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LN" or unicodedata.category(letter) == "Sc"
