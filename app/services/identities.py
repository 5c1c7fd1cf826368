"""Whom providers and chat platforms know a member as."""

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.bindings import shown_provider
from app.domain.errors import (
    Busy,
    IdentityLast,
    IdentityLimit,
    IdentityNotFound,
    IdentityTaken,
    ProviderDisabled,
    ProviderNotFound,
    TokenInvalid,
)
from app.domain.identities import MAX_IDENTITIES, WECHAT_UNION, Login, may_unlink
from app.domain.members import tidy_name
from app.gateways.logins.provider import Confirmed, LoginProvider
from app.gateways.sealing import blind_index
from app.models import Identity, LinkCode, Member, Session
from app.schemas.fields import Page
from app.schemas.identities import IdentityPublic
from app.services.erased import end_sessions, know_ended
from app.services.locks import lock_member
from app.services.transactions import Work, transaction
from app.state import State

ID_LENGTH = 32


def find_provider(state: State, name: str) -> LoginProvider:
    """Who confirms logins under this name. Raises `ProviderNotFound`, `ProviderDisabled`."""
    if name not in set(Login):
        raise ProviderNotFound
    provider = state.logins.get(name)
    if provider is None:
        raise ProviderDisabled
    return provider


async def find_member(session: AsyncSession, provider: str, subject: str) -> Member | None:
    """The member whom a provider knows by this name."""
    found = await session.exec(
        select(Member)
        .join(Identity, col(Identity.member_id) == Member.id)
        .where(Identity.provider == provider, Identity.subject == subject),
    )
    return found.one_or_none()


async def find_subject(work: Work, provider: str, member_id: str) -> str | None:
    """The newest name that a provider knows a member by; None when it does not know them."""
    found = await work.session.exec(
        select(Identity.subject)
        .where(Identity.provider == provider, Identity.member_id == member_id)
        .order_by(col(Identity.created_at).desc())
        .limit(1),
    )
    return found.first()


async def find_or_add(work: Work, provider: str, subject: str, name: str | None) -> Member:
    """The member whom a provider knows by this name; a new one the first time.

    Raises `Busy` when they are erased at this moment.
    """
    member = await find_member(work.session, provider, subject)
    if member is not None:
        return member
    member = Member(name=tidy_name(name or ""), created_at=work.now)
    work.session.add(member)
    await work.session.flush()
    if await _add(work, member.id, provider, subject):
        return member
    # Somebody else was first; their member is committed by now, unless it was erased meanwhile.
    await work.session.delete(member)
    await work.session.flush()
    found = await find_member(work.session, provider, subject)
    if found is None:
        raise Busy
    return found


async def recognise(work: Work, provider: str, confirmed: Confirmed, name: str | None) -> Member:
    """The member whom a provider has confirmed; a new one when it knows them neither by this name nor by the one
    they have in all apps of ours. What they are called there wins: a union of somebody else's stays theirs.

    Raises `Busy` when they are erased at this moment.
    """
    if confirmed.union is not None and await find_member(work.session, provider, confirmed.subject) is None:
        known = await find_member(work.session, WECHAT_UNION, confirmed.union)
        if known is not None and await lock_member(work.session, known.id) is not None:
            await _add(work, known.id, provider, confirmed.subject)
    member = await find_or_add(work, provider, confirmed.subject, name or confirmed.name)
    if confirmed.union is not None:
        await _add(work, member.id, WECHAT_UNION, confirmed.union)
    return member


async def link(work: Work, member_id: str, provider: str, subject: str) -> Identity:
    """Have a provider know a member by this name, too. Repeating it changes nothing.

    Raises `TokenInvalid` when there is no such member, or not any more; `IdentityTaken`, `IdentityLimit`.
    """
    if await lock_member(work.session, member_id) is None:
        raise TokenInvalid
    if await _take(work, member_id, provider, subject):
        if len(await _find_all(work.session, member_id)) > MAX_IDENTITIES:
            raise IdentityLimit(limit=MAX_IDENTITIES)
        work.record("identity.linked", member_id, member_id=member_id, provider=shown_provider(provider))
    return await work.session.get_one(Identity, (provider, subject))


