"""Deliveries: each event once for every endpoint that wants it, in the order of the events of one subject.

An endpoint's cursor goes along the feed and puts what it wants into lanes, one for each subject. A lane is tried
when it is due: the first that waits in it is sent, and the next only when that has arrived.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import random

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.deliveries import Verdict, judge, pause, sign
from app.domain.endpoints import TESTED, EndpointState, parse_url, wants
from app.domain.errors import DeliveryNotFound, InvalidTerms
from app.gateways.webhooks import Answer
from app.models import Attempt, Delivery, Endpoint, Event, Lane
from app.schemas.endpoints import AttemptPublic, DeliveryPublic
from app.schemas.events import event_public
from app.schemas.fields import Page
from app.services import endpoints
from app.services.events import read_events
from app.services.locks import lock_endpoint, lock_lanes
from app.services.transactions import Work, transaction
from app.state import State

log = logging.getLogger(__name__)
BATCH = 500
"""Events that are looked at in one transaction."""
LEASE = timedelta(seconds=60)
"""How long a lane is left to the worker that tries it."""
SHOWN_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Sending:
    """An event on its way to an endpoint: which attempt of all it is, how many failed since the last that arrived,
    and until when the lane is ours.
    """

    endpoint: Endpoint
    event: Event
    event_id: int
    number: int
    failures: int
    lease: datetime


async def line_up(state: State, endpoint_id: str, _now: datetime) -> bool:
    """Look at the next events of the feed for an endpoint. True when there were some, and this call was the one to
    go on.
    """
    async with state.database.snapshot() as session:
        endpoint = await session.get_one(Endpoint, endpoint_id)
    types = [*endpoint.types, TESTED] if endpoint.types else []
    events, cursor = await read_events(state, endpoint.cursor, types=types, limit=BATCH)
    if cursor == endpoint.cursor:
        return False
    wanted = [event for event in events if wants(endpoint_id, endpoint.types, event.type, event.subject)]
    async with transaction(state, state.clock()) as work:
        moved = await work.session.exec(
            update(Endpoint)
            .where(
                col(Endpoint.id) == endpoint_id,
                col(Endpoint.cursor) == endpoint.cursor,
                col(Endpoint.state) == EndpointState.ACTIVE,
            )
            .values(cursor=cursor)
            .returning(col(Endpoint.id))
            .execution_options(synchronize_session=False),
        )
        if moved.first() is None:
            return False
        if wanted:
            await _add(work, endpoint_id, wanted)
    return True


async def deliver(state: State, endpoint_id: str, subject: str) -> bool:
    """Try the first that waits in a lane. Whether this call was the one to try."""
    sending = await _claim(state, endpoint_id, subject)
    if sending is None:
        return False
    await _conclude(state, sending, await _send(state, sending))
    return True


async def find_ready(state: State, now: datetime) -> Sequence[str]:
    """The endpoints that something is due for, and that may be sent something."""
    due = select(Lane.subject).where(Lane.endpoint_id == Endpoint.id, col(Lane.due_at) <= now).exists()
    async with state.database.snapshot() as session:
        return (await session.exec(select(Endpoint.id).where(endpoints.is_ready(now), due))).all()


async def list_deliveries(state: State, endpoint_id: str, after: int | None, limit: int) -> Page[DeliveryPublic]:
    """What an endpoint was or is to be sent, the newest events first, each with its latest attempts. Raises
    `EndpointNotFound`.
    """
    statement = select(Delivery).where(Delivery.endpoint_id == endpoint_id)
    if after is not None:
        statement = statement.where(col(Delivery.event_id) < after)
    async with state.database.snapshot() as session:
        endpoints.there(await session.get(Endpoint, endpoint_id))
        found = await session.exec(statement.order_by(col(Delivery.event_id).desc()).limit(limit + 1))
        rows = found.all()
        items = await _public(session, rows[:limit])
    return Page[DeliveryPublic](items=items, next=str(items[-1].event_id) if len(rows) > limit else None)


async def get_delivery(state: State, endpoint_id: str, event_id: int) -> DeliveryPublic:
    """One of them. Raises `EndpointNotFound`, `DeliveryNotFound`."""
    async with state.database.snapshot() as session:
        endpoints.there(await session.get(Endpoint, endpoint_id))
        return await _find(session, endpoint_id, event_id)


async def redeliver(state: State, endpoint_id: str, event_id: int) -> DeliveryPublic:
    """Send an event once more, whether it has arrived or not, at once unless the endpoint is sent nothing now.
    Raises `EndpointNotFound`, `DeliveryNotFound`.
    """
    async with transaction(state, state.clock()) as work:
        await endpoints.lock(work, endpoint_id)
        if await work.session.get(Delivery, (endpoint_id, event_id)) is None:
            raise DeliveryNotFound
        event = await work.session.get_one(Event, event_id)
        await _add(work, endpoint_id, [event])
        (lane,) = await lock_lanes(work.session, endpoint_id, [event.subject])
        lane.failures, lane.due_at = 0, work.now
        work.session.add(lane)
        await work.session.flush()
        return await _find(work.session, endpoint_id, event_id)


async def _add(work: Work, endpoint_id: str, events: Sequence[Event]) -> None:
    """Have events delivered to an endpoint that this transaction has locked: nobody else adds lanes to it, and
    those that are locked are not taken away.
    """
    subjects = sorted({event.subject for event in events})
    there = {lane.subject for lane in await lock_lanes(work.session, endpoint_id, subjects)}
    work.session.add_all(
        Lane(endpoint_id=endpoint_id, subject=subject, due_at=work.now)
        for subject in subjects
        if subject not in there
    )
    await work.session.flush()
    await work.session.exec(
        update(Delivery)
        .where(col(Delivery.endpoint_id) == endpoint_id, col(Delivery.event_id).in_([event.id for event in events]))
        .values(delivered_at=None)
    )
    values = {"endpoint_id": endpoint_id, "attempts": 0, "created_at": work.now}
    await work.session.exec(
        work.database.insert_unless_there(Delivery, ["endpoint_id", "event_id"]),
        params=[{"event_id": event.id, "subject": event.subject} | values for event in events],
    )


async def _claim(state: State, endpoint_id: str, subject: str) -> Sending | None:
    """Take a lane that is due, for as long as a lease; None when it is not, or not any more."""
    async with transaction(state, state.clock()) as work:
        lanes = await lock_lanes(work.session, endpoint_id, [subject])
        if not lanes or lanes[0].due_at > work.now:
            return None
        found = await work.session.exec(
            select(Endpoint).where(Endpoint.id == endpoint_id, endpoints.is_ready(work.now))
        )
        endpoint = found.one_or_none()
        if endpoint is None:
            return None
        lane, first = lanes[0], await _first_waiting(work.session, endpoint_id, subject)
        if first is None:
            await work.session.delete(lane)
            return None
        lane.due_at = work.now + LEASE
        first.attempts += 1
        work.session.add_all([lane, first])
        event = await work.session.get_one(Event, first.event_id)
        return Sending(endpoint, event, first.event_id, first.attempts, lane.failures, lane.due_at)


async def _send(state: State, sending: Sending) -> Answer:
    now = state.clock()
    try:
        target = parse_url(sending.endpoint.url, plain=state.settings.is_development)
    except InvalidTerms as error:  # the rules are stricter than when it was made
        return _unsent(f"its address {error.reason}")
    secrets = endpoints.read_secrets(state, sending.endpoint, now)
    if not secrets:
        return _unsent("its secret cannot be read any more: rotate it")
    id_, timestamp = str(sending.event_id), int(now.timestamp())
    body = event_public(sending.event).model_dump_json().encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "Kaituan-Webhooks",
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, id_, timestamp, body),
    }
    return await state.webhooks.post(target, headers, body)


def _unsent(error: str) -> Answer:
    return Answer(status=None, error=error, body="", retry_after=None, duration_ms=0)


async def _conclude(state: State, sending: Sending, answer: Answer) -> None:
    """Write down what came back, and go on with the lane if it is still ours. What arrived has arrived, whoever
    has the lane.
    """
    now, endpoint_id, event = state.clock(), sending.endpoint.id, sending.event
    verdict = judge(answer.status, answer.retry_after, sending.failures, now, random())  # noqa: S311 - it spreads
    async with transaction(state, now) as work:
        if not verdict.delivered or sending.endpoint.failures:
            await _note(work, sending, verdict)
        lanes = await lock_lanes(work.session, endpoint_id, [event.subject])
        work.session.add(
            Attempt(
                endpoint_id=endpoint_id,
                event_id=sending.event_id,
                number=sending.number,
                status=answer.status,
                error=answer.error,
                answer=answer.body,
                duration_ms=answer.duration_ms,
                attempted_at=now,
            )
        )
        delivery = await work.session.get_one(Delivery, (endpoint_id, sending.event_id))
        if verdict.delivered and delivery.delivered_at is None:
            delivery.delivered_at = now
            work.session.add(delivery)
        await work.session.flush()
        first = await _first_waiting(work.session, endpoint_id, event.subject)
        for lane in lanes:
            if first is None:
                await work.session.delete(lane)
            elif lane.due_at == sending.lease:
                lane.failures = 0 if verdict.delivered or verdict.disabled else lane.failures + 1
                lane.due_at = now + verdict.wait
                work.session.add(lane)


async def _note(work: Work, sending: Sending, verdict: Verdict) -> None:
    """Note at the endpoint how it does; before its lane is locked, as everybody who locks both."""
    endpoint = await lock_endpoint(work.session, sending.endpoint.id)
    if endpoint is None:
        return
    endpoint.failures = 0 if verdict.delivered else endpoint.failures + 1
    if not verdict.delivered:
        held = work.now + max(verdict.hold, pause(endpoint.failures))
        endpoint.held_until = max(endpoint.held_until or held, held)
    work.session.add(endpoint)
    if verdict.disabled is not None:
        log.warning("endpoint %s is disabled: %s", endpoint.id, verdict.disabled)
        await work.session.flush()
        await endpoints.disable(work, endpoint, verdict.disabled)


async def _first_waiting(session: AsyncSession, endpoint_id: str, subject: str) -> Delivery | None:
    found = await session.exec(
        select(Delivery)
        .where(
            Delivery.endpoint_id == endpoint_id, Delivery.subject == subject, col(Delivery.delivered_at).is_(None)
        )
        .order_by(col(Delivery.event_id))
        .limit(1),
    )
    return found.first()


async def _find(session: AsyncSession, endpoint_id: str, event_id: int) -> DeliveryPublic:
    delivery = await session.get(Delivery, (endpoint_id, event_id), populate_existing=True)
    if delivery is None:
        raise DeliveryNotFound
    (shown,) = await _public(session, [delivery])
    return shown


async def _public(session: AsyncSession, deliveries: Sequence[Delivery]) -> list[DeliveryPublic]:
    """Deliveries of one endpoint, as they are shown."""
    if not deliveries:
        return []
    endpoint_id, ids = deliveries[0].endpoint_id, [delivery.event_id for delivery in deliveries]
    types = dict((await session.exec(select(Event.id, Event.type).where(col(Event.id).in_(ids)))).all())
    waiting = {delivery.subject for delivery in deliveries if delivery.delivered_at is None}
    lanes = await session.exec(
        select(Lane.subject, Lane.due_at).where(Lane.endpoint_id == endpoint_id, col(Lane.subject).in_(waiting)),
    )
    due = dict(lanes.all())
    found = await session.exec(
        select(Attempt)
        .where(Attempt.endpoint_id == endpoint_id, col(Attempt.event_id).in_(ids))
        .order_by(col(Attempt.number).desc()),
    )
    tried = found.all()
    return [
        DeliveryPublic(
            event_id=each.event_id,
            type=types[each.event_id],
            subject=each.subject,
            created_at=each.created_at,
            delivered_at=each.delivered_at,
            next_attempt_at=due.get(each.subject) if each.delivered_at is None else None,
            attempts=[
                AttemptPublic.model_validate(one, from_attributes=True)
                for one in tried
                if one.event_id == each.event_id
            ][:SHOWN_ATTEMPTS],
        )
        for each in deliveries
    ]
