"""Operators' keys. A key is shown once; what is kept is its keyed hash."""

import hashlib
import hmac
from dataclasses import dataclass
from secrets import choice

from sqlmodel import select

from app.domain.errors import ApiKeyInvalid, ScopeMissing
from app.domain.keys import ALPHABET, RANDOM_LENGTH, build_key, is_well_formed
from app.domain.operators import Scope
from app.models import OperatorKey
from app.services.transactions import transaction
from app.state import State


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever holds a key."""

    key_id: str
    name: str


async def create_key(state: State, name: str, scopes: list[Scope], key: str | None = None) -> str:
    """Make a key and return it; it cannot be read again. `key` is given only for sample data."""
    key = key or build_key("".join(choice(ALPHABET) for _ in range(RANDOM_LENGTH)))
    now = state.clock()
    async with transaction(state, now) as work:
        row = OperatorKey(name=name, key_hash=_hash(state, key), scopes=list(scopes), created_at=now)
        work.session.add(row)
        await work.session.flush()
        work.record("operator_key.created", row.id, scopes=list(scopes))
    return key


async def revoke_key(state: State, key_id: str) -> bool:
    """End a key. False when there is no such key, or it had ended."""
    now = state.clock()
    async with transaction(state, now) as work:
        row = await work.session.get(OperatorKey, key_id)
        if row is None or row.revoked_at is not None:
            return False
        row.revoked_at = now
        work.session.add(row)
        work.record("operator_key.revoked", row.id)
        return True


async def list_keys(state: State) -> list[OperatorKey]:
    """Every key there was, oldest first, without its secret."""
    async with state.database.snapshot() as session:
        return list((await session.exec(select(OperatorKey).order_by(OperatorKey.id))).all())


async def has_key(state: State, key: str) -> bool:
    """Whether there is such a key, also when it was revoked."""
    async with state.database.snapshot() as session:
        found = await session.exec(select(OperatorKey.id).where(OperatorKey.key_hash == _hash(state, key)))
        return found.first() is not None


async def authenticate(state: State, key: str, scope: Scope) -> Operator:
    """Whoever holds this key, if it has the scope. Raises `ApiKeyInvalid`, `ScopeMissing`."""
    if not is_well_formed(key):
        raise ApiKeyInvalid
    async with state.database.snapshot() as session:
        found = await session.exec(select(OperatorKey).where(OperatorKey.key_hash == _hash(state, key)))
        row = found.one_or_none()
    if row is None or row.revoked_at is not None:
        raise ApiKeyInvalid
    if scope not in row.scopes:
        raise ScopeMissing(scope=scope)
    return Operator(key_id=row.id, name=row.name)


def _hash(state: State, key: str) -> str:
    return hmac.new(state.settings.key_for("operator key"), key.encode(), hashlib.sha256).hexdigest()
