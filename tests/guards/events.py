"""Guards of the feed of events: a reader by cursor misses nothing."""

from app.domain.events import EVENT_TYPES
from app.models import Event
from app.services import events
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

HORIZON = "app.gateways.horizon.Horizon"


async def write(world: World, subject: str) -> None:
    async with world.work() as work:
        work.record("sale.changed", subject)


@notices(
    Cut(f"{HORIZON}._settle", "self._mark.number <= oldest", "True"),
    Cut("app.services.events._read", "col(Event.id) <= upto", "True"),
)
async def who_is_under_way_is_waited_for(world: World) -> None:
    await write(world, "before")
    start = await events.read_horizon(world.state)
    async with world.work() as slow:
        slow.session.add(Event(type="sale.changed", subject="slow", created_at=slow.now))
        await slow.session.flush()
        await write(world, "after")
        found, reached = await events.read_events(world.state, start)
    then, _ = await events.read_events(world.state, reached)
    assert [event.subject for event in (*found, *then)] == ["slow", "after"]


@notices(*cuts(f"{HORIZON}._look", "dealt < self._settled"))
async def ids_that_were_never_dealt_are_not_settled(world: World) -> None:
    await write(world, "before")
    dealt = await events.read_horizon(world.state)
    world.state.horizon._settled = dealt + 1000
    try:
        assert await events.read_horizon(world.state) == dealt
    finally:
        world.state.horizon._settled = 0


@notices(*cuts("app.schemas.events._known", "value not in EVENT_TYPES"))
async def only_types_there_are_may_be_asked_for(world: World) -> None:
    for wanted, status in ((next(iter(EVENT_TYPES)), 200), ("order.lost", 422)):
        reply = await world.service.http.get(
            "/v1/ops/events", params={"types": wanted}, headers=world.service.operator
        )
        assert reply.status_code == status


@notices(Cut("app.services.events._read", "wanted.where(col(Event.type).in_(types))", "wanted"))
async def only_types_that_were_asked_for_are_shown(world: World) -> None:
    start = await events.read_horizon(world.state)
    await write(world, "before")
    assert (await events.read_events(world.state, start, types=["order.paid"]))[0] == []
