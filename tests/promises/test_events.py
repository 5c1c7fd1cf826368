"""The feed of events: each one once, in one order, and none below what was read, whoever writes meanwhile."""

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app.gateways import horizon
from app.models import Event
from app.services import events
from app.services.transactions import transaction
from docs.tables import DOCS
from tests.service import Service, gather_limited

WRITERS, MANY = 8, 1_000_000
ROWS = """
INSERT INTO events (type, subject, sale_id, data, created_at)
SELECT 'sale.changed', $1, ($2 + n)::text, '{}', now() FROM generate_series(1, $3) AS n
"""
"""So many events of a writer, numbered on from the last."""
WAITING_TRIGGER = (
    """
    CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(42);
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER wait BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.subject = 'slow')
    EXECUTE FUNCTION wait_for_test()
    """,
)
PLAIN_DEFAULT = "ALTER TABLE events ALTER COLUMN id SET DEFAULT nextval('events_id_seq'::regclass)"


def on_postgresql(service: Service) -> str:
    """The address of its PostgreSQL, for asyncpg."""
    if service.state.database.is_sqlite:
        pytest.skip("SQLite has one writer: ids are dealt in the order of commits")
    return service.state.database.url.replace("+asyncpg", "")


async def write(service: Service, *subjects: str) -> None:
    async with transaction(service.state, service.clock()) as work:
        for subject in subjects:
            work.record("sale.changed", subject)


async def read_all(service: Service, after: int = 0) -> list[Event]:
    """What the feed has behind an id, a few at a time."""
    found: list[Event] = []
    while True:
        some, next_ = await events.read_events(service.state, after, limit=7)
        found += some
        if next_ == after:
            return found
        after = next_


async def subjects_behind(service: Service, after: int) -> list[str]:
    return [event.subject for event in await read_all(service, after)]


@asynccontextmanager
async def slow_writer(service: Service, *, has_number: bool) -> AsyncIterator[None]:
    """Somebody who was dealt an id and has not written their row yet, or has and did not commit."""
    url = on_postgresql(service)
    holder, writer = await asyncpg.connect(url), await asyncpg.connect(url)
    insert = "INSERT INTO events (type, subject, data, created_at) VALUES ('sale.changed', $1, '{}', now())"
    try:
        await holder.execute("SELECT pg_advisory_lock(42)")
        transaction_ = writer.transaction()
        await transaction_.start()
        if has_number:
            await writer.execute(insert, "quick to write, slow to commit")
            yield
            await transaction_.commit()
        else:
            writing = asyncio.create_task(writer.execute(insert, "slow"))
            waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await holder.fetchval(waits):
                await asyncio.sleep(0.01)
            yield
            await holder.execute("SELECT pg_advisory_unlock(42)")
            await writing
            await transaction_.commit()
    finally:
        await holder.close()
        await writer.close()


async def read_around(service: Service, *, has_number: bool) -> tuple[list[str], list[str]]:
    """What a reader by cursor sees while somebody slow is under way, and what behind that afterwards."""
    await write(service, "before")
    start = await events.read_horizon(service.state) - 1
    async with slow_writer(service, has_number=has_number):
        await write(service, "after")
        first = await read_all(service, start)
        reached = max([start, *(event.id or 0 for event in first)])
    return [event.subject for event in first], await subjects_behind(service, reached)


@pytest.fixture
async def waiting_service(own_service: Service) -> Service:
    """One on whose database the event `slow` waits after its id was dealt, before its row is written."""
    on_postgresql(own_service)
    async with own_service.state.database.engine.begin() as connection:
        for statement in WAITING_TRIGGER:
            await connection.execute(text(statement))
    return own_service


@pytest.mark.parametrize("has_number", [True, False], ids=["written", "not written yet"])
async def test_a_reader_waits_for_who_was_dealt_an_id_before(waiting_service: Service, has_number: bool) -> None:
    seen, then = await read_around(waiting_service, has_number=has_number)
    assert seen == ["before"]
    assert then[0].endswith("slow to commit" if has_number else "slow")
    assert then[1:] == ["after"]


