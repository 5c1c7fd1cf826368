"""Drawings as SVG: the text stays text, in whatever font the reader has, and nothing is fetched from elsewhere."""

import re
from base64 import b64encode
from collections.abc import Callable
from xml.sax.saxutils import escape, quoteattr

from app.gateways.drawing.codes import code_element
from app.gateways.drawing.photos import small_jpeg
from app.gateways.drawing.shapes import Box, Code, Drawing, Image, Measure, Words, estimate

FONTS = (
    "'PingFang SC','Hiragino Sans GB','Microsoft YaHei','Noto Sans CJK SC','Source Han Sans SC',"
    "'WenQuanYi Micro Hei',system-ui,sans-serif"
)
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_svg(lay_out: Callable[[Measure], Drawing], title: str) -> bytes:
    """A drawing as SVG, with a title for those who do not see it."""
    drawing = lay_out(estimate)
    width, height = drawing.width, drawing.height
    head = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img" font-family="{FONTS}">'
    )
    parts = [head, f"<title>{_text(title)}</title>"]
    for number, shape in enumerate(drawing.shapes):
        match shape:
            case Box():
                parts.append(_box(shape, f"g{number}"))
            case Image():
                parts.append(_image(shape, f"c{number}"))
            case Code():
                parts.append(code_element(shape.text, shape.x, shape.y, shape.size))
            case Words():
                parts.append(_words(shape))
    parts.append("</svg>")
    return "".join(parts).encode()


def _box(box: Box, name: str) -> str:
    radius = min(box.radius, box.width / 2, box.height / 2)
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="{radius:g}"'
    if box.into is None:
        return f'<rect {place} fill="{box.fill}"/>'
    return (
        f'<linearGradient id="{name}" x1="0" y1="0" x2="1" y2="1"><stop stop-color="{box.fill}"/>'
        f'<stop offset="1" stop-color="{box.into}"/></linearGradient><rect {place} fill="url(#{name})"/>'
    )


def _image(image: Image, name: str) -> str:
    data = b64encode(small_jpeg(image.jpeg, (image.width, image.height))).decode()
    place = f'x="{image.x}" y="{image.y}" width="{image.width}" height="{image.height}"'
    return (
        f'<clipPath id="{name}"><rect {place} rx="{image.radius}"/></clipPath>'
        f'<image {place} clip-path="url(#{name})" href="data:image/jpeg;base64,{data}"/>'
    )


def _words(words: Words) -> str:
    style = ' font-weight="700"' if words.bold else ""
    style += ' text-decoration="line-through"' if words.struck else ""
    return (
        f'<text x="{words.x:g}" y="{words.y:g}" font-size="{words.size}" fill={quoteattr(words.fill)}'
        f' text-anchor="{words.anchor}"{style}>{_text(words.text)}</text>'
    )


def _text(text: str) -> str:
    return escape(NOT_IN_XML.sub("", text))
