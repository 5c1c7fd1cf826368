"""Drawings as pixels."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image as Pillow
from PIL import ImageDraw

from app.gateways.drawing.codes import code_image
from app.gateways.drawing.fonts import Face, find_face, stroke
from app.gateways.drawing.photos import fill_with, gradient
from app.gateways.drawing.shapes import Box, Code, Drawing, Image, Measure, Words

FINER = 4
"""Corners are drawn so many times larger, which makes them smooth."""
COMPRESSION = 6
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def as_png(lay_out: Callable[[Measure], Drawing]) -> bytes | None:
    """A drawing as PNG; None when no font here has its letters."""
    face = find_face(lay_out(_nothing).text)
    return None if face is None else _paint(lay_out(face.measure), face)


def _nothing(_text: str, _size: float, _bold: bool) -> float:
    """As if letters took no room: so all of a text is there."""
    return 0


def _paint(drawing: Drawing, face: Face) -> bytes:
    canvas = Pillow.new("RGB", (drawing.width, drawing.height), "white")
    for shape in drawing.shapes:
        match shape:
            case Box():
                size = round(shape.width), round(shape.height)
                filling = gradient(size, shape.fill, shape.into or shape.fill)
                _paste(canvas, filling, shape.x, shape.y, shape.radius)
            case Image():
                filling = fill_with(shape.jpeg, (shape.width, shape.height))
                _paste(canvas, filling, shape.x, shape.y, shape.radius)
            case Code():
                _paste(canvas, code_image(shape.text, shape.size).convert("RGB"), shape.x, shape.y, 0)
            case Words():
                _write(canvas, shape, face)
    stream = BytesIO()
    canvas.save(stream, "PNG", compress_level=COMPRESSION)
    return stream.getvalue()


def _paste(canvas: Pillow.Image, filling: Pillow.Image, x: float, y: float, radius: float) -> None:
    place = round(x), round(y)
    if radius <= 0:
        canvas.paste(filling, place)
        return
    canvas.paste(filling, place, _rounded(filling.size, round(min(radius, *(side / 2 for side in filling.size)))))


def _rounded(size: tuple[int, int], radius: int) -> Pillow.Image:
    mask = Pillow.new("L", size, 255)
    corner = Pillow.new("L", (radius * FINER, radius * FINER))
    whole = 2 * radius * FINER
    ImageDraw.Draw(corner).ellipse((0, 0, whole - 1, whole - 1), fill=255)
    corner = corner.resize((radius, radius), Pillow.Resampling.BOX)
    right, bottom = size[0] - radius, size[1] - radius
    mask.paste(corner, (0, 0))
    mask.paste(corner.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT), (right, 0))
    mask.paste(corner.transpose(Pillow.Transpose.FLIP_TOP_BOTTOM), (0, bottom))
    mask.paste(corner.transpose(Pillow.Transpose.ROTATE_180), (right, bottom))
    return mask


def _write(canvas: Pillow.Image, words: Words, face: Face) -> None:
    text, font = face.showing(words.text), face.sized(words.size)
    draw = ImageDraw.Draw(canvas)
    bold = stroke(words.size) if words.bold else 0
    draw.text((words.x, words.y), text, words.fill, font, ANCHORS[words.anchor], stroke_width=bold)
    if words.struck:
        left, _, right, _ = draw.textbbox((words.x, words.y), text, font, ANCHORS[words.anchor])
        height = words.y - words.size * 0.32
        draw.line((left - 2, height, right + 2, height), words.fill, max(round(words.size / 14), 1))
