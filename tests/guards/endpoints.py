"""Guards of what is sent to others: where to, what, in which order, how often."""

from typing import Any
from uuid import uuid4

import pytest

from app.domain.deliveries import judge
from app.domain.endpoints import may_connect, parse_url, wants
from app.domain.errors import DeliveryNotFound, EndpointNotFound, EndpointRefused, InvalidTerms
from app.gateways.webhooks import AddressRefused, Answer
from app.models import Delivery, Endpoint, Lane
from app.schemas.endpoints import EndpointChange, EndpointCreate, RedeliverSince
from app.services import deliveries, endpoints
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

DOMAIN, ENDPOINTS, DELIVERIES = "app.domain.endpoints", "app.services.endpoints", "app.services.deliveries"
ANY_STATE = "dict.fromkeys(EndpointState, frozenset(EndpointState))"
TYPE = "coupon.granted"
"""Of the events of these probes, which no other sends."""
PAUSE, ENABLE = EndpointChange(paused=True), EndpointChange(paused=False)


async def endpoint(world: World) -> str:
    made = await endpoints.create_endpoint(world.state, EndpointCreate(url="http://127.0.0.2:9999/", types=[TYPE]))
    return made.id


async def happen(world: World, subject: str) -> int:
    async with world.work() as work:
        work.record(TYPE, subject)
    return work.events[0].id or 0


async def line_up(world: World, endpoint_id: str) -> bool:
    return await deliveries.line_up(world.state, endpoint_id, world.service.clock())


async def claim(world: World, endpoint_id: str, subject: str) -> deliveries.Sending:
    sending = await deliveries._claim(world.state, endpoint_id, subject)
    assert sending is not None
    return sending


async def conclude(world: World, sending: deliveries.Sending, status: int = 200) -> None:
    answer = Answer(status=status, error=None, body="", retry_after=None, duration_ms=1)
    await deliveries._conclude(world.state, sending, answer)


async def arrive(world: World, endpoint_id: str, subject: str, status: int = 200) -> int:
    """Have the first that waits in a lane be answered; the id of its event."""
    sending = await claim(world, endpoint_id, subject)
    await conclude(world, sending, status)
    return sending.event_id


async def lined_up(world: World, events: int = 1) -> tuple[str, str, list[int]]:
    """A new endpoint, a subject, and events of it that wait."""
    made, subject = await endpoint(world), uuid4().hex
    ids = [await happen(world, subject) for _ in range(events)]
    await line_up(world, made)
    return made, subject, ids


async def delivered(world: World, endpoint_id: str, event_id: int) -> bool:
    return (await world.row(Delivery, (endpoint_id, event_id))).delivered_at is not None


@notices(
    *cuts(
        f"{DOMAIN}.parse_url",
        "len(url) > MAX_URL",
        "scheme == 'http' and (not plain)",
        "(match['six'] or A_NUMBER.fullmatch(host.rpartition('.')[2])) and read_address(host) is None",
        "port not in PORTS.values() and port not in FREE_PORTS",
    ),
)
async def an_address_is_written_in_the_usual_way(_: World) -> None:
    for url in (
        *(f"https://merchant.example/{'a' * 500}", "http://merchant.example/", "https://127.1/", "https://0x7f.1/"),
        *("https://[::g]/", "https://merchant.example:25/", "https://merchant.example:70000/"),
    ):
        with pytest.raises(InvalidTerms):
            parse_url(url, plain=False)
    assert parse_url("https://merchant.example/", plain=False).port == 443


@notices(
    *cuts(
        f"{DOMAIN}._is_public",
        "any((address in network for network in NOT_PUBLIC))",
        "isinstance(address, IPv6Address) and address not in UNICAST",
    ),
    Cut(f"{DOMAIN}._is_public", "address.is_global", "True"),
    Cut(f"{DOMAIN}._is_public", "not address.is_multicast", "True"),
)
async def only_public_addresses_are_connected_to(_: World) -> None:
    for address in ("192.88.99.1", "2002:7f00:1::", "::127.0.0.1", "127.0.0.1", "224.0.0.1"):
        assert not may_connect(address, [])
    assert may_connect("93.184.215.14", [])
    assert may_connect("2606:2800:21f:cb07:6820:80da:af6b:8b2c", [])


@notices(
    *cuts(
        "app.gateways.webhooks._CheckedBackend.connect_tcp",
        "not all((may_connect(address, self._networks) for address in addresses))",
    ),
    *cuts(
        f"{ENDPOINTS}._check",
        "read_address(target.host) and (not may_connect(target.host, state.settings.webhook_networks))",
    ),
)
async def what_was_checked_is_what_is_connected_to(world: World) -> None:
    with pytest.raises(InvalidTerms):
        await endpoints.create_endpoint(world.state, EndpointCreate(url="http://127.0.0.1:9999/"))
    with pytest.raises(AddressRefused):
        await world.state.webhooks.backend.connect_tcp("localhost", 9999)


