from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, status
from fastapi.responses import Response

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, RequestKeyDep, StateDep, ViewerDep
from app.domain.bargains import BargainState
from app.domain.errors import (
    AlreadyHelped,
    BadRequest,
    BargainClosed,
    BargainNotFound,
    HelpLimit,
    NotYourBargain,
    OfferNotFound,
    SaleEnded,
    SaleNotFound,
    SaleNotOpen,
    SalePaused,
    SelfHelp,
    TokenExpired,
    TokenInvalid,
    WrongKind,
)
from app.routers.claims import CLAIM_ANSWER, CLAIM_ERRORS, GATE_ERRORS, claimed
from app.routers.examples import BARGAIN
from app.routers.limits import ClaimHeadersDep
from app.routers.problems import problems
from app.routers.shown import NOT_MODIFIED, IfNoneMatch, shown
from app.schemas.bargains import BargainCreate, BargainPublic, BargainSummary, CutAnswer
from app.schemas.fields import BargainId, Page, SaleId
from app.schemas.groups import ClaimAnswer
from app.services import bargains, claims, views

router = APIRouter(tags=["bargains"])
RUNNING: dict[int | str, dict[str, Any]] = {
    200: {"model": BargainPublic, "description": "You have one that runs 已有进行中的砍价"},
}


@router.post(
    "/v1/sales/{sale_id}/bargains",
    status_code=status.HTTP_201_CREATED,
    responses=RUNNING
    | problems(
        *(BadRequest, *MEMBER_ERRORS, *GATE_ERRORS, SaleNotFound, OfferNotFound),
        *(WrongKind, SaleNotOpen, SalePaused, SaleEnded),
    ),
    summary="Start a bargain 发起砍价",
)
async def start_bargain(
    state: StateDep,
    member_id: MemberDep,
    response: Response,
    sale_id: SaleId,
    body: Annotated[BargainCreate, Body(openapi_examples=BARGAIN)],
) -> BargainPublic:
    """From the offer's `list_price` down to its `price`, in as many cuts as the sale says, all of them drawn now:
    `seed_hash` binds us. You have one that runs of each offer: ask again and you get it, with 200.
    """
    bargain, new = await bargains.start(state, member_id, sale_id, body)
    if not new:
        response.status_code = status.HTTP_200_OK
    return bargain


@router.get("/v1/bargains", responses=problems(*MEMBER_ERRORS), summary="My bargains 我的砍价")
async def list_bargains(
    state: StateDep,
    member_id: MemberDep,
    sale_id: SaleId | None = None,
    bargain_state: Annotated[BargainState | None, Query(alias="state")] = None,
    after: BargainId | None = None,
    limit: LimitQuery = 20,
) -> Page[BargainSummary]:
    """Those you have started, newest first."""
    return await bargains.list_bargains(
        state, member_id, sale_id=sale_id, bargain_state=bargain_state, after=after, limit=limit
    )


@router.get(
    "/v1/bargains/{bargain_id}",
    response_model=BargainPublic,
    responses=NOT_MODIFIED | problems(TokenInvalid, TokenExpired, BargainNotFound),
    summary="Get a bargain 砍价详情",
    openapi_extra={"security": [{}]},  # besides the member's: a stranger may look, too
)
async def get_bargain(
    state: StateDep, viewer_id: ViewerDep, bargain_id: BargainId, if_none_match: IfNoneMatch = None
) -> Response:
    """Its price, and who has cut how much. Names are masked for strangers."""
    return shown(await views.show_bargain(state, bargain_id, viewer_id), if_none_match)


@router.post(
    "/v1/bargains/{bargain_id}/cuts",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *(BadRequest, *MEMBER_ERRORS, SelfHelp, BargainNotFound, SaleNotOpen, SalePaused, SaleEnded),
        *(BargainClosed, AlreadyHelped, HelpLimit),
    ),
    summary="Help: cut a friend's price 帮砍一刀",
)
async def cut_price(state: StateDep, member_id: MemberDep, bargain_id: BargainId) -> CutAnswer:
    """Once per bargain, and not your own. Asked again, `already_helped` tells what you have cut."""
    return await bargains.cut(state, member_id, bargain_id)


@router.post(
    "/v1/bargains/{bargain_id}/orders",
    status_code=status.HTTP_201_CREATED,
    response_model=ClaimAnswer,
    responses=CLAIM_ANSWER | problems(BargainNotFound, NotYourBargain, BargainClosed, *CLAIM_ERRORS),
    summary="Buy at the present price 按当前价购买",
)
async def buy_at_bargain(
    state: StateDep,
    member_id: MemberDep,
    request_key: RequestKeyDep,
    limits: ClaimHeadersDep,
    bargain_id: BargainId,
) -> Response:
    """At any time before `deadline_at`; nobody cuts any more. Pay before `order.hold_expires_at`, or the bargain
    goes on at the same price until its deadline.
    """
    return claimed(await claims.buy_bargain(state, member_id, bargain_id, request_key), limits)
