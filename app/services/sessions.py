"""Logging in, and staying logged in.

Refresh tokens are rotated, and one that is used again ends its session (RFC 9700, section 4.14.2): somebody has
copied it. Only right after its use it may be used again, and brings the same answer: a client whose answer was lost
asks once more, and two pages of one browser ask at the same time. The next token is made of the one before, so that
nothing has to be kept for that.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import timedelta
from secrets import token_urlsafe

import jwt
from sqlalchemy import insert, update
from sqlmodel import col, select

from app.domain.errors import SessionNotFound, TokenExpired, TokenInvalid
from app.domain.members import MarkKind
from app.models import Member, Session, new_id
from app.schemas.fields import MAX_PAGE, Page
from app.schemas.sessions import MemberPublic, SessionCreate, SessionPublic, SessionShown
from app.services import identities, phones
from app.services.erased import end_sessions, know_ended
from app.services.facts import see_device
from app.services.marks import mark
from app.services.tokens import ALGORITHM, ISSUER, read_signed
from app.services.touches import adopt
from app.services.transactions import Work, transaction
from app.services.visitors import read_visitor
from app.state import State

AUDIENCE = "kaituan-members"
GRACE = timedelta(seconds=30)
"""How long a refresh token brings the same answer again."""
CURRENT = "current"


async def create_session(state: State, body: SessionCreate, user_agent: str = "") -> SessionPublic:
    """Log a member in, for the first time or again; `user_agent` is what their browser says of itself.

    Raises `ProviderNotFound`, `ProviderDisabled` (`dev` in production, and what is not set up), `LoginRefused`,
    `LoginUnavailable`, `VisitorInvalid`, `Busy`.
    """
    provider = identities.find_provider(state, body.provider)
    visitor_id = None if body.visitor_token is None else read_visitor(state, body.visitor_token)
    confirmed = await provider.confirm(body.code, state.clock())
    now = state.clock()
    refresh_token = token_urlsafe(32)
    async with transaction(state, now) as work:
        member = await identities.recognise(work, body.provider, confirmed, body.name)
        session_id = new_id("ses")
        await work.session.exec(
            insert(Session).values(
                id=session_id,
                member_id=member.id,
                provider=body.provider,
                refresh_hash=_hash(refresh_token),
                expires_at=now + timedelta(seconds=state.settings.refresh_token_seconds),
                created_at=now,
            ),
        )
        await _know_again(state, work, member.id, visitor_id, body)
        await see_device(work, member.id, user_agent)
    return _public(state, member, session_id, refresh_token)


async def _know_again(
    state: State, work: Work, member_id: str, visitor_id: str | None, body: SessionCreate
) -> None:
    """What was done here before is this member's, and who shares the device or the phone can be told."""
    if visitor_id is not None:
        await adopt(work, visitor_id, member_id)
        await mark(state, work, member_id, MarkKind.DEVICE, visitor_id)
    if body.device is not None:
        await mark(state, work, member_id, MarkKind.DEVICE, body.device)
    if body.phone is not None:
        await phones.keep(state, work, member_id, body.provider, body.phone)


async def refresh_session(state: State, refresh_token: str) -> SessionPublic:
    """Exchange a refresh token for new tokens. A token that was used a while before ends its session, and every
    access token of it: it was copied.

    Raises `TokenInvalid`, `TokenExpired`.
    """
    now = state.clock()
    session_id, _, secret = refresh_token.partition(".")
    next_secret = _next_secret(state, session_id, secret)
    async with transaction(state, now) as work:
        session = await work.session.get(Session, session_id)
        if session is None or session.revoked_at is not None:
            raise TokenInvalid
        if session.expires_at <= now:
            raise TokenExpired
        rotated = await work.session.exec(
            update(Session)
            .where(
                col(Session.id) == session_id,
                col(Session.refresh_hash) == _hash(secret),
                col(Session.revoked_at).is_(None),
            )
            .values(
                refresh_hash=_hash(next_secret),
                refreshed_at=now,
                expires_at=now + timedelta(seconds=state.settings.refresh_token_seconds),
            )
            .returning(col(Session.id)),
        )
        copied = rotated.first() is None and not await _was_just_used(work, session_id, next_secret)
        if copied:
            ended = await end_sessions(work, session.member_id, col(Session.id) == session_id)
            work.record("session.copied", session_id, member_id=session.member_id)
        member = await work.session.get_one(Member, session.member_id)
    if copied:
        know_ended(state, ended)
        raise TokenInvalid
    if member.erased_at is not None:
        raise TokenInvalid
    return _public(state, member, session_id, next_secret)