@notices(Cut(f"{DOMAIN}.wants", "if type_ == TESTED", "if False"))
async def a_test_is_for_its_endpoint_alone(_: World) -> None:
    assert wants("ept_1", ["order.paid"], "endpoint.tested", "ept_1")
    assert not wants("ept_1", [], "endpoint.tested", "ept_2")


@notices(*cuts("app.domain.deliveries.judge", "failures >= len(RETRY_AFTER)"))
async def retries_come_to_an_end(world: World) -> None:
    assert judge(500, None, 9, world.service.clock(), 0).disabled == "failed"


@notices(
    *cuts(f"{DELIVERIES}.line_up", "cursor == endpoint.cursor"),
    *cuts(f"{DELIVERIES}._claim", "not lanes", "lanes[0].due_at > work.now"),
)
async def what_is_done_is_not_done_again(world: World) -> None:
    made, subject, _ = await lined_up(world)
    assert not await line_up(world, made)
    assert not await deliveries.deliver(world.state, made, "nothing")
    await claim(world, made, subject)
    assert await deliveries._claim(world.state, made, subject) is None


@notices(
    Cut(f"{DELIVERIES}.line_up", "col(Endpoint.cursor) == endpoint.cursor", "True"),
    *cuts(f"{DELIVERIES}.line_up", "moved.first() is None"),
)
async def two_do_not_line_up_the_same(world: World) -> None:
    made, subject = await endpoint(world), uuid4().hex
    event_id = await happen(world, subject)

    async def rival() -> None:
        assert await line_up(world, made)
        await arrive(world, made, subject)

    async with world.meanwhile("UPDATE endpoints", rival()):
        assert not await line_up(world, made)
    assert await delivered(world, made, event_id)


@notices(Cut(f"{DELIVERIES}.line_up", "col(Endpoint.state) == EndpointState.ACTIVE", "True"))
async def nothing_is_lined_up_for_one_that_is_paused(world: World) -> None:
    made = await endpoint(world)
    await happen(world, uuid4().hex)
    async with world.meanwhile("UPDATE endpoints", endpoints.change_endpoint(world.state, made, PAUSE)):
        assert not await line_up(world, made)
    assert await world.count("deliveries WHERE endpoint_id = :id", id=made) == 0


@notices(
    Cut(f"{ENDPOINTS}.is_ready", "col(Endpoint.state) == EndpointState.ACTIVE", "or_(True)"),
    Cut(f"{ENDPOINTS}.is_ready", "col(Endpoint.held_until) <= now", "or_(True)"),
)
async def nothing_is_sent_to_one_that_is_paused_or_held(world: World) -> None:
    made, subject, _ = await lined_up(world)
    await endpoints.change_endpoint(world.state, made, PAUSE)
    assert await deliveries._claim(world.state, made, subject) is None
    await endpoints.change_endpoint(world.state, made, ENABLE)
    sending = await claim(world, made, subject)
    answer = Answer(status=429, error=None, body="", retry_after="60", duration_ms=1)
    await deliveries._conclude(world.state, sending, answer)
    other = uuid4().hex
    await happen(world, other)
    await line_up(world, made)
    assert await deliveries._claim(world.state, made, other) is None


@notices(Cut(f"{DELIVERIES}._conclude", "lane.due_at == sending.lease", "True"))
async def who_came_too_late_does_not_move_the_lane(world: World) -> None:
    made, subject, _ = await lined_up(world)
    late = await claim(world, made, subject)
    world.service.clock.advance(61)
    taken = await claim(world, made, subject)
    await conclude(world, late, 500)
    assert (await world.row(Lane, (made, subject))).due_at == taken.lease


@notices(
    *cuts(f"{DELIVERIES}.redeliver", "await work.session.get(Delivery, (endpoint_id, event_id)) is None"),
    Cut(f"{DELIVERIES}._add", "col(Delivery.endpoint_id) == endpoint_id", "True"),
    Cut(f"{DELIVERIES}._add", "col(Delivery.event_id).in_([event.id for event in events])", "True"),
)
async def what_is_sent_once_more_is_that_alone(world: World) -> None:
    made, subject, ids = await lined_up(world, 2)
    other, *_ = await lined_up(world)
    await endpoints.redeliver_since(world.state, other, RedeliverSince(since_event_id=ids[0]))
    await line_up(world, other)
    for _ in ids:
        await arrive(world, made, subject)
        await arrive(world, other, subject)
    await deliveries.redeliver(world.state, made, ids[0])
    told = [await delivered(world, id_, event_id) for id_ in (made, other) for event_id in ids]
    assert told == [False, True, True, True]
    never = await happen(world, subject)
    with pytest.raises(DeliveryNotFound):
        await deliveries.redeliver(world.state, made, never)
    assert await world.count("deliveries WHERE endpoint_id = :id AND event_id = :e", id=made, e=never) == 0