async def test_without_the_wait_an_event_is_missed(
    waiting_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(horizon, "OLDEST", text(f"SELECT {2**62}"))
    seen, then = await read_around(waiting_service, has_number=True)
    assert seen == ["before", "after"]
    assert then == [], "the slow one is below what was read"


async def test_without_the_number_an_event_is_missed(waiting_service: Service) -> None:
    async with waiting_service.state.database.engine.begin() as connection:
        await connection.execute(text(PLAIN_DEFAULT))
    seen, then = await read_around(waiting_service, has_number=False)
    assert seen == ["before", "after"]
    assert then == [], "the slow one is below what was read"


async def give_up(service: Service) -> None:
    """Write an event, and have its transaction rolled back. Raises `ZeroDivisionError`."""
    async with transaction(service.state, service.clock()) as work:
        work.record("sale.changed", "never")
        work.session.add_all(work.events)
        await work.session.flush()
        raise ZeroDivisionError


async def test_what_was_rolled_back_is_no_gap(service: Service) -> None:
    await write(service, "first")
    start = await events.read_horizon(service.state)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await give_up(service)
    assert await read_all(service, start) == []
    await write(service, "second", "third")
    assert await subjects_behind(service, start) == ["second", "third"]


async def test_a_horizon_begins_anew_on_another_database(service: Service) -> None:
    on_postgresql(service)
    await write(service, "first")
    kept = await events.read_horizon(service.state)
    service.state.horizon._settled = kept + 1000
    assert await events.read_horizon(service.state) == kept


async def test_nobody_uses_up_numbers_by_reading(service: Service) -> None:
    """A reader takes a number when there are new events, not each time it looks."""
    on_postgresql(service)
    number = text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    await events.read_horizon(service.state)
    async with service.state.database.engine.connect() as connection:
        before = (await connection.execute(number)).scalar_one()
    for _ in range(5):
        await events.read_horizon(service.state)
    async with service.state.database.engine.connect() as connection:
        assert (await connection.execute(number)).scalar_one() == before


async def write_many(url: str, writer: int, count: int, seed: int) -> None:
    """Commit so many events in transactions of random sizes, and roll back as many transactions on the way."""
    draw = random.Random(seed)
    connection = await asyncpg.connect(url)
    written = 0
    try:
        while written < count:
            size = min(count - written, draw.choice([1, 2, 10, 100, 1000, 5000]))
            first = draw.randint(0, size)
            for gives_up in draw.choice([[False], [False], [True, False]]):
                transaction_ = connection.transaction()
                await transaction_.start()
                await connection.execute(ROWS, f"writer {writer}", written, first)
                await asyncio.sleep(draw.choice([0, 0, 0.001, 0.02]))
                await connection.execute(ROWS, f"writer {writer}", written + first, size - first)
                await (transaction_.rollback() if gives_up else transaction_.commit())
            written += size
    finally:
        await connection.close()


async def test_a_million_events_of_eight_writers_are_read_by_cursor(own_service: Service) -> None:
    url, state = on_postgresql(own_service), own_service.state
    start = after = await events.read_horizon(state)
    each = MANY // WRITERS
    writing = [asyncio.create_task(write_many(url, writer, each, seed=writer)) for writer in range(WRITERS)]
    last: defaultdict[str, int] = defaultdict(int)
    read, meanwhile, newest = 0, 0, start
    while read < MANY:
        busy = not all(task.done() for task in writing)
        found, next_ = await events.read_events(state, after, limit=5000)
        assert busy or next_ > after, "everything is written, and it is not read"
        for event in found:
            id_, number = event.id or 0, int(event.sale_id or 0)
            assert after < id_ <= next_
            assert id_ > newest, "in the order of ids"
            assert number == last[event.subject] + 1, "a writer's events are in order, and none is missing or twice"
            last[event.subject], newest = number, id_
        after = next_
        read += len(found)
        meanwhile += len(found) if busy else 0
    await asyncio.gather(*writing)
    assert dict(last) == {f"writer {writer}": each for writer in range(WRITERS)}
    assert meanwhile > MANY / 100, "it was read while it was written"
    async with state.database.engine.connect() as connection:
        counted = await connection.execute(text(f"SELECT count(*) FROM events WHERE id > {start}"))
        assert counted.scalar_one() == read == MANY
    assert newest > start + MANY, "some was rolled back"


async def follow(service: Service, after: int, until: asyncio.Event, **asked: Any) -> list[dict[str, Any]]:
    """Read the feed over HTTP until told, and then to its end."""
    found: list[dict[str, Any]] = []
    while True:
        last = until.is_set()
        page = await read(service, after=after, limit=5, **asked)
        found += page["items"]
        if last and page["next"] == after:
            return found
        after = page["next"]
        await asyncio.sleep(0)


async def read(service: Service, **asked: Any) -> dict[str, Any]:
    reply = await service.http.get("/v1/ops/events", params=asked, headers=service.operator)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def test_the_feed_over_http_while_members_buy(service: Service) -> None:
    sale = await service.sale(stocks=[12], group_size=2, member_limit=1)
    members = await service.members(8)
    start = await events.read_horizon(service.state)
    done = asyncio.Event()
    following = asyncio.create_task(follow(service, start, done))
    orders, only_orders = [], ["order.held", "order.cancelled", "order.paid"]
    for _ in range(3):
        opened = await gather_limited(member.open(sale, quantity=2) for member in members)
        held = [
            (member, reply.json()["order"]["id"])
            for member, reply in zip(members, opened, strict=True)
            if reply.is_success
        ]
        assert 0 < len(held) < 8, "some are refused: their events are none"
        orders += [order_id for _, order_id in held]
        await gather_limited(
            [
                member.pay(order_id) if number == 0 else member.post(f"/v1/orders/{order_id}/cancel")
                for number, (member, order_id) in enumerate(held[1:])
            ]
        )
        await gather_limited(member.post(f"/v1/orders/{order_id}/cancel") for member, order_id in held[:1])
    done.set()
    found = await following
    ids = [event["id"] for event in found]
    assert ids == sorted(set(ids))
    kept = await read_all(service, start)
    assert ids == [event.id for event in kept]
    assert {event["subject"] for event in found if event["type"] == "order.held"} == set(orders)
    some = await follow(service, start, done, types=only_orders)
    assert some == [event for event in found if event["type"] in only_orders]
    by_group: defaultdict[str, list[str]] = defaultdict(list)
    for event in found:
        by_group[event["group_id"]].append(event["type"])
    by_group.pop(None, None)  # type: ignore[call-overload]
    assert all(types[0] == "group.opened" and types[1] == "order.held" for types in by_group.values())


async def test_a_page_without_anything_leads_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(service, "before")
    start = await events.read_horizon(service.state)
    await write(service, *map(str, range(10)))
    async with transaction(service.state, service.clock()) as work:
        work.record("product.created", "found")
    monkeypatch.setattr(events, "SPAN", 4)
    pages, after = [], start
    while True:
        page = await read(service, after=after, types="product.created")
        pages.append([event["subject"] for event in page["items"]])
        if page["next"] == page["settled"]:
            break
        assert page["next"] == after + 4
        after = page["next"]
    assert pages == [[], [], ["found"]]
    beyond = page["settled"] + 1000
    assert (await read(service, after=beyond))["next"] == beyond


async def test_who_waits_is_answered_when_something_happens(service: Service) -> None:
    await write(service, "before")
    after = await events.read_horizon(service.state)
    waiting = asyncio.create_task(read(service, after=after, types="product.created", wait=25))
    await write(service, "of another type")
    await asyncio.sleep(0.1)
    assert not waiting.done()
    async with transaction(service.state, service.clock()) as work:
        work.record("product.created", "found")
    page = await waiting
    assert [event["subject"] for event in page["items"]] == ["found"]
    assert page["next"] == page["settled"]
    empty = await read(service, after=page["next"], wait=0.2)
    assert (empty["items"], empty["next"]) == ([], page["next"])


async def test_only_what_there_is_may_be_asked_for(service: Service) -> None:
    for wrong in ({"types": "order.lost_and_found"}, {"after": -1}, {"limit": 1001}, {"wait": 26}):
        reply = await service.http.get("/v1/ops/events", params=wrong, headers=service.operator)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request"), wrong


async def test_the_follower_of_the_guide_works(service: Service) -> None:
    code = re.search("```python\n(.*?)```", (DOCS / "events.md").read_text(), re.DOTALL)
    assert code
    scope: dict[str, Any] = {}
    exec(code[1], scope)  # noqa: S102 - it is our own code
    await write(service, "before")
    after = await events.read_horizon(service.state)
    await write(service, "first", "second")
    following = scope["follow"](service.url, service.operator_key, after, ["sale.changed"])
    try:
        found = [await asyncio.to_thread(next, following) for _ in range(2)]
        assert [event["subject"] for _, event in found] == ["first", "second"]
        later = asyncio.create_task(asyncio.to_thread(next, following))
        await write(service, "third")
        id_, event = await later
        assert (id_, event["subject"]) == (event["id"], "third")
    finally:
        following.close()
