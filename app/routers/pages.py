"""The pages behind an invite, for people and for what shows a link in a chat. Everything works by plain forms."""

import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from babel.dates import format_timedelta
from babel.numbers import format_currency, get_currency_precision
from fastapi import APIRouter, Depends, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.templating import Jinja2Templates

from app.deps import StateDep, get_state
from app.domain.errors import (
    BadRequest,
    BodyTooLarge,
    CommunityNotFound,
    CrossSite,
    InternalError,
    InvalidRequest,
    InviteNotFound,
    KaituanError,
    TokenInvalid,
    UnavailableError,
)
from app.domain.readers import HTML, Reader, reader_of
from app.models import new_id
from app.routers.limits import address_in, count_claim
from app.routers.problems import BODY_LIMIT_BYTES, language, refusal_of, status_of
from app.schemas.fields import GroupId, InviteCode, OrderId, SaleId
from app.schemas.groups import ClaimAnswer, ClaimCreate
from app.schemas.invites import InviteCreate, InviteLanding
from app.schemas.landings import EnrolForm, JoinForm, LoginForm, LogoutForm, PayForm, ShareForm
from app.schemas.memberships import JoinCreate
from app.schemas.sessions import SessionCreate
from app.services import claims, invites, landings, memberships, payments, sessions
from app.services.sessions import read_access_token
from app.services.visitors import VISITOR_DAYS, issue_visitor, read_visitor
from app.state import State

WEB = Path(__file__).parents[1] / "web"
templates = Jinja2Templates(
    env=Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)
SESSION, VISITOR, DEVICE = "kaituan_session", "kaituan_visitor", "kaituan_device"
"""Cookies: who is logged in; who it was before that; and the browser, whoever uses it."""
VARY = "accept, user-agent, accept-language"
DAY, DEVICE_DAYS = 86_400, 400
COOKIE_PATH = "/i"
DEVICE_ID = re.compile("dev_[0-9a-f]{32}")
PROVIDER = "sandbox"
FACES = 10
"""How many seats of a group are drawn; of a larger one the rest is a number."""
PREVIEW_SIZE = 1200, 630
REFUSALS = (KaituanError, RequestValidationError, HTTPException, SQLAlchemyError, OSError)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose refusals are pages, too, for whoever asks for pages."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            state = await get_state(request)
            try:
                # Here and not in a dependency, which would not hear of what has become a page.
                with state.invite_misses.counting(address_in(request.scope), InviteNotFound):
                    return await handle(request)
            except REFUSALS as error:
                refusal = _refusal(error)
                if HTML not in request.headers.get("accept", "").lower() or isinstance(refusal, InternalError):
                    raise
                told = {"refusal": refusal, "is_unsure": isinstance(refusal, UnavailableError)}
                page = show_page(request, "refusal.html", told, status_of(type(refusal)))
                if isinstance(refusal, TokenInvalid):
                    page.delete_cookie(SESSION, path=COOKIE_PATH)
                return page

        return shown


def _refusal(error: Exception) -> KaituanError:
    if isinstance(error, RequestValidationError):
        return InvalidRequest()
    if isinstance(error, HTTPException):
        too_large = error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return BodyTooLarge(limit_bytes=BODY_LIMIT_BYTES) if too_large else BadRequest()
    return refusal_of(error)


async def check_site(state: StateDep, request: Request) -> None:
    """Let only our own pages send our forms. Raises `CrossSite`.

    Browsers say where a form comes from; what says nothing is no browser, and has nobody's cookies.
    """
    headers = request.headers
    if (site := headers.get("sec-fetch-site")) is not None:
        ours = site in {"same-origin", "none"}
    elif (origin := headers.get("origin")) is not None:
        host, public = headers.get("host"), urlsplit(state.settings.public_url)
        ours = origin in {f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}"}
    else:
        ours = True
    if not ours:
        raise CrossSite


async def look_at_invite(state: StateDep, request: Request, code: InviteCode) -> InviteLanding:
    """The invite whose page one is on. Raises what opening it raises."""
    return await invites.open_invite(state, code, None, _member_in(state, request), is_tap=False, goes_on=True)


InviteDep = Annotated[InviteLanding, Depends(look_at_invite)]
FORM: dict[str, Any] = {"include_in_schema": False, "dependencies": [Depends(check_site)]}
router = APIRouter(prefix="/i/{code}", route_class=PageRoute)


@router.get("/groups/{group_id}", include_in_schema=False)
async def show_group_page(state: StateDep, request: Request, code: InviteCode, group_id: GroupId) -> Response:
    """The landing page of a group that one gets to from where the invite leads."""
    return await show_landing(state, request, code, group_id=group_id)


