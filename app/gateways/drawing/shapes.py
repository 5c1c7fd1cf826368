"""What a drawing is made of, whether it becomes pixels or SVG; in pixels, from the top left corner."""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

CLOSING = "，。、；：？！）】》」』”’…％,.;:?!)]}%"
"""No line begins with these."""
Measure = Callable[[str, float, bool], float]
"""How wide a text is, by its size and whether it is bold."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in one colour or running from one at its top left into another."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    into: str | None = None
    radius: float = 0


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text that stands on `y`; `anchor` says which part of it is at `x`: start, middle or end."""

    x: float
    y: float
    text: str
    size: int
    fill: str
    bold: bool = False
    anchor: str = "start"
    struck: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A JPEG, cut to fill its place."""

    x: int
    y: int
    width: int
    height: int
    jpeg: bytes
    radius: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code with its quiet zone, on white."""

    x: int
    y: int
    size: int
    text: str


@dataclass(slots=True)
class Drawing:
    """Shapes, those behind first."""

    width: int
    height: int
    shapes: list[Box | Words | Image | Code] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Every letter of it."""
        return "".join(shape.text for shape in self.shapes if isinstance(shape, Words))


def fold(text: str, size: float, width: float, lines: int, measure: Measure, *, bold: bool = False) -> list[str]:
    """A text in at most so many lines of this width; what does not fit ends in an ellipsis."""
    rest, folded = " ".join(text.split()), list[str]()
    while rest and len(folded) < lines:
        last = len(folded) == lines - 1
        if measure(rest, size, bold) <= width:
            return [*folded, rest]
        limit = width - measure("…", size, bold) if last else width
        cut = _between_words(rest, _fitting(rest, size, limit, measure, bold=bold))
        if last:
            return [*folded, f"{rest[:cut].rstrip(f' {CLOSING}')}…"]
        folded.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return folded


def estimate(text: str, size: float, bold: bool) -> float:
    """How wide a text is about, in a font that is not known."""
    return size * sum(_width(letter) for letter in text) * (1.04 if bold else 1)


def _width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in {"W", "F"}:
        return 1
    return 0.75 if letter.isupper() or letter in "…—@%" else 0.56


def _fitting(text: str, size: float, width: float, measure: Measure, *, bold: bool) -> int:
    """How many letters of a text fit, at least one. Marks stay with the letter they are on."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(text[:middle], size, bold) <= width else (low, middle - 1)
    while low > 1 and low < len(text) and unicodedata.category(text[low]).startswith("M"):
        low -= 1
    return low


def _between_words(text: str, cut: int) -> int:
    """A place to break a line at or before `cut`: not within a word, unless it fills the line."""
    for place in range(cut, 0, -1):
        if place == len(text) or (
            text[place] not in CLOSING and not (_in_word(text[place - 1]) and _in_word(text[place]))
        ):
            return place
    return cut


def _in_word(letter: str) -> bool:
    return not letter.isspace() and unicodedata.east_asian_width(letter) not in {"W", "F"}


def runs(matrix: tuple[bytearray, ...]) -> Iterator[tuple[int, int, int]]:
    """The dark modules of a QR code as runs: column, row, length."""
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            end = x
            while end < len(row) and row[end]:
                end += 1
            if end > x:
                yield x, y, end - x
            x = end + 1
