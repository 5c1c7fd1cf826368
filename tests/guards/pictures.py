"""Guards of pictures: what may be uploaded, whose picture it is, and who may look at an invite's."""

from io import BytesIO

import pytest
from PIL import Image
from sqlmodel import col, select

from app.domain.errors import InviteExpired, PictureInvalid, ProductNotFound
from app.models import Picture, Product
from app.services import pictures, posters
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

PICTURES, POSTERS = "app.services.pictures", "app.services.posters"
NOTHING = f"prd_{'0' * 32}"


def file(width: int = 50) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (width, 50), "lime").save(stream, "PNG")
    return stream.getvalue()


async def products(world: World) -> list[str]:
    """Two products there are."""
    async with world.database.snapshot() as session:
        return list((await session.exec(select(Product.id).order_by(col(Product.id)).limit(2))).all())


@notices(
    *cuts(f"{PICTURES}.put_picture", "await session.get(Product, product_id) is None"),
    *cuts(f"{PICTURES}.drop_picture", "await work.session.get(Product, product_id) is None"),
)
async def a_picture_is_of_a_product(world: World) -> None:
    with pytest.raises(ProductNotFound):
        await pictures.put_picture(world.state, NOTHING, file(), "image/png")
    with pytest.raises(ProductNotFound):
        await pictures.drop_picture(world.state, NOTHING)


@notices(
    Cut(f"{PICTURES}.put_picture", "col(Picture.product_id) == product_id", "True"),
    Cut(f"{PICTURES}.drop_picture", "col(Picture.product_id) == product_id", "True"),
)
async def a_picture_changes_alone(world: World) -> None:
    own, other = await products(world)
    for product_id in (own, other):
        await pictures.put_picture(world.state, product_id, file(), "image/png")
    before = (await world.row(Picture, other)).tag
    await pictures.put_picture(world.state, own, file(60), "image/png")
    assert (await world.row(Picture, other)).tag == before != (await world.row(Picture, own)).tag
    await pictures.drop_picture(world.state, own)
    assert await world.count("pictures WHERE product_id = :id", id=own) == 0
    assert (await world.row(Picture, other)).tag == before


@notices(
    Cut(
        f"{PICTURES}._read",
        "asyncio.to_thread(drawing.read_photo, *upload)",
        "asyncio.sleep(0, drawing.Photo(*upload[:1], 1, 1))",
    ),
)
async def nothing_is_kept_as_it_was_uploaded(world: World) -> None:
    (product_id, _) = await products(world)
    with pytest.raises(PictureInvalid):
        await pictures.put_picture(world.state, product_id, b"<script>", "image/png")


@notices(
    Cut(
        f"{POSTERS}._find",
        "check_usable(expires_at=invite.expires_at, revoked_at=invite.revoked_at, used_up_at=None, now=now)",
        "None",
    )
)
async def an_invite_that_has_expired_is_not_drawn(world: World) -> None:
    code = (await world.me.post("/v1/invites", {"sale_id": world.sale.id})).json()["code"]
    world.service.clock.advance(31 * 86_400)
    with pytest.raises(InviteExpired):
        await posters.sketch_code(world.state, code, 300, svg=True)


@notices(Cut(f"{PICTURES}._draw", "len(state.drawings) > DRAWINGS_KEPT", "False"))
async def only_so_many_drawings_are_kept(world: World) -> None:
    for number in range(pictures.DRAWINGS_KEPT + 1):
        await pictures.draw(world.state, pictures.Sketch((number,), bytes))
    kept = len(world.state.drawings)
    world.state.drawings.clear()
    assert kept == pictures.DRAWINGS_KEPT