@router.get("/sales/{sale_id}", include_in_schema=False)
async def show_sale_page(state: StateDep, request: Request, code: InviteCode, sale_id: SaleId) -> Response:
    """The landing page of a sale that one gets to from where the invite leads."""
    return await show_landing(state, request, code, sale_id=sale_id)


@router.get("/orders/{order_id}", include_in_schema=False)
async def return_from_cashier(
    state: StateDep, request: Request, code: InviteCode, invite: InviteDep, order_id: OrderId
) -> Response:
    """Where the cashier leads back to: what was paid is asked for, and shown with the group."""
    member_id = _member_in(state, request)
    if member_id is None:
        return _to(f"/i/{code}#join")
    _, refusal = count_claim(state, member_id, address_in(request.scope))
    if refusal is not None:
        raise refusal
    group_id = await landings.settle_payments(state, member_id, order_id)
    return _to(f"/i/{code}" if group_id in {None, invite.group_id} else f"/i/{code}/groups/{group_id}")


async def show_landing(
    state: State, request: Request, code: str, *, sale_id: str | None = None, group_id: str | None = None
) -> Response:
    """The page for people, or the tags for a chat. Only people tap, and only when they come from elsewhere."""
    viewer_id = _member_in(state, request)
    visitor_token = _visitor_in(state, request) if viewer_id is None else None
    reader = reader_of(request.headers.get("accept"), request.headers.get("user-agent"))
    ahead = "sec-purpose" in request.headers  # a browser that only guesses
    is_tap = reader == Reader.PERSON and not ahead and not _comes_from_us(state, request)
    invite = await invites.open_invite(state, code, visitor_token, viewer_id, is_tap=is_tap, goes_on=True)
    landing = await landings.gather(state, invite, viewer_id, sale_id=sale_id, group_id=group_id)
    public_url = state.settings.public_url.rstrip("/")
    tongue = language(request.headers.get("accept-language"))
    told = {
        "landing": landing,
        "place": request.url.path.removeprefix(f"/i/{code}"),
        "has_login": state.settings.has_sandbox,
        "mini_program": state.settings.mini_program_url.replace("{code}", code),
        "picture": f"{public_url}/v1/invites/{code}/preview.png?lang={tongue}",
        "picture_size": PREVIEW_SIZE,
        "key": new_id("web"),
        "faces": FACES,
    }
    # The cashier that a form leads to is at the public address.
    name = "preview.html" if reader == Reader.PREVIEW else "landing.html"
    page = show_page(request, name, told, form_origin=public_url)
    if reader != Reader.PREVIEW and invite.visitor_token is not None:
        _keep(state, page, VISITOR, invite.visitor_token, VISITOR_DAYS * DAY)
    return page


@router.post("/login", **FORM)
async def log_in(
    state: StateDep, request: Request, code: InviteCode, _invite: InviteDep, form: Annotated[LoginForm, Form()]
) -> Response:
    """Log in under any name, where that is allowed. What was tapped in this browser was tapped by this member; the
    next one to log in here is another visitor, with the same device.
    """
    known = request.cookies.get(DEVICE, "")
    device = known if DEVICE_ID.fullmatch(known) else new_id("dev")
    body = SessionCreate(
        provider="dev", code=form.account, name=form.name, visitor_token=_visitor_in(state, request), device=device
    )
    session = await sessions.create_session(state, body, request.headers.get("user-agent", ""))
    answer = _to(f"/i/{code}{form.place}#join")
    _keep(state, answer, SESSION, session.access_token, session.expires_in_seconds)
    _keep(state, answer, VISITOR, issue_visitor(state)[1], VISITOR_DAYS * DAY)
    _keep(state, answer, DEVICE, device, DEVICE_DAYS * DAY)
    return answer


@router.post("/logout", **FORM)
async def log_out(code: InviteCode, _invite: InviteDep, form: Annotated[LogoutForm, Form()]) -> Response:
    """Forget who is logged in."""
    answer = _to(f"/i/{code}{form.place}")
    answer.delete_cookie(SESSION, path=COOKIE_PATH)
    return answer


@router.post("/join", **FORM)
async def join(
    state: StateDep, request: Request, code: InviteCode, invite: InviteDep, form: Annotated[JoinForm, Form()]
) -> Response:
    """Take a seat, in a group or a new one, and go to the cashier. Sent twice, it is one seat: the key is that of
    the page it was sent from.
    """
    member_id = _member_in(state, request)
    if member_id is None:
        return _to(f"/i/{code}{form.place}#join")
    _, refusal = count_claim(state, member_id, address_in(request.scope))
    if refusal is not None:
        raise refusal
    # An invite to another group than this one does not go with it; who brought whom is known from the tap.
    with_code = code if invite.group_id in {None, form.group_id} else None
    body = ClaimCreate(offer_id=form.offer_id, quantity=form.quantity, invite_code=with_code)
    if form.group_id is not None:
        answer = await claims.join(state, member_id, form.group_id, body, form.key)
    else:
        answer = await claims.open_group(state, member_id, form.sale_id or "", body, form.key)
    order_id = ClaimAnswer.model_validate_json(answer).order.id
    try:
        return await _to_cashier(state, member_id, code, order_id, form.key)
    except KaituanError:  # the seat is taken all the same: the page says so, and has a button to pay
        return _to(f"/i/{code}/orders/{order_id}")