async def link_identity(state: State, member_id: str, provider: str, code: str) -> IdentityPublic:
    """Have a member log in with what this code confirms, too.

    Raises `ProviderNotFound`, `ProviderDisabled`, `LoginRefused`, `LoginUnavailable`, and what `link` raises.
    """
    confirmed = await find_provider(state, provider).confirm(code, state.clock())
    async with transaction(state, state.clock()) as work:
        row = await link(work, member_id, provider, confirmed.subject)
        if confirmed.union is not None:
            await _take(work, member_id, WECHAT_UNION, confirmed.union)
        return public(state, row)


async def list_identities(state: State, member_id: str) -> Page[IdentityPublic]:
    """Everything a member is known by, oldest first; but what they cannot unlink by itself."""
    async with state.database.snapshot() as session:
        rows = await _find_all(session, member_id)
    return Page(items=[public(state, row) for row in rows])


async def unlink_identity(state: State, member_id: str, identity_id: str) -> None:
    """Have a member known by this no more, and end the sessions that its provider began.

    Raises `TokenInvalid` when there is no such member, `IdentityNotFound`, `IdentityLast`.
    """
    async with transaction(state, state.clock()) as work:
        if await lock_member(work.session, member_id) is None:
            raise TokenInvalid
        rows = {_id(state, row): row for row in await _find_all(work.session, member_id)}
        row = rows.pop(identity_id, None)
        if row is None:
            raise IdentityNotFound
        if not may_unlink(row.provider, [other.provider for other in rows.values()], state.logins):
            raise IdentityLast
        await work.session.delete(row)
        await work.session.exec(
            delete(LinkCode).where(col(LinkCode.provider) == row.provider, col(LinkCode.subject) == row.subject)
        )
        if row.provider == Login.WECHAT:
            await work.session.exec(
                delete(Identity).where(col(Identity.member_id) == member_id, col(Identity.provider) == WECHAT_UNION)
            )
        work.record("identity.unlinked", member_id, member_id=member_id, provider=shown_provider(row.provider))
        ended = await end_sessions(work, member_id, col(Session.provider) == row.provider)
    know_ended(state, ended)


async def _take(work: Work, member_id: str, provider: str, subject: str) -> bool:
    """Have this name be the member's. Returns whether it was not before. Raises `IdentityTaken`."""
    if await _add(work, member_id, provider, subject):
        return True
    row = await work.session.get(Identity, (provider, subject))
    if row is None or row.member_id != member_id:
        raise IdentityTaken
    return False


async def _add(work: Work, member_id: str, provider: str, subject: str) -> bool:
    """Whether this name was nobody's, and is the member's now."""
    added = await work.session.exec(
        work.database.insert_unless_there(Identity, ["provider", "subject"])
        .values(provider=provider, subject=subject, member_id=member_id, created_at=work.now)
        .returning(col(Identity.member_id)),
    )
    return added.first() is not None


async def _find_all(session: AsyncSession, member_id: str) -> list[Identity]:
    found = await session.exec(
        select(Identity)
        .where(Identity.member_id == member_id, Identity.provider != WECHAT_UNION)
        .order_by(col(Identity.created_at), col(Identity.provider), col(Identity.subject)),
    )
    return list(found.all())


def public(state: State, row: Identity) -> IdentityPublic:
    """An identity as its member sees it."""
    return IdentityPublic(
        id=_id(state, row), provider=shown_provider(row.provider), subject=row.subject, linked_at=row.created_at
    )


def _id(state: State, row: Identity) -> str:
    """What a row is named by: nothing that says who it is, because addresses are logged."""
    digest = blind_index(state.settings.key_for("identity id"), f"{row.provider} {row.subject}")
    return f"idn_{digest[:ID_LENGTH]}"
