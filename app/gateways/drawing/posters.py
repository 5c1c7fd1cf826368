"""Where things stand on a poster, and on the picture that a chat shows for a link."""

from dataclasses import dataclass

from app.gateways.drawing.shapes import Box, Code, Drawing, Image, Measure, Words, fold

POSTER = (750, 1334)
"""A phone's screen."""
MAX_PRICE, MIN_PRICE = 68, 36
"""Sizes of letters."""
PREVIEW = (1200, 630)
"""What Open Graph asks for."""
WARM = ("#ff6a3d", "#e8174f")
GONE = ("#8d96a3", "#5a6270")
WHITE, INK, GREY, PALE, RED, LIGHT = "#ffffff", "#1d1d1f", "#86868b", "#f2f2f5", "#e8174f", "#ffb3a3"


@dataclass(frozen=True, slots=True)
class Poster:
    """What is said of an invite, in the reader's language, ready to be drawn."""

    url: str
    code: str
    inviter: str
    heading: str
    community: str
    title: str
    subtitle: str
    badge: str
    price: str
    since: str
    """What stands behind a price that is the lowest of several."""
    was: str
    step: str
    """What more members would change."""
    progress: str
    seats: tuple[int, int, int] | None
    """Of a group: paid, held, all."""
    deadline: str
    over: bool
    scan: str
    by_hand: str
    promise: str


def lay_out_poster(poster: Poster, jpeg: bytes, measure: Measure) -> Drawing:
    """A poster to be saved, sent on and scanned."""
    width, height = POSTER
    drawing = Drawing(width, height, [Box(0, 0, width, height, *(GONE if poster.over else WARM))])
    _add_inviter(drawing, poster, measure)
    add = drawing.shapes.append
    add(Box(40, 150, 670, 1110, WHITE, radius=32))
    title = fold(poster.title, 40, 622, 2, measure, bold=True)
    height = (370 if len(title) > 1 else 450) if poster.price else 530
    add(Image(64, 174, 622, height, jpeg, radius=20))
    _add_badge(drawing, poster, 84, 194, measure)
    y = 174.0 + height + 60
    for line in title:
        add(Words(64, y, line, 40, INK, bold=True))
        y += 54
    for line in fold(poster.subtitle, 26, 622, 1 if poster.price else 4, measure):
        add(Words(64, y - 8, line, 26, GREY))
        y += 40
    _add_price(drawing, poster, 64, 838, 622, measure)
    _add_progress(drawing, poster, 64, 872, 622)
    if poster.deadline:
        add(Words(64, 974, _one(poster.deadline, 25, 622, measure), 25, GREY))
    for x in range(64, 686, 14):
        add(Box(x, 1000, 7, 2, "#d9d9de"))
    add(Code(464, 1012, 236, poster.url))
    lines = fold(poster.scan, 34, 390, 2, measure, bold=True)
    y = 1104 if len(lines) > 1 else 1122
    for line in lines:
        add(Words(64, y, line, 34, INK, bold=True))
        y += 46
    add(Words(64, y + 6, _one(poster.by_hand, 24, 390, measure), 24, GREY))
    add(Words(width / 2, 1306, _one(poster.promise, 24, 670, measure), 24, WHITE, anchor="middle"))
    return drawing


def lay_out_preview(poster: Poster, jpeg: bytes, measure: Measure) -> Drawing:
    """What a chat shows beside the link: to be read when it is small, too."""
    width, height = PREVIEW
    drawing = Drawing(width, height, [Box(0, 0, width, height, *(GONE if poster.over else WARM))])
    add = drawing.shapes.append
    add(Box(36, 36, width - 72, height - 72, WHITE, radius=32))
    add(Image(60, 60, 510, 510, jpeg, radius=20))
    _add_badge(drawing, poster, 80, 80, measure)
    left, room = 606, 534
    add(Words(left, 104, _one(poster.heading, 30, room, measure), 30, GREY))
    y = 172.0
    for line in fold(poster.title, 50, room, 2, measure, bold=True):
        add(Words(left, y, line, 50, INK, bold=True))
        y += 64
    for line in fold(poster.subtitle, 28, room, 1 if poster.price else 5, measure):
        add(Words(left, y - 12, line, 28, GREY))
        y += 42
    _add_price(drawing, poster, left, 410, room, measure)
    _add_progress(drawing, poster, left, 444, room)
    last = poster.deadline or ("" if poster.over else poster.by_hand)
    add(Words(left, 558, _one(last, 26, room, measure), 26, GREY))
    return drawing


