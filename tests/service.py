"""A running service as tests use it: real HTTP, a clock that can be turned, workers that run when told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from sqlmodel import select

from app.config import Settings
from app.domain.events import EVENT_TYPES
from app.domain.operators import Scope
from app.main import create_app, in_front
from app.models import Event, new_id
from app.schemas.invariants import Violation
from app.services.invariants import find_violations
from app.services.operators import create_key
from app.services.tickets import Ticket, sign_ticket
from app.state import State, open_state
from app.workers import dealer
from app.workers.loop import JOBS, SANDBOX_JOB
from tests.databases import empty
from tests.planted import plant, plant_addresses, plant_fields

FLASH: dict[str, Any] = {"kind": "flash", "group_size": 1, "group_ttl_seconds": None, "hold_ttl_seconds": 300}
"""Terms of a flash sale."""
BARGAIN: dict[str, Any] = {"kind": "bargain", "group_size": 1, "list_price": 9900, "bargain": {"slots": 5}}
"""Terms of a bargain sale: five cuts from 9900 to 4900."""

STATED: dict[str, Any] = {
    "name": "茶友",
    "audience": "爱茶的人",
    "need": "当季的好茶",
    "benefits": "一起买更便宜",
    "sustained_by": "每单的毛利",
    "posting_rules": "只谈茶",
}
"""A community that has stated its value."""
NEVER_QUIET = {"quiet_from": "00:00", "quiet_to": "00:00"}
"""Communities of the tests are, unless told otherwise: tests are run at any hour."""
TICKET_SECONDS = 1800
"""Longer than the tests of a module take."""


@dataclass(slots=True)
class Clock:
    """The real time, plus what a test added."""

    offset_seconds: float = 0

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.offset_seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.offset_seconds += seconds


@dataclass(slots=True)
class Sale:
    """A published sale and its offers' ids."""

    id: str
    offers: list[str]
    body: dict[str, Any]

    @property
    def offer(self) -> str:
        return self.offers[0]


