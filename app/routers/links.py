from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response, status

from app.deps import MEMBER_ERRORS, MemberDep, StateDep
from app.domain.errors import RateLimited
from app.routers.limits import limit_link_codes
from app.routers.pages import FORM, PageRoute, show_page
from app.routers.problems import problems
from app.schemas.landings import LoginForm
from app.schemas.links import LinkCodePublic
from app.schemas.sessions import SessionCreate
from app.services import links, sessions

Token = Annotated[str, Path(pattern="^[0-9A-Za-z_-]{32}$")]
router = APIRouter(prefix="/v1/members/me/link-codes", tags=["sessions"])
page_router = APIRouter(prefix="/link/{token}", route_class=PageRoute)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*MEMBER_ERRORS, RateLimited),
    dependencies=[Depends(limit_link_codes)],
    summary="Say in a chat who I am 获取绑定码",
)
async def create_link_code(state: StateDep, member_id: MemberDep) -> LinkCodePublic:
    """Say `绑定 CODE` or `link CODE` to the robot, best in private: whoever says it first is you from then on. Good
    for ten minutes.
    """
    return await links.create_code(state, member_id)


async def find_link(state: StateDep, token: Token) -> str:
    """The token of a link that was given to somebody in a chat. Raises `LinkNotFound`."""
    await links.check_token(state, token)
    return token


LinkDep = Annotated[str, Depends(find_link)]


@page_router.get("", include_in_schema=False)
async def show_link_page(state: StateDep, request: Request, _token: LinkDep) -> Response:
    """Where who was given a link in a chat logs in. Opening it uses nothing up: chats look at links, too."""
    return show_page(request, "link.html", {"has_login": state.settings.has_sandbox, "name": None})


@page_router.post("", **FORM)
async def log_in_by_link(
    state: StateDep, request: Request, token: LinkDep, form: Annotated[LoginForm, Form()]
) -> Response:
    """Log in under any name, where that is allowed, and be whom the link was given to."""
    body = SessionCreate(provider="dev", code=form.account, name=form.name)
    session = await sessions.create_session(state, body, request.headers.get("user-agent", ""))
    await links.use_token(state, session.member.id, token)
    return show_page(request, "link.html", {"has_login": True, "name": session.member.name})
