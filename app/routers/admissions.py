"""The entrance of a flash sale: get in line, wait for your turn, get a ticket."""

from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response

from app.deps import MEMBER_ERRORS, MemberDep, StateDep
from app.domain.errors import (
    AddressLimit,
    BadRequest,
    DealerUnavailable,
    DeviceLimit,
    DeviceMissing,
    NotInLine,
    ProofInvalid,
    ProofMissing,
    ProofNotWanted,
    ProofUsed,
    RateLimited,
    SaleIsDrawn,
    SaleNotFound,
    TooManyConnections,
    WrongKind,
)
from app.routers.claims import GATE_ERRORS
from app.routers.examples import ADMISSION
from app.routers.limits import ClaimHeadersDep, address_in
from app.routers.live import LINE, MAX_WAIT_SECONDS, noticed
from app.routers.problems import problems
from app.schemas.admissions import AdmissionCreate, AdmissionPublic, ChallengePublic
from app.schemas.fields import SaleId
from app.services import admissions
from app.services.queues import Waiter

router = APIRouter(prefix="/v1/sales/{sale_id}/admission", tags=["sales"])
ADVICE: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Retry-After": {
                "schema": {"type": "integer"},
                "description": "`ask_again_seconds`, where there is something to wait for",
            }
        }
    }
}


@router.post(
    "",
    response_model=AdmissionPublic,
    responses=ADVICE
    | problems(
        *(BadRequest, *MEMBER_ERRORS, SaleNotFound, SaleIsDrawn, WrongKind, RateLimited, DealerUnavailable),
        *(DeviceMissing, DeviceLimit, AddressLimit, ProofMissing, ProofInvalid, ProofUsed),
        *GATE_ERRORS,
    ),
    summary="Get in line for a flash sale 排队入场",
)
async def get_in_line(
    request: Request,
    state: StateDep,
    member_id: MemberDep,
    limits: ClaimHeadersDep,
    sale_id: SaleId,
    body: Annotated[AdmissionCreate, Body(openapi_examples=ADMISSION)],
) -> Response:
    """Also before it opens. You keep your place, however often you call. Whoever has had their turn is `admitted`
    and gets a ticket, one at a time: a new one when the last is used or has expired.
    """
    address = address_in(request.scope)
    return _answer(await admissions.enter(state, member_id, sale_id, body, address), limits)


@router.get(
    "",
    response_model=AdmissionPublic,
    responses=ADVICE
    | problems(
        *MEMBER_ERRORS, SaleNotFound, NotInLine, SaleIsDrawn, WrongKind, TooManyConnections, DealerUnavailable
    ),
    dependencies=LINE,
    summary="Wait for your turn, by long poll 等待入场（长轮询）",
)
async def get_admission(
    request: Request,
    state: StateDep,
    member_id: MemberDep,
    sale_id: SaleId,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for your turn")] = 0,
) -> Response:
    """Answers when your turn has come, when nothing is left, when the sale is over, or after `wait` seconds with
    the position you have then. `not_in_line` after an accident of ours: get in line again.
    """
    waiter = Waiter()
    with noticed(request.receive, waiter) if wait else nullcontext():
        return _answer(await admissions.look(state, member_id, sale_id, waiter, wait), {})


@router.get(
    "/challenge",
    responses=problems(*MEMBER_ERRORS, SaleNotFound, ProofNotWanted, SaleIsDrawn, WrongKind, RateLimited),
    summary="A challenge to prove work with 获取工作量证明题目",
)
async def get_challenge(
    state: StateDep, member_id: MemberDep, _limits: ClaimHeadersDep, sale_id: SaleId
) -> ChallengePublic:
    """For an ALTCHA widget; send its solution as `proof` within five minutes. Only where
    `admission.proof_of_work` is set.
    """
    return await admissions.challenge(state, member_id, sale_id)


def admission_headers(admission: AdmissionPublic) -> dict[str, str]:
    """The headers of an answer, besides its type."""
    advice = {} if admission.ask_again_seconds is None else {"retry-after": str(admission.ask_again_seconds)}
    return {"cache-control": "no-store"} | advice


def _answer(admission: AdmissionPublic, headers: dict[str, str]) -> Response:
    headers = headers | admission_headers(admission)
    return Response(admission.model_dump_json(), headers=headers, media_type="application/json")
