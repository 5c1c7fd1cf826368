"""Views as answers, with an entity tag: who has seen the newest is told so instead of sent it again."""

from typing import Annotated, Any

from fastapi import Header, status
from fastapi.responses import Response

from app.services.views import View

IfNoneMatch = Annotated[str | None, Header(description="An `ETag` you have; 304 if it is current")]
ETAG = {"ETag": {"schema": {"type": "string"}, "description": "Send it back as `If-None-Match`"}}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    200: {"headers": ETAG},
    304: {"description": "What you have is current 未变化", "headers": ETAG},
}


def shown(view: View, if_none_match: str | None) -> Response:
    """The view, or 304."""
    known = is_known(view, if_none_match)
    answer = Response(status_code=status.HTTP_304_NOT_MODIFIED) if known else Response(view.body)
    if not known:
        answer.headers["content-type"] = "application/json"
    answer.raw_headers.extend(view_headers(view))
    return answer


def view_headers(view: View) -> list[tuple[bytes, bytes]]:
    """A view's headers: keep it, but ask each time whether it is still current."""
    return [
        (b"etag", view.etag.encode()),
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"authorization"),
    ]


def is_known(view: View, if_none_match: str | None) -> bool:
    """Whether the reader has this very view (RFC 9110, 13.1.2: weak comparison)."""
    return has_tag(view.etag, if_none_match)


def has_tag(etag: str, if_none_match: str | None) -> bool:
    """The same, of an entity tag."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
