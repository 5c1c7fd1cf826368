"""Who speaks in a chat: linked to a member by a secret that is good once, made by one of them, used by the other.

A member makes a code and says it in a chat. Who speaks to us in private is given a link, and a member opens it;
never where others read it, because whoever opens it would be taken for who asked. A secret is kept as its digest.
"""

from datetime import timedelta
from secrets import choice, token_urlsafe

from sqlalchemy import update
from sqlmodel import col

from app.domain.commands import CODE_ALPHABET, CODE_LENGTH, code_digest
from app.domain.errors import LinkNotFound, TokenInvalid
from app.models import LinkCode, Member
from app.schemas.identities import IdentityPublic
from app.schemas.links import LinkCodePublic
from app.services import identities
from app.services.members import find_member
from app.services.transactions import Work, transaction
from app.state import State

LIFE = timedelta(minutes=10)
PURPOSE = "link code"


async def create_code(state: State, member_id: str) -> LinkCodePublic:
    """A code that makes whoever says it in a chat this member. Raises `TokenInvalid` when there is no such
    member.
    """
    code = "".join(choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    async with transaction(state, state.clock()) as work:
        if await find_member(work.session, member_id) is None:
            raise TokenInvalid
        row = _add(work, digest_of(state, code), member_id=member_id)
    return LinkCodePublic(code=code, expires_at=row.expires_at)


async def create_link(state: State, provider: str, sender_id: str) -> str:
    """The address at which a member says that this sender is they."""
    token = token_urlsafe(24)
    async with transaction(state, state.clock()) as work:
        _add(work, digest_of(state, token), provider=provider, subject=sender_id)
    return f"{state.settings.public_url.rstrip('/')}/link/{token}"


async def use_code(state: State, provider: str, sender_id: str, digest: str) -> Member:
    """Whose code a sender has said: who they are from now on. The same sender may say it again, for as
    long as they are.

    Raises `LinkNotFound`, and what `identities.link` raises.
    """
    async with transaction(state, state.clock()) as work:
        row = await work.session.get(LinkCode, digest)
        if row is None or row.member_id is None:
            raise LinkNotFound
        known = await identities.find_member(work.session, provider, sender_id)
        said_before = (row.provider, row.subject) == (provider, sender_id)
        if not (said_before and known is not None and known.id == row.member_id):
            await _use(work, digest, provider=provider, subject=sender_id)
            await identities.link(work, row.member_id, provider, sender_id)
        return await work.session.get_one(Member, row.member_id)


async def check_token(state: State, token: str) -> None:
    """Raise `LinkNotFound` for what is no link that was given to anybody in a chat."""
    async with state.database.snapshot() as session:
        row = await session.get(LinkCode, digest_of(state, token))
    if row is None or row.provider is None:
        raise LinkNotFound


async def use_token(state: State, member_id: str, token: str) -> IdentityPublic:
    """Have a member be whom a link was given to. The same member may open it again.

    Raises `LinkNotFound`, and what `identities.link` raises.
    """
    digest = digest_of(state, token)
    async with transaction(state, state.clock()) as work:
        row = await work.session.get(LinkCode, digest)
        if row is None or row.provider is None:
            raise LinkNotFound
        if row.member_id != member_id:
            await _use(work, digest, member_id=member_id)
        return identities.public(state, await identities.link(work, member_id, row.provider, str(row.subject)))


async def find_linked(state: State, provider: str, sender_id: str) -> Member | None:
    """The member whom a provider knows by this name."""
    async with state.database.snapshot() as session:
        return await identities.find_member(session, provider, sender_id)


def digest_of(state: State, secret: str) -> str:
    """What a code or the token of a link is kept as."""
    return code_digest(secret, state.settings.key_for(PURPOSE))


def _add(
    work: Work,
    digest: str,
    *,
    member_id: str | None = None,
    provider: str | None = None,
    subject: str | None = None,
) -> LinkCode:
    row = LinkCode(
        digest=digest,
        member_id=member_id,
        provider=provider,
        subject=subject,
        created_at=work.now,
        expires_at=work.now + LIFE,
    )
    work.session.add(row)
    return row


async def _use(work: Work, digest: str, **other: str) -> None:
    """Use a code up, and keep who used it. Raises `LinkNotFound` unless it is still good."""
    used = await work.session.exec(
        update(LinkCode)
        .where(col(LinkCode.digest) == digest, col(LinkCode.used_at).is_(None), col(LinkCode.expires_at) > work.now)
        .values(used_at=work.now, **other)
        .returning(col(LinkCode.digest)),
    )
    if used.first() is None:
        raise LinkNotFound
