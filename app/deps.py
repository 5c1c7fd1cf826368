"""What routes take besides their own parameters: the state, who is asking, and the idempotency key."""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Header, Query, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from app.domain.errors import (
    ApiKeyInvalid,
    CredentialsMissing,
    IdempotencyKeyMissing,
    ScopeMissing,
    TokenExpired,
    TokenInvalid,
)
from app.domain.operators import SCOPE_MEANINGS, Scope
from app.schemas.fields import MAX_PAGE
from app.services.operators import Operator, authenticate
from app.services.sessions import read_access_token, read_token
from app.state import State

member_scheme = HTTPBearer(
    scheme_name="member",
    bearerFormat="JWT",
    description="A member's `access_token` from `POST /v1/sessions` 成员令牌",
    auto_error=False,
)
operator_scheme = APIKeyHeader(
    name="X-API-Key",
    scheme_name="operator",
    description="An operator's key from `make key` or `python -m app keys create`. Scopes 权限: "
    + "; ".join(f"`{scope}` {meaning}" for scope, meaning in SCOPE_MEANINGS.items()),
    auto_error=False,
)


async def get_state(connection: HTTPConnection) -> State:
    """The state the lifespan opened."""
    return cast("State", connection.state.kaituan)


BEARER = "Authorization: Bearer <access_token>"
StateDep = Annotated[State, Depends(get_state)]
BearerDep = Annotated[HTTPAuthorizationCredentials | None, Security(member_scheme)]


async def get_viewer_id(state: StateDep, credentials: BearerDep) -> str | None:
    """Who is looking: a member's id, or None for a stranger. A bad token is refused, not ignored."""
    return None if credentials is None else read_access_token(state, credentials.credentials)


async def get_session_id(state: StateDep, credentials: BearerDep) -> str | None:
    """The session that is asking; None when its token does not say. Raises as `get_member_id`."""
    if credentials is None:
        raise CredentialsMissing(header=BEARER)
    return read_token(state, credentials.credentials)[1]


async def get_leaver_id(state: StateDep, credentials: BearerDep) -> str:
    """The id of a member who asks to be erased, perhaps once more: their token is worth nothing else by then.
    Raises as `get_member_id`.
    """
    if credentials is None:
        raise CredentialsMissing(header=BEARER)
    return read_access_token(state, credentials.credentials, may_be_erased=True)


async def get_member_id(viewer_id: Annotated[str | None, Depends(get_viewer_id)]) -> str:
    """The id of the member who is asking. Raises `CredentialsMissing`, `TokenInvalid`, `TokenExpired`."""
    if viewer_id is None:
        raise CredentialsMissing(header=BEARER)
    return viewer_id


def require_scope(scope: Scope) -> Callable[..., Awaitable[Operator]]:
    """A dependency that lets only operators with this scope pass."""

    async def get_operator(
        state: StateDep,
        key: Annotated[str | None, Security(operator_scheme)],
    ) -> Operator:
        if key is None:
            raise CredentialsMissing(header="X-API-Key")
        return await authenticate(state, key, scope)

    return get_operator


async def get_request_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern="^[!-~]{1,128}$",
            description="Required. A value of your own, new for every intention and the same for its repetitions"
            " 必填，同一操作重试时保持不变",
            examples=["3f2b8c1e-open-group"],
        ),
    ] = None,
) -> str:
    """The caller's Idempotency-Key. Raises `IdempotencyKeyMissing`."""
    if idempotency_key is None:
        raise IdempotencyKeyMissing
    return idempotency_key


MEMBER_ERRORS = (CredentialsMissing, TokenInvalid, TokenExpired)
"""What `MemberDep` refuses with."""
OPERATOR_ERRORS = (CredentialsMissing, ApiKeyInvalid, ScopeMissing)
"""What `require_scope` refuses with."""
ViewerDep = Annotated[str | None, Depends(get_viewer_id)]
MemberDep = Annotated[str, Depends(get_member_id)]
SessionDep = Annotated[str | None, Depends(get_session_id)]
LeaverDep = Annotated[str, Depends(get_leaver_id)]
RequestKeyDep = Annotated[str, Depends(get_request_key)]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items per page 每页条数")]
