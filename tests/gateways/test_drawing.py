"""What is drawn: pictures that were uploaded, QR codes that readers read, letters that are really there."""

import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image, ImageChops, ImageDraw

from app.gateways import drawing
from app.gateways.drawing import fonts, photos
from app.gateways.drawing.fonts import NO_LETTER, Face, find_face
from app.gateways.drawing.photos import SCAN
from app.gateways.drawing.shapes import Drawing, Words, estimate, fold

LINK = "https://kaituan.example/i/7Yp2KqXw3N"
needs_chinese = pytest.mark.skipif(find_face("团") is None, reason="no font for Chinese here")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def halves(size: tuple[int, int] = (200, 100)) -> Image.Image:
    """Red above, blue below."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, size[1] // 2, *size))
    return image


def decoded(image: Image.Image) -> list[str]:
    """What a reader reads in a picture."""
    return [found.text for found in zxingcpp.read_barcodes(image.convert("L"))]


def painted(svg: str, scale: int = 8) -> Image.Image:
    """The QR code in an SVG, painted by its own path: `M x y h n v 1 h -n z` is a run of n modules."""
    (whole,) = re.findall(r'viewBox="0 0 (\d+) \1" shape-rendering', svg)
    (path,) = re.findall(r'<path fill="#000" d="([^"]+)"', svg)
    assert re.fullmatch(r"(M\d+ \d+h\d+v1h-\d+z)+", path)
    image = Image.new("L", (int(whole) * scale, int(whole) * scale), 255)
    draw = ImageDraw.Draw(image)
    for x, y, n in ((int(x), int(y), int(n)) for x, y, n in re.findall(r"M(\d+) (\d+)h(\d+)", path)):
        draw.rectangle((x * scale, y * scale, (x + n) * scale - 1, (y + 1) * scale - 1), fill=0)
    return image


def similar(pixel: Any, wanted: tuple[int, int, int]) -> bool:
    return all(abs(own - other) < 40 for own, other in zip(pixel, wanted, strict=True))


# QR codes


@pytest.mark.parametrize("size", [100, 333, 1200])
@pytest.mark.parametrize("link", [LINK, f"https://{'a' * 60}.example:8443/under/i/7Yp2KqXw3N"])
def test_a_reader_reads_the_code(link: str, size: int) -> None:
    image = Image.open(BytesIO(drawing.code_png(link, size)))
    assert image.size == (size, size)
    assert decoded(image) == [link]
    svg = drawing.code_svg(link, size).decode()
    assert f'width="{size}" height="{size}"' in svg
    assert decoded(painted(svg)) == [link]


def test_a_code_is_read_with_a_part_of_it_damaged() -> None:
    image = Image.open(BytesIO(drawing.code_png(LINK, 400))).convert("L")
    ImageDraw.Draw(image).ellipse((180, 180, 225, 225), fill=255)
    assert decoded(image) == [LINK]


def test_a_code_has_its_quiet_zone() -> None:
    image = Image.open(BytesIO(drawing.code_png(LINK, 37 * 5))).convert("L")
    dark = ImageChops.invert(image).getbbox()
    assert dark == (20, 20, 165, 165)


def test_a_code_is_never_smaller_than_its_modules() -> None:
    assert decoded(Image.open(BytesIO(drawing.code_png("x" * 900, 100)))) == ["x" * 900]


# Pictures


@pytest.mark.parametrize(("media_type", "kind"), drawing.ACCEPTED.items())
def test_a_picture_is_written_anew(media_type: str, kind: str) -> None:
    photo = drawing.read_photo(encoded(halves((2400, 1000)), kind), media_type)
    image = Image.open(BytesIO(photo.jpeg))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1200, 500))
    assert (photo.width, photo.height) == image.size
    assert similar(image.getpixel((600, 100)), (255, 0, 0))
    assert similar(image.getpixel((600, 400)), (0, 0, 255))


def test_a_small_picture_is_not_made_larger() -> None:
    assert drawing.read_photo(encoded(halves(), "PNG"), "image/png").width == 200


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_a_picture_of_any_mode(mode: str) -> None:
    kind, media_type = ("JPEG", "image/jpeg") if mode == "CMYK" else ("PNG", "image/png")
    image = Image.new("I;16", (50, 50)) if mode == "I;16" else halves().convert(mode)
    photo = drawing.read_photo(encoded(image, kind), media_type)
    assert Image.open(BytesIO(photo.jpeg)).mode == "RGB"


def test_what_is_transparent_is_white() -> None:
    photo = drawing.read_photo(encoded(Image.new("RGBA", (50, 50), (0, 0, 0, 0)), "PNG"), "image/png")
    assert similar(Image.open(BytesIO(photo.jpeg)).getpixel((25, 25)), (255, 255, 255))


@pytest.mark.parametrize(("media_type", "kind"), drawing.ACCEPTED.items())
def test_a_picture_is_turned_upright_and_tells_nothing_of_its_place(media_type: str, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn it by a quarter
    exif[0x010E] = "taken at home"
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    file = encoded(halves(), kind, exif=exif)
    assert b"taken at home" in file
    photo = drawing.read_photo(file, media_type)
    image = Image.open(BytesIO(photo.jpeg))
    assert image.size == (100, 200)
    assert similar(image.getpixel((90, 100)), (255, 0, 0)), "what was above is at the right"
    assert dict(image.getexif()) == {}
    assert b"taken at home" not in photo.jpeg


def test_nothing_but_the_picture_is_kept_of_a_file_that_is_two_things() -> None:
    page = b"<script>alert(1)</script>PK\x03\x04"
    file = encoded(halves(), "JPEG", comment=page) + page
    assert drawing.read_photo(file, "image/jpeg").jpeg.find(b"script") == -1
    gif = b"GIF89a" + encoded(halves(), "JPEG")
    with pytest.raises(drawing.BadPicture):
        drawing.read_photo(gif, "image/jpeg")


def test_the_first_frame_of_a_moving_picture() -> None:
    file = encoded(halves(), "WEBP", save_all=True, append_images=[Image.new("RGB", (200, 100), "green")] * 3)
    image = Image.open(BytesIO(drawing.read_photo(file, "image/webp").jpeg))
    assert similar(image.getpixel((100, 20)), (255, 0, 0))


def png_of(width: int, height: int) -> bytes:
    """A black PNG: a small file, however large the picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes(min((1 + (width + 7) // 8) * height, 60_000_000)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(4001, 4000), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (16_000_001, 1)])
def test_a_bomb_is_not_unpacked(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    file = png_of(*size)
    assert len(file) < 100_000

    def unpack(*_arguments: object) -> None:
        pytest.fail("it was unpacked")

    monkeypatch.setattr(Image.Image, "load", unpack)
    with pytest.raises(drawing.BadPicture, match="pixels"):
        drawing.read_photo(file, "image/png")


def test_as_many_pixels_as_are_allowed() -> None:
    photo = drawing.read_photo(encoded(Image.new("1", (4000, 4000)), "PNG"), "image/png")
    assert (photo.width, photo.height) == (1200, 1200)


WHOLE = {media_type: encoded(halves(), kind) for media_type, kind in drawing.ACCEPTED.items()}
WRONG = {
    "nothing": (b"", "image/png"),
    "text": (b"no picture", "image/png"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/png"),
    "another type": (WHOLE["image/jpeg"], "image/png"),
    "a type that is not taken": (encoded(halves(), "GIF"), "image/gif"),
    "a GIF that says it is PNG": (encoded(halves(), "GIF"), "image/png"),
    "no type": (WHOLE["image/png"], ""),
    "a thousand scans": (WHOLE["image/jpeg"] + SCAN * 1000, "image/jpeg"),
    "no pixels": (png_of(0, 0), "image/png"),
    "wrong checksum": (WHOLE["image/png"].replace(b"IDAT", b"IDAX"), "image/png"),
    **{f"truncated {media_type}": (file[: len(file) // 2], media_type) for media_type, file in WHOLE.items()},
    **{f"beginning of {media_type}": (file[:20], media_type) for media_type, file in WHOLE.items()},
}


@pytest.mark.parametrize(("file", "media_type"), WRONG.values(), ids=WRONG)
def test_a_picture_that_cannot_be_read(file: bytes, media_type: str) -> None:
    with pytest.raises(drawing.BadPicture):
        drawing.read_photo(file, media_type)


def test_a_picture_that_is_made_up_is_always_the_same_and_one_of_its_own() -> None:
    first = drawing.stand_in("prd_1", "龙井")
    assert first == drawing.stand_in("prd_1", "龙井")
    assert Image.open(BytesIO(first)).size == photos.STAND_IN
    assert len({first, drawing.stand_in("prd_2", "龙井"), drawing.stand_in("prd_1", "红茶")}) == 3


@pytest.mark.parametrize(
    ("title", "initials"),
    [
        *(("明前龙井 Spring", "明前"), ("Spring Longjing Tea", "SL"), ("tea", "T"), ("【新】茶", "新")),
        *(("😀", ""), ("", ""), ("100 g", "1G"), ("Tea 茶", "T")),
    ],
)
def test_initials(title: str, initials: str) -> None:
    assert photos.initials(title) == initials


# Letters


def written(text: str) -> bytes | None:
    return drawing.as_png(lambda _: Drawing(300, 60, [Words(10, 45, text, 40, "#000000")]))


@needs_chinese
def test_chinese_is_really_drawn() -> None:
    face = find_face("团龙井")
    assert face is not None
    assert not face.has(NO_LETTER)
    looks = [face._look_of(letter) for letter in "团龙井"]
    assert len({*looks, face._look_of(NO_LETTER)}) == 4, "each looks like itself, none like what is not there"
    drawn = {written(text) for text in ("团", "龙", "井", "")}
    assert len(drawn) == 4


def test_a_text_in_letters_that_no_font_has_is_not_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(fonts, "find_fonts", lambda: (tmp_path / "broken.ttf",))
    assert written("开团") is None
    assert written("Kaituan 49") is not None, "Latin letters come with Pillow"
    assert find_face("龙") is None


def test_what_is_no_letter_is_left_out_where_a_font_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "find_fonts", tuple)
    assert written("tea \U0001f375") == written("tea ")
    assert Face(None).showing("tea \U0001f375!") == "tea !"


def test_fonts_are_found_where_they_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("Some-Italic.ttf", "wqy-microhei.ttc", "deep/NotoSansCJK-Regular.ttc", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(fonts, "FOLDERS", (tmp_path, tmp_path / "nowhere"))
    found = fonts.find_fonts.__wrapped__()
    assert [path.name for path in found] == ["NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "Some-Italic.ttf"]


@pytest.mark.parametrize(
    "text", ["云南高山有机明前头采古树滇红金芽礼盒装", "Handmade soap of olive oil", "x" * 200, "e\u0301" * 50]
)
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_lines_fit_and_lose_nothing_but_the_end(text: str, lines: int) -> None:
    folded = fold(text, 40, 300, lines, estimate)
    assert 1 <= len(folded) <= lines
    assert all(estimate(line, 40, False) <= 300 for line in folded)
    kept = "".join(folded).removesuffix("…").replace(" ", "")
    assert text.replace(" ", "").startswith(kept)
    assert (kept == text.replace(" ", "")) is not folded[-1].endswith("…")


def test_words_are_not_torn() -> None:
    assert fold("Handmade soap of olive oil", 40, 300, 3, estimate) == ["Handmade soap", "of olive oil"]
    assert fold("一二三四五六七，八九十", 40, 280, 3, estimate) == ["一二三四五六", "七，八九十"]
    assert fold("Handmade soap", 40, 290, 2, estimate) == ["Handmade", "soap"]


# SVG


def test_a_text_cannot_leave_its_place_in_the_svg() -> None:
    bad = '</text><script>alert("1")</script>&\x00\x1b\ufffe'
    svg = drawing.as_svg(lambda _: Drawing(10, 10, [Words(0, 0, bad, 10, "#000000")]), bad).decode()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert not re.search("[\x00\x1b\ufffe]", svg)
