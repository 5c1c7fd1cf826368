"""QR codes, with the quiet zone that readers need."""

from io import BytesIO

import segno
from PIL import Image as Pillow
from PIL import ImageDraw

from app.gateways.drawing.shapes import runs

QUIET_MODULES = 4
CORRECTION = "m"
"""It can be read with 15 % of it damaged."""


def modules(text: str) -> tuple[bytearray, ...]:
    """The dark modules of a text's code, row by row."""
    return segno.make(text, error=CORRECTION, micro=False).matrix


def code_svg(text: str, size: int) -> bytes:
    """A code of `size` pixels, as SVG that can be enlarged at will."""
    return "".join(('<?xml version="1.0" encoding="utf-8"?>\n', code_element(text, 0, 0, size))).encode()


def code_element(text: str, x: float, y: float, size: float) -> str:
    """A code as an element of an SVG."""
    matrix = modules(text)
    whole = len(matrix) + 2 * QUIET_MODULES
    path = "".join(f"M{x + QUIET_MODULES} {y + QUIET_MODULES}h{n}v1h-{n}z" for x, y, n in runs(matrix))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}"'
        f' viewBox="0 0 {whole} {whole}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{whole}v{whole}h-{whole}z"/><path fill="#000" d="{path}"/></svg>'
    )


def code_image(text: str, size: int) -> Pillow.Image:
    """A code of `size` pixels, in the middle of white; larger if a module would be less than a pixel."""
    matrix = modules(text)
    whole = len(matrix) + 2 * QUIET_MODULES
    scale = max(size // whole, 1)
    size = max(size, whole)
    edge = (size - len(matrix) * scale) // 2
    image = Pillow.new("1", (size, size), 1)
    draw = ImageDraw.Draw(image)
    for x, y, n in runs(matrix):
        left, top = edge + x * scale, edge + y * scale
        draw.rectangle((left, top, left + n * scale - 1, top + scale - 1), fill=0)
    return image


def code_png(text: str, size: int) -> bytes:
    """A code of `size` pixels, as PNG."""
    stream = BytesIO()
    code_image(text, size).save(stream, "PNG", optimize=True)
    return stream.getvalue()
