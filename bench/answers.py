"""What the yardsticks have in common: answers that are ready, and a start like the service's own."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from app.schemas.groups import Change, ClaimAnswer, GroupPublic

ID = "019a0c5e7d0a7b3c8f21a4d5e6f70812"
NOON = "2026-11-11T12:00:00Z"
GROUP: dict[str, Any] = {
    "id": f"grp_{ID}",
    "sale_id": f"sal_{ID}",
    "product_id": f"prd_{ID}",
    "state": "filled",
    "size": 3,
    "held": 3,
    "paid": 0,
    "left": 0,
    "leader_name": "m***1",
    "friends_in": None,
    "opened_at": NOON,
    "deadline_at": NOON,
    "ended_at": None,
    "fail_reason": None,
    "covered": 0,
    "extra": 0,
    "extended_at": None,
    "merged_into": None,
    "members": [
        {"number": number, "name": f"m***{number}", "leader": number == 1, "paid": False, "you": False}
        for number in (1, 2, 3)
    ],
    "prices": [],
}
ORDER: dict[str, Any] = {
    "id": f"ord_{ID}",
    "sale_id": f"sal_{ID}",
    "group_id": f"grp_{ID}",
    "offer_id": f"off_{ID}",
    "bargain_id": None,
    "seat_number": 3,
    "quantity": 1,
    "unit_price": 4900,
    "settled_price": None,
    "on_unfilled": "refund",
    "min_quantity": None,
    "settled_quantity": None,
    "discount": 0,
    "amount": 4900,
    "currency": "CNY",
    "state": "held",
    "invite_code": None,
    "coupon_code": None,
    "hold_expires_at": NOON,
    "paid_at": None,
    "confirmed_at": None,
    "created_at": NOON,
}
GROUP_ANSWER = GroupPublic.model_validate(GROUP)
CHANGE = Change.model_validate({"id": 1, "type": "seat.held", "seat": 3, "at": NOON, "group": GROUP})
CLAIM_ANSWER = ClaimAnswer.model_validate({"group": GROUP, "order": ORDER})


@asynccontextmanager
async def frozen(_app: FastAPI) -> AsyncIterator[None]:
    """A lifespan that spares the garbage collector what was imported, as the service's own does."""
    gc.collect()
    gc.freeze()
    yield
