"""Endpoints: addresses of operators that events are sent to. What is sent is in `services/deliveries.py`."""

from datetime import datetime, timedelta
from secrets import token_bytes

from sqlalchemy import ColumnElement, and_, delete, func, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.deliveries import SECRET_BYTES, write_secret
from app.domain.endpoints import (
    ENDPOINT_TRANSITIONS,
    OLD_SECRET_LIVES,
    TESTED,
    DisabledReason,
    EndpointState,
    may_connect,
    parse_url,
    read_address,
)
from app.domain.errors import EndpointNotFound, EndpointRefused, InvalidTerms
from app.gateways.sealing import SealBroken, seal, unseal
from app.models import Delivery, Endpoint, Event, Lane, new_id
from app.schemas.endpoints import (
    EndpointChange,
    EndpointCreate,
    EndpointCreated,
    EndpointDetail,
    EndpointPublic,
    RedeliverSince,
    SecretRotated,
    TestSent,
)
from app.schemas.fields import Page
from app.services.events import read_horizon
from app.services.locks import lock_endpoint
from app.services.pages import read_page
from app.services.transactions import Work, transaction
from app.state import State

MARGIN = timedelta(minutes=1)
"""How much later than it began a transaction may be dealt the ids of its events."""


async def create_endpoint(state: State, body: EndpointCreate) -> EndpointCreated:
    """An endpoint that is sent what happens from now on, and its secret, which cannot be read again. Raises
    `InvalidTerms`.
    """
    _check(state, body.url)
    cursor, id_, secret = await read_horizon(state), new_id("ept"), _new_secret()
    async with transaction(state, state.clock()) as work:
        endpoint = Endpoint(
            id=id_,
            url=body.url,
            types=sorted(set(body.types)),
            state=EndpointState.ACTIVE,
            cursor=cursor,
            secret=_seal(state, id_, secret),
            created_at=work.now,
        )
        work.session.add(endpoint)
        work.record("endpoint.created", id_, states=(None, EndpointState.ACTIVE))
    return EndpointCreated(**_public(endpoint).model_dump(), secret=secret)


async def list_endpoints(state: State, after: str | None, limit: int) -> Page[EndpointPublic]:
    """All endpoints that were not removed, newest first."""
    there = select(Endpoint).where(Endpoint.state != EndpointState.REMOVED)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Endpoint, there, after, limit)
    return Page[EndpointPublic](items=[_public(row) for row in rows], next=following)


async def get_endpoint(state: State, endpoint_id: str) -> EndpointDetail:
    """An endpoint, and how much waits for it. Raises `EndpointNotFound`."""
    async with state.database.snapshot() as session:
        endpoint = there(await session.get(Endpoint, endpoint_id))
        waiting = await session.exec(
            select(func.count()).where(Delivery.endpoint_id == endpoint_id, col(Delivery.delivered_at).is_(None)),
        )
        return EndpointDetail(**_public(endpoint).model_dump(), waiting=waiting.one())


async def change_endpoint(state: State, endpoint_id: str, body: EndpointChange) -> EndpointPublic:
    """Change its address, its types, whether it is paused. With another address, or active again, what waits is
    tried at once, as if it had never failed. Raises `EndpointNotFound`, `InvalidTerms`, `EndpointRefused`.
    """
    if body.url is not None:
        _check(state, body.url)
    async with transaction(state, state.clock()) as work:
        endpoint = await lock(work, endpoint_id)
        if body.types is not None:
            endpoint.types = sorted(set(body.types))
        if body.url is not None and body.url != endpoint.url:
            endpoint.url = body.url
            await _begin_anew(work, endpoint)
        if body.paused is True and endpoint.state != EndpointState.PAUSED:
            await _move(work, endpoint, EndpointState.PAUSED, "endpoint.paused")
        if body.paused is False and endpoint.state != EndpointState.ACTIVE:
            await _move(work, endpoint, EndpointState.ACTIVE, "endpoint.enabled", disabled_reason=None)
            await _begin_anew(work, endpoint)
        return _public(endpoint)


async def remove_endpoint(state: State, endpoint_id: str) -> None:
    """Send it nothing any more, for good; its log is kept for a time. Raises `EndpointNotFound`."""
    async with transaction(state, state.clock()) as work:
        endpoint = await lock(work, endpoint_id)
        forgotten = {"secret": "", "old_secret": None, "old_secret_until": None, "disabled_reason": None}
        await _move(work, endpoint, EndpointState.REMOVED, "endpoint.removed", **forgotten)
        await work.session.exec(delete(Lane).where(col(Lane.endpoint_id) == endpoint_id))


async def rotate_secret(state: State, endpoint_id: str) -> SecretRotated:
    """A new secret, which cannot be read again; for `OLD_SECRET_LIVES` the one before signs as well. Raises
    `EndpointNotFound`.
    """
    secret = _new_secret()
    async with transaction(state, state.clock()) as work:
        endpoint = await lock(work, endpoint_id)
        endpoint.old_secret, endpoint.secret = endpoint.secret, _seal(state, endpoint_id, secret)
        endpoint.old_secret_until = until = work.now + OLD_SECRET_LIVES
        work.session.add(endpoint)
        work.record("endpoint.secret_rotated", endpoint_id)
    return SecretRotated(secret=secret, old_secret_until=until)


