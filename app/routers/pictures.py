"""Pictures of products and invites. They are drawn when they are first asked for, and tell nobody who looks."""

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
from app.routers.limits import limit_guesses
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
SizeQuery = Annotated[int, Query(ge=100, le=1200, description="Pixels on each side 边长（像素）")]
LangQuery = Annotated[
    str | None, Query(pattern="^(zh|en)$", description="`zh` or `en`, before `Accept-Language` 语言")
]


def drawn_as(media_type: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a picture."""
    return {
        200: {"description": "The picture 图片", "content": {media_type: BINARY}, "headers": ETAG},
        304: {"description": "What you have is current 未变化", "headers": ETAG},
    }


TO_SVG: dict[int | str, dict[str, Any]] = {
    307: {"description": "To the same as SVG: no font of the server has the letters 服务器缺少所需字体，改用 SVG"}
}
INVITE_ERRORS = InviteNotFound, InviteExpired, InviteRevoked, RateLimited


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
    "/v1/invites/{code}/qr.svg",
    response_class=Response,
    responses=drawn_as(SVG) | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="QR code of an invite, as SVG 邀请二维码（SVG）",
)
async def show_code_as_svg(
    state: StateDep, code: InviteCode, size: SizeQuery = 300, if_none_match: IfNoneMatch = None
) -> Response:
    """Leads to the invite's short link. To look at it is no tap."""
    return await picture(state, await posters.sketch_code(state, code, size, svg=True), SVG, if_none_match)


@router.get(
    "/v1/invites/{code}/qr.png",
    response_class=Response,
    responses=drawn_as(PNG) | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="QR code of an invite, as PNG 邀请二维码（PNG）",
)
async def show_code_as_png(
    state: StateDep, code: InviteCode, size: SizeQuery = 300, if_none_match: IfNoneMatch = None
) -> Response:
    """As the SVG."""
    return await picture(state, await posters.sketch_code(state, code, size, svg=False), PNG, if_none_match)


async def _show(
    state: State, request: Request, code: str, form: Form, lang: str | None, if_none_match: str | None, *, svg: bool
) -> Response:
    tongue = lang or language(request.headers.get("accept-language"))
    sketch = await posters.sketch_poster(state, code, form, tongue, svg=svg)
    answer = await picture(state, sketch, SVG if svg else PNG, if_none_match, f"{form}.svg?lang={tongue}")
    answer.headers["vary"] = "accept-language"
    return answer


@router.get(
    "/v1/invites/{code}/poster.png",
    response_class=Response,
    responses=drawn_as(PNG) | TO_SVG | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="Poster of an invite, as PNG 邀请海报（PNG）",
)
async def show_poster_as_png(
    state: StateDep,
    request: Request,
    code: InviteCode,
    lang: LangQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A phone's screen to save and send: picture, price, how full the group is, until when, and QR code. It shows
    how things stand now, and what strangers may see. To look at it is no tap.
    """
    return await _show(state, request, code, Form.POSTER, lang, if_none_match, svg=False)


@router.get(
    "/v1/invites/{code}/poster.svg",
    response_class=Response,
    responses=drawn_as(SVG) | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="Poster of an invite, as SVG 邀请海报（SVG）",
)
async def show_poster_as_svg(
    state: StateDep,
    request: Request,
    code: InviteCode,
    lang: LangQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The same, with its text in a font of the reader's."""
    return await _show(state, request, code, Form.POSTER, lang, if_none_match, svg=True)


@router.get(
    "/v1/invites/{code}/preview.png",
    response_class=Response,
    responses=drawn_as(PNG) | TO_SVG | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="What a chat shows for an invite, as PNG 聊天预览图（PNG）",
)
async def show_preview_as_png(
    state: StateDep,
    request: Request,
    code: InviteCode,
    lang: LangQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """1200 × 630, as Open Graph has it."""
    return await _show(state, request, code, Form.PREVIEW, lang, if_none_match, svg=False)


@router.get(
    "/v1/invites/{code}/preview.svg",
    response_class=Response,
    responses=drawn_as(SVG) | problems(*INVITE_ERRORS),
    dependencies=[Depends(limit_guesses)],
    tags=["invites"],
    summary="What a chat shows for an invite, as SVG 聊天预览图（SVG）",
)
async def show_preview_as_svg(
    state: StateDep,
    request: Request,
    code: InviteCode,
    lang: LangQuery = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The same, with its text in a font of the reader's."""
    return await _show(state, request, code, Form.PREVIEW, lang, if_none_match, svg=True)
