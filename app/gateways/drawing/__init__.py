"""Everything that is drawn: product pictures, QR codes, posters. It takes a while: do it in a thread."""

from app.gateways.drawing.codes import code_png, code_svg
from app.gateways.drawing.photos import ACCEPTED, BadPicture, Photo, read_photo, stand_in
from app.gateways.drawing.posters import Poster, lay_out_poster, lay_out_preview
from app.gateways.drawing.raster import as_png
from app.gateways.drawing.shapes import Drawing
from app.gateways.drawing.vector import as_svg

__all__ = [
    "ACCEPTED",
    "BadPicture",
    "Drawing",
    "Photo",
    "Poster",
    "as_png",
    "as_svg",
    "code_png",
    "code_svg",
    "lay_out_poster",
    "lay_out_preview",
    "read_photo",
    "stand_in",
]
