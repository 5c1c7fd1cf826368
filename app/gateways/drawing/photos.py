"""Product pictures: what is uploaded is read, made small and written anew; what was not uploaded is made up."""

import colorsys
import hashlib
import math
import unicodedata
from dataclasses import dataclass
from io import BytesIO

from PIL import Image as Pillow
from PIL import ImageDraw, ImageOps

from app.gateways.drawing.fonts import find_face, stroke

ACCEPTED = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
"""What may be uploaded."""
MAX_PIXELS = 16_000_000
"""Of an uploaded picture: more than a phone's camera takes, and 64 MB when it is unpacked."""
MAX_SIDE = 1200
"""Of a picture that is kept."""
QUALITY = 85
MAX_SCANS = 100
"""Of a JPEG, each of which goes over the whole picture; usual ones have ten."""
SCAN = b"\xff\xda"
STAND_IN = (800, 600)


class BadPicture(Exception):
    """Why a picture is not taken."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture as it is kept: a JPEG of ours, with nothing in it but what one sees."""

    jpeg: bytes
    width: int
    height: int


def read_photo(data: bytes, media_type: str) -> Photo:
    """A picture out of what was uploaded: turned upright, on white, at most `MAX_SIDE` wide and high;
    of a moving one the first frame. Nothing of the file itself is kept: no EXIF, no text, nothing put behind it.

    Raises `BadPicture`: it is no picture of this type, is damaged, or has too many pixels.
    """
    kind = ACCEPTED.get(media_type)
    if kind is None:
        raise BadPicture("the Content-Type must be image/png, image/jpeg or image/webp")
    if kind == "JPEG" and data.count(SCAN) > MAX_SCANS:
        raise BadPicture(f"more than {MAX_SCANS} scans")
    try:
        with Pillow.open(BytesIO(data), formats=[kind]) as opened:
            _check_size(opened)  # known before anything is unpacked
            opened.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=2)
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except BadPicture:
        raise
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise BadPicture(f"more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # decoders fail in many ways, and it is the file's fault
        raise BadPicture(f"it cannot be read as {media_type}") from error
    flat = Pillow.new("RGB", upright.size, "white")
    flat.paste(upright, mask=upright.getchannel("A"))
    return Photo(_jpeg(flat), flat.width, flat.height)


def _check_size(image: Pillow.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise BadPicture(f"more than {MAX_PIXELS} pixels")


def stand_in(seed: str, title: str) -> bytes:
    """A picture, as JPEG, of a thing of which there is none: its first letters on colours of its own."""
    digest = hashlib.blake2b(f"{seed} {title}".encode(), digest_size=4).digest()
    hue, turn = digest[0] / 256, digest[1] / 256
    image = gradient(STAND_IN, _colour(hue, 0.55, 0.80), _colour(hue - 0.10, 0.70, 0.62))
    _add_rings(image, turn)
    letters = initials(title)
    face = find_face(letters)
    if face is not None and letters:
        size = 250 if len(letters) == 1 else 210
        ImageDraw.Draw(image).text(
            (STAND_IN[0] / 2, STAND_IN[1] / 2),
            letters,
            "white",
            face.sized(size),
            anchor="mm",
            stroke_width=stroke(size),
        )
    return _jpeg(image)


def initials(title: str) -> str:
    """What stands for a title: its first two characters, or the first letters of its first two words."""
    words = "".join(letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in title).split()
    if not words:
        return ""
    if unicodedata.east_asian_width(words[0][0]) in {"W", "F"}:
        return words[0][:2]
    return "".join(word[0].upper() for word in words[:2] if unicodedata.east_asian_width(word[0]) not in {"W", "F"})


def gradient(size: tuple[int, int], start: str, end: str) -> Pillow.Image:
    """A colour that runs from the top left into another at the bottom right."""
    first, last = (Pillow.new("RGB", (1, 1), colour) for colour in (start, end))
    small = Pillow.new("RGB", (2, 2))
    small.paste(first, (0, 0))
    small.paste(Pillow.blend(first, last, 0.5), (1, 0))
    small.paste(Pillow.blend(first, last, 0.5), (0, 1))
    small.paste(last, (1, 1))
    # From the middle of one pixel to the middle of the other: outside of that it would stand still.
    return small.resize(size, Pillow.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))


def fill_with(jpeg: bytes, size: tuple[int, int]) -> Pillow.Image:
    """A picture cut and scaled to fill this size."""
    with Pillow.open(BytesIO(jpeg), formats=["JPEG"]) as image:
        return ImageOps.fit(image.convert("RGB"), size, Pillow.Resampling.LANCZOS)


def small_jpeg(jpeg: bytes, size: tuple[int, int]) -> bytes:
    """The same, as JPEG."""
    return _jpeg(fill_with(jpeg, size))


def _add_rings(image: Pillow.Image, turn: float) -> None:
    """Soft circles, which let a plain surface look as if somebody had thought of it."""
    scale = 2
    light = Pillow.new("L", (image.width * scale, image.height * scale))
    draw = ImageDraw.Draw(light)
    angle = turn * 2 * math.pi
    for far, radius, strength in ((0.55, 0.62, 22), (0.62, 0.40, 30), (-0.60, 0.34, 24)):
        x = light.width * (0.5 + far * math.cos(angle) * 0.8)
        y = light.height * (0.5 + far * math.sin(angle) * 0.8)
        reach = radius * light.height
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=strength)
    image.paste(Pillow.new("RGB", image.size, "white"), mask=light.resize(image.size, Pillow.Resampling.BOX))


def _colour(hue: float, saturation: float, value: float) -> str:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _jpeg(image: Pillow.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    return stream.getvalue()