def _add_inviter(drawing: Drawing, poster: Poster, measure: Measure) -> None:
    drawing.shapes += [
        Box(40, 38, 84, 84, "#ffffff", radius=42),
        Words(82, 94, poster.inviter[:1].upper(), 40, RED if not poster.over else GREY, bold=True, anchor="middle"),
        Words(144, 74, _one(poster.heading, 34, 566, measure, bold=True), 34, WHITE, bold=True),
        Words(144, 114, _one(poster.community, 26, 566, measure), 26, "#ffe9e4" if not poster.over else PALE),
    ]


def _add_badge(drawing: Drawing, poster: Poster, x: float, y: float, measure: Measure) -> None:
    if not poster.badge:
        return
    width = measure(poster.badge, 28, True) + 44
    colours = GONE if poster.over else WARM
    drawing.shapes += [
        Box(x, y, width, 52, *colours, radius=26),
        Words(x + width / 2, y + 36, poster.badge, 28, WHITE, bold=True, anchor="middle"),
    ]


def _add_price(drawing: Drawing, poster: Poster, x: float, y: float, room: float, measure: Measure) -> None:
    if not poster.price:
        return
    size = MAX_PRICE
    while size > MIN_PRICE and measure(poster.price, size, True) > room * 0.6:
        size -= 4
    colour = GREY if poster.over else RED
    drawing.shapes.append(Words(x, y, poster.price, size, colour, bold=True))
    end = x + room
    x += measure(poster.price, size, True) + 8
    if poster.since:
        drawing.shapes.append(Words(x, y, poster.since, 28, colour))
        x += measure(poster.since, 28, False) + 10
    x += 8
    if poster.was and x + measure(poster.was, 30, False) <= end:
        drawing.shapes.append(Words(x, y, poster.was, 30, GREY, struck=True))
        x += measure(poster.was, 30, False) + 16
    wide = measure(poster.step, 24, False) + 36
    if not poster.step or wide > room:
        return
    below = x + wide > end
    left, top = (end - wide, y - 40) if not below else (end - wide, y - size - 46)
    drawing.shapes += [
        Box(left, top, wide, 46, "#fff0ed", radius=23),
        Words(left + wide / 2, top + 32, poster.step, 24, RED, anchor="middle"),
    ]


def _add_progress(drawing: Drawing, poster: Poster, x: float, y: float, room: float) -> None:
    if poster.seats is None:
        drawing.shapes.append(Words(x, y + 46, poster.progress, 28, INK))
        return
    paid, held, size = poster.seats
    drawing.shapes += [
        Words(x, y + 26, poster.progress, 28, INK, bold=True),
        Words(x + room, y + 26, f"{paid + held}/{size}", 28, GREY if poster.over else RED, bold=True, anchor="end"),
        Box(x, y + 44, room, 20, PALE, radius=10),
    ]
    for taken, colours in ((paid + held, (LIGHT, LIGHT)), (paid, GONE if poster.over else WARM)):
        if taken:
            drawing.shapes.append(Box(x, y + 44, max(room * taken / size, 20), 20, *colours, radius=10))


def _one(text: str, size: int, room: float, measure: Measure, *, bold: bool = False) -> str:
    """A text in one line."""
    return next(iter(fold(text, size, room, 1, measure, bold=bold)), "")