async def send_test(state: State, endpoint_id: str) -> TestSent:
    """Have an endpoint sent an event that nobody else is sent. Raises `EndpointNotFound`, and `EndpointRefused` for
    one that is sent nothing now.
    """
    async with transaction(state, state.clock()) as work:
        endpoint = await lock(work, endpoint_id)
        if endpoint.state != EndpointState.ACTIVE:
            raise EndpointRefused(state=endpoint.state)
        work.record(TESTED, endpoint_id)
    return TestSent(event_id=work.events[0].id or 0)


async def redeliver_since(state: State, endpoint_id: str, body: RedeliverSince) -> EndpointPublic:
    """Go back in the feed, and send everything from there on once more that is of its types: also what it was never
    sent. Never forward. Raises `EndpointNotFound`, `InvalidTerms`.
    """
    if (body.since_event_id is None) == (body.since is None):
        raise InvalidTerms(field="since", reason="either an event or a moment is needed")
    async with transaction(state, state.clock()) as work:
        endpoint = await lock(work, endpoint_id)
        if body.since is not None:
            before = await _last_before(work.session, body.since - MARGIN, endpoint.cursor)
        else:
            before = (body.since_event_id or 1) - 1
        endpoint.cursor = min(endpoint.cursor, before)
        work.session.add(endpoint)
        work.record("endpoint.rewound", endpoint_id, cursor=endpoint.cursor)
        return _public(endpoint)


async def disable(work: Work, endpoint: Endpoint, reason: DisabledReason) -> None:
    """Send an endpoint nothing until somebody enables it; the event is the notice."""
    moved = await work.advance(ENDPOINT_TRANSITIONS, endpoint, EndpointState.DISABLED, disabled_reason=reason)
    if moved is not None:
        states = (EndpointState.ACTIVE, EndpointState.DISABLED)
        work.record("endpoint.disabled", endpoint.id, states=states, reason=reason)


async def lock(work: Work, endpoint_id: str) -> Endpoint:
    """An endpoint, locked. Raises `EndpointNotFound`."""
    return there(await lock_endpoint(work.session, endpoint_id))


def there(endpoint: Endpoint | None) -> Endpoint:
    """An endpoint that was found and not removed. Raises `EndpointNotFound`."""
    if endpoint is None or endpoint.state == EndpointState.REMOVED:
        raise EndpointNotFound
    return endpoint


def is_ready(now: datetime) -> ColumnElement[bool]:
    """Whether an endpoint may be sent something now, in SQL."""
    free = or_(col(Endpoint.held_until).is_(None), col(Endpoint.held_until) <= now)
    return and_(col(Endpoint.state) == EndpointState.ACTIVE, free)


def read_secrets(state: State, endpoint: Endpoint, now: datetime) -> list[str]:
    """The secrets that sign for an endpoint, newest first; without those that were sealed under another key."""
    sealed = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_secret_until and now < endpoint.old_secret_until:
        sealed.append(endpoint.old_secret)
    readable = []
    for each in sealed:
        try:
            readable.append(unseal(state.settings.key_for("webhook secrets"), each, _context(endpoint.id)))
        except SealBroken:
            continue
    return readable


def _new_secret() -> str:
    return write_secret(token_bytes(SECRET_BYTES))


def _seal(state: State, endpoint_id: str, secret: str) -> str:
    return seal(state.settings.key_for("webhook secrets"), secret, _context(endpoint_id))


def _context(endpoint_id: str) -> str:
    return f"endpoints.secret {endpoint_id}"


def _check(state: State, url: str) -> None:
    """Raise `InvalidTerms` for an address that nothing could be sent to. What a name leads to is looked at each
    time something is sent.
    """
    target = parse_url(url, plain=state.settings.is_development)
    if read_address(target.host) and not may_connect(target.host, state.settings.webhook_networks):
        raise InvalidTerms(field="url", reason="must lead to a public address")


async def _move(work: Work, endpoint: Endpoint, target: EndpointState, type_: str, **values: object) -> None:
    """Move an endpoint that is locked. Raises `EndpointRefused` where its table has no such step."""
    before = endpoint.state
    await work.session.flush()  # what was changed beside the state
    moved = await work.advance(ENDPOINT_TRANSITIONS, endpoint, target, **values)
    if moved is None:
        raise EndpointRefused(state=before)
    work.record(type_, endpoint.id, states=(before, target))


async def _begin_anew(work: Work, endpoint: Endpoint) -> None:
    """Try what waits at once, as if nothing had failed."""
    endpoint.failures, endpoint.held_until = 0, None
    work.session.add(endpoint)
    await work.session.exec(
        update(Lane).where(col(Lane.endpoint_id) == endpoint.id).values(failures=0, due_at=work.now)
    )


async def _last_before(session: AsyncSession, moment: datetime, last: int) -> int:
    """The id of the last event before a moment, of those up to `last`: by halving, because ids grow with time and
    times have no index. 0 when there is none.
    """
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = await session.exec(
            select(Event.id, Event.created_at)
            .where(col(Event.id) > middle, col(Event.id) <= high)
            .order_by(col(Event.id))
            .limit(1),
        )
        following = found.first()
        if following is None or following[1] >= moment:
            high = middle
        else:
            low = following[0] or high
    return low


def _public(endpoint: Endpoint) -> EndpointPublic:
    return EndpointPublic.model_validate(endpoint, from_attributes=True)