@notices(Cut("app.services.locks.lock_lanes", "_locking(", "(lambda statement, **_: statement)("))
async def a_lane_is_not_taken_away_while_something_is_put_in(world: World) -> None:
    made, subject, _ = await lined_up(world)
    sending = await claim(world, made, subject)
    await happen(world, subject)
    async with world.unbroken():
        async with world.meanwhile("INSERT INTO deliveries", conclude(world, sending)):
            await line_up(world, made)
        await arrive(world, made, subject)


@notices(Cut("app.services.locks.lock_endpoint", "_locking(", "(lambda statement, **_: statement)("))
async def every_secret_that_was_given_out_signs(world: World) -> None:
    made, given = await endpoint(world), list[str]()

    async def rotate() -> None:
        given.append((await endpoints.rotate_secret(world.state, made)).secret)

    async with world.meanwhile("flush", rotate()):
        await rotate()
    row = await world.row(Endpoint, made)
    assert sorted(endpoints.read_secrets(world.state, row, world.service.clock())) == sorted(given)


@notices(*cuts(f"{ENDPOINTS}.send_test", "endpoint.state != EndpointState.ACTIVE"))
async def a_test_is_sent_where_something_is_sent(world: World) -> None:
    made = await endpoint(world)
    await endpoints.send_test(world.state, made)
    await endpoints.change_endpoint(world.state, made, PAUSE)
    with pytest.raises(EndpointRefused):
        await endpoints.send_test(world.state, made)


@notices(*cuts(f"{ENDPOINTS}.redeliver_since", "(body.since_event_id is None) == (body.since is None)"))
async def one_says_since_when_once(world: World) -> None:
    made = await endpoint(world)
    with pytest.raises(InvalidTerms):
        await endpoints.redeliver_since(world.state, made, RedeliverSince())


@notices(Cut(f"{ENDPOINTS}.redeliver_since", "min(endpoint.cursor, before)", "before"))
async def nobody_goes_forward_in_the_feed(world: World) -> None:
    made = await endpoint(world)
    before = (await world.row(Endpoint, made)).cursor
    await endpoints.redeliver_since(world.state, made, RedeliverSince(since_event_id=before + 1000))
    assert (await world.row(Endpoint, made)).cursor == before


@notices(Cut(f"{ENDPOINTS}.disable", "ENDPOINT_TRANSITIONS", ANY_STATE))
async def one_that_is_paused_is_not_disabled(world: World) -> None:
    made, subject, _ = await lined_up(world)
    sending = await claim(world, made, subject)
    await endpoints.change_endpoint(world.state, made, PAUSE)
    async with world.unbroken():
        await conclude(world, sending, 410)
    assert (await world.row(Endpoint, made)).state == "paused"


@notices(Cut(f"{ENDPOINTS}._move", "ENDPOINT_TRANSITIONS", ANY_STATE))
async def one_that_is_disabled_is_not_paused(world: World) -> None:
    made, subject, _ = await lined_up(world)
    await arrive(world, made, subject, 410)
    with pytest.raises(EndpointRefused):
        await endpoints.change_endpoint(world.state, made, PAUSE)


@notices(
    *cuts(f"{ENDPOINTS}.there", "endpoint.state == EndpointState.REMOVED"),
    Cut(f"{ENDPOINTS}.remove_endpoint", "col(Lane.endpoint_id) == endpoint_id", "True"),
)
async def what_is_removed_is_not_there_any_more(world: World) -> None:
    made, *_ = await lined_up(world)
    other, subject, _ = await lined_up(world)
    await endpoints.remove_endpoint(world.state, made)
    with pytest.raises(EndpointNotFound):
        await endpoints.get_endpoint(world.state, made)
    assert await arrive(world, other, subject)


@notices(Cut(f"{ENDPOINTS}._begin_anew", "col(Lane.endpoint_id) == endpoint.id", "True"))
async def another_that_failed_keeps_its_time(world: World) -> None:
    made, subject, _ = await lined_up(world)
    other, *_ = await lined_up(world)
    await arrive(world, made, subject, 500)
    before = await world.row(Lane, (made, subject))
    await endpoints.change_endpoint(world.state, other, EndpointChange(url="http://127.0.0.2:9998/"))
    assert (await world.row(Lane, (made, subject))).due_at == before.due_at


@notices(
    Cut(f"{ENDPOINTS}.read_secrets", "now < endpoint.old_secret_until", "True"),
    Cut(f"{ENDPOINTS}._context", "{endpoint_id}", ""),
)
async def a_secret_signs_for_its_endpoint_and_its_time(world: World) -> None:
    made, other = await endpoint(world), await endpoint(world)
    await endpoints.rotate_secret(world.state, made)
    row: Any = await world.row(Endpoint, made)
    assert len(endpoints.read_secrets(world.state, row, world.service.clock())) == 2
    world.service.clock.advance(86_401)
    assert len(endpoints.read_secrets(world.state, row, world.service.clock())) == 1
    row.secret = (await world.row(Endpoint, other)).secret
    assert endpoints.read_secrets(world.state, row, world.service.clock()) == []
