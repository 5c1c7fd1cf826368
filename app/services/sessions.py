"""Logging in, and staying logged in."""

import hashlib
from datetime import timedelta
from secrets import token_urlsafe

import jwt
from sqlalchemy import insert, update
from sqlmodel import col, select

from app.domain.errors import ProviderDisabled, ProviderNotFound, TokenExpired, TokenInvalid
from app.domain.members import MarkKind
from app.models import Member, Session, new_id
from app.schemas.sessions import MemberPublic, SessionCreate, SessionPublic
from app.services.marks import mark
from app.services.tokens import ALGORITHM, ISSUER, read_signed
from app.services.touches import adopt
from app.services.transactions import Work, transaction
from app.services.visitors import read_visitor
from app.state import State

AUDIENCE = "kaituan-members"


async def create_session(state: State, body: SessionCreate) -> SessionPublic:
    """Log a member in, for the first time or again.

    Raises `ProviderNotFound`, `ProviderDisabled` (`dev` in production), `VisitorInvalid`.
    """
    if body.provider != "dev":
        raise ProviderNotFound
    if not state.settings.has_sandbox:
        raise ProviderDisabled
    visitor_id = None if body.visitor_token is None else read_visitor(state, body.visitor_token)
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
        await _know_again(state, work, member.id, visitor_id, body)
    return _public(state, member, f"{session_id}.{refresh_token}")


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
        await mark(state, work, member_id, MarkKind.PHONE, body.phone)


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