@router.post("/enrol", **FORM)
async def enrol(
    state: StateDep, request: Request, code: InviteCode, invite: InviteDep, form: Annotated[EnrolForm, Form()]
) -> Response:
    """Join the community that the invite is to, or ask to; in a paid one, go to the cashier."""
    member_id = _member_in(state, request)
    if member_id is None:
        return _to(f"/i/{code}#join")
    if invite.community_id is None:
        raise CommunityNotFound
    _, refusal = count_claim(state, member_id, address_in(request.scope))
    if refusal is not None:
        raise refusal
    body = JoinCreate(invite_code=code, application=form.application)
    answer = await memberships.join_community(state, member_id, invite.community_id, body, form.key)
    if answer.order is None:
        return _to(f"/i/{code}#join")
    return await _to_cashier(state, member_id, code, answer.order.id, form.key)


@router.post("/pay", **FORM)
async def pay_order(
    state: StateDep, request: Request, code: InviteCode, _invite: InviteDep, form: Annotated[PayForm, Form()]
) -> Response:
    """Go to the cashier, perhaps again."""
    member_id = _member_in(state, request)
    if member_id is None:
        return _to(f"/i/{code}#join")
    return await _to_cashier(state, member_id, code, form.order_id, form.key)


@router.post("/share", **FORM)
async def make_own_link(
    state: StateDep, request: Request, code: InviteCode, _invite: InviteDep, form: Annotated[ShareForm, Form()]
) -> Response:
    """Make a link of the member's own to a group: its page has it to copy."""
    member_id = _member_in(state, request)
    if member_id is None:
        return _to(f"/i/{code}#join")
    own = await invites.create_invite(state, member_id, InviteCreate(group_id=form.group_id))
    return _to(f"/i/{own.code}")


async def _to_cashier(state: State, member_id: str, code: str, order_id: str, key: str) -> Response:
    payment = await payments.create_payment(state, member_id, order_id, PROVIDER, key)
    return _to(f"{payment.pay_url}?back=/i/{code}/orders/{order_id}")


def _to(address: str) -> Response:
    headers = {"cache-control": "no-store", "referrer-policy": "same-origin"}
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, headers)


def _member_in(state: State, request: Request) -> str | None:
    """Who is logged in; nobody, when that was too long ago."""
    token = request.cookies.get(SESSION)
    if token is not None:
        with suppress(KaituanError, ValueError):
            return read_access_token(state, token)
    return None


def _visitor_in(state: State, request: Request) -> str | None:
    """The visitor's token, if it is good."""
    token = request.cookies.get(VISITOR)
    if token is not None:
        with suppress(KaituanError, ValueError):
            read_visitor(state, token)
            return token
    return None


def _comes_from_us(state: State, request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("referer", "").startswith(f"{state.settings.public_url.rstrip('/')}/")


def _keep(state: State, answer: Response, name: str, value: str, seconds: int) -> None:
    secure = state.settings.public_url.startswith("https://")
    answer.set_cookie(name, value, seconds, path=COOKIE_PATH, secure=secure, httponly=True, samesite="lax")


def show_page(
    request: Request, name: str, told: dict[str, Any], status: int = HTTPStatus.OK, *, form_origin: str = ""
) -> HTMLResponse:
    """A page of ours, in the reader's language. It loads nothing that is not ours, and nobody frames it."""
    zh = language(request.headers.get("accept-language")) == "zh"
    forms = f"'self' {form_origin}".strip()
    return templates.TemplateResponse(
        request,
        name,
        told | _words(zh=zh),
        status,
        headers={
            "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
            f" connect-src 'self'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'",
            "content-language": "zh-CN" if zh else "en",
            "cache-control": "no-store",
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
            "vary": VARY,
        },
    )


def _words(*, zh: bool) -> dict[str, Any]:
    """How templates say things: `t` for a text in both languages, amounts, and how long until a moment."""
    locale = "zh_CN" if zh else "en"

    def money(amount: int, currency: str) -> str:
        digits = get_currency_precision(currency)
        return format_currency(Decimal(amount).scaleb(-digits), currency, locale=locale)

    def until(moment: datetime, now: datetime) -> str:
        return str(format_timedelta(max(moment - now, timedelta()), threshold=2, locale=locale))

    return {"zh": zh, "t": lambda chinese, english: chinese if zh else english, "money": money, "until": until}
