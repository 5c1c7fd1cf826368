"""How often a member and an address may claim."""

from typing import Annotated

from fastapi import Depends, Request

from app.deps import MemberDep, StateDep
from app.domain.errors import RateLimited
from app.limiting import Allowance
from app.state import State


def count_claim(state: State, member_id: str, address: str) -> dict[str, str]:
    """Count a claim of a member from an address; returns the rate-limit headers of its answer.

    The headers are those of draft-ietf-httpapi-ratelimit-headers-06. Raises `RateLimited`.
    """
    own = state.member_claims.ask(member_id)
    for allowance in (own, state.address_claims.ask(address)):
        if allowance is not None and allowance.retry_seconds:
            raise RateLimited(retry_after_seconds=allowance.retry_seconds)
    return {} if own is None else _headers(own)


def _headers(allowance: Allowance) -> dict[str, str]:
    return {
        "ratelimit-limit": str(allowance.limit),
        "ratelimit-remaining": str(allowance.remaining),
        "ratelimit-reset": str(allowance.reset_seconds),
    }


async def get_claim_headers(state: StateDep, member_id: MemberDep, request: Request) -> dict[str, str]:
    """Count this request as a claim."""
    return count_claim(state, member_id, request.client.host if request.client else "")


ClaimHeadersDep = Annotated[dict[str, str], Depends(get_claim_headers)]