async def _was_just_used(work: Work, session_id: str, next_secret: str) -> bool:
    """Whether this is what the session's token was exchanged for a moment ago."""
    found = await work.session.exec(
        select(Session.id).where(
            Session.id == session_id,
            Session.refresh_hash == _hash(next_secret),
            col(Session.refreshed_at) > work.now - GRACE,
            col(Session.revoked_at).is_(None),
        ),
    )
    return found.first() is not None


async def list_sessions(state: State, member_id: str, current_id: str | None) -> Page[SessionShown]:
    """Where a member is logged in, newest first; `current_id` is the session that asks."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Session)
            .where(
                Session.member_id == member_id,
                col(Session.revoked_at).is_(None),
                col(Session.expires_at) > state.clock(),
            )
            .order_by(col(Session.id).desc())
            .limit(MAX_PAGE),
        )
        rows = found.all()
    items = [SessionShown.model_validate(row.model_dump() | {"is_current": row.id == current_id}) for row in rows]
    return Page(items=items)


async def end_session(state: State, member_id: str, session_id: str, current_id: str | None) -> None:
    """Log a member out where this session is; `current` is the one that asks. Raises `SessionNotFound`."""
    wanted = current_id if session_id == CURRENT else session_id
    async with transaction(state, state.clock()) as work:
        ended = await end_sessions(work, member_id, col(Session.id) == wanted)
    if not ended:
        raise SessionNotFound
    know_ended(state, ended)


async def end_all_sessions(state: State, member_id: str) -> None:
    """Log a member out everywhere."""
    async with transaction(state, state.clock()) as work:
        ended = await end_sessions(work, member_id)
    know_ended(state, ended)


def read_access_token(state: State, token: str, *, may_be_erased: bool = False) -> str:
    """The member id an access token was issued for. Raises as `read_token` does."""
    return read_token(state, token, may_be_erased=may_be_erased)[0]


def read_token(state: State, token: str, *, may_be_erased: bool = False) -> tuple[str, str | None]:
    """The member id an access token was issued for, and its session's; None in a token from before it was written
    into them. Raises `TokenInvalid`, also when its session has ended, and of who was erased unless that is just
    what matters; `TokenExpired`.
    """
    # What we signed is what we wrote, but an older version of us may have written something else.
    try:
        claims = read_signed(state.settings.key_for("access token"), token)
        member_id, expires_at, issued_at = claims["sub"], claims["exp"], claims["iat"]
        session_id = claims.get("sid")
        meant_for_us = claims["aud"] == AUDIENCE and claims["iss"] == ISSUER
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TokenInvalid from error
    numbers = isinstance(expires_at, int) and isinstance(issued_at, int)
    if not (meant_for_us and numbers and isinstance(member_id, str)):
        raise TokenInvalid
    if expires_at <= state.clock().timestamp():
        raise TokenExpired
    if member_id in state.erased and not may_be_erased:
        raise TokenInvalid
    if session_id in state.ended:
        raise TokenInvalid
    return member_id, session_id


def _public(state: State, member: Member, session_id: str, secret: str) -> SessionPublic:
    now, lifetime = int(state.clock().timestamp()), state.settings.access_token_seconds
    claims = {
        "sub": member.id,
        "sid": session_id,
        "iat": now,
        "exp": now + lifetime,
        "aud": AUDIENCE,
        "iss": ISSUER,
    }
    return SessionPublic(
        access_token=jwt.encode(claims, state.settings.key_for("access token"), algorithm=ALGORITHM),
        refresh_token=f"{session_id}.{secret}",
        expires_in_seconds=lifetime,
        member=MemberPublic(id=member.id, name=member.name),
    )


def _next_secret(state: State, session_id: str, secret: str) -> str:
    """What the secret of a refresh token is exchanged for: nobody else can tell, and we always can."""
    digest = hmac.digest(state.settings.key_for("refresh token"), f"{session_id}.{secret}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
