"""Cards as text, where a platform has no native one for them."""

from collections.abc import Sequence

from app.gateways.chat.platform import Button, Card

MARKUP = str.maketrans("<>[]`*", "＜＞［］｀＊")
"""What begins links, mentions and markup, and what it is shown as: names and titles are written by people."""


def unmarked(text: str) -> str:
    """A text with nothing in it that a platform would read as markup."""
    return text.translate(MARKUP)


def said(button: Button) -> str:
    """A button where there are none: what to say, or where to go."""
    return f"{button.label}: {button.command or button.url}"


def fit(card: Card, tail: Sequence[str], max_bytes: int, *, title: str = "{}", end: str = "\n") -> str:
    """Title, lines and then the tail, each ended alike; of the lines as many as fit in, with … for the others.

    `title` is what the title looks like.
    """
    lines = [title.format(unmarked(card.title)), *(unmarked(line) for line in card.lines)]
    kept = len(lines)
    while kept > 1 and len(_joined(lines, kept, tail, end).encode()) > max_bytes:
        kept -= 1
    return _joined(lines, kept, tail, end)


def _joined(lines: Sequence[str], kept: int, tail: Sequence[str], end: str) -> str:
    return end.join([*lines[:kept], *(["…"] if kept < len(lines) else []), *tail])
