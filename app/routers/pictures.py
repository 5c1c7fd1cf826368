"""Pictures of products and invites. They are drawn when they are first asked for, and tell nobody who looks."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, status
from fastapi.responses import RedirectResponse, Response

from app.deps import OPERATOR_ERRORS, StateDep, require_scope
from app.domain.errors import (
    InviteExpired,
    InviteNotFound,
    InviteRevoked,
    PictureInvalid,
    ProductNotFound,
    RateLimited,
)
from app.domain.operators import Scope
from app.gateways.drawing import ACCEPTED
from app.routers.limits import address_in, limit_guesses
from app.routers.problems import language, problems
from app.routers.shown import ETAG, IfNoneMatch, has_tag
from app.schemas.fields import InviteCode, ProductId
from app.schemas.pictures import PicturePublic
from app.services import pictures, posters
from app.services.pictures import Sketch
from app.services.posters import Form
from app.state import State

router = APIRouter()
operator_router = APIRouter(
    prefix="/v1/ops/products",
    tags=["operators: catalog"],
    dependencies=[Depends(require_scope(Scope.CATALOG))],
    responses=problems(*OPERATOR_ERRORS),
)
JPEG, PNG, SVG = "image/jpeg", "image/png", "image/svg+xml"
SECONDS_KEPT = 30
"""How long a browser or a chat shows a picture without asking whether it has changed."""
NOTHING_FROM_ELSEWHERE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
BINARY = {"schema": {"type": "string", "format": "binary"}}
SizeQuery = Annotated[int, Query(ge=100, le=1200, multiple_of=50, description="Pixels on each side 边长（像素）")]
LangQuery = Annotated[
    str | None, Query(pattern="^(zh|en)$", description="`zh` or `en`, before `Accept-Language` 语言")
]


class Ending(StrEnum):
    """What a picture of an invite is made as."""

    PNG = "png"
    SVG = "svg"


MEDIA_TYPES = {Ending.PNG: PNG, Ending.SVG: SVG}


def drawn_as(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a picture."""
    return {
        200: {"description": "The picture 图片", "content": dict.fromkeys(media_types, BINARY), "headers": ETAG},
        304: {"description": "What you have is current 未变化", "headers": ETAG},
    }


TO_SVG: dict[int | str, dict[str, Any]] = {
    307: {"description": "To the same as SVG: no font of the server has the letters 服务器缺少所需字体，改用 SVG"}
}
INVITE_ERRORS = InviteNotFound, InviteExpired, InviteRevoked, RateLimited


async def drawn_for(
    state: State, request: Request, sketch: Sketch, media_type: str, if_none_match: str | None, instead: str = ""
) -> Response:
    """The same for anybody who asks, and not too many for one address. Raises `RateLimited`."""
    if sketch.seen not in state.drawings and not has_tag(sketch.etag, if_none_match):
        state.address_drawings.count(address_in(request.scope))
    return await picture(state, sketch, media_type, if_none_match, instead)


async def picture(
    state: State, sketch: Sketch, media_type: str, if_none_match: str | None, instead: str = ""
) -> Response:
    """A sketch, drawn unless the reader has it; `instead` is where to look when it cannot be drawn here."""
    answer: Response
    if has_tag(sketch.etag, if_none_match):
        answer = Response(status_code=status.HTTP_304_NOT_MODIFIED)
    else:
        drawn = await pictures.draw(state, sketch)
        if drawn is None:
            return RedirectResponse(instead, status.HTTP_307_TEMPORARY_REDIRECT, {"cache-control": "no-store"})
        answer = Response(drawn, media_type=media_type)
        answer.headers["x-content-type-options"] = "nosniff"
        if media_type == SVG:
            answer.headers["content-security-policy"] = NOTHING_FROM_ELSEWHERE
    answer.headers.update({"etag": sketch.etag, "cache-control": f"public, max-age={SECONDS_KEPT}"})
    return answer


@operator_router.put(
    "/{product_id}/picture",
    responses=problems(ProductNotFound, PictureInvalid),
    summary="Upload a picture 上传商品图片",
    openapi_extra={
        "requestBody": {
            "description": "The file itself, at most 1 MiB 图片文件，不超过 1 MiB",
            "required": True,
            "content": dict.fromkeys(ACCEPTED, BINARY),
        },
    },
)
async def put_picture(state: StateDep, request: Request, product_id: ProductId) -> PicturePublic:
    """PNG, JPEG or WebP. It is turned upright, made at most 1200 pixels wide and high, and written anew as JPEG,
    without anything else that was in the file.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return await pictures.put_picture(state, product_id, await request.body(), media_type)


@operator_router.delete(
    "/{product_id}/picture",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(ProductNotFound),
    summary="Remove a picture 删除商品图片",
)
async def drop_picture(state: StateDep, product_id: ProductId) -> None:
    """The product is then shown with a picture made of its first characters."""
    await pictures.drop_picture(state, product_id)


@router.get(
    "/v1/products/{product_id}/picture",
    response_class=Response,
    responses=drawn_as(JPEG) | problems(ProductNotFound),
    tags=["sales"],
    summary="What a product looks like 商品图片",
)
async def show_picture(state: StateDep, product_id: ProductId, if_none_match: IfNoneMatch = None) -> Response:
    """The picture that was uploaded, or one made of the product's first characters."""
    sketch = await pictures.show_picture(state, product_id)
    return await picture(state, sketch, JPEG, if_none_match)


@router.get(
    "/v1/invites/{code}/qr.{ending}",
    response_class=Response,
    responses=drawn_as(PNG, SVG) | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="QR code of an invite 邀请二维码",
)
async def show_code(
    state: StateDep,
    request: Request,
    code: InviteCode,
    ending: Ending,
    size: SizeQuery = 300,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Leads to the invite's short link. To look at it is no tap."""
    sketch = await posters.sketch_code(state, code, size, svg=ending == Ending.SVG)
    return await drawn_for(state, request, sketch, MEDIA_TYPES[ending], if_none_match)


@router.get(
    "/v1/invites/{code}/{form}.{ending}",
    response_class=Response,
    responses=drawn_as(PNG, SVG) | TO_SVG | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="Poster and chat preview of an invite 邀请海报与聊天预览图",
)
async def show_poster(
    state: StateDep,
    request: Request,
    code: InviteCode,
    form: Form,
    ending: Ending,
    lang: LangQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """`poster`: a phone's screen to save and send, with picture, price, how full the group is, until when, and QR
    code. `preview`: 1200 × 630, as chats show it beside a link.

    They show how things stand now, and what strangers may see; to look is no tap. The text of an SVG is in the
    reader's font.
    """
    tongue = lang or language(request.headers.get("accept-language"))
    sketch = await posters.sketch_poster(state, code, form, tongue, svg=ending == Ending.SVG)
    instead = f"{form}.svg?lang={tongue}"
    answer = await drawn_for(state, request, sketch, MEDIA_TYPES[ending], if_none_match, instead)
    answer.headers["vary"] = "accept-language"
    return answer