@dataclass(slots=True)
class Member:
    """A logged-in member, calling the API as a client would."""

    service: "Service"
    id: str
    name: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.service.http.get(path, headers=self.headers, **options)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = self.headers | {"idempotency-key": key or uuid4().hex}
        return await self.service.http.post(path, json=body, headers=headers)

    async def open(self, sale: Sale, *, key: str | None = None, **body: Any) -> httpx.Response:
        """Open a group on the sale's first offer."""
        return await self.post(f"/v1/sales/{sale.id}/groups", {"offer_id": sale.offer} | body, key=key)

    async def join(self, sale: Sale, group_id: str, *, key: str | None = None, **body: Any) -> httpx.Response:
        """Join a group with the sale's first offer."""
        return await self.post(f"/v1/groups/{group_id}/seats", {"offer_id": sale.offer} | body, key=key)

    async def buy(self, sale: Sale, *, key: str | None = None, **body: Any) -> httpx.Response:
        """Buy the first offer of a flash sale, alone; with a new ticket, unless one is named (None: without)."""
        body = {"offer_id": sale.offer, "ticket": self.ticket(sale)} | body
        return await self.post(f"/v1/sales/{sale.id}/orders", body, key=key)

    def ticket(self, sale: Sale) -> str:
        """A ticket for a flash sale, without having stood in line."""
        state = self.service.state
        ticket = Ticket(new_id("tkt"), int(state.clock().timestamp()) + TICKET_SECONDS)
        return sign_ticket(state, self.id, sale.id, ticket)

    async def enter(self, sale: Sale, **body: Any) -> httpx.Response:
        """Get in line for a flash sale."""
        return await self.post(f"/v1/sales/{sale.id}/admission", body)

    async def stand(self, sale: Sale, wait: float = 0) -> httpx.Response:
        """See how one stands in line, waiting so many seconds for the turn."""
        return await self.get(f"/v1/sales/{sale.id}/admission", params={"wait": wait})

    async def bargain(self, sale: Sale) -> dict[str, Any]:
        """A bargain of theirs for the sale's first offer."""
        reply = await self.post(f"/v1/sales/{sale.id}/bargains", {"offer_id": sale.offer})
        assert reply.is_success, reply.text
        return dict(reply.json())

    async def cut(self, bargain_id: str) -> httpx.Response:
        """Help somebody's bargain."""
        return await self.post(f"/v1/bargains/{bargain_id}/cuts")

    async def buy_at(self, bargain_id: str, *, key: str | None = None) -> httpx.Response:
        """Buy at the present price of a bargain."""
        return await self.post(f"/v1/bargains/{bargain_id}/orders", key=key)

    async def enrol(self, community: dict[str, Any]) -> None:
        """Become a member of an open community."""
        reply = await self.post(f"/v1/communities/{community['id']}/membership")
        assert reply.status_code == 201, reply.text

    async def start_payment(self, order_id: str, *, key: str | None = None) -> str:
        """The address to pay an order at."""
        reply = await self.post(f"/v1/orders/{order_id}/payments", {"provider": "sandbox"}, key=key)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["pay_url"])

    async def pay(self, order_id: str, **wish: Any) -> None:
        """Pay an order at the cashier, and have its notifications delivered."""
        reply = await self.service.http.post(await self.start_payment(order_id), json=wish)
        assert reply.status_code == 200, reply.text
        await self.service.deliver()

    async def order(self, order_id: str) -> dict[str, Any]:
        reply = await self.get(f"/v1/orders/{order_id}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


@dataclass(slots=True)
class Service:
    """The service under test, and a way in for its operators."""

    state: State
    clock: Clock
    url: str
    http: httpx.AsyncClient
    operator_key: str
    _members: int = field(default=0)

    @property
    def operator(self) -> dict[str, str]:
        return {"x-api-key": self.operator_key}

    async def member(self, name: str = "member") -> Member:
        """A new member, logged in."""
        code = f"{name}-{uuid4().hex[:12]}"
        reply = await self.http.post("/v1/sessions", json={"provider": "dev", "code": code, "name": name})
        assert reply.status_code == 201, reply.text
        body = reply.json()
        return Member(self, body["member"]["id"], name, body["access_token"])

    async def members(self, count: int) -> list[Member]:
        """So many new members."""
        return await gather_limited(self.member(f"member{number}") for number in range(count))

    async def ops(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Call an operators' route."""
        return await self.http.request(method, f"/v1/ops/{path}", json=body, headers=self.operator | headers)

    async def community(self, owner: Member | None = None, **terms: Any) -> dict[str, Any]:
        """A new community that is open; led by its owner, if one is named."""
        reply = await self.ops("POST", "communities", STATED | NEVER_QUIET | terms)
        assert reply.status_code == 201, reply.text
        path = f"communities/{reply.json()['id']}"
        opened = await self.ops("POST", f"{path}/open")
        assert opened.status_code == 200, opened.text
        if owner is not None:
            assert (await self.ops("PUT", f"{path}/owner", {"member_id": owner.id})).status_code == 200
        return dict(opened.json())

    async def sale(
        self,
        *,
        stocks: list[int] | None = None,
        ladder: list[tuple[int, int]] | None = None,
        list_price: int | None = None,
        publish: bool = True,
        **terms: Any,
    ) -> Sale:
        """A new sale of a new product, live unless told otherwise. `ladder` are heads and prices of each offer."""
        now = self.clock()
        stocks = stocks or [100]
        steps = [{"heads": heads, "price": price} for heads, price in ladder or []]
        community = await self.community()
        skus = [f"{number}" for number in range(len(stocks))]
        product = (await self.ops("POST", "products", {"title": "龙井", "skus": skus})).json()
        body = {
            "community_id": community["id"],
            "title": "三人团",
            "opens_at": (now - timedelta(seconds=1)).isoformat(),
            "closes_at": (now + timedelta(days=2)).isoformat(),
            "group_size": 3,
            "group_ttl_seconds": 3600,
            "hold_ttl_seconds": 600,
            "order_limit": 5,
            "member_limit": 3,
            "offers": [
                {"sku_id": sku["id"], "price": 4900 + 1000 * number, "stock": stock, "ladder": steps}
                | ({} if list_price is None else {"list_price": list_price})
                for number, (sku, stock) in enumerate(zip(product["skus"], stocks, strict=True))
            ],
        } | terms
        reply = await self.ops("POST", "sales", body)
        assert reply.status_code == 201, reply.text
        sale = reply.json()
        if publish:
            assert (await self.ops("POST", f"sales/{sale['id']}/publish")).status_code == 200
        return Sale(sale["id"], [offer["id"] for offer in sale["offers"]], body)

    async def coupon(self, **terms: Any) -> dict[str, Any]:
        """A new coupon of 20 yuan, ten times, once each, unless told otherwise."""
        now = self.clock()
        body = {
            "code": uuid4().hex[:12].upper(),
            "title": "满减",
            "kind": "fixed",
            "value": 2000,
            "opens_at": (now - timedelta(seconds=1)).isoformat(),
            "closes_at": (now + timedelta(days=1)).isoformat(),
            "total": 10,
        }
        reply = await self.ops("POST", "coupons", body | terms)
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    async def group(self, group_id: str) -> dict[str, Any]:
        reply = await self.http.get(f"/v1/groups/{group_id}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def left(self, sale: Sale) -> list[int]:
        """What the API says is left of each offer."""
        reply = await self.http.get(f"/v1/sales/{sale.id}")
        return [offer["left"] for offer in reply.json()["offers"]]

    async def deliver(self) -> None:
        """Have the cashier deliver every notification that is due."""
        while await SANDBOX_JOB.run_once(self.state, self.clock()):
            pass

    async def begin_anew(self) -> None:
        """Empty the database, and set the clock right."""
        await empty(self.state.database)
        self.clock.offset_seconds = 0
        self.operator_key = await create_key(self.state, "tests", list(Scope))
        plant(self.operator_key)

    async def tick(self) -> None:
        """Run every worker until none finds anything to do; the dealer's, which compares for ever, once."""
        await dealer.run_once(self.state, self.clock())
        await self.work()

    async def work(self) -> None:
        """The same without the dealer's, which looks at every sale, and that of retention, an hourly one."""
        jobs = [SANDBOX_JOB, *(job for job in JOBS if job.name not in {"dealer", "retention"})]
        idle = 0
        for job in cycle(jobs):
            idle = 0 if await job.run_once(self.state, self.clock()) else idle + 1
            if idle == len(jobs):
                return

    async def violations(self) -> list[Violation]:
        """What breaks an invariant. Every event there is says no more than the table of its types."""
        async with self.state.database.snapshot() as session:
            for type_, data in (await session.exec(select(Event.type, Event.data))).all():
                assert set(data) <= set(EVENT_TYPES[type_].data), (type_, data)
            return await find_violations(session)


async def gather_limited(work: Any, limit: int = 100) -> list[Any]:
    """Run coroutines side by side, so many at once."""
    gate = asyncio.Semaphore(limit)

    async def run(one: Awaitable[Any]) -> Any:
        async with gate:
            return await one

    return await asyncio.gather(*map(run, work))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pools(httpx.AsyncBaseTransport):
    """A pool of connections for each request that is under way: a pool of httpx looks at all its connections, for
    each of them, whenever one is asked for, and a hundred that are idle make every request four times as dear.
    """

    def __init__(self) -> None:
        self._pools: list[httpx.AsyncHTTPTransport] = []
        self._free: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._free:
            self._free.append(httpx.AsyncHTTPTransport(verify=False))
            self._pools.append(self._free[-1])
        pool = self._free.pop()
        try:
            return await pool.handle_async_request(request)
        finally:
            self._free.append(pool)

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


async def plant_secrets(response: httpx.Response) -> None:
    """Those in an answer, and in what was asked for: of what was refused nobody keeps anything."""
    path = response.request.url.path
    if response.is_success:
        plant_addresses(path)
    if response.is_success and response.headers.get("content-type") == "application/json":
        plant_fields(body := await response.aread(), path)
        plant_addresses(body.decode())
        if isinstance(response.request.stream, httpx.ByteStream):
            plant_fields(response.request.content, path)


@asynccontextmanager
async def running_service(database_url: str, redis_url: str, data: Path) -> AsyncIterator[Service]:
    """A service on a database and a Valkey, listening on a port of its own; its workers run when told."""
    port, clock = free_port(), Clock()
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        data=data,
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        workers_inside=False,
        database_pool_size=20,
        live_stream_seconds=30,
        drain_seconds=1,
        linger_seconds=0,
        access_token_seconds=86_400,
        member_claims_per_second=0,
        address_claims_per_second=0,
        invite_misses_per_second=0,
        address_drawings_per_second=0,
        webhook_private_networks="127.0.0.2/32",
        chat_stand_in_url="http://127.0.0.1:9",  # nobody is there
    )
    plant(settings.secret_key)
    async with open_state(settings, clock) as state:
        for limiter in (state.member_exports, state.member_links, state.chat_senders, state.binding_tests):
            limiter.rate = 0
        server = uvicorn.Server(
            uvicorn.Config(
                in_front(create_app(settings, state), settings),
                port=port,
                log_level="warning",
                backlog=4096,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server._serve())
        while not server.started:
            assert not serving.done(), serving
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(
            base_url=settings.public_url,
            timeout=60,
            transport=Pools(),
            event_hooks={"response": [plant_secrets]},
        ) as http:
            key = await create_key(state, "tests", list(Scope))
            plant(key)
            yield Service(state, clock, settings.public_url, http, key)
        server.should_exit = True
        await serving
