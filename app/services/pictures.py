"""Product pictures, and the queue of whatever is drawn."""

import asyncio
import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import delete, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import PictureInvalid, ProductNotFound
from app.gateways import drawing
from app.models import Picture, Product
from app.schemas.pictures import PicturePublic
from app.services.transactions import transaction
from app.state import State

Look = tuple[str, str, str]
"""What is shown of a thing: how its picture came to be, whose it is, and what tells it from another."""
VERSION = 1
"""Of how things are drawn: another one, and caches everywhere ask for the new look."""
DRAWINGS_KEPT = 64
DRAWINGS_WAITING = 16
DRAWN_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Sketch:
    """Something to draw. `seen` is all that can be seen in it: what looks the same is the same."""

    seen: tuple[Hashable, ...]
    draw: Callable[[], bytes | None]

    @property
    def etag(self) -> str:
        """Its entity tag, known before it is drawn."""
        return f'"{digest(repr((VERSION, self.seen)).encode())}"'


def digest(data: bytes) -> str:
    """A short name for some bytes that no others have."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


async def draw(state: State, sketch: Sketch) -> bytes | None:
    """The drawing of a sketch; None when it cannot be drawn here. Whoever asks for the same at the same time waits
    for the same, and what was drawn is kept for a while. Raises `Busy` when too many others wait.
    """
    if sketch.seen in state.drawings:
        state.drawings.move_to_end(sketch.seen)
        found: bytes | None = state.drawings[sketch.seen]
        return found
    queue = state.batches(_draw, size=1, limit=DRAWINGS_WAITING, lanes=DRAWN_AT_ONCE, crowd=1)
    return await queue.ask(sketch.seen, sketch)


async def _draw(state: State, sketches: Sequence[Sketch]) -> list[bytes | None]:
    (sketch,) = sketches
    drawn = await asyncio.to_thread(sketch.draw)
    state.drawings[sketch.seen] = drawn
    if len(state.drawings) > DRAWINGS_KEPT:
        state.drawings.popitem(last=False)
    return [drawn]


async def put_picture(state: State, product_id: str, data: bytes, media_type: str) -> PicturePublic:
    """Take a picture of a product, in place of the one there was.

    Raises `ProductNotFound`, `PictureInvalid`, and `Busy` when too many others are being read.
    """
    async with state.database.snapshot() as session:
        if await session.get(Product, product_id) is None:
            raise ProductNotFound
    queue = state.batches(_read, size=1, limit=DRAWINGS_WAITING)
    photo = await queue.ask((product_id, data, media_type), (data, media_type))
    now, tag = state.clock(), digest(photo.jpeg)
    async with transaction(state, now) as work:
        first = await work.session.exec(
            state.database.insert_unless_there(Picture, ["product_id"])
            .values(product_id=product_id, jpeg=photo.jpeg, tag=tag, changed_at=now)
            .returning(col(Picture.product_id)),
        )
        if first.first() is None:
            await work.session.exec(
                update(Picture)
                .where(col(Picture.product_id) == product_id)
                .values(jpeg=photo.jpeg, tag=tag, changed_at=now),
            )
        work.record("product.changed", product_id, fields=["picture"])
    return PicturePublic(
        product_id=product_id,
        picture_url=picture_url(state, product_id),
        width=photo.width,
        height=photo.height,
        size_bytes=len(photo.jpeg),
        changed_at=now,
    )


async def _read(_state: State, uploads: Sequence[tuple[bytes, str]]) -> list[drawing.Photo]:
    (upload,) = uploads
    try:
        return [await asyncio.to_thread(drawing.read_photo, *upload)]
    except drawing.BadPicture as error:
        raise PictureInvalid(reason=str(error)) from error


async def drop_picture(state: State, product_id: str) -> None:
    """Show the product with a picture that is made up. Raises `ProductNotFound`."""
    async with transaction(state, state.clock()) as work:
        if await work.session.get(Product, product_id) is None:
            raise ProductNotFound
        found = await work.session.exec(
            delete(Picture).where(col(Picture.product_id) == product_id).returning(col(Picture.tag)),
        )
        if found.first() is not None:
            work.record("product.changed", product_id, fields=["picture"])


async def show_picture(state: State, product_id: str) -> Sketch:
    """What a product looks like, as JPEG. Raises `ProductNotFound`."""
    async with state.database.snapshot() as session:
        product = await session.get(Product, product_id)
        if product is None:
            raise ProductNotFound
        look = await look_of(session, product)
        return await sketch(state, session, look, look, _photo_alone)


async def look_of(session: AsyncSession, product: Product) -> Look:
    """A product's picture by its name: the one that was uploaded, or one that is made up."""
    tag = (await session.exec(select(Picture.tag).where(Picture.product_id == product.id))).first()
    return made_up(product.id, product.title) if tag is None else ("photo", product.id, tag)


def made_up(seed: str, title: str) -> Look:
    """A picture that is made up of a title."""
    return "made up", seed, title


async def sketch(
    state: State,
    session: AsyncSession,
    look: Look,
    seen: tuple[Hashable, ...],
    draw_with: Callable[[Callable[[], bytes]], bytes | None],
) -> Sketch:
    """A sketch that is drawn with a picture. The picture is read now, unless the drawing is kept."""
    if seen in state.drawings:
        kept = state.drawings[seen]
        return Sketch(seen, lambda: kept)
    kind, id_, name = look
    if kind == "photo":
        jpeg = (await session.exec(select(Picture.jpeg).where(Picture.product_id == id_))).one()
        return Sketch(seen, partial(draw_with, lambda: jpeg))
    return Sketch(seen, partial(draw_with, partial(drawing.stand_in, id_, name)))


def _photo_alone(photo: Callable[[], bytes]) -> bytes:
    return photo()


def picture_url(state: State, product_id: str) -> str:
    """Where a product's picture is."""
    return f"{state.settings.public_url.rstrip('/')}/v1/products/{product_id}/picture"
