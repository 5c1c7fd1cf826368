"""What a claim sends and may be refused with, on whichever route it comes."""

from typing import Annotated, Any

from fastapi import Body, status
from fastapi.responses import Response

from app.deps import MEMBER_ERRORS
from app.domain.errors import (
    AlreadyInGroup,
    AmountTooLarge,
    BadRequest,
    Busy,
    ChoiceNotOffered,
    CouponEnded,
    CouponLimit,
    CouponMinSpend,
    CouponMismatch,
    CouponNotFound,
    CouponNotOpen,
    CouponUsedUp,
    DatabaseUnavailable,
    DealerUnavailable,
    GroupClosed,
    GroupFull,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InviteExpired,
    InviteMismatch,
    InviteNotFound,
    InviteRevoked,
    InviteUsedUp,
    MemberLimit,
    MembersOnly,
    NotInSegment,
    OfferNotFound,
    OfferNotInGroup,
    OrderLimit,
    RateLimited,
    SaleEnded,
    SaleIsDrawn,
    SaleIsPlan,
    SaleNotOpen,
    SalePaused,
    SoldOut,
    TicketExpired,
    TicketInvalid,
    TicketMismatch,
    TicketMissing,
    TicketUsed,
    WrongKind,
)
from app.routers.examples import CLAIM, PURCHASE
from app.schemas.groups import ClaimCreate

ClaimBody = Annotated[ClaimCreate, Body(openapi_examples=CLAIM)]
PurchaseBody = Annotated[ClaimCreate, Body(openapi_examples=PURCHASE)]
TICKET_ERRORS = TicketMissing, TicketInvalid, TicketMismatch, TicketExpired, TicketUsed
GATE_ERRORS = MembersOnly, NotInSegment
CLAIM_ERRORS = (
    BadRequest,
    IdempotencyKeyMissing,
    *MEMBER_ERRORS,
    *GATE_ERRORS,
    OfferNotFound,
    InviteNotFound,
    CouponNotFound,
    SaleNotOpen,
    SalePaused,
    SaleIsDrawn,
    SaleIsPlan,
    SoldOut,
    GroupFull,
    GroupClosed,
    AlreadyInGroup,
    MemberLimit,
    OfferNotInGroup,
    WrongKind,
    InviteMismatch,
    CouponNotOpen,
    CouponMismatch,
    CouponMinSpend,
    CouponLimit,
    CouponUsedUp,
    SaleEnded,
    InviteExpired,
    InviteRevoked,
    InviteUsedUp,
    CouponEnded,
    IdempotencyKeyReused,
    OrderLimit,
    AmountTooLarge,
    ChoiceNotOffered,
    RateLimited,
    DatabaseUnavailable,
    DealerUnavailable,
    Busy,
)


CLAIM_ANSWER: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            name: {"schema": {"type": "integer"}, "description": text}
            for name, text in {
                "RateLimit-Limit": "Claims one member may make in a row",
                "RateLimit-Remaining": "Claims this member may make now",
                "RateLimit-Reset": "Seconds until there are as many as before",
            }.items()
        },
    },
}


def claimed(answer: bytes, headers: dict[str, str]) -> Response:
    """The answer to a claim, as it was stored with its order."""
    return Response(answer, status.HTTP_201_CREATED, headers, "application/json")
