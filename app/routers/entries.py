from typing import Annotated

from fastapi import APIRouter, Body, Response, status

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, StateDep
from app.domain.errors import (
    AlreadyInGroup,
    AlreadyInLine,
    AmountTooLarge,
    BadRequest,
    DrawClosed,
    DrawNotFound,
    EntryNotFound,
    EntryNotWaiting,
    GroupClosed,
    GroupNotFound,
    GroupNotFull,
    MemberLimit,
    NotSoldOut,
    OfferNotFound,
    OfferNotInGroup,
    OrderLimit,
    RateLimited,
    SaleEnded,
    SaleIsPlan,
    SaleNotFound,
    SaleNotOpen,
    SalePaused,
    WrongKind,
)
from app.routers.claims import GATE_ERRORS
from app.routers.examples import ENTRY
from app.routers.limits import ClaimHeadersDep
from app.routers.problems import problems
from app.schemas.entries import DrawPublic, EntryCreate, EntryPublic
from app.schemas.fields import EntryId, Page, SaleId
from app.services import draws, entries

router = APIRouter(tags=["lines"])


@router.post(
    "/v1/sales/{sale_id}/entries",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        BadRequest,
        *MEMBER_ERRORS,
        *GATE_ERRORS,
        SaleNotFound,
        OfferNotFound,
        GroupNotFound,
        SaleNotOpen,
        SalePaused,
        SaleEnded,
        DrawClosed,
        NotSoldOut,
        SaleIsPlan,
        GroupNotFull,
        GroupClosed,
        OfferNotInGroup,
        AlreadyInGroup,
        AlreadyInLine,
        WrongKind,
        MemberLimit,
        OrderLimit,
        AmountTooLarge,
        RateLimited,
    ),
    summary="Enter the draw, or wait 登记抽签或排队候补",
)
async def enter(
    state: StateDep,
    member_id: MemberDep,
    _limits: ClaimHeadersDep,
    sale_id: SaleId,
    body: Annotated[EntryCreate, Body(openapi_examples=ENTRY)],
) -> EntryPublic:
    """In a sale that is drawn: enter its draw. In others: wait for an offer that is sold out, or for a group that
    is full. One entry for each member and line: asking again shows it. Whoever's turn comes gets an order, and
    pays it in time; it lapses otherwise, and the next one gets it.
    """
    return await entries.enter(state, member_id, sale_id, body)


@router.get(
    "/v1/sales/{sale_id}/entries", responses=problems(*MEMBER_ERRORS, SaleNotFound), summary="My entries 我的登记"
)
async def list_entries(
    state: StateDep, member_id: MemberDep, sale_id: SaleId, after: EntryId | None = None, limit: LimitQuery = 20
) -> Page[EntryPublic]:
    """In one sale, newest first."""
    return await entries.list_entries(state, member_id, sale_id, after, limit)


@router.get(
    "/v1/entries/{entry_id}",
    responses=problems(*MEMBER_ERRORS, EntryNotFound),
    summary="One of my entries 登记详情",
)
async def get_entry(state: StateDep, member_id: MemberDep, entry_id: EntryId) -> EntryPublic:
    """Its state, and how many come before it."""
    return await entries.get_entry(state, entry_id, member_id)


@router.post(
    "/v1/entries/{entry_id}/leave",
    responses=problems(*MEMBER_ERRORS, EntryNotFound, EntryNotWaiting),
    summary="Leave the line 退出排队",
)
async def leave(state: StateDep, member_id: MemberDep, entry_id: EntryId) -> EntryPublic:
    """While it waits. Who was offered an order cancels that instead."""
    return await entries.leave(state, entry_id, member_id)


@router.get(
    "/v1/sales/{sale_id}/draw",
    responses=problems(SaleNotFound, DrawNotFound),
    summary="The draw and its proof 抽签证明",
)
async def get_draw(state: StateDep, sale_id: SaleId, response: Response) -> DrawPublic:
    """To be kept and checked with docs/verify_draw.py. Before the draw: what was committed to."""
    response.headers["content-disposition"] = f'attachment; filename="{sale_id}-draw.json"'
    return await draws.get_draw(state, sale_id)
