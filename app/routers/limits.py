"""How often a member and an address may claim."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from app.deps import MemberDep, StateDep
from app.domain.errors import InviteNotFound, RateLimited
from app.limiting import Allowance
from app.routers.problems import tell_always
from app.state import State


def address_in(scope: Scope) -> str:
    """The address a request comes from; empty when the server does not know it."""
    client = scope.get("client")
    return client[0] if client else ""


def count_claim(state: State, member_id: str, address: str) -> tuple[dict[str, str], RateLimited | None]:
    """Count a claim of a member from an address. Returns the rate-limit headers of its answer, whatever that is,
    and the refusal if it was one too many.

    The headers are those of draft-ietf-httpapi-ratelimit-headers-06.
    """
    own = state.member_claims.ask(member_id)
    headers = {} if own is None else _headers(own)
    for allowance in (own, state.address_claims.ask(address)):
        if allowance is not None and allowance.retry_seconds:
            return headers, RateLimited(retry_after_seconds=allowance.retry_seconds)
    return headers, None


def _headers(allowance: Allowance) -> dict[str, str]:
    return {
        "ratelimit-limit": str(allowance.limit),
        "ratelimit-remaining": str(allowance.remaining),
        "ratelimit-reset": str(allowance.reset_seconds),
    }


async def get_claim_headers(state: StateDep, member_id: MemberDep, request: Request) -> dict[str, str]:
    """Count this request as a claim. Raises `RateLimited`."""
    headers, refusal = count_claim(state, member_id, address_in(request.scope))
    tell_always(request, headers)
    if refusal is not None:
        raise refusal
    return headers


async def limit_guesses(state: StateDep, request: Request) -> AsyncIterator[None]:
    """Let nobody guess codes: an address that asked for too many that do not exist waits before it may ask for any.
    Raises `RateLimited`.
    """
    with state.invite_misses.counting(address_in(request.scope), InviteNotFound):
        yield


async def limit_exports(state: StateDep, member_id: MemberDep) -> None:
    """Let nobody have everything of theirs read again and again. Raises `RateLimited`."""
    state.member_exports.count(member_id)


async def limit_link_codes(state: StateDep, member_id: MemberDep) -> None:
    """Let nobody make codes again and again. Raises `RateLimited`."""
    state.member_links.count(member_id)


ClaimHeadersDep = Annotated[dict[str, str], Depends(get_claim_headers)]
