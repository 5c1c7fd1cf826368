"""Logging in, and staying logged in."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from functools import cache
from secrets import token_urlsafe
from typing import Any

import jwt
import orjson
from sqlalchemy import insert, update
from sqlmodel import col, select

from app.domain.errors import ProviderDisabled, ProviderNotFound, TokenExpired, TokenInvalid
from app.models import Member, Session, new_id
from app.schemas.sessions import MemberPublic, SessionCreate, SessionPublic
from app.services.transactions import transaction
from app.state import State

ISSUER = "kaituan"
AUDIENCE = "kaituan-members"
ALGORITHM = "HS256"


async def create_session(state: State, body: SessionCreate) -> SessionPublic:
    """Log a member in, for the first time or again.

    Raises `ProviderNotFound`, `ProviderDisabled` (`dev` in production).
    """
    if body.provider != "dev":
        raise ProviderNotFound
    if not state.settings.has_sandbox:
        raise ProviderDisabled
    now = state.clock()
    refresh_token = token_urlsafe(32)
    async with transaction(state, now) as work:
        await work.session.exec(
            state.database.insert_unless_there(Member, ["provider", "subject"]).values(
                id=new_id("mem"),
                provider=body.provider,
                subject=body.code,
                name=body.name or body.code[:60],
                created_at=now,
            ),
        )
        found = await work.session.exec(
            select(Member).where(Member.provider == body.provider, Member.subject == body.code),
        )
        member = found.one()
        session_id = new_id("ses")
        await work.session.exec(
            insert(Session).values(
                id=session_id,
                member_id=member.id,
                refresh_hash=_hash(refresh_token),
                expires_at=now + timedelta(seconds=state.settings.refresh_token_seconds),
                created_at=now,
            ),
        )
    return _public(state, member, f"{session_id}.{refresh_token}")


async def refresh_session(state: State, refresh_token: str) -> SessionPublic:
    """Exchange a refresh token for new tokens. A token that was used before ends its session: it was copied.

    Raises `TokenInvalid`, `TokenExpired`.
    """
    now = state.clock()
    session_id, _, secret = refresh_token.partition(".")
    next_secret = token_urlsafe(32)
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
                expires_at=now + timedelta(seconds=state.settings.refresh_token_seconds),
            )
            .returning(col(Session.id)),
        )
        reused = rotated.first() is None
        if reused:
            await work.session.exec(
                update(Session).where(col(Session.id) == session_id).values(revoked_at=now),
            )
        member = await work.session.get_one(Member, session.member_id)
    if reused:
        raise TokenInvalid
    return _public(state, member, f"{session_id}.{next_secret}")


def read_access_token(state: State, token: str) -> str:
    """The member id an access token was issued for. Raises `TokenInvalid`, `TokenExpired`."""
    # What we signed is what we wrote, but an older version of us may have written something else.
    try:
        claims = read_signed(state.settings.key_for("access token"), token)
        member_id, expires_at, issued_at = claims["sub"], claims["exp"], claims["iat"]
        meant_for_us = claims["aud"] == AUDIENCE and claims["iss"] == ISSUER
    except (ValueError, TypeError, KeyError) as error:
        raise TokenInvalid from error
    numbers = isinstance(expires_at, int) and isinstance(issued_at, int)
    if not (meant_for_us and numbers and isinstance(member_id, str)):
        raise TokenInvalid
    if expires_at <= state.clock().timestamp():
        raise TokenExpired
    return member_id


def read_signed(key: bytes, token: str) -> Any:
    """What a token says that this key signed. Raises `TokenInvalid`; `ValueError` when it says nothing.

    Read by hand, because every claim does it. What a token says of its algorithm does not matter: there is one, and
    whatever it signs with our key is ours. The tests hold it against PyJWT.
    """
    content, _, signature = token.rpartition(".")
    signing = _signing(key).copy()
    signing.update(content.encode())
    if not hmac.compare_digest(urlsafe_b64encode(signing.digest()).rstrip(b"="), signature.encode()):
        raise TokenInvalid
    return orjson.loads(urlsafe_b64decode(content.rpartition(".")[2] + "=="))


@cache
def _signing(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _public(state: State, member: Member, refresh_token: str) -> SessionPublic:
    now, lifetime = int(state.clock().timestamp()), state.settings.access_token_seconds
    claims = {"sub": member.id, "iat": now, "exp": now + lifetime, "aud": AUDIENCE, "iss": ISSUER}
    return SessionPublic(
        access_token=jwt.encode(claims, state.settings.key_for("access token"), algorithm=ALGORITHM),
        refresh_token=refresh_token,
        expires_in_seconds=lifetime,
        member=MemberPublic(id=member.id, name=member.name),
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
